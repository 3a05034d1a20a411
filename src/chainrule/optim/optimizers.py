"""Optimizers: update rules from a gradient to new parameters, each as its paper gives it.

An optimizer is a frozen set of numbers with two pure functions: `init(parameter)` makes its slots,
the arrays it remembers from step to step, and `update(parameter, gradient, slots, learning_rate,
step)` returns the new parameter and the new slots. `fit` keeps all parameters of a network in one
flat vector, so that an update is a few calls however many layers there are.

The formulas are elementwise and hold for arrays of any shape, for tensors (an update can be
differentiated) and for traced variables; nothing decides by a value. `step` counts from 1. `step`
and `learning_rate` are Python numbers, or 0-d arrays of the parameter's dtype, and the constants
are Python floats, so that float32 stays float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypeAlias

import numpy as np

from chainrule.optim.checks import require_number, require_scheduled
from chainrule.optim.schedules import Schedule, require_learning_rate
from chainrule.primitives.dispatch import Array, named

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "clip"]

Slots: TypeAlias = Mapping[str, Array]


def clip(gradient: Array, norm: float | None = None, value: float | None = None) -> Array:
    """The gradient with each element within [-value, value], then with at most that Euclidean norm.

    None leaves that limit out. The norm is over the whole array, so over all parameters together
    where they are one flat vector; a longer gradient keeps its direction (Pascanu, Mikolov and
    Bengio 2013, "On the difficulty of training recurrent neural networks", algorithm 1). One whose
    squares overflow (elements beyond 1e19 in float32) becomes zero; NaN stays NaN.

        g = min(max(g, -value), value)
        g = g * norm / max(||g||, norm)

    >>> import numpy as np
    >>> clip(np.array([3.0, 4.0]), norm=1.0)
    array([0.6, 0.8])
    """
    if value is not None:
        gradient = np.clip(named("raw_gradient", gradient), -value, value)
    if norm is not None:
        gradient = named("raw_gradient", gradient)
        length = named("length", np.sqrt(np.sum(np.square(gradient))))
        gradient = gradient * named("shrinkage", norm / np.maximum(length, norm))
    return gradient


# The numbers of an optimizer by the range they must lie in, whichever optimizer has them.
_POSITIVE = ("clip_norm", "clip_value", "epsilon")
_FRACTIONS = ("momentum", "decay", "beta1", "beta2")
_NOT_NEGATIVE = ("weight_decay",)


@dataclass(frozen=True, repr=False)
class Optimizer(ABC):
    """What every optimizer has: a learning rate, limits to the gradient, and the two functions.

    `learning_rate` is a number or a schedule. `clip_norm` and `clip_value` are the limits that the
    training step hands to `clip` before it calls `update`; `update` itself takes the gradient as
    it comes. Raises ValueError for numbers out of range. Derive from it for a rule of your own.
    """

    learning_rate: float | Schedule
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        checked = {"learning_rate": require_learning_rate(self, self.learning_rate)}
        for own in fields(self):
            name, value = own.name, getattr(self, own.name)
            if name in _POSITIVE and value is not None:
                checked[name] = require_number(self, name, value, positive=True)
            elif name in _FRACTIONS:
                checked[name] = require_number(self, name, value, high=1.0)
            elif name in _NOT_NEGATIVE:
                checked[name] = require_number(self, name, value)
        for name, number in checked.items():
            object.__setattr__(self, name, number)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of one step, counted from 1, as Python's float.

        Raises TypeError or ValueError for a schedule that does not give a finite number of at
        least 0.
        """
        rate = self.learning_rate
        if not callable(rate):
            return rate
        return require_scheduled(rate, rate(step), step)

    def __repr__(self) -> str:
        """The learning rate, and what differs from the defaults."""
        shown = [own.name for own in fields(self) if getattr(self, own.name) != own.default]
        names = dict.fromkeys(["learning_rate", *shown])
        numbers = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({numbers})"

    @abstractmethod
    def init(self, parameter: Array) -> dict[str, Array]:
        """The slots before the first step: arrays of the parameter's shape and dtype, by name."""

    @abstractmethod
    def update(
        self, parameter: Array, gradient: Array, slots: Slots, learning_rate: Array, step: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The parameter and the slots after one step. Nothing is changed in place."""


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Gradient descent, plain, with momentum, or with Nesterov's accelerated gradient.

        w = w - learning_rate * g                              without momentum

        v = momentum * v - learning_rate * g
        w = w + v                                              with momentum
        w = w + momentum * v - learning_rate * g               with nesterov

    Sutskever, Martens, Dahl and Hinton 2013, "On the importance of initialization and momentum in
    deep learning", equations 1 and 2. Their Nesterov form (3 and 4) takes the gradient at the
    point ahead, w + momentum * v; here, as everywhere in practice, w is that point (Bengio,
    Boulanger-Lewandowski and Pascanu 2013, section 3.5). The learning rate stands inside the
    velocity, as in the papers and in Keras; PyTorch and optax multiply by it outside, which
    differs only where the learning rate changes.

    >>> import numpy as np
    >>> w, slots = SGD().update(np.ones(2), np.array([1.0, 2.0]), {}, 0.5, 1)
    >>> w
    array([0.5, 0. ])
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ValueError(
                "SGD got nesterov=True with momentum=0, which is plain gradient descent: "
                "give a momentum, 0.9 is usual"
            )

    def init(self, parameter: Array) -> dict[str, Array]:
        return {"velocity": np.zeros_like(parameter)} if self.momentum else {}

    def update(
        self, parameter: Array, gradient: Array, slots: Slots, learning_rate: Array, step: Array
    ) -> tuple[Array, dict[str, Array]]:
        descent = learning_rate * gradient
        if not self.momentum:
            return parameter - descent, {}
        velocity = self.momentum * slots["velocity"] - descent
        if self.nesterov:
            return parameter + (self.momentum * velocity - descent), {"velocity": velocity}
        return parameter + velocity, {"velocity": velocity}


@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    """Divides each step by the root of all squared gradients so far, element by element.

        s = s + g^2
        w = w - learning_rate * g / (sqrt(s) + epsilon)

    Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, figure 1 with a diagonal matrix. The paper leaves both numbers open;
    the defaults are PyTorch's.
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    def init(self, parameter: Array) -> dict[str, Array]:
        return {"sum_of_squares": np.zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, slots: Slots, learning_rate: Array, step: Array
    ) -> tuple[Array, dict[str, Array]]:
        sum_of_squares = slots["sum_of_squares"] + np.square(gradient)
        descent = learning_rate * gradient / (np.sqrt(sum_of_squares) + self.epsilon)
        return parameter - descent, {"sum_of_squares": sum_of_squares}


@dataclass(frozen=True, repr=False)
class RMSprop(Optimizer):
    """Divides the gradient by a running average of its recent magnitude.

        s = decay * s + (1 - decay) * g^2
        w = w - learning_rate * g / (sqrt(s) + epsilon)

    Tieleman and Hinton 2012, "Neural networks for machine learning", lecture 6e, with its decay
    and the learning rate it recommends; epsilon, which the lecture lacks, is PyTorch's.
    """

    learning_rate: float | Schedule = 0.001
    decay: float = 0.9
    epsilon: float = 1e-8

    def init(self, parameter: Array) -> dict[str, Array]:
        return {"mean_square": np.zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, slots: Slots, learning_rate: Array, step: Array
    ) -> tuple[Array, dict[str, Array]]:
        mean_square = self.decay * slots["mean_square"] + (1.0 - self.decay) * np.square(gradient)
        descent = learning_rate * gradient / (np.sqrt(mean_square) + self.epsilon)
        return parameter - descent, {"mean_square": mean_square}


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Steps along the mean of the gradients over the root of their mean square, both recent.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        w = w - learning_rate * m_hat / (sqrt(v_hat) + epsilon)
            m_hat = m / (1 - beta1^step),  v_hat = v / (1 - beta2^step)

    Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1, and its numbers.
    The slots `mean` and `mean_square` are m and v.

    >>> import numpy as np
    >>> adam = Adam()
    >>> w, slots = adam.update(np.zeros(2), np.array([5.0, -0.1]), adam.init(np.zeros(2)), 0.1, 1)
    >>> w.round(6)
    array([-0.1,  0.1])
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def init(self, parameter: Array) -> dict[str, Array]:
        return {"mean": np.zeros_like(parameter), "mean_square": np.zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, slots: Slots, learning_rate: Array, step: Array
    ) -> tuple[Array, dict[str, Array]]:
        descent, new_slots = _adam_descent(self, gradient, slots, learning_rate, step)
        return parameter - descent, new_slots


@dataclass(frozen=True, repr=False)
class AdamW(Optimizer):
    """Adam, and beside it every parameter shrinks by a constant fraction a step.

        w = w - learning_rate * weight_decay * w - (the step of Adam)

    Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2: unlike an L2
    penalty in the loss, the decay is not divided by the root of the mean square. Their decay is a
    number beside the learning rate; as in PyTorch, Keras and optax it is learning_rate *
    weight_decay here, so that a schedule lowers both. The paper leaves weight_decay open; 0.01 is
    PyTorch's. All parameters shrink, biases too, as in the paper.
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    def init(self, parameter: Array) -> dict[str, Array]:
        return {"mean": np.zeros_like(parameter), "mean_square": np.zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, slots: Slots, learning_rate: Array, step: Array
    ) -> tuple[Array, dict[str, Array]]:
        descent, new_slots = _adam_descent(self, gradient, slots, learning_rate, step)
        shrunk = named("shrinkage", 1.0 - learning_rate * self.weight_decay) * parameter
        return shrunk - descent, new_slots


def _adam_descent(
    adam: Adam | AdamW, gradient: Array, slots: Slots, learning_rate: Array, step: Array
) -> tuple[Array, dict[str, Array]]:
    """What Adam takes from the parameter, and the new slots."""
    mean = adam.beta1 * slots["mean"] + (1.0 - adam.beta1) * gradient
    mean_square = adam.beta2 * slots["mean_square"] + (1.0 - adam.beta2) * np.square(gradient)
    # Algorithm 1 with both sides of its fraction times root = sqrt(1 - beta2^step): the bias
    # corrections become two numbers, and cost no pass over the arrays. `** 0.5` leaves a Python
    # float one, where np.sqrt would make a float64.
    root = named("root", (1.0 - adam.beta2**step) ** 0.5)
    rate = named("rate", learning_rate * root / (1.0 - adam.beta1**step))
    epsilon = named("epsilon", adam.epsilon * root)
    descent = rate * mean / (np.sqrt(mean_square) + epsilon)
    return descent, {"mean": mean, "mean_square": mean_square}


@dataclass(frozen=True, repr=False)
class Lion(Optimizer):
    """Steps of one size for every parameter, in the direction of the sign of a momentum.

        c = beta1 * m + (1 - beta1) * g
        w = w - learning_rate * (sign(c) + weight_decay * w)
        m = beta2 * m + (1 - beta2) * g

    Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2, with its betas;
    learning rate and weight decay are those of the authors' code. A good learning rate is 3 to 10
    times smaller than Adam's (section 5). The slot `mean` is m.
    """

    learning_rate: float | Schedule = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def init(self, parameter: Array) -> dict[str, Array]:
        return {"mean": np.zeros_like(parameter)}

    def update(
        self, parameter: Array, gradient: Array, slots: Slots, learning_rate: Array, step: Array
    ) -> tuple[Array, dict[str, Array]]:
        direction = np.sign(self.beta1 * slots["mean"] + (1.0 - self.beta1) * gradient)
        mean = self.beta2 * slots["mean"] + (1.0 - self.beta2) * gradient
        if self.weight_decay:
            shrinkage = named("shrinkage", 1.0 - learning_rate * self.weight_decay)
            parameter = shrinkage * parameter
        return parameter - learning_rate * direction, {"mean": mean}
