"""Training step of Network(64-32-16-10, sigmoid): batch 1, float32, squared error, SGD(learning_rate=0.1).

Written by chainrule 0.1.0 for NumPy 2. Regenerate: net.step.source.
Run this file for one step on random data.
"""

import numpy as np
from numpy import add, dot, multiply, subtract, tanh


def sigmoid(x, out):
    """1 / (1 + exp(-x)) without overflow, as 0.5 * tanh(0.5 * x) + 0.5."""
    multiply(half, x, out)
    tanh(out, out)
    multiply(half, out, out)
    add(out, half, out)


def sigmoid_vjp(g, value, scratch, out):
    """g * (value * (1 - value))"""
    subtract(one, value, scratch)
    multiply(value, scratch, scratch)
    multiply(g, scratch, out)


# memory, allocated once
gradient = np.empty(2778, np.float32)
a1 = np.empty((1, 32), np.float32)
a2 = np.empty((1, 16), np.float32)
a3 = np.empty((1, 10), np.float32)
residuals = np.empty((1, 10), np.float32)
d_a3 = np.empty((1, 10), np.float32)
scratch_1 = np.empty((1, 10), np.float32)
d_a2 = np.empty((1, 16), np.float32)
scratch_2 = np.empty((1, 16), np.float32)
d_a1 = np.empty((1, 32), np.float32)
scratch_3 = np.empty((1, 32), np.float32)
half = np.array(0.5, np.float32)
one = np.array(1, np.float32)
d_W1 = gradient[0:2048].reshape(64, 32)
d_z1 = gradient[2048:2080].reshape(1, 32)
d_W2 = gradient[2080:2592].reshape(32, 16)
d_z2 = gradient[2592:2608].reshape(1, 16)
d_W3 = gradient[2608:2768].reshape(16, 10)
d_z3 = gradient[2768:2778].reshape(1, 10)


def bind(new_parameters):
    """Let the step work on these arrays; it changes them in place."""
    global parameters, W1, b1, W2, b2, W3, b3
    parameters = new_parameters
    W1 = parameters[0:2048].reshape(64, 32)
    b1 = parameters[2048:2080]
    W2 = parameters[2080:2592].reshape(32, 16)
    b2 = parameters[2592:2608]
    W3 = parameters[2608:2768].reshape(16, 10)
    b3 = parameters[2768:2778]


def train_step(x, y, learning_rate):
    """x (1, 64), y (1, 10): updates the parameters in place, returns the loss and the outputs
    before the update."""
    # forward
    dot(x, W1, a1)                                  # dense_1: z1 = x @ W1 + b1  (1, 32)
    add(a1, b1, a1)
    sigmoid(a1, out=a1)                             # sigmoid_1: a1 = sigmoid(z1)  (1, 32)
    dot(a1, W2, a2)                                 # dense_2: z2 = a1 @ W2 + b2  (1, 16)
    add(a2, b2, a2)
    sigmoid(a2, out=a2)                             # sigmoid_2: a2 = sigmoid(z2)  (1, 16)
    dot(a2, W3, a3)                                 # dense_3: z3 = a2 @ W3 + b3  (1, 10)
    add(a3, b3, a3)
    sigmoid(a3, out=a3)                             # sigmoid_3: a3 = sigmoid(z3)  (1, 10)
    subtract(a3, y, residuals)                      # loss: residuals = a3 - y  (1, 10)
    total = np.vdot(residuals, residuals)           # loss: loss = 0.5 * sum(residuals**2)
    loss = 0.5 * total

    # backward: d_v is the derivative of the loss by v, times learning_rate
    multiply(learning_rate, residuals, d_a3)        # d_a3 = learning_rate * residuals  (1, 10)
    sigmoid_vjp(d_a3, a3, scratch_1, out=d_z3)      # d_z3 = d_a3 * (a3 * (1 - a3))  (1, 10)
    dot(d_z3, W3.T, d_a2)                           # d_a2 = d_z3 @ W3.T  (1, 16)
    dot(a2.T, d_z3, d_W3)                           # d_W3 = a2.T @ d_z3  (16, 10)
    sigmoid_vjp(d_a2, a2, scratch_2, out=d_z2)      # d_z2 = d_a2 * (a2 * (1 - a2))  (1, 16)
    dot(d_z2, W2.T, d_a1)                           # d_a1 = d_z2 @ W2.T  (1, 32)
    dot(a1.T, d_z2, d_W2)                           # d_W2 = a1.T @ d_z2  (32, 16)
    sigmoid_vjp(d_a1, a1, scratch_3, out=d_z1)      # d_z1 = d_a1 * (a1 * (1 - a1))  (1, 32)
    dot(x.T, d_z1, d_W1)                            # d_W1 = x.T @ d_z1  (64, 32)

    # update
    subtract(parameters, gradient, parameters)      # parameters = parameters - gradient  (2778,)
    return loss, a3


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    bind(
        (0.1 * rng.random((2778,))).astype(np.float32),  # parameters
    )
    x = (0.1 * rng.random((1, 64))).astype(np.float32)
    y = (0.1 * rng.random((1, 10))).astype(np.float32)
    learning_rate = 0.01
    result = train_step(x, y, learning_rate)[0]
    print("train_step on random data returned", result)
