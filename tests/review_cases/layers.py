"""Layers with forward and backward, which updates on the way back, as in Omar Aflak's library."""

import numpy as np


class Layer:
    def __init__(self):
        self.input = None
        self.output = None


class Dense(Layer):
    def __init__(self, n_in, n_out, seed=0):
        rng = np.random.default_rng(seed)
        self.weights = rng.normal(size=(n_in, n_out)) * 0.5
        self.bias = rng.normal(size=(1, n_out)) * 0.5

    def forward(self, input_data):
        self.input = input_data
        self.output = np.dot(self.input, self.weights) + self.bias
        return self.output

    def backward(self, output_error, learning_rate):
        input_error = np.dot(output_error, self.weights.T)
        weights_error = np.dot(self.input.T, output_error)
        self.weights -= learning_rate * weights_error
        self.bias -= learning_rate * np.sum(output_error, axis=0, keepdims=True)
        return input_error


class Activation(Layer):
    def __init__(self, activation, activation_prime):
        self.activation = activation
        self.activation_prime = activation_prime

    def forward(self, input_data):
        self.input = input_data
        self.output = self.activation(self.input)
        return self.output

    def backward(self, output_error, learning_rate):
        return self.activation_prime(self.input) * output_error


class Dropout(Layer):
    def __init__(self, rate):
        self.rate = rate

    def forward(self, input_data):
        self.mask = (np.random.rand(*input_data.shape) > self.rate) / (1 - self.rate)
        return input_data * self.mask

    def backward(self, output_error, learning_rate):
        return output_error * self.mask


class Softmax(Layer):
    def forward(self, input_data):
        e = np.exp(input_data - np.max(input_data, axis=1, keepdims=True))
        self.output = e / np.sum(e, axis=1, keepdims=True)
        return self.output

    def backward(self, output_error, learning_rate):
        inner = np.sum(output_error * self.output, axis=1, keepdims=True)
        return self.output * (output_error - inner)


class Convolution(Layer):
    def __init__(self, size, seed=0):
        rng = np.random.default_rng(seed)
        self.kernel = rng.normal(size=(size, size))
        self.bias = np.array([[0.1]])

    def forward(self, image):
        self.image = image
        k = self.kernel.shape[0]
        n = image.shape[0] - k + 1
        out = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                out[i, j] = np.sum(image[i : i + k, j : j + k] * self.kernel)
        return out + self.bias

    def backward(self, output_error, learning_rate):
        k = self.kernel.shape[0]
        n = output_error.shape[0]
        padded = np.pad(output_error, k - 1)
        flipped = self.kernel[::-1, ::-1]
        d_image = np.zeros(self.image.shape)
        for i in range(d_image.shape[0]):
            for j in range(d_image.shape[1]):
                d_image[i, j] = np.sum(padded[i : i + k, j : j + k] * flipped)
        d_kernel = np.zeros(self.kernel.shape)
        for i in range(k):
            for j in range(k):
                d_kernel[i, j] = np.sum(self.image[i : i + n, j : j + n] * output_error)
        self.kernel -= learning_rate * d_kernel
        self.bias -= learning_rate * np.sum(output_error)
        return d_image


class MaxPool(Layer):
    def forward(self, image):
        self.image = image
        n = image.shape[0] // 2
        out = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                out[i, j] = np.max(image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2])
        return out

    def backward(self, output_error, learning_rate):
        d_image = np.zeros(self.image.shape)
        for i in range(output_error.shape[0]):
            for j in range(output_error.shape[1]):
                window = self.image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                r, c = np.unravel_index(np.argmax(window), window.shape)
                d_image[2 * i + r, 2 * j + c] += output_error[i, j]
        return d_image


def tanh(x):
    return np.tanh(x)


def tanh_prime(x):
    return 1 - np.tanh(x) ** 2


def mse(y_true, y_pred):
    return np.mean(np.power(y_true - y_pred, 2))


def mse_prime(y_true, y_pred):
    return 2 * (y_pred - y_true) / y_true.size


class Network:
    def __init__(self):
        self.layers = []
        self.loss = None
        self.loss_prime = None

    def add(self, layer):
        self.layers.append(layer)

    def use(self, loss, loss_prime):
        self.loss = loss
        self.loss_prime = loss_prime

    def predict(self, input_data):
        result = []
        for i in range(len(input_data)):
            output = input_data[i]
            for layer in self.layers:
                output = layer.forward(output)
            result.append(output)
        return result

    def fit(self, x_train, y_train, epochs, learning_rate):
        for i in range(epochs):
            err = 0
            for j in range(len(x_train)):
                output = x_train[j]
                for layer in self.layers:
                    output = layer.forward(output)
                err += self.loss(y_train[j], output)
                error = self.loss_prime(y_train[j], output)
                for layer in reversed(self.layers):
                    error = layer.backward(error, learning_rate)
            err /= len(x_train)
            print("epoch %d/%d   error=%f" % (i + 1, epochs, err))
