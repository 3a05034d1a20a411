"""NumPy's element-by-element functions, with NumPy's broadcasting, and the constants of the graph.

Where a function has a kink, its rule picks the subgradient that its comment names. Where the
derivative itself grows without bound (`sqrt` at 0, `log` at 0) the rule says so with inf or NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array, implements
from chainrule.primitives.primitive import Linearity, Primitive, defvjp, primitive

__all__ = [
    "absolute",
    "add",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "clip",
    "cos",
    "cosh",
    "deg2rad",
    "divide",
    "equal",
    "exp",
    "exp2",
    "exp_share",
    "expm1",
    "fabs",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "positive",
    "power",
    "rad2deg",
    "reciprocal",
    "remainder",
    "rint",
    "round_",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
    "where",
]

_LN2 = math.log(2)
_LN10 = math.log(10)


def _ufunc(ufunc: np.ufunc, *rules: Any, linear: Linearity = "") -> Primitive:
    """A NumPy ufunc as a primitive that also answers for `np.<ufunc>` and its operator."""
    operation: Primitive = implements(ufunc)(primitive(ufunc, linear=linear))
    if rules:
        defvjp(operation, *rules)
    return operation


# Helpers of the rules: what keeps 0 * inf and inf - inf out of them


def _exponent_below(x: Array, y: Array) -> Array:
    """`y - 1`, but 1 where x = y = 0, so that y * x**(y - 1) is 0 there and not 0 * inf."""
    if isinstance(y, int | float):
        return y - 1 if y else 1
    return where((x == 0) & (y == 0), 1, y - 1)


def _log_of_base(x: Array) -> Array:
    """log(x), but 0 where x <= 0: there x**y is no smooth function of y."""
    if isinstance(x, int | float):
        return math.log(x) if x > 0 else 0.0
    return log(where(x > 0, x, 1))


def _radius(out: Array) -> Array:
    """A radius, but 1 where it is 0, so that x / radius is 0 there and not 0 / 0."""
    return where(out == 0, 1, out)


def exp_share(x: Array, out: Array) -> Array:
    """exp(x - out), the share of exp(x) in exp(out) = exp(x) + ..., also where they are infinite.

    With out = -inf (all terms zero) the share is 0; with x = out = inf it is 1.

    >>> import numpy as np
    >>> exp_share(np.array([0.0, -np.inf]), np.array([0.0, -np.inf])).tolist()
    [1.0, 0.0]
    """
    limit = float(np.finfo(out.dtype).max) / 2
    return exp(clip(x - clip(out, -limit, limit), max=0.0))


# The table: one rule a line, aligned so that the eye compares
# fmt: off

# Arithmetic

add        = _ufunc(np.add,        lambda g, out, x, y: g,
                                   lambda g, out, x, y: g, linear="jointly")
subtract   = _ufunc(np.subtract,   lambda g, out, x, y: g,
                                   lambda g, out, x, y: -g, linear="jointly")
multiply   = _ufunc(np.multiply,   lambda g, out, x, y: g * y,
                                   lambda g, out, x, y: g * x, linear="each")
divide     = _ufunc(np.divide,     lambda g, out, x, y: g / y,
                                   lambda g, out, x, y: -g * out / y, linear="first")
remainder  = _ufunc(np.remainder,  lambda g, out, x, y: g,
                                   lambda g, out, x, y: -g * np.floor_divide(x, y))
power      = _ufunc(np.power,      lambda g, out, x, y: g * (y * x ** _exponent_below(x, y)),
                                   lambda g, out, x, y: g * (out * _log_of_base(x)))
positive   = _ufunc(np.positive,   lambda g, out, x: g, linear="jointly")
negative   = _ufunc(np.negative,   lambda g, out, x: -g, linear="jointly")
reciprocal = _ufunc(np.reciprocal, lambda g, out, x: -g * (out * out))
square     = _ufunc(np.square,     lambda g, out, x: g * (2 * x))
sqrt       = _ufunc(np.sqrt,       lambda g, out, x: 0.5 * g / out)
cbrt       = _ufunc(np.cbrt,       lambda g, out, x: g / (3 * out * out))

# Exponentials and logarithms

exp        = _ufunc(np.exp,        lambda g, out, x: g * out)
exp2       = _ufunc(np.exp2,       lambda g, out, x: g * (out * _LN2))
expm1      = _ufunc(np.expm1,      lambda g, out, x: g * (out + 1))
log        = _ufunc(np.log,        lambda g, out, x: g / x)
log2       = _ufunc(np.log2,       lambda g, out, x: g / (x * _LN2))
log10      = _ufunc(np.log10,      lambda g, out, x: g / (x * _LN10))
log1p      = _ufunc(np.log1p,      lambda g, out, x: g / (1 + x))
logaddexp  = _ufunc(np.logaddexp,  lambda g, out, x, y: g * exp_share(x, out),
                                   lambda g, out, x, y: g * exp_share(y, out))

# Circular and hyperbolic functions

sin        = _ufunc(np.sin,        lambda g, out, x: g * np.cos(x))
cos        = _ufunc(np.cos,        lambda g, out, x: -g * np.sin(x))
tan        = _ufunc(np.tan,        lambda g, out, x: g * (1 + out * out))
arcsin     = _ufunc(np.arcsin,     lambda g, out, x: g / np.sqrt((1 - x) * (1 + x)))
arccos     = _ufunc(np.arccos,     lambda g, out, x: -g / np.sqrt((1 - x) * (1 + x)))
arctan     = _ufunc(np.arctan,     lambda g, out, x: g / (1 + x * x))
arctan2    = _ufunc(np.arctan2,    lambda g, out, y, x: g * np.cos(out) / np.hypot(y, x),
                                   lambda g, out, y, x: -g * np.sin(out) / np.hypot(y, x))
sinh       = _ufunc(np.sinh,       lambda g, out, x: g * np.cosh(x))
cosh       = _ufunc(np.cosh,       lambda g, out, x: g * np.sinh(x))
tanh       = _ufunc(np.tanh,       lambda g, out, x: g * (1 - out * out))
arcsinh    = _ufunc(np.arcsinh,    lambda g, out, x: g / np.cosh(out))
arccosh    = _ufunc(np.arccosh,    lambda g, out, x: g / np.sinh(out))
arctanh    = _ufunc(np.arctanh,    lambda g, out, x: g / ((1 - x) * (1 + x)))
deg2rad    = _ufunc(np.deg2rad,    lambda g, out, x: np.deg2rad(g))
rad2deg    = _ufunc(np.rad2deg,    lambda g, out, x: np.rad2deg(g))

# Kinks: |x| and the radius have gradient 0 at 0; a tie of two is split, half of g to each

absolute   = _ufunc(np.absolute,   lambda g, out, x: g * np.sign(x))
hypot      = _ufunc(np.hypot,      lambda g, out, x, y: g * (x / _radius(out)),
                                   lambda g, out, x, y: g * (y / _radius(out)))
maximum    = _ufunc(np.maximum,    lambda g, out, x, y: 0.5 * (g * (x > y) + g * (x >= y)),
                                   lambda g, out, x, y: 0.5 * (g * (y > x) + g * (y >= x)))
minimum    = _ufunc(np.minimum,    lambda g, out, x, y: 0.5 * (g * (x < y) + g * (x <= y)),
                                   lambda g, out, x, y: 0.5 * (g * (y < x) + g * (y <= x)))

# Constants of the graph: piecewise constant, so no gradient flows through them

equal         = _ufunc(np.equal)
not_equal     = _ufunc(np.not_equal)
less          = _ufunc(np.less)
less_equal    = _ufunc(np.less_equal)
greater       = _ufunc(np.greater)
greater_equal = _ufunc(np.greater_equal)
logical_and   = _ufunc(np.logical_and)
logical_or    = _ufunc(np.logical_or)
logical_xor   = _ufunc(np.logical_xor)
logical_not   = _ufunc(np.logical_not)
bitwise_and   = _ufunc(np.bitwise_and)
bitwise_or    = _ufunc(np.bitwise_or)
bitwise_xor   = _ufunc(np.bitwise_xor)
invert        = _ufunc(np.invert)
isfinite      = _ufunc(np.isfinite)
isinf         = _ufunc(np.isinf)
isnan         = _ufunc(np.isnan)
signbit       = _ufunc(np.signbit)
sign          = _ufunc(np.sign)
floor         = _ufunc(np.floor)
ceil          = _ufunc(np.ceil)
trunc         = _ufunc(np.trunc)
rint          = _ufunc(np.rint)
floor_divide  = _ufunc(np.floor_divide)

# fmt: on


@implements(np.round, np.around)
@primitive
def round_(x: Array, decimals: int = 0) -> Array:
    """Round to a number of decimals, halves to even, as NumPy does."""
    return np.round(x, decimals)


# Other names of NumPy for the same functions
implements(np.fix)(trunc)
implements(np.real, np.conjugate)(positive)
implements(np.radians)(deg2rad)
implements(np.degrees)(rad2deg)


@implements(np.isclose)
def _isclose(
    x: Array, y: Array, rtol: Array = 1e-5, atol: Array = 1e-8, equal_nan: bool = False
) -> Array:
    near = (np.abs(x - y) <= atol + rtol * np.abs(y)) & np.isfinite(y) | (x == y)
    return near | (np.isnan(x) & np.isnan(y)) if equal_nan else near


@implements(np.fabs)
def fabs(x: Array) -> Array:
    """`np.fabs`: the absolute value as a floating-point number, of integers too."""
    dtype = np.fabs(np.zeros((), x.dtype)).dtype
    return absolute(x if x.dtype == dtype else x.astype(dtype))


# Selection


@primitive(elementwise=True)
def where(condition: Array, x: Array, y: Array) -> Array:
    """`x` where the condition holds, y elsewhere; each gets the cotangent where it was taken.

    Both are computed everywhere: an x that is inf or NaN where it is *not* taken passes a
    NaN gradient (0 * inf) to what it was computed from. Make the argument safe before.
    """
    return np.where(condition, x, y)


@implements(np.where)
def _where(condition: Array, x: Array = None, y: Array = None) -> Any:
    """`np.where`; of a condition alone it gives the places where that is true."""
    return np.nonzero(condition) if x is None and y is None else where(condition, x, y)


@primitive(elementwise=True)
def _clip(x: Array, low: Array, high: Array) -> Array:
    return np.clip(x, low, high)


def clip(x: Array, min: Array = None, max: Array = None) -> Array:
    """`x` limited to the interval [min, max]; None leaves a side open.

    The gradient of x is 1 in the closed interval, at min and max too, and 0 outside, where the
    bound that was reached gets it. Where min > max the result is max, as NumPy's.

    >>> import numpy as np
    >>> clip(np.array([-2.0, 0.5, 3.0]), 0.0, 1.0)
    array([0. , 0.5, 1. ])
    """
    if min is None and max is None:
        return positive(x)
    dtype = getattr(x, "dtype", np.dtype(float))
    if dtype.kind != "f" and (min is None or max is None):  # these have no infinity
        return minimum(x, max) if min is None else maximum(x, min)
    return _clip(x, -math.inf if min is None else min, math.inf if max is None else max)


@implements(np.clip)
def _numpy_clip(
    x: Array, a_min: Array = None, a_max: Array = None, *, min: Array = None, max: Array = None
) -> Array:
    """`np.clip`, whose bounds have two names each."""
    return clip(x, min if a_min is None else a_min, max if a_max is None else a_max)


@implements(np.divmod)
def _divmod(x: Array, y: Array) -> tuple[Array, Array]:
    return floor_divide(x, y), remainder(x, y)


# fmt: off
defvjp(where, None,
              lambda g, out, condition, x, y: where(condition, g, 0),
              lambda g, out, condition, x, y: where(condition, 0, g))
defvjp(_clip, lambda g, out, x, low, high: g * ((low <= x) & (x <= high)),
              lambda g, out, x, low, high: g * ((x < low) & (low <= high)),
              lambda g, out, x, low, high: g * ((x > high) | (low > high)))
# fmt: on
