"""Tensor: an array, and how it came about.

Each call of a primitive on tensors makes a `Node` that remembers the primitive, its arguments and
its result; nodes point at the nodes they came from, and together they are the tape. Every
differentiating transform records on a level of its own: a tensor of a higher level may hold one of
a lower level as its value, which is how derivatives nest.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.primitives.dispatch import AbstractArray, Array, named
from chainrule.primitives.primitive import Primitive
from chainrule.scope import NonFiniteError, current_scope

__all__ = [
    "Node",
    "Tensor",
    "check_finite",
    "new_level",
    "parameter",
    "require_float",
    "unwrap",
]

_serials = count()
_levels = count(1)


def new_level() -> int:
    """A level above all that exist: what is opened later lies inside what was opened before."""
    return next(_levels)


class Node:
    """One entry of the tape: a primitive with its arguments, its result and where they came from.

    `parents` pairs the position of an argument with the node that made it, for the arguments that
    have a rule. `watched` pairs each array of the user's with the copy the computation read. A leaf
    has no primitive. `layer` names the layer that was running.
    """

    __slots__ = (
        "args",
        "gradient",
        "layer",
        "out",
        "params",
        "parents",
        "primitive",
        "serial",
        "watched",
    )

    def __init__(
        self,
        primitive: Primitive | None = None,
        args: tuple[Any, ...] = (),
        params: dict[str, Any] | None = None,
        out: Any = None,
        parents: tuple[tuple[int, Node], ...] = (),
        watched: tuple[tuple[Any, Any], ...] = (),
    ) -> None:
        self.primitive = primitive
        self.args = args
        self.params = params or {}
        self.out = out
        self.parents = parents
        self.watched = watched
        self.serial = next(_serials)
        self.layer = current_scope().layer
        self.gradient: Any = None

    @property
    def is_leaf(self) -> bool:
        return self.primitive is None

    def release(self) -> None:
        """Let go of the arrays: this part of the tape has been used up."""
        self.args, self.out, self.parents, self.watched = (), None, (), ()

    @property
    def is_released(self) -> bool:
        return self.primitive is not None and not self.parents

    def check_unchanged(self) -> None:
        """Raise if an array this entry read has been written to since."""
        for original, copy in self.watched:
            if not np.array_equal(original, copy, equal_nan=copy.dtype.kind in "fc"):
                where = f" in layer {self.layer}" if self.layer else ""
                changed = int(np.sum(original != copy))
                raise ValueError(
                    f"an array of shape {copy.shape}, {copy.dtype}, was changed between the "
                    f"forward pass ({getattr(self.primitive, 'name', 'input')}{where}) and the "
                    f"backward pass, in {changed} of {copy.size} values: the gradient would belong "
                    "to neither. Call backward before changing it, or give the forward pass a copy"
                )


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
        array = np.asarray(new)
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

    def apply(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Tensor:
        """Compute with the values one level below, and record it if a gradient can flow back."""
        values: list[Any] = []
        parents: list[tuple[int, Node]] = []
        watched: list[tuple[Any, Any]] = []
        for position, argument in enumerate(args):
            foreign = True
            value = argument
            if isinstance(argument, Tensor) and argument.level == self.level:
                value, node = argument._value, argument.node
                foreign = node.is_leaf if node is not None else _is_writeable(value)
                if node is not None and primitive.rule(position) is not None:
                    parents.append((position, node))
            elif isinstance(argument, list | tuple):
                value = np.asarray(argument)
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
        if not parents:
            return Tensor(out, self.level)
        node = Node(primitive, tuple(values), params, out, tuple(parents), tuple(watched))
        return Tensor(out, self.level, node)

    def backward(self) -> None:
        """Leave on every parameter this scalar depends on its gradient, as `.grad`.

        `.grad` is replaced, never added to. The recorded computation is used up: a second call on
        the same result raises, and needs a new forward pass.
        """
        # The engine stands below this module in the house, and tensors are its input.
        from chainrule.autodiff import backward

        backward(self)

    def detach(self) -> Any:
        """The value of the lowest level, an ndarray that no gradient flows through (read-only)."""
        value = self._value
        while isinstance(value, Tensor):
            value = value._value
        return _read_only(value.view()) if _is_writeable(value) else value

    def item(self) -> Any:
        """The number of a tensor with one element, as Python's float; no gradient flows through."""
        return self.detach().item()

    def __bool__(self) -> bool:
        return bool(self.detach())

    def __float__(self) -> float:
        if self.node is None:
            return float(self.detach())
        raise TypeError(
            "float() of a tensor would lose its gradient silently: use .item() for the number, "
            "or the np function instead of the math one to keep the gradient"
        )

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.size == 1 and spec else str(self)

    def __repr__(self) -> str:
        name = "parameter" if self._is_parameter else "Tensor"
        if not isinstance(self._value, np.ndarray):
            return f"{name}({self._value!r})"
        body = np.array2string(self._value, separator=", ", prefix=f"{name}(", threshold=100)
        made_by = ""
        if self.node is not None and self.node.primitive is not None:
            made_by = f", made by {self.node.primitive.name}"
        return f"{name}({body}, shape={self.shape}, dtype={self.dtype}{made_by})"


def _is_writeable(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.flags.writeable


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def check_finite(array: Any, primitive: Primitive, layer: str, direction: str) -> None:
    """Raise `NonFiniteError` naming primitive, layer and direction if a value is not finite."""
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return
    kind = "NaN" if np.isnan(array).any() else "inf"
    bad = int(array.size - np.isfinite(array).sum())
    where = f" of layer {layer}" if layer else ""
    raise NonFiniteError(
        f"{primitive.name}{where} made {kind} in the {direction} pass: {bad} of {array.size} "
        f"values, shape {array.shape}, {array.dtype}. Look at its inputs: a logarithm or division "
        "of zero, an overflow, or a learning rate that is too large"
    )


def require_float(value: Any, name: str) -> Any:
    """The value as a floating-point array (Python numbers and lists of them become float64).

    Tensors and traced variables pass. Raises TypeError for integer, boolean and complex arrays,
    which have no derivative, naming the argument.
    """
    if not isinstance(value, AbstractArray):
        array = np.asarray(value)
        has_dtype = isinstance(value, np.ndarray | np.generic)
        if array.dtype.kind in "iu" and not has_dtype:
            array = array.astype(np.float64)
        value = array
    if value.dtype.kind != "f":
        raise TypeError(
            f"{name} has dtype {value.dtype}, shape {value.shape}: derivatives need floating-point "
            "numbers; convert it with .astype(float)"
        )
    return value


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


def unwrap(value: Any, level: int) -> tuple[Array, Node | None]:
    """A result seen from a level: its value below, and its node there (None: a constant).

    A tensor that has escaped from a transform inside, of a higher level, counts as its value.
    """
    while isinstance(value, Tensor) and value.level > level:
        value = value.value
    if isinstance(value, Tensor) and value.level == level:
        return value.value, value.node
    return value, None
