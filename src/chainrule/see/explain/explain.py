"""`explain`: every number of a backward pass derived, for a function or for a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.optim import SGD, Minimizer, Optimizer, get_optimizer
from chainrule.see.backprop import backprop
from chainrule.see.explain.content import Chapter, Content
from chainrule.see.explain.digits import most_digits, show_digits
from chainrule.see.explain.explanation import Explanation
from chainrule.see.explain.follow import Place, find_place, follow_place
from chainrule.see.explain.names import Name
from chainrule.see.explain.pieces import array_in_part
from chainrule.see.explain.steps import Limits, Step, Teller, worth_telling
from chainrule.see.explain.updates import limited, update_steps
from chainrule.see.record import record
from chainrule.training.goal import Goal, Penalties
from chainrule.training.inputs import check_count
from chainrule.training.losses import LossLike
from chainrule.training.trainable import Trainable

__all__ = ["explain", "explain_network"]

_TERMS, _TERMS_FOLLOWED = 6, 100
_FORWARD = "Each value in symbols, then in numbers."
_BACKWARD = (
    "From the result back. d_v is the derivative of the result by v, in the shape of v. A rule "
    "turns g, the derivative by a call's result out, into that by its argument; a local derivative "
    "is that of one value by the one before it."
)
_UPDATE = "Each parameter moves against its gradient."


def explain(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    cotangent: Any = None,
    follow: str | None = None,
    digits: int = 4,
    terms: int | None = None,
    elements: int = 3,
    steps: int = 40,
) -> Explanation:
    """The derivation of the gradient of `f` at these arguments, step by step, with its numbers.

    `argnums` and `cotangent` are as for `chainrule.record`, which says what is raised. Results are
    printed with `digits` significant digits, and what they are computed from with as many as it
    takes to give them. A sum of more than `terms` terms (6) keeps the largest, and one number for
    all others; of an array so many `elements` are worked out, and at most so many `steps` are told
    of each pass. With `follow`, as in "w[3, 7]" or "d_z[0]", the one number of that name is
    followed through instead, from the result back to it. Raises ValueError for a number that is
    not there.

    >>> import chainrule as cr
    >>> print(cr.explain(lambda x: x**2, 3.0).text(60))
    Gradient of a function
    ...
    d_x = d_result * (2 * x)
        rule: square: g * (2 * x)
        local: ∂result/∂x = 2 * x = 2 * 3 = 6
        d_x = 1 * (2 * 3) = 6
    """
    found = record(f, argnums)(*args, cotangent=cotangent)
    limits = _limits(digits, terms, elements, steps, follow)
    teller = Teller(found, limits)
    name = getattr(f, "__name__", getattr(f, "name", ""))
    title = f"Gradient of {name if name.isidentifier() else 'a function'}"
    digits = limits.digits
    facts = [f"result {array_in_part(found.result, digits)}, computed in {found.result.dtype}"]
    if follow is not None:
        place = find_place(teller, follow, {})
        return _followed(teller, place, title, facts, {}, [])
    return _told(teller, title, facts, {}, [])


def explain_network(
    network: Trainable,
    x: Any,
    y: Any,
    *,
    loss: LossLike | None = None,
    penalty: Penalties = None,
    sample_weight: Any = None,
    seed: int | np.random.Generator | None = None,
    optimizer: str | Optimizer | None = None,
    learning_rate: float | None = None,
    follow: str | None = None,
    digits: int = 4,
    terms: int | None = None,
    elements: int = 3,
    steps: int = 40,
) -> Explanation:
    """The derivation of every gradient on inputs x (N, ...) and targets y (N, ...), with numbers.

    What is derived is what `network.backprop` computes, whose arguments the first ones are: forward
    pass, loss, derivatives back to the parameters, and the first update of each by the optimizer,
    plain gradient descent where none is given. Results are printed with `digits` significant
    digits, and what they are computed from with as many as it takes to give them. A sum of more
    than `terms` terms (6, with `follow` 100) keeps the largest, and one number for all others; of
    an array so many `elements` are worked out, and at most so many `steps` are told of each pass.
    With `follow`, as in "dense_1.weight[3, 7]", "W1[3, 7]" or "d_z1[0, 7]", one number is
    followed through from the loss back to it, every term of its sum included.
    Nothing of the network is changed. Raises ValueError or TypeError for what does not fit, as
    `fit` does, and ValueError for a number that is not there.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(1, weight=[[2.0]]), nn.Sigmoid()], dtype=float)
    >>> told = net.explain([[0.5]], [[0.0]], loss="squared_error", learning_rate=0.1)
    >>> [line.strip() for line in str(told).splitlines() if "W1[0, 0] <-" in line]
    ['W1[0, 0] <- 2 - 0.1 * 0.07187 = 1.993']
    """
    found = backprop(
        network, x, y, loss=loss, penalty=penalty, sample_weight=sample_weight, seed=seed
    )
    chosen = _optimizer(optimizer, learning_rate)
    limits = _limits(digits, terms, elements, steps, follow)
    teller = Teller(found, limits)
    goal = Goal.of_last_fit(network, loss, penalty, "explain")
    n_samples = len(found["x"])
    facts = [
        f"loss {goal.loss.name} of {n_samples} sample{'s' * (n_samples > 1)}: "
        f"{show_digits(found.result[()], digits)}, computed in {network.dtype}; update by {chosen}"
    ]
    labels = {v: k for k, v in network.textbook_names().parameters.items()}
    title = f"Backpropagation through {network!r}"
    gradients, note = limited(chosen, found.gradients)
    rate = chosen.learning_rate_at(1)

    def updates(label: str, index: Any = None) -> list[Step]:
        name = found.name_of(found.by[label])
        value = np.asarray(found.value_of(found.by[label]))
        return update_steps(chosen, rate, name, value, gradients[label], limits, note, index)

    if follow is not None:
        place = find_place(teller, follow, labels)
        label = next((n for n, v in found.by.items() if v is place[0]), None)
        after = updates(label, place[2]) if label is not None and place[1] is not None else []
        return _followed(teller, place, title, facts, labels, after)
    steps_after: list[Step] = []
    for label in found.by:
        numbers = {str(step.name) for step in steps_after if not step.value.ndim}
        steps_after += [s for s in updates(label) if s.value.ndim or str(s.name) not in numbers]
    return _told(teller, title, facts, labels, steps_after)


def _told(
    teller: Teller, title: str, facts: list[str], labels: Mapping[str, str], after: list[Step]
) -> Explanation:
    limits = teller.limits
    forward, backward = teller.forward(), teller.backward()
    facts = [*facts, *_trouble(forward, backward)]
    chapters = [("Forward", _FORWARD, forward), ("Backward", _BACKWARD, backward)]
    if after:
        chapters.append(("Update", _UPDATE, after))

    def is_titled(name: Name) -> bool:
        own = name if name.of is None else name.of
        return own.base in titled

    titled = {
        str(teller.lines.name(v)) for v in teller.lines.forward if teller.record.is_titled(v)
    } | set(labels)
    return Explanation(
        Content(
            title,
            tuple(facts),
            tuple(teller.given(dict(labels))),
            tuple(
                Chapter(name, words, tuple(worth_telling(steps, limits.steps, is_titled)))
                for name, words, steps in chapters
                if steps
            ),
            limits.digits,
            with_symbols=False,
        )
    )


def _followed(
    teller: Teller,
    place: Place,
    title: str,
    facts: list[str],
    labels: Mapping[str, str],
    after: list[Step],
) -> Explanation:
    variable, cotangent, index = place
    lines = teller.lines
    name = (lines.name(variable) if cotangent is None else lines.derivative_name(variable)).at(
        index
    )
    steps = follow_place(teller, place)
    words = "Where a number is a sum, the way goes on from the term that adds the most to it."
    chapters = [Chapter(f"To {name}", words, tuple(steps))]
    if after:
        chapters.append(Chapter("Update", _UPDATE, tuple(after)))
    own = labels.get(lines.name(variable).base)
    also = f", the gradient by {own}{list(index)}" if own and cotangent is not None else ""
    facts = [*facts, f"one number followed through: {name}{also}", *_trouble(steps, [])]
    return Explanation(
        Content(title, tuple(facts), (), tuple(chapters), teller.limits.digits, with_symbols=True)
    )


def _trouble(forward: Sequence[Step], backward: Sequence[Step]) -> list[str]:
    """A sentence on the first value that is not finite, if there is one, and on zero gradients."""
    for step in (*forward, *backward):
        if step.value.dtype.kind == "f" and not np.isfinite(step.value).all():
            where = f" of {step.layer}" if step.layer else ""
            return [
                f"Not all numbers are finite: the first that are not stand in {step.name}{where}"
            ]
    return []


def _optimizer(optimizer: Any, learning_rate: float | None) -> Optimizer:
    chosen = SGD() if optimizer is None else get_optimizer(optimizer)
    if isinstance(chosen, Minimizer):
        raise ValueError(
            f"{chosen!r} minimises the loss by steps that need more than one gradient: give an "
            "optimizer such as optim.SGD(0.1) to explain an update by"
        )
    return chosen if learning_rate is None else replace(chosen, learning_rate=learning_rate)


def _limits(digits: int, terms: int | None, elements: int, steps: int, follow: Any) -> Limits:
    if follow is not None and not isinstance(follow, str):
        raise TypeError(f"follow is {follow!r}: give the name of a number, as in 'W1[3, 7]'")
    most = _TERMS if follow is None else _TERMS_FOLLOWED
    terms = most if terms is None else terms
    for name, value in {"digits": digits, "elements": elements, "steps": steps}.items():
        check_count(name, value)
    check_count("terms", terms)
    return Limits(min(digits, most_digits(np.dtype(float))), max(terms, 2), elements, max(steps, 6))
