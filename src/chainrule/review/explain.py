"""What kind of slip an edit mends: told from the numbers it puts in, takes out or exchanges."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.primitives import sigmoid
from chainrule.review.bearings import Situation
from chainrule.review.places import as_numbers
from chainrule.review.search import Mend

__all__ = ["kind_and_why"]

Vector = np.ndarray[Any, Any]


def kind_and_why(mend: Mend, situation: Situation) -> tuple[str, str]:
    """The kind of slip, and a sentence: what is missing, too much, or in another's place."""
    kind, part = mend.edit.kind, mend.edit.part
    explain = _EXPLAIN.get(kind)
    if explain is not None:
        return explain(part, mend, situation)
    return kind, _PLAIN.get(kind, kind).format(part=part)


_PLAIN = {
    "wrong sign": "the sign is wrong",
    "missing transpose": "{part} must be transposed",
    "extra transpose": "{part} must not be transposed",
    "outer product swapped": "the factors of the product are in the wrong order",
    "wrong activation derivative": "the derivative of the activation is {part}",
    "missing term": "the term {part} is missing",
    "exchanged": "two names stand in each other's place",
    "wrong order": "the arguments are in the wrong order",
    "wrong product": "the product is of the wrong kind: of matrices, or element by element",
    "wrong comparison": "the comparison is the wrong one",
    "wrong power": "the power is wrong",
    "wrong axis": "the sum goes along the wrong axis",
    "integer arrays": "the numbers are cut to integers here: use floating-point numbers",
    "float32": "the precision is too low for this: use float64",
    "alias": "`{part}` is a second name for the same array, not a copy: what is written into one "
    "changes the other",
    "bias regularised": "the bias is not regularised: its part of {part} must be left out",
    "kernel not flipped": "the kernel must be turned by 180 degrees here: the derivative of a "
    "correlation by its input is a full correlation with the flipped kernel",
    "kernel flipped": "the kernel must not be turned here",
    "pooling": "the gradient goes to the wrong element: only the largest of a window passes it on",
    "softmax derivative as if elementwise": "each output of softmax depends on all "
    "scores, so its derivative is not {part}",
    "accumulated, not reset": "the gradient is added to that of the call before",
    "overwritten, not added": "each contribution overwrites the one before",
    "wrong slice": "the slice leaves out a part",
    "wrong start": "the array starts from the wrong numbers",
    "extra sum": "the sum is too much here",
}


def _value(text: str, mend: Mend) -> Any:
    """What an expression is where the statement runs; None where that cannot be said."""
    names = {name: value for name, value in mend.scene.values.items() if re.fullmatch(r"\w+", name)}
    if text in mend.scene.values:
        return mend.scene.values[text]
    space = next((f.__globals__ for fs in mend.file.codes.values() for f in fs), {})
    try:
        with np.errstate(all="ignore"):
            return eval(text, space, names)
    except Exception:  # the part is none of a value
        return None


def _activations(values: list[Vector]) -> Iterator[tuple[str, Vector]]:
    """The derivatives of the usual activations, by a value before or after it."""
    for v in values:
        with np.errstate(all="ignore"):
            yield "the derivative of the sigmoid", v * (1 - v)
            yield "the derivative of tanh", 1 - v**2
            yield "the derivative of ReLU", (v > 0) * 1.0
            s = np.asarray(sigmoid(v.astype(np.float64)))
            yield "the derivative of the sigmoid", s * (1 - s)
            yield "the derivative of tanh", 1 - np.tanh(v) ** 2
            yield "a part of the derivative of the sigmoid", 1 - v
            yield "a part of the derivative of the sigmoid", 1 - s


def _arrays(mend: Mend) -> list[Vector]:
    return [
        v
        for v in mend.scene.values.values()
        if isinstance(v, np.ndarray) and v.dtype.kind == "f" and v.ndim
    ]


def _meaning(value: Any, mend: Mend) -> str:
    """Which activation's derivative an array is, "" where it is none."""
    array = as_numbers(value)
    if array is None or array.size < 1 or array.ndim == 0:
        return ""
    same = [a for a in _arrays(mend) if a.size == array.size]
    for meaning, derivative in _activations(same):
        flat = np.ravel(derivative)
        if np.allclose(flat, np.ravel(array), rtol=1e-6, atol=1e-9) and np.ptp(flat) > 0:
            return meaning
    return ""


def _is_mask(value: Any) -> bool:
    array = as_numbers(value)
    if array is None or array.ndim == 0:
        return False
    numbers = np.unique(array)
    return bool(numbers.size == 2 and numbers[0] == 0)


def _is_distribution(value: Any) -> bool:
    array = as_numbers(value)
    if array is None or array.ndim == 0 or array.dtype.kind != "f":
        return False
    positive = np.all(array > 0) and np.all(array < 1)
    return bool(
        positive
        and any(
            array.shape[axis] > 1 and np.allclose(array.sum(axis), 1) for axis in range(array.ndim)
        )
    )


def _count(number: float, mend: Mend) -> bool:
    """Whether a number is the size of an axis: how many samples or outputs there are."""
    counts = {v for t, v in mend.scene.scalars.items() if t.startswith("len(")}
    return number > 1 and (
        number in counts or any(number in (*a.shape, a.size) for a in _arrays(mend))
    )


def _extra_factor(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    value = _value(part, mend)
    number = _number(value)
    if number is not None:
        if situation.rate is not None and abs(number - situation.rate) < 1e-12:
            return "learning rate twice", f"the learning rate {part} is multiplied in twice"
        if number == -1:
            return "wrong sign", "the sign is wrong"
        if _count(number, mend):
            return "sum for mean", f"the factor {part} is too much: a mean was meant"
        if 0 < number < 1 and _count(round(1 / number), mend):
            return "mean for sum", f"the factor {part} is too much: a sum was meant"
        return "extra factor", f"the factor {part} is too much"
    softmax = next(
        (t for t, v in mend.scene.values.items() if t in part and _is_distribution(v)), ""
    )
    meaning = _meaning(value, mend) or _of_call(part)
    if meaning and softmax and "sigmoid" in meaning:
        return (
            "softmax derivative as if elementwise",
            f"the factor {part} is too much: the derivative of softmax is in `a - y` already, and "
            "it is not elementwise",
        )
    if meaning:
        return "doubled activation derivative", f"the factor {part} is too much ({meaning})"
    if _is_mask(value):
        return "dropout mask", f"the mask {part} is applied once too often"
    return "extra factor", f"the factor {part} is too much"


def _of_call(part: str) -> str:
    match = re.match(r"^[\w.]+\(.*\)$", part)
    if match and not part.startswith(("np.", "len(", "float(")):
        return "an activation's derivative"
    return ""


def _number(value: Any) -> float | None:
    array = as_numbers(value)
    return float(array.reshape(-1)[0]) if array is not None and array.ndim == 0 else None


def _missing_factor(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    value = _value(part, mend)
    number = _number(value)
    if number is not None:
        if _count(number, mend) and not part.isdigit():
            return "mean for sum", f"the factor {part} is missing: a sum was meant, not a mean"
        if 0 < number < 1 and _count(round(1 / number), mend):
            return "sum for mean", f"the factor {part} is missing: a mean was meant, not a sum"
        return "missing factor", f"the factor {part} is missing"
    meaning = _meaning(value, mend) or _of_call(part)
    if _is_mask(value) and meaning != "the derivative of ReLU":
        return "dropout mask not reused", f"the mask {part} of the forward pass is missing"
    if meaning:
        return "missing activation derivative", f"the factor {part} is missing ({meaning})"
    return "missing factor", f"the factor {part} is missing"


def _missing_divisor(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    number = _number(_value(part, mend))
    if number is not None and _count(number, mend):
        return "sum for mean", f"a sum stands where a mean was meant: / {part} is missing"
    if situation.rate is not None and number is not None and abs(number - situation.rate) < 1e-12:
        return "learning rate twice", f"the learning rate {part} is multiplied in twice"
    return "wrong factor", f"the divisor {part} is missing"


def _extra_divisor(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    number = _number(_value(part, mend))
    if number is not None and _count(number, mend):
        return "mean for sum", f"a mean stands where a sum was meant: / {part} is too much"
    return "wrong factor", f"the divisor {part} is too much"


def _swapped_mean(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    if part == "mean":
        return "sum for mean", "a sum stands where a mean was meant"
    return "mean for sum", "a mean stands where a sum was meant"


def _wrong_value(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    """One array in another's place: before and after an activation, or of another layer."""
    spot, new = mend.edit.puts[0]
    old_text, new_text = ast.unparse(spot.node), ast.unparse(new)
    old, now = _value(old_text, mend), _value(new_text, mend)
    if part == "1 - ":
        return "missing activation derivative", f"`{old_text}` stands for `1 - {old_text}`"
    if _number(old) is not None and _number(now) is not None:
        return _wrong_number(old_text, new_text, mend, situation)
    if _is_activation_of(old, now) or _is_activation_of(now, old):
        return (
            "derivative at the wrong value",
            f"`{old_text}` stands where `{new_text}` was meant: the derivative is "
            "taken at the wrong one of the values before and after the activation",
        )
    if _is_mask(old) and _is_mask(now):
        return "dropout mask not reused", f"the mask of the forward pass is `{new_text}`"
    if isinstance(old, np.ndarray) and isinstance(now, np.ndarray) and _shares_old(old, now):
        return "updated weight", f"`{old_text}` has been updated by now"
    return "wrong layer", f"`{old_text}` stands where `{new_text}` was meant"


def _shares_old(old: Vector, now: Vector) -> bool:
    return old.shape == now.shape and 0 < float(np.abs(old - now).max()) < 1e-3 * float(
        np.abs(old).max()
    )


def _wrong_number(old: str, new: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    was, wanted = _number(_value(old, mend)), _number(_value(new, mend))
    if was and wanted:
        if _count(round(was / wanted, 9), mend):
            return "sum for mean", f"{old} stands where {new} was meant: a sum, and not a mean"
        if _count(round(wanted / was, 9), mend):
            return "mean for sum", f"{old} stands where {new} was meant: a mean, and not a sum"
    return "wrong factor", f"the number {old} stands where {new} was meant"


def _is_activation_of(z: Any, a: Any) -> bool:
    z, a = as_numbers(z), as_numbers(a)
    if z is None or a is None or z.shape != a.shape or not z.size or z.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        shifted = np.exp(z - z.max())
        forms = [np.asarray(sigmoid(z.astype(np.float64))), np.tanh(z), np.maximum(z, 0)]
        forms += [np.where(z > 0, z, slope * z) for slope in (0.01, 0.1, 0.2)]
        forms += [shifted / shifted.sum(axis, keepdims=True) for axis in range(z.ndim)]
        forms += [np.log1p(np.exp(z)), np.exp(z), np.sin(z), z * np.asarray(sigmoid(z))]
        forms.append(np.where(z > 0, z, np.exp(z) - 1))
    # a column of ones for the bias is the same before and after, or not at all
    return any(np.isclose(form, a, rtol=1e-5, atol=1e-8).mean() >= 0.6 for form in forms)


def _wrong_function(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    _, new = mend.edit.puts[0]
    return "wrong activation derivative", f"`{part}` stands where `{ast.unparse(new)}` was meant"


def _function_missing(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    _, new = mend.edit.puts[0]
    return (
        "derivative at the wrong value",
        f"`{ast.unparse(new)}` is wanted here: the formula is of the value after the activation",
    )


def _extra_function(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    return "derivative at the wrong value", f"`{part}` is applied once too often here"


def _off_by_one(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    spot, new = mend.edit.puts[0]
    whole = ast.unparse(spot.holder)
    inner = _value(part, mend)
    base = spot.holder.value if isinstance(spot.holder, ast.Subscript) else None
    old = _value(ast.unparse(base), mend) if base is not None else None
    labels = (isinstance(inner, np.ndarray) and inner.ndim >= 1) or "arange" in whole
    if labels or "arange" in mend.before:
        return (
            "label offset",
            f"the labels are shifted by one: `{part}` should be `{ast.unparse(new)}`",
        )
    if isinstance(old, list | tuple | dict) or old is None:
        return "wrong layer", f"`{part}` should be `{ast.unparse(new)}`: this is another layer's"
    return "off by one", f"the index `{part}` should be `{ast.unparse(new)}`"


def _extra_term(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    value = as_numbers(_value(part, mend))
    fixed = [
        n for n, ok in mend.judgement.right.items() if ok and not situation.judgement.right.get(n)
    ]
    for place in situation.parameters:
        if place.name not in fixed or value is None:
            continue
        array = np.asarray(place.array(situation.bench.start), np.float64)
        if array.size == value.size and _proportional(array.ravel(), value.ravel()):
            if sum(n > 1 for n in array.shape) <= 1:
                return (
                    "bias regularised",
                    f"the bias is not regularised: the term {part} is too much",
                )
            return (
                "weights regularised",
                f"the term {part} is too much: the loss has no such penalty",
            )
    return "extra term", f"the term {part} is too much"


def _proportional(a: Vector, b: Vector) -> bool:
    square = float(a @ a)
    return square > 0 and bool(np.allclose(b, float(a @ b) / square * a, rtol=1e-6, atol=1e-12))


def _missing_term(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    return (
        "weights not regularised",
        f"the loss has a penalty, and its derivative {part} is missing",
    )


def _not_summed(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    fixed = [
        n for n, ok in mend.judgement.right.items() if ok and not situation.judgement.right.get(n)
    ]
    name = ", ".join(fixed)
    return (
        "bias gradient not summed",
        f"the gradient of {name} is the sum over the samples ({part})",
    )


def _exchanged(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    (one, _), (other, _) = mend.edit.puts[:2]
    a, b = ast.unparse(one.node), ast.unparse(other.node)
    place = isinstance(mend.scene.statement, ast.Assign | ast.AugAssign) and any(
        isinstance(node, ast.Subscript)
        for target in getattr(
            mend.scene.statement, "targets", [getattr(mend.scene.statement, "target", None)]
        )
        for node in ast.walk(target)
        if target is not None
    )
    kind = "wrong place" if place else "exchanged"
    return kind, f"`{a}` and `{b}` stand in each other's place"


def _wrong_factor(part: str, mend: Mend, situation: Situation) -> tuple[str, str]:
    spot, new = mend.edit.puts[0]
    was, wanted = (
        _number(_value(ast.unparse(spot.node), mend)),
        _number(_value(ast.unparse(new), mend)),
    )
    text = f"{ast.unparse(spot.node)} stands where {ast.unparse(new)} was meant"
    divides = isinstance(getattr(spot.holder, "op", None), ast.Div) and spot.field in (
        "right",
        "value",
    )
    if was and wanted:
        ratio = wanted / was if divides else was / wanted
        if _count(round(ratio, 9), mend) and not ast.unparse(new).isdigit():
            return "sum for mean", f"{text}: a sum, and not a mean"
        if _count(round(1 / ratio, 9), mend) and not ast.unparse(new).isdigit():
            return "mean for sum", f"{text}: a mean, and not a sum"
    return "wrong factor", text if spot.node is not new else "the factor is wrong"


_EXPLAIN = {
    "wrong factor": _wrong_factor,
    "exchanged": _exchanged,
    "extra factor": _extra_factor,
    "missing factor": _missing_factor,
    "missing activation derivative": _missing_factor,
    "missing divisor": _missing_divisor,
    "extra divisor": _extra_divisor,
    "sum for mean": _swapped_mean,
    "mean for sum": _swapped_mean,
    "wrong value": _wrong_value,
    "wrong function": _wrong_function,
    "function missing": _function_missing,
    "extra function": _extra_function,
    "off by one": _off_by_one,
    "extra term": _extra_term,
    "weights not regularised": _missing_term,
    "bias gradient not summed": _not_summed,
}
