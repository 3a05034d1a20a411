# %% [markdown]
# # A regularised cost, a gradient check, and a library's optimizer
#
# After exercise 4 of A. Ng's *Machine Learning* (Coursera), in Python: its way of writing it, in
# our own lines | the same with chainrule | every number. The images are those of 8 x 8 pixels that
# come with scikit-learn; with the course's files, `chainrule reproduce E13 E14 E15` gives the
# published figures.

# %%
import numpy as np
from scipy.optimize import minimize

import chainrule as cr
from chainrule import data, nn, optim, plots

digits = data.load("digits")
X, Y = digits.x[:500], data.one_hot(digits.y[:500], 10).astype(float)
m, strength = len(X), 1.0

# %% [markdown]
# ## The exercise's code
#
# All parameters in one vector, the bias as the first column of each Theta. The cost is the
# cross-entropy, summed over the outputs, mean over the samples, plus λ / (2m) times the squares of
# all but the biases.


# %%
def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def unrolled(params):
    return params[: 25 * 65].reshape(25, 65), params[25 * 65 :].reshape(10, 26)


def backprop(params, X, Y, strength):
    Theta1, Theta2 = unrolled(params)
    m = len(X)
    a1 = np.column_stack([np.ones(m), X])
    z2 = a1 @ Theta1.T
    a2 = np.column_stack([np.ones(m), sigmoid(z2)])
    h = sigmoid(a2 @ Theta2.T)
    J = -np.sum(Y * np.log(h) + (1 - Y) * np.log(1 - h)) / m
    J += strength / (2 * m) * (np.sum(Theta1[:, 1:] ** 2) + np.sum(Theta2[:, 1:] ** 2))
    d3 = h - Y
    d2 = d3 @ Theta2[:, 1:] * sigmoid(z2) * (1 - sigmoid(z2))
    Theta1_grad, Theta2_grad = d2.T @ a1 / m, d3.T @ a2 / m
    Theta1_grad[:, 1:] += strength / m * Theta1[:, 1:]
    Theta2_grad[:, 1:] += strength / m * Theta2[:, 1:]
    return J, np.concatenate([Theta1_grad.ravel(), Theta2_grad.ravel()])


rng = np.random.default_rng(0)
params = rng.uniform(-0.12, 0.12, 25 * 65 + 10 * 26)
backprop(params, X, Y, strength)[0]

# %% [markdown]
# ## Ours
#
# The loss takes the last layer's values before their sigmoid, so there is no logarithm of 0;
# `nn.L2` leaves biases out.


# %%
def same_network(params):
    Theta1, Theta2 = unrolled(params)
    layers = [
        nn.Dense(25, weight=Theta1[:, 1:].T, bias=Theta1[:, 0]),
        nn.Sigmoid(),
        nn.Dense(10, weight=Theta2[:, 1:].T, bias=Theta2[:, 0]),
    ]
    return nn.Network(layers, input_shape=64, dtype="float64")


goal = {"loss": "binary_cross_entropy", "penalty": nn.L2(strength / m)}
net = same_network(params)
J, gradient = backprop(params, X, Y, strength)
seen = net.backprop(X, Y, **goal)
assert np.allclose(seen.result, J)

# %% [markdown]
# ## Every number
#
# The gradients of our weights and biases are the columns of theirs; what flows back to the hidden
# layer is their `d2`, divided by the number of samples.

# %%
Theta1_grad, Theta2_grad = unrolled(gradient)
assert np.allclose(seen.gradients["dense_1.weight"], Theta1_grad[:, 1:].T)
assert np.allclose(seen.gradients["dense_1.bias"], Theta1_grad[:, 0])
assert np.allclose(seen.gradients["dense_2.weight"], Theta2_grad[:, 1:].T)
assert np.allclose(seen.gradients["dense_2.bias"], Theta2_grad[:, 0])
net.explain(X[:1], Y[:1], **goal, follow="dense_1.bias[0]")

# %%
net.draw(X[:10], Y[:10], loss=goal["loss"], title="64-25-10: ten samples")

# %% [markdown]
# ## The gradient check
#
# Right, the exercise's gradient passes. The published notebook writes `thetaplus = theta`, which
# copies nothing; the check says so.

# %%
some = slice(None, None, 25)
few = X[some], Y[some], strength
print(cr.check_gradient(
    lambda p: backprop(p, *few)[0], lambda p: backprop(p, *few)[1], params
))  # fmt: skip


# %%
def without_copies(p):
    gradient = np.zeros_like(p)
    for i in range(len(p)):
        thetaplus = p
        thetaplus[i] = thetaplus[i] + 1e-4
        thetaminus = p
        thetaminus[i] = thetaminus[i] - 1e-4
        gradient[i] = (small_cost(thetaplus) - small_cost(thetaminus)) / (2 * 1e-4)
    return gradient


def small_cost(p):
    return np.sum(np.log(1 + np.exp(p)))


report = cr.check_gradient(small_cost, without_copies, np.array([0.5, -1.0, 2.0]), raises=False)
assert not report.ok
print(report)

# %% [markdown]
# ## The library's optimizer
#
# SciPy's truncated Newton, on the exercise's function and on our network. For some evaluations the
# two go the same way; after that, the last digits of their sums lead them apart, as they would any
# two programs.

# %%
found = minimize(
    backprop, params, args=(X, Y, strength), jac=True, method="TNC", options={"maxfun": 10}
)
net = same_network(params)
short = optim.TNC(max_iterations=1000, max_evaluations=10)
history = net.fit(X, Y, **goal, optimizer=short, verbose=0)
assert np.allclose(history["loss"][-1], found.fun, rtol=1e-6)

longer = optim.TNC(max_iterations=1000, max_evaluations=250)
history = net.fit(X, Y, **goal, optimizer=longer, verbose=0)
print(f"cost {history['loss'][-1]:.4f}; {history.minimizer}")
accuracy = np.mean(net.predict(X).argmax(axis=1) == Y.argmax(axis=1))
assert accuracy > 0.95
accuracy

# %%
plots.hidden_units(
    digits.images(net.parameters["dense_1.weight"].T), cmap="gray", title="the 25 hidden units"
)
