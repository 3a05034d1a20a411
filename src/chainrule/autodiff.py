"""The reverse pass, and the transforms built on it.

`backpropagate` is the whole of reverse-mode differentiation: visit the nodes from the last to the
first, ask each for the cotangents of its arguments, and add up what arrives at each node. It visits
by serial number, so it needs no recursion; it sums to the argument's shape and casts to its dtype
in one place, so that no rule has to. See docs/reverse-pass.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.primitives import astype, sum_
from chainrule.primitives.dispatch import AbstractArray, Array
from chainrule.primitives.primitive import Primitive, Rule
from chainrule.scope import RuleCall, current_scope, scope
from chainrule.tensor import Node, Tensor, check_finite, new_level, require_float, unwrap

__all__ = [
    "backpropagate",
    "backward",
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


# The reverse pass


def backpropagate(
    root: Node, cotangent: Array, targets: Iterable[Node] | None = None
) -> dict[Node, Array]:
    """Carry the cotangent of one result back to the targets (by default: every leaf).

    Returns the cotangent of each target that the result depends on. Only nodes on a way to a
    target are visited. Raises ValueError where part of the tape has been used up, or an array
    was changed since it was read.
    """
    nodes = _ancestors(root)
    wanted = {node for node in nodes if node.is_leaf} if targets is None else set(targets)
    with scope(section="backward"):
        return _carry_back(nodes, cotangent, wanted)


def _carry_back(nodes: list[Node], cotangent: Array, wanted: set[Node]) -> dict[Node, Array]:
    """The loop of the reverse pass; the last of the nodes is the root."""
    on_the_way = set(wanted)
    for node in nodes:  # in the order of their making, so parents come before children
        if any(parent in on_the_way for _, parent in node.parents):
            on_the_way.add(node)
    cotangents: dict[Node, Array] = {nodes[-1]: cotangent}
    for node in reversed(nodes):
        if node not in on_the_way or node not in cotangents:
            continue
        g = cotangents[node] if node in wanted else cotangents.pop(node)
        if isinstance(g, AbstractArray):
            g.note_cotangent_of(node.out)
        node.check_unchanged()
        for position, parent in node.parents:
            if parent in on_the_way:
                contribution = _apply_rule(node, position, g)
                earlier = cotangents.get(parent)
                cotangents[parent] = contribution if earlier is None else earlier + contribution
    return {node: g for node, g in cotangents.items() if node in wanted}


def _ancestors(root: Node) -> list[Node]:
    """The root and all nodes it came from, in the order of their making."""
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.is_released:
            raise ValueError(
                "the recorded computation was used up by an earlier backward(): "
                "run the forward pass again to differentiate it again"
            )
        for _, parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.serial)


def _apply_rule(node: Node, position: int, g: Array) -> Array:
    """The cotangent one argument of a node receives, in the argument's own shape and dtype."""
    assert node.primitive is not None  # a leaf has no parents
    rule = node.primitive.rule(position)
    assert rule is not None  # only arguments with a rule become parents
    arguments = (g, node.out, *node.args)
    if isinstance(node.out, AbstractArray):  # recorded again: the record shall name the rule
        with scope(rule=RuleCall(*_describe_rule(node.primitive, position, rule, arguments))):
            contribution = rule(*arguments, **node.params)
    else:
        contribution = rule(*arguments, **node.params)
    if current_scope().detect_nonfinite and isinstance(contribution, np.ndarray | np.generic):
        check_finite(contribution, node.primitive, node.layer, "backward")
    return _fit(contribution, node.args[position], node.primitive, position)


def _describe_rule(
    primitive: Primitive, position: int, rule: Rule, arguments: tuple[Array, ...]
) -> tuple[str, tuple[tuple[str, Array], ...]]:
    """A name for the rule, such as multiply_vjp_y, and its arguments by its own names of them."""
    code = getattr(rule, "__code__", None)  # a callable object has none
    names = code.co_varnames[: min(code.co_argcount, len(arguments))] if code else ()
    names += tuple(f"x{i}" for i in range(len(arguments) - len(names)))
    which = "" if len(arguments) == 3 else f"_{names[position + 2]}"
    return f"{primitive.name}_vjp{which}", tuple(zip(names, arguments, strict=True))


def _fit(g: Array, argument: Array, primitive: Primitive, position: int) -> Array:
    """Sum over the axes along which the argument was broadcast, and cast to its dtype."""
    shape = argument.shape
    if g.shape != shape:
        n_added = len(g.shape) - len(shape)
        added = tuple(range(n_added))
        stretched = tuple(
            n_added + axis
            for axis, size in enumerate(shape)
            if size == 1 and n_added + axis >= 0 and g.shape[n_added + axis] != 1
        )
        if stretched:
            g = sum_(g, axis=stretched, keepdims=True)
        if added:
            g = sum_(g, axis=added)
        if g.shape != shape:
            raise ValueError(
                f"the vjp rule of {primitive.name} for argument {position} returned shape "
                f"{g.shape}, but the argument has shape {shape}"
            )
    if g.dtype != argument.dtype:
        g = astype(g, dtype=argument.dtype)
    return g


# Tensor style


def backward(loss: Tensor) -> None:
    """What `Tensor.backward` does."""
    root = _scalar_node(loss)
    if loss.level:
        raise ValueError(
            "backward() was called inside a transform such as chainrule.grad, which differentiates "
            "by its own arguments: call it on a loss computed outside, from parameters alone"
        )
    nodes = _ancestors(root)
    for node, gradient in backpropagate(root, np.ones(loss.shape, loss.dtype)).items():
        node.gradient = _own(gradient)
    for node in nodes:
        if not node.is_leaf:
            node.release()


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
    root = _scalar_node(loss)
    if any(tensor.level != loss.level for tensor in tensors):
        raise ValueError(
            "the loss and the tensors were recorded by different transforms: inside "
            "chainrule.grad, gradients takes tensors computed from its arguments"
        )
    nodes = [tensor.node for tensor in tensors]
    found = backpropagate(
        root, np.ones(loss.shape, loss.dtype), [node for node in nodes if node is not None]
    )
    return [
        _own(found[node]) if node in found else np.zeros(tensor.shape, tensor.dtype)
        for tensor, node in zip(tensors, nodes, strict=True)
    ]


def _scalar_node(loss: Tensor) -> Node:
    if not isinstance(loss, Tensor) or loss.node is None:
        raise ValueError(
            "the loss depends on no parameter, so there is nothing to differentiate: "
            "make the arrays to differentiate with chainrule.parameter"
        )
    if loss.size != 1:
        raise ValueError(
            f"the loss has shape {loss.shape}; a gradient needs one number: "
            "sum or average it first, or use chainrule.vjp"
        )
    return loss.node


def _own(gradient: Array) -> Array:
    """A gradient in memory of its own: rules may hand out views, or one array twice."""
    return gradient if isinstance(gradient, AbstractArray) else np.array(gradient)


# Function style


def vjp(f: Function, *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of `f` and its vector-Jacobian product, a function of the output's cotangent.

    `args` are arrays, or nested dicts, lists and tuples of them, and the returned function gives
    one cotangent per argument, in the same form. It may be called many times.
    Raises TypeError for arguments that are not floating point.

    >>> import numpy as np, chainrule as cr
    >>> out, f_vjp = cr.vjp(np.sin, np.array([0.0, np.pi]))
    >>> f_vjp(np.ones(2))
    (array([ 1., -1.]),)
    """
    level = new_level()
    arrays = [require_float(leaf, "an argument") for leaf in tree.flatten(args)]
    tensors = [Tensor(array, level, Node(out=array)) for array in arrays]
    result = f(*tree.unflatten(args, list(tensors)))
    outputs = tree.flatten(result)
    unwrapped = [unwrap(output, level) for output in outputs]
    out = tree.unflatten(result, [value for value, _ in unwrapped])

    def f_vjp(cotangent: Any) -> tuple[Any, ...]:
        total: dict[Node, Array] = {}
        for (value, node), g in zip(unwrapped, tree.flatten_as(out, cotangent), strict=True):
            if node is None:
                continue
            g = _as_cotangent(g, value)
            for target, contribution in backpropagate(node, g).items():
                earlier = total.get(target)
                total[target] = contribution if earlier is None else earlier + contribution
        found = [
            _own(total[tensor.node]) if tensor.node in total else np.zeros(array.shape, array.dtype)
            for tensor, array in zip(tensors, arrays, strict=True)
        ]
        return tree.unflatten(args, found)  # type: ignore[no-any-return]

    return out, f_vjp


def _as_cotangent(g: Any, value: Array) -> Array:
    g = g if isinstance(g, AbstractArray) else np.asarray(g, value.dtype)
    if g.shape != value.shape:
        raise ValueError(f"the output has shape {value.shape} but its cotangent {g.shape}")
    return g


def value_and_grad(
    f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the scalar `f(*args)` and its gradient by the chosen arguments.

    The gradient has the form of the argument (a dict gives a dict); a sequence of `argnums` gives
    a tuple. With `has_aux`, `f` returns `(scalar, tree of arrays)` and the value is that pair.
    Raises ValueError where `f` is not scalar, TypeError for arguments without a derivative.

    >>> import numpy as np, chainrule as cr
    >>> cr.value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    (array(5.), array([2., 4.]))
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if len(set(positions)) < len(positions):
        raise ValueError(f"argnums={argnums} names an argument twice: each has one gradient")

    def value_and_grad_f(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        if positions and max(positions) >= len(args):
            raise ValueError(
                f"argnums={argnums} asks for argument {max(positions)}, but the function was "
                f"called with {len(args)}: differentiated arguments are passed by position"
            )
        aux: list[Any] = []

        def scalar(*chosen: Any) -> Any:
            everything = list(args)
            for position, value in zip(positions, chosen, strict=True):
                everything[position] = value
            out = f(*everything, **kwargs)
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
            return out

        value, f_vjp = vjp(scalar, *(args[position] for position in positions))
        dtype = value.dtype if hasattr(value, "dtype") else np.float64
        grads = f_vjp(np.ones(np.shape(value), dtype))
        result = (value, aux[0]) if has_aux else value
        return result, grads[0] if isinstance(argnums, int) else grads

    return _named_after(f, "value_and_grad", value_and_grad_f)


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
    if isinstance(value, AbstractArray | np.ndarray):
        return f"shape {value.shape}, {value.dtype}"
    return "None" if value is None else f"a {type(value).__name__}"


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
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
    zeros = tree.map_tree(lambda leaf: np.zeros(np.shape(leaf), np.result_type(leaf)), out)
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


def jacobian(f: Function, argnum: int = 0) -> Function:
    """The function that returns the Jacobian of `f`, of shape `out.shape + x.shape`.

    Costs one forward pass and one reverse pass per element of the output.

    >>> import numpy as np, chainrule as cr
    >>> cr.jacobian(lambda x: x[::-1] ** 2)(np.array([1.0, 3.0]))
    array([[0., 6.],
           [2., 0.]])
    """

    def jacobian_f(*args: Any, **kwargs: Any) -> Any:
        def of_one(x: Any) -> Any:
            everything = list(args)
            everything[argnum] = x
            return f(*everything, **kwargs)

        out, f_vjp = vjp(of_one, args[argnum])
        if isinstance(out, tuple | list | dict):
            raise ValueError(
                f"the function returned {_describe(out)}; a Jacobian is that of one array: "
                "join the results with np.concatenate, or use chainrule.vjp"
            )
        out = out if isinstance(out, AbstractArray) else np.asarray(out)
        basis = np.eye(out.size, dtype=out.dtype).reshape(out.size, *out.shape)
        rows = [f_vjp(g)[0] for g in basis]
        x_shape = np.shape(args[argnum])
        if not rows:
            return np.zeros((*out.shape, *x_shape), out.dtype)
        return np.reshape(np.stack(rows), (*out.shape, *x_shape))

    return _named_after(f, "jacobian", jacobian_f)


def hessian(f: Function, argnum: int = 0) -> Function:
    """The function that returns the matrix of second derivatives of the scalar `f`.

    Its shape is `x.shape + x.shape`.

    >>> import numpy as np, chainrule as cr
    >>> cr.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return _named_after(f, "hessian", jacobian(grad(f, argnum), argnum))
