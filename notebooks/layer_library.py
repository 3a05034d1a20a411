# %% [markdown]
# # A library of layers
#
# After O. Aflak, *Neural Network from scratch in Python* (2018): his way of writing it, in our own
# lines | the same with chainrule | every number.

# %%
import numpy as np

from chainrule import nn, optim, plots

# %% [markdown]
# ## His code
#
# A layer has `forward`, and `backward`, which takes ∂E/∂Y, moves the parameters on the way, and
# returns ∂E/∂X.


# %%
class FullyConnected:
    def __init__(self, n_in, n_out, rng):
        self.weights = rng.random((n_in, n_out)) - 0.5
        self.bias = rng.random((1, n_out)) - 0.5

    def forward(self, inputs):
        self.input = inputs
        return inputs @ self.weights + self.bias

    def backward(self, output_error, rate):
        input_error = output_error @ self.weights.T
        self.weights = self.weights - rate * self.input.T @ output_error
        self.bias = self.bias - rate * output_error
        return input_error


class Activation:
    def __init__(self, function, derivative):
        self.function, self.derivative = function, derivative

    def forward(self, inputs):
        self.input = inputs
        return self.function(inputs)

    def backward(self, output_error, rate):
        return self.derivative(self.input) * output_error


def tanh_derivative(z):
    return 1 - np.tanh(z) ** 2


def mse(y, predicted):
    return np.mean((y - predicted) ** 2)


def mse_derivative(y, predicted):
    return 2 * (predicted - y) / y.size


class Network:
    def __init__(self):
        self.layers = []

    def add(self, layer):
        self.layers.append(layer)

    def predict(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def fit(self, x_train, y_train, epochs, rate):
        errors = []
        for _ in range(epochs):
            error = 0.0
            for x, y in zip(x_train, y_train, strict=True):
                output = self.predict(x)
                error += mse(y, output)
                back = mse_derivative(y, output)
                for layer in reversed(self.layers):
                    back = layer.backward(back, rate)
            errors.append(error / len(x_train))
        return errors


x = np.array([[[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]], dtype=float)  # (samples, 1, features)
y = np.array([[[0]], [[1]], [[1]], [[0]]], dtype=float)


def new_network(seed):
    rng = np.random.default_rng(seed)
    network = Network()
    network.add(FullyConnected(2, 3, rng))
    network.add(Activation(np.tanh, tanh_derivative))
    network.add(FullyConnected(3, 1, rng))
    network.add(Activation(np.tanh, tanh_derivative))
    return network


his = new_network(seed=2)
errors = his.fit(x, y, epochs=1000, rate=0.1)
errors[0], errors[-1], his.predict(x[1])

# %% [markdown]
# ## Ours


# %%
def same_network(his):
    network = nn.Network(dtype="float64")
    for layer in his.layers:
        if isinstance(layer, FullyConnected):
            n_out = layer.bias.size
            network.add(nn.Dense(n_out, weight=layer.weights, bias=layer.bias[0]))
        else:
            network.add(nn.Tanh())
    return network


ours = same_network(new_network(seed=2))
history = ours.fit(
    x, y, loss="mean_squared_error", optimizer=optim.SGD(0.1), epochs=1000, batch_size=1,
    shuffle=False, verbose=0,
)  # fmt: skip
assert np.allclose(history["loss"], errors)
assert np.allclose(ours.predict(x), [his.predict(one) for one in x])
plots.loss_curve({"his": errors, "ours": history["loss"]}, title="XOR, 2-3-1, tanh")

# %% [markdown]
# ## Every number
#
# What his layers hand back, ∂E/∂X of each, are our `d_a1`, `d_z1` and `d_x`. A learning rate of 0
# leaves his weights alone.

# %%
his, ours = new_network(seed=2), same_network(new_network(seed=2))
seen = ours.backprop(x[1:2], y[1:2], loss="mean_squared_error")
back = mse_derivative(y[1], his.predict(x[1]))
for layer, name in zip(reversed(his.layers), ("d_z2", "d_a1", "d_z1", "d_x"), strict=True):
    back = layer.backward(back, rate=0.0)
    assert np.allclose(seen[name].reshape(back.shape), back), name
print(seen)

# %% [markdown]
# A layer can be called alone, too. It builds itself for what it is given.

# %%
dense = nn.Dense(3, weight=his.layers[0].weights, bias=his.layers[0].bias[0])
assert np.allclose(dense(x[1]), his.layers[0].forward(x[1]))
dense(x[1])

# %%
ours.explain(x[1:2], y[1:2], loss="mean_squared_error", learning_rate=0.1)

# %%
ours.draw(x, y, loss="mean_squared_error", title="XOR, 2-3-1: gradients at the start")
