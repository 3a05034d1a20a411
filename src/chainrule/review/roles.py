"""What readers call things: which argument is the target, which method runs forward.

Names are hints only. They say what is meant where nothing else does, never whether it is right.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

__all__ = [
    "EPOCHS",
    "FORWARD",
    "GRADIENT",
    "INPUTS",
    "LOSS",
    "OUTPUT",
    "OUTPUT_GRADIENT",
    "RATE",
    "SAVED",
    "STEP",
    "TARGET",
    "find_method",
    "has_role",
    "parameters_of",
    "returned_names",
    "simple",
]

TARGET = frozenset(
    "y ytrue target targets t label labels ytrain expected desired truth actual yonehot onehot ys "
    "targetvector outputs_list targetslist ybatch desiredoutput groundtruth answer ytarget "
    "trainy tgt yt".split()
)
_OF_TARGETS = ("ytrue", "target", "label", "expected", "onehot")
OUTPUT = frozenset(
    "out output outputs yhat ypred pred preds prediction predictions probs p o al a2 a3 a "
    "activation activations outputactivations predicted yp".split()
)
OUTPUT_GRADIENT = frozenset(
    "grad dout gradoutput outputgradient outputerror outputgrad dy dl g upstream da dal dz gradout "
    "doutput dvalues error gradient delta upstreamgradient gradoutputs dldy dedy topgrad".split()
)
RATE = frozenset(
    "learningrate lr eta alpha rate learnrate stepsize lrate learningrateinit step".split()
)
EPOCHS = frozenset(
    "epochs nepochs numepochs iterations niter numiterations numiter maxiter nsteps steps iters "
    "niterations epoch maxepochs numsteps nepoch".split()
)
INPUTS = frozenset(
    "x xs xi inputs input data xtrain trainx features xbatch batch sample image images row".split()
)
SAVED = frozenset(
    "cache caches memory saved ctx context intermediates forwardcache state tape store "
    "memo acts values".split()
)
FORWARD = (
    "forward feedforward forwardpass forwardprop forwardpropagation forwardpropagate fprop predict "
    "predictproba query think output activate run call model network net hypothesis propagate "
    "propagateforward evaluate __call__ modelforward infer".split()
)
GRADIENT = (
    "backprop backpropagate backpropagation backward backwardpass backwardprop "
    "backwardpropagation backwardpropagate backwardspass bprop gradients gradient computegradients "
    "computegradient computegrads getgradients grads grad propagatebackward backwards "
    "backpropagateerror calculategradients calcgradients lossandgradients lossandgrad lossgrad "
    "lossandgrads backproperror modelbackward".split()
)
STEP = (
    "fitpartial partialfit trainstep trainonbatch trainonsample trainone trainsample "
    "updateminibatch "
    "updatebatch trainbatch sgdstep step fit train learn trainnetwork sgd update "
    "gradientdescent optimize".split()
)
LOSS = (
    "loss computeloss calculateloss calcloss getloss totalloss cost computecost calculatecost "
    "costfunction lossfunction lossfn criterion mse objective j error computeerror crossentropy "
    "totalcost calccost bce nll".split()
)


def simple(name: str) -> str:
    """A name without underscores and capitals, as the tables have it."""
    return name if name == "__call__" else name.replace("_", "").lower()


def has_role(name: str, role: Iterable[str]) -> bool:
    """Whether a name is one of a role's; a target also tells by what is part of its name."""
    plain = simple(name)
    return plain in role or (role is TARGET and any(part in plain for part in _OF_TARGETS))


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters a call can give by position or name; none where they cannot be known."""
    with suppress(TypeError, ValueError):
        found = inspect.signature(function).parameters.values()
        return [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return []


def find_method(thing: Any, role: Iterable[str], but: Iterable[str] = ()) -> str | None:
    """The first method of an object that has a role, in the order of the role's names."""
    by_simple: dict[str, str] = {}
    for name in dir(thing):
        if name.startswith("__") and name != "__call__":
            continue
        if name not in but and callable(getattr(thing, name, None)):
            by_simple.setdefault(simple(name.lstrip("_") if name != "__call__" else name), name)
    return next((by_simple[name] for name in role if name in by_simple), None)


def returned_names(function: Callable[..., Any]) -> list[str]:
    """What a function calls the parts of the tuple it returns at its end, "" without a name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    returns = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    if not returns or returns[-1] is None:
        return []
    value = returns[-1]
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return [part.id if isinstance(part, ast.Name) else getattr(part, "attr", "") for part in parts]
