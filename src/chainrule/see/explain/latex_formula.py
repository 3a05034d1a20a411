"""Formulas, names and numbers as LaTeX, in commands of LaTeX itself and amsmath."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from chainrule.compiler.formula import INFIX, Formula, show_key, show_number
from chainrule.compiler.graph import Atom, Equation, Variable
from chainrule.compiler.scales import divisor_of
from chainrule.see.explain.names import Name, Slope
from chainrule.see.explain.written import OUTER

__all__ = ["tex_formula", "tex_name", "tex_number", "tex_text"]

_SIGNS = {
    "add": "+",
    "subtract": "-",
    "multiply": r"\cdot",
    "greater": ">",
    "greater_equal": r"\geq",
    "less": "<",
    "less_equal": r"\leq",
    "equal": "=",
    "not_equal": r"\neq",
}
_FUNCTIONS = {
    "sigmoid": r"\sigma",
    "exp": r"\exp",
    "log": r"\log",
    "tanh": r"\tanh",
    "sin": r"\sin",
    "cos": r"\cos",
    "tan": r"\tan",
    "sinh": r"\sinh",
    "cosh": r"\cosh",
    "maximum": r"\max",
    "minimum": r"\min",
}
# Of the Greek letters those that LaTeX has no command for are Latin ones in looks.
_GREEK = set(
    "alpha beta gamma delta epsilon zeta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
) | {"eta"}
_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "∂": r"$\partial$",
    "…": r"\ldots{}",
    "²": r"\textsuperscript{2}",
    **{c: f"\\{c}" for c in "#$%&_{}"},
}

Show = Callable[[Variable], str]


def tex_formula(formula: Formula, name: Show) -> str:
    """The formula, in which values go by these names, which are LaTeX."""
    return _tex(formula.out, formula.inner, name)[0]


def tex_name(name: Name | Slope | str) -> str:
    r"""A name: `z_{1}[0, 2]`, `\frac{\partial L}{\partial z_{1}}`; L is the result."""
    if isinstance(name, Slope):
        return rf"\frac{{\partial {tex_name(name.of)}}}{{\partial {tex_name(name.by)}}}"
    if isinstance(name, str):
        return r"\cdots"
    if name.of is not None:
        of = tex_name(name.of if name.index is None else name.of.at(name.index))
        return rf"\frac{{\partial L}}{{\partial {of}}}"
    if name.index is None:
        return _base(name.base)
    return f"{_base(name.base)}[{', '.join(map(str, name.index))}]"


def tex_number(text: str) -> str:
    r"""A number as it is printed: `1.5e-07` is `1.5 \cdot 10^{-7}`, `-2` in parentheses."""
    mantissa, _, exponent = text.partition("e")
    if text.lstrip("-") in {"inf", "nan"}:
        return text.replace("inf", r"\infty").replace("nan", r"\mathrm{NaN}")
    if text in {"True", "False"}:
        return rf"\mathrm{{{text}}}"
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def tex_text(text: str) -> str:
    """Prose in which nothing is a command."""
    return "".join(_character(c) for c in text.replace("\n", " "))


def _tex(atom: Atom, inner: Mapping[Variable, Equation], name_of: Show) -> tuple[str, int]:
    """The text of an atom, and how tightly it binds, as in `chainrule.compiler.formula`."""
    if not isinstance(atom, Variable):
        return _literal(atom)
    equation = inner.get(atom)
    if equation is None:
        return name_of(atom), 5
    name, args = equation.name, equation.args
    texts = [_tex(argument, inner, name_of) for argument in args]
    if name == "multiply" and (divisor := divisor_of(args[0])) is not None:
        return rf"\frac{{{texts[1][0]}}}{{{divisor}}}", 4
    if name == "divide":
        return rf"\frac{{{texts[0][0]}}}{{{texts[1][0]}}}", 4
    if name in INFIX and len(args) == 2:
        return _infix(equation, texts)
    first, binding = texts[0] if texts else ("", 5)
    closed = first if binding == 5 else f"({first})"
    if name == "negative":
        return f"-{first}" if binding > 2 else f"-({first})", 3
    if name == "square":
        return f"{closed}^{{2}}", 4
    if name in {"broadcast_to", "stop_gradient", "positive"}:
        return texts[0]
    if name == "transpose":
        return rf"{closed}^{{\top}}", 5
    if name == "sqrt":
        return rf"\sqrt{{{first}}}", 5
    if name == "index":
        return f"{closed}[{_key(equation, texts)}]", 5
    if name == "sum":
        return rf"\sum{_axis(equation)} ({first})", 5
    if equation.primitive is OUTER:
        other = texts[1][0] if texts[1][1] == 5 else f"({texts[1][0]})"
        return rf"{closed}\,{other}^{{\top}}", 2
    own = equation.primitive.name
    function = _FUNCTIONS.get(name) or rf"\mathrm{{{_word(own)}}}"
    return f"{function}({', '.join(text for text, _ in texts)})", 5


def _infix(equation: Equation, texts: list[tuple[str, int]]) -> tuple[str, int]:
    (left, left_binding), (right, right_binding) = texts
    name, binding = equation.name, INFIX[equation.name][1]
    if name == "power":
        return f"{left if left_binding == 5 else f'({left})'}^{{{right}}}", 4
    if name not in _SIGNS and name != "matmul":
        return rf"\mathrm{{{_word(name)}}}({left}, {right})", 5
    if left_binding < binding or (left_binding == binding and not binding):
        left = f"({left})"
    if right_binding < binding or (right_binding == binding and name != "add"):
        right = f"({right})"
    if not binding:
        return f"[{left} {_SIGNS[name]} {right}]", 5  # 1 where it holds, else 0
    if name == "matmul":
        return rf"{left}\,{right}", binding
    are_arrays = all(isinstance(a, Variable) and a.shape for a in equation.args)
    return (
        f"{left} {chr(92) + 'odot' if are_arrays and name == 'multiply' else _SIGNS[name]} {right}",
        binding,
    )


def _literal(number: Any) -> tuple[str, int]:
    if (n := divisor_of(number)) is not None:
        return rf"\frac{{1}}{{{n}}}", 4
    text, binding = show_number(number)
    return (tex_number(text) if binding in (3, 5) else text), (2 if "e" in text else binding)


def _axis(equation: Equation) -> str:
    axis = equation.params.get("axis")
    if axis is None:
        return ""
    axes = axis if isinstance(axis, tuple) else (axis,)
    return rf"_{{\mathrm{{axis}}\ {', '.join(map(str, axes))}}}"


def _key(equation: Equation, texts: list[tuple[str, int]]) -> str:
    key = show_key(equation, [text for text, _ in texts])
    return key.replace("...", r"\ldots").replace("None", r"\mathrm{None}")


def _base(base: str) -> str:
    numbered = re.fullmatch(r"([^\W\d_])(\d+)", base)
    if numbered:
        return f"{_letter(numbered[1])}_{{{int(numbered[2])}}}"
    return _letter(base) if len(base) == 1 and base.isalpha() else rf"\mathrm{{{_word(base)}}}"


def _word(text: str) -> str:
    return "".join(r"\_" if c == "_" else _letter(c) for c in text)


def _letter(character: str) -> str:
    """A letter or digit of a name in mathematics, in ASCII."""
    if character.isascii() and character.isalnum():
        return character
    if character == "…":
        return r"\ldots"
    if character in "()":
        return character
    words = unicodedata.name(character, "").split()
    if words[:1] == ["GREEK"] and words[-2:-1] == ["LETTER"]:
        greek = words[-1].lower().replace("lamda", "lambda")
        greek = greek.capitalize() if words[1] == "CAPITAL" else greek
        if greek in _GREEK:
            return rf"{{\{greek}}}"
    return _ascii(character)


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    return character if character.isascii() and character.isprintable() else _ascii(character)


def _ascii(character: str) -> str:
    """The letter without its accent, or the number of the character."""
    plain = unicodedata.normalize("NFKD", character)[:1]
    return plain if plain.isascii() and plain.isalnum() else f"U{ord(character):04X}"
