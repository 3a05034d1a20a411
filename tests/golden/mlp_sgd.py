"""Training step of Network(196-100-50-10, sigmoid): batch 64, float32, squared error, SGD(learning_rate=1.0).

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
gradient = np.empty(25260, np.float32)
a1 = np.empty((64, 100), np.float32)
a2 = np.empty((64, 50), np.float32)
a3 = np.empty((64, 10), np.float32)
residuals = np.empty((64, 10), np.float32)
d_z3 = np.empty((64, 10), np.float32)
scratch_1 = np.empty((64, 10), np.float32)
d_z2 = np.empty((64, 50), np.float32)
scratch_2 = np.empty((64, 50), np.float32)
d_z1 = np.empty((64, 100), np.float32)
scratch_3 = np.empty((64, 100), np.float32)
half = np.array(0.5, np.float32)
one = np.array(1, np.float32)
ones_64 = np.ones(64, np.float32)
d_W1 = gradient[0:19600].reshape(196, 100)
d_b1 = gradient[19600:19700]
d_W2 = gradient[19700:24700].reshape(100, 50)
d_b2 = gradient[24700:24750]
d_W3 = gradient[24750:25250].reshape(50, 10)
d_b3 = gradient[25250:25260]


def bind(new_parameters):
    """Let the step work on these arrays; it changes them in place."""
    global parameters, W1, b1, W2, b2, W3, b3
    parameters = new_parameters
    W1 = parameters[0:19600].reshape(196, 100)
    b1 = parameters[19600:19700]
    W2 = parameters[19700:24700].reshape(100, 50)
    b2 = parameters[24700:24750]
    W3 = parameters[24750:25250].reshape(50, 10)
    b3 = parameters[25250:25260]


def train_step(x, y, learning_rate):
    """x (64, 196), y (64, 10): updates the parameters in place, returns the loss and the outputs
    before the update."""
    # forward
    dot(x, W1, a1)                                  # dense_1: z1 = x @ W1 + b1  (64, 100)
    add(a1, b1, a1)
    sigmoid(a1, out=a1)                             # sigmoid_1: a1 = sigmoid(z1)  (64, 100)
    dot(a1, W2, a2)                                 # dense_2: z2 = a1 @ W2 + b2  (64, 50)
    add(a2, b2, a2)
    sigmoid(a2, out=a2)                             # sigmoid_2: a2 = sigmoid(z2)  (64, 50)
    dot(a2, W3, a3)                                 # dense_3: z3 = a2 @ W3 + b3  (64, 10)
    add(a3, b3, a3)
    sigmoid(a3, out=a3)                             # sigmoid_3: a3 = sigmoid(z3)  (64, 10)
    subtract(a3, y, residuals)                      # loss: residuals = a3 - y  (64, 10)
    total = np.vdot(residuals, residuals)           # loss: loss = sum(residuals**2) / 128
    loss = total / 128

    # backward: d_v is the derivative of the loss by v, times learning_rate
    scale = learning_rate / 64
    multiply(scale, residuals, d_z3)                # d_a3 = scale * residuals  (64, 10)
    sigmoid_vjp(d_z3, a3, scratch_1, out=d_z3)      # d_z3 = d_a3 * (a3 * (1 - a3))  (64, 10)
    dot(ones_64, d_z3, d_b3)                        # d_b3 = sum(d_z3, axis=0)  (10,)
    dot(d_z3, W3.T, d_z2)                           # d_a2 = d_z3 @ W3.T  (64, 50)
    dot(a2.T, d_z3, d_W3)                           # d_W3 = a2.T @ d_z3  (50, 10)
    sigmoid_vjp(d_z2, a2, scratch_2, out=d_z2)      # d_z2 = d_a2 * (a2 * (1 - a2))  (64, 50)
    dot(ones_64, d_z2, d_b2)                        # d_b2 = sum(d_z2, axis=0)  (50,)
    dot(d_z2, W2.T, d_z1)                           # d_a1 = d_z2 @ W2.T  (64, 100)
    dot(a1.T, d_z2, d_W2)                           # d_W2 = a1.T @ d_z2  (100, 50)
    sigmoid_vjp(d_z1, a1, scratch_3, out=d_z1)      # d_z1 = d_a1 * (a1 * (1 - a1))  (64, 100)
    dot(ones_64, d_z1, d_b1)                        # d_b1 = sum(d_z1, axis=0)  (100,)
    dot(x.T, d_z1, d_W1)                            # d_W1 = x.T @ d_z1  (196, 100)

    # update
    subtract(parameters, gradient, parameters)      # parameters = parameters - gradient  (25260,)
    return loss, a3


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    bind(
        (0.1 * rng.random((25260,))).astype(np.float32),  # parameters
    )
    x = (0.1 * rng.random((64, 196))).astype(np.float32)
    y = (0.1 * rng.random((64, 10))).astype(np.float32)
    learning_rate = 0.01
    result = train_step(x, y, learning_rate)[0]
    print("train_step on random data returned", result)
