"""PyTorch: eager, `torch.compile`, convolution, a shuffled epoch, and time to 0.990."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import mnist
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from works import TO_0990_EPOCHS, Array, Parameters, Runner, Work, layers

VERSION = torch.__version__


def prepare(threads: int) -> None:
    """Set the threads, and let PyTorch load what it loads at its first call."""
    torch.set_num_threads(threads)
    torch.ones(2, 2).matmul(torch.ones(2, 2))


def forget() -> None:
    """Drop what was compiled."""
    torch._dynamo.reset()


def network(work: Work, start: Parameters) -> nn.Module:
    """The network with its initial parameters; PyTorch's weights are (n_out, n_in, …)."""
    if work.cell:
        return {"lstm": Lstm, "attention": Attention}[work.cell](work, start)
    parts: list[nn.Module] = []
    pooled = False
    for layer in layers(work, start):
        if layer.is_convolution:
            size, _, n_in, n_out = layer.weight.shape
            has_bias = layer.gamma is None
            part = nn.Conv2d(n_in, n_out, size, padding=layer.padding, bias=has_bias)
            weight = layer.weight.transpose(3, 2, 0, 1)
        else:
            part = nn.Linear(*layer.weight.shape)
            weight = layer.weight.T
            if pooled:
                parts.append(nn.Flatten())
                weight = weight[:, channels_first_rows(work)]
        norm = part if layer.gamma is None else nn.BatchNorm2d(n_out)
        parts += [part] if norm is part else [part, norm]
        copy(part.weight, weight)
        copy(norm.bias, layer.bias)
        if layer.activation != "identity":
            parts.append({"sigmoid": nn.Sigmoid, "relu": nn.ReLU}[layer.activation]())
        pooled = layer.is_convolution
        if pooled:
            parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts)


def copy(parameter: torch.Tensor, array: Array) -> None:
    """Give a parameter these values."""
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(array))


class Lstm(nn.Module):
    """`nn.LSTM` and a dense layer of its last state; of its two biases one stays at zero."""

    def __init__(self, work: Work, start: Parameters) -> None:
        super().__init__()
        units, n_classes = work.sizes
        self.lstm = nn.LSTM(work.sequence[1], units, batch_first=True)
        self.dense = nn.Linear(units, n_classes)
        nn.init.zeros_(self.lstm.bias_hh_l0).requires_grad_(False)
        own = (p for p in self.parameters() if p.requires_grad)
        for parameter, array in zip(own, start, strict=True):
            copy(parameter, array.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.dense(self.lstm(x)[1][0][-1])


class Attention(nn.Module):
    """`nn.MultiheadAttention` and a dense layer of all places."""

    def __init__(self, work: Work, start: Parameters) -> None:
        super().__init__()
        n_features = work.sequence[1]
        self.attention = nn.MultiheadAttention(n_features, work.heads, batch_first=True)
        self.dense = nn.Linear(*work.sizes)
        weight, bias = np.concatenate(start[:6:2], axis=1), np.concatenate(start[1:6:2])
        for parameter, array in zip(self.parameters(), (weight, bias, *start[6:]), strict=True):
            copy(parameter, array.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.dense(self.attention(x, x, x, need_weights=False)[0].flatten(1))


def channels_first_rows(work: Work) -> Array:
    """Where the values of PyTorch's flattened images (C, H, W) stand in ours, (H, W, C)."""
    n_values, n_channels = work.sizes[0], work.convolutions[-1].n_kernels
    return np.arange(n_values).reshape(-1, n_channels).T.ravel()


def channels_first(array: Array) -> Array:
    """Images (N, H, W, C) as PyTorch has them; what is no image stays as it is."""
    return array if array.ndim != 4 else np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def loss_of(work: Work) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss of a batch from outputs and targets."""
    if work.loss == "cross_entropy":
        return functional.cross_entropy
    half = 0.5 / work.batch_size
    return lambda outputs, y: functional.mse_loss(outputs, y, reduction="sum") * half


def numpy_parameters(work: Work, parameters: Iterable[torch.Tensor]) -> list[Array]:
    """The parameters as the works have them, weights (…, n_in, n_out)."""
    arrays = [parameter.detach().numpy() for parameter in parameters]
    arrays = [array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T for array in arrays]
    if work.convolutions:
        first = (3 if work.batch_norm else 2) * len(work.convolutions)
        arrays[first] = arrays[first][np.argsort(channels_first_rows(work))]
    if work.cell == "attention":
        three = zip(np.split(arrays[0], 3, axis=1), np.split(arrays[1], 3), strict=True)
        arrays[:2] = [array for pair in three for array in pair]
    return arrays


def trained(net: nn.Module) -> list[torch.Tensor]:
    """The parameters but those that stay as they are."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def optimizer(work: Work, net: nn.Module, **options: bool) -> torch.optim.Optimizer:
    """The optimizer of a work."""
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[work.optimizer]
    return kind(trained(net), lr=work.learning_rate, **options)


def make_step(
    work: Work, net: nn.Module, rule: torch.optim.Optimizer
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """`train_step(x, y)`: forward, `backward()`, update."""
    loss_function = loss_of(work)

    def train_step(x: torch.Tensor, y: torch.Tensor) -> None:
        rule.zero_grad()
        loss_function(net(x), y).backward()
        rule.step()

    return train_step


def batches_of(work: Work, x: Array, y: Array) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Views of the data as tensors."""
    parts = (torch.from_numpy(array).split(work.batch_size) for array in (channels_first(x), y))
    return list(zip(*parts, strict=True))


def eager(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch, eager: forward, `backward()`, fused optimizer; batches split beforehand"""
    return _eager(work, start, batches_of(work, x, y))


def _eager(work: Work, start: Parameters, batches: Iterable[Array]) -> Runner:
    net = network(work, start)
    train_step = make_step(work, net, optimizer(work, net, fused=True))

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for batch in batches:
                train_step(*batch)

    return Runner(run, lambda: numpy_parameters(work, trained(net)))


def compiled(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch, `torch.compile`: network and loss; `backward()`, fused optimizer"""
    net, batches = network(work, start), batches_of(work, x, y)
    loss_function, rule = loss_of(work), optimizer(work, net, fused=True)
    loss = torch.compile(lambda x_batch, y_batch: loss_function(net(x_batch), y_batch))

    def run(epochs: int) -> None:
        for x_batch, y_batch in itertools.chain.from_iterable(itertools.repeat(batches, epochs)):
            rule.zero_grad()
            loss(x_batch, y_batch).backward()
            rule.step()

    return Runner(run, lambda: numpy_parameters(work, trained(net)))


def compiled_whole(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch, `torch.compile` of the whole step: gradients and update in one graph (SGD only)"""
    net, batches = network(work, start), batches_of(work, x, y)
    loss_function, rate = loss_of(work), work.learning_rate
    parameters = {name: tensor.detach() for name, tensor in net.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss_function(torch.func.functional_call(net, parameters, (x,)), y)

    @torch.compile
    def train_step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        gradients, value = torch.func.grad_and_value(loss)(parameters, x, y)
        for name, gradient in gradients.items():
            parameters[name].sub_(gradient, alpha=rate)
        return value

    def run(epochs: int) -> None:
        with torch.no_grad():
            for x_batch, y_batch in itertools.chain.from_iterable(
                itertools.repeat(batches, epochs)
            ):
                train_step(x_batch, y_batch)

    return Runner(run, lambda: numpy_parameters(work, parameters.values()))


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch: `net(x)` in inference mode, of a tensor"""
    net, x = network(work, start), torch.from_numpy(x)

    def run(epochs: int) -> None:
        with torch.inference_mode():
            for _ in range(epochs):
                net(x)

    return Runner(run, lambda: [net(x).detach().numpy()])


def convolve(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch: `conv2d` and `autograd.grad`, channels first"""
    return _convolve(x, y, start, torch.contiguous_format)


def convolve_channels_last(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch, `channels_last`: `conv2d` and `autograd.grad`"""
    return _convolve(x, y, start, torch.channels_last)


def _convolve(x: Array, y: Array, start: Parameters, order: torch.memory_format) -> Runner:
    kernel = start[0].transpose(3, 2, 0, 1)
    x, g, kernel = (
        torch.tensor(array).contiguous(memory_format=order)
        for array in (x.transpose(0, 3, 1, 2), y.transpose(0, 3, 1, 2), kernel)
    )
    x.requires_grad_()
    kernel.requires_grad_()

    def step() -> tuple[torch.Tensor, ...]:
        value = functional.conv2d(x, kernel)
        return value, *torch.autograd.grad(value, (x, kernel), g)

    results = step()

    def run(epochs: int) -> None:
        nonlocal results
        for _ in range(epochs):
            results = step()

    def result() -> list[Array]:
        value, d_x, d_kernel = (tensor.detach().numpy() for tensor in results)
        images = [array.transpose(0, 2, 3, 1) for array in (value, d_x)]
        return [*images, d_kernel.transpose(2, 3, 1, 0)]

    return Runner(run, result)


def loader(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch, `DataLoader`: of a `TensorDataset`, in random order, in this process; eager"""
    data = torch.utils.data.TensorDataset(torch.from_numpy(channels_first(x)), torch.from_numpy(y))
    batches = torch.utils.data.DataLoader(data, batch_size=work.batch_size, shuffle=True)
    return _eager(work, start, batches)


def indexing(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch, batches by indexing: rows of tensors, a random permutation an epoch; eager"""
    return _eager(work, start, Batches(work, x, y))


class Batches:
    """The batches of an epoch, in another random order each time."""

    def __init__(self, work: Work, x: Array, y: Array) -> None:
        self.size = work.batch_size
        self.x, self.y = torch.from_numpy(channels_first(x)), torch.from_numpy(y)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in torch.randperm(len(self.x)).split(self.size):
            yield self.x[rows], self.y[rows]


def learn(work: Work, start: Parameters, is_enough: Callable[[float], bool]) -> None:
    """PyTorch, eager: fused Adam, batches by indexing"""
    x_test, y_test = mnist.read("test")
    x_test, y_test = torch.from_numpy(channels_first(x_test)), torch.from_numpy(y_test)
    batches = Batches(work, *mnist.read("train"))
    n_steps = TO_0990_EPOCHS * -(-len(batches.x) // work.batch_size)
    net = network(work, start)
    rule = optimizer(work, net, fused=True)
    train_step = make_step(work, net, rule)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(rule, n_steps)
    for _ in range(TO_0990_EPOCHS):
        for x_batch, y_batch in batches:
            train_step(x_batch, y_batch)
            schedule.step()
        with torch.inference_mode():
            right = sum(
                int((net(x).argmax(1) == y).sum())
                for x, y in zip(x_test.split(1000), y_test.split(1000), strict=True)
            )
        if is_enough(right / len(y_test)):
            break


SIDES = {
    "eager": eager,
    "compile": compiled,
    "whole": compiled_whole,
    "predict": predict,
    "convolve": convolve,
    "channels-last": convolve_channels_last,
    "loader": loader,
    "indexing": indexing,
    "learn": learn,
}
