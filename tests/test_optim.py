"""Optimizers by name, and optimizers of one's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from chainrule import optim


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", optim.SGD()),
        ("Adam", optim.Adam()),
        ("AdamW", optim.AdamW()),
        ("l-bfgs", optim.LBFGS()),
        ("newton_cg", optim.NewtonCG()),
        ("tnc", optim.TNC()),
    ],
)
def test_get_optimizer_by_name(name, expected):
    assert optim.get_optimizer(name) == expected


def test_get_optimizer_returns_objects_as_they_are():
    adam, tnc = optim.Adam(0.5), optim.TNC()
    assert optim.get_optimizer(adam) is adam
    assert optim.get_optimizer(tnc) is tnc


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_name_makes_an_optimizer_of_its_name(name):
    made = optim.get_optimizer(name)
    own = made.method if isinstance(made, optim.Minimizer) else type(made).__name__
    assert own.lower().replace("-", "").removesuffix("b") == name


def test_get_optimizer_names_the_nearest():
    with pytest.raises(ValueError, match=r"no optimizer named 'adma': did you mean 'adam'\? The"):
        optim.get_optimizer("adma")
    with pytest.raises(ValueError, match=r"named 'zzz': the names are adagrad, adam"):
        optim.get_optimizer("zzz")


def test_get_optimizer_refuses_classes_and_strangers():
    with pytest.raises(TypeError, match=r"call it, optim\.Adam\(\)"):
        optim.get_optimizer(optim.Adam)
    with pytest.raises(TypeError, match="the optimizer is a float: give a name such as 'adam'"):
        optim.get_optimizer(0.1)
    with pytest.raises(TypeError, match="the optimizer is a list"):
        optim.get_optimizer([])


def test_an_optimizer_of_ones_own():
    @dataclass(frozen=True)
    class SignSGD(optim.Optimizer):
        learning_rate: float = 0.1

        def init(self, parameter):
            return {}

        def update(self, parameter, gradient, slots, learning_rate, step):
            return parameter - learning_rate * np.sign(gradient), {}

    own = SignSGD(clip_norm=1.0)
    assert optim.get_optimizer(own) is own
    w, _ = own.update(np.ones(2), np.array([3.0, -2.0]), {}, own.learning_rate_at(1), 1)
    np.testing.assert_allclose(w, [0.9, 1.1])
    with pytest.raises(ValueError, match="SignSGD got learning_rate=-1"):
        SignSGD(-1.0)
