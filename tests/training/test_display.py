"""A training is read: a line for each evaluation, no bars where nobody watches, one table in a notebook."""

from __future__ import annotations

import re

import pytest
from processes import run_python
from rows import opinions

import hfrecipes

TASK = "text-classification"
LINE = r"epoch {}/2  loss [\d.]+  validation accuracy [\d.]+( \(best\))?  \d:\d\d"


@pytest.fixture
def settings(tiny_bert, tmp_path) -> dict:
    rows = opinions(48)
    dataset = {"train": rows[:32], "validation": rows[32:]}
    return {"model": tiny_bert, "dataset": dataset, "output_dir": tmp_path / "run", "bf16": False}


def test_there_is_a_line_for_each_epoch_and_no_bar(settings, capfd):
    hfrecipes.run(TASK, **settings, num_train_epochs=2)
    printed = capfd.readouterr().err
    lines = [line for line in printed.splitlines() if line.startswith("epoch")]
    assert re.fullmatch(LINE.format(1), lines[0])
    assert re.fullmatch(LINE.format(2), lines[1])
    assert len(lines) == 2
    assert "%|" not in printed
    assert "{'loss'" not in printed
    assert "\r" not in printed


def test_losses_between_evaluations_have_a_line_each(settings, capfd):
    hfrecipes.run(
        TASK, **settings, max_steps=4, logging_strategy="steps", logging_steps=1, eval_steps=4, eval_strategy="steps"
    )
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("step")]
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert ["validation accuracy" in line for line in lines] == [False, False, False, True]


def test_the_trainer_s_own_display_comes_back_with_log_level(settings, capfd):
    hfrecipes.run(TASK, **settings, max_steps=2, log_level="info", disable_tqdm=True)
    printed = capfd.readouterr()
    assert "'eval_accuracy'" in printed.out + printed.err
    assert "step 2/2" not in printed.err


def test_an_early_stop_says_when_and_what_is_kept(settings, capfd):
    patience = {"early_stopping_patience": 1}
    # A rate of almost nothing: no epoch is better than the first.
    hfrecipes.run(TASK, **settings, num_train_epochs=9, learning_rate=1e-12, early_stopping=patience)
    printed = capfd.readouterr().err.splitlines()
    assert "stopped early after epoch 2 of 9; kept epoch 1" in printed


def test_a_tie_says_that_the_first_of_several_evaluations_is_kept(settings, capfd):
    hfrecipes.run(TASK, **settings, num_train_epochs=2, learning_rate=1e-12, early_stopping=False)
    printed = capfd.readouterr().err
    assert "kept epoch 1, the first of several with the best score on validation; eval_strategy=no keeps" in printed


def test_evaluation_after_training_prints_no_line(settings, capfd):
    result = hfrecipes.run(TASK, **settings, max_steps=1)
    capfd.readouterr()
    result.trainer.evaluate()
    assert "step" not in capfd.readouterr().err


def test_a_training_by_hand_draws_no_bars_of_files(settings, capfd):
    trainer = hfrecipes.build(TASK, **settings, max_steps=1)
    trainer.train()
    assert "%|" not in capfd.readouterr().err


CELLS = """
import hfrecipes
result = hfrecipes.run({task!r}, model={model!r}, dataset={rows!r}, output_dir={output!r}, num_train_epochs=2)
result
----
result.history
----
result.report()
----
trainer = hfrecipes.build({task!r}, model={model!r}, dataset={rows!r}, output_dir={built!r}, max_steps=2)
trainer.train()
hfrecipes.finish(trainer)
----
hfrecipes.run({task!r}, model={model!r}, dataset="nope.jsonl")
"""
NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in sys.stdin.read().split("----")]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=300, allow_errors=True, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


def html_of(outputs: list, kind: str) -> str:
    (shown,) = [output["data"]["text/html"] for output in outputs if output["output_type"] == kind]
    return shown


@pytest.mark.long
def test_a_notebook_shows_one_table_and_an_error_s_sentence(settings, tmp_path):
    import json

    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(48)))
    names = {"task": TASK, "model": settings["model"], "rows": str(tmp_path / "rows.jsonl")}
    cells = CELLS.format(**names, output=str(tmp_path / "run"), built=str(tmp_path / "built"))
    made = run_python("-c", NOTEBOOK, cwd=tmp_path, given=cells)
    first, history, report, built, second = json.loads(made.stdout.splitlines()[-1])
    assert not [output for output in first if output.get("name") == "stderr" and "mtime" not in output["text"]]
    tables = [output["data"]["text/html"] for output in first if output["output_type"] == "display_data"]
    assert len(tables) == 1
    assert tables[0].count("<th>") == 4
    assert re.search(r"epoch 1/2.*epoch 2/2", tables[0])
    shown = html_of(first, "execute_result")
    assert "<td>accuracy</td>" in shown
    assert "<th>label (validation)</th>" in shown
    assert f"model: {tmp_path / 'run'}" in shown
    assert "eval_accuracy" in html_of(history, "execute_result")
    assert "<th>bad</th>" in html_of(report, "execute_result")
    assert f"model: {tmp_path / 'built'}" in html_of(built, "execute_result")
    [error] = [output for output in second if output["output_type"] == "error"]
    assert len(error["traceback"]) == 1
    assert "there is no file or folder nope.jsonl" in error["traceback"][0]
