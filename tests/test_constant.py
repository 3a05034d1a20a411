"""one_hot and stop_gradient."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.primitives.constant import one_hot, stop_gradient


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "labels", [np.array([2, 0, 1, 2]), np.zeros((0,), int), np.array([[1], [2]])]
)
def test_one_hot_picks_rows_of_the_identity(labels, dtype):
    np.testing.assert_array_equal(
        one_hot(labels, n_classes=3, dtype=dtype), np.eye(3, dtype=dtype)[labels], strict=True
    )


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 3, 4], ValueError, "2 of 3 labels, the first of them 3, are outside 0 to 2"),
        ([0, -1], ValueError, "1 of 2 labels, the first of them -1"),
        ([0.0, 1.0], TypeError, "dtype float64.*integers"),
    ],
)
def test_one_hot_names_labels_that_are_none(labels, error, message):
    with pytest.raises(error, match=message):
        one_hot(np.array(labels), n_classes=3)


def test_one_hot_of_predictions_is_a_constant_of_the_graph():
    t = cr.parameter(np.array([[0.1, 0.9], [0.8, 0.2]]))
    rows = one_hot(np.argmax(t, axis=1), n_classes=2)
    np.testing.assert_array_equal(rows, [[0, 1], [1, 0]])


def test_stop_gradient_keeps_the_value_and_drops_the_derivative():
    x = np.array([1.0, 2.0])
    value, g = cr.value_and_grad(lambda x: (x * stop_gradient(x**2)).sum())(x)
    assert value == 9
    np.testing.assert_array_equal(g, [1, 4])
    # at every level: of x * (x * x held fixed), the second derivative is 0
    assert cr.grad(cr.grad(lambda x: x * stop_gradient(x * x)))(3.0) == 0
