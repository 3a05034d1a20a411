"""How an equation is computed by NumPy: as an expression, or by a call that writes to memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.compiler.formula import INFIX
from chainrule.compiler.graph import Atom, Equation, Variable
from chainrule.compiler.naming import Symbol
from chainrule.compiler.trace import SCALAR_POWER
from chainrule.engines.numpy.borrow import Borrowed
from chainrule.engines.numpy.code import (
    Attribute,
    Call,
    Code,
    Infix,
    Item,
    Literal,
    Method,
    NumPy,
    Statement,
    Tuple,
)
from chainrule.engines.numpy.kernels import Kernel, kernel_for
from chainrule.engines.numpy.kernels.rows import add_rows, picks_rows
from chainrule.engines.numpy.ready import ReadyArrays
from chainrule.primitives.indexing import Slot

__all__ = ["NumPyAbilities", "Writer"]

Operand = Callable[[Atom], Code]
Words = tuple[tuple[str, Code], ...]

_REDUCTIONS = {
    "sum": "add.reduce",
    "prod": "multiply.reduce",
    "max": "maximum.reduce",
    "min": "minimum.reduce",
}
_WRITE_OUT = {
    "clip", "concatenate", "matmul", "random_uniform", "scatter_add", "where", *_REDUCTIONS,
}  # fmt: skip
_SIGNS = {"add", "subtract", "multiply", "divide", "power", *INFIX} - {"power", "matmul"}


@dataclass(frozen=True)
class NumPyAbilities:
    """What NumPy can do with memory, in an exact program or in one that may round otherwise."""

    exact: bool

    def writes_into(self, equation: Equation) -> bool:
        """Whether NumPy can write the equation's result to memory that it is given."""
        if not equation.out.shape:
            return False  # a number is made faster than it is written anywhere
        is_ufunc = isinstance(equation.primitive.evaluate, np.ufunc)
        takes_out = is_ufunc or equation.name in _WRITE_OUT
        if equation.name == "where":
            # np.copyto refuses what np.where takes: conditions of other dtypes than bool, and
            # numbers that do not fit, which wrap
            condition, *_ = equation.args
            takes_out = isinstance(condition, Variable) and condition.dtype == np.bool_
            if equation.out.dtype.kind in "iu":
                takes_out = takes_out and all(isinstance(a, Variable) for a in equation.args)
        return takes_out or _kernel_of(equation, self.exact) is not None

    def writes_over(self, equation: Equation, position: int) -> bool:
        """Whether NumPy can write the result over this argument as it reads it.

        A choice is written in two calls: first the third argument, then the second over it.
        """
        if equation.name == "where":
            return position == 2 and equation.args[2] not in equation.args[:2]
        return equation.primitive.elementwise


def _kernel_of(equation: Equation, exact: bool) -> Kernel | None:
    shapes = [a.shape if isinstance(a, Variable) else () for a in equation.args]
    return kernel_for(equation.primitive, shapes, equation.params, exact)


@dataclass(frozen=True)
class Writer:
    """Puts equations into code.

    In an `exact` program every call gives the bits of the primitive's own form; elsewhere sums over
    rows are products, which BLAS does in a third of the time. In a `small` one, where no array is
    large, what a call of NumPy costs beside the computing is worth saving: numbers stand ready as
    arrays, and functions have bare names.
    """

    borrowed: Borrowed
    ready: ReadyArrays
    exact: bool
    small: bool
    imports: dict[str, Symbol]
    threads: Mapping[Variable, int]

    def expression(self, equation: Equation, operand: Operand) -> Code:
        """The equation as an expression that makes its result anew, or a view.

        What has no notation here is a call of the primitive's NumPy form.
        """
        name, params = equation.name, equation.params
        args = tuple(map(operand, equation.args))
        out = equation.out
        if out.is_number:
            return Infix(name, args)
        if equation.primitive is SCALAR_POWER:
            return Infix("power", args)
        if name in _SIGNS and not out.shape and len(args) == 2 and not _are_numbers(equation):
            return Infix(name, args)
        if name == "transpose" and _reverses_axes(equation):
            return Attribute(args[0], "T")
        if name == "transpose":
            return Method(args[0], "transpose", tuple(map(Literal, params["axes"])))
        if name == "index" and not _is_number(equation.args[0]):
            item = Item(args[0], _keys(equation, args))
            # an index that is one number cuts out a view, which the plan does not know of
            cuts = any(isinstance(a, Variable) and not a.shape for a in equation.args[1:])
            return Method(item, "copy") if cuts else item
        if name == "reshape" and not _is_number(equation.args[0]):
            shape = tuple(map(Literal, out.shape)) or (Tuple(()),)
            return Method(args[0], "reshape", shape)
        if name == "broadcast_to":
            return Call(NumPy("broadcast_to"), (args[0], Literal(out.shape)))
        if name == "astype" and not _is_number(equation.args[0]):
            return Method(args[0], "astype", (Literal(np.dtype(params["dtype"])),))
        if name in _REDUCTIONS:
            return Call(NumPy(_REDUCTIONS[name]), args, _reduction_words(equation))
        if name == "concatenate":
            return Call(NumPy("concatenate"), (Tuple(args),), (("axis", Literal(params["axis"])),))
        if name == "where":
            return Call(NumPy("where"), args)
        if name == "vdot":
            return Call(NumPy("vdot"), args)
        if name == "random_uniform":
            dtype = Literal(np.dtype(params["dtype"]))
            return Method(args[0], "random", (Literal(tuple(params["shape"])), dtype))
        if name == "matmul":
            return Infix(name, args)
        return Call(self.borrowed.call(equation.primitive), args, _words(equation))

    def assign(self, equation: Equation, target: Symbol, operand: Operand) -> list[Statement]:
        """The statements that make the equation's result anew and call it `target`."""
        if equation.name == "scatter_add":
            zeros = Call(NumPy("zeros"), (Literal(equation.out.shape), Literal(equation.out.dtype)))
            _, add = self.write_into(equation, target, operand)
            return [Statement(zeros, target), add]
        if _kernel_of(equation, self.exact) is not None:
            sizes = (Literal(equation.out.shape), Literal(equation.out.dtype))
            memory = Statement(Call(NumPy("empty"), sizes), target)
            return [memory, *self.write_into(equation, target, operand)]
        return [Statement(self.expression(equation, operand), target)]

    def write_into(self, equation: Equation, out: Symbol, operand: Operand) -> list[Statement]:
        """The statements that write the equation's result to the memory called `out`."""
        name, params = equation.name, equation.params
        if isinstance(equation.primitive.evaluate, np.ufunc) and name != "matmul":
            args = tuple(self._ready_operand(equation, atom, operand) for atom in equation.args)
            function = self.borrowed.call(equation.primitive)
            assert isinstance(function, NumPy)
            return [self._into(function.name, args, out)]
        args = tuple(map(operand, equation.args))
        if name == "matmul":
            is_plain = all(isinstance(a, Variable) and len(a.shape) == 2 for a in equation.args)
            return [self._into("dot" if is_plain and not self.exact else "matmul", args, out)]
        if name == "sum" and _sums_rows(equation) and not self.exact:
            (x,) = equation.variables
            return [self._into("dot", (self.ready.ones(x.shape[0], x.dtype), args[0]), out)]
        if name in _REDUCTIONS:
            return [self._into(_REDUCTIONS[name], args, out, _reduction_words(equation))]
        if name == "where":
            lines = [] if args[2] is out else [self._into("copyto", (out, args[2]))]
            return [*lines, self._into("copyto", (out, args[1]), words=(("where", args[0]),))]
        if name == "random_uniform":
            dtype = Literal(np.dtype(params["dtype"]))
            draw = Method(args[0], "random", (), (("dtype", dtype), ("out", out)))
            return [Statement(draw)]
        if name == "clip":
            return [self._into("clip", args, out)]
        if name == "concatenate":
            words: Words = (("axis", Literal(params["axis"])),)
            return [self._into("concatenate", (Tuple(args),), out, words)]
        if name == "scatter_add":
            return [Statement(Method(out, "fill", (Literal(0),))), self._add(equation, out, args)]
        kernel = _kernel_of(equation, self.exact)
        assert kernel is not None  # nothing else writes into memory
        words = _words(equation)
        if kernel.takes_threads and (threads := self.threads.get(equation.out, 1)) > 1:
            words = (*words, ("threads", Literal(threads)))
        return [Statement(Call(self.borrowed.function(kernel.function), args, words, out))]

    def _into(
        self,
        name: str,
        args: tuple[Code, ...],
        out: Code | None = None,
        words: Words = (),
    ) -> Statement:
        is_worth_it = self.small and out is not None and not words and "." not in name
        bare = self.imports.setdefault(name, Symbol(name)) if is_worth_it else None
        return Statement(Call(NumPy(name, bare), args, words, out))

    def _ready_operand(self, equation: Equation, atom: Atom, operand: Operand) -> Code:
        """A number as an array that stands ready, in the dtype of the array that it meets."""
        if isinstance(atom, Variable | bool):
            return operand(atom)
        (array,) = equation.variables  # a ufunc has two arguments at most
        dtype = array.dtype
        # what overflows warns where it is computed with, not where the file is read
        if dtype.kind != "f" or float(np.finfo(dtype).max) < abs(atom) < math.inf:
            return operand(atom)
        if atom == 0 and equation.name == "maximum" and not np.signbit(atom):
            return self.ready.zeros(equation.out)
        return self.ready.number(atom, dtype) if self.small else operand(atom)

    def _add(self, equation: Equation, out: Symbol, args: tuple[Code, ...]) -> Statement:
        """The statement that adds values to zeros; slices and masks name no place twice, index
        arrays may.
        """
        if all(isinstance(a, Variable) and a.dtype == np.bool_ for a in equation.args[1:]):
            return Statement(args[0], Item(out, _keys(equation, args)))
        if picks_rows(equation.params["key"]):
            return Statement(Call(self.borrowed.function(add_rows), (out, args[1], args[0])))
        key = Item(NumPy("s_"), _keys(equation, args))
        return Statement(Call(NumPy("add.at"), (out, key, args[0])))


def _are_numbers(equation: Equation) -> bool:
    return all(map(_is_number, equation.args))


def _is_number(atom: Atom) -> bool:
    return not isinstance(atom, Variable) or atom.is_number


def _words(equation: Equation) -> Words:
    """The static parameters that are not as the NumPy form has them by itself."""
    defaults = equation.primitive.defaults
    return tuple(
        (key, Literal(value))
        for key, value in equation.params.items()
        if key not in defaults or repr(defaults[key]) != repr(value)
    )


def _reverses_axes(equation: Equation) -> bool:
    axes = equation.params["axes"]
    return axes is None or tuple(axes) == tuple(reversed(range(len(axes))))


def _sums_rows(equation: Equation) -> bool:
    """Whether this is the sum over the rows of a matrix, a product with a vector of ones."""
    x, params = equation.args[0], equation.params
    if not isinstance(x, Variable) or len(x.shape) != 2 or not x.is_array:
        return False
    is_one_dtype = x.dtype == equation.out.dtype and x.dtype in (np.float32, np.float64)
    return is_one_dtype and params["axis"] in (0, (0,)) and not params["keepdims"]


def _reduction_words(equation: Equation) -> Words:
    axis = equation.params.get("axis")
    axis = int(axis[0]) if isinstance(axis, tuple) and len(axis) == 1 else axis
    keepdims = (("keepdims", Literal(True)),) if equation.params.get("keepdims") else ()
    return (("axis", Literal(axis)), *keepdims)


def _keys(equation: Equation, args: tuple[Code, ...]) -> tuple[Any, ...]:
    """The key of an indexing, with code in the place of index arrays."""
    return tuple(
        args[part.number + 1] if isinstance(part, Slot) else part for part in equation.params["key"]
    )
