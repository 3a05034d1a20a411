"""The house rules: who imports whom, what is public, which words are used, how long files are."""

from __future__ import annotations

import ast
import importlib
import re
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
FILES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SRC / "chainrule").rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

# The house, level by level: a room imports only from rooms on levels above its own, and its own
# modules are free among themselves. A module that stands alone is a room of its own. `chainrule`
# itself, which gathers the public names, stands below all that a user imports with it.
LEVELS = [
    ["version", "extras", "files", "names", "palette", "scope", "tree", "warn"],
    ["html"],
    ["primitives"],
    ["tape"],
    ["tensor"],
    ["autodiff"],
    ["loop"],
    ["gradcheck", "compiler"],
    ["engines", "optim"],
    ["training"],
    ["see"],
    ["diagnosis", "review"],
    ["nn"],
    ["data"],
    [""],
    ["plots"],
    ["experiments"],
    ["cli"],
    ["__main__"],
]

# Imports from below, inside a function, each with its reason: (module, imported) -> why.
FROM_BELOW = {}

# What a module may import at its top beside NumPy; all else is imported where it is used.
AT_TOP = {
    # cli/__init__.py imports the rest of its package once it has seen that the extra is there
    "cli": {"typer", "rich"},
    # plots/picture.py is itself imported where a figure is made
    "plots": {"matplotlib"},
}

# DESIGN's one word per concept: none of these, as a word within a name we give.
FORBIDDEN = {
    "op": "primitive",
    "ops": "primitives",
    "adjoint": "cotangent, g",
    "pullback": "vjp",
    "delta": "cotangent, g",
    "cost": "loss",
    "eta": "learning_rate",
    "lr": "learning_rate",
    "jitted": "compiled step",
    "module": "layer, Network",
}
# Where such a word is another field's name for another thing: (file, name) -> why.
ALLOWED_WORDS = {
    ("training/losses.py", "delta"): "Huber's own letter for the width of the quadratic part",
    ("training/callbacks.py", "min_delta"): "the name users know from Keras",
    ("experiments/__init__.py", "module"): "a Python module",
    ("experiments/__init__.py", "module_name"): "a Python module's name",
    ("experiments/__init__.py", "modules"): "Python modules",
}

# Files past 500 lines, each with its reason.
LONG_FILES: dict[str, str] = {}


def place(module: str) -> str:
    """The room of a module given as chainrule.x.y."""
    return module.split(".")[1] if "." in module else ""


def level(module: str) -> int:
    """How far down the house a module stands; one without a place fails a test of its own."""
    return next((i for i, rooms in enumerate(LEVELS) if place(module) in rooms), len(LEVELS))


def may_import(module: str, imported: str) -> bool:
    """Whether the imported module is in the same room, or in one on a level above."""
    return place(imported) == place(module) or level(imported) < level(module)


def chainrule_imports(module: str) -> Iterator[tuple[str, bool, int]]:
    """(imported module, whether inside a function, line) for each import of our own."""
    tree = TREES[module]
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively: write chainrule.…"
            # `from chainrule import tree` imports the module chainrule.tree
            names = [
                full if (full := f"{node.module}.{alias.name}") in FILES else str(node.module)
                for alias in node.names
            ]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "chainrule":
                yield name, node in inner, node.lineno


def test_every_module_has_its_place():
    absent = {place(module) for module in FILES} - {room for rooms in LEVELS for room in rooms}
    assert not absent, f"give these modules their place in LEVELS: {sorted(absent)}"


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_what_stands_above_it(module):
    wrong = [
        f"line {line}: {imported}{' in a function, without a reason' if inside else ''}"
        for imported, inside, line in chainrule_imports(module)
        if not may_import(module, imported) and (place(module), place(imported)) not in FROM_BELOW
    ]
    assert not wrong, f"{module} imports from below: {wrong}"


def test_every_import_from_below_is_still_needed():
    found = {
        (place(module), place(imported))
        for module in FILES
        for imported, _, _ in chainrule_imports(module)
    }
    assert set(FROM_BELOW) <= found, f"no longer imported: {set(FROM_BELOW) - found}"


@pytest.mark.parametrize("module", FILES)
def test_only_numpy_is_imported_at_the_top(module):
    tops = []
    for node in TREES[module].body:
        if isinstance(node, ast.Import):
            tops += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            tops.append(str(node.module))
    packages = {name.split(".")[0] for name in tops}
    allowed = {"chainrule", "numpy"} | AT_TOP.get(place(module), set())
    foreign = packages - set(sys.stdlib_module_names) - allowed
    assert not foreign, f"{module} imports {foreign} at its top: import it where it is used"


def test_import_chainrule_brings_numpy_alone():
    def packages_after(statement: str) -> set[str]:
        code = f"{statement}; import sys; print(*sorted(m.split('.')[0] for m in sys.modules))"
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return set(run.stdout.split())

    brought = packages_after("import chainrule") - packages_after("import numpy")
    # `_sysconfigdata_…` is the standard library's too, under a name made for the platform
    foreign = {name for name in brought if not name.startswith("_")} - set(sys.stdlib_module_names)
    assert foreign == {"chainrule"}


# Public names

IMPORTED = {
    (node.module, alias.name)
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def public_definitions(module: str) -> set[str]:
    """The functions, classes and primitives that a module itself defines at its top.

    An alias of a type or a constant counts where another module imports it.
    """
    names: set[str] = set()
    values: set[str] = set()
    for node in TREES[module].body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            values |= {part.id for part in parts if isinstance(part, ast.Name)}
    names |= {name for name in values if name.islower() or (module, name) in IMPORTED}
    return {name for name in names if not name.startswith("_")}


def reading_order(name: str) -> tuple[int, list[object]]:
    """CONSTANTS, then Classes, then functions, each sorted, numbers as numbers: ruff's RUF022."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


@pytest.mark.parametrize("module", [name for name in FILES if "._" not in name])
def test_all_is_complete_and_sorted(module):
    loaded = importlib.import_module(module)
    listed = getattr(loaded, "__all__", None)
    if listed is None:
        is_package = FILES[module].name == "__init__.py"
        assert not is_package, f"{module} has no __all__"
        assert not public_definitions(module), f"{module} has no __all__"
        return
    absent = public_definitions(module) - set(listed)
    assert not absent, f"put into __all__, or begin with an underscore: {sorted(absent)}"
    unknown = [name for name in listed if not hasattr(loaded, name)]
    assert not unknown, f"__all__ names what is not there: {unknown}"
    is_written_out = any(
        isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "__all__"
        and isinstance(node.value, ast.List)
        for node in TREES[module].body
    )  # otherwise it is gathered from those of a package's modules
    assert list(listed) == sorted(set(listed), key=reading_order if is_written_out else None)


# Words and sizes


def given_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name the source gives: definitions, arguments, variables, attributes set."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def words(name: str) -> list[str]:
    """The words of a name: snake_case and CamelCase taken apart."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")


@pytest.mark.parametrize("module", FILES)
def test_one_word_per_concept(module):
    path = FILES[module]
    relative = str(path.relative_to(SRC / "chainrule"))
    wrong = [
        f"line {line}: {name}: write {FORBIDDEN[word]}"
        for name, line in given_names(TREES[module])
        for word in words(name)
        if word in FORBIDDEN and (relative, name) not in ALLOWED_WORDS
    ]
    assert not wrong, f"{relative}: {wrong}"


def test_long_files_have_a_reason():
    long = {
        str(path.relative_to(SRC)): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES.values()
    }
    long = {name: n_lines for name, n_lines in long.items() if n_lines > 500}
    assert set(long) == set(LONG_FILES), f"past 500 lines: {long}; with a reason: {LONG_FILES}"


def test_no_name_of_this_machine_stands_in_the_project():
    for folder in ("src", "tests", "docs", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".toml"} and path != Path(__file__):
                found = re.search(r"/(home|root|work)/\w+", path.read_text(encoding="utf-8"))
                assert found is None, f"{path} names the folder {found and found[0]}"


# The network


def looked_up():
    socket.getaddrinfo("example.org", 80)


def connected():
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def downloaded():
    try:
        urllib.request.urlopen("http://example.org/", timeout=1)
    except Exception:  # as a library may that tries another mirror
        return


@pytest.mark.parametrize("use", [looked_up, connected, downloaded])
def test_no_test_can_use_the_network(use):
    with pytest.raises(BaseException, match="a test (connects to|looks up the host)"):
        use()


# The package


def test_wheel_holds_the_library_alone(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    version = importlib.import_module("chainrule").__version__
    wheel = tmp_path / f"chainrule-{version}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert "chainrule/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    modules = {name for name in names if name.endswith(".py")}
    assert modules == {str(path.relative_to(SRC)) for path in FILES.values()}
    assert all(name.startswith("chainrule") for name in names)
