"""Along one axis of an image: where the places of a kernel lie, and what its elements meet there.

A convolution takes one sweep along each axis. Its cotangent by the images is a convolution too, of
the cotangent of the result, with a border of zeros, by the kernel turned round; with a stride, each
place of an image meets only every so-manieth element of the kernel, and there is a sweep for every
phase, the places that meet the same elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

__all__ = ["Border", "Sweep", "convolution_sweep", "transposed_sweeps"]

Border = tuple[int, int]
"""How many zeros stand before and behind an axis."""


@final
@dataclass(frozen=True, slots=True)
class Sweep:
    """The places 0 ... n - 1 of a kernel along one axis.

    Place p is element `start + p * step` of the result. There, tap t of `n_taps` is the kernel's
    element `tap_start + t * tap_step`, and meets element `first + p * stride + t * spread` of the
    source with its border.
    """

    n: int
    start: int
    step: int
    n_taps: int
    tap_start: int
    tap_step: int
    first: int
    stride: int
    spread: int

    @property
    def behind(self) -> int:
        """The first element of the source behind all that are met."""
        return self.first + (self.n - 1) * self.stride + (self.n_taps - 1) * self.spread + 1


def convolution_sweep(n: int, size: int, stride: int, dilation: int) -> Sweep:
    """The n places of a kernel of this size in an image that has its border."""
    return Sweep(n, 0, 1, size, 0, 1, 0, stride, dilation)


def transposed_sweeps(
    length: int, n: int, size: int, stride: int, before: int, dilation: int
) -> tuple[Sequence[Sweep], Border]:
    """For the elements of an image, the elements of y (n) whose kernels reach them.

    Element h of an image of this `length`, with `before` zeros of padding before it, is reached by
    element k of the kernel at place p where h + before = p * stride + k * dilation. So k is one of
    those for which k * dilation has the remainder of h + before by the stride. The border is what
    y needs.
    """
    apart = stride // math.gcd(stride, dilation)  # taps of the same remainder
    sweeps = []
    for phase in range(stride):
        low = -((phase - before) // stride)  # the smallest q with h = q * stride + phase - before
        high = (length - 1 + before - phase) // stride
        if high < low:
            continue
        taps = [k for k in range(size) if k * dilation % stride == phase]
        last = taps[-1] if taps else 0
        sweeps.append(
            Sweep(
                n=high - low + 1,
                start=low * stride + phase - before,
                step=stride,
                n_taps=len(taps),
                tap_start=last,
                tap_step=-apart,
                first=low - (last * dilation - phase) // stride if taps else 0,
                stride=1,
                spread=apart * dilation // stride,
            )
        )
    met = [sweep for sweep in sweeps if sweep.n_taps]
    top = max([0, *(-sweep.first for sweep in met)])
    bottom = max([0, *(sweep.behind - n for sweep in met)])
    shifted = [replace(s, first=s.first + top) if s.n_taps else s for s in sweeps]
    return shifted, (top, bottom)
