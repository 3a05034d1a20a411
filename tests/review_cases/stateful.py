"""A class that keeps activations and gradients as attributes, with a step of momentum."""

import numpy as np


class MLP:
    def __init__(self, n_in, n_hidden, n_out, lr=0.2, momentum=0.9):
        rng = np.random.default_rng(3)
        self.W1 = rng.normal(size=(n_in, n_hidden)) * 0.6
        self.b1 = rng.normal(size=(1, n_hidden)) * 0.1
        self.W2 = rng.normal(size=(n_hidden, n_out)) * 0.6
        self.b2 = rng.normal(size=(1, n_out)) * 0.1
        self.vW1 = np.zeros_like(self.W1)
        self.vb1 = np.zeros_like(self.b1)
        self.vW2 = np.zeros_like(self.W2)
        self.vb2 = np.zeros_like(self.b2)
        self.lr = lr
        self.momentum = momentum

    def forward(self, X):
        self.X = X
        self.z1 = X @ self.W1 + self.b1
        self.a1 = np.tanh(self.z1)
        self.z2 = self.a1 @ self.W2 + self.b2
        return self.z2

    def loss(self, X, y):
        out = self.forward(X)
        return np.mean((out - y) ** 2)

    def train_step(self, X, y):
        out = self.forward(X)
        error = 2 * (out - y) / out.size
        dW2 = self.a1.T @ error
        db2 = np.sum(error, axis=0, keepdims=True)
        hidden = error @ self.W2.T * (1 - self.a1**2)
        dW1 = self.X.T @ hidden
        db1 = np.sum(hidden, axis=0, keepdims=True)
        self.vW2 = self.momentum * self.vW2 - self.lr * dW2
        self.vb2 = self.momentum * self.vb2 - self.lr * db2
        self.vW1 = self.momentum * self.vW1 - self.lr * dW1
        self.vb1 = self.momentum * self.vb1 - self.lr * db1
        self.W2 += self.vW2
        self.b2 += self.vb2
        self.W1 += self.vW1
        self.b1 += self.vb1
        return np.mean((out - y) ** 2)


def train(X, y, W1, W2, epochs=1, rate=0.5):
    for epoch in range(epochs):
        hidden = 1 / (1 + np.exp(-X @ W1))
        output = 1 / (1 + np.exp(-hidden @ W2))
        output_error = y - output
        output_gradient = output_error * output * (1 - output)
        hidden_error = output_gradient.dot(W2.T)
        hidden_gradient = hidden_error * hidden * (1 - hidden)
        W2 += rate * hidden.T.dot(output_gradient)
        W1 += rate * X.T.dot(hidden_gradient)
    return W1, W2
