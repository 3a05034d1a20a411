"""Faults planted one at a time, to see that the tests notice them: `make mutants`.

Each line of the table is a small change of a source file that makes it wrong, and the tests that
must turn red of it. It is made in a copy of the project, never in the project itself.

    python tests/mutants.py             all of them
    python tests/mutants.py reduce std  those whose file or text holds one of these words

First the tests must pass without a fault, and must not with a file that cannot be imported: else
they do not run, or not on the copy. The status is 1 if that is so, if a fault goes unnoticed, or if
a line of the table fits the sources no longer.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 300  # of one run of tests: a fault that makes them hang is noticed too
RED, GREEN = "red", "green"


@dataclass(frozen=True)
class Mutant:
    """A text that stands once in a file of src/chainrule, what to put there, and who must notice.

    `tests` are arguments of pytest: files, and perhaps -k with a word.
    """

    file: str
    old: str
    new: str
    tests: str

    @property
    def place(self) -> str:
        return f"{self.file}: {self.old.strip()!r} -> {self.new.strip()!r}"


def of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutant]:
    """The mutants of one file that the same tests must notice."""
    return [Mutant(file, old, new, tests) for old, new in changes]


MUTANTS = [
    # Seeing
    *of(
        "see/recorded.py",
        "tests/test_record.py",
        ("recording.cotangents.clear()", "pass"),
        ("value.flags.writeable = False", "pass"),
    ),
    *of(
        "see/backprop.py",
        "tests/test_record.py",
        ('(network, loss, penalty, "backprop")', '(network, loss, (), "backprop")'),
        ("rng.bit_generator.state = draws", "pass"),
    ),
    *of(
        "see/record.py",
        "tests/test_record.py",
        (
            "np.broadcast_to(derivative, self.value.shape)",
            "np.broadcast_to(-derivative, self.value.shape)",
        ),
    ),
    *of("loop.py", "tests/test_record.py", ("_{t + 1}", "_{t}")),
    *of(
        "see/explain/follow.py",
        "tests/test_explain.py",
        ("(of is None or of in depending)", "True"),
    ),
    *of(
        "engines/c/kernels/products.py",
        "tests/test_c_threads.py",
        ("part + 1 == parts ? {n} : {each} * ({end})", "{each} * ({end})"),
    ),
    # Rules: elementwise
    *of(
        "primitives/elementwise.py",
        "tests/test_elementwise.py tests/test_primitives.py",
        ("lambda g, out, x: g * (1 - out * out))", "lambda g, out, x: g * (1 + out * out))"),
        ("return where((x == 0) & (y == 0), 1, y - 1)", "return y - 1"),
        ("return log(where(x > 0, x, 1))", "return log(x)"),
        ("return where(out == 0, 1, out)", "return out"),
        ("return exp(clip(x - clip(out, -limit, limit), max=0.0))", "return exp(x - out)"),
        ("0.5 * (g * (x > y) + g * (x >= y))", "g * (x > y)"),
        ("0.5 * (g * (y < x) + g * (y <= x))", "g * (y <= x)"),
        ("-g * np.floor_divide(x, y)", "-g * np.trunc(x / y)"),
        ("-g * np.sin(out) / np.hypot(y, x)", "g * np.sin(out) / np.hypot(y, x)"),
        ("g * np.sign(x)", "g * (2 * (x > 0) - 1)"),
        ("g * (out + 1)", "g * out"),
        ("g * (out * _log_of_base(x))", "g * _log_of_base(x)"),
        ("where(condition, g, 0)", "where(condition, g, g)"),
        ("g * ((low <= x) & (x <= high))", "g * ((low < x) & (x < high))"),
        ("g * ((x < low) & (low <= high))", "g * (x < low)"),
    ),
    # Rules: activations and losses on logits
    *of(
        "primitives/activation.py",
        "tests/test_fused.py tests/test_primitives.py",
        ("g * (out > 0)", "g * (out >= 0)"),
        ("where(x > 0, g, g * slope)", "where(x >= 0, g, g * slope)"),
        ("g * (out + alpha)", "g * (out + 1)"),
        ("out + sigmoid(x) * (1 - out)", "out + sigmoid(x)"),
        ("np.exp(-0.5 * (x * x)) * _INV_SQRT_2PI", "np.exp(-0.5 * (x * x))"),
        ("np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))", "np.log1p(np.exp(x))"),
    ),
    *of(
        "primitives/fused.py",
        "tests/test_fused.py tests/test_primitives.py",
        ("np.exp(x - np.max(x, axis=axis, keepdims=True))", "np.exp(x)"),
        ("out * (g - np.sum(g * out, axis=axis, keepdims=True))", "out * g"),
        ("g - np.exp(out) * np.sum(g, axis=axis, keepdims=True)", "g - np.exp(out) * g"),
        ("softmax(logits, axis) * total - targets", "softmax(logits, axis) - targets"),
        ("g * (sigmoid(logits) - targets)", "g * (targets - sigmoid(logits))"),
        ("lambda g, out, logits, targets: -g * logits", "lambda g, out, logits, targets: 0 * g"),
    ),
    # Rules: reductions and shapes
    *of(
        "primitives/reduce.py",
        "tests/test_reduce.py tests/test_primitives.py",
        ("2 * _wide(g) / (_n_reduced(x, axis) - ddof)", "2 * _wide(g) / _n_reduced(x, axis)"),
        ("return at_extreme / sum_(at_extreme, axis, keepdims=True)", "return at_extreme"),
        ("flip(cumsum(flip(g, along), along), along)", "cumsum(g, along)"),
        ("while distance < x.shape[-1]:", "while distance < x.shape[-1] - 1:"),
        ("largest = np.where(np.isfinite(largest), largest, 0)", "largest = largest + 0"),
        ("_product_before(x) * s", "s"),
    ),
    *of(
        "primitives/shape.py",
        "tests/test_shape.py tests/test_primitives.py",
        ("tuple(order.index(axis) for axis in range(len(order)))", "tuple(order)"),
        ("order = [axis % len(axes) for axis in axes]", "order = list(axes)"),
        ("start = sum(sizes[:position])", "start = 0"),
        ("_along(axis, position, g.ndim)", "_along(axis, 0, g.ndim)"),
    ),
    # The compiler: plans, groups, layouts, passes, names
    *of(
        "compiler/plan.py",
        "tests/test_plan.py",
        (
            "    if len(shapes) != 1:\n        return None",
            "    if not shapes:\n        return None",
        ),
        ("len(shape) == 1 and shape[0] > TILE", "shape[0] > TILE"),
        (
            "if buffers.get(new) is not buffers[old] or new in plan.views:",
            "if buffers.get(new) is not buffers[old]:",
        ),
        (
            "is_kept = variable in self.escapes or variable in self.target",
            "is_kept = variable in self.escapes",
        ),
        (
            "is_kept = variable in self.escapes or variable in self.target",
            "is_kept = variable in self.target",
        ),
        ("self.until[buffer] = max(last, self.until.get(buffer, -1))", "self.until[buffer] = last"),
        ("if buffer.parent is not None and buffer not in self.parts[buffer.parent]:", "if False:"),
        (
            "is_array and self.layouts.is_plain(out) and self.abilities",
            "is_array and self.abilities",
        ),
        (
            'if equation.name != "concatenate" or len(out.shape) != 1:',
            'if equation.name != "concatenate":',
        ),
        ("or maker is None or not self._writes_into(maker):", "or maker is None:"),
        (
            "if part in self.target or part in self.escapes or part in (v for v, _ in parts):",
            "if part in self.target or part in self.escapes:",
        ),
        (
            "if part.dtype != out.dtype or part in self.plan.buffers:",
            "if part in self.plan.buffers:",
        ),
        ("if part.dtype != out.dtype or part in self.plan.buffers:", "if part.dtype != out.dtype:"),
        ("start += part.size", "start += part.shape[0]"),
        ("term in made_by and self._writes_into(made_by[term]):", "term in made_by:"),
        (
            "is_free = term not in self.target and term not in self.escapes",
            "is_free = term not in self.escapes",
        ),
        (
            "is_free = term not in self.target and term not in self.escapes",
            "is_free = term not in self.target",
        ),
        ("if is_free and len(self.readers[term]) == 1:", "if is_free:"),
        (
            'if view.name != "reshape" or not isinstance(source, Variable):',
            "if not isinstance(source, Variable):",
        ),
        ("and not (self.fresh_results and out in self.escapes):", "and not self.fresh_results:"),
        ("and not (self.fresh_results and out in self.escapes):", "and True:"),
        (
            "            if self._may_overwrite(state, position, equation):\n",
            "            if True:\n",
        ),
        ('                and (buffer.kind != "scratch" or self._is_inner(out))\n', ""),
        ("                and self._may_overwrite(buffer, position, equation)\n", ""),
        ("return self.reading_units[variable] <= {self.unit_of[variable]}", "return True"),
        (
            'if buffer.kind in {"input", "constant"} or buffer.parent is not None:',
            'if buffer.kind == "constant" or buffer.parent is not None:',
        ),
        (
            'if buffer.kind in {"input", "constant"} or buffer.parent is not None:',
            'if buffer.kind == "input" or buffer.parent is not None:',
        ),
        (
            'if buffer.kind in {"input", "constant"} or buffer.parent is not None:',
            'if buffer.kind in {"input", "constant"}:',
        ),
        ('if buffer.kind == "state" and not is_updated:', "if False:"),
        (
            "if any(self.until.get(held, -1) > position for held in buffers):",
            "if any(self.until.get(held, -1) > position + 1 for held in buffers):",
        ),
        ("buffers = [buffer, *self.parts[buffer]]", "buffers = [buffer]"),
        (
            "            argument not in self.plan.views\n            and argument.shape",
            "            argument.shape",
        ),
        ("            and argument.shape == equation.out.shape\n", ""),
        ("            and argument.dtype == equation.out.dtype\n", ""),
        ("            and self.abilities.writes_over(equation, position)\n", ""),
        (
            "if self.until[buffer] <= position and buffer not in free:",
            "if self.until[buffer] <= position + 1 and buffer not in free:",
        ),
        (
            "if self.until[buffer] <= position and buffer not in free:",
            "if self.until[buffer] <= position:",
        ),
        ('if buffer is None or buffer.kind != "scratch":', "if buffer is None:"),
        (
            "standing[_whole(buffer)].get(buffer) is not variable:",
            "standing[_whole(buffer)].get(buffer) is None:",
        ),
        (
            "if (target.shape, target.dtype) != (out.shape, out.dtype):",
            "if target.shape != out.shape:",
        ),
        (
            "if (target.shape, target.dtype) != (out.shape, out.dtype):",
            "if target.dtype != out.dtype:",
        ),
        ('if target.kind in {"input", "constant"}:', 'if target.kind == "input":'),
        ('if target.kind in {"input", "constant"}:', 'if target.kind == "constant":'),
        (
            "for other in [b for b in held if _overlap(b, target)]:",
            "for other in [b for b in held if b is target]:",
        ),
        ("for new in (*plan.copies.values(), *plan.kept):", "for new in plan.kept:"),
        ("if not (in_step and abilities.writes_over(equation, position)):", "if not in_step:"),
        ("if a is b or a.parent is b or b.parent is a:", "if a is b or a.parent is b:"),
        ("if a is b or a.parent is b or b.parent is a:", "if a is b or b.parent is a:"),
        ("a.start < b.start + b.size and b.start < a.start + a.size", "a.start < b.start + b.size"),
        (
            "return is_sibling and a.start < b.start + b.size",
            "return is_sibling and False and a.start < b.start + b.size",
        ),
    ),
    *of(
        "compiler/groups.py",
        "tests/test_plan.py",
        (
            "    if any(e.primitive.is_random for e in own):\n        return False",
            "    if False:\n        return False",
        ),
        (
            "len(computing) >= 2 and read_outside <= set(graph.updates.values())",
            "len(computing) >= 2",
        ),
        ("len(computing) >= 2 and read_outside == {own[-1].out}", "len(computing) >= 2"),
        (
            "return is_backward and read <= standing and not draws",
            "return read <= standing and not draws",
        ),
        (
            "return is_backward and read <= standing and not draws",
            "return is_backward and not draws",
        ),
        ("if own is None or not equation.out.is_array:", "if own is None:"),
        ("pending += reversed(makers)", "ordered += makers"),
    ),
    *of(
        "compiler/layouts.py",
        "tests/test_plan.py",
        ("if np.may_share_memory(array, arrays[0]):", "if True:"),
        ("for a in arrays) and not _gathers(equation)", "for a in arrays)"),
        ("if is_plain or not self.follow:", "if is_plain:"),
        (
            'return equation.name in {"index", "take_along_axis", "einsum"}',
            'return equation.name in {"take_along_axis", "einsum"}',
        ),
        (
            "self._arrays[variable] = self._array(variable, given.get(variable))",
            "self._arrays[variable] = self._array(variable, None)",
        ),
    ),
    *of(
        "compiler/infer.py",
        "tests/test_trace.py tests/test_passes.py",
        (
            'return ("array", value.shape, value.dtype, digest)',
            'return ("array", value.shape, value.dtype)',
        ),
        (
            'return ("array", value.shape, value.dtype, digest)',
            'return ("array", value.dtype, digest)',
        ),
        (
            'return ("array", value.shape, value.dtype, digest)',
            'return ("array", value.shape, digest)',
        ),
        ("((key, frozen(value[key])) for key in value)", "((key, 0) for key in value)"),
        ("return (type(value), *map(frozen, value))", "return (*map(frozen, value),)"),
        ("frozen(value.stop), frozen(value.step))", "frozen(value.stop))"),
        ("return (type(value), repr(value))", "return (type(value), value)"),
        (
            "        return _Itself(value)\n    return (type(value), value)",
            "        return _Itself(value)\n    return (value,)",
        ),
        (
            "        hash(value)\n    except TypeError:\n        return _Itself(value)",
            "        hash(value)\n    except TypeError:\n        return type(value)",
        ),
        ("(arg.shape, arg.dtype, arg.kind) if", "(arg.shape, arg.dtype) if"),
        ("else (type(arg), arg)", "else arg"),
        ("if PRIMITIVES.get(primitive.name) is not primitive:", "if False:"),
        ("if len(_known) > _KEPT:", "if False:"),
        ('return 1 if arg.dtype.kind == "i" else 1.0', "return 1.0"),
        ("if value.dtype.hasobject:", "if False:"),
    ),
    *of(
        "compiler/dead_code.py",
        "tests/test_passes.py",
        ("if equation.primitive.is_random or not needed", "if not needed"),
    ),
    *of(
        "compiler/passes.py",
        "tests/test_passes.py",
        ("if key in seen and not equation.primitive.is_random:", "if key in seen:"),
        ("frozen(equation.params), kinds)", "frozen(equation.params))"),
        (
            "a if isinstance(a, Variable) else frozen(a) for a in args",
            "a for a in args",
        ),
        ("        others = others[1:]  # the", "        pass  # the"),
        ("plain_number(value) if is_alike else value.item()", "plain_number(value)"),
        (
            "return replace(equation, args=args) if gives(equation, args) else equation",
            "return replace(equation, args=args)",
        ),
        (
            "return (array.flat[0],) if (signs == signs.flat[0]).all() else None",
            "return (array.flat[0],)",
        ),
        ("and (array == array.flat[0]).all():", "and True:"),
        ("or value.dtype.itemsize >= 8 or not", "or not"),
        (
            "return out.is_array and made == (out.shape, out.dtype)",
            "return out.is_array and made[0] == out.shape",
        ),
        (
            "return out.is_array and made == (out.shape, out.dtype)",
            "return out.is_array and made[1] == out.dtype",
        ),
        (
            "return out.is_array and made == (out.shape, out.dtype)",
            "return made == (out.shape, out.dtype)",
        ),
        ("            and not equation.primitive.is_view\n", ""),
        ("            and equation.out in returned\n", ""),
        (
            "and (same in returned or _memory_of(same, made_by) not in made_by)",
            "and same in returned",
        ),
        (
            "and (same in returned or _memory_of(same, made_by) not in made_by)",
            "and _memory_of(same, made_by) not in made_by",
        ),
        ('"power": 1, "subtract": 0}', '"power": 1, "subtract": 0, "add": 0}'),
        ("is_literal(last, _NEUTRAL[name])", "last == _NEUTRAL[name]"),
        (
            "if not isinstance(candidate, Variable) or candidate.kind != out.kind:",
            "if not isinstance(candidate, Variable):",
        ),
        (
            "    is_alike = (candidate.shape, candidate.dtype) == (out.shape, out.dtype)\n",
            "    is_alike = candidate.dtype == out.dtype\n",
        ),
        (
            "    is_alike = (candidate.shape, candidate.dtype) == (out.shape, out.dtype)\n",
            "    is_alike = candidate.shape == out.shape\n",
        ),
        ("and atom == value and np.signbit(atom) == (value < 0)", "and atom == value"),
        (
            "return maker.args[0] if maker.out.dtype == equation.out.dtype else None",
            "return maker.args[0]",
        ),
        ("return new if gives(new, args) else equation", "return new"),
    ),
    *of(
        "compiler/scales.py",
        "tests/test_passes.py",
        (
            "if is_sum and isinstance(x, Variable) and x.size == out.size:",
            "if is_sum and isinstance(x, Variable):",
        ),
        (
            'equation.name == "sum" and out.shape and _is_alike(x, out)',
            'equation.name == "sum" and out.shape',
        ),
        ("if x in scaled and counts[x] == 1 and _holds", "if x in scaled and _holds"),
        ("and _holds(equation, number * scaled[x][0]):", "and True:"),
        (
            "isfinite(number) and float(limits.tiny) <= abs(number) <= float(limits.max)",
            "isfinite(number) and abs(number) <= float(limits.max)",
        ),
        (
            "isfinite(number) and float(limits.tiny) <= abs(number) <= float(limits.max)",
            "isfinite(number) and float(limits.tiny) <= abs(number)",
        ),
        (
            'or not equation.out.is_array or equation.out.dtype.kind != "f":',
            "or not equation.out.is_array:",
        ),
        ("return (1.0 / args[1], args[0]) if args[1] else None", "return (1.0 / args[1], args[0])"),
        (
            "isinstance(number, int | float) and _is_alike(x, equation.out):",
            "isinstance(number, int | float) and isinstance(x, Variable):",
        ),
        (
            "isinstance(args[1], int | float) and _is_alike(args[0], equation.out):",
            "isinstance(args[1], int | float) and isinstance(args[0], Variable):",
        ),
        (
            "isinstance(atom, Variable) and atom.is_array and atom.dtype == out.dtype",
            "isinstance(atom, Variable) and atom.is_array",
        ),
        (
            'is_total = equation.name == "sum" and not equation.out.shape',
            'is_total = equation.name == "sum"',
        ),
        ("while inner is not None and counts[inner.out] == 1:", "while inner is not None:"),
        (
            "_LEAST_FACTOR <= abs(number * split[0]) <= 1:",
            "_LEAST_FACTOR <= abs(number * split[0]):",
        ),
        ("_LEAST_FACTOR <= abs(number * split[0]) <= 1:", "abs(number * split[0]) <= 1:"),
        (
            'inner.name in {"sum", "reshape"} and _is_alike(inner.args[0], equation.out):',
            'inner.name in {"sum", "reshape"}:',
        ),
        ('inner.name == "square" and counts[inner.out] == 1:', 'inner.name == "square":'),
        (
            "isinstance(x, Variable) and x.shape and _is_wide(x):",
            "isinstance(x, Variable) and x.shape:",
        ),
        ('x.dtype.kind == "f" and x.dtype.itemsize >= 4', 'x.dtype.kind == "f"'),
        ("any(end in scaled for end in graph.ends if isinstance(end, Variable)) or any(", "any("),
        (
            "e is not scaling and e.out not in scaled and any(v in scaled for v in e.variables)",
            "False",
        ),
        ("return carriers if len(carriers) == len(args) else None", "return carriers"),
        (
            "all(a in carriers or is_literal(a, 0) for a in args[1:])",
            "all(a in carriers or not isinstance(a, Variable) for a in args[1:])",
        ),
        (
            'is_linear = carriers == [args[0]] if linear == "first" else linear == "each"',
            'is_linear = linear in {"first", "each"}',
        ),
        (
            'is_linear = carriers == [args[0]] if linear == "first" else linear == "each"',
            "is_linear = True",
        ),
        (
            "return carriers if is_linear and len(carriers) == 1 else None",
            "return carriers if is_linear else None",
        ),
        (
            'if e.section == "backward" and e.origin is not None and "g" not in given:',
            'if e.section == "backward" and e.origin is not None:',
        ),
        (' or equation.section != "update":', ":"),
        (
            "isinstance(x, Variable) and x.shape and _is_wide(x):",
            "isinstance(x, Variable) and _is_wide(x):",
        ),
        ("if e is last_of_origin[e.origin] and _is", "if _is"),
        ("if equation.out.is_number or equation is scaling:", "if equation is scaling:"),
    ),
    # The number to try next for a wish only saves counting up to it: next_number = 2 is no fault.
    *of(
        "compiler/naming.py",
        "tests/test_numpy_text.py tests/test_compiler_faults.py -k 'name or key or text or layer'",
        ("{*keyword.kwlist, *dir(builtins), *reserved}", "{*dir(builtins), *reserved}"),
        ("{*keyword.kwlist, *dir(builtins), *reserved}", "{*keyword.kwlist, *reserved}"),
        ("{*keyword.kwlist, *dir(builtins), *reserved}", "{*keyword.kwlist, *dir(builtins)}"),
        ("            self._used.add(known)\n", ""),
        ('unicodedata.normalize("NFKC", wish)', "wish"),
        ("while name in self._used:", "if name in self._used:"),
        ("if not name.isidentifier():", "if not name:"),
        ('if name.startswith("__") or not name.strip("_")', 'if not name.strip("_")'),
        ('if name.startswith("__") or not name.strip("_")', 'if name.startswith("__")'),
    ),
    *of(
        "compiler/recording.py",
        "tests/test_trace.py tests/test_compiler_faults.py -k 'constant or scalar or state'",
        ("self.constants[variable] = np.array(array)", "self.constants[variable] = array"),
        ("if _same_bits(self.constants[variable], array):", "if True:"),
        ("known.append((variable, array))", "known.append((variable, None))"),
        ("{old: new for old, new in pairs if new is not old}", "dict(pairs)"),
        ("isinstance(operand, np.ndarray | np.generic):", "isinstance(operand, np.ndarray):"),
    ),
    *of(
        "compiler/trace.py",
        "tests/test_loop.py -k 'handed'",
        ("if argument._recording is not self._recording:", "if False:"),
    ),
    *of(
        "compiler/formula.py",
        "tests/test_numpy_text.py",
        ("if right_binding < binding or (", "if ("),
        ('(as_code or sign != "+")', 'sign != "+"'),
        ('(as_code or sign != "+")', "as_code"),
        ("if left_binding < binding or (", "if ("),
        ('(name == "power" or not binding)', 'name == "power"'),
        ('(name == "power" or not binding)', "not binding"),
        ('3 if repr(number).startswith("-") else 5', "5"),
    ),
    # The NumPy engine: calls, statements, names, text. That a choice is not written over its own
    # condition is no fault today, when NumPy reads a run of the mask before it writes that run;
    # NumPy does not promise it.
    *of(
        "engines/numpy/statements.py",
        "tests/test_numpy_text.py tests/test_passes.py tests/test_compile.py -k 'not primitive'",
        (
            "return position == 2 and equation.args[2] not in equation.args[:2]",
            "return position in (1, 2)",
        ),
        (
            '        if equation.name == "where":\n            return position',
            "        if False:\n            return position",
        ),
        ("isinstance(condition, Variable) and condition.dtype == np.bool_", "True"),
        ("takes_out = takes_out and all(isinstance(a, Variable) for a in equation.args)", "pass"),
        ('return Method(item, "copy") if cuts else item', "return item"),
        ('if dtype.kind != "f" or float', "if float"),
        ("float(np.finfo(dtype).max) < abs(atom) < math.inf:", "False:"),
        ('equation.name == "maximum" and not np.signbit(atom):', 'equation.name == "maximum":'),
        ('if atom == 0 and equation.name == "maximum" and', "if atom == 0 and"),
        ('"dot" if is_plain and not self.exact else', '"dot" if is_plain else'),
        ("_sums_rows(equation) and not self.exact:", "_sums_rows(equation):"),
        ("x.dtype == equation.out.dtype and x.dtype in (np.float32, np.float64)", "True"),
        ('params["axis"] in (0, (0,)) and not params["keepdims"]', 'params["axis"] in (0, (0,))'),
        ('params["axis"] in (0, (0,)) and not params["keepdims"]', 'not params["keepdims"]'),
        ("lines = [] if args[2] is out else", "lines = [] if True else"),
        ('if picks_rows(equation.params["key"]):', "if True:"),
        ("or repr(defaults[key]) != repr(value)", ""),
        ("return axes is None or tuple(axes) == tuple(reversed(range(len(axes))))", "return True"),
        ('keepdims = (("keepdims", Literal(True)),) if', "keepdims = () if"),
        ("and len(args) == 2 and not _are_numbers(equation):", "and len(args) == 2:"),
    ),
    *of(
        "engines/numpy/emit.py",
        "tests/test_numpy_text.py tests/test_compile.py tests/test_compiled_step.py",
        ("if fresh_results and is_ours else code", "if False else code"),
        ('buffer is not None and buffer.kind != "input"', 'buffer and buffer.kind == "work"'),
        ('if buffer is not None and buffer.kind == "state":', "if False:"),
        ("        if atom in self.kept:\n            return self.kept[atom]\n", ""),
        ("body.append(Statement(copy, self", "body.append(Statement(self._operand(atom), self"),
        (
            'elif buffer.kind == "scratch":\n                self.file.tiled',
            "elif 0:\n                self.file.tiled",
        ),
        ('if wish == "out":', "if False:"),
        ("helper.passed[helper.out] = helper.passed.pop(helper.out)", "pass"),
        ("return source in self.graph.state and bool", "return bool"),
    ),
    *of(
        "engines/numpy/file.py",
        "tests/test_numpy_text.py tests/test_compiler_faults.py -k 'name or key or text or files'",
        (r'text.replace("\\", "\\\\")', 'text.replace("", "")'),
        ("""replace('"', "'") if""", """replace("", "") if"""),
        ("return constant.size <= _SHORT", "return 0 < constant.size <= _SHORT"),
        (
            'key = (helper.function.wish, "\\n".join(lines))',
            "key = (helper.function.wish, lines[0])",
        ),
        (
            'names = Scope(["np", *reserved], parent=self.names)',
            'names = Scope(["np"], parent=self.names)',
        ),
        ('self.names = Scope(["np"])', "self.names = Scope()"),
        (
            "(*file.borrowed.symbols, self.function, self.bind):",
            "(self.function, self.bind, *file.borrowed.symbols):",
        ),
        ("(TILE,) if buffer in file.tiled else buffer.shape", "buffer.shape"),
    ),
    *of(
        "engines/numpy/code.py",
        "tests/test_numpy_text.py",
        ('text = "np.nan" if math.isnan(value) else "np.inf"', "text = repr(value)"),
        ('(f"-{text}", 3) if value < 0 else (text, 5)', "(text, 5)"),
        ('(f"-{text}", 3) if value < 0', '(f"-{text}", 5) if value < 0'),
        (
            'if binding == 5 and not text[0].isdigit() else f"({text})"',
            'if binding == 5 else f"({text})"',
        ),
        ('text if binding == 5 and not text[0].isdigit() else f"({text})"', "text"),
        ("text if binding > 3 else f'({text})'", "text"),
        ('"-np.inf" if value < 0 else "np.inf"', '"np.inf"'),
        ('if value.dtype.kind == "f" and not np.isfinite(value):', "if False:"),
        (
            'return f"np.{value.dtype.name}({_show_element(value)})", 5',
            "return _show_element(value), 5",
        ),
        ("',' if len(parts) == 1 else ''", "''"),
        ('or function.name in {"maximum", "minimum"}:', ":"),
        ("c if c.isprintable() else repr(c)[1:-1] for c in text", "c for c in text"),
        (
            "function.bare is not None and self.names[function.bare] == function.name",
            "function.bare",
        ),
        ("or '()'}]\"", "or ':'}]\""),
        ("operands[0], operands[1], as_code=True)", "operands[0], operands[1])"),
    ),
    # The C engine: many epochs in one call, what a program is handed, numbers. That an array
    # of samples is aligned is no fault where processors read any address, as x86-64 does.
    *of(
        "engines/c/epochs.py",
        "tests/test_c_epochs.py",
        ("while (value > most)", "while (value >= most)"),
        ("if (!isfinite(many->losses[batch]))", "if (0)"),
        ("if (!isfinite(own->PARAMETERS[i]))", "if (0)"),
        ("many->losses += many->end;", ""),
        ("many->first_step += many->end;", ""),
        ("many->order = order;", ""),
        ("const int64_t taken = order[j];", "const int64_t taken = order[i];"),
        ("copy.deepcopy(rng), copy.deepcopy(rng)", "rng, copy.deepcopy(rng)"),
    ),
    *of(
        "engines/c/many.py",
        "tests/test_c_epochs.py",
        ("return losses[:done]", "return losses"),
        ("        COUNT\n", ""),
    ),
    *of(
        "engines/c/many.py",
        "tests/test_c_program.py",
        ("a.flags.c_contiguous and a.flags.aligned for a", "a.flags.aligned for a"),
    ),
    *of(
        "engines/c/memory.py",
        "tests/test_c_program.py",
        ("if not lies_well or (array.dtype, array.shape) !=", "if (array.dtype, array.shape) !="),
        ("not lies_well or (array.dtype, array.shape) != (own.dtype, own.shape)", "not lies_well"),
    ),
    *of(
        "engines/c/program.py",
        "tests/test_c_program.py",
        ("except OverflowError:", "except ZeroDivisionError:"),
        ("            own[...] = new\n", "            pass\n"),
        ("if status != _ONLY_PYTHONS:", "if True:"),
        (
            "self._results = [self._result(result) for result in self._memory.file.results]",
            "pass",
        ),
    ),
    *of(
        "engines/c/numbers.py",
        "tests/test_c_program.py",
        ('_SAFE = "9e18"', '_SAFE = "9e19"'),
        ('if of == "power" and isinstance(args[1], str):', "if False:"),
        ("_not_zero(closed[1], args[1]) if of in _DIVISIONS else []", "[]"),
        ('if of in {"positive", "remainder"}:', 'if of != "power":'),
        ('if (!isfinite({name}) && {finite})", "    return 2;"', 'if (0)", "    return 2;"'),
    ),
    # Gradient checks
    *of(
        "gradcheck/check.py",
        "tests/test_gradcheck.py",
        ("if len(found) != len(args):", "if len(found) > len(args):"),
        ("if not comparison.faults and not comparison.directions:", "if not comparison:"),
        ('any(fault.cause == "in place" for fault in comparison.faults)', "True"),
        ("set(found) != set(like)", "len(found) != len(like)"),
    ),
    *of(
        "gradcheck/compare.py",
        "tests/test_gradcheck.py",
        ('if given.dtype.kind in "biuf":', 'if given.dtype.kind in "biufcOU":'),
        ("0 <= rtol < 1", "0 <= rtol"),
        ("if gradient.shape != direction.shape:", "if gradient.size != direction.size:"),
        ("_N_ROUNDS = 2", "_N_ROUNDS = 1"),
    ),
    *of(
        "gradcheck/faults.py",
        "tests/test_gradcheck.py",
        ("if not runs(position) and runs(None)", "if not runs(position)"),
        ("different = leaf != copy", "different = leaf != leaf"),
    ),
    *of(
        "gradcheck/numeric.py",
        "tests/test_gradcheck.py",
        ("(4 * differences[1:] - differences[:-1]) / 3", "differences[1:]"),
        ("(plus - minus) / (2 * step)", "(plus - minus) / step"),
    ),
    *of(
        "gradcheck/table.py",
        "tests/test_primitives.py -k 'planted or forgotten or missing or without_cases'",
        ("fault.leaf == floats.index(position)", "fault.leaf == position + 1"),
        ("key=lambda fault: not fault.cause", "key=lambda fault: bool(fault.cause)"),
        ("if not smooth.any():", "if smooth.any():"),
    ),
    # Data
    *of(
        "data/storage.py",
        "tests/test_data.py",
        ("if most is not None and wanted > most:", "if most is not None and wanted < 0:"),
        ("if file.sha256 is not None and", "if file.sha256 is None and"),
        ("if size != wanted:", "if size < wanted:"),
        ("and n_axes <= _MOST_AXES", "and n_axes < 256"),
    ),
    *of(
        "data/dataset.py",
        "tests/test_data.py",
        ("math.ceil(n_samples * test_size - 1e-9)", "math.ceil(n_samples * test_size)"),
        ("np.argsort(quotas - shares,", "np.argsort(shares - quotas,"),
        ("constant = x.min(axis=0) == x.max(axis=0)", "constant = x.std(axis=0) == 0"),
        ("width, height).swapaxes(1, 2)", "height, width)"),
    ),
    *of(
        "data/ex4.py",
        "tests/test_data.py",
        ("far = ((-0.5 * t + 2.5)", "far = ((-0.5 * t + 2.4)"),
        ('array.dtype.kind in "iuf"', 'array.dtype.kind in "iufc"'),
    ),
    # The command line and its files
    *of(
        "cli/train.py",
        "tests/test_cli.py -k 'mistakes or refused'",
        ("0 < options.learning_rate < math.inf", "0 < options.learning_rate"),
        ("or weights > _MOST_WEIGHTS", "or weights > 10**30"),
    ),
    *of(
        "files.py",
        "tests/test_files.py",
        ("beside.unlink(missing_ok=True)", "pass"),
        ("if not path.exists()", "if path.exists()"),
    ),
]


def ill_fitting(mutants: list[Mutant]) -> list[str]:
    """What is wrong with the table: texts that a file does not hold exactly once."""
    faults = []
    for mutant in mutants:
        path = ROOT / "src" / "chainrule" / mutant.file
        count = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
        if count != 1:
            faults.append(f"{mutant.file} holds {mutant.old!r} {count} times, not once")
        elif mutant.old == mutant.new:
            faults.append(f"{mutant.file}: {mutant.old!r} is not changed")
    return faults


def verdict(tests: str, mutant: Mutant | None = None) -> str:
    """`red`, `green`, or what else came of these tests on a copy of the project.

    Red is what pytest counts as failed: its status is 2 both where -x stops its processes at a
    failure and where a file cannot be imported, which says nothing of what the tests notice.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        without_caches = shutil.ignore_patterns("__pycache__", "*.png")
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=without_caches)
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant is not None:
            path = copy / "src" / "chainrule" / mutant.file
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        data = ROOT.parent / "shared" / "data"
        environment = {
            **({"CHAINRULE_DATA": str(data)} if data.is_dir() else {}),
            **os.environ,
            "PYTHONPATH": str(copy / "src"),
            "OPENBLAS_NUM_THREADS": "1",
        }
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *options, *shlex.split(tests)]
        try:
            run = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return RED
    last = (run.stdout + run.stderr).strip().rpartition("\n")[2]
    if run.returncode == 0:
        return GREEN if re.search(r"\b[1-9]\d* passed\b", last) else f"not run: {last}"
    return RED if re.search(r"\b[1-9]\d* failed\b", last) else f"not run: {last}"


def faults_of_suite(tests: str, file: str) -> str:
    """What makes these tests no judge of faults in this file; nothing if they are one."""
    if (found := verdict(tests)) != GREEN:
        return f"{tests}: {found} without a fault"
    text = (ROOT / "src" / "chainrule" / file).read_text(encoding="utf-8")
    if verdict(tests, Mutant(file, text, "raise ImportError", tests)) == GREEN:
        return f"{tests}: green without {file}"
    return ""


def main(words: list[str]) -> int:
    chosen = [m for m in MUTANTS if not words or any(word in m.place for word in words)]
    faults = ill_fitting(MUTANTS)
    if faults or not chosen:
        print("\n".join(faults) or f"no mutant holds one of {words}")
        return 1
    survived = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        suites = dict.fromkeys((mutant.tests, mutant.file) for mutant in chosen)
        if faults := list(filter(None, pool.map(lambda suite: faults_of_suite(*suite), suites))):
            print("\n".join(faults))
            return 1
        found_of = pool.map(lambda mutant: verdict(mutant.tests, mutant), chosen)
        for mutant, found in zip(chosen, found_of, strict=True):
            print(f"{found:8} {mutant.place}", flush=True)
            if found != RED:
                survived.append(mutant)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} faults noticed")
    for mutant in survived:
        print(f"SURVIVED {mutant.place}\n         {mutant.tests}")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
