"""Make the notebooks from the sources beside this file, run them, and keep what they print; `make notebooks` runs it.

    python examples/notebooks/make.py
    python examples/notebooks/make.py tickets entities

A source is plain Python in cells: `# %%` begins one of code, `# %% [markdown]` one of text, whose lines are comments.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SECONDS = 900  # for a cell, on a busy machine
COLAB = """[Open in Colab](https://colab.research.google.com/github/{repository}/blob/main/examples/notebooks/{name}.ipynb),
and run this first there:

`%pip install "hfrecipes[quickstart,generation] @ git+https://github.com/{repository}"`"""
SOURCES = sorted(file for file in FOLDER.glob("*.py") if file.stem != "make")


def repository() -> str:
    """Owner and name on GitHub, from setup.cfg, which a release fills in; a placeholder before."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    address = setup["metadata"].get("url", "").rstrip("/")
    return address.partition("github.com/")[2] or "<repository>"


def cells_of(source: str, link: str) -> list[Any]:
    """Cells of a source, without outputs; the link comes after the heading."""
    cells = []
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        body = body.strip("\n")
        if "[markdown]" in heading:
            text = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
            cells.append(nbformat.v4.new_markdown_cell(text))
        else:
            cells.append(nbformat.v4.new_code_cell(body))
    cells.insert(1, nbformat.v4.new_markdown_cell(link))
    # Ids are random otherwise, and every notebook would differ each time.
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return cells


def notebook_of(source: Path) -> Any:
    """The notebook of a source, not yet run."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    link = COLAB.format(repository=repository(), name=source.stem)
    cells = cells_of(source.read_text(encoding="utf-8"), link)
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def run(notebook: Any, folder: Path) -> Any:
    """The notebook with what its cells print, run in a folder.

    Raises:
        CellExecutionError: A cell failed.
    """
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of this machine
        if "outputs" in cell:
            cell.outputs = tidied(cell.outputs)
    notebook.metadata.pop("language_info", None)
    return notebook


def tidied(outputs: list[Any]) -> list[Any]:
    """Outputs with what is printed in one piece, without the bars of loaded files and folders of this machine."""
    kept: list[Any] = []
    for output in outputs:
        if output.output_type != "stream":
            kept.append(output)
        elif output.name == "stdout":
            output.text = without_paths(output.text)
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
    return kept


def without_paths(text: str) -> str:
    """The text without folders of this machine before the name of a package or a run."""
    return re.sub(r"(?<![\w:/])/(?:[\w.@+-]+/)+(?=[\w.-])", "…/", text)


def main() -> None:
    """Make all notebooks, or those whose names are given."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    names = sys.argv[1:]
    for source in SOURCES:
        if names and source.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(notebook_of(source), Path(folder))
        nbformat.write(notebook, source.with_suffix(".ipynb"))
        print(source.stem, flush=True)


if __name__ == "__main__":
    main()
