"""Pictures of networks, as layers and as neurons, and the command that makes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import chainrule as cr
from chainrule import nn
from chainrule.cli.app import make_app

SVG = "{http://www.w3.org/2000/svg}"
XOR_X, XOR_Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [1], [1], [0]])


def texts(drawing):
    return ["".join(t.itertext()) for t in ET.fromstring(drawing.svg).iter(f"{SVG}text")]


def notes(drawing):
    return [t.text for t in ET.fromstring(drawing.svg).iter(f"{SVG}title")]


def faces(level):
    """The first line of each box that is shown."""
    for node in level.nodes:
        if node.is_open:
            yield node.lines[0].text
            yield from faces(node.inner)
        else:
            yield node.lines[0].text


def xor():
    return nn.Network([nn.Dense(2), nn.Sigmoid(), nn.Dense(1), nn.Sigmoid()], input_shape=2, seed=0)


def test_a_small_network_is_drawn_as_neurons_with_all_its_weights():
    net = xor()
    drawing = net.draw()
    tree = ET.fromstring(drawing.svg)
    circles = [c.get("class") for c in tree.iter(f"{SVG}circle")]
    assert circles.count("neuron") == 5
    assert circles.count("bias") == 2
    edges = [n for n in notes(drawing) if ".weight[" in n or ".bias[" in n]
    assert len(edges) == 9
    for name in ("dense_1", "dense_2"):
        weight = net.parameters[f"{name}.weight"]
        for (i, j), value in np.ndenumerate(weight):
            assert f"{name}.weight[{i}, {j}] = {value:.4g}" in edges
    assert f"{net.parameters['dense_1.weight'][0, 0]:.3g}" in texts(drawing)


def test_colour_and_width_say_sign_and_size():
    net = xor()
    weights = np.concatenate([net.parameters[f"dense_{i}.weight"].ravel() for i in (1, 2)])
    strongest = weights[np.abs(weights).argmax()]
    paths = [p for p in ET.fromstring(net.draw().svg).iter(f"{SVG}path") if len(p)]
    look = {p[0].text.split(" = ")[1]: (p.get("class"), p.get("style")) for p in paths}
    side = "positive" if strongest > 0 else "negative"
    assert look[f"{strongest:.4g}"] == (f"line-{side}", "stroke-width:4.00;stroke-opacity:1.00")
    for value in weights:
        assert look[f"{value:.4g}"][0] == ("line-positive" if value > 0 else "line-negative")


def test_with_data_edges_show_gradients_and_units_mean_values():
    net = xor()
    drawing = net.draw(XOR_X, XOR_Y, loss="squared_error")
    seen = net.backprop(XOR_X, XOR_Y, loss="squared_error")
    shown = notes(drawing)
    for name in ("dense_1.weight", "dense_2.weight"):
        for (i, j), value in np.ndenumerate(seen.gradients[name]):
            (note,) = [n for n in shown if n.startswith(f"{name}[{i}, {j}] = ")]
            assert note.endswith(f"derivative of the loss by the weight {value:.4g}")
    for unit, value in enumerate(seen["a1"].mean(axis=0)):
        assert f"unit {unit}\nvalue {value:.4g}" in shown
        assert f"{value:.2f}" in texts(drawing)
    assert "means over 4 samples" in drawing.description


def test_large_layers_are_drawn_in_part():
    net = nn.Network([nn.Dense(32), "sigmoid", nn.Dense(10)], input_shape=64, seed=0)
    drawing = net.draw(show="neurons")
    lines = texts(drawing)
    assert "54 more" in lines
    assert "22 more" in lines
    assert {"x1", "x8", "x63", "x64", "ŷ1", "ŷ10"} <= set(lines)
    assert "x9" not in lines
    assert "dense_1" in list(faces(net.draw().level))  # where nobody asks, as layers


def test_layers_show_call_shape_and_number_of_parameters():
    net = nn.Network(nn.models.lenet(10), input_shape=(28, 28, 1), seed=0)
    lines = texts(net.draw())
    assert "Conv2D(6, 5, padding='same')" in lines
    assert "z1 (N, 28, 28, 6)" in lines
    assert "156 parameters" in lines
    assert "48,120 parameters" in lines
    assert "61,706 parameters" in net.draw().description
    assert list(faces(net.draw().level)) == ["x", *(layer.name for layer in net.layers)]


def test_branches_are_shown_as_branches():
    net = nn.Network([nn.Residual([nn.Dense(4), "relu", nn.Dense(4)])], input_shape=4, seed=0)
    level = net.draw().level
    assert list(faces(level)) == ["x", "residual_1", "x", "dense_1", "relu_1", "dense_2",
                                  "residual_1 = x + z2"]  # fmt: skip
    (residual,) = [node for node in level.nodes if node.is_open]
    names = [node.lines[0].text for node in residual.inner.nodes]
    joined = {(names[e.source], names[e.target]) for e in residual.inner.edges}
    assert ("x", "residual_1 = x + z2") in joined
    assert ("dense_2", "residual_1 = x + z2") in joined


def test_a_layer_that_is_called_twice_stands_twice():
    def twice(x, dense):
        return dense(np.tanh(dense(x)))

    net = nn.Network([nn.Combine(twice, dense=nn.Dense(3))], input_shape=3, seed=0)
    assert list(faces(net.draw().level)).count("dense") == 2
    seen = net.draw(np.ones((2, 3)), np.ones((2, 3)), loss="squared_error", backward=True)
    assert ET.fromstring(seen.svg) is not None


def every_kind():
    return {
        "attention": ([nn.MultiHeadAttention(2), nn.Dense(2)], (5, 4)),
        "batch norm": ([nn.Conv2D(2, 3), nn.BatchNorm(), "relu", nn.Flatten(), nn.Dense(2)],
                       (6, 6, 1)),
        "dropout": ([nn.Dense(4), nn.Dropout(0.5), nn.Dense(2)], (3,)),
        "gru": ([nn.GRU(3, return_sequences=True), nn.Dense(2)], (4, 2)),
        "no bias": ([nn.Dense(2, use_bias=False)], (3,)),
        "a function": ([nn.Dense(2), lambda x: np.where(x > 0, x, 0.1 * x)], (3,)),
        "stack": ([nn.Stack([nn.Dense(3), "tanh"]), nn.Dense(2)], (3,)),
    }  # fmt: skip


@pytest.mark.parametrize("name", every_kind())
@pytest.mark.parametrize("show", [None, "layers", "graph"])
def test_every_kind_of_layer_is_drawn_with_and_without_data(name, show):
    layers, shape = every_kind()[name]
    net = nn.Network(layers, input_shape=shape, seed=0)
    before = net.parameters.flat.copy()
    x = np.random.default_rng(0).random((3, *shape))
    y = np.zeros((3, *net.output_shape))
    pictures = [net.draw(x, y, loss="squared_error", show=show, seed=0)]
    pictures.append(net.draw(x, y, loss="squared_error", show=show, seed=0, backward=show != None))  # noqa: E711
    if show != "graph":
        pictures += [net.draw(show=show), net.draw(x, show=show)]
    for picture in pictures:
        assert ET.fromstring(picture.svg).get("role") == "img"
    assert (net.parameters.flat == before).all()


def test_a_layer_that_decides_by_values_is_drawn():
    class Decides(nn.Layer):
        def forward(self, x, parameters, context):
            return x if float(x.sum()) > 1 else -x

    net = nn.Network([nn.Dense(20), Decides()], input_shape=3, seed=0)
    assert "z1 (N, 20)" in texts(net.draw())
    assert "decides_1" in list(faces(net.draw(np.ones((2, 3))).level))


def test_whole_numbers_as_inputs():
    net = nn.Network([nn.Embedding(10, 4), nn.LSTM(3), nn.Dense(2)], seed=0)
    assert "embedding_1" in texts(net.draw(np.array([[1, 2, 3], [4, 5, 6]])))
    assert "z1 (N, 3, 4)" in texts(net.draw())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: net.draw(y=XOR_Y), "targets y came without inputs"),
        (lambda net: net.draw(show="graph"), "the graph came without inputs"),
        (lambda net: net.draw(XOR_X, show="graph"), "give targets y"),
        (lambda net: net.draw(XOR_X, backward=True), "give targets y"),
        (lambda net: net.draw(show="neuron"), "one of 'neurons', 'layers' and 'graph'"),
        (lambda _: nn.Network([nn.Dense(2)]).draw(), "not built"),
        (lambda _: nn.Network([nn.Flatten()], input_shape=(2, 2)).draw(show="neurons"),
         "not drawn as neurons"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_what_to_do(call, words):
    with pytest.raises(ValueError, match=words):
        call(xor())


def test_a_network_that_is_not_built_is_built_for_its_data():
    net = nn.Network([nn.Dense(2)], seed=0)
    assert "6 parameters" in net.draw(XOR_X).description
    assert net.input_shape == (2,)


def test_both_ways_of_the_fourth_publication():
    # y = σ(W x + b): values that flow back through the graph, and a graph of their derivatives
    from chainrule.experiments.e12_computation_graphs import unit

    W, x, b = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 2.0]]), np.array([1.0, 0.5, -1.0]), np.ones(2)
    numbers = cr.draw(unit, W, x, b)
    graph = cr.draw(unit, W, x, b, backward=True)
    rules = {node.lines[1].text for node in graph.level.nodes if node.style == "backward"}
    assert {"∂sigmoid", "∂+", "∂@"} <= rules
    y = 1 / (1 + np.exp(-(W @ x + b)))
    slope = y * (1 - y)
    words = " ".join(f"{value:.4g}" for value in slope)
    assert f"d_b = [{words}]" in texts(numbers)
    assert f"[{words}]" in texts(graph)


@pytest.mark.filterwarnings("ignore:.*compiler")
def test_the_pictures_of_the_docs_are_those_its_examples_make(tmp_path, monkeypatch):
    docs = Path(__file__).parents[1] / "docs"
    page = (docs / "draw.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(code, namespace)
    made = {path.name for path in tmp_path.iterdir()}
    kept = {path.name for path in (docs / "pictures").glob("*.svg")}
    assert made <= kept
    assert made == set(re.findall(r"\(pictures/(\S+\.svg)\)", page))
    for name in made:  # but for numbers, which another machine may round otherwise
        old, new = (
            [re.sub(r"-?\d[\d.e-]*", "#", text) for text in svg_texts(folder / name)]
            for folder in (docs / "pictures", tmp_path)
        )
        assert sorted(old) == sorted(new), f"{name}: run python tools/draw_pictures.py"


def svg_texts(path):
    return ["".join(t.itertext()) for t in ET.parse(path).iter(f"{SVG}text")]


# The command


def run(*words):
    return CliRunner().invoke(make_app(), [str(word) for word in words])


def test_the_command_draws_what_train_would_begin_with(tmp_path):
    result = run("draw", "iris", "--output", tmp_path / "iris.svg")
    assert result.exit_code == 0, result.output
    assert "written to" in result.stderr
    svg = (tmp_path / "iris.svg").read_text(encoding="utf-8")
    assert "Network(4-8-3, tanh)" in svg
    result = run("draw", "digits", "--show", "graph", "--backward", "--output", tmp_path / "d.html")
    assert result.exit_code == 0, result.output
    assert "∂@" in (tmp_path / "d.html").read_text(encoding="utf-8")
    result = run("draw", "iris", "--samples", "3", "--output", tmp_path / "iris.png")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["irsi"], "did you mean 'iris'?"),
        (["iris", "--output", "a.jpg"], "its suffix says the format"),
        (["iris", "--show", "neuron"], "did you mean 'neurons'?"),
        (["digits", "--model", "convnet", "--show", "neurons"], "not drawn as neurons"),
    ],
)
def test_the_command_says_what_is_wrong(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("draw", *words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not list(tmp_path.iterdir())


# The script

PROBE = """
setTimeout(function () {
  var face = Array.from(document.querySelectorAll("g.face")).find(function (face) {
    return face.querySelector("text").textContent === "dense_1";
  });
  function places() {
    return Array.from(document.querySelectorAll("g.level > g.node")).map(function (node) {
      return node.getAttribute("transform");
    });
  }
  var svg = document.querySelector("svg"), before = places(), size = svg.getAttribute("height");
  face.querySelector("text").dispatchEvent(new MouseEvent("click", {bubbles: true}));
  var opened = places(), tall = svg.getAttribute("height");
  face.parentNode.querySelector("g.header text").dispatchEvent(
    new MouseEvent("click", {bubbles: true}));
  document.body.textContent = "PROBE" + JSON.stringify(
    [before, opened, places(), Number(size), Number(tall), Number(svg.getAttribute("height"))]);
}, 50);
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs a browser")
def test_the_script_opens_as_python_does(tmp_path):
    net = xor()
    record = net.backprop(XOR_X, XOR_Y, loss="squared_error")
    closed = cr.draw(record, backward=True, fold="layers")
    opened = cr.draw(record, backward=True, fold="layers", opened=["dense_1"])
    page = tmp_path / "page.html"
    page.write_text(closed.html.replace("</body>", f"<script>{PROBE}</script></body>"), "utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu",
               "--virtual-time-budget=2000", "--dump-dom", page.as_uri()]  # fmt: skip
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    before, after, again, size, tall, last = json.loads(out.split("PROBE")[1].split("</body>")[0])
    numbers = lambda places: np.array([p[10:-1].split() for p in places if p], float)
    assert np.allclose(numbers(before), numbers(again), atol=0.2)
    assert size == pytest.approx(last, abs=0.2)
    assert tall == pytest.approx(opened.size[1], abs=0.5)
    tree = ET.fromstring(opened.svg)
    nodes = [g for g in tree.iter(f"{SVG}g") if (g.get("class") or "").startswith("node")]
    assert np.allclose(numbers(after), numbers([g.get("transform") for g in nodes]), atol=0.3)


def test_gradients_are_those_with_the_penalty():
    net = nn.Network([nn.Dense(1, weight=[[2.0]], use_bias=False)], dtype=float)
    x, y = [[1.0]], [[2.0]]
    plain = net.draw(x, y, loss="squared_error", show="neurons").svg
    penalised = net.draw(x, y, loss="squared_error", penalty=nn.L2(3.0), show="neurons").svg
    gradient = net.backprop(x, y, loss="squared_error", penalty=nn.L2(3.0)).gradients
    assert plain != penalised
    assert f">{float(gradient['dense_1.weight'][0, 0]):.4g}<" in penalised
