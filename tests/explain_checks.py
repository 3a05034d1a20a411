"""Reading an explanation in any of its formats, and computing what it prints again."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from chainrule.primitives.primitive import PRIMITIVES


def function(primitive):
    """A primitive as a formula means it: 2 is 2.0, and True in a sum is 1."""
    of_bits = primitive.name.startswith(("bitwise", "invert", "logical"))

    def call(first, *others):
        first = float(first) if type(first) is int and not of_bits else first
        value = primitive(first, *others)
        return value.item() if isinstance(value, np.bool_ | np.floating) else value

    return call


NAMES = {name: function(PRIMITIVES[name]) for name in PRIMITIVES if name.isidentifier()}
RESULT = r"-?[\d.]+(e[-+]?\d+)?"


# Reading what is printed


def joined(text):
    """The printed lines, each whole again where it was wrapped."""
    lines = []
    for line in text.splitlines():
        if line.startswith(" " * 8) and lines:
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return lines


def recomputed(line):
    """(by the printed terms, as printed, half a unit of its last digit); None without numbers."""
    parts = re.split(r"(?<![<>=!]) (?:=|<-) ", line.split("  #")[0])
    if len(parts) < 3 or not re.fullmatch(RESULT, parts[-1].strip()) or "\\" in parts[-2]:
        return None
    try:
        value = eval(parts[-2], {"__builtins__": {}, **NAMES})
    except NameError:
        return None  # in symbols
    return float(value), float(parts[-1]), half_unit(parts[-1].strip())


def half_unit(text):
    if text in {"True", "False"}:
        return 0.0
    mantissa, _, exponent = text.partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def check_lines(lines, least=1):
    """Compute every line with numbers again, and return how many there are."""
    found = 0
    for line in lines:
        again = recomputed(line)
        if again is not None:
            value, printed, half = again
            assert abs(value - printed) <= half * (1 + 1e-9), line
            found += 1
    assert found >= least
    return found


def check_text(text, least=1):
    return check_lines(joined(text), least)


def lines_of_markdown(text):
    return [
        line for block in re.findall(r"```text\n(.*?)```", text, re.S) for line in block.split("\n")
    ]


def lines_of_html(page):
    texts = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag == "p":
                texts.append("")

        def handle_endtag(self, tag):
            if tag == "p":
                texts.append("")

        def handle_data(self, data):
            if texts:
                texts[-1] += data

    Reader().feed(page)
    return texts


def rows_of_latex(document):
    """The rows of formulas."""
    blocks = re.findall(r"\\begin\{align\*\}\n(.*?)\n\\end\{align\*\}", document, re.S)
    return [row for block in blocks for row in block.split(" \\\\\n") if "pmatrix" not in row]


def lines_of_latex(document):
    """The formulas as Python's, each with its continued rows."""
    lines = []
    for row in rows_of_latex(document):
        text = as_python(row.split(r"\quad \mathrm{(")[0])
        if row.startswith("&"):
            lines[-1] += " " + text
        else:
            lines.append(text)
    return lines


def as_python(tex):
    tex = tex.replace("&", "").replace(r"\_", "_").replace(r"\quad", "").replace(r"\leftarrow", "=")
    tex = re.sub(r" \\cdot 10\^\{(-?\d+)\}", r"e\1", tex)
    words = {r"\cdot": "*", r"\odot": "*", r"\geq": ">=", r"\leq": "<=", r"\neq": "!="}
    words |= {r"\sigma": "sigmoid", r"\max": "maximum", r"\min": "minimum"}
    for word, sign in words.items():
        tex = tex.replace(word, sign)
    tex = re.sub(r"\\mathrm\{(\w+)\}", r"\1", tex)
    tex = re.sub(r"_\{(\d+)\}", r"\1", tex)
    tex = re.sub(r"\\(exp|log|tanh|sin|cos|tan|sinh|cosh)\b", r"\1", tex)
    before = ""
    while before != tex:
        before = tex
        tex = re.sub(r"\^\{([^{}]*)\}", r"**(\1)", tex)
        tex = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", tex)
        tex = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", tex)
    return re.sub(r"(?<![\w\]])\[([^\[\]]*[<>=][^\[\]]*)\]", r"(\1)", tex)


def latex_recomputed(document):
    """The formulas of a document in numbers, the slopes' sides that are no numbers left out."""
    found = []
    for line in lines_of_latex(document):
        parts = [part.strip() for part in re.split(r"(?<![<>!=])=(?!=)", line)]
        found.append(" = ".join(parts))
    return found


def check_all_formats(told, least=1):
    n_lines = check_text(told.text(100), least)
    assert check_text(told.text(10_000)) == n_lines
    check_lines(lines_of_markdown(told.markdown()))
    assert check_lines(lines_of_html(told.html())) == n_lines
    assert check_lines(latex_recomputed(told.latex())) >= 0.9 * n_lines


def numbers(told, record):
    """(line, what was computed) for each element that is worked out of a value of a record."""
    for chapter in told.content.chapters[:2]:
        for step in chapter.steps:
            for line in step.lines:
                if line.name.base in record:
                    yield line, record[line.name.base][line.name.index or ()]
