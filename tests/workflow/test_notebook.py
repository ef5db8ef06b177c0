"""The notebook of the documentation runs, and shows what it is committed with."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "first_table.ipynb"

MACHINE = re.compile(r"(?<![\w.])/(?:tmp|root|home|Users|work|var|opt|mnt)/|site-packages|\.venv")
"""Paths of one machine."""


def structure(notebook: nbformat.NotebookNode) -> list[tuple[str, list[object]]]:
    """The source of each code cell, and the kinds of its outputs with the columns of tables."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = []
            for output in cell.outputs:
                data = output.get("data", {})
                heads = re.findall(r"<th>([a-z_]+)</th>", data.get("text/html", ""))
                outputs.append((output.output_type, output.get("name"), sorted(data), heads))
            found.append((cell.source, outputs))
    return found


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_committed_notebook_was_run_once_from_top_to_bottom() -> None:
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds == {"execute_result"}  # no error, and nothing on standard error


def test_the_committed_notebook_names_no_path_of_a_machine() -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert MACHINE.findall(text) == []
    assert str(Path.home()) not in text
    assert MACHINE.search("see /tmp/x")  # the search can find something


def test_the_committed_notebook_shows_scores_and_a_report() -> None:
    (scores,) = [o for s, o in structure(read()) if '"value", "interval"]' in s]
    columns = ["row", "seed", "dataset", "metric", "value", "interval"]
    assert scores[0][3][:6] == columns
    (shown,) = [cell.outputs[0].data for cell in read().cells if cell.source.endswith("\nreport")]
    assert "srcdoc" in shown["text/html"]
    assert "Merged, plain" in shown["text/html"]


@pytest.mark.slow
@pytest.mark.java
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_and_its_outputs_have_the_committed_structure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``AVBENCH_UPDATE_NOTEBOOKS=1`` commits the new outputs instead."""
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = read()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=1500,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    made = client.execute()
    assert (tmp_path / "results" / "smoke" / "table.md").is_file()
    if os.environ.get("AVBENCH_UPDATE_NOTEBOOKS"):
        made.metadata.language_info = {"name": "python"}
        nbformat.write(made, NOTEBOOK)
        return
    assert structure(made) == structure(read())
