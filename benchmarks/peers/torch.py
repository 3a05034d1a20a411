"""PyTorch: eager, and `torch.compile`."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from works import Array, Parameters, Runner, Work

VERSION = torch.__version__


def prepare(threads: int) -> None:
    """Set the threads, and let PyTorch load what it loads at its first call."""
    torch.set_num_threads(threads)
    torch.ones(2, 2).matmul(torch.ones(2, 2))


def network(work: Work, start: Parameters) -> nn.Sequential:
    """The network with its initial parameters; PyTorch's weights are (n_out, n_in)."""
    layers: list[nn.Module] = []
    for weight, bias, activation in zip(start[::2], start[1::2], work.activations, strict=True):
        layer = nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
        layers.append(layer)
        if activation != "identity":
            layers.append({"sigmoid": nn.Sigmoid, "relu": nn.ReLU}[activation]())
    return nn.Sequential(*layers)


def loss_of(work: Work) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss of a batch from outputs and targets."""
    if work.loss == "cross_entropy":
        return functional.cross_entropy
    half = 0.5 / work.batch_size
    return lambda outputs, y: functional.mse_loss(outputs, y, reduction="sum") * half


def numpy_parameters(net: nn.Module) -> list[Array]:
    """The parameters as the works have them, weights (n_in, n_out)."""
    return [parameter.detach().numpy().T for parameter in net.parameters()]


def optimizer(work: Work, net: nn.Module, **options: bool) -> torch.optim.Optimizer:
    """The optimizer of a work."""
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[work.optimizer]
    return kind(net.parameters(), lr=work.learning_rate, **options)


def batches_of(work: Work, x: Array, y: Array) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Views of the data as tensors."""
    parts = (torch.from_numpy(array).split(work.batch_size) for array in (x, y))
    return list(zip(*parts, strict=True))


def eager(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch, eager: forward, `backward()`, fused optimizer; batches split beforehand"""
    net, batches = network(work, start), batches_of(work, x, y)
    loss_function, rule = loss_of(work), optimizer(work, net, fused=True)

    def run(epochs: int) -> None:
        for x_batch, y_batch in itertools.chain.from_iterable(itertools.repeat(batches, epochs)):
            rule.zero_grad()
            loss_function(net(x_batch), y_batch).backward()
            rule.step()

    return Runner(run, lambda: numpy_parameters(net))


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

    return Runner(run, lambda: numpy_parameters(net))


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

    return Runner(run, lambda: [tensor.numpy().T for tensor in parameters.values()])


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTorch: `net(x)` in inference mode, of a tensor"""
    net, x = network(work, start), torch.from_numpy(x)

    def run(epochs: int) -> None:
        with torch.inference_mode():
            for _ in range(epochs):
                net(x)

    return Runner(run, lambda: [net(x).detach().numpy()])


SIDES = {
    "eager": eager,
    "compile": compiled,
    "whole": compiled_whole,
    "predict": predict,
}
