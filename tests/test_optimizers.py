"""Optimizers against scalar loops written from their papers' own listings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import chainrule as cr
from chainrule import optim
from chainrule.primitives.dispatch import AbstractArray

N_STEPS = 25
ALL = [
    optim.SGD(),
    optim.SGD(0.1, momentum=0.9),
    optim.SGD(0.1, momentum=0.9, nesterov=True),
    optim.Adagrad(0.1),
    optim.RMSprop(0.01),
    optim.Adam(0.01),
    optim.AdamW(0.01, weight_decay=0.1),
    optim.Lion(0.01),
    optim.Lion(0.01, weight_decay=0.1),
]
IDS = [repr(optimizer) for optimizer in ALL]


def some_gradient(w, step):
    """A gradient that depends on the parameter and changes its size and sign with the step."""
    return np.cos(1.7 * step) * (1.0 + 3.0 * (step % 3)) + np.sin(w + 0.3 * step)


def run(optimizer, w, n_steps=N_STEPS, gradient=some_gradient):
    slots = optimizer.init(w)
    for step in range(1, n_steps + 1):
        rate = optimizer.learning_rate_at(step)
        w, slots = optimizer.update(w, gradient(w, step), slots, rate, step)
    return w


def assert_follows(optimizer, reference):
    """The optimizer on an array does what `reference(w)` does on each of its numbers alone."""
    start = np.random.default_rng(0).normal(size=(3, 2))
    expected = [reference(float(w)) for w in start.ravel()]
    np.testing.assert_allclose(run(optimizer, start).ravel(), expected, rtol=1e-12)


# The papers' listings, in plain Python


def test_sgd_is_gradient_descent():
    def reference(w):
        for step in range(1, N_STEPS + 1):
            w = w - 0.05 * some_gradient(w, step)
        return w

    assert_follows(optim.SGD(0.05), reference)


def test_momentum_is_equations_1_and_2_of_sutskever():
    def reference(theta):
        v = 0.0
        for step in range(1, N_STEPS + 1):
            v = 0.9 * v - 0.05 * some_gradient(theta, step)
            theta = theta + v
        return theta

    assert_follows(optim.SGD(0.05, momentum=0.9), reference)


def test_nesterov_is_equations_3_and_4_of_sutskever_seen_from_the_point_ahead():
    def reference(theta):
        v = 0.0
        for step in range(1, N_STEPS + 1):
            v = 0.9 * v - 0.05 * some_gradient(theta + 0.9 * v, step)
            theta = theta + v
        return theta + 0.9 * v

    assert_follows(optim.SGD(0.05, momentum=0.9, nesterov=True), reference)


def test_momentum_keeps_the_learning_rate_inside_the_velocity():
    """A learning rate of 0 stops new gradients, not the movement already under way."""
    sgd = optim.SGD(momentum=0.5)
    w, slots = sgd.update(np.zeros(1), np.ones(1), sgd.init(np.zeros(1)), 1.0, 1)
    w, slots = sgd.update(w, np.ones(1), slots, 0.0, 2)
    assert w == [-1.5]


def test_adagrad_is_figure_1_of_duchi():
    def reference(x):
        gradients = []
        for step in range(1, N_STEPS + 1):
            gradients.append(some_gradient(x, step))
            s = math.sqrt(sum(g * g for g in gradients))
            x = x - 0.1 * gradients[-1] / (1e-3 + s)
        return x

    assert_follows(optim.Adagrad(0.1, epsilon=1e-3), reference)


def test_rmsprop_is_lecture_6e_of_hinton():
    def reference(w):
        mean_square = 0.0
        for step in range(1, N_STEPS + 1):
            g = some_gradient(w, step)
            mean_square = 0.8 * mean_square + 0.2 * g**2
            w = w - 0.01 * g / (math.sqrt(mean_square) + 1e-3)
        return w

    assert_follows(optim.RMSprop(0.01, decay=0.8, epsilon=1e-3), reference)


def adam_listing(theta, alpha, beta1, beta2, epsilon, decay=0.0):
    """Algorithm 1 of Kingma and Ba; with a decay, algorithm 2 of Loshchilov and Hutter."""
    m = v = 0.0
    for t in range(1, N_STEPS + 1):
        g = some_gradient(theta, t)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - (alpha * m_hat / (math.sqrt(v_hat) + epsilon) + decay * theta)
    return theta


def test_adam_is_algorithm_1_of_kingma_and_ba():
    # A large epsilon, so that where it stands is seen.
    adam = optim.Adam(0.01, beta1=0.8, beta2=0.95, epsilon=0.1)
    assert_follows(adam, lambda theta: adam_listing(theta, 0.01, 0.8, 0.95, 0.1))


def test_adamw_is_algorithm_2_of_loshchilov_and_hutter():
    adamw = optim.AdamW(0.01, beta1=0.8, beta2=0.95, epsilon=0.1, weight_decay=0.5)
    assert_follows(adamw, lambda theta: adam_listing(theta, 0.01, 0.8, 0.95, 0.1, decay=0.01 * 0.5))


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_lion_is_algorithm_2_of_chen(weight_decay):
    def reference(theta):
        m = 0.0
        for step in range(1, N_STEPS + 1):
            g = some_gradient(theta, step)
            c = 0.9 * m + 0.1 * g
            theta = theta - 0.01 * (math.copysign(1.0, c) + weight_decay * theta)
            m = 0.99 * m + 0.01 * g
        return theta

    assert_follows(optim.Lion(0.01, weight_decay=weight_decay), reference)


def test_the_defaults_are_those_of_the_papers():
    assert optim.Adam() == optim.Adam(0.001, beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert optim.Lion() == optim.Lion(1e-4, beta1=0.9, beta2=0.99, weight_decay=0.0)
    assert optim.RMSprop() == optim.RMSprop(0.001, decay=0.9, epsilon=1e-8)


# What is known of them

gradients = arrays(np.float64, 4, elements=st.floats(-1e3, 1e3).filter(lambda g: abs(g) > 1e-3))


@given(gradients)
def test_momentum_zero_is_plain(g):
    w = np.arange(4.0)
    plain, _ = optim.SGD().update(w, g, {}, 0.1, 1)
    with_momentum = optim.SGD(momentum=0.9)
    first, slots = with_momentum.update(w, g, with_momentum.init(w), 0.1, 1)
    np.testing.assert_array_equal(plain, first)
    assert optim.SGD().init(w) == {}
    assert list(slots) == ["velocity"]


@given(gradients)
def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(g):
    adam = optim.Adam()
    w, _ = adam.update(np.zeros(4), g, adam.init(g), 0.1, 1)
    np.testing.assert_allclose(w, -0.1 * np.sign(g), rtol=1e-4)


@pytest.mark.parametrize("name", ["adam", "adagrad", "rmsprop"])
@given(g=gradients, factor=st.floats(1e-3, 1e3))
@settings(max_examples=20)
def test_the_scale_of_the_gradient_does_not_matter_to_adaptive_steps(name, g, factor):
    optimizer = optim.OPTIMIZERS[name](0.1, epsilon=1e-300)
    w = np.zeros(4)
    one = run(optimizer, w, 5, lambda w, step: g * step)
    scaled = run(optimizer, w, 5, lambda w, step: factor * g * step)
    np.testing.assert_allclose(one, scaled, rtol=1e-10)


def test_adamw_without_decay_is_adam():
    w = np.random.default_rng(1).normal(size=50)
    adamw = run(optim.AdamW(0.01, weight_decay=0.0), w)
    np.testing.assert_array_equal(adamw, run(optim.Adam(0.01), w))


def test_adamw_decays_a_parameter_that_has_no_gradient():
    adamw = optim.AdamW(weight_decay=0.2)
    w, _ = adamw.update(np.array([10.0]), np.zeros(1), adamw.init(np.zeros(1)), 0.5, 1)
    np.testing.assert_allclose(w, [9.0])


@given(gradients)
def test_every_step_of_lion_has_the_size_of_the_learning_rate(g):
    lion = optim.Lion()
    slots = lion.init(g)
    w = np.zeros(4)
    for step in range(1, 4):
        new, slots = lion.update(w, g * step, slots, 0.25, step)
        np.testing.assert_array_equal(new - w, -0.25 * np.sign(g))
        w = new


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_a_gradient_of_zero_only_decays_and_warns_of_nothing(optimizer):
    w = np.arange(3.0)
    left = (1.0 - optimizer.learning_rate * getattr(optimizer, "weight_decay", 0.0)) ** 3
    np.testing.assert_allclose(run(optimizer, w, 3, lambda w, step: np.zeros(3)), left * w)


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_it_minimizes_a_bowl(optimizer):
    w = run(optimizer, np.array([1.0, -0.5]), 1500, lambda w, step: w)
    assert np.abs(w).max() < 0.02


# Arrays in, arrays out


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_float32_stays_float32(optimizer):
    w = np.ones(3, np.float32)
    slots = optimizer.init(w)
    for step in (1, 2):
        rate = optimizer.learning_rate_at(step)
        w, slots = optimizer.update(w, np.full(3, 0.5, np.float32), slots, rate, step)
        assert w.dtype == np.float32
        assert {slot.dtype for slot in slots.values()} <= {np.dtype(np.float32)}
    assert optim.clip(w, norm=0.1, value=0.2).dtype == np.float32


def test_float32_stays_float32_with_numpy_numbers():
    """A grid of np.logspace makes np.float64 scalars, which would promote a float32 array."""
    number = np.float64(0.5)
    adamw = optim.AdamW(number, number, number, number, number, clip_norm=number, clip_value=number)
    w = np.ones(3, np.float32)
    clipped = optim.clip(w, adamw.clip_norm, adamw.clip_value)
    w, slots = adamw.update(w, clipped, adamw.init(w), adamw.learning_rate_at(1), 1)
    assert {w.dtype, *(slot.dtype for slot in slots.values())} == {np.dtype(np.float32)}
    assert type(optim.Adam(lambda step: number).learning_rate_at(1)) is float


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_nothing_is_changed_in_place(optimizer):
    w, g = np.ones(3), np.full(3, 2.0)
    slots = {name: slot + 1.0 for name, slot in optimizer.init(w).items()}
    for array in (w, g, *slots.values()):
        array.flags.writeable = False
    _, new_slots = optimizer.update(w, g, slots, 0.1, 1)
    assert new_slots.keys() == slots.keys()


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_an_update_is_elementwise(optimizer):
    """One flat vector of all parameters moves as the parameters one by one."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=4), rng.normal(size=7)
    together = run(optimizer, np.concatenate([a, b]))
    np.testing.assert_array_equal(together, np.concatenate([run(optimizer, a), run(optimizer, b)]))


# Through the update


def loss_after_two_steps(optimizer, w, learning_rate, step=1):
    slots = optimizer.init(w)
    for _ in range(2):
        gradient = cr.grad(lambda w: (w**4).sum() / 4 + w.sum())(w)
        w, slots = optimizer.update(w, gradient, slots, learning_rate, step)
        step = step + 1
    return (w**2).sum()


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_the_learning_rate_has_a_gradient(optimizer):
    w = np.array([0.5, -1.5, 2.0])

    def loss(learning_rate):
        return loss_after_two_steps(optimizer, w, learning_rate)

    rate, h = 0.03, 1e-6
    difference = (loss(rate + h) - loss(rate - h)) / (2 * h)
    np.testing.assert_allclose(cr.grad(loss)(rate), difference, rtol=1e-6)


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_the_start_has_a_gradient(optimizer):
    w = np.array([0.5, -1.5, 2.0])
    direction = np.array([0.3, 0.8, -0.5])

    def loss(w):
        return loss_after_two_steps(optimizer, w, 0.03)

    h = 1e-6
    difference = (loss(w + h * direction) - loss(w - h * direction)) / (2 * h)
    np.testing.assert_allclose(cr.grad(loss)(w) @ direction, difference, rtol=1e-6)


def test_the_step_may_be_a_tensor():
    def loss(step):
        return loss_after_two_steps(optim.Adam(0.1), np.array([0.5, -1.5]), 0.1, step)

    h = 1e-6
    difference = (loss(3.0 + h) - loss(3.0 - h)) / (2 * h)
    np.testing.assert_allclose(cr.grad(loss)(3.0), difference, rtol=1e-5)


class Valueless(AbstractArray):
    """An array with a shape and a dtype but no value, as a compiler traces with."""

    level = 1

    def __init__(self, shape, dtype):
        self._form = shape, np.dtype(dtype)

    shape = property(lambda self: self._form[0])
    dtype = property(lambda self: self._form[1])

    def apply(self, primitive, args, params):
        args = [np.ones(a.shape, a.dtype) if isinstance(a, Valueless) else a for a in args]
        out = primitive(*args, **params)
        return Valueless(out.shape, out.dtype)

    def __bool__(self):
        raise TypeError("asked for its value")

    __float__ = __int__ = __index__ = __bool__


@pytest.mark.parametrize("optimizer", ALL, ids=IDS)
def test_an_update_asks_for_no_values(optimizer):
    w, number = Valueless((5,), np.float32), Valueless((), np.float32)
    slots = dict.fromkeys(optimizer.init(w), w)
    gradient = optim.clip(w, norm=1.0, value=1.0)
    new, new_slots = optimizer.update(w, gradient, slots, number, number)
    assert {(a.shape, a.dtype) for a in (new, *new_slots.values())} == {((5,), w.dtype)}
    assert all(isinstance(a, Valueless) for a in (new, *new_slots.values()))
    assert new_slots.keys() == slots.keys()


@pytest.mark.parametrize("limits", [{"norm": 0.5}, {"value": 0.5}, {"norm": 9.0, "value": 9.0}])
def test_clip_has_a_gradient(limits):
    g, direction = np.array([1.0, -2.0, 0.3]), np.array([0.3, 0.8, -0.5])

    def loss(g):
        return (optim.clip(g, **limits) * np.arange(1.0, 4.0)).sum()

    h = 1e-6
    difference = (loss(g + h * direction) - loss(g - h * direction)) / (2 * h)
    np.testing.assert_allclose(cr.grad(loss)(g) @ direction, difference, rtol=1e-6)


# Clipping

any_gradient = arrays(
    np.float64, st.integers(0, 6), elements=st.floats(-1e6, 1e6, allow_subnormal=False)
)
limit = st.floats(1e-3, 1e3)


@given(any_gradient, limit)
def test_clip_norm_limits_the_norm_and_keeps_the_direction(g, limit):
    clipped = optim.clip(g, norm=limit)
    length = np.linalg.norm(g)
    assert np.linalg.norm(clipped) <= limit * (1 + 1e-12)
    if length <= limit:
        np.testing.assert_array_equal(clipped, g)
    else:
        np.testing.assert_allclose(clipped * length, g * limit, rtol=1e-12, atol=1e-300)


@given(any_gradient, limit)
def test_clip_value_limits_each_element_and_leaves_the_others(g, limit):
    clipped = optim.clip(g, value=limit)
    assert (np.abs(clipped) <= limit).all()
    np.testing.assert_array_equal(clipped[np.abs(g) <= limit], g[np.abs(g) <= limit])
    np.testing.assert_array_equal(np.sign(clipped), np.sign(g))


@given(any_gradient, limit, limit)
def test_both_limits_hold_together(g, norm, value):
    clipped = optim.clip(g, norm, value)
    assert np.linalg.norm(clipped) <= norm * (1 + 1e-12)
    assert (np.abs(clipped) <= value).all()


def test_clip_without_limits_is_the_gradient_itself():
    g = np.ones(3)
    assert optim.clip(g) is g


def test_clip_does_not_hide_a_nan():
    clipped = optim.clip(np.array([1.0, np.nan]), norm=1.0, value=1.0)
    assert np.isnan(clipped[1])


# Making them


def test_a_schedule_gives_the_learning_rate():
    adam = optim.Adam(lambda step: 1.0 / step)
    assert [adam.learning_rate_at(step) for step in (1, 2, 4)] == [1.0, 0.5, 0.25]
    assert optim.Adam(0.3).learning_rate_at(7) == 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(-0.1), r"SGD got learning_rate=-0.1: .* 0 <= learning_rate"),
        (lambda: optim.Adam(math.nan), r"Adam got learning_rate=nan: give a finite number"),
        (lambda: optim.SGD(momentum=1.0), r"momentum=1: give a number with 0 <= momentum < 1"),
        (lambda: optim.Adam(beta1=1.0), "beta1=1:"),
        (lambda: optim.AdamW(beta2=-0.1), "beta2=-0.1:"),
        (lambda: optim.RMSprop(decay=1.5), "decay=1.5:"),
        (lambda: optim.Adagrad(epsilon=0.0), "epsilon=0: .* 0 < epsilon"),
        (lambda: optim.Lion(weight_decay=-1.0), "weight_decay=-1:"),
        (lambda: optim.Lion(clip_norm=0.0), "clip_norm=0:"),
        (lambda: optim.Lion(clip_value=-1.0), "clip_value=-1:"),
        (lambda: optim.SGD(nesterov=True), "nesterov=True with momentum=0"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD("0.1"), r"SGD got learning_rate='0.1', a str: give a number"),
        (lambda: optim.SGD(optim.CosineDecay), r"CosineDecay, a class: make an object of it"),
        (lambda: optim.SGD(momentum=True), r"momentum=True, a bool"),
        (lambda: optim.SGD(0.1, clip_norm="1"), r"clip_norm='1', a str"),
    ],
)
def test_what_is_no_number_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_the_repr_shows_what_is_not_a_default():
    assert repr(optim.SGD(1.0)) == "SGD(learning_rate=1.0)"
    assert repr(optim.Adam(beta1=0.5, clip_norm=2)) == (
        "Adam(learning_rate=0.001, clip_norm=2.0, beta1=0.5)"
    )
    assert eval(repr(optim.SGD(0.5, momentum=0.9)), vars(optim)) == optim.SGD(0.5, momentum=0.9)


def test_optimizers_are_values():
    """Equal numbers make equal optimizers, and equal keys of a cache."""
    schedule = optim.PiecewiseConstant([10], [0.1, 0.01])
    assert hash(optim.Adam(schedule)) == hash(
        optim.Adam(optim.PiecewiseConstant((10,), (0.1, 0.01)))
    )
    with pytest.raises(AttributeError):
        optim.Adam().learning_rate = 0.1
