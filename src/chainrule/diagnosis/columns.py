"""What is wrong with the data itself: columns, scales, leaks, classes, parts that differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.diagnosis.case import MOST_SAMPLES, Case
from chainrule.diagnosis.probe import Probe
from chainrule.diagnosis.relation import Matrix, feature_rows, relation
from chainrule.diagnosis.report import Finding, short
from chainrule.training.samples import Samples

__all__ = ["leaks", "parts_differ", "scales", "useless_columns"]

Array = np.ndarray[Any, Any]

_FEWEST = 10  # samples: with fewer, columns may be alike by chance


# Scales

_TOO_LARGE = 30.0  # root mean square of a column: standardised columns have 1, pixels less
_LARGE = 15.0  # may be lived with, so it counts only where the network does not learn
_TOO_SMALL = 5e-3  # length of a sample
_UNEQUAL = 1e3  # largest column in parts of the smallest
_OFF_CENTRE = 30.0  # mean of a column in parts of its spread


def scales(probe: Probe, case: Case, learns: bool) -> Iterator[Finding]:
    """Inputs of the first product with weights that are large, small, unequal or far from 0.

    What that product is handed counts, not x: a normalisation before it has done the scaling.
    """
    handed = next((value for _, value in probe.products), None)
    value = case.samples.x if handed is None or _same(handed, probe.batch.x) else handed
    if value.dtype.kind != "f":
        return
    rows = value.reshape(len(value), -1) if value.ndim <= 2 else value.reshape(-1, value.shape[-1])
    columns = rows.astype(np.float64)
    spread = columns.std(axis=0)
    columns = columns[:, spread > 1e-9 * np.abs(columns).max(axis=0, initial=1e-300)]
    if not columns.size:
        return
    size = np.sqrt(np.square(columns).mean(axis=0))
    largest, length = float(size.max()), float(np.sqrt(np.square(columns).sum(axis=1).mean()))
    dense = (columns == 0).mean(axis=0) < 0.5  # a pixel at the edge may be small by being rare
    unequal = largest / float(size[dense].min()) if dense.any() else 1.0
    off_centre = float(np.median(np.abs(columns.mean(axis=0)) / columns.std(axis=0)))
    fix = "standardise the columns: chainrule.data.Standardizer, or divide pixels by 255"
    name = "inputs not scaled"
    if largest > (_LARGE if not learns else _TOO_LARGE):
        evidence = (
            f"the largest column of the inputs has root mean square {short(largest)} (standardised "
            f"it would be 1), the middle one {short(float(np.median(size)))}"
        )
        yield Finding(name, evidence, largest, fix)
    elif length < (10 * _TOO_SMALL if not learns else _TOO_SMALL):
        evidence = (
            f"a sample's values have together the length {short(length)}: weights see nothing"
        )
        yield Finding(name, evidence, length, fix)
    elif unequal > _UNEQUAL and not learns:
        evidence = f"the largest column of the inputs is {short(unequal)} times the smallest"
        yield Finding(name, evidence, unequal, fix)
    elif off_centre > _OFF_CENTRE:
        evidence = f"the mean of the columns is {short(off_centre)} times their spread"
        yield Finding(name, evidence, off_centre, fix)


def _same(value: Array, x: Any) -> bool:
    return value.size == np.size(x) and np.array_equal(value.reshape(-1), np.reshape(x, -1))


# Columns that say nothing, or everything


def useless_columns(case: Case, has_bias: bool) -> Iterator[Finding]:
    """Columns of a table that never vary, or repeat another one.

    Not in images, nor in sparse codes: there a place that is always 0, or 0 wherever another is,
    is nothing unusual. A column of ones is the bias of a first layer that has none.
    """
    x = case.samples.x
    if x.ndim != 2 or x.dtype.kind != "f" or len(x) < _FEWEST:
        return
    varies = np.ptp(x, axis=0) > 0
    columns = x[:, varies].astype(np.float64)
    sparse = float((columns == columns.min(axis=0, initial=np.inf)).mean()) if columns.size else 0.0
    is_table = sparse < 0.4 or not (columns == np.round(columns)).all()
    is_table = is_table and columns.size > 0 and float((columns == 0).mean()) < 0.3
    still = np.flatnonzero(~varies)
    is_table = is_table or not columns.size
    if still.size and is_table and (has_bias or not (x[:, still] == 1).all()):
        shown = ", ".join(map(str, still[:5]))
        evidence = (
            f"{still.size} of {x.shape[1]} columns of the inputs never vary: column {shown} is "
            f"{short(float(x[0, still[0]]))} in all {len(x)} samples"
        )
        fix = f"leave them out: np.delete(x, {still[:5].tolist()}, axis=1)"
        yield Finding("constant column", evidence, float(still.size), fix)
    yield from _repeated(columns, np.flatnonzero(varies), is_table)


_SAME = 1 - 1e-7  # correlation that float32's rounding leaves of 1


def _repeated(columns: Matrix, places: Array, is_table: bool) -> Iterator[Finding]:
    n, d = columns.shape
    if not is_table or not 2 <= d <= MOST_SAMPLES:
        return
    centred = columns - columns.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=0)
    alike = np.triu(centred.T @ centred, 1)
    # yes-or-no columns may be each other's opposite, as the halves of a one-hot code are
    kinds = np.array([min(len(np.unique(column)), 6) for column in columns.T])
    alike = np.where((kinds < 6)[:, None], 0, np.abs(alike)) if n < 2 * _FEWEST else alike
    pairs = np.argwhere((np.abs(alike) > _SAME) & ((kinds > 5)[:, None] | (alike > 0)))
    if len(pairs):
        first, second = (int(places[i]) for i in pairs[0])
        number = len(np.unique(pairs[:, 1]))
        evidence = (
            f"{number} of {d} columns of the inputs repeat another up to scale: columns {first} "
            f"and {second} have the correlation {short(float(alike[tuple(pairs[0])]))}"
        )
        fix = f"leave one of each pair out: np.delete(x, {second}, axis=1)"
        yield Finding("duplicate columns", evidence, float(number), fix)


_ALL_BUT_CERTAIN = 0.999  # of the targets' variance, by one column alone


def leaks(case: Case) -> Iterator[Finding]:
    """A column that is the target, and validation samples that are trained on."""
    x, labels = case.samples.x, case.labels
    n_outputs = 1 if labels is not None else case.samples.y[0].size
    is_table = x.ndim == 2 and x.dtype.kind == "f" and x.shape[1] > n_outputs
    if is_table and len(x) >= 2 * _FEWEST and not case.is_autoencoder:
        share, column = _told_by_one_column(x.astype(np.float64), case.samples.y, labels)
        # of two columns one may well be all there is to a target, unless it is the target itself
        is_it = x.shape[1] > 2 or np.allclose(
            x[:, column], case.samples.y.reshape(len(x), -1)[:, 0]
        )
        if share > _ALL_BUT_CERTAIN and is_it:
            evidence = (
                f"column {column} of the inputs alone tells {100 * share:.5g} % of the variance of "
                "the targets"
            )
            fix = f"leave it out, if it is not known before the target: np.delete(x, {column}, 1)"
            yield Finding("leak", evidence, share, fix)
    if case.validation is not None:
        yield from _trained_on(case.samples, case.validation)


def _told_by_one_column(x: Matrix, y: Array, labels: Array | None) -> tuple[float, int]:
    """The largest share of the targets' variance that one column tells, and which one.

    By a straight line; of classes, the share of the column's own variance between them.
    """
    x = x - x.mean(axis=0)
    total = np.maximum(np.square(x).sum(axis=0), 1e-300)
    if labels is None:
        rows = y.reshape(len(y), -1).astype(np.float64)
        rows = rows - rows.mean(axis=0)
        norms = np.maximum(np.square(rows).sum(axis=0), 1e-300)
        shares = np.square(x.T @ rows) / total[:, None] / norms
        shares = shares.max(axis=1)
    else:
        between = np.zeros(x.shape[1])
        kinds, counts = np.unique(labels, return_counts=True)
        if len(kinds) < 2 or counts.min() < 2:
            return 0.0, 0
        for kind, count in zip(kinds, counts, strict=True):
            between += count * np.square(x[labels == kind].mean(axis=0))
        shares = between / total
    column = int(shares.argmax())
    return float(shares[column]), column


_REPEATS = 0.05  # of the validation samples, more than chance repeats


def _trained_on(training: Samples, validation: Samples) -> Iterator[Finding]:
    """Validation samples that stand among those trained on, beyond how often samples repeat."""
    own = [row.tobytes() for row in training.x]
    known = set(own)
    n_both = sum(row.tobytes() in known for row in validation.x)
    share, by_chance = n_both / len(validation), 1 - len(known) / len(own)
    if n_both >= 3 and share > _REPEATS + 3 * by_chance:
        evidence = (
            f"{n_both} of {len(validation)} validation samples are among those trained on, where "
            f"{100 * by_chance:.3g} % repeat another by chance"
        )
        fix = "split before copying or augmenting, and let no sample be in both parts"
        yield Finding("leak", evidence, share, fix)


# Training and validation

_PART_TOLD = 0.08  # of the variance of which part a sample is from, told by its inputs
_FEWEST_APART = 12  # samples of a part
_CERTAIN_Z = 5.0
_SHARES_APART = 0.35  # of the samples would have to change their class


def parts_differ(case: Case) -> Iterator[Finding]:
    """Training and validation samples that can be told apart, or whose targets are distributed
    otherwise.
    """
    if case.validation is None or min(len(case.validation), len(case.samples)) < _FEWEST_APART:
        return
    rng, most = case.rng(4), min(150, 4 * min(len(case.validation), len(case.samples)))
    parts = [
        samples.x[rng.permutation(len(samples))[:most]]
        for samples in (case.samples, case.validation)
    ]
    rows = feature_rows(np.concatenate(parts))
    which = np.repeat([[0.0], [1.0]], [len(part) for part in parts], axis=0)
    told = relation(rows, which, rng)
    name = "train and validation differ"
    fix = "draw the validation part at random (validation_split=), scaled as the training part is"
    if told.skill > max(_PART_TOLD, 15 / told.n_rows) and told.z > _CERTAIN_Z:
        means = [part.astype(np.float64).mean() for part in parts]
        evidence = (
            f"the inputs tell {100 * told.skill:.3g} % of the variance of which part a sample is "
            f"from; their mean is {short(means[0])} in training, {short(means[1])} in validation"
        )
        yield Finding(name, evidence, told.skill, fix)
        return
    if len(case.samples.x.shape) == 2 and (found := _column_apart(case)):
        column, apart = found
        evidence = (
            f"column {column} of the inputs is distributed otherwise: {100 * apart:.3g} % of its "
            "values in the validation part would have to change"
        )
        yield Finding(name, evidence, apart, fix)
        return
    apart, spread = _targets_apart(case)
    if apart > max(_SHARES_APART, 3 * spread):
        evidence = (
            f"the targets are distributed otherwise: {100 * apart:.3g} % of the validation samples "
            "would have to change theirs"
        )
        yield Finding(name, evidence, apart, fix)


def _column_apart(case: Case) -> tuple[int, float] | None:
    """The column whose distributions in the two parts are furthest apart, where chance is not why.

    The bound is Massart's, for all columns together: 1 in 10 000 beyond it by chance.
    """
    assert case.validation is not None
    a, b = case.samples.x, case.validation.x
    bound = np.sqrt(np.log(2e4 * a.shape[1]) / 2 * (1 / len(a) + 1 / len(b)))
    apart = [_distance(a[:, i], b[:, i]) for i in range(min(a.shape[1], MOST_SAMPLES))]
    column = int(np.argmax(apart))
    return (column, apart[column]) if apart[column] > max(bound, _SHARES_APART) else None


def _distance(a: Array, b: Array) -> float:
    """How far the distributions of two samples are apart: Kolmogorov and Smirnov's statistic."""
    both = np.concatenate([a, b])
    ranks = [np.searchsorted(np.sort(part), both, side="right") / len(part) for part in (a, b)]
    return float(np.abs(ranks[0] - ranks[1]).max())


def _targets_apart(case: Case) -> tuple[float, float]:
    """The distance of the two distributions of targets, from 0 to 1, and what chance makes it.

    Total variation of classes; of values that of Kolmogorov and Smirnov.
    """
    assert case.validation is not None
    own, other = case.labels, case.labels_of(case.validation.y)
    n = min(len(case.samples), len(case.validation))
    if own is not None and other is not None:
        kinds = np.union1d(own, other)
        shares = [(part[:, None] == kinds).mean(axis=0) for part in (own, other)]
        return 0.5 * float(np.abs(shares[0] - shares[1]).sum()), float(np.sqrt(len(kinds) / n) / 2)
    a, b = case.samples.y.reshape(-1), case.validation.y.reshape(-1)
    return _distance(a, b), float(np.sqrt(1 / n) / 2)
