"""JAX: `jit` per call, and `lax.scan` over the epoch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from works import Array, Parameters, Runner, Work, layers, split

VERSION = jax.__version__


def prepare(threads: int) -> None:
    """Start the backend; the threads are in the environment."""
    jnp.zeros(1).block_until_ready()


def forget() -> None:
    """Drop what was compiled."""
    jax.clear_caches()


def forward(work: Work, parameters: Parameters, x: Array) -> Array:
    """The outputs of the network."""
    functions = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "identity": lambda z: z}
    if work.cell:
        return {"lstm": lstm, "attention": attention}[work.cell](work, parameters, x)
    for layer in layers(work, parameters):
        if layer.is_convolution:
            z = convolve_images(x, layer.weight, layer.padding)
            if layer.gamma is not None:  # without running statistics, which training does not need
                variance = jnp.var(z, axis=(0, 1, 2))
                scale = layer.gamma * jax.lax.rsqrt(variance + 1e-5)
                z = (z - jnp.mean(z, axis=(0, 1, 2))) * scale
            z = z + layer.bias
            window, x = (1, 2, 2, 1), functions[layer.activation](z)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        else:
            x = functions[layer.activation](x.reshape(len(x), -1) @ layer.weight + layer.bias)
    return x


def lstm(work: Work, parameters: Parameters, x: Array) -> Array:
    """The logits from an LSTM's last state; the products with x are one, before its `scan`."""
    W, R, b, V, c = parameters
    z = jnp.swapaxes(x, 0, 1) @ W + b

    def cell(state: Array, z: Array) -> Array:
        h, c = state
        i, f, g, o = jnp.split(z + h @ R, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((len(x), len(R)), x.dtype)
    (h, _), _ = jax.lax.scan(cell, (zeros, zeros), z)
    return h @ V + c


def attention(work: Work, parameters: Parameters, x: Array) -> Array:
    """The logits from what `jax.nn.dot_product_attention` gives at all places."""
    Wq, bq, Wk, bk, Wv, bv, Wo, bo, V, c = parameters
    split = (*x.shape[:2], work.heads, -1)
    three = [(x @ W + b).reshape(split) for W, b in ((Wq, bq), (Wk, bk), (Wv, bv))]
    mixed = jax.nn.dot_product_attention(*three).reshape(x.shape)
    return (mixed @ Wo + bo).reshape(len(x), -1) @ V + c


def convolve_images(x: Array, kernel: Array, padding: int = 0) -> Array:
    """A convolution without its bias; channels last."""
    around, axes = [(padding, padding)] * 2, ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), around, dimension_numbers=axes)


def loss_of(work: Work, parameters: Parameters, x: Array, y: Array) -> Array:
    """The mean loss of a batch."""
    outputs = forward(work, parameters, x)
    if work.loss == "cross_entropy":
        rows = jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], axis=1)
        return -jnp.mean(rows)
    return 0.5 * jnp.sum(jnp.square(outputs - y)) / len(x)


def make_step(work: Work) -> Array:
    """`train_step((parameters, slots, step), (x, y)) -> (the same after the step, loss)`."""

    def sgd(parameters: Parameters, gradients: Parameters, slots: Array, step: Array) -> Array:
        descent = [w - work.learning_rate * g for w, g in zip(parameters, gradients, strict=True)]
        return descent, slots

    def adam(parameters: Parameters, gradients: Parameters, slots: Array, step: Array) -> Array:
        means = [0.9 * m + 0.1 * g for m, g in zip(slots[0], gradients, strict=True)]
        squares = [0.999 * v + 0.001 * g * g for v, g in zip(slots[1], gradients, strict=True)]
        root = jnp.sqrt(1 - 0.999**step)
        rate = work.learning_rate / (1 - 0.9**step)
        descent = [
            w - rate * m / (jnp.sqrt(v) / root + 1e-8)
            for w, m, v in zip(parameters, means, squares, strict=True)
        ]
        return descent, (means, squares)

    update = {"sgd": sgd, "adam": adam}[work.optimizer]

    def train_step(carry: Array, batch: Array) -> Array:
        parameters, slots, step = carry
        loss, gradients = jax.value_and_grad(lambda p: loss_of(work, p, *batch))(parameters)
        parameters, slots = update(parameters, gradients, slots, step + 1)
        return (parameters, slots, step + 1), loss

    return train_step


def make_carry(work: Work, start: Parameters) -> Array:
    """The initial parameters, slots and step number, float32."""
    zeros = tuple([jnp.zeros_like(w) for w in start] for _ in range(2))
    slots = zeros if work.optimizer == "adam" else ()
    return [jnp.array(array) for array in start], slots, jnp.float32(0)


def jit(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """JAX, `jit`: one call a step, arguments donated; batches made beforehand"""
    carry = make_carry(work, start)
    train_step = jax.jit(make_step(work), donate_argnums=0)
    parts = [map(jnp.asarray, split(array, work.batch_size)) for array in (x, y)]
    batches = list(zip(*parts, strict=True))

    def run(epochs: int) -> None:
        nonlocal carry
        for _ in range(epochs):
            for batch in batches:
                carry, _ = train_step(carry, batch)
        jax.block_until_ready(carry)

    return Runner(run, lambda: carry[0])


def scan(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """JAX, `lax.scan`: one call an epoch, arguments donated; losses returned"""
    carry = make_carry(work, start)
    train_step = make_step(work)
    epoch = jax.jit(lambda carry, data: jax.lax.scan(train_step, carry, data), donate_argnums=0)
    data = [jnp.asarray(a).reshape(work.n_steps, work.batch_size, *a.shape[1:]) for a in (x, y)]

    def run(epochs: int) -> None:
        nonlocal carry
        for _ in range(epochs):
            carry, _ = epoch(carry, tuple(data))
        jax.block_until_ready(carry)

    return Runner(run, lambda: carry[0])


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """JAX, `jit`: one call of an array on the device, waited for"""
    parameters, x = [jnp.array(array) for array in start], jnp.asarray(x)
    outputs = jax.jit(lambda parameters, x: forward(work, parameters, x))

    def run(epochs: int) -> None:
        for _ in range(epochs):
            outputs(parameters, x).block_until_ready()

    return Runner(run, lambda: [outputs(parameters, x)])


def convolve(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """JAX, `jit` of `vjp`: channels last, waited for"""
    x, y, kernel = map(jnp.asarray, (x, y, start[0]))

    @jax.jit
    def value_and_gradients(x: Array, kernel: Array, g: Array) -> tuple[Array, ...]:
        value, pull_back = jax.vjp(convolve_images, x, kernel)
        return value, *pull_back(g)

    results = value_and_gradients(x, kernel, y)

    def run(epochs: int) -> None:
        nonlocal results
        for _ in range(epochs):
            results = jax.block_until_ready(value_and_gradients(x, kernel, y))

    return Runner(run, lambda: list(results))


SIDES = {"jit": jit, "scan": scan, "predict": predict, "convolve": convolve}
