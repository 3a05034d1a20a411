"""From wrong gradients to findings: where, then why, then the next one with that line mended."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.review.bearings import Situation, learn
from chainrule.review.explain import kind_and_why
from chainrule.review.habits import habits
from chainrule.review.locate import Suspect, factors_of, suspects
from chainrule.review.rates import find_rate
from chainrule.review.relation import relation
from chainrule.review.report import Finding
from chainrule.review.search import Mend, Searcher, Site, all_statements
from chainrule.review.source import ReaderFile
from chainrule.review.updates import used_after_update
from chainrule.review.watch import Watch

__all__ = ["find_faults", "relative_error"]

_MOST_FINDINGS = 6
_LIKELY = 1.45  # the weight of edits that are tried at the suspects before anything else


def find_faults(situation: Situation) -> list[Finding]:
    """Everything that is wrong, the first wrong line first."""
    situation.first_errors = _errors_of(situation)
    findings: list[Finding] = []
    while (situation.judgement.wrong or situation.error) and len(findings) < _MOST_FINDINGS:
        finding, mend = _next_fault(situation)
        findings.append(finding)
        if mend is None:
            break
        _mended(situation, mend)
    if not situation.judgement.wrong and situation.error is None:
        findings += [f for f in habits(situation) if f.line not in {g.line for g in findings}]
    return findings


def _errors_of(situation: Situation) -> dict[str, float]:
    """The relative error of each gradient."""
    return {
        name: relative_error(block, situation.judgement.scale * situation.truth.gradients[name])
        for name, block in situation.blocks.items()
        if name in situation.truth.gradients
    }


def relative_error(found: Any, true: Any) -> float:
    """|found - true| / |true|, with Euclidean norms; infinite for another number of elements."""
    a, b = np.asarray(found, np.float64).ravel(), np.asarray(true, np.float64).ravel()
    if a.size != b.size:
        return float("inf")
    known = np.isfinite(b)
    size = float(np.linalg.norm(b[known])) or 1.0
    error = float(np.linalg.norm(a[known] - b[known])) / size
    return error if np.isfinite(error) else float("inf")


def _next_fault(situation: Situation) -> tuple[Finding, Mend | None]:
    if "Cannot cast ufunc" in str(situation.error):
        return _raised(situation, "integer arrays"), None
    found = suspects(situation) if situation.error is None else []
    searcher = Searcher(situation)
    factors = factors_of(situation)
    if situation.error is not None:
        places = _where_raised(situation)
    else:
        places = [_with_factor(p, factors) for p in _places(situation, found, searcher)]
    mends = searcher.mends(places, _LIKELY)
    late = _late_use(situation) if situation.error is None else None
    if late is not None and not any(not m.judgement.wrong and m.weight < 1.3 for m in mends):
        return late, None
    wanted = _wanted(situation, found)
    if not any(mend.judgement.n_right >= wanted for mend in mends):
        others = _elsewhere(situation, places, bool(found))
        mends += searcher.mends([*places, *(_with_factor(p, factors) for p in others)])
    if found and not any(mend.judgement.n_right >= wanted for mend in mends):
        return _unexplained(
            situation, found, factors
        ), None  # a line that mends more than any edit known
    if mends:
        mend = _best(mends)
        return _finding(situation, mend), mend
    if situation.error is not None:
        return _raised(situation), None
    return _whole(situation), None


def _with_factor(place: Site, factors: Mapping[int, set[float]]) -> Site:
    return replace(place, factors=frozenset(factors.get(id(place.statement), ())))


def _wanted(situation: Situation, found: Sequence[Suspect]) -> int:
    """How many gradients an edit of the right line makes right: all, or as many as the suspects."""
    right = {n for s in found for n, ok in s.judgement.right.items() if ok}
    everything = len(situation.judgement.right)
    if not found:
        return everything
    by_point: dict[int, set[str]] = {}
    for suspect in found:
        names = {n for n, ok in suspect.judgement.right.items() if ok}
        by_point.setdefault(suspect.point.number, set()).update(names)
    return min(len(right), max(len(names) for names in by_point.values()))


def _first_wrong(found: Sequence[Suspect], factors: Mapping[int, set[float]]) -> Suspect:
    """The first value that is not right for something else, of those that mend most."""
    most = max(suspect.judgement.n_right for suspect in found)
    best = [suspect for suspect in found if suspect.judgement.n_right == most]
    wrong = [suspect for suspect in best if id(suspect.point.statement) not in factors]
    return (wrong or best)[0]


def _late_use(situation: Situation) -> Finding | None:

    return used_after_update(situation)


def _places(situation: Situation, found: Sequence[Suspect], searcher: Searcher) -> Iterator[Site]:
    """The statements to try: those of the suspects, and of the functions of one array they call."""
    seen: set[int] = set()
    for suspect in found:
        point = suspect.point
        for statement in (
            _writers(point.statement, point.name)
            if point.role == "container"
            else [point.statement]
        ):
            for earlier in _makers(statement, point.function):
                if id(earlier) not in seen:
                    seen.add(id(earlier))
                    yield Site(earlier, point.function, None, 0.13, only_simple=True)
            if id(statement) not in seen:
                seen.add(id(statement))
                heavier = 0.15 if searcher.is_right_helper(point.function) else 0.0
                yield Site(statement, point.function, suspect, heavier)
    called = {name for s in found for name in _called(s.point.statement)}
    for statement, function in all_statements(situation) if called else ():
        if getattr(function, "name", "") in called and id(statement) not in seen:
            seen.add(id(statement))
            heavier = 0.15 if searcher.is_right_helper(function) else 0.0
            yield Site(statement, function, None, heavier)


def _makers(statement: Any, function: Any, depth: int = 3) -> list[Any]:
    """The statements before this one that make what it reads, and what those read, in order."""
    if isinstance(statement, ast.Lambda) or depth == 0:
        return []
    read = {
        ast.unparse(node)
        for node in ast.walk(statement)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    direct = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and (node.lineno, node.col_offset) < (statement.lineno, statement.col_offset)
        and any(ast.unparse(target) in read for target in node.targets)
    ]
    found = {id(node): node for node in direct}
    for node in direct:
        found |= {id(other): other for other in _makers(node, function, depth - 1)}
    return sorted(found.values(), key=lambda node: (node.lineno, node.col_offset))


def _called(statement: ast.AST) -> set[str]:
    """The names of the functions that a statement calls with one argument."""
    return {
        ast.unparse(node.func).rpartition(".")[2]
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and len(node.args) == 1
    }


def _writers(statement: Any, name: str) -> list[Any]:
    """The statements that write into an array, within a statement or a loop."""
    found = []
    for node in ast.walk(statement):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        if any(ast.unparse(target).startswith(name) for target in targets):
            found.append(node)
    helpers = [
        node
        for node in ast.walk(statement)
        if isinstance(node, ast.Assign | ast.AugAssign) and node not in found
    ]
    return [*found, *helpers] or [statement]


def _where_raised(situation: Situation) -> list[Site]:
    """The statement that raised, and those that led to it by calls, the innermost first."""
    frames = traceback.extract_tb(situation.error.__traceback__) if situation.error else []
    files = {file.path: file for file in situation.bench.files}
    places: list[Site] = []
    for frame in reversed([frame for frame in frames if frame.filename in files]):
        found = _statement_at(files[frame.filename], frame.lineno or 0)
        if found is not None:
            places += [Site(earlier, found[1]) for earlier in _makers(*found)]
            places.append(Site(*found))
    return places


def _elsewhere(situation: Situation, places: Sequence[Site], only_simple: bool) -> list[Site]:
    """The other statements of the step, the last first, those of the forward pass less likely."""
    forward: set[int] = set()
    for call in (situation.case.forward, situation.case.loss):
        if call is not None:
            watch = Watch()
            situation.bench.run(call, None, watch)
            forward |= {
                id(situation.bench.points[event.number].statement) for event in watch.events
            }
    known = {id(place.statement) for place in places}
    return [
        Site(statement, function, None, 1.0 if id(statement) in forward else 0.3, only_simple)
        for statement, function in reversed(list(all_statements(situation)))
        if id(statement) not in known
    ]


def _statement_at(file: ReaderFile, line: int) -> tuple[Any, Any] | None:
    best: tuple[Any, Any] | None = None
    for function in ast.walk(file.tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.stmt) or node is function:
                continue
            is_there = node.lineno <= line <= (node.end_lineno or node.lineno)
            if is_there and (best is None or node.lineno >= best[0].lineno):
                best = node, function
    return best


def _best(mends: Sequence[Mend]) -> Mend:
    """The edit that mends most, then the simplest, then the first.

    Where a factor is missing and several lines
    could take it, the last is meant, since what comes before is right for what it is.
    """
    most = max(mend.judgement.n_right for mend in mends)
    fitting = [
        (m.weight, m.order, i, m) for i, m in enumerate(mends) if m.judgement.n_right == most
    ]
    lightest = min(fitting)[0]
    near = sorted(entry for entry in fitting if entry[0] <= lightest + 0.12)
    several = len({m.order for *_, m in near}) > 1
    if several and all(m.edit.kind == "missing activation derivative" for *_, m in near):
        values = [e for e in near if _role(e[3]) in ("", "value", "container")] or near
        last = max(e[1] for e in values)
        near = [e for e in values if e[1] == last]
    if near[0][3].edit.kind == "weights not regularised" or all(
        _is_unsuspected(e[3]) for e in near
    ):
        return max(near, key=lambda e: (getattr(e[3].place.statement, "lineno", 0), -e[0], -e[2]))[
            3
        ]
    return min(near, key=lambda entry: (entry[1], entry[0], entry[2]))[3]


def _is_unsuspected(mend: Mend) -> bool:
    """Whether only the edit speaks for a line: a number that may stand in many places."""
    scale = mend.edit.kind in ("missing divisor", "extra divisor", "missing factor", "wrong factor")
    return scale and mend.place.suspect is None


def _role(mend: Mend) -> str:
    return mend.place.suspect.point.role if mend.place.suspect is not None else ""


def _finding(situation: Situation, mend: Mend) -> Finding:
    kind, why = kind_and_why(mend, situation)
    fixed = _fixed(situation, mend.judgement.right)
    statement = mend.scene.statement
    line = mend.edit.puts[0][0].node.lineno if _spans(statement) else statement.lineno
    return Finding(
        kind=kind,
        line=line,
        file=mend.file.path,
        text=_one_line(mend.before),
        expected=_one_line(mend.after),
        why=why,
        evidence=_evidence(situation, fixed),
        certain=True,
        lines=tuple(dict.fromkeys((line, statement.lineno))),
        parameters=tuple(fixed),
    )


def _spans(statement: Any) -> bool:
    """A statement with a block of its own is named by the line of the part that is wrong."""
    return hasattr(statement, "body") and not isinstance(statement, ast.Lambda)


def _one_line(text: str) -> str:
    first = text.splitlines()[0] if text else text
    return first if len(text.splitlines()) <= 1 else f"{first} …"


def _fixed(situation: Situation, right: Any) -> list[str]:
    return [n for n, ok in right.items() if ok and not situation.judgement.right.get(n, False)]


def _evidence(situation: Situation, names: Sequence[str]) -> float:
    errors = situation.first_errors
    return max((errors[n] for n in names if n in errors), default=float("inf"))


def _raised(situation: Situation, kind: str = "raises") -> Finding:
    place = next(iter(_where_raised(situation)), None)
    error = situation.error
    line = getattr(place.statement, "lineno", 0) if place else 0
    file = situation.bench.files[0].path if situation.bench.files else ""
    return Finding(
        kind=kind,
        line=line,
        file=file,
        text=_one_line(ast.unparse(place.statement)) if place else "",
        expected="",
        why=f"it raises {type(error).__name__}: {error}",
        evidence=float("inf"),
        certain=True,
        lines=(line,),
    )


def _unexplained(
    situation: Situation, found: Sequence[Suspect], factors: Mapping[int, set[float]]
) -> Finding:
    values = _values(situation)
    suspect = _first_wrong(found, factors)
    kind, why = relation(suspect.actual, suspect.expected, situation, values)
    if "regularised" in kind:  # a penalty is the last thing that is added
        for later in found:
            same = later.point.role in ("value", "container") and later.meaning == suspect.meaning
            if same and relation(later.actual, later.expected, situation, values)[0] == kind:
                suspect = later
    statement = suspect.point.statement
    file = situation.bench.file_of(suspect.point)
    if suspect.point.role == "container":
        statement = _writers(statement, suspect.point.name)[0]
    fixed = _fixed(situation, suspect.judgement.right)
    return Finding(
        kind=kind,
        line=statement.lineno,
        file=file.path,
        text=_one_line(ast.unparse(statement)),
        expected="",
        why=f"{why}; it should be {suspect.meaning}, with which the gradients of "
        f"{', '.join(fixed)} are right",
        evidence=_evidence(situation, fixed),
        certain=True,
        lines=tuple(w.lineno for w in _writers(statement, suspect.point.name))
        if suspect.point.role == "container"
        else (statement.lineno,),
        parameters=tuple(fixed),
    )


def _values(situation: Situation) -> list[tuple[str, Any]]:
    """The parameters, and what the step makes of their numbers alone, by their text."""
    watch = Watch()
    situation.bench.run(situation.case.step, None, watch)
    points = situation.bench.points
    places = [(p.name, p.array(situation.bench.start)) for p in situation.parameters]
    numbers = np.concatenate([np.ravel(array) for _, array in places] or [np.zeros(0)])
    found = [(ast.unparse(points[e.number].node), np.asarray(e.value)) for e in watch.events[:2000]]
    return [*places, *((text, a) for text, a in found if a.size > 1 and np.isin(a, numbers).all())]


def _whole(situation: Situation) -> Finding:
    """No line could be named: which parameter is wrong, where in it, and by what ratio."""
    wrong = situation.judgement.wrong
    texts = []
    for name in wrong[:4]:
        block, true = situation.blocks.get(name), situation.truth.gradients[name]
        if block is None:
            texts.append(f"{name}, which has no gradient")
            continue
        if block.size != true.size:
            texts.append(f"{name} has shape {np.shape(block)}, its parameter {true.shape}")
            continue
        kind, why = relation(
            block.reshape(true.shape),
            situation.judgement.scale * true,
            situation,
            _values(situation),
        )
        texts.append(f"{name}: {why if kind != 'unexplained' else _row(block, true)}")
    return Finding(
        kind="unexplained",
        line=0,
        file=situation.bench.files[0].path if situation.bench.files else "",
        text="",
        expected="",
        why="no single line explains it. The gradient is wrong by " + "; by ".join(texts),
        evidence=max(situation.first_errors.values(), default=float("inf")),
        certain=False,
        parameters=tuple(wrong),
    )


def _row(block: Any, true: Any) -> str:
    a, b = np.asarray(block, np.float64).reshape(true.shape), np.asarray(true, np.float64)
    worst = np.unravel_index(int(np.nanargmax(np.abs(a - b))), b.shape)
    index = ", ".join(str(int(i)) for i in worst)
    ratio = a[worst] / b[worst] if b[worst] else float("inf")
    return f"most at [{index}], {a[worst]:.6g} for {b[worst]:.6g}, {ratio:.4g} times"


def _mended(situation: Situation, mend: Mend) -> None:
    """Go on with the line mended: what is still wrong is another slip."""
    bench = situation.bench
    mend.edit.for_good().apply()
    bench.changes.update(mend.codes)
    bench.watch_again()
    ran = bench.run(situation.case.step)
    situation.error = ran.error
    if not situation.reading.names and ran.error is None:
        situation.reading = learn(situation, ran, bench.start)
        if situation.reading.is_update:
            situation.reading.rate = situation.rate = find_rate(situation)
    if ran.error is None:
        situation.blocks = situation.reading.blocks(ran, bench.start)
    situation.judgement = situation.judge(ran, bench.start)
