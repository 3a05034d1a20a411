"""What there is to check in a file: networks, functions whose arguments it defines, classes.

The file is run, as an import runs it: what stands under `if __name__ == "__main__"` is not.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.check import check_backprop
from chainrule.review.report import BackpropReport

__all__ = ["check_file"]

_MOST_TARGETS = 6
_WANTED = "BACKPROP"
_SIZES = {"in": 3, "hidden": 4, "out": 2}


def check_file(path: Path, **options: Any) -> BackpropReport:
    """Run a file and check what it holds; one report of everything that was checked.

    A tuple named BACKPROP in the file says what is meant: the code, then its arguments. Raises
    FileNotFoundError where there is no such file, ValueError where nothing in it can be checked.
    """
    found = _run(path)
    reports = []
    why: list[str] = []
    for trials in _targets(found):
        for what in trials:
            try:
                report = check_backprop(*what, **options)
            except (ValueError, TypeError) as error:
                why.append(str(error))
                continue
            if report.ok or not any(f.kind == "raises" for f in report.findings):
                reports.append(report)
                break
            why.append(str(report.findings[0]))
        if len(reports) == _MOST_TARGETS:
            break
    if not reports:
        said = f" The last thing tried: {why[-1]}" if why else ""
        raise ValueError(
            f"nothing in {path.name} could be checked. Say what is meant in the file, by a tuple "
            f"{_WANTED} = (code, arguments...), as {_WANTED} = (backprop, params, x, y) or "
            f"{_WANTED} = (network, x, y).{said}"
        )
    return reports[0] if len(reports) == 1 else _together(reports)


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"reviewed_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # as pickle and dataclasses in the file want it
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        raise ValueError(f"{path.name} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.parent))
        sys.modules.pop(name, None)
    return loaded


def _targets(found: ModuleType) -> Iterator[list[tuple[Any, ...]]]:
    """What to check, each in the ways it may be called, the likeliest first."""
    space = vars(found)
    if _WANTED in space:
        yield [tuple(space[_WANTED])]
        return
    data = _data(space)
    functions = {
        name: value
        for name, value in space.items()
        if isinstance(value, FunctionType) and value.__module__ == found.__name__
    }
    made = [
        value
        for value in space.values()
        if getattr(type(value), "__module__", "") == found.__name__
    ]
    any_made = False
    for thing in made:
        if _is_network(thing) and data:
            any_made = True
            yield [(thing, *data)]
    for name, function in functions.items():
        if roles.has_role(name, roles.GRADIENT) or roles.has_role(name, roles.STEP):
            trial = _called(function, functions, space)
            if trial is not None:
                yield [trial]
    for value in space.values():
        is_own = inspect.isclass(value) and value.__module__ == found.__name__
        if is_own and not any_made and _is_network(value):
            yield list(_instances(value))


def _data(space: dict[str, Any]) -> list[Any]:
    x = [v for n, v in space.items() if roles.simple(n) in ("x", "xtrain", "inputs", "data", "xs")]
    y = [v for n, v in space.items() if roles.has_role(n, roles.TARGET)]
    return [x[0], y[0]] if x and y and isinstance(x[0], np.ndarray) else []


def _is_network(thing: Any) -> bool:
    return any(roles.find_method(thing, role) is not None for role in (roles.GRADIENT, roles.STEP))


def _called(
    function: FunctionType, functions: dict[str, FunctionType], space: dict[str, Any]
) -> tuple[Any, ...] | None:
    """A function with the globals that its parameters are named after, and its forward pass."""
    simple = {roles.simple(name): value for name, value in space.items()}
    forward = next((f for n, f in functions.items() if roles.has_role(n, roles.FORWARD)), None)
    wanted = [p for p in roles.parameters_of(function) if p.default is p.empty]
    if all(roles.simple(p.name) in simple for p in wanted):
        return (function, *(simple[roles.simple(p.name)] for p in wanted))
    if forward is None:
        return None
    first = [p for p in roles.parameters_of(forward) if p.default is p.empty]
    if not all(roles.simple(p.name) in simple for p in first):
        return None
    names = [p.name for p in first]
    rest = [p.name for p in wanted if p.name not in names and roles.simple(p.name) in simple]
    return (forward, function, *(simple[roles.simple(n)] for n in [*names, *rest]))


def _instances(kind: type) -> Iterator[tuple[Any, ...]]:
    """Small networks of a class, each with numbers of several forms: rows, columns, one sample."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.random(size=(5, 2))
    labels = np.eye(2)[rng.integers(0, 2, 5)]
    with_one = np.append(x[0], 1.0)  # the bias as an input
    forms = [(x, y), (x, labels), (x[:1].T, y[:1].T), (x.T, y.T), (x[0], y[0]), (with_one, y[0])]
    for arguments, form in product(_constructions(kind), forms):
        try:
            thing = kind(*arguments)
        except Exception:  # not to be made so
            continue
        yield (thing, *form)


def _constructions(kind: type) -> Iterator[tuple[Any, ...]]:
    parameters = [
        p
        for p in roles.parameters_of(kind)
        if p.default is p.empty or roles.has_role(p.name, roles.RATE)
    ]
    required = [p for p in parameters if p.default is p.empty]
    if len(required) == 1:
        yield ([3, 4, 2],)
        yield ((3, 4, 2),)
    by_name: list[Any] = []
    for p in required:
        name = roles.simple(p.name)
        if roles.has_role(name, roles.RATE):
            by_name.append(0.1)
        else:
            by_name.append(next((n for word, n in _SIZES.items() if word in name), None))
    if required and all(value is not None for value in by_name):
        yield tuple(by_name)
    if len(required) == 3:
        yield (3, 4, 2)
    if not required:
        yield ()


def _together(reports: list[BackpropReport]) -> BackpropReport:
    """Several reports as one."""
    return BackpropReport(
        name=", ".join(report.name for report in reports),
        ok=all(reports),
        findings=tuple(dict.fromkeys(f for report in reports for f in report.findings)),
        gradients={
            f"{report.name}: {name}": error
            for report in reports
            for name, error in report.gradients.items()
        },
        loss="; ".join(dict.fromkeys(report.loss for report in reports)),
        method=reports[0].method,
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
    )
