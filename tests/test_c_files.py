"""Printed C files: golden ones, without a warning, as programs of their own, under sanitizers.

The golden files are written anew with `pytest tests/test_c_files.py --write-golden`: read the diff.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from c_engine import Shared, assert_close, needs_compiler
from test_c_networks import Trained, check_all

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines import compiled as compiled_functions
from chainrule.engines.c.toolchain import SANITIZERS, WARNINGS, build_program
from chainrule.primitives import sigmoid
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.samples import Batch

X = np.random.default_rng(0).normal(size=(3, 3))
GOLDEN = Path(__file__).parent / "golden"


def step_text(layers, input_shape, loss="squared_error", optimizer=None, batch=4) -> str:
    """The C text of a training step, which need not be compiled."""
    net = nn.Network(layers, input_shape=input_shape, seed=0)
    step = CompiledStep(net, nn.losses.get_loss(loss), optimizer or optim.Adam())
    x = np.zeros((batch, *net.input_shape), np.int64 if layers[0].takes_integers else np.float32)
    step.compile_for(x, np.zeros((batch, *net.output_shape), np.float32))
    return step.source_for("c")


def neuron(W, x, b):
    """The sum over y = σ(W x + b)."""
    return np.sum(sigmoid(W @ x + b))


def function_text(function, *shapes) -> str:
    compiled = cr.compile(function)
    compiled(*map(np.ones, shapes))
    return compiled.source_for("c")


TEXTS = {
    "xor_momentum": lambda: step_text(
        [nn.Dense(3), nn.Tanh(), nn.Dense(1), nn.Tanh()], 2, "mean_squared_error",
        optim.SGD(0.1, 0.9),
    ),
    "neuron": lambda: function_text(
        cr.value_and_grad(neuron, argnums=(0, 1, 2)), (2, 3), (3,), (2,)
    ),
}  # fmt: skip
PROGRAMS = {
    **TEXTS,
    "mlp, batch norm and dropout": lambda: step_text(
        [nn.Dense(20), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.5), nn.Dense(3)], 10, "cross_entropy"
    ),
    "images": lambda: step_text(
        [nn.Conv2D(4, 3), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(3)], (10, 10, 2)
    ),
    "LSTM": lambda: step_text([nn.LSTM(4), nn.Dense(2)], (6, 3)),
    "embedding and attention": lambda: step_text(
        [nn.Embedding(9, 8), nn.MultiHeadAttention(2), nn.LayerNorm(), nn.Flatten(), nn.Dense(2)], 5
    ),
    "large products": lambda: step_text([nn.Dense(64), nn.GELU(), nn.Dense(8)], 64, batch=64),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_golden_text(name, request):
    text, file = TEXTS[name](), GOLDEN / f"{name}.c"
    if request.config.getoption("--write-golden"):
        file.write_text(text)
    assert text == file.read_text(), f"the C file of {name} has changed: see --write-golden"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_text_is_the_same_each_time_and_narrow(name):
    text = PROGRAMS[name]()
    assert text == PROGRAMS[name]()
    assert max(map(len, text.splitlines())) <= 120
    assert "\t" not in text


@needs_compiler
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_file_alone_runs_one_step(name, tmp_path):
    """By `cc step.c -lm && ./a.out`, in plain C99 too."""
    (tmp_path / "step.c").write_text(PROGRAMS[name]())
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or "clang"
    for flags in ([], ["-std=c99", "-O1"]):
        command = [*compiler.split(), *flags, "step.c", "-lm"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (made.returncode, made.stderr) == (0, "")
        done = subprocess.run(
            [str(tmp_path / "a.out")], capture_output=True, text=True, check=True, timeout=20
        )
        found = re.fullmatch(r"\w+ on random data returned (\S+)\n", done.stdout)
        assert found, done.stdout
        assert np.isfinite(float(found[1]))


@needs_compiler
@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_clean(name, tmp_path):
    """Without a warning, and as C defines it."""
    run_clean(TEXTS[name](), tmp_path)


def run_clean(text, folder):
    build_program(text, folder / "step", extra=(*WARNINGS, *SANITIZERS, "-O1"))
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [str(folder / "step")], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_file_is_clean(name, tmp_path):
    run_clean(PROGRAMS[name](), tmp_path)


HOSTILE = (
    "exp_double exp_coefficients_double maximum_double f f_many f_epochs product_double own many i "
    "j k l l5 generator main uint32_t EXPORT LIBRARY M_PI_2 NULL bool workspace status out total t "
    "y0 nan remove rename INT64_MIN long struct row step λ __x _Capital x_matrix matmul_1001 order"
).split()


@needs_compiler
def test_no_name_of_a_users_gets_in_the_way():
    """Functions and arguments by names that C files have or use themselves."""
    shared = Shared(("-O0",))
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_functions, "build_program", shared.build_program)
        for name in HOSTILE:
            space = {"np": np}
            lines = f"np.exp(np.tanh({name}) @ exp2_double) + np.maximum({name}, 0.5)"
            exec(f"def f({name}, exp2_double):\n    return {lines} + np.exp2({name}).sum()", space)
            function = space["f"]
            function.__name__ = name
            ours = cr.compile(function)
            with shared.only_building(), pytest.raises(RuntimeError, match="compiled later"):
                ours(X, X)
            made.append((function, ours))
        shared.load()
        for function, ours in made:
            assert_close(ours(X, X), function(X, X))


@needs_compiler
def test_no_name_of_a_layer_gets_in_the_way():
    names = [name for name in HOSTILE if name.isascii()]
    trained = []
    for number in range(0, len(names) - 2, 3):
        one, two, three = names[number : number + 3]
        layers = [nn.Dense(3, name=one), nn.LayerNorm(name=two), nn.Dense(2, name=three)]
        net = nn.Network(layers, input_shape=4, seed=0)
        batches = [Batch(np.ones((3, 4), np.float32), np.ones((3, 2), np.float32))] * 2
        trained.append(Trained(one, net, nn.losses.squared_error, optim.Adam(), batches))
    check_all(trained, ("-O0",))


def sanitized(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`sanitized.py` in a process that begins with the sanitizer."""
    library = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True
    ).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip("gcc has no sanitizers here")
    environment = {**os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"}
    script = Path(__file__).with_name("sanitized.py")
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@needs_compiler
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
class TestUnderSanitizers:
    def test_a_fault_is_seen(self):
        done = sanitized("fault", "0", "0")
        assert done.returncode != 0
        assert "heap-buffer-overflow" in done.stderr

    @pytest.mark.parametrize("part", range(3))
    def test_random_programs(self, part):
        done = sanitized("random", str(5_000 + 100 * part), str(5_100 + 100 * part))
        assert done.returncode == 0, done.stderr[-3000:]

    @pytest.mark.parametrize("part", range(6))
    def test_networks(self, part):
        done = sanitized("networks", str(60 * part), str(60 * (part + 1)))
        assert done.returncode == 0, done.stderr[-3000:]
