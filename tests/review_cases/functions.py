"""Functions with a dict of parameters and a cache: ReLU, softmax with cross-entropy, a penalty."""

import numpy as np


def relu(z):
    return np.maximum(0, z)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def forward(params, x):
    z1 = x @ params["W1"] + params["b1"]
    a1 = relu(z1)
    z2 = a1 @ params["W2"] + params["b2"]
    a2 = np.tanh(z2)
    z3 = a2 @ params["W3"] + params["b3"]
    probs = softmax(z3)
    cache = {"x": x, "z1": z1, "a1": a1, "z2": z2, "a2": a2, "probs": probs}
    return probs, cache


def compute_loss(params, x, labels, lam):
    probs, _ = forward(params, x)
    n = x.shape[0]
    data_loss = -np.mean(np.log(probs[np.arange(n), labels]))
    penalty = sum(np.sum(params[name] ** 2) for name in ("W1", "W2", "W3"))
    return data_loss + 0.5 * lam * penalty


def backward(params, cache, labels, lam):
    n = len(labels)
    d_z3 = cache["probs"].copy()
    d_z3[np.arange(n), labels] -= 1
    d_z3 /= n
    grads = {}
    grads["W3"] = cache["a2"].T @ d_z3 + lam * params["W3"]
    grads["b3"] = d_z3.sum(axis=0)
    d_a2 = d_z3 @ params["W3"].T
    d_z2 = d_a2 * (1 - cache["a2"] ** 2)
    grads["W2"] = cache["a1"].T @ d_z2 + lam * params["W2"]
    grads["b2"] = d_z2.sum(axis=0)
    d_a1 = d_z2 @ params["W2"].T
    d_z1 = d_a1 * (cache["z1"] > 0)
    grads["W1"] = cache["x"].T @ d_z1 + lam * params["W1"]
    grads["b1"] = d_z1.sum(axis=0)
    return grads
