"""A run leaves its report and the pictures of its card; a resume writes a deleted one, and the command all of it."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from rows import opinions, rows_of
from shipped import SHIPPED

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.registry import find
from hfrecipes.reports import plots
from hfrecipes.saved.run import verify

pytestmark = pytest.mark.pictures

TASK = "text-classification"


@pytest.fixture(scope="module")
def settings(tiny_bert, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("reported")
    rows = opinions(120)
    # One label is wrong, in a text that no other row has.
    rows[0] = {"text": "the lamp was superb <script>", "label": "bad"}
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = {"learning_rate": 1e-2, "num_train_epochs": 3, "per_device_train_batch_size": 8, "bf16": False}
    return {"model": tiny_bert, "dataset": str(folder / "rows.jsonl"), "output_dir": folder / "run", **training}


@pytest.fixture(scope="module")
def done(settings) -> hfrecipes.Result:
    return hfrecipes.run(TASK, **settings)


def titles(path) -> list[str]:
    return [part.partition("</h2>")[0] for part in (path / "report.html").read_text().split("<h2>")[1:]]


def command(*words: str):
    return CliRunner().invoke(main, ["report", *words])


def test_a_run_leaves_a_report_and_its_card_shows_pictures(done):
    assert titles(done.path)[:3] == ["Scores", "Learning curves", "By label and by part"]
    assert "Worst rows" in titles(done.path)
    assert "fine-tuned from" in (done.path / "report.html").read_text()
    card = (done.path / "README.md").read_text()
    for name in ("learning_curves", "confusions", "reliability"):
        file = done.path / "pictures" / f"{name}.svg"
        if plots.are_available() and file.exists():
            assert f"](pictures/{name}.svg)" in card
    assert plots.are_available() == ("pictures/learning_curves.svg" in card)


def test_a_resume_writes_a_deleted_report_again_and_leaves_one_that_is_there(settings, done):
    (done.path / "report.html").unlink()
    verify(done.path)
    hfrecipes.run(TASK, **settings)
    first = (done.path / "report.html").stat()
    assert "Worst rows" in titles(done.path)
    hfrecipes.run(TASK, **settings)
    assert (done.path / "report.html").stat().st_mtime_ns == first.st_mtime_ns


def test_the_command_adds_the_training_rows_and_their_likely_errors(done, tmp_path):
    shutil.copytree(done.path, tmp_path / "copy")
    outcome = command(str(tmp_path / "copy"))
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.endswith(f"report: {tmp_path / 'copy' / 'report.html'}\n")
    page = (tmp_path / "copy" / "report.html").read_text()
    assert "5 folds of a logistic regression on embeddings of the base model" in page
    assert "<script>" not in page.split("Likely label errors</h2>")[1].split("</section>")[0]
    assert verify(tmp_path / "copy")[1] == []


def test_a_run_whose_base_model_has_gone_uses_the_trained_one_and_says_so(done, tmp_path, caplog):
    shutil.copytree(done.path, tmp_path / "copy")
    recipe = tmp_path / "copy" / "recipe.yaml"
    recipe.write_text(
        "".join(line for line in recipe.read_text().splitlines(keepends=True) if not line.startswith("model:"))
        + f"model: {tmp_path / 'gone'}\n"
    )
    outcome = command(str(tmp_path / "copy"))
    assert outcome.exit_code == 0, outcome.output
    assert "which has seen these labels" in (tmp_path / "copy" / "report.html").read_text()


def test_a_run_whose_data_has_gone_is_reported_without_train(done, tmp_path):
    shutil.copytree(done.path, tmp_path / "copy")
    recipe = tmp_path / "copy" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("rows.jsonl", "gone.jsonl"))
    outcome = command(str(tmp_path / "copy"))
    assert outcome.exit_code == 0, outcome.output
    assert "train is left out" in outcome.output
    assert "Worst rows" in titles(tmp_path / "copy")


def test_a_loaded_run_and_its_result_write_the_report_too(done, tmp_path):
    shutil.copytree(done.path, tmp_path / "copy")
    (tmp_path / "copy" / "report.html").unlink()
    assert hfrecipes.load(tmp_path / "copy").report_html() == tmp_path / "copy" / "report.html"
    assert "Worst rows" in titles(tmp_path / "copy")


def test_what_is_no_complete_run_is_refused_with_what_to_give(done, tmp_path):
    shutil.copytree(done.path, tmp_path / "copy")
    (tmp_path / "copy" / "metrics.json").unlink()
    (tmp_path / "empty").mkdir()
    for folder, said in (("copy", "is not complete"), ("empty", "has no recipe.yaml"), ("gone", "there is no folder")):
        outcome = command(str(tmp_path / folder))
        assert outcome.exit_code == 2
        assert said in outcome.output
        assert "Traceback" not in outcome.output


def test_predictions_that_cannot_be_read_do_not_cost_a_complete_run(settings, done, tmp_path, caplog):
    shutil.copytree(done.path, tmp_path / "copy")
    (tmp_path / "copy" / "report.html").unlink()
    (tmp_path / "copy" / "predictions.jsonl").write_text('{"split": "validation"}\n')
    assert hfrecipes.run(TASK, **{**settings, "output_dir": tmp_path / "copy"}).metrics == done.metrics
    assert "report.html is not written" in caplog.text
    outcome = command(str(tmp_path / "copy"))
    assert outcome.exit_code == 2
    assert "predictions.jsonl is damaged" in outcome.output


def test_folds_have_a_report_of_the_whole(settings, tmp_path):
    folds = {**settings, "output_dir": tmp_path / "folds", "folds": 2, "num_train_epochs": 1}
    results = hfrecipes.run(TASK, **folds)
    page = (results.path / "report.html").read_text()
    assert "2 runs" in page
    assert "±" in page
    assert "out_of_fold: the 50 rows" in page
    assert results.report_html() == results.path / "report.html"
    assert (results.path / "fold-1" / "report.html").exists()
    full = (results.path / "report.html").read_text()
    hfrecipes.run(TASK, **folds)
    assert (results.path / "report.html").read_text() == full, "no fold is new"
    pages = (results.path / "report.html", results.path / "fold-1" / "report.html")
    for page in pages:  # as a kill after the last score leaves them
        page.unlink()
    hfrecipes.run(TASK, **folds)
    assert all(page.exists() for page in pages)


@pytest.mark.long
@pytest.mark.parametrize("task", SHIPPED)
def test_every_task_has_a_report_of_its_worst_rows(task, model_for, tmp_path, caplog):
    kind = find(task)
    settings = {"model": model_for(kind), "dataset": rows_of(kind), "output_dir": tmp_path / "run"}
    result = hfrecipes.run(task, **settings, max_steps=1, bf16=False, max_length=64)
    assert "Worst rows" in titles(result.path)
    first = (result.path / "report.html").read_text()
    result.report_html()
    assert "Worst rows" in titles(result.path)
    assert (result.path / "report.html").read_text() != first
    assert "is not written" not in caplog.text
