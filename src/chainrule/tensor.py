"""Tensor: an array, and how it came about.

Each call of a primitive on tensors makes a `Node` on the tape that remembers the primitive, its
arguments and its result. Every differentiating transform records on a level of its own: a tensor of
a higher level may hold one of a lower level as its value, which is how derivatives nest. What is
not a floating-point number (an index, a comparison) carries no gradient: it is a plain array.
"""

from __future__ import annotations

from itertools import count
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from chainrule.primitives.dispatch import AbstractArray, Array, named
from chainrule.primitives.operands import as_operand
from chainrule.primitives.primitive import Primitive
from chainrule.scope import current_scope
from chainrule.tape import Node, ancestors, backpropagate, check_finite

__all__ = ["Tensor", "new_level", "own", "parameter", "require_float", "unwrap"]

_levels = count(1)


def new_level() -> int:
    """A level above all that exist: what is opened later lies inside what was opened before."""
    return next(_levels)


class Tensor(AbstractArray):
    """An array whose operations are recorded; made by `parameter` and by the transforms.

    `value` is the array itself: writeable for a parameter, read-only for a computed result.
    Operators, indexing, methods and NumPy functions work as on an ndarray and return tensors.
    """

    __slots__ = ("_value", "level", "node")

    def __init__(self, value: Any, level: int = 0, node: Node | None = None) -> None:
        self._value = value
        self.level = level
        self.node = node

    @property
    def value(self) -> Any:
        """The array (of a nested derivative: the tensor one level below)."""
        return self._value

    @value.setter
    def value(self, new: npt.ArrayLike) -> None:
        if not self._is_parameter:
            raise AttributeError("only a parameter's value can be set; this tensor is computed")
        array = np.asarray(as_operand(new, "the new value"))
        if array.shape != self.shape:
            raise ValueError(
                f"the parameter has shape {self.shape}, the new value {array.shape}: "
                "give an array of the parameter's shape"
            )
        self._value = array.astype(self.dtype)

    @property
    def grad(self) -> Any:
        """The gradient the last `backward` left on this parameter: an ndarray, or None before."""
        if self._is_parameter and self.node is not None:
            return self.node.gradient
        raise AttributeError(
            "only parameters have .grad; ask for the gradient of a computed tensor by "
            "chainrule.gradients(loss, [tensor]) before calling backward"
        )

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if not (self._is_parameter and self.node is not None):
            raise AttributeError("only parameters have .grad")
        self.node.gradient = gradient

    @property
    def _is_parameter(self) -> bool:
        return self.level == 0 and self.node is not None and self.node.is_leaf

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self._value) if isinstance(self._value, float) else self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._value.dtype  # type: ignore[no-any-return]

    def note_name(self, name: str) -> None:
        named(name, self._value)

    def apply(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Compute with the values one level below, and record it if a gradient can flow back."""
        values: list[Any] = []
        parents: list[tuple[int, Node]] = []
        watched: list[tuple[Any, Any]] = []
        for position, argument in enumerate(args):
            if isinstance(argument, Tensor) and argument.level == self.level:
                value, node = argument._value, argument.node
                foreign = node.is_leaf if node is not None else _is_writeable(value)
                if node is not None and primitive.rule(position) is not None:
                    parents.append((position, node))
            elif isinstance(argument, AbstractArray):
                value, foreign = argument, False
            else:
                value = as_operand(argument, primitive)
                foreign = value is argument
            if foreign and isinstance(value, np.ndarray):
                copy = _read_only(value.copy())
                watched.append((value, copy))
                value = copy
            values.append(value)
        out = primitive(*values, **params)
        if not isinstance(out, AbstractArray):
            out = _read_only(np.asarray(out))
            if current_scope().detect_nonfinite:
                check_finite(out, primitive, current_scope().layer, "forward")
        if out.dtype.kind != "f":
            if out.dtype.kind not in "iub":
                as_operand(out, f"the result of {primitive.name}")
            return out if isinstance(out, AbstractArray) or out.ndim else out[()]
        if not parents:
            return Tensor(out, self.level)
        node = Node(primitive, tuple(values), params, out, tuple(parents), tuple(watched))
        return Tensor(out, self.level, node)

    def backward(self) -> None:
        """Leave on every parameter this scalar depends on its gradient, as `.grad`.

        `.grad` is replaced, never added to. The recorded computation is used up: a second call on
        the same result raises, and needs a new forward pass.
        """
        root = self.scalar_node()
        if self.level:
            raise ValueError(
                "backward() was called inside a transform such as chainrule.grad, which "
                "differentiates by its own arguments: call it on a loss computed outside, from "
                "parameters alone"
            )
        nodes = ancestors(root)
        for node, gradient in backpropagate({root: np.ones(self.shape, self.dtype)}).items():
            node.gradient = own(gradient)
        for node in nodes:
            if not node.is_leaf:
                node.release()

    def scalar_node(self) -> Node:
        """The node of a loss; raises ValueError where it is not one number, or has no node."""
        if self.node is None:
            raise ValueError(
                "the loss depends on no parameter, so there is nothing to differentiate: "
                "make the arrays to differentiate with chainrule.parameter"
            )
        if self.size != 1:
            raise ValueError(
                f"the loss has shape {self.shape}; a gradient needs one number: "
                "sum or average it first, or use chainrule.vjp"
            )
        return self.node

    def detach(self) -> Any:
        """The value of the lowest level, an ndarray that no gradient flows through (read-only)."""
        value = self._lowest
        if isinstance(value, AbstractArray):
            return value.detach()
        return _read_only(value.view()) if _is_writeable(value) else value

    @property
    def _lowest(self) -> Any:
        """The array below all levels; one that is being traced says itself that it has no value."""
        value = self._value
        while isinstance(value, Tensor):
            value = value._value
        return value

    def item(self) -> Any:
        """The number of a tensor with one element, as Python's float; no gradient flows through."""
        return self._lowest.item()

    @property
    def _carries_gradient(self) -> bool:
        """Whether this tensor, on its own level or one below, depends on what is differentiated."""
        value: Any = self
        while isinstance(value, Tensor):
            if value.node is not None:
                return True
            value = value._value
        return False

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self._carries_gradient:
            return super().__array__(dtype, copy)
        return np.array(self.detach(), dtype, copy=copy)

    def __bool__(self) -> bool:
        return bool(self._lowest)

    def __float__(self) -> float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __complex__(self) -> complex:
        return complex(self._number("complex"))

    def _number(self, conversion: str) -> Any:
        if self._carries_gradient:
            raise TypeError(
                f"{conversion}() of a tensor would lose its gradient silently: use .item() for the "
                "number, np functions instead of math's to keep the gradient, np.stack where "
                "numbers go into an array, or say chainrule.primitives.stop_gradient first"
            )
        return self._lowest

    def __round__(self, decimals: int = 0) -> Any:
        return np.round(self, decimals)

    def __format__(self, spec: str) -> str:
        if not spec and self.shape:
            return str(self)
        return format(self.item() if self.size == 1 else self.detach(), spec)

    # A copy of an entry of the tape would lead nowhere, so that its backward would reach no
    # parameter. Parameters and constants have no history, and are copied and pickled freely.

    def __copy__(self) -> Tensor:
        return self if not self._is_parameter else self.__reduce__()[0](*self.__reduce__()[1])

    def __reduce__(self) -> tuple[Any, ...]:
        if self._is_parameter and self.node is not None:
            return _stored_parameter, (self._value, self.node.gradient)
        if self._carries_gradient:
            self._refuse_copy()
        return Tensor, (self.detach(),)

    def _refuse_copy(self) -> NoReturn:
        raise TypeError(
            f"a tensor of shape {self.shape} that came out of a computation is not copied or "
            "pickled, its gradient would not reach what it was computed from: use the tensor "
            "itself, which never changes, or .detach() for its value"
        )

    def __repr__(self) -> str:
        name = "parameter" if self._is_parameter else "Tensor"
        if not isinstance(self._value, np.ndarray):
            return f"{name}({self._value!r})"
        body = np.array2string(self._value, separator=", ", prefix=f"{name}(", threshold=100)
        made_by = ""
        if self.node is not None and self.node.primitive is not None:
            made_by = f", made by {self.node.primitive.name}"
        return f"{name}({body}, shape={self.shape}, dtype={self.dtype}{made_by})"

    def _repr_html_(self) -> str:
        from chainrule import html  # for notebooks alone

        if not isinstance(self._value, np.ndarray):
            return html.block(html.source(repr(self)))
        if self._is_parameter and self.grad is not None:
            return html.block(
                html.array("parameter", self._value), html.array("gradient", np.asarray(self.grad))
            )
        name = "parameter" if self._is_parameter else "Tensor"
        if self.node is not None and self.node.primitive is not None:
            name += f", made by {self.node.primitive.name}"
        return html.block(html.array(name, self._value))


def _is_writeable(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.flags.writeable


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def require_float(value: Any, name: str) -> Any:
    """The value as a floating-point array (Python numbers and lists of them become float64).

    Tensors and traced variables pass. Raises TypeError for integer, boolean and complex arrays,
    which have no derivative, and for what is no plain array, naming the argument.
    """
    if not isinstance(value, AbstractArray):
        array = np.asarray(as_operand(value, name))
        has_dtype = isinstance(value, np.ndarray | np.generic)
        if array.dtype.kind in "iu" and not has_dtype:
            array = array.astype(np.float64)
        value = array
    else:
        value = value.as_float()
    if value.dtype.kind != "f":
        raise TypeError(
            f"{name} has dtype {value.dtype}, shape {value.shape}: derivatives need floating-point "
            "numbers; convert it with .astype(float)"
        )
    return value


def own(gradient: Array) -> Array:
    """A gradient in memory of its own: rules may hand out views, or one array twice."""
    return gradient if isinstance(gradient, AbstractArray) else np.array(gradient)


def parameter(value: npt.ArrayLike) -> Tensor:
    """A tensor that `backward` computes the gradient of; it keeps its own copy of the array.

    Raises TypeError for integer, boolean and complex arrays.

    >>> import numpy as np, chainrule as cr
    >>> w = cr.parameter([1.0, 2.0])
    >>> (w**2).sum().backward()
    >>> w.grad
    array([2., 4.])
    """
    if isinstance(value, Tensor):
        raise TypeError("the value is a tensor already; pass its .value to make a parameter of it")
    return Tensor(np.array(require_float(value, "the value")), 0, Node())


def _stored_parameter(value: npt.ArrayLike, gradient: Any) -> Tensor:
    """A parameter as it was copied or pickled, with the gradient it had."""
    copied = parameter(value)
    copied.grad = None if gradient is None else np.array(gradient)
    return copied


def unwrap(value: Any, level: int) -> tuple[Array, Node | None]:
    """A result seen from a level: its value below, and its node there (None: a constant).

    A tensor that has escaped from a transform inside, of a higher level, counts as its value.
    """
    while isinstance(value, Tensor) and value.level > level:
        value = value.value
    if isinstance(value, Tensor) and value.level == level:
        return value.value, value.node
    return value, None
