"""Training step of Network(784-512-512-10, relu): batch 128, float32, cross entropy, Adam(learning_rate=0.001).

Written by chainrule 0.1.0 for NumPy 2. Regenerate: net.step.source.
Run this file for one step on random data.
"""

import numpy as np


def softmax_cross_entropy(logits, targets, scratch, scratch_2, scratch_3, scratch_4, out):
    """-sum(targets * log_softmax(logits)) along the axis of the classes."""
    np.maximum.reduce(logits, axis=-1, keepdims=True, out=scratch)
    np.subtract(logits, scratch, out=scratch_2)
    np.exp(scratch_2, out=scratch_3)
    np.add.reduce(scratch_3, axis=-1, keepdims=True, out=scratch)
    np.log(scratch, out=scratch)
    np.equal(targets, 0, out=scratch_4)
    np.subtract(scratch, scratch_2, out=scratch_2)
    np.copyto(scratch_2, 0, where=scratch_4)
    np.multiply(targets, scratch_2, out=scratch_2)
    np.add.reduce(scratch_2, axis=-1, out=out)


def softmax_cross_entropy_vjp_logits(logits, targets, scratch, scratch_2, scratch_3, out):
    """(softmax(logits) * sum(targets, axis=-1) - targets) / 128"""
    np.add.reduce(targets, axis=-1, keepdims=True, out=scratch)
    np.maximum.reduce(logits, axis=-1, keepdims=True, out=scratch_2)
    np.subtract(logits, scratch_2, out=scratch_3)
    np.exp(scratch_3, out=scratch_3)
    np.add.reduce(scratch_3, axis=-1, keepdims=True, out=scratch_2)
    np.divide(scratch_3, scratch_2, out=scratch_3)
    np.multiply(scratch_3, scratch, out=scratch_3)
    np.subtract(scratch_3, targets, out=scratch_3)
    np.multiply(1 / 128, scratch_3, out=out)


def relu_vjp(g, value, scratch, out):
    """g * (value > 0)"""
    np.greater(value, 0, out=scratch)
    np.multiply(g, scratch, out=out)


def adam(parameter, gradient, mean, mean_square, rate, epsilon, scratch, scratch_2):
    """Steps along the mean of the gradients over the root of their mean square, both recent.

    mean = 0.9 * mean + (1 - 0.9) * gradient
    mean_square = 0.999 * mean_square + (1 - 0.999) * gradient**2
    parameter = parameter - rate * mean / (sqrt(mean_square) + epsilon)
    """
    np.multiply(0.9, mean, out=mean)
    np.multiply(1 - 0.9, gradient, out=scratch)
    np.add(mean, scratch, out=mean)
    np.multiply(0.999, mean_square, out=mean_square)
    np.square(gradient, out=gradient)
    np.multiply(1 - 0.999, gradient, out=gradient)
    np.add(mean_square, gradient, out=mean_square)
    np.multiply(rate, mean, out=scratch)
    np.sqrt(mean_square, out=scratch_2)
    np.add(scratch_2, epsilon, out=scratch_2)
    np.divide(scratch, scratch_2, out=scratch)
    np.subtract(parameter, scratch, out=parameter)


# memory, allocated once
gradient = np.empty(669706, np.float32)
a1 = np.empty((128, 512), np.float32)
a2 = np.empty((128, 512), np.float32)
z3 = np.empty((128, 10), np.float32)
scratch_1 = np.empty((128, 1), np.float32)
scratch_2 = np.empty((128, 10), np.float32)
scratch_3 = np.empty((128, 10), np.float32)
scratch_4 = np.empty((128, 10), np.bool)
losses = np.empty(128, np.float32)
scratch_5 = np.empty((128, 1), np.float32)
d_z3 = np.empty((128, 10), np.float32)
d_z2 = np.empty((128, 512), np.float32)
scratch_6 = np.empty((128, 512), np.bool)
d_z1 = np.empty((128, 512), np.float32)
scratch_7 = np.empty(32768, np.float32)
scratch_8 = np.empty(32768, np.float32)
ones_128 = np.ones(128, np.float32)
zeros_512 = np.zeros(512, np.float32)
d_W1 = gradient[0:401408].reshape(784, 512)
d_b1 = gradient[401408:401920]
d_W2 = gradient[401920:664064].reshape(512, 512)
d_b2 = gradient[664064:664576]
d_W3 = gradient[664576:669696].reshape(512, 10)
d_b3 = gradient[669696:669706]


def bind(new_parameters, new_mean, new_mean_square):
    """Let the step work on these arrays; it changes them in place."""
    global parameters, mean, mean_square, W1, b1, W2, b2, W3, b3
    parameters = new_parameters
    mean = new_mean
    mean_square = new_mean_square
    W1 = parameters[0:401408].reshape(784, 512)
    b1 = parameters[401408:401920]
    W2 = parameters[401920:664064].reshape(512, 512)
    b2 = parameters[664064:664576]
    W3 = parameters[664576:669696].reshape(512, 10)
    b3 = parameters[669696:669706]


def train_step(x, y, learning_rate, step):
    """x (128, 784), y (128, 10): updates the parameters in place, returns the loss and the outputs
    before the update."""
    # forward
    np.dot(x, W1, out=a1)                           # dense_1: z1 = x @ W1 + b1  (128, 512)
    np.add(a1, b1, out=a1)
    np.maximum(a1, zeros_512, out=a1)               # relu_1: a1 = relu(z1)  (128, 512)
    np.dot(a1, W2, out=a2)                          # dense_2: z2 = a1 @ W2 + b2  (128, 512)
    np.add(a2, b2, out=a2)
    np.maximum(a2, zeros_512, out=a2)               # relu_2: a2 = relu(z2)  (128, 512)
    np.dot(a2, W3, out=z3)                          # dense_3: z3 = a2 @ W3 + b3  (128, 10)
    np.add(z3, b3, out=z3)
    # loss: losses = softmax_cross_entropy(z3, y)  (128,)
    softmax_cross_entropy(z3, y, scratch_1, scratch_2, scratch_3, scratch_4, out=losses)
    total = np.add.reduce(losses, axis=None)        # loss: loss = sum(losses) / 128
    loss = total / 128

    # backward: d_v is the derivative of the loss by v
    # d_z3 = (softmax(z3) * sum(y, axis=-1) - y) / 128  (128, 10)
    softmax_cross_entropy_vjp_logits(z3, y, scratch_1, scratch_5, scratch_2, out=d_z3)
    np.dot(ones_128, d_z3, out=d_b3)                # d_b3 = sum(d_z3, axis=0)  (10,)
    np.dot(d_z3, W3.T, out=d_z2)                    # d_a2 = d_z3 @ W3.T  (128, 512)
    np.dot(a2.T, d_z3, out=d_W3)                    # d_W3 = a2.T @ d_z3  (512, 10)
    relu_vjp(d_z2, a2, scratch_6, out=d_z2)         # d_z2 = d_a2 * (a2 > 0)  (128, 512)
    np.dot(ones_128, d_z2, out=d_b2)                # d_b2 = sum(d_z2, axis=0)  (512,)
    np.dot(d_z2, W2.T, out=d_z1)                    # d_a1 = d_z2 @ W2.T  (128, 512)
    np.dot(a1.T, d_z2, out=d_W2)                    # d_W2 = a1.T @ d_z2  (512, 512)
    relu_vjp(d_z1, a1, scratch_6, out=d_z1)         # d_z1 = d_a1 * (a1 > 0)  (128, 512)
    np.dot(ones_128, d_z1, out=d_b1)                # d_b1 = sum(d_z1, axis=0)  (512,)
    np.dot(x.T, d_z1, out=d_W1)                     # d_W1 = x.T @ d_z1  (784, 512)

    # update
    root = (1.0 - 0.999 ** step) ** 0.5
    rate = learning_rate * root / (1.0 - 0.9 ** step)
    epsilon = 1e-08 * root
    for start in range(0, 669706, 32768):           # in tiles that fit the cache
        tile = slice(start, start + 32768)
        part = slice(669706 - start)
        adam(
            parameters[tile], gradient[tile], mean[tile], mean_square[tile], rate, epsilon,
            scratch_7[part], scratch_8[part]
        )
    return loss, z3


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    bind(
        (0.1 * rng.random((669706,))).astype(np.float32),  # parameters
        (0.1 * rng.random((669706,))).astype(np.float32),  # mean
        (0.1 * rng.random((669706,))).astype(np.float32),  # mean_square
    )
    x = (0.1 * rng.random((128, 784))).astype(np.float32)
    y = (0.1 * rng.random((128, 10))).astype(np.float32)
    learning_rate = 0.01
    step = 1
    result = train_step(x, y, learning_rate, step)[0]
    print("train_step on random data returned", result)
