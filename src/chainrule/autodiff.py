"""The transforms: functions of functions, built on the reverse pass over the tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.primitives.dispatch import AbstractArray, Array
from chainrule.primitives.operands import as_operand
from chainrule.tape import Node, backpropagate
from chainrule.tensor import Tensor, new_level, own, require_float, unwrap

__all__ = [
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "value_and_grad",
    "vjp",
]

Function = Callable[..., Any]
Argnums = int | Sequence[int]


# Tensor style


def gradients(loss: Tensor, tensors: Sequence[Tensor]) -> list[Array]:
    """The gradient of a scalar by any tensors it was computed from, interior ones too.

    Unlike `backward` it leaves the tape as it was, so it can be called again. A tensor the loss
    does not depend on has a gradient of zeros.

    >>> import numpy as np, chainrule as cr
    >>> w = cr.parameter([1.0, 2.0])
    >>> a = np.square(w)
    >>> cr.gradients((3 * a).sum(), [a])
    [array([3., 3.])]
    """
    if not isinstance(loss, Tensor):
        raise ValueError(
            f"the loss is {_describe(loss)}, not a tensor, so it depends on no parameter: make the "
            "arrays to differentiate with chainrule.parameter"
        )
    root = loss.scalar_node()
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"gradients are by tensors, and one of those given is {_describe(tensor)}: "
                "comparisons and integers computed from a tensor are plain arrays"
            )
    if any(tensor.level != loss.level for tensor in tensors):
        raise ValueError(
            "the loss and the tensors were recorded by different transforms: inside "
            "chainrule.grad, gradients takes tensors computed from its arguments"
        )
    nodes = [tensor.node for tensor in tensors]
    start = {root: np.ones(loss.shape, loss.dtype)}
    found = backpropagate(start, [node for node in nodes if node is not None])
    return [
        own(found[node]) if node in found else np.zeros(tensor.shape, tensor.dtype)
        for tensor, node in zip(tensors, nodes, strict=True)
    ]


# Function style


class _Recorded(NamedTuple):
    """A function's call on the tape: its arguments, and its results as values and their nodes."""

    args: tuple[Any, ...]
    leaves: list[Node]
    result: Any
    outputs: list[tuple[Array, Node | None]]

    def pull_back(self, cotangents: Sequence[tuple[Node, Array]]) -> list[Array]:
        """The cotangent of each leaf of the arguments, given those of some of the outputs."""
        start: dict[Node, Array] = {}
        for node, g in cotangents:  # one result may be given several times
            start[node] = start[node] + g if node in start else g
        total = backpropagate(start)
        return [
            own(total[leaf]) if leaf in total else np.zeros(leaf.out.shape, leaf.out.dtype)
            for leaf in self.leaves
        ]


def _record(f: Function, args: tuple[Any, ...]) -> _Recorded:
    """Call `f` on tensors of a new level."""
    level = new_level()
    leaves = [Node(out=require_float(leaf, "an argument")) for leaf in tree.flatten(args)]
    result = f(*tree.unflatten(args, [Tensor(leaf.out, level, leaf) for leaf in leaves]))
    outputs = [unwrap(output, level) for output in tree.flatten(result)]
    return _Recorded(args, leaves, tree.unflatten(result, [v for v, _ in outputs]), outputs)


def vjp(f: Function, *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of `f` and its vector-Jacobian product, a function of the output's cotangent.

    `args` are arrays, or nested dicts, lists and tuples of them, and the returned function gives
    one cotangent per argument, in the same form. It may be called many times.
    Raises TypeError for arguments that are not floating point, and where no output is.

    >>> import numpy as np, chainrule as cr
    >>> out, f_vjp = cr.vjp(np.sin, np.array([0.0, np.pi]))
    >>> f_vjp(np.ones(2))
    (array([ 1., -1.]),)
    """
    recorded = _record(f, args)
    outputs = recorded.outputs
    if outputs and not any(map(_is_float, (value for value, _ in outputs))):
        raise _no_derivative(outputs[0][0])

    def f_vjp(cotangent: Any) -> tuple[Any, ...]:
        parts = tree.flatten_as(recorded.result, cotangent)
        reached = [
            (node, _as_cotangent(g, value))
            for (value, node), g in zip(outputs, parts, strict=True)
            if node is not None
        ]
        return tree.unflatten(args, recorded.pull_back(reached))  # type: ignore[no-any-return]

    return recorded.result, f_vjp


def _is_float(value: Any) -> bool:
    return isinstance(value, float) or getattr(value, "dtype", np.dtype(int)).kind == "f"


def _no_derivative(value: Any) -> TypeError:
    is_number = isinstance(value, int) or hasattr(value, "dtype")
    why = "integers and truth values change in steps" if is_number else "it is no number"
    return TypeError(
        f"the function returned {_describe(value)}, which has no derivative: {why}; "
        "return floating-point numbers"
    )


def _as_cotangent(g: Any, value: Array) -> Array:
    g = g if isinstance(g, AbstractArray) else np.asarray(as_operand(g, "a cotangent"), value.dtype)
    if g.shape != value.shape:
        raise ValueError(f"the output has shape {value.shape} but its cotangent {g.shape}")
    return g


def value_and_grad(
    f: Function, argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the scalar `f(*args)` and its gradient by the chosen arguments.

    The gradient has the form of the argument (a dict gives a dict); a sequence of `argnums` gives
    a tuple. With `has_aux`, `f` returns `(scalar, tree of arrays)` and the value is that pair.
    Raises ValueError where `f` is not scalar, TypeError for arguments without a derivative.

    >>> import numpy as np, chainrule as cr
    >>> cr.value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    (array(5.), array([2., 4.]))
    """
    _check_argnums(argnums)

    def value_and_grad_f(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions = _positions(argnums, args)
        aux: list[Any] = []

        def scalar(*chosen: Any) -> Any:
            out = f(*_with(args, positions, chosen), **kwargs)
            if has_aux:
                out, extra = out
                levels = [leaf.level for leaf in tree.flatten(list(chosen))]
                level = max(levels, default=-1)
                aux.append(tree.map_tree(lambda leaf: unwrap(leaf, level)[0], extra))
            if not _is_number(out):
                raise ValueError(
                    f"the function returned {_describe(out)}; a gradient needs one number: "
                    "sum or average it, or use chainrule.jacobian or chainrule.vjp"
                )
            if not _is_float(out):
                raise _no_derivative(out)
            return out

        value, f_vjp = vjp(scalar, *(args[position] for position in positions))
        dtype = value.dtype if hasattr(value, "dtype") else np.float64
        grads = f_vjp(np.ones(np.shape(value), dtype))
        result = (value, aux[0]) if has_aux else value
        return result, grads if isinstance(argnums, Sequence) else grads[0]

    return _named_after(f, "value_and_grad", value_and_grad_f)


def _check_argnums(argnums: Argnums) -> None:
    positions = tuple(argnums) if isinstance(argnums, Sequence) else (argnums,)
    wrong = [p for p in positions if not isinstance(p, int | np.integer) or isinstance(p, bool)]
    if wrong:
        raise TypeError(
            f"argnums={argnums!r} holds {wrong[0]!r}: it is the position of an argument, "
            "or several of them"
        )
    if len(set(positions)) < len(positions):
        raise ValueError(f"argnums={argnums} names an argument twice: each has one gradient")


def _positions(argnums: Argnums, args: tuple[Any, ...]) -> list[int]:
    """The places in args that argnums name; negative ones count from the end, as NumPy's axes."""
    several = list(argnums) if isinstance(argnums, Sequence) else [argnums]
    for position in several:
        if not -len(args) <= position < len(args):
            raise ValueError(
                f"argnums={argnums} asks for argument {position}, but the function was "
                f"called with {len(args)}: differentiated arguments are passed by position"
            )
    positions = [int(position) % len(args) for position in several]
    if len(set(positions)) < len(positions):
        raise ValueError(
            f"argnums={argnums} names an argument of {len(args)} twice: each has one gradient"
        )
    return positions


def _with(args: tuple[Any, ...], positions: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """The arguments, with other values at these positions."""
    everything = list(args)
    for position, value in zip(positions, values, strict=True):
        everything[position] = value
    return everything


def _named_after(f: Function, prefix: str, function: Function) -> Function:
    """The function under f's name with a prefix, and with f's parameters for inspect.signature."""
    name = getattr(f, "__name__", "")
    function.__name__ = f"{prefix}_{name if name.isidentifier() else 'f'}"
    function.__wrapped__ = f  # type: ignore[attr-defined]
    return function


def _is_number(value: Any) -> bool:
    """Whether a value is one real number, also as an array of one element."""
    if isinstance(value, AbstractArray | np.ndarray | np.generic):
        return value.shape in ((), (1,)) and value.dtype.kind in "fiub"
    return isinstance(value, int | float)


def _describe(value: Any) -> str:
    if isinstance(value, AbstractArray | np.ndarray | np.generic):
        return f"shape {value.shape}, {value.dtype}"
    return "None" if value is None else f"a {type(value).__name__}"


def grad(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns the gradient of the scalar `f` by the chosen arguments.

    Takes and raises what `value_and_grad` does, and nests to any order.

    >>> import numpy as np, chainrule as cr
    >>> cr.grad(cr.grad(lambda x: x**3))(2.0)
    array(12.)
    """
    with_value = value_and_grad(f, argnums)

    def grad_f(*args: Any, **kwargs: Any) -> Any:
        return with_value(*args, **kwargs)[1]

    return _named_after(f, "grad", grad_f)


def jvp(f: Function, args: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of `f` and its Jacobian-vector product: how it moves along the tangents.

    `args` and `tangents` are tuples of equal form (or one array each). A vjp is linear in its
    cotangent, so its own vjp is the jvp, and the one rule table serves forward mode too
    (J. Townsend, "A new trick for calculating Jacobian vector products", 2017).

    >>> import numpy as np, chainrule as cr
    >>> cr.jvp(np.square, np.array([1.0, 3.0]), np.array([1.0, 0.5]))
    (array([1., 9.]), array([2., 3.]))
    """
    if not isinstance(args, tuple):
        args, tangents = (args,), (tangents,)
    out, f_vjp = vjp(f, *args)
    zeros = tree.map_tree(
        lambda leaf: np.zeros(np.shape(leaf), np.result_type(leaf) if _is_float(leaf) else None),
        out,
    )
    _, transposed = vjp(f_vjp, zeros)
    return out, transposed(tangents)[0]


def hvp(f: Function, args: Any, vectors: Any) -> Any:
    """The Hessian of the scalar `f` times a vector, without forming the Hessian.

    `args` and `vectors` are tuples of equal form (or one array each), as is the result.
    The Hessian is symmetric, so the vjp of the gradient is the product (Pearlmutter 1994).

    >>> import numpy as np, chainrule as cr
    >>> cr.hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    single = not isinstance(args, tuple)
    if single:
        args, vectors = (args,), (vectors,)
    _, gradient_vjp = vjp(grad(f, tuple(range(len(args)))), *args)
    products = gradient_vjp(vectors)
    return products[0] if single else products


def jacobian(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns the Jacobian of `f`, of shape `out.shape + x.shape`.

    Where `f` returns a tree (a dict, a list, a tuple), so does the Jacobian; where the argument is
    one, each of its leaves is a tree of that form again, and a sequence of `argnums` gives a tuple
    there. Costs one forward pass and one reverse pass per element of the output. Raises TypeError
    where an output is not floating point.

    >>> import numpy as np, chainrule as cr
    >>> cr.jacobian(lambda x: x[::-1] ** 2)(np.array([1.0, 3.0]))
    array([[0., 6.],
           [2., 0.]])
    >>> cr.jacobian(lambda p: {"y": p["a"] * p["b"]})({"a": 2.0, "b": 3.0})
    {'y': {'a': array(3.), 'b': array(2.)}}
    """
    _check_argnums(argnums)

    def jacobian_f(*args: Any, **kwargs: Any) -> Any:
        positions = _positions(argnums, args)
        chosen = tuple(args[position] for position in positions)
        recorded = _record(lambda *new: f(*_with(args, positions, new), **kwargs), chosen)
        blocks = [
            tree.unflatten(chosen, _jacobian_of_output(recorded, value, node))
            for value, node in recorded.outputs
        ]
        if not isinstance(argnums, Sequence):
            blocks = [of_arguments[0] for of_arguments in blocks]
        return tree.unflatten(recorded.result, blocks)

    return _named_after(f, "jacobian", jacobian_f)


def _jacobian_of_output(recorded: _Recorded, value: Any, node: Node | None) -> list[Array]:
    """The Jacobian of one output by each leaf of the arguments."""
    if not _is_float(value):
        raise _no_derivative(value)
    shape, inputs = np.shape(value), [leaf.out for leaf in recorded.leaves]
    if node is None or not value.size:
        return [np.zeros((*shape, *x.shape), x.dtype) for x in inputs]
    basis = np.eye(value.size, dtype=value.dtype).reshape(value.size, *shape)
    rows = [recorded.pull_back([(node, g)]) for g in basis]
    return [
        np.reshape(np.stack(of_input), (*shape, *x.shape))
        for of_input, x in zip(zip(*rows, strict=True), inputs, strict=True)
    ]


def hessian(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns the second derivatives of the scalar `f`.

    For an array x the shape is `x.shape + x.shape`; for a tree, each leaf of its form holds a tree
    of that form again, as does a tuple for a sequence of `argnums`.

    >>> import numpy as np, chainrule as cr
    >>> cr.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return _named_after(f, "hessian", jacobian(grad(f, argnums), argnums))
