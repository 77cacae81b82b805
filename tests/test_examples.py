"""The examples run as they are, offline; the notebook without Jupyter, its cells in order."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOK: dict[str, Any] = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
SMALL = {"QUICKSTART_PERIODS": "1", "QUICKSTART_EPOCHS": "1", "QUICKSTART_PROBES": "20"}


def run(code: str, folder: Path, **variables: str) -> str:
    """The output of a fresh process; the test fails if it does."""
    own = {"FKI_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:fki", "-c", code],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def code_cells() -> list[str]:
    """The notebook's code, with its shell commands as calls of this interpreter."""
    found = []
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            found.append("\n".join(map(as_python, lines)))
    return found


def as_python(line: str) -> str:
    if not line.startswith("!fki "):
        return line
    command = ["-m", *line.removeprefix("!").split()]
    return f"import subprocess, sys; subprocess.run([sys.executable, *{command!r}], check=True)"


@pytest.mark.slow
def test_the_model_learns_the_facts_of_the_example(tmp_path: Path) -> None:
    out = run((EXAMPLES / "own_facts.py").read_text(encoding="utf-8"), tmp_path)
    answer = next(line for line in out.splitlines() if line.startswith("The mayor of Camelot"))
    assert "Cleo Hart" in answer
    assert [file.name for file in tmp_path.iterdir()] == ["home"] or not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_the_cells_of_the_notebook_run_in_order(tmp_path: Path) -> None:
    ending = (
        "print(len(comparison.arms), comparison.left_out)\n"
        "assert all('<table' in each._repr_html_() for each in (*runs, comparison))"
    )
    out = run("\n\n".join([*code_cells(), ending]), tmp_path, **SMALL)
    assert out.splitlines()[-1] == "2 {}"
    assert out.count("evaluated after base") == 2


def test_the_notebook_has_no_outputs_and_names_no_folder() -> None:
    assert NOTEBOOK["nbformat"] == 4 and NOTEBOOK["nbformat_minor"] >= 5
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert "/home/" not in json.dumps(NOTEBOOK)


@pytest.mark.parametrize("cell", code_cells(), ids=range(len(code_cells())))
def test_each_cell_is_python_of_short_lines(cell: str) -> None:
    compile(cell, "cell", "exec")
    assert all(len(line) <= 100 for line in cell.splitlines() if "subprocess" not in line)
