"""Every keyword of every NumPy function that we answer for: as NumPy's, or refused by its name."""

from __future__ import annotations

import inspect
import operator

import numpy as np
import pytest

import chainrule as cr
from chainrule.primitives.dispatch import NUMPY_FUNCTIONS

X = np.array([[0.5, 2.0, -1.0], [3.0, 0.25, 1.5]])
SQUARE = np.array([[2.0, 0.5, 0.1], [0.5, 3.0, 0.2], [0.1, 0.2, 4.0]])
MASK = np.array([[True, False, True], [False, True, True]])

FUNCTIONS = [
    f for f in NUMPY_FUNCTIONS if not isinstance(f, np.ufunc) and f is not operator.getitem
]

# What a function is called with beside (2, 3) numbers; the first array is the tensor.
ARGUMENTS = {
    np.where: (MASK, X, 0.0),
    np.reshape: (X, (3, 2)),
    np.broadcast_to: (X, (2, 2, 3)),
    np.expand_dims: (X, 0),
    np.swapaxes: (X, 0, 1),
    np.moveaxis: (X, 0, 1),
    np.astype: (X, np.float32),
    np.array_split: (X, 2),
    np.split: (X, 2),
    np.vsplit: (X, 2),
    np.hsplit: (X, 3),
    np.dsplit: (X[:, :, None], 1),
    np.pad: (X, 1),
    np.roll: (X, 1),
    np.tile: (X, 2),
    np.repeat: (X, 2),
    np.take: (X, 1),
    np.take_along_axis: (X, np.array([[0, 1, 0]]), 0),
    np.full_like: (X, 2.0),
    np.concatenate: ([X, X],),
    np.stack: ([X, X],),
    np.vstack: ([X, X],),
    np.hstack: ([X, X],),
    np.dstack: ([X, X],),
    np.column_stack: ([X, X],),
    np.dot: (X, X.T),
    np.inner: (X, X),
    np.outer: (X, X),
    np.linalg.outer: (X[0], X[1]),
    np.vdot: (X, X),
    np.tensordot: (X, X),
    np.linalg.tensordot: (X, X),
    np.linalg.matmul: (X, X.T),
    np.einsum: ("ij,kj->ik", X, X),
    np.linalg.solve: (SQUARE, X.T),
    np.linalg.inv: (SQUARE,),
    np.linalg.det: (SQUARE,),
    np.linalg.slogdet: (SQUARE,),
    np.linalg.cholesky: (SQUARE,),
    np.result_type: (X, np.float32),
    np.isclose: (X, X + np.array([1e-9, 1e-3, np.nan])),
}

# A value of each keyword that says something.
VALUES = {
    "a_min": [0.1],
    "a_max": [1.0],
    "min": [0.1],
    "max": [1.0],
    "axes": [1, (1, 0)],
    "axis": [0, -1, (0, 1)],
    "axis1": [1],
    "axis2": [0],
    "casting": ["same_kind", "no"],
    "constant_values": [1.5],
    "copy": [True],
    "correction": [1],
    "ddof": [1],
    "decimals": [1],
    "device": ["cpu"],
    "dtype": [np.float32, "f8", int],
    "initial": [2.5, -7.0],
    "keepdims": [True],
    "kind": ["stable"],
    "k": [1, -1],
    "mean": [np.ones((2, 1))],
    "mode": ["raise", "constant", "wrap", "edge"],
    "offset": [1],
    "optimize": [True, "greedy"],
    "ord": [1, 2, 3, "fro", np.inf],
    "order": ["C", "F", "A", "K"],
    "out": ["an array"],
    "shape": [(4,)],
    "stable": [True],
    "rtol": [1e-2, 0.0],
    "atol": [1e-2, 0.0],
    "equal_nan": [True],
    "subok": [True],
    "upper": [True],
    "where": [MASK, True],
}


def as_tensors(value):
    """Every floating-point array as a parameter."""
    if isinstance(value, list | tuple):
        return type(value)(map(as_tensors, value))
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return cr.parameter(value) if is_float else value


def plain(value):
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.detach() if isinstance(value, cr.Tensor) else value


def same(found, expected):
    found, expected = plain(found), plain(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, two in zip(found, expected, strict=True):
            same(one, two)
        return
    if isinstance(expected, tuple | np.dtype | bool | int):
        assert found == expected
        return
    assert np.shape(found) == np.shape(expected)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=2e-6 if found.dtype == np.float32 else 1e-13)


def calls():
    for function in FUNCTIONS:
        args = ARGUMENTS.get(function, (X,))
        yield function, args, {}
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:
            continue
        names = [p.name for p in parameters if p.default is not p.empty]
        names += ["dtype", "out", "order", "casting"] * (function is np.einsum)
        names += ["constant_values"] * (function is np.pad)
        for name in names:
            for value in VALUES[name] if name not in ("x", "y") else ():
                yield function, args, {name: value}
                if name == "where":
                    yield function, args, {name: value, "initial": 0.5, "axis": 0}
                if name == "keepdims":
                    yield function, args, {name: value, "axis": 1, "dtype": np.float32}


def name_of(call):
    function, _, kwargs = call
    said = ",".join(f"{k}={v if np.ndim(v) == 0 else '...'}" for k, v in kwargs.items())
    return f"{function.__module__}.{function.__name__}-{said}"


CALLS = list(calls())


def outcome(function, args, kwargs):
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS, ids=map(name_of, CALLS))
def test_each_keyword_is_numpys_or_refused_by_its_name(call):
    function, args, kwargs = call
    expected, numpys_error = outcome(function, args, kwargs)
    if kwargs.get("out") == "an array":
        result = function(*args)
        if isinstance(result, np.ndarray | np.generic):
            kwargs = {"out": np.zeros(np.shape(result), result.dtype)}
        else:
            return
        expected, numpys_error = outcome(function, args, kwargs)
    found, error = outcome(function, as_tensors(args), kwargs)
    if error is None:
        if function is np.clip and "required positional argument" in str(numpys_error):
            expected, numpys_error = np.clip(X, **{f"{k}"[2:]: v for k, v in kwargs.items()}), None
        assert numpys_error is None, f"NumPy says {numpys_error}"
        assert "out" not in kwargs
        if function is np.empty_like:
            found, expected = np.zeros_like(found), np.zeros_like(expected)
        same(found, expected)
    else:
        message = str(error)
        assert isinstance(error, TypeError | ValueError)
        assert "NoValue" not in message
        assert numpys_error is not None or any(f"{name}=" in message for name in kwargs), message
        for internal in ("param", "keyword argument", "positional arguments", "evaluate", " x "):
            assert internal not in message or numpys_error is not None, message


def test_the_calls_reach_every_function():
    assert {function for function, _, _ in CALLS} == set(FUNCTIONS)
    assert len(CALLS) > 300


POSITIONAL = {
    "sum with dtype": lambda x: np.sum(x, 0, np.float32),
    "sum with all": lambda x: np.sum(x, 1, None, None, True),
    "mean": lambda x: np.mean(x, 0, np.float32, None, True),
    "var": lambda x: np.var(x, 0, None, None, 1, True),
    "max": lambda x: np.max(x, 0, None, True, 1.0),
    "take": lambda x: np.take(x, [0, 1], 1, None, "raise"),
    "trace": lambda x: np.trace(x, 1, 0, 1, np.float32),
    "clip": lambda x: np.clip(x, 0.0, 1.0),
    "clip by older names": lambda x: np.clip(x, a_min=0.0, a_max=None),
    "transpose of a vector": lambda x: np.transpose(x[0], 0),
    "reshape": lambda x: np.reshape(x, (3, 2), "F"),
    "reshape of a number": lambda x: np.reshape(x, 6, order="F"),
    "names of NumPy": lambda x: np.sum(a=x, axis=0),
    "integers": lambda x: np.sum(x, dtype=int),
    "astype": lambda x: x.astype(np.float32, copy=False),
    "astype to integers": lambda x: x.astype(int, copy=False),
    "method": lambda x: x.sum(0, np.float32),
    "mean of some": lambda x: np.mean(x, axis=1, where=MASK),
    "max of some": lambda x: np.max(x, axis=0, where=MASK, initial=-9.0),
    "nothing given": lambda x: np.sum(x, dtype=None, out=None),
    "ufunc defaults": lambda x: np.add(x, 1, out=None, where=True, dtype=None, casting="same_kind"),
    "flatten": lambda x: x.flatten(),
    "a number's axis": lambda x: [
        np.repeat(x[0, 0], 2, axis=0),
        np.cumsum(x[0, 0], axis=0),
        np.cumprod(x[0, 0], axis=-1),
        np.sum(x[0, 0], axis=0),
        np.max(x[0, 0], axis=-1),
        np.take(x[0, 0], 0, axis=0),
        np.squeeze(x[0, 0], axis=0),
    ],
}


@pytest.mark.parametrize("f", POSITIONAL.values(), ids=POSITIONAL)
def test_positional_forms_are_numpys(f):
    same(f(cr.parameter(X)), f(X))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.mean(x, where=MASK),
        lambda x: np.sum(x, where=MASK, initial=3.0),
        lambda x: np.prod(x, 1, where=MASK, initial=2.0).sum(),
        lambda x: np.max(x, initial=2.5),
        lambda x: (np.reshape(x, (3, 2), "F") * np.arange(6.0).reshape(3, 2)).sum(),
        lambda x: (np.ravel(x, "F") * np.arange(6.0)).sum(),
        lambda x: np.repeat(x[0, 0], 3, axis=0).sum(),
        lambda x: (np.cumprod(x[1, 1], axis=0) ** 2).sum(),
        lambda x: np.transpose(x[0], 0)[1],
    ],
)
def test_what_keywords_are_made_of_has_a_gradient(f):
    assert cr.check_grads(f, X).ok


def test_wrong_axes_stay_numpys_errors():
    t = cr.parameter(X)
    with pytest.raises(ValueError, match="axes don't match|out of bounds|repeated|must match"):
        t.transpose(0)
    with pytest.raises(TypeError, match="Cannot cast array data .* according to the rule 'safe'"):
        t.astype(int, casting="safe")
    with pytest.raises(TypeError, match=r"sum\(\) takes from 1 to 7 positional arguments but 8"):
        np.sum(t, 0, None, None, False, 0, True, 1)
