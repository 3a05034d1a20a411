# %% [markdown]
# # By hand, and as computation graphs
#
# After R. Kneusel, *Math for Deep Learning* (2021), chapter 10: its way of writing it, in our own
# lines | the same with chainrule | every number.

# %%
import numpy as np

import chainrule as cr
from chainrule import nn, optim, plots
from chainrule.experiments.iris_pair import load_iris_pair
from chainrule.primitives import sigmoid

iris = load_iris_pair()  # two classes, two features, standardised
x, y = iris.x_train, iris.y_train.astype(float)

# %% [markdown]
# ## The book's code
#
# Two inputs, two sigmoid units, one linear output, ½ (a2 - y)². Nine partial derivatives, found on
# paper.


# %%
def by_hand(net, x, y):
    totals = dict.fromkeys(net, 0.0)
    for (x0, x1), target in zip(x, y, strict=True):
        a0 = 1 / (1 + np.exp(-(net["w0"] * x0 + net["w2"] * x1 + net["b0"])))
        a1 = 1 / (1 + np.exp(-(net["w1"] * x0 + net["w3"] * x1 + net["b1"])))
        a2 = net["w4"] * a0 + net["w5"] * a1 + net["b2"]
        totals["b2"] += a2 - target
        totals["w4"] += (a2 - target) * a0
        totals["w5"] += (a2 - target) * a1
        totals["b0"] += (a2 - target) * net["w4"] * a0 * (1 - a0)
        totals["w0"] += (a2 - target) * net["w4"] * a0 * (1 - a0) * x0
        totals["w2"] += (a2 - target) * net["w4"] * a0 * (1 - a0) * x1
        totals["b1"] += (a2 - target) * net["w5"] * a1 * (1 - a1)
        totals["w1"] += (a2 - target) * net["w5"] * a1 * (1 - a1) * x0
        totals["w3"] += (a2 - target) * net["w5"] * a1 * (1 - a1) * x1
    return {name: total / len(x) for name, total in totals.items()}


rng = np.random.default_rng(0)
start = {f"w{i}": rng.uniform(-0.5, 0.5) for i in range(6)} | {f"b{i}": 0.0 for i in range(3)}
book = by_hand(start, x, y)
book

# %% [markdown]
# ## Ours
#
# The forward pass as NumPy code, and all nine at once:


# %%
def loss(net, x, y):
    a0 = sigmoid(net["w0"] * x[:, 0] + net["w2"] * x[:, 1] + net["b0"])
    a1 = sigmoid(net["w1"] * x[:, 0] + net["w3"] * x[:, 1] + net["b1"])
    a2 = net["w4"] * a0 + net["w5"] * a1 + net["b2"]
    return np.mean(0.5 * (a2 - y) ** 2)


ours = cr.grad(loss)(start, x, y)
for name, derivative in book.items():
    assert np.allclose(ours[name], derivative), name


# %% [markdown]
# Or as a network, trained as in the book, with the derivatives by hand beside it:


# %%
def same_network(net):
    return nn.Network(
        [
            nn.Dense(
                2,
                weight=np.array([[net["w0"], net["w1"]], [net["w2"], net["w3"]]]),
                bias=np.array([net["b0"], net["b1"]]),
            ),
            nn.Sigmoid(),
            nn.Dense(1, weight=np.array([[net["w4"]], [net["w5"]]]), bias=np.array([net["b2"]])),
        ],
        dtype="float64",
    )


network, net = same_network(start), dict(start)
history = network.fit(
    x, y[:, None], loss="squared_error", optimizer=optim.SGD(0.1), epochs=200, batch_size=len(x),
    shuffle=False, verbose=0,
)  # fmt: skip
for _ in range(200):
    derivatives = by_hand(net, x, y)
    net = {name: net[name] - 0.1 * derivatives[name] for name in net}
trained = same_network(net)
trained.build(2)
for name, parameter in network.parameters.items():
    assert np.allclose(parameter, trained.parameters[name])

plots.decision_regions(
    network.predict, iris.x_test, iris.y_test, class_names=iris.class_names,
    feature_names=iris.feature_names, threshold=0.5,
)  # fmt: skip

# %% [markdown]
# ## Every number
#
# The nine derivatives lie in the gradients of the two layers. The explanation derives them as the
# book does: the chain rule in symbols, then with the numbers of one flower.

# %%
network = same_network(start)
seen = network.backprop(x, y[:, None], loss="squared_error")
assert np.allclose(seen["d_W1"], [[book["w0"], book["w1"]], [book["w2"], book["w3"]]])
assert np.allclose(seen["d_b1"], [book["b0"], book["b1"]])
assert np.allclose(seen["d_W2"][:, 0], [book["w4"], book["w5"]])
assert np.allclose(seen["d_b2"], [book["b2"]])
network.explain(x[:1], y[:1, None], loss="squared_error", learning_rate=0.1)

# %%
network.draw(x, y[:, None], loss="squared_error", title="iris, 2-2-1: gradients at the start")

# %% [markdown]
# ## Computation graphs
#
# y = σ(W x + b), differentiated in the book's two ways: *symbol to number*, where values flow back
# through the graph, and *symbol to symbol*, where the derivative is a graph of its own.


# %%
def unit(W, x, b):
    z = W @ x + b
    y = sigmoid(z)
    return np.sum(y)


W, v, b = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 2.0]]), np.array([1.0, 0.5, -1.0]), np.ones(2)
numbers = cr.record(unit)(W, v, b)
symbols = cr.compile(cr.grad(unit, argnums=(0, 1, 2)))
slope = sigmoid(W @ v + b) * (1 - sigmoid(W @ v + b))
for name, found, formula in zip(
    ("d_W", "d_x", "d_b"), symbols(W, v, b), (np.outer(slope, v), W.T @ slope, slope), strict=True
):
    assert np.allclose(numbers[name], formula)
    assert np.allclose(found, formula)
print(symbols.source)

# %%
to_numbers = cr.draw(unit, W, v, b, title="to numbers: d_v below v")
to_graph = cr.draw(unit, W, v, b, backward=True, title="to a graph: a rule for each step")
to_numbers.beside(to_graph, title="y = σ(W x + b), differentiated in two ways")
