"""Random programs over NumPy's functions, and the check that a compiled one is the eager one.

A `Program` is made from a number alone (`make(7)`): a list of instructions over arguments of random
dtypes, shapes and forms, with names chosen to get in the way. It is kept as text, so that `show`
gives a snippet that runs. `check` compiles it and holds it to the function itself, bit for bit.
"""

from __future__ import annotations

import random
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import primitives, tree

__all__ = [
    "Failure",
    "Instruction",
    "Program",
    "check",
    "difference",
    "make",
    "report",
    "run_many",
    "show",
    "shrink",
]

# Names that stand in an emitted file, or might: they must be safe for anything of a user's.
NAMES = (
    "out np one half two zero minus_one number_3 zeros_3 ones_3 scratch scratch_1 d_x x loss W1 "
    "dot tanh sigmoid square train_step bind self result rng range slice print len λ ﬁ _ __name__ "
    "x1 x_1 x_0 a1 z1 gradient parameters constant constant_1 value total add add_1 numpy float32 "
    "empty inf nan exp f function learning_rate __doc__ __file__ y tile add_vjp relu index "
    "multiply where where_1 sum1 sum_1 einsum matmul type float int copyto"
).split()
FUNCTION_NAMES = [*NAMES, "my func", "1st", "class", "<lambda>", "", "a-b", 'quo"te', "back\\slash"]
KEYS = [*NAMES, "class", "lambda", "a b", "a_b", "1st", "", "x y", "'", 3, 0, "None", ("a", 1)]

FLOATS = ("f8", "f8", "f8", "f4", "f4", "f2")
DTYPES = (*FLOATS, *FLOATS, "i8", "i1", "u1", "?")
SHAPES = (
    (3,), (3,), (2, 3), (2, 3), (3, 3), (3, 3), (5,), (2, 3, 5), (5, 3), (1, 3), (3, 1), (2,), (1,),
    (), (), (0,), (0, 3), (2, 0), (3, 2, 2), (5, 5),
)  # fmt: skip
NAMESPACE = {
    "np": np, "cr": cr, "P": primitives, "inf": np.inf, "nan": np.nan,
    "own": lambda name: own(name), "masked": lambda x, mask: masked(x, mask=mask),
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """One line, `target = expression`, the operands in braces: `v3 = np.add({}, {})`.

    Without a target it is a statement, which changes a constant in place.
    """

    target: str
    expression: str
    operands: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = self.expression
        for operand in self.operands:
            text = text.replace("{}", operand, 1)
        return f"{self.target} = {text}" if self.target else text


@dataclass(frozen=True)
class Program:
    """A function of `parameters`, which hold the trees `arguments`, or a derivative of it.

    `leaves` are the names the lines know the arguments' leaves by, each with its expression.
    `outputs` is the text of what is returned, or the variable whose sum is differentiated by the
    arguments `argnums`, as `transform` says: "", "grad", "value_and_grad" or "grad of grad".
    """

    number: int
    name: str
    parameters: tuple[str, ...]
    arguments: tuple[Any, ...]
    others: tuple[Any, ...]
    leaves: tuple[tuple[str, str], ...]
    lines: tuple[Instruction, ...]
    outputs: str
    transform: str = ""
    argnums: tuple[int, ...] = ()

    def text(self) -> str:
        """The lines that define the function `f`."""
        names = [f"p{i}" for i in range(len(self.parameters))]
        body = [f"    {name} = {value}" for name, value in self.leaves if name != value]
        body += [f"    {line}" for line in self.lines]
        hostile = ", ".join(self.parameters)
        passed = f"lambda {hostile}: body({hostile})"
        made = f"eval({passed!r}, {{'body': body}})"
        if not self.parameters:
            made = "lambda: body()"
        lines = [f"def body({', '.join(names)}):", *body, f"    return {self.outputs}", ""]
        lines += [f"f = {made}", f"f.__name__ = {self.name!r}"]
        chosen = self.argnums if len(self.argnums) != 1 else self.argnums[0]
        if self.transform in {"grad", "value_and_grad"}:
            lines.append(f"f = cr.{self.transform}(f, {chosen})")
        if self.transform == "grad of grad":
            lines += [
                f"slope = cr.grad(f, {chosen})",
                f"f = cr.grad(lambda {', '.join(names)}: np.sum(slope({', '.join(names)})), "
                f"{chosen})",
            ]
        return "\n".join(lines) + "\n"

    def function(self) -> Callable[..., Any]:
        """The function itself, made of its text."""
        namespace = dict(NAMESPACE)
        exec(self.text(), namespace)
        return namespace["f"]


def show(program: Program, failure: Failure | None = None) -> str:
    """The program as a snippet that runs: it defines `f` and `args`, and compares."""
    others = [f"others = {_literal(program.others)}"] if program.others else []
    why = [f"# {failure.kind}: {' '.join(failure.detail.split())[:300]}"] if failure else []
    lines = [
        f"# program {program.number}", *why, "import numpy as np", "import chainrule as cr",
        "from chainrule import primitives as P",
    ]  # fmt: skip
    text = program.text()
    for helper in ("own", "masked"):
        if re.search(rf"\b{helper}\(", text):
            lines.append(f"from programs import {helper}")
    lines += ["inf, nan = np.inf, np.nan", "", text]
    lines += [f"args = {_literal(program.arguments)}", *others, "compiled = cr.compile(f)"]
    lines += ["print(f(*args))", "print(compiled(*args))"]
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    """A Python expression of a tree of arrays and numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + "".join(f"{_literal(v)}, " for v in value) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, np.generic):
        return f"np.{value.dtype.name}({value.item()!r})"
    if isinstance(value, np.ndarray):
        if not value.size:
            return f"np.zeros({value.shape}, {value.dtype.str[1:]!r})"
        return f"np.array({_shortest(value)!r}, {value.dtype.str[1:].replace('b1', '?')!r})"
    return repr(value)


def _shortest(array: np.ndarray) -> Any:
    """The elements as nested lists, each number with the digits that its dtype has."""
    if array.dtype.kind != "f":
        return array.tolist()
    return float(str(array[()])) if not array.ndim else [_shortest(part) for part in array]


# Functions of a user's own: of every name, some of which are names of ours


_OWN: dict[str, Any] = {}


def own(name: str) -> Any:
    """A function with a rule of its own, called so: x * cos(x) + 0.5, whose rule says 3 * x."""
    if name not in _OWN:
        namespace: dict[str, Any] = {"np": np}
        exec(f"def {name}(x):\n    return x * np.cos(x) + 0.5\n", namespace)
        function = namespace[unicodedata.normalize("NFKC", name)]
        # The traced form needs its lines, which a function made by exec does not have elsewhere.
        _OWN[name] = cr.custom_vjp(lambda g, out, x: g * (3 * x))(function)
    return _OWN[name]


@cr.custom_vjp(lambda g, out, x, mask: g * mask)
def masked(x: Any, *, mask: Any) -> Any:
    """The elements where the mask holds."""
    return x * mask


# Making programs


@dataclass
class _Maker:
    """Grows a program line by line; every line has been run, so its value is known."""

    choose: random.Random
    values: dict[str, Any] = field(default_factory=dict)
    lines: list[Instruction] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)  # operands alone, never returned
    raised: bool = False

    def any(self, wanted: Callable[[Any], bool] = lambda value: True) -> str | None:
        """A name whose value is wanted so, later ones more often."""
        fitting = [name for name, value in self.values.items() if wanted(value)]
        if not fitting:
            return None
        return fitting[-1] if self.choose.random() < 0.4 else self.choose.choice(fitting)

    def try_line(self, line: Instruction) -> bool:
        """Run a line; keep it if it works, and now and then if its shapes do not fit."""
        namespace = {**NAMESPACE, **self.constants, **self.values}
        try:
            exec(str(line), namespace)
        except (ValueError, IndexError):
            if self.choose.random() > 0.01:
                return False
            self.raised = True
        except (TypeError, AttributeError, ArithmeticError, np.linalg.LinAlgError):
            return False
        if not self.raised and line.target:
            value = namespace[line.target]
            if not isinstance(value, np.ndarray | np.generic | int | float) or _is_odd(value):
                return False
            self.values[line.target] = value
        self.lines.append(line)
        return True


def _is_odd(value: Any) -> bool:
    """Whether a value has grown beyond what these programs are about."""
    if isinstance(value, int) and abs(value) > 10**9:
        return True
    array = np.asarray(value)
    return array.dtype.kind not in "fiub" or array.size > 400 or array.ndim > 5


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _has_axes(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0


def _is_float(value: Any) -> bool:
    return _is_array(value) and value.dtype.kind == "f"


def _is_discrete(value: Any) -> bool:
    return _is_array(value) and value.dtype.kind in "iub"


UNARY = (
    "negative absolute fabs positive sign floor ceil trunc rint sqrt cbrt square reciprocal "
    "exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh "
    "arccosh arctanh deg2rad rad2deg isfinite isinf isnan logical_not"
).split()
BINARY = (
    "add subtract multiply divide floor_divide remainder power maximum minimum hypot arctan2 "
    "logaddexp equal not_equal less less_equal greater greater_equal logical_and logical_or "
    "logical_xor"
).split()
BITS = "bitwise_and bitwise_or bitwise_xor".split()
OPERATORS = "+ - * / + - * // % < >= == !=".split()
NUMBERS = (
    "0", "1", "2", "3", "-1", "0.5", "0.1", "2.0", "-0.0", "0.0", "1e-3", "1 / 3", "1e200", "1e-7",
    "inf", "-inf", "nan", "True", "7", "-2.5",
)  # fmt: skip
SCALARS = (
    "np.float16(0.1)", "np.float32(0.1)", "np.float64(1e-9)", "np.float64(2)", "np.int64(2)",
    "np.float32(-0.0)", "np.uint8(200)", "np.int8(-3)", "np.bool_(True)", "np.array(0.5)",
    "np.float64(inf)", "np.array(3, 'i8')",
)  # fmt: skip
FUSED = "sigmoid relu softplus silu gelu elu leaky_relu softmax log_softmax logsumexp erf".split()
ONE_OPERAND = {
    1: ["i->i", "i->", "i"],
    2: ["ij->ji", "ij->ij", "ij->i", "ij->j", "ij->", "ii->i", "ii->", "ii", "ji"],
    3: ["ijk->kji", "ijk->ik", "ijk->jik", "...i->i...", "ijk->"],
}
TWO_OPERANDS = [
    "ij,jk->ik", "ij,kj->ik", "i,i->", "i,j->ij", "ij,ij->ij", "ij,ij->", "ij,j->i", "ij,i->ji",
    "...i,i->...", "ij,ji->j",
]  # fmt: skip


def _axis(maker: _Maker, value: Any, several: bool = True) -> Any:
    """None, an axis from either end, or several of them."""
    choose, ndim = maker.choose, np.ndim(value)
    if not ndim or choose.random() < 0.3:
        return None
    if several and choose.random() < 0.2:
        axes = choose.sample(range(ndim), choose.randint(1, ndim))
        return tuple(axis - ndim if choose.random() < 0.3 else axis for axis in axes)
    return choose.randrange(-ndim, ndim)


def _constant(maker: _Maker, like: Any) -> str:
    """The text of an array that goes with this value."""
    choose = maker.choose
    shape = np.shape(like)
    if shape and choose.random() < 0.5:
        shape = shape[choose.randrange(len(shape)) :]
    dtype = choose.choice(DTYPES) if choose.random() < 0.4 else np.asarray(like).dtype.str[1:]
    dtype = {"b1": "?"}.get(dtype, dtype)
    if choose.random() < 0.3:
        number = choose.choice(("0", "1", "0.5", "0.1", "2", "-0.0", "-1"))
        number = number if dtype[0] == "f" else str(abs(int(float(number))))
        return f"np.full({shape}, {number}, {dtype!r})"
    array = _array(choose, shape, dtype, 0.15)
    return _literal(array)


def _key(maker: _Maker, shape: tuple[int, ...]) -> str:
    """The text of an index into an array of this shape."""
    choose, parts = maker.choose, []
    for size in shape[: choose.randint(1, len(shape))] if shape else ():
        kind = choose.random()
        if kind < 0.35:
            start = choose.choice(("", "", "1", "-2", "0"))
            stop = choose.choice(("", "", "2", "-1", "9"))
            step = choose.choice(("", "", ":2", ":-1", ":-2", ":1"))
            if step.startswith(":-") and choose.random() < 0.7:
                start = stop = ""
            parts.append(f"{start}:{stop}{step}")
        elif kind < 0.6 and size:
            parts.append(str(choose.randrange(-size, size)))
        elif kind < 0.7 and size:
            parts.append(str([choose.randrange(-size, size) for _ in range(choose.randint(0, 3))]))
        elif kind < 0.75 and size:
            parts.append(f"np.array({[[choose.randrange(size)], [choose.randrange(size)]]})")
        else:
            parts.append(":")
    if choose.random() < 0.2:
        parts.insert(choose.randint(0, len(parts)), "None")
    if choose.random() < 0.15:
        parts.insert(choose.randint(0, len(parts)), "...")
    return ", ".join(parts) or "..."


def _unary(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    x = maker.any()
    function = maker.choose.choice(UNARY)
    if _is_discrete(maker.values[x]) and maker.choose.random() < 0.2:
        return "np.invert({})", (x,)
    if maker.choose.random() < 0.1:
        return maker.choose.choice(("-{}", "+{}", "abs({})")), (x,)
    if maker.choose.random() < 0.05:
        return f"np.round({{}}, {maker.choose.choice((0, 1, 2))})", (x,)
    return f"np.{function}({{}})", (x,)


def _second(maker: _Maker, x: str) -> tuple[str, tuple[str, ...]]:
    """The text of another operand beside x."""
    kind = maker.choose.random()
    if kind < 0.25:
        return maker.choose.choice(NUMBERS), ()
    if kind < 0.35:
        return maker.choose.choice(SCALARS), ()
    if kind < 0.5:
        return _constant(maker, maker.values[x]), ()
    if kind < 0.55 and maker.constants:
        return "{}", (maker.choose.choice(list(maker.constants)),)
    return "{}", (maker.any(),)


def _binary(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    choose, x = maker.choose, maker.any()
    text, more = _second(maker, x)
    both = _is_discrete(maker.values[x]) and all(_is_discrete(maker.values.get(m)) for m in more)
    if both and more and choose.random() < 0.4:
        return f"np.{choose.choice(BITS)}({{}}, {text})", (x, *more)
    # An integer to a negative power raises by its value, a negative number to 0.5 is complex.
    powers = _is_float(maker.values[x])
    if powers and choose.random() < 0.12:
        return f"{{}} ** {choose.choice(('2', '3', '0.5', '-1', '1', '0', '2.0', '1.5'))}", (x,)
    if choose.random() < 0.5:
        operator = choose.choice(OPERATORS)
        if choose.random() < 0.5:
            return f"{{}} {operator} ({text})", (x, *more)
        return f"({text}) {operator} {{}}", (*more, x)
    function = choose.choice(BINARY)
    if function == "power" and not powers:
        function = "hypot"
    if choose.random() < 0.5 or function == "power":
        return f"np.{function}({{}}, {text})", (x, *more)
    return f"np.{function}({text}, {{}})", (*more, x)


def _reduction(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    choose, x = maker.choose, maker.any()
    value = maker.values[x]
    function = choose.choice("sum sum sum mean mean prod max min all any var std argmax".split())
    axis = _axis(maker, value, function != "argmax")
    keep = choose.choice(("", ", keepdims=True"))
    if not keep and axis is None and _is_array(value) and choose.random() < 0.3:
        return f"{{}}.{function}()", (x,)
    if choose.random() < 0.1:
        return f"P.logsumexp({{}}, axis={axis}{keep})", (x,)
    return f"np.{function}({{}}, axis={axis}{keep})", (x,)


def _rearrangement(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    choose = maker.choose
    x = maker.any(_is_array if choose.random() < 0.3 else _has_axes) or maker.any(_is_array)
    if x is None:
        return "np.reshape({}, (1,))", (maker.any(),)
    shape = np.shape(maker.values[x])
    n, last = len(shape), max(len(shape) - 1, 0)
    axis = _axis(maker, maker.values[x], False)
    forms = [
        "{}.T", "np.transpose({})", "{}.ravel()", "np.reshape({}, (-1,))",
        f"np.reshape({{}}, {(1, *shape)})", f"{{}}.reshape({shape[::-1]})", "np.squeeze({})",
        f"np.expand_dims({{}}, {choose.randint(-n - 1, n)})", f"np.flip({{}}, {axis})",
        f"np.roll({{}}, {choose.choice((1, -1, 2, 5))}, axis={axis})", "np.copy({})",
        f"np.broadcast_to({{}}, {(2, *shape)})", "np.atleast_2d({})",
        f"np.tile({{}}, {choose.choice((2, (2, 1), 1))})",
        f"np.repeat({{}}, 2, axis={axis})", f"np.pad({{}}, {choose.choice((1, 0))})",
    ]  # fmt: skip
    if n > 1:
        order = choose.sample(range(n), n)
        forms += [
            f"np.transpose({{}}, {tuple(order)})", f"np.swapaxes({{}}, 0, {last})", "{}.mT",
            "np.moveaxis({}, 0, -1)", f"np.tril({{}}, {choose.choice((0, 1, -1))})",
            "np.triu({})", "np.diagonal({})", "np.diagonal({}, 1)", "np.trace({})",
        ]  # fmt: skip
    return choose.choice(forms), (x,)


def _indexing(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    choose = maker.choose
    x = maker.any(_has_axes) or maker.any(_is_array)
    if x is None:
        return None
    shape = np.shape(maker.values[x])
    kind = choose.random()
    if kind < 0.1 and shape and shape[0]:
        i = maker.any(lambda v: _is_array(v) and v.dtype.kind == "i" and v.dtype.itemsize == 8)
        if i is not None:
            return f"{{}}[{{}} % {shape[0]}]", (x, i)
    if kind < 0.2 and shape and 0 not in shape:
        axis = choose.randrange(-len(shape), len(shape))
        picks = [choose.randrange(-shape[axis], shape[axis]) for _ in range(choose.randint(1, 3))]
        return f"np.take({{}}, {picks}, axis={axis})", (x,)
    if kind < 0.25 and shape:
        return "np.take_along_axis({}, np.argsort({}, axis=0, kind='stable'), axis=0)", (x, x)
    return f"{{}}[{_key(maker, shape)}]", (x,)


def _joining(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    choose, x = maker.choose, maker.any(_has_axes)
    if x is None:
        y = maker.any()
        return "np.stack([{}, {}])", (y, y)
    shape = np.shape(maker.values[x])
    axis = choose.randrange(-len(shape), len(shape))
    kind = choose.random()
    if kind < 0.2:
        count = choose.choice((1, 2, 3))
        return f"np.array_split({{}}, {count}, axis={axis})[{choose.randrange(count)}]", (x,)
    if kind < 0.25:
        return f"np.split({{}}, [1], axis={axis})[1]", (x,)
    y = maker.any(lambda value: np.shape(value) == shape)
    if kind < 0.3:
        return f"np.concatenate([{{}}, {_literal(np.ones(shape))}], axis={axis})", (x,)
    function = choose.choice(("concatenate", "concatenate", "stack"))
    if kind < 0.4:
        return f"np.{choose.choice(('hstack', 'vstack'))}([{{}}, {{}}])", (x, y)
    return f"np.{function}([{{}}, {{}}], axis={axis})", (x, y)


def _product(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    choose = maker.choose
    x = maker.any(_has_axes)
    if x is None:
        return None
    shape = np.shape(maker.values[x])
    kind = choose.random()
    if kind < 0.4 and len(shape) in ONE_OPERAND:
        subscripts = choose.choice(ONE_OPERAND[len(shape)])
        if "ii" in subscripts and shape[0] != shape[1]:
            subscripts = "...->..."
        return f"np.einsum({subscripts!r}, {{}})", (x,)
    y = maker.any(_has_axes)
    if kind < 0.55:
        return f"np.einsum({choose.choice(TWO_OPERANDS)!r}, {{}}, {{}})", (x, y)
    if kind < 0.7:
        return choose.choice(("{} @ {}.T", "{}.T @ {}")), (x, x)
    return choose.choice(
        ("{} @ {}", "np.dot({}, {})", "np.inner({}, {})", "np.outer({}, {})", "np.vdot({}, {})")
    ), (x, y)


def _other(maker: _Maker) -> tuple[str, tuple[str, ...]] | None:
    choose, x = maker.choose, maker.any()
    value = maker.values[x]
    axis = _axis(maker, value, False)
    last = -1 if axis is None else axis
    text, more = _second(maker, x)
    forms: list[tuple[str, tuple[str, ...]]] = [
        (f"np.where({{}} > {choose.choice(('0', '1', '0.5'))}, {{}}, {text})", (x, x, *more)),
        (f"np.where({{}} == {{}}, {text}, {{}})", (x, x, *more, x)),
        (f"np.clip({{}}, {choose.choice(('0', '-1', '0.5', 'None'))}, 2)", (x,)),
        (f"np.clip({{}}, -1.0, {text})", (x, *more)),
        ("P.stop_gradient({})", (x,)),
        (f"P.stop_gradient({{}}) - ({text})", (x, *more)),
        (f"np.cumsum({{}}, axis={axis})", (x,)),
        (f"np.cumprod({{}}, axis={axis})", (x,)),
        (f"np.sort({{}} + 0, axis={last}, kind='stable')", (x,)),
        (f"np.argsort({{}}, axis={last}, kind='stable')", (x,)),
        ("np.zeros_like({}) + {}", (x, x)),
        ("np.ones_like({}) - {}", (x, x)),
        (f"own({choose.choice(NAMES)!r})({{}})", (x,)),
        (f"masked({{}}, mask={_constant(maker, value)})", (x,)),
        (f"cr.grad(lambda t: np.sum(np.tanh(t) * ({text})))({{}})", (*more, x)),
        ("cr.value_and_grad(lambda t: np.sum(np.square(t)))({})[0]", (x,)),
    ]
    function = choose.choice(FUSED)
    options = f", axis={last}" if function in {"softmax", "log_softmax", "logsumexp"} else ""
    forms += 4 * [(f"P.{function}({{}}{options})", (x,))]
    if _is_array(value):
        dtype = choose.choice(DTYPES)
        # What C leaves open is left out: NaN, and numbers out of range, as integers.
        cast = "np.where(({} > 0) & ({} < 100), {}, 0)" if dtype[0] in "iu" else "{}"
        forms += 3 * [(f"{cast}.astype({dtype!r})", (x,) * cast.count("{}"))]
    return choose.choice(forms)


KINDS = (
    (_unary, 6), (_binary, 10), (_reduction, 5), (_rearrangement, 6), (_indexing, 4), (_joining, 3),
    (_product, 4), (_other, 8),
)  # fmt: skip
_MAKERS = [make_line for make_line, weight in KINDS for _ in range(weight)]


def make(number: int) -> Program:
    """The program of this number: 3 to 8 lines over 1 to 3 arguments."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _make(number)


def _make(number: int) -> Program:
    choose = random.Random(number)
    parameters, arguments, leaves = _arguments(choose)
    maker = _Maker(choose)
    namespace = dict(zip((f"p{i}" for i in range(len(arguments))), arguments, strict=True))
    for name, place in leaves:
        maker.values[name] = eval(place, namespace)
    wanted = choose.randint(3, 8)
    for _ in range(60):
        if len(maker.values) - len(leaves) >= wanted or maker.raised:
            break
        if choose.random() < 0.06:
            _hold_constant(maker)
            continue
        line = choose.choice(_MAKERS)(maker)
        if line is not None:
            maker.try_line(Instruction(f"v{len(maker.lines)}", *line))
        if maker.constants and choose.random() < 0.3:
            name = choose.choice(list(maker.constants))
            changed = choose.choice((f"{name}[...] = 0", f"{name} += 1", f"{name} *= 2"))
            maker.try_line(Instruction("", changed))
    transform, argnums = "", ()
    if choose.random() < 0.35:
        argnums = tuple(
            i for i, argument in enumerate(arguments)
            if all(_is_float(leaf) or type(leaf) is float for leaf in tree.flatten(argument))
            and tree.flatten(argument)
        )  # fmt: skip
    result = maker.any(_is_float) if argnums else None
    if result is not None:
        transform = choose.choice(("grad", "grad", "value_and_grad", "grad of grad"))
        outputs = f"np.sum({result})"
        if transform == "grad of grad":
            argnums = tuple(i for i in argnums if not isinstance(arguments[i], dict | list | tuple))
            argnums, transform = argnums[:1], transform if argnums else ""
        elif choose.random() < 0.5:
            argnums = argnums[:1]
    if not transform:
        argnums, outputs = (), _outputs(maker)
    others = tuple(tree.map_tree(lambda leaf: _like(choose, leaf), a) for a in arguments)
    return Program(
        number, choose.choice(FUNCTION_NAMES), parameters, arguments, others, tuple(leaves),
        tuple(maker.lines), outputs, transform, argnums,
    )  # fmt: skip


def _arguments(
    choose: random.Random,
) -> tuple[tuple[str, ...], tuple[Any, ...], list[tuple[str, str]]]:
    """Names and values of the arguments, and for each leaf that lines use a name and its place."""
    parameters: dict[str, str] = {}
    while len(parameters) < choose.choice((1, 2, 2, 3)):
        name = choose.choice(NAMES)
        parameters.setdefault(unicodedata.normalize("NFKC", name), name)
    arguments, leaves = [], []
    for i in range(len(parameters)):
        argument, places = _tree(choose, f"p{i}", 0)
        arguments.append(argument)
        leaves += [(f"x{len(leaves) + j}", place) for j, place in enumerate(places)]
    if not leaves:
        return _arguments(choose)
    return tuple(parameters.values()), tuple(arguments), leaves


def _tree(choose: random.Random, place: str, depth: int) -> tuple[Any, list[str]]:
    kind = choose.random()
    if depth > 1 or kind < 0.75:
        leaf = _leaf(choose)
        usable = not isinstance(leaf, str | bool) and leaf is not None
        return leaf, [place] if usable else []
    if kind < 0.88:
        keys: list[Any] = list(dict.fromkeys(choose.choices(KEYS, k=choose.choice((1, 2, 3)))))
        children = {key: _tree(choose, f"{place}[{key!r}]", depth + 1) for key in keys}
        value: Any = {key: child for key, (child, _) in children.items()}
        return value, [p for _, places in children.values() for p in places]
    count = choose.choice((0, 1, 2, 2))
    parts = [_tree(choose, f"{place}[{i}]", depth + 1) for i in range(count)]
    values = [child for child, _ in parts]
    places = [p for _, places in parts for p in places]
    return (values if kind < 0.94 else tuple(values)), places


def _leaf(choose: random.Random) -> Any:
    kind = choose.random()
    if kind < 0.06:
        return choose.choice((2.0, 0.5, -1.5, 0.0))
    if kind < 0.1:
        return choose.choice((3, 1, 0, -2))
    if kind < 0.13:
        return choose.choice((None, True, False, "mode"))
    array = _array(choose, choose.choice(SHAPES), choose.choice(DTYPES), 0.12)
    if kind < 0.18:
        return _array(choose, (), choose.choice(DTYPES), 0.1)[()]
    return array


def _array(choose: random.Random, shape: tuple[int, ...], dtype: str, odd: float) -> np.ndarray:
    """An array of plain numbers; with the probability `odd` some are 0, -0, inf or NaN."""
    rng = np.random.default_rng(choose.randrange(2**32))
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.asarray(rng.integers(0, 2, shape), bool)
    if kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (max(limits.min, -200), min(limits.max, 250)) if odd > rng.random() else (0, 4)
        return np.asarray(rng.integers(low, high, shape), dtype)
    values = np.asarray(2 * rng.standard_normal(shape)).round(2)
    if odd > rng.random() and values.size:
        places = rng.random(shape) < 0.5
        some = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, 300.0, 1e-5], shape)
        values = np.where(places, some, values)
    return np.asarray(values, dtype)


def _like(choose: random.Random, leaf: Any) -> Any:
    """Another value for the same version of a compiled function."""
    if isinstance(leaf, np.ndarray):
        return _array(choose, leaf.shape, leaf.dtype.str[1:].replace("b1", "?"), 0.3)
    if isinstance(leaf, np.generic):
        return _array(choose, (), leaf.dtype.str[1:].replace("b1", "?"), 0.3)[()]
    if isinstance(leaf, str | bool) or leaf is None:
        return leaf
    return type(leaf)(choose.choice((2, 1, 3)))  # a negative int beside uint8 raises by its value


def _outputs(maker: _Maker) -> str:
    """The text of what is returned: one value or several, in some form, inputs among them."""
    choose, names = maker.choose, list(maker.values)
    last = names[-1]
    kind = choose.random()
    if kind < 0.4:
        return last
    chosen = [last, *choose.choices(names, k=choose.choice((0, 1, 2)))]
    if choose.random() < 0.2:
        chosen.append(choose.choice(("None", chosen[0], "[]", "{}", "2.5", "np.ones(2)", "3")))
    if kind < 0.6:
        return f"({''.join(f'{name}, ' for name in chosen)})"
    if kind < 0.75:
        return f"[{', '.join(chosen)}]"
    keys = choose.sample(KEYS, len(chosen))
    return "{" + ", ".join(f"{key!r}: {name}" for key, name in zip(keys, chosen)) + "}"


def _hold_constant(maker: _Maker) -> None:
    """A line with an array that later lines may use, before and after it is changed in place."""
    name = f"c{len(maker.constants)}"
    line = Instruction(name, _constant(maker, maker.values[maker.any()]))
    namespace = dict(NAMESPACE)
    exec(str(line), namespace)
    maker.constants[name] = namespace[name]
    maker.lines.append(line)


# Checking them


@dataclass(frozen=True)
class Failure:
    """How a compiled program differs: the kind, for counting, and the particulars."""

    kind: str
    detail: str = ""


def check(program: Program, compiled: Callable[..., Any] = cr.compile) -> Failure | None:
    """How the compiled program differs from the function itself; None where it does not.

    Called twice, then with other values, then with the first again: results, arguments and earlier
    results are compared bit for bit. `compiled` makes the compiled function of another engine.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _check(program, compiled)


# NumPy's dot, inner, vdot and einsum add up in an order of their own: those of a program that has
# them may differ in the last digits. var and std of float16, which NumPy computes in float16 and
# overflows, are others in ours. np.take lays its result out in C order and ours as x[:, i] does,
# and the tape keeps copies in C order of what it reads: sums over these run another way. All else
# is the same calls on the same numbers.
_PRODUCTS = re.compile(r"np\.(dot|inner|vdot)\(| @ |np\.einsum\('[^']*,")
_ORDERS = re.compile(r"np\.take\(|cr\.(value_and_)?grad\(lambda t")
_NOT_FINITE = re.compile(r"(?<!['\w])(inf|nan)\b")
_UNDEFINED = re.compile(r"np\.reciprocal\(")  # of the integer 0, which C leaves open
_SPREADS = re.compile(r"\.(var|std)\(")
_JUMPS = re.compile(r" % | // | / |np\.(floor|ceil|trunc|rint|round|sign|remainder|floor_divide)\(")


def _check(program: Program, compiled: Callable[..., Any]) -> Failure | None:
    has = lambda pattern: any(pattern.search(line.expression) for line in program.lines)
    rounds = has(_PRODUCTS) or has(_ORDERS)
    values = show(program).partition("args = ")[2]
    if rounds and (has(_JUMPS) or _NOT_FINITE.search(values)):  # a last digit may become a step
        return None
    if has(_SPREADS) and "'f2'" in show(program):
        return None
    if has(_UNDEFINED):
        return None
    function = program.function()
    ours = compiled(function)
    kept: list[tuple[Any, Any]] = []
    first, others = program.arguments, program.others
    for call, args in enumerate((first, first, others, first)):
        expected, error = _attempt(function, _copy(args))
        given = _copy(args)
        found, our_error = _attempt(ours, given)
        if error is None and our_error is not None and "boolean subtract" in str(our_error):
            return None  # True - True of Python's own booleans is 0, of arrays it is refused
        if difference(args, given) is not None:
            return Failure("an argument is written to", str(difference(args, given)))
        if (error is None) != (our_error is None):
            if our_error is None:
                return Failure("only eager raises", repr(error))
            return Failure(f"{type(our_error).__name__}", f"call {call + 1}: {our_error}")
        if error is not None:
            continue
        how = difference(expected, found)
        if how is not None and not (rounds and how.startswith(("rounding", "sign of zero"))):
            kind = how.split(":")[0]
            return Failure(kind if call < 2 else f"{kind}, call {call + 1}", how)
        for earlier, copy in kept:
            if difference(copy, earlier) is not None:
                return Failure("an earlier result is overwritten", f"by call {call + 1}")
        kept.append((found, _copy(found)))
    if kept and hasattr(ours, "source"):
        try:
            compile(ours.source, "source", "exec")
        except SyntaxError as error:
            return Failure("the source is no Python", str(error))
    return None


def _attempt(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def _copy(values: Any) -> Any:
    return tree.map_tree(lambda x: x.copy() if isinstance(x, np.ndarray) else x, values)


def difference(expected: Any, found: Any) -> str | None:
    """How two trees differ, beginning with the kind of difference; None where they are the same.

    The same are values of the same bits, shape and dtype, all NaN counting as one; a Python number,
    a NumPy scalar and a 0-d array of one dtype count as the same.
    """
    if isinstance(expected, dict | list | tuple) or expected is None:
        if type(expected) is not type(found):
            return f"form: {type(found).__name__} for {type(expected).__name__}"
        if isinstance(expected, dict):
            if list(expected) != list(found):
                return f"form: the keys {list(found)} for {list(expected)}"
            expected, found = list(expected.values()), list(found.values())
        if expected is None:
            return None
        if len(expected) != len(found):
            return f"form: {len(found)} values for {len(expected)}"
        return next(filter(None, map(difference, expected, found)), None)
    if isinstance(expected, str | bool) and type(expected) is type(found) and expected == found:
        return None
    if not isinstance(found, np.ndarray | np.generic | int | float):
        return f"form: {type(found).__name__} for {type(expected).__name__}"
    wanted, got = np.asarray(expected), np.asarray(found)
    if wanted.shape != got.shape:
        return f"shape: {got.shape} for {wanted.shape}"
    if wanted.dtype != got.dtype:
        return f"dtype: {got.dtype} for {wanted.dtype}"
    same = (wanted == got) & (np.signbit(wanted) == np.signbit(got)) if _signed(wanted) else (
        wanted == got
    )  # fmt: skip
    if _signed(wanted):
        same |= np.isnan(wanted) & np.isnan(got)
    if same.all():
        return None
    i = tuple(np.argwhere(~same)[0])
    detail = f"{got[i]!r} for {wanted[i]!r} at {tuple(map(int, i))}, in {int((~same).sum())} places"
    if not _signed(wanted):
        return f"value: {detail}"
    if ((wanted == got) | same).all():
        return f"sign of zero: {detail}"
    precision = 64 * float(np.finfo(wanted.dtype).eps)
    scale = precision * float(np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0.0))
    if np.allclose(got, wanted, rtol=precision, atol=scale, equal_nan=True):
        return f"rounding: {detail}"
    return f"value: {detail}"


def _signed(array: np.ndarray) -> bool:
    return array.dtype.kind in "fc"


def run_many(
    n: int,
    seed: int = 0,
    engine_check: Callable[[Program], Failure | None] = check,
) -> list[tuple[Program, Failure]]:
    """The programs that fail, of `n` from a seed, each with how."""
    failures = []
    for number in range(1_000_000 * seed, 1_000_000 * seed + n):
        program = make(number)
        failure = engine_check(program)
        if failure is not None:
            failures.append((program, failure))
    return failures


def report(
    failures: list[tuple[Program, Failure]],
    engine_check: Callable[[Program], Failure | None] = check,
    each: int = 1,
) -> str:
    """How many failures of each kind, and of the most common kinds small programs."""
    counts = Counter(failure.kind for _, failure in failures)
    lines = [f"{len(failures)} programs differ:"]
    lines += [f"  {count} {kind}" for kind, count in counts.most_common()]
    for kind, _ in counts.most_common(8):
        for program, _ in [pair for pair in failures if pair[1].kind == kind][:each]:
            small, failure = shrink(program, engine_check)
            lines += ["", show(small, failure)]
    return "\n".join(lines)


def shrink(
    program: Program, engine_check: Callable[[Program], Failure | None] = check
) -> tuple[Program, Failure]:
    """A smaller program that fails in the same way, as far as leaving things out goes."""
    failure = engine_check(program)
    if failure is None:
        raise ValueError(f"program {program.number} does not fail")
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(program):
            try:
                found = engine_check(candidate)
            except Exception:  # a line that another line needs has gone
                continue
            if found is not None and found.kind == failure.kind:
                program, failure, smaller = candidate, found, True
                break
    return program, failure


def _smaller(program: Program) -> Iterator[Program]:
    """The program with something left out or made plain; the check finds out what still runs."""
    yield from (
        replace(program, lines=program.lines[:i] + program.lines[i + 1 :])
        for i in range(len(program.lines))
    )
    for line in program.lines:  # an earlier value as the only one returned
        form = "np.sum({})" if program.transform else "{}"
        if program.outputs == form.format(line.target):
            break
        if line.target:
            yield replace(program, outputs=form.format(line.target))
    for i, line in enumerate(program.lines):
        for operand in line.operands:
            if not line.target:
                continue
            later = tuple(
                replace(
                    other,
                    operands=tuple(operand if o == line.target else o for o in other.operands),
                )
                for other in program.lines[i + 1 :]
            )
            outputs = re.sub(rf"\b{line.target}\b", operand, program.outputs)
            yield replace(program, lines=program.lines[:i] + later, outputs=outputs)
    if program.transform in {"grad of grad", "value_and_grad"}:
        yield replace(program, transform="grad")
    if len(program.argnums) > 1:
        yield from (replace(program, argnums=(i,)) for i in program.argnums)
    if program.name != "f":
        yield replace(program, name="f")
    for i, name in enumerate(program.parameters):
        if name != f"q{i}":
            plain = (*program.parameters[:i], f"q{i}", *program.parameters[i + 1 :])
            yield replace(program, parameters=plain)
    used = " ".join([*map(str, program.lines), program.outputs])
    if any(not re.search(rf"\b{name}\b", used) for name, _ in program.leaves):
        kept = tuple(p for p in program.leaves if re.search(rf"\b{p[0]}\b", used))
        yield replace(program, leaves=kept)
    for i in range(len(program.parameters)):
        places = [place for _, place in program.leaves]
        if not any(place.startswith(f"p{i}") for place in places) and i not in program.argnums:
            yield _without_argument(program, i)


def _without_argument(program: Program, i: int) -> Program:
    def renumber(place: str) -> str:
        number = int(re.match(r"p(\d+)", place).group(1))
        return f"p{number - (number > i)}{place[len(str(number)) + 1 :]}"

    return replace(
        program,
        parameters=program.parameters[:i] + program.parameters[i + 1 :],
        arguments=program.arguments[:i] + program.arguments[i + 1 :],
        others=program.others[:i] + program.others[i + 1 :],
        leaves=tuple((name, renumber(place)) for name, place in program.leaves),
        argnums=tuple(n - (n > i) for n in program.argnums),
    )
