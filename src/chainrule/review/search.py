"""Trying edits: which small change of a statement makes the reader's gradients right.

An edit counts if, with it and nothing else, more gradients equal the truth and none that was right is lost; at
another point too, so that no chance of the numbers passes for an explanation.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.edits import Edit, Scene, changes, expression
from chainrule.review.inserted import insertions, rearrangements
from chainrule.review.lifted import is_ours
from chainrule.review.locate import Suspect
from chainrule.review.places import as_numbers
from chainrule.review.situation import Judgement, Situation, with_input
from chainrule.review.source import Definition, ReaderFile, compiled
from chainrule.review.trial import jitter, quiet
from chainrule.review.truth import find_truth, loss_at
from chainrule.review.watch import HOOK, LOCALS, Watch

__all__ = ["Mend", "Place", "Searcher", "all_statements", "pruned", "where"]

_MOST_NAMES = 40
_PUT_IN = {
    "missing activation derivative",
    "wrong activation derivative",
    "weights not regularised",
    "softmax derivative as if elementwise",
}


@dataclass(frozen=True)
class Place:
    """A statement to try edits on, and the function it is in; `suspect` is why it is tried.

    `heavier` is added to the weight of its edits: it is less likely than others. With `only_simple` no
    array or term is put in: the statement only makes what others read. `factor` is what makes its value a
    true derivative by some step, where one does.
    """

    statement: Any
    function: Any
    suspect: Suspect | None = None
    heavier: float = 0.0
    only_simple: bool = False
    factor: float | None = None


@dataclass(frozen=True)
class Mend:
    """An edit that makes gradients right: its statement as it was and as it should be."""

    edit: Edit
    scene: Scene
    before: str
    after: str
    judgement: Judgement
    codes: Mapping[CodeType, CodeType]
    file: ReaderFile
    weight: float
    order: int
    place: Place


def _counts_turns(statement: Any, function: Any) -> bool:
    """Whether a statement sets what a while loop waits for: changed, the loop might never end."""
    if not isinstance(statement, ast.Assign | ast.AugAssign):
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return any(
        isinstance(name, ast.Name) and name.id in names
        for loop in ast.walk(function)
        if isinstance(loop, ast.While)
        for name in ast.walk(loop.test)
    )


@dataclass(frozen=True)
class _Setting:
    """A statement with all that its edits need."""

    place: Place
    scene: Scene
    file: ReaderFile
    top: ast.stmt | None
    before: str


# Kinds of edits that only multiply by a number: a value right but for a factor may want them
_SCALES = {
    "wrong sign",
    "missing factor",
    "extra factor",
    "missing divisor",
    "extra divisor",
    "wrong factor",
    "sum for mean",
    "mean for sum",
}


def _surplus(edit: Edit, place: Place) -> float:
    """What an edit weighs more where the value is right for what it is, so that nothing is to mend."""
    if place.factor is None:
        return 0.0
    is_right = abs(place.factor - 1) < 1e-4 or edit.kind not in _SCALES
    if edit.kind == "wrong sign":
        is_right = place.factor > 0
    return 2.0 if is_right else 0.0


def _edits(setting: _Setting) -> Iterator[Edit]:
    statement = setting.scene.statement
    if isinstance(statement, ast.For):  # its bounds alone: a loop over anything else may never end
        kinds = ("off by one", "wrong factor")
        yield from (
            edit
            for edit in changes(setting.scene)
            if edit.kind in kinds and isinstance(edit.puts[0][0].node, ast.Constant)
        )
        return
    if isinstance(statement, ast.While) or _counts_turns(statement, setting.place.function):
        return
    yield from changes(setting.scene)
    yield from insertions(setting.scene)
    if isinstance(setting.scene.statement, ast.stmt):
        block = _block_of(setting.place.function)
        yield from rearrangements(setting.scene, lambda s: block.get(id(s)))


def where(file: ReaderFile, definition: ast.AST) -> list[ast.AST]:
    """The way from the file's top to a definition, both ends included."""

    def find(node: ast.AST) -> list[ast.AST] | None:
        if node is definition:
            return [node]
        for child in ast.iter_child_nodes(node):
            way = find(child)
            if way is not None:
                return [node, *way]
        return None

    return find(file.tree) or []


def pruned(way: list[ast.AST]) -> ast.stmt | None:
    """The statement at the top that holds a definition, classes without their other methods."""
    if len(way) < 2:
        return None
    top = way[1]
    if isinstance(top, ast.ClassDef):
        inner = pruned(way[1:])
        if inner is None:
            return None
        new = ast.ClassDef(top.name, [], [], [inner], [])
        return ast.copy_location(new, top)
    return top if isinstance(top, ast.stmt) else None


class Searcher:
    """Tries edits of statements in one situation."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self._witness: Situation | None = None
        self._seen: set[tuple[int, str]] = set()

    def mends(self, places: Sequence[Place], heaviest: float = float("inf")) -> list[Mend]:
        """The edits of these statements that mend most, the simplest first, up to some weight."""
        edits: list[tuple[float, int, Edit, _Setting]] = []
        for order, place in enumerate(places):
            setting = self._setting(place)
            if setting is not None:
                edits += [
                    (e.weight + place.heavier + _surplus(e, place), order, e, setting)
                    for e in _edits(setting)
                    if not (place.only_simple and e.kind in _PUT_IN)
                ]
        edits.sort(key=lambda entry: entry[:2])
        found: list[Mend] = []
        best, lightest = self.situation.judgement.n_right, float("inf")
        for weight, order, edit, setting in edits:
            if self.situation.bench.is_late or weight > min(lightest + 0.15, heaviest):
                break
            mend = self._try(edit, setting, weight, order)
            if mend is None or mend.judgement.n_right < max(best, 1):
                continue
            if not self._holds_elsewhere(mend):
                continue
            if mend.judgement.n_right > best:
                best, found = mend.judgement.n_right, []
                if not mend.judgement.wrong:
                    lightest = weight
            found.append(mend)
        return found

    def _setting(self, place: Place) -> _Setting | None:
        bench = self.situation.bench
        for file in bench.files:
            way = where(file, place.function)
            if way:
                scene = self.scene(place.statement, place.function, file)
                return _Setting(place, scene, file, pruned(way), _header(place.statement))
        return None

    def _try(self, edit: Edit, setting: _Setting, weight: float, order: int) -> Mend | None:
        statement = setting.scene.statement
        undo = edit.apply()
        try:
            new = next((n for spot, n in edit.puts if spot.node is statement), statement)
            after = _header(new)
            key = id(statement), after
            if after == setting.before or key in self._seen:
                return None
            self._seen.add(key)
            top = setting.top
            codes = compiled(setting.file, setting.file.tree, top)
        except (SyntaxError, ValueError, TypeError, RecursionError):
            return None
        finally:
            undo()
        judgement, _ = self.situation.try_step(codes=codes)
        if not self._is_better(judgement):
            return None
        return Mend(
            edit,
            setting.scene,
            setting.before,
            after,
            judgement,
            codes,
            setting.file,
            weight,
            order,
            setting.place,
        )

    def _is_better(self, judgement: Judgement) -> bool:
        was = self.situation.judgement
        if judgement.n_right <= was.n_right:
            return False
        return all(judgement.right.get(name, False) for name, ok in was.right.items() if ok)

    def _holds_elsewhere(self, mend: Mend) -> bool:
        """Whether the edit mends as much at other weights, and leaves the loss alone."""
        witness = self._other_point()
        if witness is None:
            return True
        judgement, _ = witness.try_step(codes=mend.codes)
        return all(
            judgement.right.get(name, False) for name, ok in mend.judgement.right.items() if ok
        )

    def _other_point(self) -> Situation | None:
        if self._witness is None:
            bench = replace(self.situation.bench, start=self.situation.bench.fresh())
            jitter(bench, self.situation.parameters, seed=91)
            jitter(bench, self.situation.parameters, seed=92)
            witness = replace(self.situation, bench=bench)
            _other_rate(witness)
            with suppress(ValueError):
                places = [*self.situation.parameters]
                extra = [
                    n for n in self.situation.truth.gradients if n not in {p.name for p in places}
                ]
                if extra:
                    places = with_input(self.situation)
                truth = find_truth(bench, self.situation.goal, places)
                factor = self._scale_of_truth()
                truth.gradients = {n: factor * g for n, g in truth.gradients.items()}
                witness.truth = truth
                self._witness = witness
        return self._witness

    def _scale_of_truth(self) -> float:
        """The constant of an assumed loss, which the truth was multiplied by."""
        bench, goal = self.situation.bench, self.situation.goal
        plain = float(np.asarray(loss_at(bench, goal, bench.fresh())))
        return self.situation.truth.loss / plain if plain else 1.0

    def is_right_helper(self, function: Definition) -> bool:
        """Whether a function of one array is by itself an activation's derivative, at its argument."""
        code = self.situation.bench.definitions.get(function)
        for file in self.situation.bench.files:
            for live in file.codes.get(code, []) if code is not None else []:
                return _is_activation_derivative(live)
        return False

    # What can be used at a statement

    def scene(
        self, statement: ast.stmt | ast.Lambda, function: Definition, file: ReaderFile
    ) -> Scene:
        """The names at a statement, with what they are when it runs for the first time."""
        scene = Scene(statement, function, rate=self.situation.rate)
        if isinstance(statement, ast.Lambda) or isinstance(function, ast.Lambda):
            scene.arrays = {a.arg: None for a in function.args.args}
            return scene
        texts = _texts(function)
        scene.keys = _keys(file)
        code = self.situation.bench.definitions.get(function)
        globals_of = next(
            (f.__globals__ for f in (file.codes.get(code, []) if code else [])), None
        ) or next((f.__globals__ for fs in file.codes.values() for f in fs), {})
        done: list[bool] = []

        def look(names: dict[str, Any]) -> None:
            if not done:
                done.append(True)
                _fill(scene, texts, names, globals_of, function, file)

        self._run_looking(statement, function, file, look)
        return scene

    def _run_looking(
        self, statement: ast.stmt, function: Definition, file: ReaderFile, look: Any
    ) -> None:
        found = _block_of(function).get(id(statement))
        if found is None:
            return
        block, index = found
        call = ast.parse(f"{HOOK}({LOCALS}, locals())").body[0]
        for node in ast.walk(call):
            if isinstance(node, ast.stmt | ast.expr):
                ast.copy_location(node, statement)
        block.insert(index, call)
        try:
            codes = compiled(file, file.tree, pruned(where(file, function)))
        finally:
            block.remove(call)
        bench = self.situation.bench
        watch = Watch(recording=False, look=look)
        chosen = {**bench.changes, **codes}
        # the watched versions are not wanted: only this one hook
        bench.run(
            self.situation.case.step, None, watch, {**dict.fromkeys(()), **_plain(bench, chosen)}
        )


def _other_rate(witness: Situation) -> None:
    """Let the witness learn at another rate, where the rate is one of its numbers."""
    place = witness.rate_place
    if place is not None and witness.rate is not None:
        rate = 0.7314 * witness.rate
        place.write(witness.bench.start, rate)
        witness.rate = rate
        witness.reading = replace(witness.reading, rate=rate)


def _plain(bench: Any, chosen: Mapping[CodeType, CodeType]) -> dict[CodeType, CodeType]:
    """These codes, and every other function as it is."""
    own = {code: code for file in bench.files for code in file.codes}
    return {**own, **chosen}


def _is_activation_derivative(function: FunctionType) -> bool:
    if not _is_of_one(function):
        return False
    x = np.array([[-1.3, 0.4, 0.9], [0.2, -0.6, 1.7]])
    try:
        with quiet():
            found = np.asarray(function(x))
    except Exception:  # not of an array
        return False
    s = 1 / (1 + np.exp(-x))
    known = [s * (1 - s), 1 - np.tanh(x) ** 2, (x > 0) * 1.0, np.cos(x), s, s + x * s * (1 - s)]
    known += [np.where(x > 0, 1, slope) for slope in (0.01, 0.1, 0.2)]
    return any(found.shape == x.shape and np.allclose(found, form) for form in known)


def _header(statement: Any) -> str:
    """The text of a statement, of one with a block its first line alone."""
    if isinstance(statement, ast.For):
        target, over = ast.unparse(statement.target), ast.unparse(statement.iter)
        return f"for {target} in {over}:"
    if isinstance(statement, ast.While | ast.If):
        word = "while" if isinstance(statement, ast.While) else "if"
        return f"{word} {ast.unparse(statement.test)}:"
    return ast.unparse(statement)


def _block_of(function: Any) -> dict[int, tuple[list[ast.stmt], int]]:
    """For each statement of a function the list it stands in and its place there."""
    found: dict[int, tuple[list[ast.stmt], int]] = {}
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                for index, statement in enumerate(block):
                    found[id(statement)] = block, index
    return found


def _keys(file: ReaderFile) -> list[str]:
    """The words that a file takes elements of dicts by."""
    found = {
        node.slice.value: None
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    }
    return list(found)[:30]


def _texts(function: Any) -> list[str]:
    """The names, attributes and elements a function reads or sets, in the order of its text."""
    found: dict[str, None] = {}
    for argument in function.args.args:
        found[argument.arg] = None
    for node in ast.walk(function):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp):
            text = ast.unparse(node)
            if len(text) < (30 if isinstance(node, ast.BinOp) else 60) and not text.startswith(
                ("np.", "numpy.")
            ):
                found[text] = None
    return list(found)


def _fill(
    scene: Scene,
    texts: list[str],
    names: dict[str, Any],
    space: dict[str, Any],
    function: Any,
    file: ReaderFile,
) -> None:
    first = function.args.args[0].arg if function.args.args else ""
    owner = names.get(first)
    extra = []
    if hasattr(owner, "__dict__") and first in ("self", "net", "model", "layer"):
        extra = [f"{first}.{name}" for name in vars(owner)]
    seen: dict[bytes, str] = {}
    turning = _loop_names(function)
    for text in dict.fromkeys([*texts, *(n for n in names if n.isidentifier()), *extra]):
        try:
            value = eval(text, space, dict(names))  # an expression of the reader's own file
        except Exception:  # not bound yet
            continue
        scene.values[text] = _kept(value)
        if isinstance(value, list | tuple) and len(value) and isinstance(value, list):
            scene.lists.append(text)
            if len(value) > 1:
                scene.scalars.setdefault(f"len({text})", len(value))
        array = as_numbers(value)
        if array is None or isinstance(value, list):
            continue
        is_sum = isinstance(expression(text), ast.BinOp)
        if array.ndim and array.size > 0 and isinstance(value, np.ndarray):
            if is_sum:
                continue
            mark = array.tobytes() + str(array.shape).encode()
            if array.size > 1 and not np.ptp(array):
                scene.blank.append(text)  # zeros to begin with say nothing
                continue
            if mark in seen and len(seen[mark]) <= len(text):
                continue
            if mark in seen:
                scene.arrays.pop(seen[mark], None)
            seen[mark] = text
            if len(scene.arrays) < _MOST_NAMES:
                scene.arrays[text] = _kept(value)
        elif array.size == 1 and not isinstance(value, bool) and text not in turning:
            scene.scalars[text] = (
                float(array.reshape(-1)[0])
                if isinstance(value, float | np.ndarray | np.floating)
                else int(array)
            )
    scene.functions = _functions(names, space, owner, first, file, function.name)


def _loop_names(function: Any) -> set[str]:
    """The names that loops count with: no numbers to multiply by."""
    return {
        name.id
        for loop in ast.walk(function)
        if isinstance(loop, ast.For | ast.comprehension)
        for name in ast.walk(loop.target)
        if isinstance(name, ast.Name)
    }


def _kept(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value


def _functions(
    names: dict[str, Any], space: dict[str, Any], owner: Any, first: str, file: ReaderFile, own: str
) -> list[str]:
    """The reader's functions of one array, as they are called here."""
    found: dict[str, Any] = {}
    for name, value in {**space, **names}.items():
        if isinstance(value, FunctionType) and value.__code__.co_filename == file.path:
            found[name] = value
    if hasattr(owner, "__dict__"):
        for name in dir(owner):
            if name.startswith("__"):
                continue
            value = getattr(owner, name, None)
            if isinstance(value, MethodType | FunctionType):
                inner = getattr(value, "__func__", value)
                if inner.__code__.co_filename == file.path:
                    found[f"{first}.{name}"] = value
    avoid = {*roles.FORWARD, *roles.STEP, *roles.LOSS, *roles.GRADIENT}
    return [
        name
        for name, value in found.items()
        if _is_of_one(value)
        and roles.simple(name.rpartition(".")[2]) not in avoid
        and name.rpartition(".")[2] not in (own, HOOK)
        and _keeps_shape(value)
    ][:10]


def _keeps_shape(function: Any) -> bool:
    """Whether a function makes of an array one of its shape, as activations and their derivatives do."""
    x = np.array([[0.3, -0.4, 1.2], [-0.7, 0.6, 0.1]])
    try:
        with quiet():
            if isinstance(function, MethodType):
                function = getattr(copy.deepcopy(function.__self__), function.__name__)
            found = function(x)
    except Exception:  # of something else
        return False
    return isinstance(found, np.ndarray) and found.shape == x.shape


def _is_of_one(function: Any) -> bool:
    with suppress(TypeError, ValueError):
        parameters = inspect.signature(function).parameters.values()
        required = [p for p in parameters if p.default is p.empty]
        return len(required) == 1 and required[0].kind in (
            required[0].POSITIONAL_ONLY,
            required[0].POSITIONAL_OR_KEYWORD,
        )
    return False


def all_statements(situation: Situation) -> Iterator[tuple[Any, Any]]:
    """Every statement of the functions that the step runs, but headers of blocks, in their order."""
    watch = Watch()
    situation.bench.run(situation.case.step, None, watch)
    seen: dict[int, Any] = {}
    for event in watch.events:
        function = situation.bench.points[event.number].function
        seen.setdefault(id(function), function)
    for function in seen.values():
        if isinstance(function, ast.Lambda):
            yield function, function
            continue
        inner = {
            id(node)
            for other in ast.walk(function)
            if isinstance(other, ast.FunctionDef) and other is not function
            for node in ast.walk(other)
        }
        for node in ast.walk(function):
            if isinstance(node, _STATEMENTS) and id(node) not in inner and not is_ours(node):
                yield node, function


_STATEMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr, ast.For, ast.If)
