# %% [markdown]
# # Column vectors, and gradients summed over a mini-batch
#
# After the Towards Data Science article on backpropagation with matrices (its `Network([784, 30,
# 10])`): their way of writing it, in our own lines | the same with chainrule | every number. The
# images are those of 8 x 8 pixels that come with scikit-learn, so that nothing is downloaded.

# %%
from itertools import pairwise

import numpy as np

from chainrule import data, nn, optim

# %% [markdown]
# ## Their code
#
# An example is a column; a layer is σ(Wᵀ a + b). `backprop` takes one example and returns lists of
# all ∂J/∂W and ∂J/∂b. A mini-batch sums them, and takes one step.


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Network:
    def __init__(self, sizes, seed=0):
        rng = np.random.default_rng(seed)
        self.weights = [rng.standard_normal((a, b)) for a, b in pairwise(sizes)]
        self.biases = [rng.standard_normal((b, 1)) for b in sizes[1:]]

    def feedforward(self, a):
        for W, b in zip(self.weights, self.biases, strict=True):
            a = sigmoid(W.T @ a + b)
        return a

    def backprop(self, x, y):
        activations = [x]
        for W, b in zip(self.weights, self.biases, strict=True):
            activations.append(sigmoid(W.T @ activations[-1] + b))
        dW, db = [None] * len(self.weights), [None] * len(self.biases)
        dJ_da = activations[-1] - y
        for layer in range(len(self.weights) - 1, -1, -1):
            a = activations[layer + 1]
            dJ_dz = dJ_da * a * (1 - a)
            dW[layer], db[layer] = activations[layer] @ dJ_dz.T, dJ_dz
            dJ_da = self.weights[layer] @ dJ_dz
        return dW, db

    def update(self, examples, rate):
        sum_dW = [np.zeros_like(W) for W in self.weights]
        sum_db = [np.zeros_like(b) for b in self.biases]
        for x, y in examples:
            dW, db = self.backprop(x, y)
            sum_dW = [total + one for total, one in zip(sum_dW, dW, strict=True)]
            sum_db = [total + one for total, one in zip(sum_db, db, strict=True)]
        for layer in range(len(self.weights)):
            self.weights[layer] = self.weights[layer] - rate * sum_dW[layer] / len(examples)
            self.biases[layer] = self.biases[layer] - rate * sum_db[layer] / len(examples)


digits = data.load("digits")
x, y = digits.x[:400], data.one_hot(digits.y[:400], 10).astype(float)
columns = [(one[:, None], target[:, None]) for one, target in zip(x, y, strict=True)]
theirs = Network([64, 30, 10])

# %% [markdown]
# ## Ours
#
# Samples are the rows of one array, and the gradient of a batch comes from one product of matrices.


# %%
def same_network(theirs):
    layers = []
    for W, b in zip(theirs.weights, theirs.biases, strict=True):
        layers += [nn.Dense(W.shape[1], weight=W, bias=b[:, 0]), nn.Sigmoid()]
    return nn.Network(layers, dtype="float64")


ours = same_network(theirs)
assert np.allclose(ours.predict(x[:1]), theirs.feedforward(columns[0][0]).T)

# %% [markdown]
# ## Every number
#
# `per_sample=True` gives the gradient of each example, which is what their `backprop` returns; the
# gradient of the batch is the mean of them, hence their sum divided by 10.

# %%
seen = ours.backprop(x[:10], y[:10], loss="squared_error", per_sample=True)
of_examples = [theirs.backprop(*column) for column in columns[:10]]
for layer in range(2):
    for i, (dW, db) in enumerate(of_examples):
        assert np.allclose(seen.per_sample[f"dense_{layer + 1}.weight"][i], dW[layer])
        assert np.allclose(seen.per_sample[f"dense_{layer + 1}.bias"][i], db[layer][:, 0])
    sum_dW = sum(dW[layer] for dW, db in of_examples)
    assert np.allclose(seen.gradients[f"dense_{layer + 1}.weight"], sum_dW / 10)
seen.per_sample["dense_2.bias"].round(3)

# %% [markdown]
# The bias of the first output, example by example and as the mean:

# %%
ours.explain(x[:10], y[:10], loss="squared_error", follow="dense_2.bias[0]")

# %% [markdown]
# ## 200 updates
#
# 40 mini-batches of 10, 5 epochs, in the order of the file: after them all weights agree.

# %%
for _ in range(5):
    for i in range(0, 400, 10):
        theirs.update(columns[i : i + 10], rate=3.0)
history = ours.fit(
    x, y, loss="squared_error", optimizer=optim.SGD(3.0), epochs=5, batch_size=10, shuffle=False,
    verbose=0,
)  # fmt: skip
for layer in range(2):
    assert np.allclose(ours.parameters[f"dense_{layer + 1}.weight"], theirs.weights[layer])
    assert np.allclose(ours.parameters[f"dense_{layer + 1}.bias"], theirs.biases[layer][:, 0])
history

# %%
ours.draw(x[:10], y[:10], backward=True, title="64-30-10, forward and back")
