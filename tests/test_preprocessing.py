"""`data.Preprocessing`: what each step does and undoes, as JSON, and within a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chainrule import data, nn
from chainrule.data.preprocessing import Preprocessing
from chainrule.data.steps import STEPS, Step

RNG = np.random.default_rng(0)
X = RNG.normal(5, 3, (40, 4))
IMAGES = RNG.integers(0, 256, (10, 6, 5, 3)).astype(np.uint8)
NAMES = np.array(["cat", "dog", "eel"])[RNG.integers(0, 3, 40)]


def again(prepare):
    """The same through text."""
    return Preprocessing.from_dict(json.loads(json.dumps(prepare.to_dict())))


def test_scaling_is_that_of_the_scalers():
    for name, scaler in (("standard", data.Standardizer), ("min_max", data.MinMaxScaler)):
        prepare = Preprocessing([name]).fit(X)
        expected = scaler.fit(X).transform(X)
        np.testing.assert_array_equal(prepare.transform(X), expected)
        np.testing.assert_array_equal(again(prepare).transform(X), expected)
        np.testing.assert_allclose(prepare.inverse(expected), X, rtol=1e-12)


def test_min_max_reaches_from_0_to_1_and_a_constant_is_only_moved():
    x = np.column_stack([X, np.full(40, 7.0)])
    scaled = Preprocessing(["min_max"]).fit(x).transform(x)
    np.testing.assert_array_equal(scaled.min(axis=0), 0)
    np.testing.assert_array_equal(scaled.max(axis=0), [1, 1, 1, 1, 0])
    whole = Preprocessing([("min_max", {"per_feature": False})]).fit(X).transform(X)
    np.testing.assert_allclose(whole, (X - X.min()) / (X.max() - X.min()))


def test_channels_of_images_are_features():
    prepare = Preprocessing(["standard"]).fit(IMAGES)
    found = prepare.transform(IMAGES)
    np.testing.assert_allclose(found.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=(0, 1, 2)), 1)
    assert prepare.to_dict()["inputs"]["sample_shape"] == [6, 5, 3]


def test_steps_are_taken_in_order_and_undone_in_the_other():
    prepare = Preprocessing(["reshape", "min_max", "cast"], ["classes", "one_hot"])
    prepare.fit(IMAGES, NAMES[:10])
    out = prepare.transform(IMAGES)
    assert (out.shape, out.dtype) == ((10, 90), np.float32)
    np.testing.assert_allclose(prepare.inverse(out), IMAGES, atol=1e-3)
    rows = prepare.transform_targets(NAMES[:10])
    np.testing.assert_array_equal(
        rows.argmax(axis=1), np.unique(NAMES[:10], return_inverse=True)[1]
    )
    np.testing.assert_array_equal(prepare.inverse_targets(rows), NAMES[:10])
    copy = again(prepare)
    assert copy == prepare
    np.testing.assert_array_equal(copy.transform(IMAGES), out)
    np.testing.assert_array_equal(copy.inverse_targets(rows), NAMES[:10])


@pytest.mark.parametrize(
    "y",
    [
        NAMES,
        NAMES.tolist(),
        NAMES.astype(object),
        np.array([3, 7, 7, 9]),
        np.array([3, 7], np.uint8),
        np.array([True, False]),
        np.array([0.5, 1.5, 0.5]),
        NAMES[:, None],
    ],
)
def test_classes_are_of_any_kind_and_come_back_as_they_were(y):
    prepare = again(Preprocessing(targets=["classes"]).fit(X, y))
    labels = prepare.transform_targets(y)
    assert labels.dtype == np.int64
    back = prepare.inverse_targets(labels)
    np.testing.assert_array_equal(back, np.asarray(y).reshape(-1).astype(back.dtype))
    logits = np.eye(labels.max() + 1)[labels] * 3.0 - 1.0
    np.testing.assert_array_equal(prepare.inverse_targets(logits), back)


def test_targets_of_regression_are_scaled_and_back():
    y = RNG.normal(100, 20, 40)
    prepare = Preprocessing(targets=["standard"]).fit(X, y)
    scaled = prepare.transform_targets(y)
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-12)
    np.testing.assert_allclose(prepare.inverse_targets(scaled[:, None])[:, 0], y)


floats = st.floats(-1e6, 1e6, width=32)


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=floats))
def test_what_is_written_is_what_was_fitted(x):
    prepare = Preprocessing(["standard", "min_max"]).fit(x)
    copy = again(prepare)
    np.testing.assert_array_equal(copy.transform(x), prepare.transform(x))
    np.testing.assert_allclose(prepare.inverse(prepare.transform(x)), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "steps",
    [["min_max"], ["reshape", "standard", "cast"], [("reshape", {"shape": [5, 18]}), "standard"]],
)
def test_in_the_network_it_is_the_same(steps):
    prepare = Preprocessing(steps).fit(IMAGES)
    y = RNG.normal(size=(10, 2))
    inside = nn.Network([*prepare.layers(), nn.Flatten(), nn.Dense(2)], dtype="float64", seed=0)
    outside = nn.Network([nn.Flatten(), nn.Dense(2)], dtype="float64", seed=0)
    for engine in ("numpy", "c"):
        options = {"loss": "squared_error", "seed": 0, "verbose": 0, "engine": engine}
        inside.fit(IMAGES, y, **options)
        outside.fit(prepare.transform(IMAGES).astype(float), y, **options)
        np.testing.assert_allclose(
            inside.predict(IMAGES), outside.predict(prepare.transform(IMAGES)), rtol=1e-5, atol=1e-6
        )
    assert len(inside.parameters) == 2


def test_what_has_no_layer_says_so():
    prepare = Preprocessing(["classes", "one_hot"]).fit(NAMES)
    with pytest.raises(ValueError, match="'classes' is done before a network"):
        prepare.layers()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Preprocessing(["standrad"]), "did you mean 'standard'"),
        (lambda: Preprocessing([("min_max", {"per_featur": True})]), "did you mean 'per_feature'"),
        (lambda: Preprocessing(["standard"]).transform(X), "call fit first"),
        (lambda: Preprocessing(["standard"]).layers(), "call fit first"),
        (lambda: Preprocessing(targets=["classes"]).fit(X), "no y"),
        (lambda: Preprocessing(["min_max"]).fit(X).transform(X[:, :3]), r"\(n_samples, 4\)"),
        (lambda: Preprocessing(["min_max"]).fit(X).inverse(X[:, :3]), "4 features"),
        (lambda: Preprocessing(["min_max"]).fit(np.where(X > 5, np.nan, X)), "NaN or infinity"),
        (lambda: Preprocessing(["min_max"]).fit(X * np.array([-1e308, 1, 1, 1])), "infinity|apart"),
        (lambda: Preprocessing(["min_max"]).fit(X[:0]), "nothing to fit"),
        (lambda: Preprocessing([("reshape", {"shape": 7})]).fit(X), "numbers of values differ"),
        (lambda: Preprocessing([("cast", {"dtype": "uint8"})]).fit(X), "cannot hold all values"),
        (lambda: Preprocessing([("cast", {"dtype": "U5"})]), "give a float dtype"),
        (lambda: Preprocessing(targets=["classes"]).fit(X, X), "one class a sample"),
        (lambda: Preprocessing.from_dict({"version": 2}), "version 2"),
    ],
)
def test_mistakes_are_named(make, match):
    with pytest.raises(ValueError, match=match), np.errstate(over="ignore"):
        make()


def test_a_class_that_was_not_there_is_named_with_its_neighbour():
    prepare = Preprocessing(targets=["classes"]).fit(X, NAMES)
    with pytest.raises(ValueError, match="'catt': did you mean 'cat'"):
        prepare.transform_targets(["dog", "catt"])
    with pytest.raises(ValueError, match="labels from 0 to 2, not 0 to 3"):
        prepare.inverse_targets([0, 3])
    with pytest.raises(ValueError, match="NaN"):
        prepare.inverse_targets(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="takes labels"):
        prepare.inverse_targets(np.zeros((2, 5)))


@pytest.mark.parametrize("y", [np.array(["a", None], object), np.array([1, "a"], object)])
def test_text_and_other_things_are_not_mixed(y):
    with pytest.raises(TypeError, match="text alone, or numbers alone"):
        Preprocessing(targets=["classes"]).fit(X, y)


def test_masked_values_and_times_are_refused():
    with pytest.raises(TypeError, match="masked"):
        Preprocessing(["min_max"]).fit(np.ma.masked_array(X, X > 5))
    with pytest.raises(TypeError, match="datetime64"):
        Preprocessing(targets=["classes"]).fit(X, np.zeros(40, "datetime64[s]"))


@dataclass(frozen=True)
class Logarithm(Step):
    """log(x + shift): a step of one's own."""

    name: ClassVar[str] = "logarithm"
    shift: float = 1.0

    def transform(self, array):
        return np.log(array + self.shift)

    def inverse(self, array):
        return np.exp(array) - self.shift


def test_a_step_of_ones_own():
    x = np.abs(X)
    prepare = Preprocessing([Logarithm(2.0), "standard"]).fit(x)
    written = json.loads(json.dumps(prepare.to_dict()))
    with pytest.raises(ValueError, match="logarithm"):
        Preprocessing.from_dict(written)
    copy = Preprocessing.from_dict(written, {**STEPS, "logarithm": Logarithm})
    np.testing.assert_array_equal(copy.transform(x), prepare.transform(x))
    np.testing.assert_allclose(copy.inverse(copy.transform(x)), x)


def test_integers_of_eight_bits_do_not_wrap():
    prepare = Preprocessing(["min_max"]).fit(IMAGES)
    assert prepare.transform(IMAGES).min() == 0
    small = np.array([[-128], [127]], np.int8)
    np.testing.assert_array_equal(data.MinMaxScaler.fit(small).transform(small), [[0], [1]])
