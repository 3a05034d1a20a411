"""`chainrule.compile`: a function of arrays as NumPy source that is the code that runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from chainrule import tree
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels, argument_names
from chainrule.compiler.recording import is_static
from chainrule.compiler.trace import trace
from chainrule.engines.choice import Engine, build_program, check_engine, source_for
from chainrule.engines.engine import Program
from chainrule.primitives.dispatch import AbstractArray
from chainrule.warn import warn_user

__all__ = ["CompiledFunction", "compile"]


_KEPT = 128
"""Versions of one function that are kept, those that were called last."""


@final
class CompiledFunction:
    """What `compile` returns: call it like the function; read `source` and `graph`.

    There is one version per form, shapes and dtypes of the arguments, made at the first call with
    them; `source` and `graph` are those of the version made last. Python numbers and random
    generators are passed on call by call; strings, None and booleans belong to the form. Given
    tensors (inside `grad`, say) or traced arrays it is the original function.
    """

    def __init__(
        self, function: Callable[..., Any], engine: Engine = "numpy", n_calls: int = 1
    ) -> None:
        self._function = function
        self._engine: Engine = engine
        self._n_calls = n_calls  # that are expected of a version, by which "auto" decides
        self._traced: tuple[Graph, Labels] | None = None
        self._versions: OrderedDict[Any, _Version] = OrderedDict()
        self._latest: Program | None = None
        self._lock = threading.RLock()  # versions own their buffers: one call at a time
        self.__name__ = getattr(function, "__name__", "function")
        self.__doc__ = function.__doc__
        self.__wrapped__ = function  # whose parameters inspect.signature shows

    def __call__(self, *args: Any) -> Any:
        leaves = tree.flatten(args)
        if any(isinstance(leaf, AbstractArray) for leaf in leaves):
            return self._function(*args)
        key = (_form(args), tuple(map(_kind, leaves)))
        with self._lock:
            version = self._versions.get(key)
            if version is None:
                version = self._build(args)
                self._versions[key] = version
                if len(self._versions) > _KEPT:
                    self._versions.popitem(last=False)
            else:
                self._versions.move_to_end(key)
            results = version.program(*(leaf for leaf in leaves if not is_static(leaf)))
        return version.arrange(results)

    @property
    def engine(self) -> str:
        """The engine that runs the version made last: "numpy" or "c"."""
        return self._require_version().engine

    @property
    def compiler(self) -> str:
        """The C compiler that made a library of it, with its version; "" for none."""
        return self._require_version().compiler

    @property
    def flags(self) -> tuple[str, ...]:
        """What the compiler was told."""
        return self._require_version().flags

    @property
    def source(self) -> str:
        """The version made last: a Python file that needs NumPy only, or a C file."""
        return self._require_version().source

    def source_for(self, engine: Engine) -> str:
        """What another engine prints of the version made last."""
        self._require_version()
        assert self._traced is not None
        return source_for(check_engine(engine), *self._traced)

    @property
    def graph(self) -> Graph:
        """The version made last, as equations; print it to read it."""
        return self._require_version().graph

    def save_source(self, path: str | Path) -> None:
        """Write the version made last to a file that runs alone.

        Constants that are too large to be written into it are in an .npz file beside it.
        """
        self._require_version().save_source(path)

    def _require_version(self) -> Program:
        if self._latest is None:
            raise ValueError(
                f"{self.__name__} has not been called, so the shapes to compile it for are not "
                "known: call it once with arrays, then read .source"
            )
        return self._latest

    def _build(self, args: tuple[Any, ...]) -> _Version:
        names = argument_names(self._function, args)
        given = tree.flatten(args)
        variables = [
            leaf if is_static(leaf) else _variable(leaf, name)
            for leaf, name in zip(given, names, strict=True)
        ]
        dynamic = [v for v in variables if isinstance(v, Variable)]
        strides = {
            v: leaf.strides
            for v, leaf in zip(variables, given, strict=True)
            if isinstance(leaf, np.ndarray) and not leaf.flags.c_contiguous
        }

        def function(*arrays: Any) -> Any:
            arrays_left = iter(arrays)
            leaves = [next(arrays_left) if isinstance(v, Variable) else v for v in variables]
            return self._function(*tree.unflatten(args, leaves))

        graph, outputs = trace(function, dynamic)
        name = self.__name__ if self.__name__.isidentifier() else "function"
        title = f"{name}, written by chainrule for NumPy 2. Regenerate: chainrule.compile({name})."
        labels = Labels(name, title, "returns what the function returns")
        program, remark = build_program(
            graph, labels, self._engine, n_calls=self._n_calls, strides=strides
        )
        if remark:
            warn_user(f"{name} runs on the engine 'numpy', not 'c': {remark}")
        self._latest, self._traced = program, (graph, labels)
        return _Version(program, outputs)


@final
class _Version:
    """A program for arguments of one form, and the form of its results."""

    def __init__(self, program: Program, outputs: Any) -> None:
        self.program = program
        self._is_one = not isinstance(outputs, tuple | list | Mapping) and not is_static(outputs)
        # without the traced arrays, which hold on to the whole recording
        self._form = tree.map_tree(lambda leaf: leaf if is_static(leaf) else _RESULT, outputs)

    def arrange(self, results: tuple[Any, ...]) -> Any:
        """The results in the form in which the function returns them."""
        if self._is_one:
            return results[0]
        left = iter(results)
        return tree.map_tree(lambda leaf: next(left) if leaf is _RESULT else leaf, self._form)


_RESULT = object()


def compile(function: Callable[..., Any], *, engine: Engine | None = None) -> CompiledFunction:
    """A function that runs as straight-line NumPy code written for it, derivatives included.

    `function` takes and returns arrays, or nested dicts, lists and tuples of them, and decides
    nothing by their values; calls of `chainrule.grad` and friends inside it are compiled with it.
    Raises `TracedValueError`, naming the line, where the function asks an array for its value.
    Arrays it reads from outside are taken as they are when it is compiled.

    `engine` is "numpy", whose results are bit for bit those of the function, or "c", whose library
    a C compiler makes at the first call, and which rounds otherwise in the last digits; by default
    the environment variable CHAINRULE_ENGINE, else "numpy". What C has no form of runs on NumPy,
    with a warning.

    >>> import numpy as np, chainrule as cr
    >>> slope = cr.compile(cr.grad(lambda x: np.sum(np.sin(x) ** 2)))
    >>> slope(np.array([0.0, np.pi / 4]))
    array([0., 1.])
    >>> "np.sin(x" in slope.source or "sin(x" in slope.source
    True
    """
    given = check_engine(engine)
    return CompiledFunction(function, "numpy" if given == "auto" else given)


def _kind(leaf: Any) -> Any:
    """What of a leaf its version depends on."""
    if isinstance(leaf, np.ndarray):
        return leaf.shape, leaf.dtype, None if leaf.flags.c_contiguous else leaf.strides
    if isinstance(leaf, np.generic):
        return (), leaf.dtype, None
    return (type(leaf), leaf) if is_static(leaf) else type(leaf)


def _form(tree_: Any) -> Any:
    """A hashable description of how a tree is nested."""
    if isinstance(tree_, Mapping):
        return ("dict", *((key, _form(child)) for key, child in tree_.items()))
    if isinstance(tree_, list | tuple):
        return (type(tree_).__name__, *map(_form, tree_))
    return None


def _variable(leaf: Any, name: str) -> Variable:
    if isinstance(leaf, np.random.Generator):
        return Variable.generator(name)
    if isinstance(leaf, np.ndarray | np.generic):
        return Variable(leaf.shape, leaf.dtype, name)
    if isinstance(leaf, int | float):
        return Variable.number(int if isinstance(leaf, int) else float, name)
    raise TypeError(
        f"{name} is a {type(leaf).__name__}: a compiled function takes arrays and numbers, "
        "random generators too, or nested dicts, lists and tuples of them"
    )
