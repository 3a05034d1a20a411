"""Training step of Network(5-4-1, gelu): batch 8, float32, binary cross entropy, RMSprop(learning_rate=0.001).

Written by chainrule 0.1.0 for NumPy 2. Regenerate: net.step.source.
Run this file for one step on random data.
"""

import numpy as np
from numpy import (
    absolute, add, divide, dot, exp, log1p, maximum, multiply, negative, sqrt, square, subtract,
    tanh
)


_ERF_LIMIT_32 = 3.95
_ERF_P_32 = (2.0424190878582972e-06, 0.0002847284744585685, 0.003776454513110315, 0.05278058984613101, 0.19071164815160938, 1.1283791470906157)
_ERF_Q_32 = (3.800449562969922e-05, 0.0011644289715881306, 0.014991153378788405, 0.11422753940639285, 0.5023465385152605, 1.0)
_ERF_LIMIT_64 = 5.98
_ERF_P_64 = (1.5750396911642838e-17, 2.2295359905545717e-14, 3.3347623096758014e-12, 1.7166214236392167e-10, 6.7502842260211885e-09, 1.691883553478063e-07, 3.8959249772062565e-06, 5.686610866191183e-05, 0.0008550327727928844, 0.006882955815713981, 0.06609987753175711, 0.22005407478015213, 1.1283791670955126)
_ERF_Q_64 = (8.867237743300212e-16, 3.320548900117437e-13, 2.5457664481196864e-11, 1.1227494030427505e-09, 3.509976860452104e-08, 8.338254353291167e-07, 1.5479361163301477e-05, 0.00022586101446630166, 0.0025626306464248453, 0.021973116986545433, 0.13469655105750103, 0.5283511794590967, 1.0)


def horner(coefficients, t):
    """The polynomial with these coefficients, highest power first, at t."""
    total = coefficients[0] * t + coefficients[1]
    for coefficient in coefficients[2:]:
        total *= t
        total += coefficient
    return total


def erf(x):
    """The error function 2 / sqrt(pi) * integral of exp(-t * t) from 0 to x, to a few ulp."""
    dtype = np.result_type(x)
    if dtype == np.float16:  # it does not hold the coefficients
        return np.astype(erf(np.astype(x, np.float32)), np.float16)
    if dtype == np.float32:
        limit, p, q = _ERF_LIMIT_32, _ERF_P_32, _ERF_Q_32
    else:
        limit, p, q = _ERF_LIMIT_64, _ERF_P_64, _ERF_Q_64
    x = np.clip(x, -limit, limit)
    t = x * x
    return np.clip(x * horner(p, t) / horner(q, t), -1, 1)


def gelu(x, scratch, scratch_2, out):
    """`x * Phi(x)` with the normal distribution function Phi, exact (Hendrycks and Gimpel 2016)."""
    multiply(half, x, scratch)
    multiply(x, number_0_70710, scratch_2)
    erf_1 = erf(scratch_2)
    add(one, erf_1, scratch_2)
    multiply(scratch, scratch_2, out)


def binary_cross_entropy(logits, targets, scratch, scratch_2, scratch_3, out):
    """-t * log(sigmoid(z)) - (1 - t) * log(1 - sigmoid(z)) of each logit z and target t."""
    absolute(logits, scratch)
    negative(scratch, scratch)
    exp(scratch, scratch)
    log1p(scratch, scratch)
    maximum(logits, zeros_8_1, out=scratch_2)
    multiply(logits, targets, scratch_3)
    subtract(scratch_2, scratch_3, scratch_2)
    add(scratch_2, scratch, out)


def binary_cross_entropy_vjp_logits(logits, targets, scratch, out):
    """(sigmoid(logits) - targets) / 8"""
    multiply(half, logits, scratch)
    tanh(scratch, scratch)
    multiply(half, scratch, scratch)
    add(scratch, half, scratch)
    subtract(scratch, targets, scratch)
    multiply(one_over_8, scratch, out)


def gelu_vjp(g, x, scratch, scratch_2, out):
    """g * (0.5 * (1 + erf(x * 0.7071067811865476)) + x * (exp(-0.5 * x**2) *
    0.3989422804014327))"""
    multiply(x, number_0_70710, scratch)
    erf_1 = erf(scratch)
    add(one, erf_1, scratch)
    multiply(half, scratch, scratch)
    square(x, scratch_2)
    multiply(minus_half, scratch_2, scratch_2)
    exp(scratch_2, scratch_2)
    multiply(scratch_2, number_0_39894, scratch_2)
    multiply(x, scratch_2, scratch_2)
    add(scratch, scratch_2, scratch)
    multiply(g, scratch, out)


def rmsprop(parameter, gradient, mean_square, learning_rate, scratch):
    """Divides the gradient by a running average of its recent magnitude.

    mean_square = 0.9 * mean_square + (1 - 0.9) * gradient**2
    parameter = parameter - learning_rate * gradient / (sqrt(mean_square) + 1e-08)
    """
    multiply(number_0_9, mean_square, mean_square)
    square(gradient, scratch)
    multiply(one_minus_0_9, scratch, scratch)
    add(mean_square, scratch, mean_square)
    multiply(learning_rate, gradient, gradient)
    sqrt(mean_square, scratch)
    add(scratch, number_1e_08, scratch)
    divide(gradient, scratch, gradient)
    subtract(parameter, gradient, parameter)


# memory, allocated once
gradient = np.empty(29, np.float32)
z1 = np.empty((8, 4), np.float32)
scratch_1 = np.empty((8, 4), np.float32)
scratch_2 = np.empty((8, 4), np.float32)
a1 = np.empty((8, 4), np.float32)
z2 = np.empty((8, 1), np.float32)
scratch_3 = np.empty((8, 1), np.float32)
scratch_4 = np.empty((8, 1), np.float32)
scratch_5 = np.empty((8, 1), np.float32)
losses = np.empty((8, 1), np.float32)
d_z2 = np.empty((8, 1), np.float32)
d_z1 = np.empty((8, 4), np.float32)
scratch_6 = np.empty(29, np.float32)
half = np.array(0.5, np.float32)
minus_half = np.array(-0.5, np.float32)
number_0_39894 = np.array(0.3989422804014327, np.float32)
number_0_70710 = np.array(0.7071067811865476, np.float32)
number_0_9 = np.array(0.9, np.float32)
number_1e_08 = np.array(1e-08, np.float32)
one = np.array(1, np.float32)
one_minus_0_9 = np.array(1 - 0.9, np.float32)
one_over_8 = np.array(1 / 8, np.float32)
ones_8 = np.ones(8, np.float32)
zeros_8_1 = np.zeros((8, 1), np.float32)
d_W1 = gradient[0:20].reshape(5, 4)
d_b1 = gradient[20:24]
d_W2 = gradient[24:28].reshape(4, 1)
d_b2 = gradient[28:29]


def bind(new_parameters, new_mean_square):
    """Let the step work on these arrays; it changes them in place."""
    global parameters, mean_square, W1, b1, W2, b2
    parameters = new_parameters
    mean_square = new_mean_square
    W1 = parameters[0:20].reshape(5, 4)
    b1 = parameters[20:24]
    W2 = parameters[24:28].reshape(4, 1)
    b2 = parameters[28:29]


def train_step(x, y, learning_rate):
    """x (8, 5), y (8, 1): updates the parameters in place, returns the loss and the outputs before
    the update."""
    # forward
    dot(x, W1, z1)                                  # dense_1: z1 = x @ W1 + b1  (8, 4)
    add(z1, b1, z1)
    gelu(z1, scratch_1, scratch_2, out=a1)          # gelu_1: a1 = gelu(z1)  (8, 4)
    dot(a1, W2, z2)                                 # dense_2: z2 = a1 @ W2 + b2  (8, 1)
    add(z2, b2, z2)
    # loss: losses = binary_cross_entropy(z2, y)  (8, 1)
    binary_cross_entropy(z2, y, scratch_3, scratch_4, scratch_5, out=losses)
    total = np.add.reduce(losses, axis=None)        # loss: loss = sum(losses) / 8
    loss = total / 8

    # backward: d_v is the derivative of the loss by v
    # d_z2 = (sigmoid(z2) - y) / 8  (8, 1)
    binary_cross_entropy_vjp_logits(z2, y, scratch_3, out=d_z2)
    dot(ones_8, d_z2, d_b2)                         # d_b2 = sum(d_z2, axis=0)  (1,)
    dot(d_z2, W2.T, d_z1)                           # d_a1 = d_z2 @ W2.T  (8, 4)
    dot(a1.T, d_z2, d_W2)                           # d_W2 = a1.T @ d_z2  (4, 1)
    gelu_vjp(d_z1, z1, scratch_2, scratch_1, out=d_z1)  # d_z1 = gelu_vjp(d_a1, z1)  (8, 4)
    dot(ones_8, d_z1, d_b1)                         # d_b1 = sum(d_z1, axis=0)  (4,)
    dot(x.T, d_z1, d_W1)                            # d_W1 = x.T @ d_z1  (5, 4)

    # update
    # new mean_square, parameters  (29,)
    rmsprop(parameters, gradient, mean_square, learning_rate, scratch_6)
    return loss, z2


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    bind(
        (0.1 * rng.random((29,))).astype(np.float32),  # parameters
        (0.1 * rng.random((29,))).astype(np.float32),  # mean_square
    )
    x = (0.1 * rng.random((8, 5))).astype(np.float32)
    y = (0.1 * rng.random((8, 1))).astype(np.float32)
    learning_rate = 0.01
    result = train_step(x, y, learning_rate)[0]
    print("train_step on random data returned", result)
