"""Whether there is anything to learn, and whether it was learned or only remembered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.diagnosis.case import Case
from chainrule.diagnosis.learning import LEARNED, Progress, own_rate
from chainrule.diagnosis.report import Finding, short
from chainrule.diagnosis.trials import Trials
from chainrule.optim import Adam
from chainrule.training.samples import Samples
from chainrule.training.step import Learned

__all__ = [
    "FAR",
    "classes",
    "constant_predictions",
    "constant_target",
    "network_size",
    "overfitting",
    "shuffled",
]

# Classes

_MOST_OF_ONE = 0.9  # of the samples of one class: less, and a usual training finds the others
_SOME_OF_ONE = 0.8


def classes(trials: Trials, case: Case, progress: Progress) -> Iterator[Finding]:
    """One class that most samples are of, where the network predicts no other."""
    labels = case.labels_of(case.training.y)
    if labels is None or len(labels) < 10:
        return
    kinds, counts = np.unique(labels, return_counts=True)
    share, largest = float(counts.max() / counts.sum()), kinds[counts.argmax()]
    name, fix = "classes unbalanced", 'class_weight="balanced"'
    if len(kinds) == 1:
        evidence = f"all {len(labels)} samples are of class {largest}"
        yield Finding(name, evidence, 1.0, "samples of the other classes, or the data reshuffled")
        return
    if share < _SOME_OF_ONE or case.training.weight is not None:
        return
    true, predicted = labels, labels
    for part in (case.held, case.training):  # samples held out tell more, where there are enough
        if part is not None and (known := case.labels_of(part.y)) is not None:
            predicted = _decisions(case, trials.outputs(progress.curve.learned, part))
            true = known[: len(predicted)]
            if (true != largest).any():
                break
    others = true != largest
    recall = float((predicted[others] == true[others]).mean()) if others.any() else 0.0
    if recall < (0.7 if share >= _MOST_OF_ONE else 0.05):
        evidence = (
            f"{100 * share:.3g} % of the samples are of class {largest}; of the others the network "
            f"finds {100 * recall:.3g} % after {len(progress.curve.losses)} steps, and predicts "
            f"class {largest} for {100 * float((predicted == largest).mean()):.3g} % of all"
        )
        yield Finding(name, evidence, share, fix)


def _decisions(case: Case, outputs: np.ndarray) -> np.ndarray:
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return np.asarray(outputs.argmax(axis=1))
    border = 0.0 if case.goal.loss.takes_logits or (case.samples.y < 0).any() else 0.5
    return (outputs.reshape(len(outputs), -1)[:, 0] > border).astype(np.int64)


# Labels that have nothing to do with the inputs

_NO_RELATION = 3.0  # standard deviations above shuffled labels: chance goes beyond once in a 1000
_SHUFFLES = 200
_FEWEST = 60  # samples: with fewer, chance hides a relation that there is
_WEAK = 0.05  # of the variance: so little is doubted up to _CLEAR standard deviations
_CLEAR = 6.0


def shuffled(trials: Trials, case: Case, progress: Progress) -> Iterator[Finding]:
    """Targets that neither the network nor a kernel machine predicts better than shuffled ones."""
    related = case.relation
    if related is None or len(case.samples) < _FEWEST:
        return
    if related.z > (_NO_RELATION if related.skill > _WEAK else _CLEAR):
        return
    part, held = case.split()  # for validation samples may be in order where these are not
    z = _z_of_held(trials, case, progress.curve.learned, held) if case.is_own_held else -np.inf
    if z > _NO_RELATION:
        return
    rate = own_rate(case)
    by_heart = trials.run(Adam(rate), rate, 150, samples=part, penalties=(), falls=True)
    z = max(z, _z_of_held(trials, case, by_heart.learned, held))
    if z > _NO_RELATION:
        return
    evidence = (
        f"inputs tell nothing of the targets: samples left out are predicted {short(related.z)} "
        f"standard deviations better than with shuffled targets by kernel regression, and "
        f"{short(z)} by the network, whose own loss fell by "
        f"{100 * max(trials.skill(by_heart.after), 0.0):.3g} %"
    )
    fix = "look whether x and y are in the same order, row by row, from the file to fit"
    yield Finding("labels shuffled", evidence, max(z, related.z), fix)


def _z_of_held(trials: Trials, case: Case, learned: Learned, held: Samples) -> float:
    """How much smaller the held-out loss is than with the targets shuffled among the samples."""
    outputs = trials.outputs(learned, held)
    targets = np.asarray(held.y[: len(outputs)])
    rng, loss = case.rng(10), case.goal.loss
    with np.errstate(all="ignore"):
        own = float(np.mean(np.asarray(loss(outputs, targets), np.float64)))
        others = np.array(
            [
                float(np.mean(np.asarray(loss(outputs, rng.permutation(targets)), np.float64)))
                for _ in range(_SHUFFLES)
            ]
        )
    spread = float(others.std())
    return (float(others.mean()) - own) / spread if spread > 0 else 0.0


# A network that is too small

_PREDICTABLE = 0.5  # skill of the kernel machine: so much can be learned for certain
_BEHIND = 0.2  # of that: a linear model of curved classes lacks as much
_FEW = 32
_STEPS = 200


def network_size(trials: Trials, case: Case, progress: Progress) -> Iterator[Finding]:
    """A network that cannot fit 32 samples of what a kernel machine predicts unseen."""
    related, labels = case.relation, case.labels_of(case.training.y)
    if related is None or related.skill < _PREDICTABLE or case.is_autoencoder:
        return
    known = related.skill
    if labels is not None:  # how many are right, beyond the most frequent class
        most = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
        known = (related.hits - most) / max(1 - most, 1e-9)
    if progress.after > known - _BEHIND:
        return
    few = case.training.take(case.rng(11).permutation(len(case.training))[:_FEW])
    rate = own_rate(case)
    fits = []
    for factor in (1.0, 3.0):
        curve = trials.run(Adam(rate), factor * rate, _STEPS, samples=few, penalties=(), falls=True)
        if len(curve.losses) < _STEPS:  # no steps are left, or it became infinite
            continue
        fits.append(trials.skill(curve.after))
        if (true := case.labels_of(few.y)) is not None:
            right = float((_decisions(case, trials.outputs(curve.learned, few)) == true).mean())
            fits[-1] = max(fits[-1], (right - most) / max(1 - most, 1e-9))
        if max(fits) > known - _BEHIND:
            return
    best = max(fits, default=1.0)
    if best < known - _BEHIND:
        what = (
            "the loss is gone" if labels is None else "the others than the largest class are right"
        )
        evidence = (
            f"after {_STEPS} steps on {len(few)} samples alone {100 * max(best, 0):.3g} % of {what}"
            f", where kernel regression gets {100 * known:.3g} % on samples it has not seen"
        )
        fix = "more units in the smallest hidden layer, or another hidden layer"
        yield Finding("network too small", evidence, best, fix)


# Overfitting

_GAP = 0.35  # of skill, between samples trained on and others


def overfitting(trials: Trials, case: Case, progress: Progress) -> Iterator[Finding]:
    """A loss that is small on the samples trained on, and is not on those held out."""
    if case.validation is None or len(case.validation) < 5:
        return
    tried = [("as it is", trials.start), (_steps_of(progress), progress.curve.learned)]
    for when, learned in tried:
        own = trials.loss(learned, case.training)
        other = trials.loss(learned, case.validation)
        skills = [trials.skill(own), max(trials.skill(other), -1.0)]
        rest = ""
        if case.labels is not None:  # a loss may be large where nearly all decisions are right
            right = [
                _right(trials, case, learned, part) for part in (case.training, case.validation)
            ]
            skills = [min(a, b) for a, b in zip(skills, right, strict=True)]
            skills[1] = right[1]
            rest = f"; right beyond the largest class: {right[0]:.0%} and {right[1]:.0%}"
        gap = skills[0] - skills[1]
        if skills[0] > 2 * LEARNED and gap > _GAP:
            evidence = (
                f"{when} the loss is {short(own)} on the samples trained on, {short(other)} on the "
                f"validation samples; a constant has {short(trials.constant)}{rest}"
            )
            fix = "callbacks.EarlyStopping, penalty=nn.L2(1e-3), Dropout, fewer units or more data"
            yield Finding("overfitting", evidence, gap, fix)
            return


def _right(trials: Trials, case: Case, learned: Learned, part: Samples) -> float:
    """The share of right decisions, 0 for those of who always says the most frequent class."""
    decided = _decisions(case, trials.outputs(learned, part))
    labels = case.labels_of(part.y)
    if labels is None:
        return 0.0
    most = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    right = float((decided == labels[: len(decided)]).mean())
    return (right - most) / max(1 - most, 1 / len(labels))


def _steps_of(progress: Progress) -> str:
    return f"after {len(progress.curve.losses)} steps"


# The mean, and nothing else

_STILL = 0.1  # spread of the outputs in parts of that of the targets
FAR = 10.0  # root mean square of targets: further from the outputs' start than they soon come


def constant_predictions(trials: Trials, case: Case, progress: Progress) -> Iterator[Finding]:
    """Outputs that stay alike for all samples, where the targets do not."""
    targets = np.asarray(case.training.y, np.float64)
    if case.labels is not None:
        return
    spread, size = float(targets.std(axis=0).mean()), float(np.sqrt(np.square(targets).mean()))
    outputs = trials.outputs(progress.curve.learned, case.training)
    moves = float(outputs.std(axis=0).mean()) / max(spread, 1e-300)
    if progress.after > LEARNED or not (moves < _STILL or size > FAR):
        return
    related = case.relation
    if related is None or related.skill < LEARNED:
        return
    if size <= FAR and _moves_at_last(trials, case, spread):
        return
    evidence = (
        f"after {len(progress.curve.losses)} steps the outputs spread {100 * moves:.3g} % as far "
        f"as the targets, which have root mean square {short(size)} and can be predicted: kernel "
        f"regression tells {100 * related.skill:.3g} % of their variance"
    )
    fix = "standardise the targets: (y - y.mean()) / y.std()"
    if size < FAR:
        fix = "a last layer without activation, and look whether its inputs differ"
    yield Finding("target learned as a constant", evidence, size if size > FAR else moves, fix)


def _moves_at_last(trials: Trials, case: Case, spread: float) -> bool:
    """Whether outputs that stood still begin to differ by another optimizer, in more steps."""
    rate = own_rate(case)
    curve = trials.run(Adam(rate), rate, _STEPS, penalties=(), falls=True)
    outputs = trials.outputs(curve.learned, case.training)
    return float(outputs.std(axis=0).mean()) > _STILL * spread or len(curve.losses) < _STEPS


def constant_target(case: Case) -> Finding | None:
    """Targets that are the same for all samples: there is nothing to learn but that number."""
    targets, n_samples = np.asarray(case.samples.y), len(case.samples)
    if case.labels is not None or n_samples < 2 or np.ptp(targets, axis=0).any():
        return None
    evidence = f"all {n_samples} targets are {short(float(targets.flat[0]))}"
    fix = "a target for each sample: a sum over axis=1, not over everything"
    return Finding("target learned as a constant", evidence, 0.0, fix)
