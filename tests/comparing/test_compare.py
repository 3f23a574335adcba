"""Runs side by side: on the same rows alone, with paired tests against the best one on validation, and their costs."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import opinions
from copies import copy_predicting, edit_json, read_lines, write_lines
from printed import shown, unprinted
from scipy import stats

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.comparing.runs import short_names
from hfrecipes.errors import ConfigError, DataError, HFRecipesError, ModelError, NotFoundError

ROWS = 60  # of validation and of test


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    rows = {"train": opinions(40), "validation": opinions(ROWS, 1), "test": opinions(ROWS, 2)}
    settings = {"dataset": rows, "max_steps": 2, "save_strategy": "no", "bf16": False}
    hfrecipes.run("text-classification", model=tiny_bert, output_dir=folder / "trained", **settings)
    hfrecipes.run(
        "text-classification",
        model=tiny_bert,
        output_dir=folder / "folds",
        **{**settings, "dataset": rows["test"]},
        folds=2,
    )
    return folder / "trained"


@pytest.fixture(scope="module")
def runs(trained: Path) -> dict[str, Path]:
    """A good run; one that is as good, by and large; a bad one."""
    folder = trained.parent
    return {
        "good": copy_predicting(trained, folder / "good", lambda split, index: index % 10 > 0),
        "like": copy_predicting(trained, folder / "like", lambda split, index: index % 10 > (split == "validation")),
        "bad": copy_predicting(trained, folder / "bad", lambda split, index: index % 2 > 0),
    }


def test_the_others_are_tested_against_the_best_on_validation_whatever_the_order(runs):
    for names in (("good", "like", "bad"), ("bad", "like", "good")):
        comparison = hfrecipes.compare(*[runs[name] for name in names], timing=False)
        assert comparison.reference == "good"
        assert [run.name for run in comparison.runs] == list(names)
    said = " ".join(comparison.sentences)
    assert "validation accuracy: bad 0.500, like 0.800, good 0.900; good is the best" in said
    assert "bad: significantly worse than good" in said
    assert "like: not significantly different from good" in said


def test_a_comparison_reads_as_shown(trained, tmp_path, monkeypatch):
    for name, wrong in {"full": 10, "lora": 2, "frozen": 1}.items():
        copy_predicting(trained, tmp_path / name, lambda split, index, wrong=wrong: index % wrong > 0)
    monkeypatch.chdir(tmp_path)
    printed = call("compare", "full", "lora", "frozen", "--no-timing").output
    assert not unprinted(shown("docs/compare.md", "  "), printed), printed


def test_accuracy_is_tested_by_mcnemar_and_the_others_by_the_bootstrap_all_of_them_adjusted(runs):
    comparison = hfrecipes.compare(runs["good"], runs["bad"], timing=False)
    bad = comparison.runs[1]
    right = [
        np.array(
            [line["label"] == line["prediction"]["label"] for line in read_lines(runs[name]) if line["split"] == "test"]
        )
        for name in ("good", "bad")
    ]
    first, second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    expected = stats.binomtest(first, first + second).pvalue
    assert bad.tests["accuracy"].method == "McNemar"
    assert bad.tests["accuracy"].p == pytest.approx(expected)
    assert bad.tests["f1_macro"].method == "paired bootstrap"
    values = sorted(test.p for test in bad.tests.values())
    assert sorted(test.p_holm for test in bad.tests.values())[0] == pytest.approx(2 * values[0])
    assert bad.differences["accuracy"].value == pytest.approx(right[1].mean() - right[0].mean())
    assert bad.differences["accuracy"].low < bad.differences["accuracy"].value < bad.differences["accuracy"].high
    assert set(bad.differences) > set(bad.tests), "differences of every metric, tests of those in the table"


def test_scores_and_intervals_are_those_of_the_runs(runs):
    comparison = hfrecipes.compare(runs["good"], runs["bad"], timing=False)
    for run in comparison.runs:
        saved = json.loads((run.path / "metrics.json").read_text())["test"]
        assert {name: [score.value, *score.ci95] for name, score in run.scores.items()} == {
            name: [entry["value"], *entry["ci95"]] for name, entry in saved.items()
        }
    frame = comparison.frame
    assert list(frame.index) == ["good", "bad"]
    assert frame.loc["bad", "accuracy_difference"] == pytest.approx(-0.4)
    assert math.isnan(frame.loc["good", "accuracy_p_holm"])
    assert frame.loc["good", "parameters"] == json.loads((runs["good"] / "run.json").read_text())["parameters"]["total"]


def test_a_cheaper_run_is_only_suggested_and_only_where_it_is_not_worse(runs, tmp_path):
    cheap = {}
    for name in ("like", "bad"):
        cheap[name] = tmp_path / f"cheap-{name}"
        shutil.copytree(runs[name], cheap[name])
        edit_json(cheap[name] / "run.json", lambda info: info["parameters"].update(total=1000))
    comparison = hfrecipes.compare(runs["good"], cheap["like"], cheap["bad"], timing=False)
    assert comparison.reference == "good"
    assert comparison.pareto == ["cheap-like"], "as good on test, and cheaper"
    said = [sentence for sentence in comparison.sentences if sentence.startswith(("suggestion", "front"))]
    assert said[0].startswith("front: cheap-like is on the Pareto front of accuracy and parameters")
    assert said[1].startswith("suggestion: cheap-like is not significantly worse than good, with ")
    alone = hfrecipes.compare(runs["good"], cheap["bad"], timing=False)
    assert alone.pareto == ["good", "cheap-bad"]
    assert not [sentence for sentence in alone.sentences if sentence.startswith("suggestion")]


def test_times_are_measured_in_turns(runs):
    comparison = hfrecipes.compare(runs["good"], runs["bad"])
    for run in comparison.runs:
        assert 0 < run.cost.latency.low <= run.cost.latency.median <= run.cost.latency.high
        assert run.cost.rows_per_second > 0
    assert comparison.prices[0] == "seconds for one row"
    assert any(sentence.startswith("speed: measured now, in turns, on ") for sentence in comparison.sentences)


def test_the_table_fits_eighty_columns(runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    made = call("compare", runs["good"], runs["like"], runs["bad"])
    assert made.exit_code == 0, made.output
    tables = re.sub(r"\x1b\[[\d;]*m", "", made.stdout).split("\n60 rows")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert "…" not in tables
    assert "-0.400 (-0.5" in tables


def test_it_is_written_as_page_table_and_json(runs, tmp_path):
    for name in ("a.html", "a.csv", "a.json"):
        made = call("compare", runs["good"], runs["bad"], "--no-timing", "-o", tmp_path / name)
        assert made.exit_code == 0, made.output
    page = (tmp_path / "a.html").read_text()
    assert "<svg" in page
    assert "significantly worse" in page
    assert (tmp_path / "a.csv").read_text().startswith("run,path,accuracy,")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["reference"] == "good"
    assert content["runs"]["bad"]["tests"]["accuracy"]["p_holm"] < 0.05
    assert "a.csv exists: choose another name" in call("compare", "a", "b", "-o", tmp_path / "a.csv").output
    assert "expected a name that ends in" in call("compare", "a", "b", "-o", tmp_path / "a.pdf").output


def test_names_that_look_like_markup_or_formulas_are_shown_as_they_are(runs, tmp_path):
    odd = tmp_path / "=1+1<b>[red]$x$"
    shutil.copytree(runs["bad"], odd)
    comparison = hfrecipes.compare(runs["good"], odd, timing=False)
    assert "<b>" not in comparison._repr_html_()
    for name in ("a.html", "a.csv"):
        made = call("compare", runs["good"], odd, "--no-timing", "-o", tmp_path / name)
        assert made.exit_code == 0, made.output
        assert "[red]" in made.output
    assert "<b>[" not in (tmp_path / "a.html").read_text()
    assert "\n'=1+1" in (tmp_path / "a.csv").read_text()


def test_rows_in_another_order_are_the_same_rows(runs, tmp_path):
    shutil.copytree(runs["bad"], tmp_path / "turned")
    write_lines(tmp_path / "turned", read_lines(runs["bad"])[::-1])
    given = hfrecipes.compare(runs["good"], runs["bad"], timing=False).runs[1]
    turned = hfrecipes.compare(runs["good"], tmp_path / "turned", timing=False).runs[1]
    assert turned.differences["accuracy"] == given.differences["accuracy"]
    assert turned.tests["accuracy"].p == given.tests["accuracy"].p


# --- folds -------------------------------------------------------------------------------------------------------


def test_folds_are_compared_by_their_out_of_fold_predictions(trained, tmp_path):
    shutil.copytree(trained.parent / "folds", tmp_path / "again")
    comparison = hfrecipes.compare(trained.parent / "folds", tmp_path / "again", timing=False)
    assert comparison.split == "out_of_fold"
    assert comparison.rows == ROWS
    assert comparison.runs[1].tests["accuracy"].p == 1.0
    assert "the others are tested against folds, the first that is named" in " ".join(comparison.sentences)
    seconds = [json.loads((tmp_path / "again" / f"fold-{n}" / "run.json").read_text())["seconds"] for n in (1, 2)]
    assert comparison.runs[1].cost.training_seconds == pytest.approx(sum(seconds))


def test_folds_and_a_run_with_a_test_split_are_refused(trained):
    with pytest.raises(DataError, match=r"was scored on test and .* on out_of_fold"):
        hfrecipes.compare(trained, trained.parent / "folds")


# --- what is refused ---------------------------------------------------------------------------------------------


def other_rows(run: Path) -> None:
    lines = read_lines(run)
    lines[-1]["text"] = "another text"
    write_lines(run, lines)


def refused(run: Path, tmp_path: Path, change) -> str:
    shutil.copytree(run, tmp_path / "changed")
    change(tmp_path / "changed")
    with pytest.raises(HFRecipesError) as caught:
        hfrecipes.compare(run, tmp_path / "changed")
    assert len(str(caught.value)) < 2000
    return str(caught.value)


def test_other_rows_are_refused_and_named(runs, tmp_path):
    def change(run: Path) -> None:
        other_rows(run)
        edit_json(run / "run.json", lambda info: info["data"].update(test="60 rows, 00"))

    said = refused(runs["good"], tmp_path, change)
    assert (
        "were scored on different rows of test: 1 of 60 rows are only in the first, 1 of 60 only in the second" in said
    )
    assert f"such as row {ROWS - 1} of the first (text=" in said
    assert "hfrecipes evaluate <run> <file>" in said


def test_other_labels_of_the_same_texts_are_other_rows(runs, tmp_path):
    def change(run: Path) -> None:
        lines = read_lines(run)
        lines[-1]["label"] = "bad" if lines[-1]["label"] == "good" else "good"
        write_lines(run, lines)
        edit_json(run / "run.json", lambda info: info["data"].update(test="60 rows, 00"))

    assert "were scored on different rows of test" in refused(runs["good"], tmp_path, change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_rows, "so one of these files has changed: delete it"),
        (lambda run: write_lines(run, read_lines(run)[:-1]), "so one of these files has changed"),
        (lambda run: (run / "predictions.jsonl").write_text("{"), "predictions.jsonl is damaged"),
        (lambda run: (run / "predictions.jsonl").write_text("[1]\n"), "predictions.jsonl is damaged"),
        (lambda run: (run / "predictions.jsonl").write_text(""), "it has no row of test"),
        (lambda run: (run / "predictions.jsonl").unlink(), "has no predictions.jsonl"),
        (lambda run: (run / "metrics.json").write_text("[]"), "metrics.json is damaged"),
        (
            lambda run: (run / "metrics.json").write_text("{}"),
            "scores of neither test nor validation, so there is nothing to compare: score both",
        ),
        (lambda run: (run / "metrics.json").unlink(), "has no scores: give the command that started it again"),
        (lambda run: (run / "run.json").write_text("{"), "run.json is damaged"),
        (lambda run: (run / "recipe.yaml").unlink(), ""),
        (lambda run: (run / "model.safetensors").write_bytes(b"x"), "model.safetensors is not what was saved"),
        (
            lambda run: edit_json(run / "metrics.json", lambda scores: scores["test"]["accuracy"].update(value=0.99)),
            "metrics.json has accuracy 0.990, and predictions.jsonl gives 0.900, so one of them has changed",
        ),
    ],
)
def test_damaged_runs_are_refused(runs, tmp_path, change, said):
    if not said:  # its settings are in run.json too
        shutil.copytree(runs["bad"], tmp_path / "changed")
        change(tmp_path / "changed")
        assert hfrecipes.compare(runs["good"], tmp_path / "changed", timing=False).reference == "good"
    else:
        assert said in refused(runs["good"], tmp_path, change)


def test_predictions_that_cannot_be_scored_are_refused(runs, tmp_path):
    def change(run: Path) -> None:
        write_lines(run, [{**line, "prediction": {}} for line in read_lines(run)])

    assert "cannot be scored (KeyError: 'label')" in refused(runs["good"], tmp_path, change)


def test_runs_of_different_tasks_are_refused(runs, tmp_path):
    def change(run: Path) -> None:
        text = (run / "recipe.yaml").read_text()
        options = text[text.index("options:") : text.index("training:")]
        (run / "recipe.yaml").write_text(
            text.replace(options, "")
            .replace("task: text-classification", "task: fill-mask")
            .replace("  label: label\n", "")
        )

    said = refused(runs["good"], tmp_path, change)
    assert "is a run of text-classification and" in said
    assert "of fill-mask: compare runs of one task" in said


def test_one_run_alone_or_twice_is_refused(runs, tmp_path):
    with pytest.raises(ConfigError, match="found 1 run, expected two or more"):
        hfrecipes.compare(runs["good"])
    with pytest.raises(ConfigError, match="found 0 runs, expected two or more"):
        hfrecipes.compare()
    (tmp_path / "link").symlink_to(runs["good"])
    for same in (runs["good"], f"{runs['good']}/", tmp_path / "link"):
        with pytest.raises(ConfigError, match="are the same run: name each run once"):
            hfrecipes.compare(runs["good"], runs["bad"], same)
    made = call("compare", runs["good"])
    assert made.exit_code == 2
    assert made.output.count("\n") == 1


def test_what_is_no_run_is_refused(runs, tmp_path):
    for other in (3, None, ["a"]):
        with pytest.raises(NotFoundError, match="expected the folder of a run, or a Hub id"):
            hfrecipes.compare(runs["good"], other)
    with pytest.raises(NotFoundError, match="there is no run"):
        hfrecipes.compare(runs["good"], tmp_path / "nothing")
    (tmp_path / "seeds" / "seed-1").mkdir(parents=True)
    with pytest.raises(ModelError, match="has a model for each seed: compare one of them"):
        hfrecipes.compare(runs["good"], tmp_path / "seeds")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["x/run", "y/run"], ["x/run", "y/run"]),
        (["x/run", "run"], ["x/run", "run"]),
        (["me/model", "runs/model"], ["me/model", "runs/model"]),
    ],
)
def test_names_are_as_short_as_they_can_be(paths, names):
    assert short_names(paths) == names


def test_labels_of_further_test_sets_decide_nothing(runs, tmp_path):
    """Macro scores are over the labels that validation and test have, whatever a set under `tests` lacks."""
    copies, values = [], []
    for name in ("good", "bad"):
        copies.append(tmp_path / name)
        shutil.copytree(runs[name], copies[-1])
        lines = read_lines(copies[-1])
        of_set = [{**line, "split": "tests.mail"} for line in lines if line["label"] == lines[0]["label"]]
        write_lines(copies[-1], [*lines, *of_set])
        values.append(json.loads((copies[-1] / "metrics.json").read_text())["test"]["f1_macro"]["value"])
    comparison = hfrecipes.compare(*copies, timing=False)
    (difference,) = [run.differences["f1_macro"].value for run in comparison.runs if run.differences]
    assert abs(difference) == pytest.approx(values[0] - values[1], abs=1e-4)


def test_runs_with_other_rows_out_of_scope_are_refused(runs, tmp_path):
    shutil.copytree(runs["good"], tmp_path / "run")
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.replace("out_of_scope: null", "out_of_scope: none"))
    with pytest.raises(ConfigError, match=r"out_of_scope=None and .* none, so that they are scored on other rows"):
        hfrecipes.compare(runs["bad"], tmp_path / "run", timing=False)
