"""Training step of Network(2-3-1, tanh): batch 4, float32, mean squared error, SGD(learning_rate=0.1, momentum=0.9).

Written by chainrule 0.1.0 for NumPy 2. Regenerate: net.step.source.
Run this file for one step on random data.
"""

import numpy as np
from numpy import add, dot, multiply, square, subtract, tanh


def tanh_vjp(g, value, scratch, out):
    """g * (1 - value**2)"""
    square(value, scratch)
    subtract(one, scratch, scratch)
    multiply(g, scratch, out)


def sgd(parameter, gradient, velocity):
    """Gradient descent, plain, with momentum, or with Nesterov's accelerated gradient.

    velocity = 0.9 * velocity - gradient
    parameter = parameter + velocity
    """
    multiply(number_0_9, velocity, velocity)
    subtract(velocity, gradient, velocity)
    add(parameter, velocity, parameter)


# memory, allocated once
gradient = np.empty(13, np.float32)
a1 = np.empty((4, 3), np.float32)
a2 = np.empty((4, 1), np.float32)
residuals = np.empty((4, 1), np.float32)
d_z2 = np.empty((4, 1), np.float32)
scratch_1 = np.empty((4, 1), np.float32)
d_z1 = np.empty((4, 3), np.float32)
scratch_2 = np.empty((4, 3), np.float32)
number_0_9 = np.array(0.9, np.float32)
one = np.array(1, np.float32)
ones_4 = np.ones(4, np.float32)
d_W1 = gradient[0:6].reshape(2, 3)
d_b1 = gradient[6:9]
d_W2 = gradient[9:12].reshape(3, 1)
d_b2 = gradient[12:13]


def bind(new_parameters, new_velocity):
    """Let the step work on these arrays; it changes them in place."""
    global parameters, velocity, W1, b1, W2, b2
    parameters = new_parameters
    velocity = new_velocity
    W1 = parameters[0:6].reshape(2, 3)
    b1 = parameters[6:9]
    W2 = parameters[9:12].reshape(3, 1)
    b2 = parameters[12:13]


def train_step(x, y, learning_rate):
    """x (4, 2), y (4, 1): updates the parameters in place, returns the loss and the outputs before
    the update."""
    # forward
    dot(x, W1, a1)                                  # dense_1: z1 = x @ W1 + b1  (4, 3)
    add(a1, b1, a1)
    tanh(a1, a1)                                    # tanh_1: a1 = tanh(z1)  (4, 3)
    dot(a1, W2, a2)                                 # dense_2: z2 = a1 @ W2 + b2  (4, 1)
    add(a2, b2, a2)
    tanh(a2, a2)                                    # tanh_2: a2 = tanh(z2)  (4, 1)
    subtract(a2, y, residuals)                      # loss: residuals = a2 - y  (4, 1)
    total = np.vdot(residuals, residuals)           # loss: loss = sum(residuals**2) / 4
    loss = total / 4

    # backward: d_v is the derivative of the loss by v, times learning_rate
    scale = learning_rate * 0.5
    multiply(scale, residuals, d_z2)                # d_a2 = scale * residuals  (4, 1)
    tanh_vjp(d_z2, a2, scratch_1, out=d_z2)         # d_z2 = d_a2 * (1 - a2**2)  (4, 1)
    dot(ones_4, d_z2, d_b2)                         # d_b2 = sum(d_z2, axis=0)  (1,)
    dot(d_z2, W2.T, d_z1)                           # d_a1 = d_z2 @ W2.T  (4, 3)
    dot(a1.T, d_z2, d_W2)                           # d_W2 = a1.T @ d_z2  (3, 1)
    tanh_vjp(d_z1, a1, scratch_2, out=d_z1)         # d_z1 = d_a1 * (1 - a1**2)  (4, 3)
    dot(ones_4, d_z1, d_b1)                         # d_b1 = sum(d_z1, axis=0)  (3,)
    dot(x.T, d_z1, d_W1)                            # d_W1 = x.T @ d_z1  (2, 3)

    # update
    sgd(parameters, gradient, velocity)             # new velocity, parameters  (13,)
    return loss, a2


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    bind(
        (0.1 * rng.random((13,))).astype(np.float32),  # parameters
        (0.1 * rng.random((13,))).astype(np.float32),  # velocity
    )
    x = (0.1 * rng.random((4, 2))).astype(np.float32)
    y = (0.1 * rng.random((4, 1))).astype(np.float32)
    learning_rate = 0.01
    result = train_step(x, y, learning_rate)[0]
    print("train_step on random data returned", result)
