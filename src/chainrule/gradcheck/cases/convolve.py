"""Example calls of convolution and of the windows that pooling is composed of."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng

__all__ = ["cases"]

Shape = tuple[int, ...]

# Shapes of images and kernel, and what the convolution is told beside them.
_CONVOLUTIONS: tuple[tuple[Shape, Shape, dict[str, Any]], ...] = (
    ((2, 4, 5, 2), (2, 3, 2, 3), {}),
    ((1, 3, 3, 1), (3, 3, 1, 1), {}),
    ((2, 3, 4, 3), (1, 1, 3, 2), {}),
    ((2, 5, 6, 1), (3, 2, 1, 2), {"stride": (2, 1)}),
    ((1, 7, 8, 2), (2, 3, 2, 2), {"stride": (1, 3), "padding": ((1, 0), (0, 2))}),
    ((2, 6, 7, 1), (2, 3, 1, 2), {"dilation": (2, 3), "padding": ((0, 0), (1, 1))}),
    ((1, 8, 7, 24), (3, 3, 24, 2), {"stride": (2, 2), "dilation": (1, 2)}),
    ((2, 4, 5, 4), (2, 2, 2, 6), {"groups": 2, "padding": ((1, 1), (1, 1))}),
    ((3, 4, 4, 2), (3, 3, 1, 2), {"groups": 2, "stride": (1, 2)}),
    ((0, 3, 3, 2), (2, 2, 2, 1), {}),
)
# Shape, axis, size and stride of windows.
_WINDOWS: tuple[tuple[Shape, int, int, int], ...] = (
    ((6,), 0, 2, 2),
    ((2, 7, 2), 1, 3, 2),
    ((2, 3, 5), 2, 2, 3),
    ((1, 4), 1, 4, 1),
    ((3, 2), 0, 1, 1),
    ((0, 4), 1, 2, 2),
)


def cases(rng: Rng) -> Cases:
    """At least one example per primitive, by its name in the table."""

    def real(shape: Shape) -> np.ndarray[Any, Any]:
        return np.asarray(rng.normal(size=shape))

    def distinct(shape: Shape) -> np.ndarray[Any, Any]:
        n = int(np.prod(shape))
        spread = rng.permutation(n) - n / 2 + rng.uniform(-0.3, 0.3, n)
        return np.asarray(spread.reshape(shape), dtype=np.float64)

    found: Cases = {
        name: []
        for name in (
            "convolve",
            "convolve_add",
            "convolve_transpose",
            "convolve_kernel_vjp",
            "window_max",
            "window_max_vjp",
            "max_at_windows",
            "window_sum",
            "window_sum_vjp",
        )
    }
    for x_shape, kernel_shape, how in _CONVOLUTIONS:
        x, kernel = real(x_shape), real(kernel_shape)
        y = real(_result_shape(x_shape, kernel_shape, **how))
        found["convolve"].append(Case((x, kernel), how))
        found["convolve_add"].append(Case((x, kernel, real(kernel_shape[3:])), how))
        found["convolve_transpose"].append(Case((y, kernel), {"size": x_shape[1:3], **how}))
        found["convolve_kernel_vjp"].append(Case((x, y), {"size": kernel_shape[:2], **how}))
    for shape, axis, size, stride in _WINDOWS:
        window = {"axis": axis, "size": size, "stride": stride}
        x = distinct(shape)
        g = real((*shape[:axis], (shape[axis] - size) // stride + 1, *shape[axis + 1 :]))
        found["window_max"].append(Case((x,), window, analytic=False))
        found["window_max_vjp"].append(Case((g, x), window, analytic=False))
        found["max_at_windows"].append(Case((real(shape), x), window, analytic=False))
        found["window_sum"].append(Case((x,), window))
        found["window_sum_vjp"].append(Case((g,), {"length": shape[axis], **window}))
    return found


def _result_shape(
    x_shape: Shape,
    kernel_shape: Shape,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
    **_: Any,
) -> Shape:
    places = [
        (n + sum(sides) - (k - 1) * spread - 1) // step + 1
        for n, sides, k, spread, step in zip(
            x_shape[1:3], padding, kernel_shape[:2], dilation, stride, strict=True
        )
    ]
    return (x_shape[0], *places, kernel_shape[3])
