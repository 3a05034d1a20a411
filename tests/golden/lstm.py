"""Training step of Network(7x5-16-3): batch 8, float32, squared error, SGD(learning_rate=0.1).

Written by chainrule 0.1.0 for NumPy 2. Regenerate: net.step.source.
Run this file for one step on random data.
"""

import numpy as np
from numpy import add, dot, multiply, square, subtract, tanh


def sigmoid(x, scratch, out):
    """1 / (1 + exp(-x)) without overflow, as 0.5 * tanh(0.5 * x) + 0.5."""
    multiply(half, x, scratch)
    tanh(scratch, scratch)
    multiply(half, scratch, scratch)
    add(scratch, half, out)


def tanh_vjp(g, value, scratch, out):
    """g * (1 - value**2)"""
    square(value, scratch)
    subtract(one, scratch, scratch)
    multiply(g, scratch, out)


def sigmoid_vjp(g, value, scratch, out):
    """g * (value * (1 - value))"""
    subtract(one, value, scratch)
    multiply(value, scratch, scratch)
    multiply(g, scratch, out)


def sgd(parameter, gradient, learning_rate):
    """Gradient descent, plain, with momentum, or with Nesterov's accelerated gradient.

    parameter = parameter - learning_rate * gradient
    """
    multiply(learning_rate, gradient, gradient)
    subtract(parameter, gradient, parameter)


# memory, allocated once
gradient = np.empty(1459, np.float32)
add_1 = np.empty((56, 64), np.float32)
h_steps = np.empty((8, 8, 16), np.float32)
c_steps = np.empty((8, 8, 16), np.float32)
loop_1 = np.empty((7, 8, 64), np.float32)
i_steps = np.empty((7, 8, 16), np.float32)
f_steps = np.empty((7, 8, 16), np.float32)
g_steps = np.empty((7, 8, 16), np.float32)
o_steps = np.empty((7, 8, 16), np.float32)
tanh_c_steps = np.empty((7, 8, 16), np.float32)
z2 = np.empty((8, 3), np.float32)
residuals = np.empty((8, 3), np.float32)
d_z2 = np.empty((8, 3), np.float32)
d_z1 = np.empty((8, 16), np.float32)
d_h_steps = np.empty((8, 8, 16), np.float32)
d_h = np.empty((8, 16), np.float32)
d_c = np.empty((8, 16), np.float32)
d_z_steps = np.empty((7, 8, 64), np.float32)
scratch_1 = np.empty((8, 16), np.float32)
scratch_2 = np.empty((8, 16), np.float32)
d_tanh_c = np.empty((8, 16), np.float32)
d_o = np.empty((8, 16), np.float32)
scratch_3 = np.empty((8, 16), np.float32)
add_4 = np.empty((8, 16), np.float32)
d_i = np.empty((8, 16), np.float32)
d_g = np.empty((8, 16), np.float32)
d_f = np.empty((8, 16), np.float32)
multiply_14 = np.empty((8, 16), np.float32)
multiply_15 = np.empty((8, 16), np.float32)
multiply_16 = np.empty((8, 16), np.float32)
multiply_17 = np.empty((8, 16), np.float32)
half = np.array(0.5, np.float32)
one = np.array(1, np.float32)
one_over_8 = np.array(1 / 8, np.float32)
ones_56 = np.ones(56, np.float32)
ones_8 = np.ones(8, np.float32)
d_W1 = gradient[0:320].reshape(5, 64)
d_U1 = gradient[320:1344].reshape(16, 64)
d_b1 = gradient[1344:1408]
d_W2 = gradient[1408:1456].reshape(16, 3)
d_b2 = gradient[1456:1459]


def bind(new_parameters):
    """Let the step work on these arrays; it changes them in place."""
    global parameters, W1, U1, b1, W2, b2
    parameters = new_parameters
    W1 = parameters[0:320].reshape(5, 64)
    U1 = parameters[320:1344].reshape(16, 64)
    b1 = parameters[1344:1408]
    W2 = parameters[1408:1456].reshape(16, 3)
    b2 = parameters[1456:1459]


def train_step(x, y, learning_rate):
    """x (8, 7, 5), y (8, 3): updates the parameters in place, returns the loss and the outputs
    before the update."""
    # forward
    # lstm_1: reshape_1 = reshape(x.T, (56, 5))  (56, 5)
    reshape_1 = x.transpose(1, 0, 2).reshape(56, 5)
    # lstm_1: z_steps = reshape(reshape_1 @ W1 + b1, (7, 8, 64))  (7, 8, 64)
    dot(reshape_1, W1, add_1)
    add(add_1, b1, add_1)
    h_steps[0] = 0.0
    c_steps[0] = 0.0
    for t in range(7):                              # lstm_1: 7 steps
        h = h_steps[t]
        c = c_steps[t]
        z = add_1.reshape(7, 8, 64)[t]
        new_h = h_steps[t + 1]
        new_c = c_steps[t + 1]
        add_2 = loop_1[t]
        i = i_steps[t]
        f = f_steps[t]
        g = g_steps[t]
        o = o_steps[t]
        tanh_c = tanh_c_steps[t]
        dot(h, U1, add_2)                               # lstm_1: add_2 = z + h @ U1  (8, 64)
        add(z, add_2, add_2)
        sigmoid(add_2[:, 0:16], scratch_1, out=i)       # lstm_1: i = sigmoid(add_2[:, 0:16])  (8, 16)
        sigmoid(add_2[:, 16:32], scratch_1, out=f)      # lstm_1: f = sigmoid(add_2[:, 16:32])  (8, 16)
        tanh(add_2[:, 32:48], g)                        # lstm_1: g = tanh(add_2[:, 32:48])  (8, 16)
        sigmoid(add_2[:, 48:64], scratch_1, out=o)      # lstm_1: o = sigmoid(add_2[:, 48:64])  (8, 16)
        multiply(f, c, new_c)                           # lstm_1: new_c = f * c + i * g  (8, 16)
        multiply(i, g, scratch_2)
        add(new_c, scratch_2, new_c)
        tanh(new_c, tanh_c)                             # lstm_1: tanh_c = tanh(new_c)  (8, 16)
        multiply(o, tanh_c, new_h)                      # lstm_1: new_h = o * tanh_c  (8, 16)
    dot(h_steps[-1], W2, z2)                        # dense_1: z2 = h_steps[-1] @ W2 + b2  (8, 3)
    add(z2, b2, z2)
    subtract(z2, y, residuals)                      # loss: residuals = z2 - y  (8, 3)
    total = np.vdot(residuals, residuals)           # loss: loss = sum(residuals**2) / 16
    loss = total / 16

    # backward: d_v is the derivative of the loss by v
    multiply(one_over_8, residuals, d_z2)           # d_z2 = residuals / 8  (8, 3)
    dot(ones_8, d_z2, d_b2)                         # d_b2 = sum(d_z2, axis=0)  (3,)
    dot(d_z2, W2.T, d_z1)                           # d_z1 = d_z2 @ W2.T  (8, 16)
    dot(h_steps[-1].T, d_z2, d_W2)                  # d_W2 = h_steps[-1].T @ d_z2  (16, 3)
    d_h_steps.fill(0)                               # d_h_steps = scatter_add(d_z1)  (8, 8, 16)
    d_h_steps[-1] = d_z1
    np.copyto(d_h, 0.0)
    np.copyto(d_c, 0.0)
    for t in reversed(range(7)):
        h = h_steps[t]
        c = c_steps[t]
        g_outside = d_h_steps[t + 1]
        i = i_steps[t]
        f = f_steps[t]
        g = g_steps[t]
        o = o_steps[t]
        tanh_c = tanh_c_steps[t]
        d_z = d_z_steps[t]
        add(d_h, g_outside, d_tanh_c)                   # add_3 = d_h + g_outside  (8, 16)
        multiply(d_tanh_c, tanh_c, d_o)                 # d_o = add_3 * tanh_c  (8, 16)
        multiply(d_tanh_c, o, d_tanh_c)                 # d_tanh_c = add_3 * o  (8, 16)
        # multiply_10 = d_tanh_c * (1 - tanh_c**2)  (8, 16)
        tanh_vjp(d_tanh_c, tanh_c, scratch_3, out=add_4)
        add(d_c, add_4, add_4)                          # add_4 = d_c + multiply_10  (8, 16)
        multiply(add_4, g, d_i)                         # d_i = add_4 * g  (8, 16)
        multiply(add_4, i, d_g)                         # d_g = add_4 * i  (8, 16)
        multiply(add_4, c, d_f)                         # d_f = add_4 * c  (8, 16)
        multiply(add_4, f, d_c)                         # d_c = add_4 * f  (8, 16)
        sigmoid_vjp(d_o, o, scratch_3, out=multiply_14)  # multiply_14 = d_o * (o * (1 - o))  (8, 16)
        tanh_vjp(d_g, g, scratch_3, out=multiply_15)    # multiply_15 = d_g * (1 - g**2)  (8, 16)
        sigmoid_vjp(d_f, f, scratch_3, out=multiply_16)  # multiply_16 = d_f * (f * (1 - f))  (8, 16)
        sigmoid_vjp(d_i, i, scratch_3, out=multiply_17)  # multiply_17 = d_i * (i * (1 - i))  (8, 16)
        # d_z = concatenate(multiply_17, multiply_16, multiply_15, multiply_14)  (8, 64)
        np.concatenate((multiply_17, multiply_16, multiply_15, multiply_14,), axis=1, out=d_z)
        dot(d_z, U1.T, d_h)                             # d_h = d_z @ U1.T  (8, 16)
    # d_U1 = reshape(h_steps[:-1], (56, 16)).T @ reshape(d_z_steps, (56, 64))  (16, 64)
    dot(h_steps[:-1].reshape(56, 16).T, d_z_steps.reshape(56, 64), d_U1)
    # d_b1 = sum(reshape(d_z_steps, (56, 64)), axis=0)  (64,)
    dot(ones_56, d_z_steps.reshape(56, 64), d_b1)
    # d_W1 = reshape_1.T @ reshape(d_z_steps, (56, 64))  (5, 64)
    dot(reshape_1.T, d_z_steps.reshape(56, 64), d_W1)

    # update
    sgd(parameters, gradient, learning_rate)        # new parameters  (1459,)
    return loss, z2


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    bind(
        (0.1 * rng.random((1459,))).astype(np.float32),  # parameters
    )
    x = (0.1 * rng.random((8, 7, 5))).astype(np.float32)
    y = (0.1 * rng.random((8, 3))).astype(np.float32)
    learning_rate = 0.01
    result = train_step(x, y, learning_rate)[0]
    print("train_step on random data returned", result)
