# %% [markdown]
# # A tour of chainrule
#
# Gradients of NumPy code, networks in a few lines, and every number of backpropagation to look at.
# Needs `pip install ".[all]"` from a clone of the repository.

# %%
import numpy as np

import chainrule as cr
from chainrule import data, nn, optim, plots

# %% [markdown]
# ## The gradient of a NumPy function
#
# `cr.grad` turns a function into its gradient. Here is least squares, and the gradient that one
# finds on paper.


# %%
def squared_distance(w, x, y):
    residuals = x @ w - y
    return np.mean(residuals**2)


rng = np.random.default_rng(0)
x, y, w = rng.normal(size=(8, 2)), rng.normal(size=8), np.array([0.5, -1.0])
gradient = cr.grad(squared_distance)(w, x, y)
assert np.allclose(gradient, 2 / 8 * x.T @ (x @ w - y))
gradient

# %% [markdown]
# ## A network in five lines

# %%
digits = data.load("digits")
x, x_test, y, y_test = data.split(digits.x, digits.y, 0.25, seed=0, stratify=True)
net = nn.Network([nn.Dense(32), nn.ReLU(), nn.Dense(10)], seed=0)
history = net.fit(
    x, y, loss="cross_entropy", optimizer="adam", epochs=20, validation_data=(x_test, y_test),
    seed=0, verbose=0,
)  # fmt: skip
scores = net.evaluate(x_test, y_test)
assert scores["accuracy"] > 0.93
scores

# %%
plots.learning_curves(history, validation_label="test")

# %% [markdown]
# ## Every number
#
# `net.backprop` keeps each value of the forward pass, and the derivative of the loss by it, by the
# name that a textbook gives it: `z1`, `a1`, then `d_z1`, `d_W1`. So the equations of a textbook can
# be tried on them.

# %%
seen = net.backprop(x[:4], y[:4])
assert np.allclose(seen["d_a1"], seen["d_z2"] @ seen["W2"].T, atol=1e-7)
assert np.allclose(seen["d_z1"], seen["d_a1"] * (seen["z1"] > 0), atol=1e-7)
assert np.allclose(seen["d_W1"], seen["x"].T @ seen["d_z1"], atol=1e-6)
{name: seen[name].shape for name in ("x", "z1", "a1", "z2", "losses", "d_z2", "d_z1", "d_W1")}

# %% [markdown]
# ## Explained
#
# The same as a derivation: each rule, local derivative and chain rule, in symbols and in numbers.
# Large arrays are shown in part, and `follow` follows one number from the loss back to it, with
# every term of every sum on the way.

# %%
largest = np.unravel_index(np.abs(seen["d_W1"]).argmax(), seen["d_W1"].shape)
net.explain(x[:1], y[:1], follow=f"W1[{largest[0]}, {largest[1]}]")

# %% [markdown]
# ## Drawn
#
# Small networks as neurons, larger ones as layers, and any function as the graph of what it
# computes: with its values, and below them, in orange, the derivatives of the result.

# %%
corners, xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [1], [1], [0]])
small = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(1), nn.Tanh()], seed=1)
history = small.fit(
    corners, xor, loss="mean_squared_error", optimizer=optim.Adam(0.05), epochs=400, seed=0,
    verbose=0,
)  # fmt: skip
assert np.abs(small.predict(corners) - xor).max() < 0.1
small.draw(title="XOR: weights after training")

# %%
net.draw()


# %%
def neuron(w, x, b):
    z = w * x + b
    a = 1 / (1 + np.exp(-z))
    return (a - 1) ** 2


cr.draw(neuron, 0.5, 2.0, -1.0)

# %% [markdown]
# ## The step that ran
#
# Training ran this text. Printed as NumPy it is a Python file of its own; on the right stands the
# mathematics.

# %%
print(net.step.source_for("numpy"))

# %% [markdown]
# ## A picture of what was learned

# %%
chosen = np.argsort(net.predict(x_test).max(axis=1))[:20]
plots.predicted_images(
    digits.images(x_test[chosen]),
    net.predict(x_test[chosen]).argmax(axis=1),
    y_test[chosen],
    class_names=digits.class_names,
    title="the test images that the network answered least",
)
