"""Progress: few plain lines without control characters elsewhere, a bar on a terminal."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from chainrule import nn
from chainrule.training import progress
from chainrule.training.fit import fit
from chainrule.training.progress import BarProgress, PlainProgress, make_progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by hand."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress, "perf_counter", lambda: Clock.now)
    return Clock


def small_fit(**options):
    x = np.arange(12.0)[:, None] / 12
    net = nn.Network([nn.Dense(1)], seed=0)
    return fit(net, x, 2 * x, loss="squared_error", optimizer="sgd", batch_size=4, **options)


@pytest.mark.parametrize("epochs", [1, 3, 20, 21, 500])
def test_plain_lines_are_few_and_plain(capsys, epochs):
    small_fit(epochs=epochs, validation_split=0.25)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert min(epochs, 20) <= len(lines) <= min(epochs, 21)
    assert all(line.isprintable() for line in lines)
    assert lines[0].split()[:2] == ["epoch", f"1/{epochs}"] or epochs >= 10
    assert lines[-1].startswith(f"epoch {epochs}/{epochs}  loss ")
    assert "val_loss" in lines[-1]
    assert "learning_rate" not in lines[-1]
    assert "left" in lines[0] or epochs == 1
    assert "left" not in lines[-1]


def test_silence(capsys):
    small_fit(epochs=3, verbose=0)
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_is_told(capsys):
    class Interrupt:
        def on_epoch_end(self, run):
            raise KeyboardInterrupt

    small_fit(epochs=3, callbacks=[Interrupt()])
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted after 1 of 3 epochs")


@pytest.mark.parametrize("note", ["", "enough"])
def test_a_run_that_ends_early_tells_its_last_epoch(capsys, note):
    class Stop:
        def on_epoch_end(self, run):
            if run.epoch == 7:  # which is no milestone of 500
                run.stop("early_stopping")
                if note:
                    run.note(note)

    small_fit(epochs=500, callbacks=[Stop()])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (3 if note else 2)
    assert lines[0].startswith("epoch   1/500  loss ")
    assert lines[1].startswith("epoch   7/500  loss ")
    assert lines[2:] == ([note] if note else [])
    assert ("left" in lines[1]) == bool(note)  # with a note the line comes before the end is known


def test_rate_and_time_left(clock):
    stream = io.StringIO()
    shown = PlainProgress(stream)
    shown.begin(epochs=4, n_samples=1000)
    clock.now += 2.0
    shown.end_epoch(1, {"loss": 0.25, "learning_rate": 0.1})
    clock.now += 6.0
    shown.end_epoch(4, {"loss": 0.125})
    assert stream.getvalue().splitlines() == [
        "epoch 1/4  loss 0.25  500 samples/s, 6.0 s left",
        "epoch 4/4  loss 0.125  500 samples/s, 8.0 s",
    ]


def test_slow_epochs_get_a_line_a_minute(clock):
    stream = io.StringIO()
    shown = PlainProgress(stream)
    shown.begin(epochs=2, n_samples=36_000)
    for share in (0.25, 0.5, 0.75):
        clock.now += 45.0
        shown.update(1, share, 0.5)
    assert stream.getvalue().splitlines() == [
        "epoch 1/2  50%  loss 0.5  200 samples/s, 4 min 30 s left"
    ]
    clock.now += 7200.0
    shown.update(1, 0.8, 0.5)
    assert stream.getvalue().splitlines()[1].endswith("3.93 samples/s, 3 h 03 min left")


def test_slow_epochs_between_milestones_get_a_line(clock):
    stream = io.StringIO()
    shown = PlainProgress(stream)
    shown.begin(epochs=1000, n_samples=10)
    for epoch in range(1, 12):
        clock.now += 30.0
        shown.end_epoch(epoch, {"loss": 1.0})
    written = [int(line.split()[1].split("/")[0]) for line in stream.getvalue().splitlines()]
    assert written == [1, 3, 5, 7, 9, 11]


def test_the_bar_on_a_terminal():
    console = pytest.importorskip("rich.console")
    stream = Terminal()
    shown = BarProgress(
        stream, console.Console(file=stream, force_terminal=True, width=100, color_system=None)
    )
    shown.begin(epochs=2, n_samples=100)
    shown.update(1, 0.5, 0.7)
    shown._next_refresh = 0.0
    shown.end_epoch(1, {"loss": 0.5, "accuracy": 0.75})
    shown.note("[a note]")
    shown.close()
    text = stream.getvalue()
    for piece in ("epoch 1/2", "loss 0.7", "25 %", "50 %", "accuracy 0.75", "left", "[a note]"):
        assert piece in text
    assert "\x1b[" in text


def test_fit_draws_a_bar_on_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    small_fit(epochs=3)
    assert "epoch 3/3" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_which_progress(monkeypatch):
    pytest.importorskip("rich")
    assert make_progress(0, Terminal()) is None
    assert isinstance(make_progress("auto", Terminal()), BarProgress)
    assert isinstance(make_progress(1, Terminal()), BarProgress)
    assert isinstance(make_progress(2, Terminal()), PlainProgress)
    for verbose in ("auto", 1, 2):
        assert isinstance(make_progress(verbose, io.StringIO()), PlainProgress)
    with pytest.raises(ValueError, match="verbose is 'yes'"):
        make_progress("yes")
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert isinstance(make_progress("auto", Terminal()), PlainProgress)
    with pytest.raises(ImportError, match=r'pip install "chainrule\[cli\]"'):
        BarProgress(Terminal())
