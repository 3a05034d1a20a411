"""How an equation is written: as a NumPy expression, as a call with `out=`, as a formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.compiler.graph import Atom, Equation, Variable
from chainrule.compiler.passes import divisor_of, is_elementwise
from chainrule.engines.numpy.borrow import Borrowed
from chainrule.engines.numpy.kernels import Kernel, kernel_for
from chainrule.engines.numpy.kernels.rows import add_rows, picks_rows
from chainrule.primitives.indexing import Slot

__all__ = ["assign", "expression", "formula", "show_value", "takes_out", "write_into"]

Render = Callable[[Atom], str]

_INFIX = {
    "add": ("+", 1),
    "subtract": ("-", 1),
    "multiply": ("*", 2),
    "divide": ("/", 2),
    "matmul": ("@", 2),
    "power": ("**", 4),
    "greater": (">", 0),
    "greater_equal": (">=", 0),
    "less": ("<", 0),
    "less_equal": ("<=", 0),
    "equal": ("==", 0),
    "not_equal": ("!=", 0),
}
_REDUCTIONS = {"sum": "np.add.reduce", "prod": "np.multiply.reduce", "max": "np.maximum.reduce",
               "min": "np.minimum.reduce"}  # fmt: skip
_TAKES_OUT = {"concatenate", "matmul", "random_uniform", "scatter_add", "where"}


def takes_out(equation: Equation) -> bool:
    """Whether `write_into` can write the equation's result into memory it is given."""
    primitive = equation.primitive
    return (
        is_elementwise(primitive)
        or primitive.name in _TAKES_OUT
        or primitive.name in _REDUCTIONS
        or _kernel_of(equation) is not None
    )


def _kernel_of(equation: Equation) -> Kernel | None:
    shapes = [a.shape if isinstance(a, Variable) else () for a in equation.args]
    return kernel_for(equation.primitive, shapes, equation.params)


def formula(atom: Atom, inner: dict[Variable, Equation], render: Render) -> str:
    """A value as mathematics, with those of `inner` written out in place."""
    return _formula(atom, inner, render)[0]


def _formula(atom: Atom, inner: dict[Variable, Equation], render: Render) -> tuple[str, int]:
    """Text of an atom and how tightly it binds (5: needs no parentheses)."""
    equation = inner.get(atom) if isinstance(atom, Variable) else None
    if equation is None:
        text = render(atom)
        return text, _binding(text)
    name = equation.primitive.name
    if name == "multiply" and (divisor := divisor_of(equation.args[0])) is not None:
        text, binding = _formula(equation.args[1], inner, render)
        return f"{text if binding >= 2 else f'({text})'} / {divisor}", 2
    if name in _INFIX and len(equation.args) == 2:
        sign, binding = _INFIX[name]
        left, left_binding = _formula(equation.args[0], inner, render)
        right, right_binding = _formula(equation.args[1], inner, render)
        if left_binding < binding or (name == "power" and left_binding == binding):
            left = f"({left})"
        # what follows -, / or a product is grouped to the left, so equals need parentheses there
        if right_binding < binding or (right_binding == binding and sign != "+"):
            right = f"({right})"
        return f"{left} {sign} {right}", binding
    texts = [_formula(argument, inner, render) for argument in equation.args]
    if name == "negative":
        text, binding = texts[0]
        return f"-{text}" if binding > 2 else f"-({text})", 3
    if name == "square":
        text, binding = texts[0]
        return f"{text}**2" if binding > 4 else f"({text})**2", 4
    if name in {"broadcast_to", "expand_dims"}:
        return texts[0]
    if name in {"transpose", "swapaxes", "matrix_transpose"}:
        text, binding = texts[0]
        return f"{text}.T" if binding == 5 else f"({text}).T", 5
    if name == "vdot" and equation.args[0] is equation.args[1]:
        text, binding = texts[0]
        return f"sum({text if binding > 4 else f'({text})'}**2)", 5
    if name == "index":
        text, binding = texts[0]
        key = _key(equation, [text for text, _ in texts])
        return f"{text if binding == 5 else f'({text})'}[{key}]", 5
    if name == "sum":
        return f"sum({texts[0][0]}{_axis_words(equation)})", 5
    if name == "reshape":
        shape = ", ".join(map(str, equation.out.shape))
        return f"reshape({texts[0][0]}, ({shape}))", 5
    return f"{name}({', '.join(text for text, _ in texts)})", 5


def _binding(text: str) -> int:
    """How tightly a name or a number binds, as `show_value` writes it."""
    if text.startswith("1 / "):
        return 2
    return 1 if text.startswith("1 - ") else 3 if text.startswith("-") else 5


def _axis_words(equation: Equation) -> str:
    axis = equation.params.get("axis")
    if axis is None:
        return ""
    axes = np.atleast_1d(axis).tolist()
    return f", axis={axes[0]}" if len(axes) == 1 else f", axis={tuple(axes)}"


def expression(equation: Equation, render: Render, borrowed: Borrowed) -> str:
    """The equation as an expression that makes its result anew (or a view).

    What has no notation here is a call of the primitive's NumPy form, taken into `borrowed`.
    """
    name, params = equation.primitive.name, equation.params
    args = [render(argument) for argument in equation.args]
    if equation.out.dtype is None or (name in _INFIX and not equation.out.shape):
        return formula(equation.out, {equation.out: equation}, render)
    if name == "transpose" and _reverses_axes(equation):
        return f"{args[0]}.T"
    if name == "reshape":
        return f"{args[0]}.reshape({', '.join(map(str, equation.out.shape)) or '()'})"
    if name == "broadcast_to":
        return f"np.broadcast_to({args[0]}, {equation.out.shape})"
    if name == "astype":
        return f"{args[0]}.astype({_dtype(params['dtype'])})"
    if name in _REDUCTIONS:
        return f"{_REDUCTIONS[name]}({args[0]}{_reduction_params(params)})"
    if name == "index":
        return f"{args[0]}[{_key(equation, args)}]"
    if name == "concatenate":
        return f"np.concatenate(({', '.join(args)},), axis={params['axis']})"
    if name == "where":
        return f"np.where({', '.join(args)})"
    if name == "vdot":
        return f"np.vdot({args[0]}, {args[1]})"
    if name == "random_uniform":
        return f"{args[0]}.random({params['shape']}, {_dtype(params['dtype'])})"
    if name == "matmul":
        return f"{args[0]} @ {args[1]}"
    return f"{borrowed.call(equation.primitive)}({', '.join([*args, *_words(equation)])})"


def assign(equation: Equation, name: str, render: Render, borrowed: Borrowed) -> list[str]:
    """The statements that make the equation's result anew and call it `name`."""
    out = equation.out
    if equation.primitive.name == "scatter_add":
        assert out.dtype is not None
        _, add = write_into(equation, name, render, str, borrowed)
        return [f"{name} = np.zeros({out.shape}, {_dtype(out.dtype)})", add]
    if _kernel_of(equation) is not None:
        memory = f"{name} = np.empty({out.shape}, {_dtype(out.dtype)})"
        return [memory, *write_into(equation, name, render, str, borrowed)]
    return [f"{name} = {expression(equation, render, borrowed)}"]


_LONG = 10  # characters of a number that a reader does not take in at a glance


def show_value(value: Any) -> str:
    """A number or a static parameter as Python source, as a person would write it: 1 / 192 for
    0.005208333333333333, 1 - 0.9 for 0.09999999999999998.
    """
    if (n := divisor_of(value)) is not None:
        return f"1 / {n}"
    if type(value) is float and len(repr(value)) >= _LONG and 0 < value < 1:
        rest = round(1 - value, _LONG)
        if 1 - rest == value:
            return f"1 - {rest!r}"
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return _dtype(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "np.nan" if math.isnan(value) else f"{'-' if value < 0 else ''}np.inf"
    if isinstance(value, tuple):
        return f"({', '.join(map(show_value, value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def write_into(
    equation: Equation,
    out: str,
    render: Render,
    ones: Callable[[Equation], str],
    borrowed: Borrowed,
    threads: int = 1,
) -> list[str]:
    """The statements that write the equation's result into the buffer named `out`.

    `ones` names a vector of ones as long as the first axis of the equation's argument, `threads` is
    how many a kernel should use.
    """
    name, params = equation.primitive.name, equation.params
    args = [render(argument) for argument in equation.args]
    if name == "matmul":
        function = "np.dot" if _is_plain_product(equation) else "np.matmul"
        return [f"{function}({args[0]}, {args[1]}, out={out})"]
    if name == "sum" and _sums_rows(equation):
        return [f"np.dot({ones(equation)}, {args[0]}, out={out})"]
    if name in _REDUCTIONS:
        return [f"{_REDUCTIONS[name]}({args[0]}{_reduction_params(params)}, out={out})"]
    if name == "where":
        lines = [] if args[2] == out else [f"np.copyto({out}, {args[2]})"]
        return [*lines, f"np.copyto({out}, {args[1]}, where={args[0]})"]
    if name == "random_uniform":
        return [f"{args[0]}.random(dtype={_dtype(params['dtype'])}, out={out})"]
    if name == "clip":
        return [f"np.clip({', '.join(args)}, out={out})"]
    if name == "concatenate":
        return [f"np.concatenate(({', '.join(args)},), axis={params['axis']}, out={out})"]
    if name == "scatter_add":
        # slices and masks name no place twice, index arrays may
        if all(isinstance(a, Variable) and a.dtype == bool for a in equation.args[1:]):
            return [f"{out}.fill(0)", f"{out}[{_key(equation, args)}] = {args[0]}"]
        if picks_rows(params["key"]):
            add = f"{borrowed.function(add_rows)}({out}, {args[1]}, {args[0]})"
        else:
            add = f"np.add.at({out}, {_tuple_key(equation, args)}, {args[0]})"
        return [f"{out}.fill(0)", add]
    if (kernel := _kernel_of(equation)) is not None:
        words = _words(equation)
        if threads > 1 and kernel.takes_threads:
            words.append(f"threads={threads}")
        words = [*args, *words, f"out={out}"]
        return [f"{borrowed.function(kernel.function)}({', '.join(words)})"]
    ufunc = equation.primitive.evaluate.__name__
    return [f"np.{ufunc}({', '.join(args)}, out={out})"]


def _words(equation: Equation) -> list[str]:
    """The static parameters that are not as the NumPy form has them by itself."""
    defaults = equation.primitive.defaults
    return [
        f"{key}={show_value(value)}"
        for key, value in equation.params.items()
        if key not in defaults or defaults[key] != value
    ]


def _reverses_axes(equation: Equation) -> bool:
    axes = equation.params["axes"]
    return axes is None or tuple(axes) == tuple(reversed(range(len(axes))))


def _is_plain_product(equation: Equation) -> bool:
    """Whether np.dot, which costs less per call, computes the same product."""
    return all(isinstance(a, Variable) and len(a.shape) == 2 for a in equation.args)


def _sums_rows(equation: Equation) -> bool:
    """Whether this is the sum over the rows of a matrix: a product with a vector of ones, which
    BLAS does in a third of the time.
    """
    x = equation.args[0]
    if not isinstance(x, Variable) or len(x.shape) != 2 or x.dtype is None:
        return False
    axis = equation.params["axis"]
    return x.dtype.kind == "f" and axis in (0, (0,)) and not equation.params["keepdims"]


def _reduction_params(params: dict[str, Any]) -> str:
    axis = params.get("axis")
    axis = int(axis[0]) if isinstance(axis, tuple) and len(axis) == 1 else axis
    keepdims = ", keepdims=True" if params.get("keepdims") else ""
    return f", axis={axis}{keepdims}"


def _dtype(dtype: Any) -> str:
    return f"np.{np.dtype(dtype).name}"


def _key(equation: Equation, args: list[str]) -> str:
    """The key of an indexing, as written between the brackets."""
    return ", ".join(_key_part(part, args) for part in equation.params["key"]) or "()"


def _tuple_key(equation: Equation, args: list[str]) -> str:
    """The same key as an expression, for functions that take it as an argument."""
    parts = [
        f"slice({part.start}, {part.stop}, {part.step})"
        if isinstance(part, slice)
        else _key_part(part, args)
        for part in equation.params["key"]
    ]
    return f"({''.join(part + ', ' for part in parts)})"


def _key_part(part: Any, args: list[str]) -> str:
    if isinstance(part, Slot):
        return args[part.number + 1]
    if part is Ellipsis:
        return "..."
    if not isinstance(part, slice):
        return repr(part)
    return _slice(part)


def _slice(part: slice) -> str:
    words = ["" if bound is None else str(bound) for bound in (part.start, part.stop, part.step)]
    return ":".join(words if words[2] else words[:2])
