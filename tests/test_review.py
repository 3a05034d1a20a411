"""Hand-written backpropagation put right: sixty slips, right programs, and what a report says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from review_scenes import CASES, SCENES, load
from review_slips import SLIPS
from typer.testing import CliRunner

import chainrule as cr
from chainrule.cli.app import make_app

QUICK = (0, 3, 7, 13, 25, 32, 34, 47, 49, 53, 59, 62, 63)  # one or two of each kind of program


def planted(number, folder):
    """The scene with a slip in it: its report, the line of the slip, the kinds that name it."""
    scene, right, wrong, kinds = SLIPS[number]
    file, run = SCENES[scene]
    text = (CASES / file).read_text()
    place = text.index(right)
    path = folder / f"slip_{number}.py"
    path.write_text(text[:place] + wrong + text[place + len(right) :])
    return run(load(path)), text.count("\n", 0, place) + 1, kinds


def is_named(number, folder):
    report, line, kinds = planted(number, folder)
    if report.ok:
        return False
    first = report.findings[0]
    return first.certain and first.kind in kinds and line in (first.line, *first.lines)


@pytest.mark.parametrize("scene", SCENES)
def test_right_programs_raise_no_alarm(scene):
    file, run = SCENES[scene]
    report = run(load(file))
    assert report.ok, str(report)
    assert report.gradients
    assert max(report.gradients.values()) < 1e-6


@pytest.mark.parametrize("number", QUICK)
def test_a_slip_is_named_with_its_line(number, tmp_path):
    assert is_named(number, tmp_path), SLIPS[number]


@pytest.mark.slow
def test_at_least_55_of_60_slips_are_named(tmp_path):
    missed = [SLIPS[k][:3] for k in range(len(SLIPS)) if not is_named(k, tmp_path)]
    assert len(SLIPS) >= 60
    assert len(SLIPS) - len(missed) >= 0.92 * len(SLIPS), missed


# What is said


def hidden_by_hand(w1, w2, x, y):
    """Half the squared error of a small network, and its gradients, with a factor missing."""
    a1 = 1 / (1 + np.exp(-x @ w1))
    d2 = a1 @ w2 - y
    d1 = d2 @ w2.T * a1
    return 0.5 * np.sum(d2**2), x.T @ d1, a1.T @ d2


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in ((3, 4), (4, 2), (5, 3), (5, 2))]


@pytest.fixture
def report(numbers):
    return cr.check_backprop(hidden_by_hand, *numbers)


def test_the_message_names_line_and_factor(report):
    [finding] = report.findings
    assert finding.kind == "missing activation derivative"
    assert finding.text == "d1 = d2 @ w2.T * a1"
    assert finding.expected == "d1 = d2 @ w2.T * a1 * (1 - a1)"
    assert finding.parameters == ("w1",)
    assert finding.certain
    assert finding.evidence > 0.1
    assert f"line {finding.line}: `{finding.text}`: expected `{finding.expected}`" in str(report)


def test_the_report_is_short_and_its_page_escaped(report):
    assert len(repr(report)) < 200
    hostile = type(report)("<script>alert(1)</script>", False, report.findings)
    assert "<script>" not in hostile._repr_html_()


def test_the_users_own_numbers_and_functions_are_left_as_they_were(numbers):
    before = [a.copy() for a in numbers]
    code = hidden_by_hand.__code__
    cr.check_backprop(hidden_by_hand, *numbers)
    assert hidden_by_hand.__code__ is code
    assert not any(name.startswith("__chainrule") for name in hidden_by_hand.__globals__)
    for a, b in zip(before, numbers, strict=True):
        np.testing.assert_array_equal(a, b)


def test_random_numbers_of_the_user_go_on_as_they_would(numbers):
    np.random.seed(5)
    first = np.random.rand()
    np.random.seed(5)
    cr.check_backprop(hidden_by_hand, *numbers)
    assert np.random.rand() == first


def test_assert_backprop_raises_with_the_report(numbers):
    with pytest.raises(cr.BackpropError, match=r"the factor \(1 - a1\) is missing") as caught:
        cr.assert_backprop(hidden_by_hand, *numbers)
    assert not caught.value.report.ok


def test_two_slips_are_both_named(numbers):
    found = cr.check_backprop(two_slips, *numbers).findings
    assert [f.kind for f in found] == ["outer product swapped", "missing activation derivative"]
    assert [f.text for f in found] == ["d_w2 = d2.T @ a1", "d1 = d2 @ w2.T"]


def two_slips(w1, w2, x, y):
    a1 = np.tanh(x @ w1)
    d2 = a1 @ w2 - y
    d_w2 = d2.T @ a1
    d1 = d2 @ w2.T
    return 0.5 * np.sum(d2**2), x.T @ d1, d_w2


def test_a_sum_that_is_kept_between_calls(numbers):
    class Kept:
        def __init__(self):
            self.w = np.random.default_rng(0).normal(size=(3, 2))
            self.dw = np.zeros((3, 2))

        def forward(self, x):
            return x @ self.w

        def backward(self, x, y):
            self.dw += x.T @ (self.forward(x) - y)
            return self.dw

    _, _, x, y = numbers
    [finding] = cr.check_backprop(Kept(), x, y).findings
    assert finding.kind == "accumulated, not reset"
    assert "self.dw += " in finding.text


def test_integer_weights(numbers):
    class Whole:
        def __init__(self):
            self.w = np.ones((3, 2), dtype=int)

        def loss(self, x, y):
            return 0.5 * np.sum((x @ self.w - y) ** 2)

        def train_step(self, x, y, learning_rate=0.1):
            self.w -= learning_rate * x.T @ (x @ self.w - y)

    _, _, x, y = numbers
    [finding] = cr.check_backprop(Whole(), x, y).findings
    assert finding.kind == "integer arrays"


def test_code_without_source_is_compared_as_a_whole(numbers):
    space = {"np": np}
    exec(
        "def backprop(w, x, y):\n    r = x @ w - y\n    return 0.5 * np.sum(r**2), 2 * x.T @ r",
        space,
    )
    _, _, x, y = numbers
    found = cr.check_backprop(space["backprop"], np.ones((3, 2)), x, y)
    assert not found.ok
    assert found.findings[0].line == 0
    assert not found.findings[0].certain
    assert "2 times" in str(found)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cr.check_backprop(), "takes the code first"),
        (lambda: cr.check_backprop(np.ones(3)), "takes the code first"),
        (lambda: cr.check_backprop(dict), "is a class"),
        (lambda: cr.check_backprop(lambda w: w, np.ones(2)), "loss"),
        (lambda: cr.check_backprop(object()), "takes the code first|no method"),
        (lambda: cr.check_backprop(hidden_by_hand, np.ones(2)), "'w2'"),
        (lambda: cr.check_backprop("absent.py"), "there is no file"),
    ],
)
def test_what_cannot_be_checked_is_said(call, said):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=said):
        call()


# The command


def run(*arguments):
    return CliRunner().invoke(make_app(), [str(a) for a in arguments], prog_name="chainrule")


PROGRAM = """
import numpy as np

rng = np.random.default_rng(0)
w, x, y = rng.normal(size=(3, 2)), rng.normal(size=(5, 3)), rng.normal(size=(5, 2))


def backprop(w, x, y):
    error = x @ w - y
    return 0.5 * np.sum(error**2), {}
"""


def test_the_command_names_the_line_and_ends_with_one(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PROGRAM.format("-x.T @ error"))
    result = run("check-backprop", path)
    assert result.exit_code == 1
    assert "the sign is wrong" in result.stdout
    found = json.loads(run("check-backprop", path, "--json").stdout)
    assert found["findings"][0]["line"] == 10


def test_the_command_ends_with_zero_where_all_is_right(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PROGRAM.format("x.T @ error"))
    assert run("check-backprop", path).exit_code == 0


@pytest.mark.parametrize("text", ["", "x = 1 +", "import absent_library_of_nobody", "w = 3"])
def test_the_command_says_what_it_cannot_check(text, tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(text)
    result = run("check-backprop", path)
    assert result.exit_code == 2
    assert "odd.py" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("file", ["bias_trick.py", "columns.py", "stateful.py"])
def test_classes_of_a_file_are_tried_on_small_data(file):
    result = run("check-backprop", CASES / file)
    assert result.exit_code == 0, result.stdout + result.stderr


# Flat vectors


def flat_loss(theta):
    w1, w2 = theta[:6].reshape(2, 3), theta[6:].reshape(3, 1)
    return np.sum((np.tanh(POINTS @ w1) @ w2) ** 2)


POINTS = np.random.default_rng(1).normal(size=(5, 2))


def wrong_in_one_row(theta):
    gradient = cr.grad(flat_loss)(theta)
    gradient[3:6] *= 3
    return gradient


@pytest.mark.parametrize(
    "blocks",
    [
        {"shapes": {"w1": (2, 3), "w2": (3, 1)}},
        {"unpack": lambda t: {"w1": t[:6].reshape(2, 3), "w2": t[6:].reshape(3, 1)}},
    ],
)
def test_a_flat_gradient_is_wrong_in_a_block_and_a_row(blocks):
    theta = np.random.default_rng(2).normal(size=9)
    report = cr.check_gradient(flat_loss, wrong_in_one_row, theta, raises=False, **blocks)
    said = "the block w1, shape (2, 3), has a wrong gradient in row 1, 3 times the numerical one"
    assert said in report.reasons
    assert not any("block w2" in reason for reason in report.reasons)


def test_blocks_that_do_not_suit_the_vector():
    theta = np.ones(9)
    with pytest.raises(ValueError, match="8 elements together, the vector 9"):
        cr.check_gradient(flat_loss, cr.grad(flat_loss), theta, shapes={"w": (2, 4)})
    with pytest.raises(ValueError, match="at most once"):
        cr.check_gradient(flat_loss, cr.grad(flat_loss), theta, unpack=lambda t: [2 * t])
