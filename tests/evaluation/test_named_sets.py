"""Further test sets in a run, and scores of parts of its rows: checked before training, and scored after it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, DataError, NotFoundError, OutputError
from hfrecipes.evaluation import scoring
from hfrecipes.evaluation.comparison import Evaluation, worst_part
from hfrecipes.evaluation.scoring import Score
from hfrecipes.recipe import HIGHER, LOWER

QUICK = {"learning_rate": 1e-2, "num_train_epochs": 2, "per_device_train_batch_size": 8, "bf16": False}


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settings_of(folder: Path, model: str) -> dict:
    """Settings of a run with two further sets; one of them has another name for its texts."""
    (folder / "rows").mkdir()
    for index, split in enumerate(("train", "validation", "test")):
        rows = opinions(80 if index == 0 else 30, index)
        sited = [{**row, "site": ("north", "south", "")[number % 3]} for number, row in enumerate(rows)]
        write(folder / "rows" / f"{split}.jsonl", sited)
    street = [{"sentence": row["text"], "label": row["label"]} for row in opinions(24, 9)]
    for index, row in enumerate(street):
        row["site"] = ("north", "south")[index % 3 == 0]
    tests = {"street": write(folder / "street.jsonl", street), "same": str(folder / "rows" / "test.jsonl")}
    folders = {"dataset": str(folder / "rows"), "output_dir": str(folder / "run")}
    return {"model": model, "tests": tests, "by": "site", **folders, **QUICK}


@pytest.fixture(scope="module")
def settings(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return settings_of(tmp_path_factory.mktemp("sets"), tiny_bert)


@pytest.fixture(scope="module")
def done(settings: dict) -> hfrecipes.Result:
    return hfrecipes.run("text-classification", **settings)


def test_a_set_is_scored_as_evaluate_scores_it_and_has_its_change(done, settings):
    street, own = done.scores["tests.street"], done.scores["test"]
    assert street["accuracy"].change == scoring.difference(street["accuracy"], own["accuracy"])
    evaluation = hfrecipes.load(done.path).evaluate(settings["tests"]["street"])
    for name, entry in evaluation.scores.items():
        assert street[name].value == pytest.approx(entry.value, abs=1e-6)
        assert street[name].ci95 == pytest.approx(entry.ci95, abs=1e-6)
        assert street[name].baseline == entry.baseline
    written = json.loads((done.path / "metrics.json").read_text())["tests.street"]["accuracy"]
    assert written["change"]["ci95"] == street["accuracy"].change.ci95


def test_the_rows_of_the_own_test_change_nothing_and_are_paired(done):
    assert done.scores["tests.same"]["accuracy"].change == Score(0.0, 0.0, 0.0)
    limits = json.loads((done.path / "run.json").read_text())["limits"]
    assert "tests.same: its rows are those of test, so its changes are paired differences" in limits


def test_sets_and_parts_change_no_other_score_and_nothing_that_the_model_reads(done, settings, tmp_path):
    alone = hfrecipes.run(
        "text-classification", **{**settings, "tests": {}, "by": None, "output_dir": str(tmp_path / "alone")}
    )
    assert alone.predictor.reads == done.predictor.reads == ["text"]
    assert alone.scores == {split: scores for split, scores in done.scores.items() if not split.startswith("tests.")}


def test_each_row_of_a_set_is_in_the_predictions_and_the_report(done):
    lines = [json.loads(line) for line in (done.path / "predictions.jsonl").read_text().splitlines()]
    assert sum(line["split"] == "tests.street" for line in lines) == 24
    assert done.reports["tests.street"].classes["good"].support == 12
    assert "change from test" in (done.path / "report.html").read_text()
    card = (done.path / "README.md").read_text()
    assert "| tests.street (24 rows) | accuracy |" in card
    assert "tests.street 24" not in card  # not among the rows of training


def test_the_same_command_prints_the_table_of_a_complete_run(done, settings):
    words = [f"{key}={value}" for key, value in settings.items() if key != "tests"]
    words += [f"tests.{name}={file}" for name, file in settings["tests"].items()]
    shown = CliRunner().invoke(main, ["run", "text-classification", *words]).output
    assert "this run is complete" in shown
    assert "change from test" in shown
    assert "\n  tests.street" in shown
    assert "\n    site=south (10 rows)" in shown
    assert "\nlabel (test) " in shown  # not that of a set
    assert "change from test" in done._repr_html_()


def test_a_complete_run_is_not_trained_again_for_another_set(done, settings):
    others = {**settings, "tests": {**settings["tests"], "mail": settings["tests"]["street"]}}
    with pytest.raises(OutputError, match=r"on other sets or parts \(tests.mail is null there .*hfrecipes evaluate"):
        hfrecipes.run("text-classification", **others)


def test_where_no_model_is_whole_nobody_is_sent_to_evaluate_it(done, settings, tmp_path):
    shutil.copytree(done.path, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    others = {**settings, "tests": {}, "output_dir": str(tmp_path / "run")}
    with pytest.raises(OutputError, match="contains another run") as refused:
        hfrecipes.run("text-classification", **others)
    assert "hfrecipes evaluate" not in str(refused.value)


def test_other_rows_under_the_same_name_are_another_run(tiny_bert, tmp_path):
    settings = settings_of(tmp_path, tiny_bert)
    hfrecipes.run("text-classification", **settings)
    write(tmp_path / "street.jsonl", opinions(24, 10))
    with pytest.raises(OutputError, match=r"content of tests\.street has changed"):
        hfrecipes.run("text-classification", **settings)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([{"words": "fine", "stars": 1}], DataError, r"tests\.mail: no column for text"),
        ([{"text": "fine", "text_pair": "poor", "label": "good"}], DataError, r"tests\.mail: this model needs text; f"),
        (
            [{"text": "fine", "label": "sport"}, {"text": "poor", "label": "news"}] * 3,
            DataError,
            r"tests\.mail: none of the labels news, sport occurs in train",
        ),
        ([{"text": "fine", "label": None}] * 3, DataError, r"tests\.mail: label is missing in 3 rows"),
        ([{"text": "", "label": "good"}] * 2, DataError, r"tests\.mail: text is empty"),
        ("nothing.jsonl", NotFoundError, r"tests\.mail: there is no file or folder nothing\.jsonl"),
        ("(rows given from Python)", ConfigError, r"came from Python: add tests\.mail="),
    ],
)
def test_a_set_that_cannot_be_scored_is_an_error_before_training(settings, tmp_path, rows, error, message):
    with pytest.raises(error, match=message):
        hfrecipes.run(
            "text-classification", **{**settings, "tests": {"mail": rows}, "output_dir": str(tmp_path / "new")}
        )
    assert not (tmp_path / "new").exists()


def test_a_set_needs_a_name(settings):
    with pytest.raises(ConfigError, match=r"tests: found str, expected a name for each set: tests\.<name>=<file>"):
        hfrecipes.check("text-classification", **{**settings, "tests": "street.jsonl"})


def test_null_takes_back_a_set_of_a_recipe_file(settings):
    below = {"task": "text-classification", **settings}
    config = hfrecipes.check(below, tests={"same": None})["config"]
    assert list(config.tests) == ["street"]


def test_rows_from_python_and_inputs_of_train_are_named(settings, caplog):
    rows = opinions(80, 0)[:2] + opinions(20, 11)
    report = hfrecipes.check("text-classification", **{**settings, "tests": {"mail": rows}})
    assert report["rows"]["tests.mail"] == 22
    assert report["config"].tests == {"mail": "(rows given from Python)"}
    assert re.search(r"tests\.mail: \d+ of 22 inputs \(.*\) also occur in train", caplog.text)
    assert "also occur in validation" not in caplog.text
    hfrecipes.check("text-classification", **{**settings, "tests": {"mail": opinions(30, 1)}})
    assert "tests.mail: 30 of 30 inputs (100 %) also occur in validation" in caplog.text


def test_several_seeds_have_the_mean_of_the_changes(settings, tmp_path):
    several = {**settings, "seeds": [1, 2], "num_train_epochs": 1, "output_dir": str(tmp_path / "seeds")}
    results = hfrecipes.run("text-classification", **several)
    entry = results.scores["tests.street"]["accuracy"]
    each = [json.loads((path / "metrics.json").read_text())["tests.street"]["accuracy"] for path in results.runs]
    assert entry.change.value == pytest.approx(sum(run["change"]["value"] for run in each) / 2)
    assert "tests.street" in results._repr_html_()


def test_folds_keep_the_sets(settings, tmp_path):
    several = {**settings, "folds": 2, "num_train_epochs": 1, "output_dir": str(tmp_path / "folds")}
    results = hfrecipes.run("text-classification", **several)
    assert len(results.scores["tests.street"]["accuracy"].runs) == 2
    north = results.slices.splits["test"]["north"]
    assert north.rows == 27, "of 80 rows of train, each of which was a test row once"
    assert north.scores["accuracy"].ci95 is not None
    assert results.slices.splits["tests.street"]["south"].rows == 8, "the same rows in both folds"


# --- parts of the rows -------------------------------------------------------------------------------------------


def test_the_rows_of_each_value_are_scored_as_evaluate_scores_them(done, settings):
    parts = done.slices.splits["test"]
    assert {value: part.rows for value, part in parts.items()} == {"north": 10, "south": 10, "(empty)": 10}
    evaluation = hfrecipes.load(done.path).evaluate(settings["tests"]["same"], by="site")
    for value, part in evaluation.slices.items():
        assert parts[value].scores["accuracy"].value == pytest.approx(part.scores["accuracy"].value, abs=1e-6)
        assert parts[value].scores["accuracy"].ci95 == pytest.approx(part.scores["accuracy"].ci95, abs=1e-6)
    assert done.slices.splits["tests.street"]["south"].rows == 8
    assert "site=south (10 rows)" in (done.path / "report.html").read_text()


@pytest.mark.parametrize(("metric", "worst"), [(HIGHER, "mail"), (LOWER, "phone")])
def test_the_worst_part_is_named_by_the_direction_of_the_metric(metric, worst):
    recipe = type("Toy", (), {"metrics": {"main": metric}})()
    values = {"mail": 0.2, "phone": 0.9, "one row": float("nan")}
    parts = {name: Evaluation(name, 5, {"main": Score(value, 0.1, 0.95)}, []) for name, value in values.items()}
    (sentence,) = worst_part(recipe, "site", "test", parts, {"main": Score(0.5, 0.4, 0.6)})
    assert sentence.startswith(f"test by site: main is worst for {worst}, ")
    assert "the worst of 2 parts" in sentence
    assert worst_part(recipe, "site", "test", {"mail": parts["mail"]}, {"main": Score(0.5)}) == []


def test_a_column_that_is_not_there_is_an_error_before_training(settings, tmp_path):
    wrong = {**settings, "by": "sight", "output_dir": str(tmp_path / "new")}
    with pytest.raises(DataError, match=r"by: no column 'sight' \(did you mean site\?\); there are text, label, site"):
        hfrecipes.run("text-classification", **wrong)
    assert not (tmp_path / "new").exists()


def test_a_set_without_the_column_is_scored_as_a_whole(settings, caplog):
    hfrecipes.check("text-classification", **{**settings, "tests": {"mail": opinions(20, 11)}})
    assert "tests.mail: no column 'site', so its rows are only scored together" in caplog.text


def test_a_drawn_validation_split_has_the_values_of_its_rows(settings, tmp_path):
    from conftest import plan_of

    from hfrecipes.data.rows import values_to_slice_by

    rows = [{**row, "site": f"s{number}"} for number, row in enumerate(opinions(80))]
    one = {**settings, "tests": {}, "dataset": rows, "output_dir": str(tmp_path / "new")}
    data = plan_of("text-classification", one).data
    for number, value in zip(data.row_numbers["validation"], values_to_slice_by(data, "validation"), strict=True):
        assert value == f"s{number}"
