"""The notebooks are those of their scripts, and run from the first cell to the last.

Each is run by a kernel as a reader's would be: in an empty folder, warnings as errors.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
from pathlib import Path

import pytest

import chainrule

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))

_spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools" / "notebooks.py")
notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(notebooks)


def by_name(path):
    return path.stem


def test_there_is_a_notebook_for_each_publication():
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert names == {path.stem for path in SCRIPTS}
    assert names == {
        "tour",
        "bias_trick",
        "column_vectors",
        "layer_library",
        "by_hand",
        "regularised_cost",
    }


@pytest.mark.parametrize("script", SCRIPTS, ids=by_name)
def test_notebooks_are_those_of_their_scripts(script):
    stored = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert stored == notebooks.text(script), "run `python tools/notebooks.py`"


@pytest.mark.parametrize("script", SCRIPTS, ids=by_name)
def test_a_notebook_holds_its_whole_script_and_no_outputs(script):
    stored = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    joined = "\n".join("".join(cell["source"]) for cell in code)
    assert ast.dump(ast.parse(joined)) == ast.dump(ast.parse(script.read_text(encoding="utf-8")))
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert len({cell["id"] for cell in stored["cells"]}) == len(stored["cells"])
    asserts = sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(joined)))
    assert asserts >= 4, "its numbers are compared"


def test_an_unknown_mark_is_refused():
    with pytest.raises(ValueError, match="begins no cell"):
        notebooks.notebook("# %% markdown\n# text\n", "x")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all notebooks: its start takes as long as a notebook."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient runs the notebooks")
    pytest.importorskip("ipykernel", reason="ipykernel runs the notebooks")
    nbformat = pytest.importorskip("nbformat")
    folder = tmp_path_factory.mktemp("notebooks")
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=60,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    # The package that is tested here, wherever the kernel runs.
    found = os.pathsep.join(
        [str(Path(chainrule.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    with client.setup_kernel(env={**os.environ, "PYTHONPATH": found.rstrip(os.pathsep)}):
        yield client


def run(kernel, cells):
    """Run the cells in a fresh namespace of the kernel; raises nbclient's CellExecutionError."""
    import nbformat

    fresh = "%reset -f\nimport warnings\nwarnings.simplefilter('error')\ndel warnings"
    kernel.nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(fresh), *cells])
    for i, cell in enumerate(kernel.nb.cells):
        kernel.execute_cell(cell, i)
    return kernel.nb.cells[1:]


@pytest.mark.parametrize("script", SCRIPTS, ids=by_name)
def test_notebooks_run(kernel, script):
    import nbformat

    cells = run(kernel, nbformat.read(script.with_suffix(".ipynb"), as_version=4).cells)
    shown = {
        kind for cell in cells for out in cell.get("outputs", ()) for kind in out.get("data", ())
    }
    # explained, drawn, and where there is a plot, a picture
    assert {"text/html", "image/svg+xml"} <= shown
    errors = [
        out for cell in cells for out in cell.get("outputs", ()) if out.get("name") == "stderr"
    ]
    assert not errors


def test_a_fault_in_a_cell_is_noticed(kernel):
    import nbclient
    import nbformat

    for code in ("assert 1 == 2", "import warnings; warnings.warn('a warning')"):
        with pytest.raises(nbclient.exceptions.CellExecutionError):
            run(kernel, [nbformat.v4.new_code_cell(code)])
