"""Names that users misspell: one text for all of them, and it stays readable."""

from __future__ import annotations

from pathlib import Path

import pytest

import chainrule as cr
from chainrule import data, nn, optim
from chainrule.experiments import select
from chainrule.gradcheck import check_table
from chainrule.names import did_you_mean, look_up, nearest_name, unknown_name

SRC = Path(cr.__file__).parent

LOOK_UPS = {
    "loss": lambda name: nn.losses.get_loss(name),
    "optimizer": optim.get_optimizer,
    "method": optim.Minimizer,
    "data set": data.load,
    "experiment": lambda name: select([name]),
    "primitive": lambda name: check_table([name]),
}


@pytest.mark.parametrize("what", LOOK_UPS)
def test_every_table_says_the_same_of_a_name_it_does_not_have(what):
    with pytest.raises(ValueError, match=rf"^there is no {what}( named)? 'qqq': the names are \w"):
        LOOK_UPS[what]("qqq")


@pytest.mark.parametrize("name", [["iris"], None, 3, ""])
def test_what_is_no_name_is_refused_like_one_that_is_unknown(name):
    with pytest.raises(ValueError, match="there is no data set"):
        data.load(name)


def test_a_long_name_and_a_long_table_are_cut():
    text = unknown_name("thing", "x" * 10_000, [f"name_{i}" for i in range(1000)])
    assert len(text) < 600
    assert text.endswith("name_39 and 960 more")


def test_the_nearest_is_offered_only_where_one_is_near():
    assert unknown_name("loss", "hing", ["hinge"]).endswith(
        "did you mean 'hinge'? The names are hinge"
    )
    assert did_you_mean("zzz", ["hinge"]) == ""
    assert nearest_name("HINGE", ["hinge"]) == "hinge"
    assert look_up({"a": 1}, "a", "thing") == 1


def test_the_words_stand_in_one_place():
    wordings = {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if "did you mean {" in path.read_text(encoding="utf-8").lower()
    }
    assert wordings == {"names.py"}
