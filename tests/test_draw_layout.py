"""The layered layout: nothing overlaps, edges go down, equal graphs give equal pictures."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import combinations, pairwise

import numpy as np
import pytest

from chainrule.see.draw.arrange import arrange, stretch
from chainrule.see.draw.layout import lay_out
from chainrule.see.draw.level import Edge, Level, Node, TextLine
from chainrule.see.draw.order import count_crossings, ordered
from chainrule.see.draw.ranks import ranks_of, topological_order
from chainrule.see.draw.shapes import Box, Group


def random_graph(seed):
    """Sizes and edges of a graph without cycles, of all sorts of density."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    share = rng.uniform(0.02, 0.4)
    edges = [(i, j) for i in range(n) for j in range(i + 1, n) if rng.random() < share]
    order = rng.permutation(n)
    edges = [(int(order[i]), int(order[j])) for i, j in edges]
    sizes = [(float(w), float(h)) for w, h in rng.uniform(5, 200, (n, 2))]
    return sizes, edges


def overlaps(one, other, slack=1e-6):
    (x, y, w, h), (u, v, s, t) = one, other
    return abs(x - u) < (w + s) / 2 - slack and abs(y - v) < (h + t) / 2 - slack


def boxes_of(sizes, layout):
    return [(x, y, w, h) for (x, y), (w, h) in zip(layout.middles, sizes)]


@pytest.mark.parametrize("seed", range(25))
def test_no_boxes_overlap_and_edges_lead_down_from_border_to_border(seed):
    sizes, edges = random_graph(seed)
    layout = lay_out(sizes, edges)
    boxes = boxes_of(sizes, layout)
    assert not [pair for pair in combinations(boxes, 2) if overlaps(*pair)]
    for x, y, w, h in boxes:
        assert min(x - w / 2, layout.width - x - w / 2) > -1e-6
        assert min(y - h / 2, layout.height - y - h / 2) > -1e-6
    for (source, target), route in zip(edges, layout.routes):
        top, bottom = boxes[source], boxes[target]
        assert top[1] + top[3] / 2 < bottom[1] - bottom[3] / 2
        assert route[0][1] == pytest.approx(top[1] + top[3] / 2)
        assert route[-1][1] == pytest.approx(bottom[1] - bottom[3] / 2)
        assert abs(route[0][0] - top[0]) <= top[2] / 2
        assert abs(route[-1][0] - bottom[0]) <= bottom[2] / 2
        assert len(route) % 3 == 1
        assert all(a[1] <= b[1] + 1e-6 for a, b in pairwise(route))


@pytest.mark.parametrize("seed", range(25))
def test_edges_pass_no_box_but_those_they_join(seed):
    sizes, edges = random_graph(seed)
    layout = lay_out(sizes, edges)
    for ends, route in zip(edges, layout.routes):
        for i in range(0, len(route) - 1, 3):
            for t in np.linspace(0, 1, 8):
                weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                x, y = weights @ np.array(route[i : i + 4])
                for node, box in enumerate(boxes_of(sizes, layout)):
                    assert node in ends or not overlaps((x, y, 0, 0), box, slack=1e-3)


@pytest.mark.parametrize("seed", range(30))
def test_edges_up_and_within_a_row_are_drawn_from_border_to_border(seed):
    sizes, edges = random_graph(seed)
    rng = np.random.default_rng(seed)
    ranks = [int(rank) for rank in rng.integers(0, 6, len(sizes))]
    sides = [int(side) for side in rng.integers(0, 2, len(sizes))]
    layout = lay_out(sizes, edges, ranks=ranks, sides=sides)
    boxes = boxes_of(sizes, layout)
    assert not [pair for pair in combinations(boxes, 2) if overlaps(*pair)]
    for (source, target), route in zip(edges, layout.routes):
        for (x, y), (u, v, w, h) in ((route[0], boxes[source]), (route[-1], boxes[target])):
            assert abs(x - u) <= w / 2 + 1e-6
            assert abs(y - v) <= h / 2 + 1e-6
            assert abs(x - u) == pytest.approx(w / 2) or abs(y - v) == pytest.approx(h / 2)
    for one, other in combinations(range(len(sizes)), 2):
        if ranks[one] == ranks[other] and sides[one] < sides[other]:
            assert boxes[one][0] < boxes[other][0]


@pytest.mark.parametrize("seed", range(40))
def test_ranks_are_those_of_longest_paths_or_shorter_edges(seed):
    sizes, edges = random_graph(seed)
    ranks = ranks_of(len(sizes), edges)
    assert all(ranks[source] < ranks[target] for source, target in edges)
    depth = [0] * len(sizes)
    for node in topological_order(len(sizes), edges):
        depth[node] = max((depth[s] + 1 for s, t in edges if t == node), default=0)
    assert max(ranks) <= max(depth)
    length = sum(ranks[t] - ranks[s] for s, t in edges)
    assert length <= sum(depth[t] - depth[s] for s, t in edges)


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="no cycles, but 2 nodes"):
        lay_out([(1, 1)] * 3, [(0, 1), (1, 2), (2, 1)])


@pytest.mark.parametrize("seed", range(40))
def test_ordering_never_adds_crossings(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 8, 5)
    rows, above, number = [], [], 0
    for size in sizes:
        rows.append(list(range(number, number + size)))
        before = rows[-2] if len(rows) > 1 else []
        above += [[b for b in before if rng.random() < 0.5] for _ in range(size)]
        number += int(size)
    new = ordered(rows, above, [0] * number)
    assert [sorted(row) for row in new] == rows
    assert count_crossings(new, above) <= count_crossings(rows, above)
    assert count_crossings(ordered(new, above, [0] * number), above) <= count_crossings(new, above)
    place = {node: i for row in new for i, node in enumerate(row)}
    edges = [(b, node) for row in new for node in row for b in above[node]]
    crossings = sum(
        (place[a] - place[c]) * (place[b] - place[d]) < 0
        for (a, b), (c, d) in combinations(edges, 2)
        if any(b in row and d in row for row in new)
    )
    assert count_crossings(new, above) == crossings


def test_crossings_that_can_go_do_go():
    rows, above = [[0, 1, 2], [3, 4, 5]], [[], [], [], [2], [1], [0]]
    assert count_crossings(rows, above) == 3
    assert count_crossings(ordered(rows, above, [0] * 6), above) == 0


def test_a_chain_stands_on_one_line_and_so_does_its_bypass():
    layout = lay_out([(40, 20)] * 6, [*pairwise(range(6)), (0, 5)])
    bypass = layout.routes[-1]
    straight = bypass[3:-3]
    assert len({round(x, 6) for x, _ in straight}) == 1
    assert len({round(x, 3) for x, _ in layout.middles}) <= 2


def test_nothing_and_one():
    assert lay_out([], []).middles == ()
    assert lay_out([(30.0, 10.0)], []).middles == ((15.0, 5.0),)


@pytest.mark.parametrize("seed", range(20))
def test_stretching_keeps_distances_and_gives_each_its_room(seed):
    rng = np.random.default_rng(seed)
    intervals = [(float(a), float(b), float(c)) for a, b, c in rng.uniform(0.1, 50, (6, 3))]
    to = stretch(intervals)
    at = np.sort(rng.uniform(-20, 120, 50))
    moved = np.array([to(x) for x in at])
    assert (np.diff(moved) >= np.diff(at) - 1e-9).all()
    for start, length, growth in intervals:
        assert to(start + length) - to(start) >= length + growth - 1e-9


def rectangles(group, x=0.0, y=0.0):
    """The boxes that are shown, at their places; those of an opened node without their frame."""
    for part in group.parts:
        if isinstance(part, Group) and not part.is_hidden:
            yield from rectangles(part, x + part.x, y + part.y)
        elif isinstance(part, Box) and part.style == "forward":
            yield (
                x + part.x + part.width / 2,
                y + part.y + part.height / 2,
                part.width,
                part.height,
            )


def nested(rng, depth):
    sizes, edges = random_graph(int(rng.integers(1000)))
    nodes = []
    for number, _ in enumerate(sizes):
        inner = nested(rng, depth - 1) if depth and rng.random() < 0.2 else None
        lines = (TextLine(f"node {number}" * int(rng.integers(1, 3))),)
        is_open = inner is not None and bool(rng.random() < 0.7)
        nodes.append(Node(lines, "forward", inner=inner, is_open=is_open))
    return Level(tuple(nodes), tuple(Edge(s, t) for s, t in edges), to_the_right=rng.random() < 0.5)


@pytest.mark.parametrize("seed", range(8))
def test_opened_nodes_overlap_nothing(seed):
    picture = arrange(nested(np.random.default_rng(seed), 2))
    boxes = list(rectangles(picture.shapes))
    sheets = 8.0  # a box that opens shows two sheets, 3 pixels apart
    wrong = [
        (one, other)
        for one, other in combinations(boxes, 2)
        if overlaps(one, other) and abs(one[0] - other[0]) + abs(one[1] - other[1]) > sheets
    ]
    assert not wrong
    for x, y, w, h in boxes:
        assert min(x - w / 2, picture.width - x - w / 2) > -1e-6
        assert min(y - h / 2, picture.height - y - h / 2) > -1e-6


def test_the_picture_does_not_depend_on_the_order_of_hashes():
    code = (
        "import numpy as np\n"
        "from chainrule import nn\n"
        "net = nn.Network([nn.Residual([nn.Dense(4), 'relu', nn.Dense(4)]), nn.LSTM(3),"
        " nn.Dense(2)], seed=0)\n"
        "x, y = np.ones((2, 3, 4)), np.ones((2, 2))\n"
        "a = net.draw(x, y, loss='squared_error', show='graph', backward=True)\n"
        "b = net.draw()\n"
        "import hashlib; print(hashlib.sha256((a.svg + b.svg).encode()).hexdigest())\n"
    )
    command = [sys.executable, "-c", code]
    made = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(made) == 1


def grid(side):
    down = [(i * side + j, (i + 1) * side + j) for i in range(side - 1) for j in range(side)]
    right = [(i * side + j, i * side + j + 1) for i in range(side) for j in range(side - 1)]
    return side * side, down + right


def scattered(n, n_edges):
    rng = np.random.default_rng(0)
    pairs = {tuple(sorted(map(int, rng.choice(n, 2, replace=False)))) for _ in range(n_edges)}
    return n, sorted(pairs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "edges"),
    [(3000, list(pairwise(range(3000)))), grid(55), scattered(3000, 4500)],
    ids=["chain", "grid", "scattered"],
)
def test_three_thousand_nodes_take_seconds(n, edges):
    start = time.perf_counter()
    layout = lay_out([(80.0, 40.0)] * n, edges)
    assert time.perf_counter() - start < 20  # 0.3 to 1.5 where it was written
    assert len(layout.middles) == n
