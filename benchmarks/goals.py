"""The goals: what was wanted, what was measured, whether it holds."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from rows import Row, best, fastest, ours, peers, ratio, side_of
from works import GRID, WORKS

CONVOLUTIONS = tuple(name for name in WORKS if name.startswith("convolution-"))
WANTED_ACCURACY = 0.990

Works = dict[str, list[Row]]  # those measured, each side with its best number of threads
Check = Callable[[list[Row], Row], tuple[str, bool]]  # (rows, our own) -> measured, met


def numbers_of(convolution: str) -> str:
    """Channels in, size, channels out, kernel, as the name of a convolution's work has them."""
    return f"({', '.join(convolution.split('-')[1:])})"


def goals(results: dict[str, Any]) -> str:
    """A Markdown table of the goals of the engine that prints C; of those that were measured."""
    works = _measured(results)
    lines = ["| goal | measured | met |", "|---|---|---|"]
    for name, goal, check in GOALS:
        if name not in works:
            continue
        own = ours(works[name], "c") or side_of(works[name], "chainrule:reproduce")
        measured, met = check(works[name], own) if own else ("C has no form of it", False)
        lines.append(f"| {goal} | {measured} | {'yes' if met else '**no**'} |")
    if any(name in works for name in GRID):
        measured, met = _every_point(works)
        lines.append(
            f"| every work of the grid: ahead of PyTorch and of JAX, `lax.scan` | {measured} "
            f"| {'yes' if met else '**no**'} |"
        )
    return "\n".join(lines)


def _measured(results: dict[str, Any]) -> Works:
    return {name: best(work["sides"]) for name, work in results.get("works", {}).items()}


def _all(*checks: Check) -> Check:
    """Several things to say of one goal, all of which must hold."""

    def check(rows: list[Row], own: Row) -> tuple[str, bool]:
        said, met = zip(*(one(rows, own) for one in checks), strict=True)
        return "; ".join(said), all(met)

    return check


def _at_most(limit: float, factor: float, unit: str) -> Check:
    def check(rows: list[Row], own: Row) -> tuple[str, bool]:
        value = factor * median(own["values"])
        return f"{value:.3g} {unit}", value <= limit

    return check


def _ahead(times: float, *names: str) -> Check:
    """The fastest of these sides, or of all peers, takes at least so many times ours."""

    def check(rows: list[Row], own: Row) -> tuple[str, bool]:
        row = fastest(peers(rows, *names))
        if row is None:
            return "its peers were not measured", False
        found = ratio(row, own)
        return f"{row['label']} takes {found:.2f} times ours", found >= times

    return check


def _of_side(limit: float, name: str, what: str) -> Check:
    """We take at most so many times what a side takes."""

    def check(rows: list[Row], own: Row) -> tuple[str, bool]:
        row = side_of(rows, name)
        if row is None:
            return f"{what} was not measured", False
        found = ratio(own, row)
        return f"{found:.2f} times {what}", found <= limit

    return check


def _compiled(limit: float, side: str) -> Check:
    """A compile time, and that SciPy was not imported for it."""

    def check(rows: list[Row], own: Row) -> tuple[str, bool]:
        row = side_of(rows, side)
        if row is None:
            return "not measured", False
        seconds = median(row["values"])
        said = f"{1e3 * seconds:.0f} ms{', SciPy imported' if row['scipy'] else ''}"
        return said, seconds <= limit and not row["scipy"]

    return check


_PRODUCTS = "numpy:products", "its products"
_TORCH = "torch:eager", "torch:compile"
_MEMORY = "chainrule:fit", "the NumPy engine's"


def _held(rows: list[Row], own: Row) -> tuple[str, bool]:
    return str(own["includes"]), bool(own["held"])


def _every_point(works: Works) -> tuple[str, bool]:
    """How many works of the grid are ahead, and which are not."""
    points = [name for name in GRID if name in works]
    behind = []
    for name in points:
        own = ours(works[name], "c")
        rivals = peers(works[name], *_TORCH, "jax:scan")
        times = [(ratio(row, own), row["label"]) for row in rivals] if own else [(0.0, "no C")]
        least, label = min(times, default=(0.0, "no peers"))
        if least < 1:
            behind.append(f"{name} ({label}: {least:.2f})")
    said = f"ahead in {len(points) - len(behind)} of {len(points)}"
    return said + (f"; behind in {', '.join(behind)}" if behind else ""), not behind


GOALS: tuple[tuple[str, str, Check], ...] = (
    (
        "e4",
        "one sample a step (E4's network): at most 0.8 µs, ahead of JAX, `lax.scan`, by 1.5, of "
        "PyTorch eager by 100",
        _all(_at_most(0.8, 1e6, "µs"), _ahead(1.5, "jax:scan"), _ahead(100, "torch:eager")),
    ),
    ("xor", "XOR, 20 000 epochs of 4 samples: at most 0.05 s", _at_most(0.05, 80e3, "s")),
    (
        "e10",
        "196-100-50-10, batch 64: at most 1.2 times its products, ahead of each peer by 1.3",
        _all(_of_side(1.2, *_PRODUCTS), _ahead(1.3)),
    ),
    (
        "wide",
        "784-512-512-10, Adam: at most 1.15 times its products, ahead of JAX, `lax.scan`",
        _all(_of_side(1.15, *_PRODUCTS), _ahead(1, "jax:scan")),
    ),
    (
        "lenet",
        "LeNet-5, batch 64: at most 0.6 of PyTorch's time",
        _ahead(1 / 0.6, *_TORCH),
    ),
    *(
        (
            name,
            f"convolution {numbers_of(name)}, value and both gradients: ahead of PyTorch",
            _ahead(1, "torch:convolve", "torch:channels-last"),
        )
        for name in CONVOLUTIONS
    ),
    ("batch-norm", "convolutions 32, 64 with batch norm: ahead of PyTorch", _ahead(1, *_TORCH)),
    ("lstm", "LSTM 128 over 28 steps, batch 64: ahead of PyTorch", _ahead(1, *_TORCH)),
    ("predict", "`predict` of one row 10-32-3: at most 3 µs", _at_most(3, 1e6, "µs")),
    (
        "compile",
        "compiling an MLP, without importing SciPy: at most 0.4 s",
        _compiled(0.4, "chainrule:c-step"),
    ),
    (
        "compile-lenet",
        "compiling LeNet-5, without importing SciPy: at most 1 s",
        _compiled(1.0, "chainrule:c-step"),
    ),
    (
        "compile",
        "the MLP from the cache, without importing SciPy: at most 10 ms",
        _compiled(0.01, "chainrule:c-step-cached"),
    ),
    ("memory", "peak memory: at most the NumPy engine's", _of_side(1, *_MEMORY)),
    ("reproduce", "`chainrule reproduce` whole: at most 45 s", _all(_at_most(45, 1, "s"), _held)),
)


# The engine that prints NumPy


def goals_of_numpy(results: dict[str, Any]) -> str:
    """A Markdown table of the goals of the engine that prints NumPy."""
    works = _measured(results)
    lines = ["| goal | measured | holds |", "|---|---|---|"]
    for name, check in GOALS_OF_NUMPY:
        rows = works.get(name, [])
        if ours(rows, "numpy") is None or len(rows) <= (name not in ("reproduce", "xor")):
            continue
        goal, measured, holds = check(rows)
        lines.append(f"| {goal} | {measured} | {'yes' if holds else '**no**'} |")
    return "\n".join(lines)


def _ours(rows: list[Row]) -> Row:
    own = ours(rows, "numpy")
    assert own is not None
    return own


def _faster(rows: list[Row], *names: str) -> tuple[str, float]:
    """How we stand beside the fastest of these sides (of all that train, if none are named)."""
    row = fastest(peers(rows, *names))
    if row is None:
        return "its peers were not measured", 0.0
    times = ratio(row, _ours(rows))
    return f"{row['label']} takes {times:.2f} times ours", times


def _e10(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows)
    peers = len({row["peer"] for row in rows} - {"chainrule"})
    return f"E10's network inside `fit`: ahead of each of {peers} peers", said, times > 1


def _floor(rows: list[Row]) -> tuple[str, str, bool]:
    products = side_of(rows, "numpy:products")
    times = ratio(_ours(rows), products) if products else float("inf")
    return (
        "the same: at most 1.5 times its matrix products alone",
        f"{times:.2f} times",
        times < 1.5,
    )


def _e4_numpy(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "numpy:by-hand")
    tuned, _ = _faster(rows, "numpy:tuned")
    goal = "E4's network inside `fit`: 1.5 times as fast as NumPy by hand"
    return goal, f"{said}; {tuned}", times >= 1.5


def _e4_torch(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:eager")
    return "the same: 20 times as fast as PyTorch eager", said, times >= 20


def _wide(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:eager", "torch:compile", "jax:scan")
    return "784-512-512-10 inside `fit`: as fast as PyTorch and JAX", said, times >= 1


def _around(network: str) -> Any:
    def check(rows: list[Row]) -> tuple[str, str, bool]:
        epochs, step = side_of(rows, "chainrule:epochs"), side_of(rows, "chainrule:step")
        assert epochs is not None
        assert step is not None
        more = 100 * (ratio(epochs, step) - 1)
        call = 100 * (ratio(_ours(rows), step) - 1)
        measured = f"{more:+.1f} % ({call:+.1f} % with the start of `fit`)"
        return f"`fit` around the bare step of {network}: at most 5 % more", measured, more <= 5

    return check


def _below(goal: str, limit: float, factor: float, unit: str) -> Any:
    def check(rows: list[Row]) -> tuple[str, str, bool]:
        value = factor * median(_ours(rows)["values"])
        return f"{goal}: under {limit:g} {unit}", f"{value:.3g} {unit}", value < limit

    return check


def _reproduce(rows: list[Row]) -> tuple[str, str, bool]:
    """A run that is fast because something in it failed does not count."""
    ours = _ours(rows)
    seconds = median(ours["values"])
    measured = f"{seconds:.0f} s; {ours['includes']}"
    return "all of `chainrule reproduce`: under 3 minutes", measured, seconds < 180 and ours["held"]


def _memory(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:eager")
    return "peak memory: no more than PyTorch's", said, times >= 1


def _lenet(rows: list[Row]) -> tuple[str, str, bool]:
    others = ("chainrule:fit", "chainrule:c-fit")
    epochs = [row for row in rows if f"{row['peer']}:{row['side']}" not in others]
    said, times = _faster(epochs, "torch:eager")
    goal = "LeNet-5's step inside `fit`, after the first epoch: as fast as PyTorch eager"
    return goal, said, times >= 1


def _convolution(name: str) -> Any:
    def check(rows: list[Row]) -> tuple[str, str, bool]:
        said, times = _faster(rows, "torch:convolve", "torch:channels-last")
        goal = f"convolution {numbers_of(name)}: at least 0.8 of PyTorch's speed"
        within = (
            "" if times >= 0.8 else f"; {'within' if times >= 0.5 else 'not within'} a factor 2"
        )
        return goal, said + within, times >= 0.8

    return check


def _epoch(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:loader")
    goal = "an epoch of LeNet-5 on MNIST: faster than PyTorch with a `DataLoader`"
    return goal, said, times > 1


def _cold_start(rows: list[Row]) -> tuple[str, str, bool]:
    """A time counts only where every seed came to the wanted accuracy."""
    said, times = _faster(rows)
    reached = all(found[-1] >= WANTED_ACCURACY for found in _ours(rows)["accuracies"])
    said += "" if reached else "; not all of our seeds reached it"
    goal = "LeNet-5 to 0.990 on MNIST from a cold start: ahead of PyTorch and Keras"
    return goal, said, reached and times > 1


_AROUND = {
    name: _around(network)
    for name, network in (("e10", "E10"), ("e4", "E4"), ("wide", "784-512-512-10"))
}

GOALS_OF_NUMPY = (
    ("e10", _e10),
    ("e10", _floor),
    ("e4", _e4_numpy),
    ("e4", _e4_torch),
    ("wide", _wide),
    ("xor", _below("20 000 epochs of XOR", 2, 80e3, "s")),
    ("compile", _below("compiling the step of an MLP", 50, 1e3, "ms")),
    ("predict", _below("`predict` of one row", 10, 1e6, "µs")),
    *_AROUND.items(),
    ("memory", _memory),
    ("lenet", _lenet),
    *((name, _convolution(name)) for name in CONVOLUTIONS),
    ("mnist-epoch", _epoch),
    ("time-to-0.990", _cold_start),
    ("reproduce", _reproduce),
)
