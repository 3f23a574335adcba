"""A saved model on other rows: compared with its own test, several sets in one table, slices of a column."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import opinions
from datasets import Dataset

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.data.columns import EMPTY
from hfrecipes.errors import DataError
from hfrecipes.evaluation import comparison, scoring
from hfrecipes.evaluation.evaluate import Predicted, score_rows
from hfrecipes.evaluation.scoring import Score
from hfrecipes.tasks.text_classification import TextClassification


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def run(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    (folder / "rows").mkdir()
    for index, split in enumerate(("train", "validation", "test")):
        write(folder / "rows" / f"{split}.jsonl", opinions(80 if index == 0 else 30, index))
    settings = {"learning_rate": 1e-2, "num_train_epochs": 2, "per_device_train_batch_size": 8, "bf16": False}
    hfrecipes.run(
        "text-classification", model=tiny_bert, dataset=str(folder / "rows"), output_dir=str(folder / "run"), **settings
    )
    return folder / "run"


def others(number: int = 24, seed: int = 9) -> list[dict]:
    return [{**row, "site": ("north", "south", "")[index % 3]} for index, row in enumerate(opinions(number, seed))]


# --- the run's own test ------------------------------------------------------------------------------------------


def test_the_same_rows_change_nothing_and_are_paired(run):
    evaluation = hfrecipes.load(run).evaluate(str(run.parent / "rows"))
    assert evaluation.paired
    assert evaluation.compared_with == "test"
    assert evaluation.changes["accuracy"] == Score(0.0, 0.0, 0.0)


def test_other_rows_are_independent_samples(run, tmp_path):
    write(tmp_path / "a.jsonl", others())
    made = call("evaluate", run, "a.jsonl")
    assert made.exit_code == 0, made.output
    assert "change from test" in made.output
    assert "95 % interval of a difference of independent samples" in made.output
    evaluation = hfrecipes.load(run).evaluate("a.jsonl")
    own = scoring.from_json(json.loads((run / "metrics.json").read_text()))["test"]["accuracy"]
    change = evaluation.changes["accuracy"]
    assert change == scoring.difference(evaluation.scores["accuracy"], own)
    assert change.low < change.value < change.high


def test_rows_that_are_partly_those_of_the_own_test_are_named(run, tmp_path):
    rows = opinions(30, 2)[:5] + opinions(10, 11)
    write(tmp_path / "a.jsonl", rows)
    shown = call("evaluate", run, "a.jsonl").output
    assert shown.count("5 inputs are in the run's own test too") == 1
    write(tmp_path / "b.jsonl", [*rows[:1], *opinions(10, 11)])
    assert "1 input is in the run's own test too" in call("evaluate", run, "b.jsonl").output


def test_one_set_is_scored_by_label_too_in_table_and_file(run, tmp_path):
    write(tmp_path / "a.jsonl", others())
    shown = call("evaluate", run, "a.jsonl", "-o", tmp_path / "scores.json").output
    head = next(line for line in shown.splitlines() if line.startswith("label ("))
    assert head.split()[-4:] == ["precision", "recall", "f1", "support"]
    report = json.loads((tmp_path / "scores.json").read_text())["sets"]["the data"]["report"]
    assert {name: scores["support"] for name, scores in report["classes"].items()} == {"bad": 12, "good": 12}
    evaluation = hfrecipes.load(run).evaluate("a.jsonl")
    assert evaluation.report.classes["good"].recall == report["classes"]["good"]["recall"]


def test_a_run_without_scores_is_evaluated_and_compared_with_nothing(run, tmp_path):
    write(tmp_path / "a.jsonl", others())
    scores = (run / "metrics.json").read_bytes()
    (run / "metrics.json").unlink()
    try:
        made = call("evaluate", run, "a.jsonl")
    finally:
        (run / "metrics.json").write_bytes(scores)
    assert made.exit_code == 0, made.output
    assert "change" not in made.output


def test_the_interval_of_paired_differences_covers_the_true_difference():
    """Two sets of predictions, right with 0.8 and 0.7 and mostly on the same rows, 200 times 100 rows."""
    generator, inside, narrower = np.random.default_rng(0), 0, 0
    for _ in range(200):
        first = generator.random(100) < 0.8
        second = first & (generator.random(100) < 0.875)
        measure, other = (
            lambda weights, right=right: {"accuracy": (weights * right).mean(1)} for right in (first, second)
        )
        change = scoring.paired_differences(measure, other, np.arange(100), 0)["accuracy"]
        inside += change.low <= 0.1 <= change.high
        half = 1.96 * np.sqrt(0.8 * 0.2 / 100 + 0.7 * 0.3 / 100)
        narrower += change.high - change.value < half
    assert inside >= 0.9 * 200
    assert narrower > 0.95 * 200


# --- several sets, and slices ------------------------------------------------------------------------------------


def test_several_sets_are_in_one_table_below_the_own_test(run, tmp_path):
    write(tmp_path / "a.jsonl", others())
    write(tmp_path / "b.jsonl", others(15, 10))
    made = call("evaluate", run, "tests.hospital=a.jsonl", "tests.street=b.jsonl", "-o", "scores.json")
    assert made.exit_code == 0, made.output
    lines = made.output.splitlines()
    start = lines.index(next(line for line in lines if line.startswith("accuracy")))
    assert lines[start + 1].startswith("  the run's test")
    assert lines[start + 2].split()[:2] == ["hospital", "24"]
    assert lines[start + 3].split()[:2] == ["street", "15"]
    evaluations = hfrecipes.load(run).evaluate(tests={"hospital": "a.jsonl", "street": "b.jsonl"})
    written = json.loads((tmp_path / "scores.json").read_text())["sets"]
    for name, evaluation in evaluations.items():
        assert f"{evaluation.metrics['accuracy']:.3f} (" in made.output
        assert written[name]["scores"]["accuracy"]["value"] == evaluation.metrics["accuracy"]
        assert written[name]["changes"]["accuracy"]["ci95"] == evaluation.changes["accuracy"].ci95


def test_predictions_beside_the_scores_give_the_same_scores(run, tmp_path):
    write(tmp_path / "a.jsonl", others())
    assert call("evaluate", run, "a.jsonl", "-o", "scores.json").exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "scores.predictions.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(24))
    right = np.mean([line["label"] == line["prediction"]["label"] for line in lines])
    scores = json.loads((tmp_path / "scores.json").read_text())["sets"]["the data"]["scores"]
    assert right == pytest.approx(scores["accuracy"]["value"])
    again = call("evaluate", run, "a.jsonl", "-o", "scores.json")
    assert again.exit_code == 2
    assert "exists: choose another name" in again.output


def test_slices_are_the_scores_of_the_rows_of_each_value(run, tmp_path):
    rows = others()
    write(tmp_path / "a.jsonl", rows)
    made = call("evaluate", run, "a.jsonl", "by=site")
    assert made.exit_code == 0, made.output
    evaluation = hfrecipes.load(run).evaluate("a.jsonl", by="site")
    assert list(evaluation.slices) == ["north", "south", EMPTY]
    for value, part in evaluation.slices.items():
        write(tmp_path / "part.jsonl", [row for row in rows if (row["site"] or EMPTY) == value])
        alone = hfrecipes.load(run).evaluate("part.jsonl")
        assert part.rows == 8
        assert part.scores["accuracy"].value == pytest.approx(alone.scores["accuracy"].value)
        assert f"site={value}" in made.output
    with pytest.raises(DataError, match=r"by: no column 'sit' \(did you mean site\?\)"):
        hfrecipes.load(run).evaluate("a.jsonl", by="sit")


def test_rare_values_are_scored_together():
    recipe = TextClassification()
    values = [f"v{min(index % 20, index % 7)}" for index in range(400)] + [f"once {index}" for index in range(30)]
    rows = Dataset.from_list([{"text": "a", "label": "x"}] * len(values))
    predicted = Predicted(rows, ["x"] * len(values), None, [{"label": "x"}] * len(values))
    slices, sentences = comparison.sliced(recipe, values, predicted, lambda part: {})
    assert sentences == []
    assert len(slices) == comparison.MOST + 1
    assert sum(part.rows for part in slices.values()) == len(values)
    assert list(slices)[-1] == f"({len(set(values)) - comparison.MOST} other values)"
    assert recipe.labels == []


def test_macro_scores_of_a_part_are_over_the_labels_that_it_has():
    recipe = TextClassification()
    recipe.labels = ["a", "b"]
    references, given = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    predictions = [{"label": name, "scores": {"a": float(name == "a"), "b": float(name == "b")}} for name in given]
    rows = Dataset.from_list([{"text": "x"}] * 4)
    score = partial(score_rows, recipe, baseline=None, seed=0, metrics=[])
    slices, sentences = comparison.sliced(recipe, references, Predicted(rows, references, None, predictions), score)
    # Of the two rows with label a, one is right: F1 is 2/3, and b, which is predicted once, is no label of this part.
    assert slices["a"].metrics["f1_macro"] == pytest.approx(2 / 3)
    assert slices["b"].metrics["f1_macro"] == pytest.approx(1)
    assert recipe.not_averaged == []
    assert "means over the labels that each part has" in sentences[0]


def test_a_notebook_shows_scores_and_notes_of_an_evaluation_and_no_markup_of_the_data():
    scores = {"accuracy": Score(0.5, 0.25, 0.75, baseline=0.125)}
    evaluation = comparison.Evaluation("<b>", 4, scores, ["note <i>"], {"accuracy": Score(-0.1)}, "test")
    shown = evaluation._repr_html_()
    for text in ("0.500", "0.125", "-0.100", "change from test", "note &lt;i&gt;", "4 rows of &lt;b&gt;"):
        assert text in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tests=a.jsonl"], "tests.<name>=<file>"),
        (["none.csv"], "there is no file or folder none.csv"),
        (["a.jsonl", "tests.b=a.jsonl"], "evaluate needs a file"),
        (["a.jsonl", "-o", "x.csv"], "ends in .json"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(run, tmp_path, words, message):
    write(tmp_path / "a.jsonl", others(9))
    made = call("evaluate", run, *words)
    assert made.exit_code == 2
    assert message in made.output
