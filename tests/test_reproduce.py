"""The registry and runner of the experiments, and `chainrule reproduce` over made-up ones."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import experiments
from chainrule.cli.console import CommandError
from chainrule.cli.reproduce import reproduce as reproduce_command
from chainrule.data import DamagedFileError, DataNotFoundError
from chainrule.experiments import (
    Experiment,
    Row,
    at_least,
    at_most,
    close,
    exact,
    registry,
    reproduce,
    select,
)
from chainrule.extras import missing_extra


def right(output):
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "picture.svg").write_text("")
    return [Row("E1", "hidden", 0.506, 0.50557, True), Row("E1", "slow", None, "2 to 3", True, 9.0)]


def wrong(_):
    return [Row("E2", "loss", 0.5, 0.7, False)]


def absent(_):
    raise DataNotFoundError("fetch this file")


def damaged(_):
    raise DamagedFileError("this file is cut")


def without_library(_):
    raise missing_extra("this needs scipy", "scipy")


def broken(_):
    raise KeyError("no such thing")


def use(monkeypatch, **runs):
    """Make these the experiments there are."""
    fakes = {
        name: Experiment(name, f"title of {name}", name != "E2", run) for name, run in runs.items()
    }
    monkeypatch.setattr(experiments, "registry", lambda: fakes)


# The registry


def test_every_experiment_is_complete():
    found = registry()
    numbers = [int(name[1:]) for name in found]
    assert numbers == sorted(numbers)
    for name, experiment in found.items():
        assert experiment.name == name
        assert experiment.title
        assert isinstance(experiment.quick, bool)
        assert callable(experiment.run)


def test_select_by_name_and_speed(monkeypatch):
    use(monkeypatch, E1=right, E2=wrong, E13=right)
    assert [e.name for e in select()] == ["E1", "E2", "E13"]
    assert [e.name for e in select(["e13", "E01", "1"])] == ["E13", "E1"]
    assert [e.name for e in select(quick=True)] == ["E1", "E13"]
    assert [e.name for e in select(["E2"], quick=True)] == []
    with pytest.raises(ValueError, match="no experiment 'E133': did you mean 'E13'"):
        select(["E133"])


# The runner


def test_rows_come_one_experiment_at_a_time(monkeypatch):
    use(monkeypatch, E1=right, E2=wrong)
    begun = []
    rows = reproduce(on_begin=lambda experiment: begun.append(experiment.name))
    assert begun == []
    first = next(rows)
    assert begun == ["E1"]
    assert first.quantity == "hidden"
    assert 0 < first.seconds < 5
    seconds = [row.seconds for row in rows]
    assert seconds[0] == 9.0
    assert 0 < seconds[1] < 5
    assert begun == ["E1", "E2"]


def test_an_unknown_name_is_an_error_at_once(monkeypatch):
    use(monkeypatch, E1=right)
    with pytest.raises(ValueError, match="did you mean 'E1'"):
        reproduce(["E11"])


def test_what_is_missing_is_not_run_and_what_is_broken_does_not_hold(monkeypatch):
    use(monkeypatch, E1=absent, E3=without_library, E4=broken, E5=right)
    rows = list(reproduce())
    assert [(row.experiment, row.holds) for row in rows[:3]] == [
        ("E1", None),
        ("E3", None),
        ("E4", False),
    ]
    assert rows[0].measured == "not run: fetch this file"
    assert "chainrule[scipy]" in rows[1].measured
    assert rows[2].measured.startswith("KeyError: 'no such thing' (test_reproduce.py:")
    assert [row.holds for row in rows[3:]] == [True, True]
    use(monkeypatch, E1=damaged)
    assert [(row.holds, row.measured) for row in reproduce()] == [
        (None, "not run: this file is cut")
    ]


def test_another_import_error_is_a_fault(monkeypatch):
    def misspelled(_):
        raise ImportError("cannot import name 'dense' from chainrule[scipy]")

    use(monkeypatch, E1=misspelled)
    assert [row.holds for row in reproduce()] == [False]


# Whether values agree


@given(st.floats(-50, 50), st.integers(0, 6))
def test_a_value_is_exactly_its_own_rounding(value, digits):
    unit = 10.0**-digits
    rounded = round(value, digits)
    cut_off = np.trunc(value / unit) * unit
    assert exact(rounded, value, digits)
    assert exact(cut_off, value, digits) or abs(value) < unit
    assert not exact(rounded + 2 * unit, value, digits)
    assert not exact(rounded - 2 * unit, value, digits)


def test_comparisons():
    assert exact([0.5, 0.25], [0.5, 0.25], digits=7)
    assert exact(-0.378, -0.3789, digits=3)  # cut off
    assert not exact(0.899, 0.9001, digits=3)
    assert not exact(0.899, 0.8984, digits=3)
    assert not exact(-0.899, -0.8984, digits=3)
    assert not exact(0.5, np.nan, digits=1)
    assert close(100.0, 101.0, relative=0.01)
    assert not close(100.0, 101.1, relative=0.01)
    assert close(0.0, 1e-9, absolute=1e-8)
    assert not close(1.0, float("nan"), absolute=10.0)
    assert at_least(0.9, [0.9, 0.95])
    assert not at_least(0.9, [0.95, 0.89])
    assert not at_least(0.9, np.nan)
    assert at_most(0.1, 0.1)
    assert not at_most(0.1, [0.0, 0.2])
    with pytest.raises(ValueError, match=r"\(2,\) against measured shape \(\)"):
        close([1.0, 2.0], 1.0)


# The command


def test_table_and_exit_status(monkeypatch, capsys):
    use(monkeypatch, E1=right, E2=wrong, E3=absent)
    assert reproduce_command([], False, None, False, False) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["experiment", "quantity", "published", "ours", "holds", "seconds"]
    assert lines[1].split()[:5] == ["E1", "hidden", "0.506", "0.50557", "yes"]
    assert "NO" in lines[3]
    assert "fetch this file" in lines[4]
    assert lines[-1] == "2 of 3 rows hold, 1 not run"
    assert err.splitlines() == [f"{name}: title of {name} …" for name in ("E1", "E2", "E3")]
    assert "\x1b" not in out + err
    assert reproduce_command(["E1"], False, None, False, True) == 0
    assert reproduce_command(["E3"], False, None, False, True) == 0  # not run is no failure
    assert capsys.readouterr().err == ""


def test_colours_are_for_terminals_and_no_color_is_respected(monkeypatch, capsys):
    use(monkeypatch, E1=right)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stdout for a terminal
    green = "\x1b[32m"
    reproduce_command([], False, None, False, True)
    assert green in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    reproduce_command([], False, None, False, True)
    assert green not in capsys.readouterr().out


def test_json_has_exactly_the_keys(monkeypatch, capsys):
    use(monkeypatch, E1=right, E3=absent)
    assert reproduce_command([], False, None, True, False) == 0
    rows = json.loads(capsys.readouterr().out)
    keys = ["experiment", "quantity", "published", "measured", "holds", "seconds"]
    assert all(list(row) == keys for row in rows)
    assert [row["holds"] for row in rows] == [True, True, None]
    assert (rows[0]["published"], rows[0]["measured"]) == (0.506, 0.50557)


def test_pictures_go_into_the_folder(monkeypatch, capsys, tmp_path):
    use(monkeypatch, E1=right)
    assert reproduce_command([], False, tmp_path / "new", True, False) == 0
    assert (tmp_path / "new" / "picture.svg").exists()
    assert f"pictures are in {tmp_path / 'new'}" in capsys.readouterr().err


def test_unknown_experiment_is_a_usage_error(monkeypatch):
    use(monkeypatch, E1=right)
    with pytest.raises(CommandError, match="no experiment 'E77'") as error:
        reproduce_command(["E77"], False, None, False, False)
    assert error.value.status == 2


def test_nothing_quick_is_an_empty_table(monkeypatch, capsys):
    use(monkeypatch, E2=wrong)
    assert reproduce_command([], True, None, True, True) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_ctrl_c_ends_all_with_the_rows_so_far(monkeypatch, capsys):
    def slow(_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:  # as `fit` does
            return []
        return []

    use(monkeypatch, E1=right, E2=slow, E3=right)
    before = signal.getsignal(signal.SIGINT)
    assert reproduce_command([], False, None, True, False) == 130
    out, err = capsys.readouterr()
    assert [row["experiment"] for row in json.loads(out)] == ["E1", "E1"]
    assert "interrupted" in err
    assert signal.getsignal(signal.SIGINT) is before
