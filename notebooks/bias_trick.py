# %% [markdown]
# # One class with the bias trick
#
# After A. Rosebrock, *Backpropagation from scratch with Python* (PyImageSearch, 2021): their way of
# writing it, in our own lines | the same with chainrule | every number.

# %%
import numpy as np

import chainrule as cr
from chainrule import data, nn, optim, plots

# %% [markdown]
# ## Their code
#
# A list of layer sizes, sigmoid everywhere. The bias is a column of ones in the input; so that it
# reaches on, each hidden layer has one unit more than its number says. One update per sample.


# %%
class NeuralNetwork:
    def __init__(self, layers, rate=0.1, seed=0):
        rng = np.random.default_rng(seed)
        self.layers, self.rate = layers, rate
        units = [size + 1 for size in layers[:-1]] + layers[-1:]
        self.W = [
            rng.standard_normal((n_in, n_out)) / np.sqrt(size)
            for size, n_in, n_out in zip(layers, units, units[1:], strict=False)
        ]

    def __repr__(self):
        return f"NeuralNetwork: {'-'.join(map(str, self.layers))}"

    def sigmoid(self, z):
        return 1 / (1 + np.exp(-z))

    def sigmoid_derivative(self, a):  # a is the sigmoid already
        return a * (1 - a)

    def backprop(self, x, y):
        A = [x]
        for W in self.W:
            A.append(self.sigmoid(A[-1] @ W))
        D = [(A[-1] - y) * self.sigmoid_derivative(A[-1])]
        for i in range(len(self.W) - 1, 0, -1):
            D.append(D[-1] @ self.W[i].T * self.sigmoid_derivative(A[i]))
        return A, D[::-1]

    def fit_partial(self, x, y):
        A, D = self.backprop(x, y)
        for i in range(len(self.W)):
            self.W[i] = self.W[i] - self.rate * A[i].T @ D[i]

    def fit(self, X, y, epochs):
        X = np.c_[X, np.ones(len(X))]
        for _ in range(epochs):
            for i in range(len(X)):
                self.fit_partial(X[i : i + 1], y[i : i + 1])

    def predict(self, X):
        return self.backprop(np.c_[X, np.ones(len(X))], 0)[0][-1]


xor = data.load("xor")
X, y = xor.x.astype(float), xor.y[:, None].astype(float)
theirs = NeuralNetwork([2, 2, 1], rate=0.5, seed=1)
start = [W.copy() for W in theirs.W]
theirs.fit(X, y, epochs=3000)
theirs, theirs.predict(X).ravel().round(3)

# %% [markdown]
# ## Ours
#
# The same weights to begin with, layers without a bias of their own, and the column of ones in x.


# %%
def same_network(weights):
    layers = []
    for W in weights:
        layers += [nn.Dense(W.shape[1], use_bias=False, weight=W), nn.Sigmoid()]
    return nn.Network(layers, dtype="float64")


ours = same_network(start)
X1 = np.c_[X, np.ones(len(X))]
history = ours.fit(
    X1, y, loss="squared_error", optimizer=optim.SGD(0.5), epochs=3000, batch_size=1,
    shuffle=False, verbose=0,
)  # fmt: skip
assert np.allclose(ours.predict(X1), theirs.predict(X))
for W, parameter in zip(theirs.W, ours.parameters.values(), strict=True):
    assert np.allclose(W, parameter)
plots.loss_curve({"each before its update, mean of four": history["loss"]}, title="XOR, 2-2-1")

# %% [markdown]
# Their `fit_partial`, one update from one sample:

# %%
one = same_network(start)
again = NeuralNetwork([2, 2, 1], rate=0.5, seed=1)
for i in range(4):
    again.fit_partial(X1[i : i + 1], y[i : i + 1])
    one.train_on_batch(X1[i : i + 1], y[i : i + 1], loss="squared_error", optimizer=optim.SGD(0.5))
assert all(np.allclose(W, p) for W, p in zip(again.W, one.parameters.values(), strict=True))

# %% [markdown]
# ## Every number
#
# Their list `D` holds the derivatives of the loss by what goes into each sigmoid: `d_z1` and
# `d_z2`.

# %%
before = same_network(start)
A, D = NeuralNetwork([2, 2, 1], seed=1).backprop(X1[1:2], y[1:2])
seen = before.backprop(X1[1:2], y[1:2], loss="squared_error")
assert np.allclose(seen["a1"], A[1])
assert np.allclose(seen["a2"], A[2])
assert np.allclose(seen["d_z2"], D[1])
assert np.allclose(seen["d_z1"], D[0])
assert np.allclose(seen["d_W1"], A[0].T @ D[0])
before.explain(X1[1:2], y[1:2], loss="squared_error", learning_rate=0.5)

# %%
drawn = before.draw(X1, y, loss="squared_error", title="before training: gradients")
drawn.beside(ours.draw(title="after training: weights"), title="XOR, 2-2-1 with the bias trick")

# %% [markdown]
# Their worked example: the input (0, 1, 1), three hidden units and one output. Published: 0.899,
# 0.593, 0.378, and 0.506.

# %%
V = np.array([[0.351, 1.076, 1.116], [-0.097, -0.165, 0.542], [0.457, -0.165, -0.331]]).T
v = np.array([0.383, -0.327, -0.329])


def worked_example(V, v, x):
    hidden = 1 / (1 + np.exp(-(x @ V)))
    return 1 / (1 + np.exp(-(hidden @ v)))


seen = cr.record(worked_example)(V, v, np.array([0.0, 1.0, 1.0]))
assert np.allclose(seen["hidden"], [0.899, 0.593, 0.378], atol=1e-3)
assert np.allclose(seen.result, 0.506, atol=1e-3)
seen["hidden"].round(3), seen.result.round(3)

# %% [markdown]
# ## Their digits
#
# 64-32-16-10 on images of digits, learning rate 0.1, one update per sample: two of the thousand
# epochs here. `chainrule reproduce E4` runs them all, from 30 starts.

# %%
digits = data.load("digits")
x, x_test, labels, labels_test = data.split(digits.x, digits.y, 0.25, seed=0)
targets = data.one_hot(labels, 10)
theirs = NeuralNetwork([64, 32, 16, 10], seed=0)
ours = same_network(theirs.W)
theirs.fit(x, targets, epochs=2)
history = ours.fit(
    np.c_[x, np.ones(len(x))], targets, loss="squared_error", optimizer=optim.SGD(0.1), epochs=2,
    batch_size=1, shuffle=False, verbose=0,
)  # fmt: skip
assert all(np.allclose(W, p) for W, p in zip(theirs.W, ours.parameters.values(), strict=True))
ours.draw(title="64-32-16-10 with the bias trick")
