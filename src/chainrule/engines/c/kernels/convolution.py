"""Convolution, and its cotangents by the images and by the kernel, as C loops for the shape.

All three are products of matrices whose rows need not be written down: a tile of the result is
summed in registers, in loops over the kernel's elements and channels (`place_sums`), or over places
(`kernel_sums`). The lanes of a tile are neighbouring filters, or channels for the cotangent by the
images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from chainrule.compiler.graph import Equation
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.engines.c.kernels.kernel_sums import KernelSums
from chainrule.engines.c.kernels.place_sums import Fold, PlaceSums
from chainrule.engines.c.kernels.pointers import (
    Finish,
    PointerWriter,
    as_it_is,
    c_type,
    pointer_kernel,
)
from chainrule.engines.c.kernels.sweeps import Border, convolution_sweep, transposed_sweeps
from chainrule.engines.c.sharing import shares_convolution

__all__ = ["KERNELS"]


@final
@dataclass(frozen=True, slots=True)
class _How:
    """The options of a convolution, each (vertical, horizontal)."""

    stride: tuple[int, int]
    padding: tuple[Border, Border]
    dilation: tuple[int, int]
    groups: int

    @staticmethod
    def of(equation: Equation) -> _How:
        told = {**equation.primitive.defaults, **equation.params}
        return _How(told["stride"], told["padding"], told["dilation"], told["groups"])

    def is_channelwise(self, kernel: tuple[int, ...]) -> bool:
        """Whether each channel has one filter of its own: groups of one channel and one filter."""
        return self.groups > 1 and kernel[2] == 1 and kernel[3] == self.groups

    def met(self) -> str:
        """The place in an image that element (i, j) of the kernel meets, as a formula."""
        terms = []
        for axis, (place, tap) in enumerate((("row", "i"), ("column", "j"))):
            stride, dilation = self.stride[axis], self.dilation[axis]
            before = self.padding[axis][0]
            term = f"{stride} * {place}" if stride > 1 else place
            term += f" + {dilation} * {tap}" if dilation > 1 else f" + {tap}"
            terms.append(f"{term} - {before}" if before else term)
        return ", ".join(terms)

    def comment(self, formula: str, equation: Equation) -> tuple[str, ...]:
        """The formula, and the shapes of all arrays."""
        arrays = [*equation.variables, equation.out]
        shapes = ", ".join(f"${number} {array.shape}" for number, array in enumerate(arrays))
        groups = f", in {self.groups} groups" if self.groups > 1 else ""
        return (f"/* {formula}", f"   {shapes}{groups} */")


def _convolution(equation: Equation) -> PlaceSums:
    how, out = _How.of(equation), equation.out
    x, kernel, *bias = (v.shape for v in equation.variables)
    rows, columns = (
        convolution_sweep(out.shape[1 + i], kernel[i], how.stride[i], how.dilation[i])
        for i in range(2)
    )
    formula = f"Σ(i, j, c) $1[i, j, c, d] · $0[n, {how.met()}, c]"
    formula += " + $2[d]" if bias else ""
    return PlaceSums(
        comment=how.comment(f"${2 + len(bias)}[n, row, column, d] = {formula}", equation),
        source=x,
        kernel=kernel,
        result=out.shape,
        borders=how.padding,
        phases=((rows, columns),),
        groups=1 if how.is_channelwise(kernel) else how.groups,
        group_step=kernel[3] // how.groups,
        channel_step=kernel[3],
        lane_step=1,
        ctype=c_type(out),
        is_channelwise=how.is_channelwise(kernel),
        is_shared=shares_convolution(equation) and x[0] > 1,
    )


def _transposed(equation: Equation) -> PlaceSums:
    how, out = _How.of(equation), equation.out
    y, kernel = (v.shape for v in equation.variables)
    formula = (
        f"$2[n, {how.met()}, c] = Σ(row, column, i, j, d) $1[i, j, c, d] · $0[n, row, column, d]"
    )
    sweeps = [
        transposed_sweeps(
            out.shape[1 + i], y[1 + i], kernel[i], how.stride[i], how.padding[i][0], how.dilation[i]
        )
        for i in range(2)
    ]
    (rows, border), (columns, sides) = sweeps
    fold = None
    is_channelwise = how.is_channelwise(kernel)
    if not is_channelwise:
        columns, sides = [convolution_sweep(y[2], 1, 1, 1)], (0, 0)
        fold = Fold(kernel[1], how.stride[1], how.dilation[1], how.padding[1][0])
    return PlaceSums(
        comment=how.comment(formula, equation),
        source=y,
        kernel=kernel,
        result=out.shape,
        borders=(border, sides),
        phases=tuple((row, column) for row in rows for column in columns),
        groups=1 if is_channelwise else how.groups,
        group_step=kernel[3] // how.groups,
        channel_step=1,
        lane_step=1 if is_channelwise else kernel[3],
        ctype=c_type(out),
        fold=fold,
        is_channelwise=is_channelwise,
        is_shared=shares_convolution(equation) and y[0] > 1,
    )


def _kernel_sums(equation: Equation) -> KernelSums:
    how, out = _How.of(equation), equation.out
    x, y = (v.shape for v in equation.variables)
    formula = f"$2[i, j, c, d] = Σ(n, row, column) $0[n, {how.met()}, c] · $1[n, row, column, d]"
    return KernelSums(
        comment=how.comment(formula, equation),
        image=x,
        y=y,
        result=out.shape,
        stride=how.stride,
        borders=how.padding,
        dilation=how.dilation,
        groups=1 if how.is_channelwise(out.shape) else how.groups,
        ctype=c_type(out),
        is_channelwise=how.is_channelwise(out.shape),
        is_shared=shares_convolution(equation),
    )


def _write_convolve(
    equation: Equation, pointers: Sequence[str], finish: Finish = as_it_is
) -> list[str]:
    x, kernel, out = pointers
    return _convolution(equation).write(x, kernel, out, finish)


def _write_convolve_add(
    equation: Equation, pointers: Sequence[str], finish: Finish = as_it_is
) -> list[str]:
    x, kernel, bias, out = pointers

    def add(value: str, index: str) -> str:
        total = f"{value} + {bias}[{index}]"
        return total if finish is as_it_is else finish(f"({total})", index)

    return _convolution(equation).write(x, kernel, out, add)


def _write_transposed(
    equation: Equation, pointers: Sequence[str], finish: Finish = as_it_is
) -> list[str]:
    y, kernel, out = pointers
    return _transposed(equation).write(y, kernel, out, finish)


def _write_kernel_vjp(
    equation: Equation, pointers: Sequence[str], finish: Finish = as_it_is
) -> list[str]:
    x, y, out = pointers
    return _kernel_sums(equation).write(x, y, out, finish)


def _kernel(write: PointerWriter, sums: Callable[[Equation], PlaceSums | KernelSums]) -> Kernel:
    return pointer_kernel(
        write,
        workspace=lambda equation: sums(equation).workspace,
        shares=lambda equation: sums(equation).is_shared,
        for_each_part=lambda equation: sums(equation).for_each_part,
    )


KERNELS: dict[str, Kernel] = {
    "convolve": _kernel(_write_convolve, _convolution),
    "convolve_add": _kernel(_write_convolve_add, _convolution),
    "convolve_kernel_vjp": _kernel(_write_kernel_vjp, _kernel_sums),
    "convolve_transpose": _kernel(_write_transposed, _transposed),
}
"""The kernels by the names of their primitives."""
