"""What notebooks are shown: safe whatever the names are, of bounded size, and well-formed."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

import chainrule as cr
from chainrule import html, nn
from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.gradcheck import Element, Fault, GradientReport
from chainrule.training.history import History

HOSTILE = "<script>alert(1)</script>\"'&</pre>-->]]>\x00\x1b\ud800"
VOID = {"img", "br"}


class Reader(HTMLParser):
    """The text and the elements of HTML; raises where elements are not closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.text, self.elements, self.open = "", [], []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


ALLOWED = {
    *("div", "style", "p", "pre", "span", "table", "tr", "td", "th"),
    *("svg", "title", "polyline", "circle", "text"),
}


def read(shown):
    """What a notebook shows, once it is known to be harmless and small."""
    assert len(shown.encode("utf-8")) <= html.MOST_BYTES
    found = Reader(shown)
    assert {tag for tag, _ in found.elements} <= ALLOWED
    for _, attributes in found.elements:
        assert not any(name.startswith("on") or "href" in name for name in attributes)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import", shown)
    return found


def history(n, **curves):
    made = History()
    for i in range(n):
        made.append({name: values[i] for name, values in curves.items()}, 0.1)
    return made


def trained():
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    net = nn.Network([nn.Dense(4), nn.Tanh(), nn.Dense(2)], seed=0)
    kept = net.fit(x, y, loss="cross_entropy", epochs=2, verbose=0, seed=0, engine="numpy")
    return net, kept


def report(text, n_elements=20):
    elements = tuple(Element(text, (i,), 1.0, float("nan")) for i in range(n_elements))
    faults = (Fault(text),) * 3
    return GradientReport(text, False, 1, np.inf, 1e-6, 0, (text,), faults, elements, (text,))


def test_each_object_shows_what_it_is():
    net, kept = trained()
    table = read(net._repr_html_()).text
    for row in net.summary().splitlines():
        if not row.startswith("-"):
            assert all(cell.strip() in table for cell in row.split("  "))
    losses = read(kept._repr_html_())
    assert all(f"{value:.4g}" in losses.text for value in kept["loss"])
    assert [tag for tag, _ in losses.elements].count("polyline") == 1
    assert net.step.source.strip() in read(net.step._repr_html_()).text
    assert "matmul" in read(net.step.graph._repr_html_()).text
    function = cr.compile(lambda x: np.sin(x) * 2)
    assert "not called yet" in read(function._repr_html_()).text
    function(np.ones(3))
    assert function.source.strip() in read(function._repr_html_()).text
    assert str(function.graph) in read(function.graph._repr_html_()).text
    failed = read(report("the gradient")._repr_html_())
    assert "why: the gradient" in failed.text
    assert failed.text.count("nan") == 8
    assert read(cr.check_grads(np.sin, np.ones(2))._repr_html_()).text.count("ok") == 1


def test_repr_stays_short():
    net, kept = trained()
    function = cr.compile(cr.grad(lambda x: np.sum(np.sin(x) ** 2)))
    shown = [repr(function)]
    function(np.ones(3))
    shown += [repr(one) for one in (net, kept, net.step, net.step.graph, function, function.graph)]
    shown.append(repr(report("the gradient")))
    assert max(map(len, shown)) < 200
    assert not any("object at 0x" in one for one in shown)


def test_names_from_outside_become_no_markup():
    x, out = (Variable((2,), np.dtype(float), HOSTILE) for _ in range(2))
    equation = Equation((out,), cr.primitives.negative, (x,), {}, layer=HOSTILE)
    graph = Graph((x,), (), {}, (equation,), (out,), {}, {out: HOSTILE})
    assert "<script>" in read(graph._repr_html_()).text
    curves = {HOSTILE: [1.0, 2.0], "loss": [1.0, 0.5], f"val_{HOSTILE}": [1.0, 2.0]}
    assert "<script>" in read(history(2, **curves)._repr_html_()).text
    assert "<script>" in read(report(HOSTILE)._repr_html_()).text
    function = cr.compile(lambda x: x + 1)
    function.__name__ = HOSTILE
    read(function._repr_html_())
    function(np.ones(2))
    read(function._repr_html_())


@pytest.mark.parametrize("language", ["python", "c", ""])
@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        '"""never closed <b>',
        "'''also <b>\nnot\n'''",
        "/* <b>\n */ x // <i>",
        "s = '<b>' # </pre>",
        "x1 = 1e-5 + 0x1F + .5f + 10L; _2 = r'\\'",
        "\\" * 50 + '"' * 51,
        "\r\n\u2028<a href='x'>",
        "",
    ],
)
def test_sources_are_shown_letter_by_letter(language, text):
    shown = read(html.block(html.source(text, language))).text
    expected = "\n".join(text.splitlines())
    assert shown == re.sub(r"[\x00\x1b\ud800]", "\N{REPLACEMENT CHARACTER}", expected)


def kinds(text, language):
    found = re.findall(r'<span class="(\w)">(.*?)</span>', html.source(text, language))
    return [(kind, word) for kind, word in found]


def test_words_are_coloured_by_their_kind():
    assert kinds("for x1 in format: # not", "python") == [
        ("k", "for"),
        ("k", "in"),
        ("c", "# not"),
    ]
    assert kinds("double x1 = 1.5e-3f; /* int\nint */ #", "c") == [
        ("k", "double"),
        ("n", "1.5e-3f"),
        ("c", "/* int"),
        ("c", "int */"),
    ]
    assert kinds("'''a\nfor'''", "python") == [
        ("s", "&#x27;&#x27;&#x27;a"),
        ("s", "for&#x27;&#x27;&#x27;"),
    ]
    assert kinds("for", "") == []


@pytest.mark.parametrize("line", ["x = 1 + 2  # a line", "&" * 390, '"<"' * 130, "x" * 100_000])
@pytest.mark.parametrize("n", [1, 200, 201, 50_000])
def test_long_sources_are_cut_and_say_so(line, n):
    n = min(n, 10_000_000 // len(line))
    shown = read(html.block(html.source("\n".join([line] * n), "python", "print(step.source)")))
    n_lines = shown.text.split("…")[0].count(line[:3]) if len(line) < 30 else None
    if n <= 200 and len(line) < 30:
        assert "more lines" not in shown.text
        assert n_lines == n
    if n > 200:
        assert "more lines, print(step.source) shows all" in shown.text
        left_out = int(re.search(r"… (\d+) more lines", shown.text)[1])
        assert n - 200 <= left_out < n


def test_large_objects_stay_small():
    deep = nn.Network([nn.Dense(2, name=f"d{i}" + "x" * 500) for i in range(300)], input_shape=2)
    assert "more layers" in read(deep._repr_html_()).text
    names = {f"metric_{i}": [float(j) for j in range(5000)] for i in range(40)}
    shown = read(history(5000, loss=[1.0] * 5000, **names)._repr_html_()).text
    assert "… 4990 before" in shown
    assert "more" in shown
    read(report("long " * 20_000)._repr_html_())
    assert "[0, 0, 0, :, :]" in read(cr.parameter(np.zeros((8,) * 5))._repr_html_()).text
    assert len(html.table(["x" * 10**6], [["y" * 10**6]])) < 1000
    read(html.block(*["<p>" + "x" * 1000 + "</p>"] * 500))


@pytest.mark.parametrize(
    "values",
    [
        np.float64(2.5),
        np.zeros(0),
        np.zeros((3, 0, 2)),
        np.arange(1000, dtype=np.float32),
        np.array([1.0, np.nan, np.inf, -np.inf]),
        np.full(3, np.nan),
        np.full((2, 2), 1e308),
        np.ones((2, 3, 4, 5))[:, ::-1, ::2],
        np.float16([1.0, 2.0]),
    ],
)
def test_tensors_of_every_kind(values):
    values = np.asarray(values)
    shown = read(cr.parameter(values)._repr_html_()).text
    assert f"shape {values.shape}, {values.dtype}" in shown
    n_broken = values.size - np.isfinite(values).sum()
    assert (f"{n_broken} not finite" in shown) == bool(n_broken)
    made = np.sin(cr.parameter(np.nan_to_num(values, posinf=0, neginf=0)))
    assert "made by sin" in read(made._repr_html_()).text


def test_gradients_and_tensors_within_derivatives():
    w = cr.parameter([1.0, 2.0])
    (w**2).sum().backward()
    shown = read(w._repr_html_()).text
    assert "gradient: shape (2,), float64, from 2 to 4, mean 3" in shown
    seen = []

    def f(x):
        seen.append(x._repr_html_())
        return np.sum(x**2)

    cr.grad(lambda x: cr.grad(f)(x).sum())(np.ones(2))
    assert "Tensor" in read(seen[0]).text


@pytest.mark.parametrize(
    ("curves", "n_lines", "n_points"),
    [
        ({"loss": [1.0]}, 0, 1),
        ({"loss": [1.0, 1.0]}, 1, 0),
        ({"loss": [np.nan, np.inf]}, 0, 0),
        ({"loss": [1.0, np.nan, 2.0, 3.0]}, 1, 1),
        ({"loss": [1.0, 2.0], "val_loss": [np.nan, 2.0]}, 1, 1),
        ({"loss": [-1e308, 1e308]}, 1, 0),
        ({"loss": list(np.geomspace(1, 1e-30, 10_000))}, 1, 0),
        ({"loss": [0.0, 1e-320]}, 1, 0),
        ({}, 0, 0),
    ],
)
def test_curves_are_svg_of_what_is_finite(curves, n_lines, n_points):
    shown = html.curves(curves)
    if not n_lines + n_points:
        assert shown == ""
        return
    root = ElementTree.fromstring(shown)
    assert root.get("role") == "img"
    assert root.find("{*}title").text.startswith("loss")
    found = root.findall("{*}polyline")
    assert (len(found), len(root.findall("{*}circle"))) == (n_lines, n_points)
    width, height = int(root.get("width")), int(root.get("height"))
    for line in found:
        points = np.array([pair.split(",") for pair in line.get("points").split()], float)
        assert len(points) <= 200
        assert (points >= 0).all()
        assert (points <= [width, height]).all()


def test_higher_losses_are_higher_in_the_curve():
    for losses in ([3.0, 1.0, 2.0], [300.0, 1.0, 2.0]):
        root = ElementTree.fromstring(html.curves({"loss": losses}))
        points = root.find("{*}polyline").get("points").split()
        heights = [-float(point.split(",")[1]) for point in points]
        np.testing.assert_array_equal(np.argsort(heights), np.argsort(losses))


def test_a_history_before_its_first_epoch():
    assert "0 epochs" in read(History()._repr_html_()).text


def test_the_step_before_it_is_compiled():
    from chainrule.optim import SGD
    from chainrule.training.compiled_step import CompiledStep

    net = nn.Network([nn.Dense(1)], input_shape=2)
    step = CompiledStep(net, nn.losses.squared_error, SGD())
    assert "not compiled yet" in repr(step)
    assert "not compiled yet" in read(step._repr_html_()).text


def test_import_chainrule_brings_no_html():
    code = "import sys, chainrule.nn; assert not {'html', 'chainrule.html'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
