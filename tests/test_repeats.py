"""Folds and seeds: each row is scored once by a model that did not see it; several runs give a mean and a spread."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
from collections import Counter

import pandas as pd
import pytest
from conftest import opinions
from processes import run_python

import hfrecipes
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.data.prepare import load_data
from hfrecipes.errors import ConfigError, DataError, ModelError, OutputError
from hfrecipes.training.configuration import configure


def folds_of(dataset, task: str = "text-classification", **folds) -> list[dict]:
    """Rows of each fold's splits, by name."""
    found = []
    for fold in range(1, folds.get("n_splits", 5) + 1):
        config, recipe = configure(task, {"dataset": dataset, "folds": {**folds, "fold": fold}})
        data, _ = load_data(config, recipe)
        found.append({**{split: list(rows) for split, rows in data.splits.items()}, "places": data.row_numbers["test"]})
    return found


def test_each_row_is_in_one_fold_and_labels_keep_their_shares():
    rows = [{"text": f"t{place}", "label": "rare" if place % 10 == 0 else "usual"} for place in range(100)]
    found = folds_of({"train": rows}, n_splits=5)
    assert sorted(place for fold in found for place in fold["places"]) == list(range(100))
    for fold in found:
        assert Counter(row["label"] for row in fold["test"]) == {"usual": 18, "rare": 2}
        assert [rows[place] for place in fold["places"]] == fold["test"]
        texts = [{row["text"] for row in fold[split]} for split in ("train", "validation", "test")]
        assert sum(map(len, texts)) == len(set.union(*texts)) == 100


def test_a_validation_split_of_the_dataset_picks_and_its_test_split_is_left_alone():
    dataset = {"train": opinions(60), "validation": opinions(20, 1), "test": opinions(20, 2)}
    for fold in folds_of(dataset, n_splits=3):
        assert fold["validation"] == dataset["validation"]
        assert len(fold["train"]) + len(fold["test"]) == 60
        assert all(row in dataset["train"] for row in fold["test"])


def test_equal_cells_of_the_named_column_stay_together():
    rows = [
        {"text": f"{row['text']} {place}", "label": row["label"], "who": f"person {place % 12}"}
        for place, row in enumerate(opinions(140))
    ]
    own = {row["text"]: row["who"] for row in rows}
    for fold in folds_of({"train": rows}, n_splits=3, groups="who"):
        people = [{own[row["text"]] for row in fold[split]} for split in ("train", "validation", "test")]
        assert all(people)
        assert sum(map(len, people)) == len(set.union(*people)), "nobody is in two splits"
        assert all("who" not in fold[split][0] and "__group__" not in fold[split][0] for split in ("train", "test"))
    with pytest.raises(DataError, match=r"folds.groups: no column 'whom' \(did you mean who\?\)"):
        folds_of({"train": rows}, n_splits=3, groups="whom")
    with pytest.raises(DataError, match="folds: found 12 groups, expected 13 or more"):
        folds_of({"train": rows}, n_splits=13, groups="who")


@pytest.mark.parametrize("nobody", [None, "", float("nan")])
def test_rows_of_no_group_are_not_taken_for_one(nobody):
    who = [nobody if place % 3 else f"p{place}" for place in range(12)]
    rows = pd.DataFrame({"text": [f"t{place}" for place in range(12)], "label": list("ab") * 6, "who": who})
    with pytest.raises(DataError, match="column 'who' is empty in 8 of 12 rows"):
        folds_of({"train": rows}, n_splits=2, groups="who")


def test_rows_that_stand_twice_do_not_leak_into_the_fold():
    rows = opinions(60) * 2
    found = folds_of({"train": rows}, n_splits=3)
    assert sorted(place for fold in found for place in fold["places"]) == list(range(120))
    for fold in found:
        assert not {row["text"] for row in fold["test"]} & {row["text"] for row in fold["train"]}


@pytest.mark.long
def test_folds_are_the_same_in_every_process(tmp_path):
    """Hashes of texts differ from process to process, and folds must not depend on them."""
    from hfrecipes.registry import find

    rows = {
        task: [{**find(task).samples[place % 4], **more(place)} for place in range(24)]
        for task, more in {
            "text-classification": lambda place: {},
            "question-answering": lambda place: {"question": f"{place}?"},
        }.items()
    }
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    code = """
import json
import math
from hfrecipes.data.prepare import load_data
from hfrecipes.training.configuration import configure
for task, rows in json.load(open("rows.json")).items():
    config, recipe = configure(task, {"dataset": {"train": rows}, "folds": {"n_splits": 2, "fold": 1}})
    data, _ = load_data(config, recipe)
    print(data.row_numbers["test"])
"""
    made = set()
    for seed in ("1", "2"):
        made.add(run_python("-c", code, env={**os.environ, "PYTHONHASHSEED": seed}, cwd=tmp_path).stdout)
    assert len(made) == 1
    assert made.pop().count("[") == 2


def test_too_few_rows_of_each_label_are_named():
    rows = [{"text": f"t{place}", "label": f"l{place % 6}"} for place in range(12)]
    with pytest.raises(DataError, match="folds: no label has more than 2 rows, expected 5: use fewer folds"):
        folds_of({"train": rows})
    config, recipe = configure("text-classification", {"dataset": {"train": rows}, "folds": 999})
    with pytest.raises(DataError, match="folds: found 12 rows, expected 999 or more"):
        load_data(config, recipe)


def test_scores_that_are_no_numbers_have_a_mean_that_is_none():
    from hfrecipes import repeats
    from hfrecipes.evaluation.scoring import Score

    mean = repeats._over_runs([Score(math.nan), Score(1.0, baseline=0.5)])
    assert math.isnan(mean.value)
    assert math.isnan(mean.deviation)
    assert mean.baseline is None


def test_building_one_trainer_for_several_runs_is_refused():
    for settings in ({"folds": 3}, {"seeds": [1, 2]}, {"folds": {"n_splits": 3, "fold": 1}}):
        with pytest.raises(ConfigError, match="ask for several Trainers, and build makes one"):
            hfrecipes.build("text-classification", dataset=opinions(40), **settings)


def test_questions_on_one_text_stay_together():
    from hfrecipes.registry import find

    samples = find("question-answering").samples
    rows = [{**samples[place % 4], "question": f"q{place}?"} for place in range(24)]
    for fold in folds_of({"train": rows}, "question-answering", n_splits=2):
        assert not {row["context"] for row in fold["test"]} & {row["context"] for row in fold["train"]}


@pytest.fixture(scope="module")
def folded(tiny_bert, tmp_path_factory) -> hfrecipes.Results:
    settings = {"model": tiny_bert, "learning_rate": 1e-2, "num_train_epochs": 1, "bf16": False}
    folder = tmp_path_factory.mktemp("folds") / "run"
    return hfrecipes.run("text-classification", dataset=opinions(90), output_dir=folder, folds=3, **settings)


def test_out_of_fold_predictions_hold_every_row_once(folded):
    lines = [json.loads(line) for line in (folded.path / "predictions.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(90))
    assert [line["text"] for line in lines] == [row["text"] for row in opinions(90)]
    assert set(Counter(line["fold"] for line in lines)) == {1, 2, 3}
    right = [line["prediction"]["label"] == line["label"] for line in lines]
    entry = folded.scores["out_of_fold"]["accuracy"]
    assert entry.value == pytest.approx(sum(right) / 90)
    assert entry.low <= entry.value <= entry.high


def test_groups_of_the_folds_are_resampled_together(tiny_bert, tmp_path, monkeypatch):
    from hfrecipes.evaluation import scoring
    from hfrecipes.flow import single

    monkeypatch.setattr(single, "rehearse", lambda *given: None)  # which scores two rows of each
    rows = [
        {**row, "text": f"{row['text']} {place}", "who": f"p{place % 10}"} for place, row in enumerate(opinions(60))
    ]
    who = {row["text"]: row["who"] for row in rows}
    known, scores = [], scoring.scores

    def scores_seen(recipe, predictions, references, **more):
        known.append(more["groups"])
        return scores(recipe, predictions, references, **more)

    monkeypatch.setattr(scoring, "scores", scores_seen)
    settings = {"model": tiny_bert, "max_steps": 1, "save_strategy": "no", "bf16": False}
    folds = {"n_splits": 2, "groups": "who"}
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", folds=folds, **settings)
    lines = [json.loads(line) for line in (result.path / "predictions.jsonl").read_text().splitlines()]
    assert len(known) == 7, "train, validation and test of each fold, and all rows together"
    assert all(groups is not None for groups in known)
    assert len(set(known[-1])) == len(set(zip(known[-1], (who[line["text"]] for line in lines), strict=True))) == 10
    for number in (1, 2):
        of_test = [who[line["text"]] for line in lines if line["fold"] == number]
        assert of_test in known


def test_rows_of_all_folds_are_scored_by_label_together(folded):
    lines = [json.loads(line) for line in (folded.path / "predictions.jsonl").read_text().splitlines()]
    report = folded.report()
    assert report["support"].sum() == 90
    right = [line for line in lines if line["label"] == line["prediction"]["label"] == "good"]
    actual = [line for line in lines if line["label"] == "good"]
    assert report.loc["good", "recall"] == pytest.approx(len(right) / len(actual))
    assert "out_of_fold" in json.loads((folded.path / "report.json").read_text())


def test_scores_are_means_with_their_spread(folded):
    each = [json.loads((path / "metrics.json").read_text())["test"]["accuracy"] for path in folded.runs]
    entry = json.loads((folded.path / "metrics.json").read_text())["test"]["accuracy"]
    assert entry["runs"] == [one["value"] for one in each]
    assert entry["value"] == pytest.approx(statistics.fmean(entry["runs"]))
    assert entry["sd"] == pytest.approx(statistics.stdev(entry["runs"]))
    assert entry["baseline"] == pytest.approx(statistics.fmean(one["baseline"] for one in each))
    assert f"test accuracy {entry['value']:.3f} ± {entry['sd']:.3f}" in repr(folded)


def test_each_fold_is_an_ordinary_run(folded):
    for number, path in enumerate(folded.runs, 1):
        assert hfrecipes.load(path).predict("the film was great")["label"] in ("good", "bad")
        assert f"fold: {number}" in (path / "recipe.yaml").read_text()


def test_what_a_kill_left_in_a_complete_fold_is_deleted(folded, tiny_bert):
    settings = {"model": tiny_bert, "learning_rate": 1e-2, "num_train_epochs": 1, "bf16": False}
    before = sorted(folded.path.rglob("*"))
    half_deleted = folded.runs[0] / "checkpoint-2"
    half_deleted.mkdir()
    for file in (half_deleted / "config.json", folded.runs[1] / ".lock", folded.runs[1] / ".owner"):
        file.write_text("{}", encoding="utf-8")
    hfrecipes.run("text-classification", dataset=opinions(90), output_dir=folded.path, folds=3, **settings)
    assert sorted(folded.path.rglob("*")) == before


def test_the_same_command_goes_on_where_runs_lack_and_leaves_the_others(folded, tiny_bert, caplog):
    settings = {"model": tiny_bert, "learning_rate": 1e-2, "num_train_epochs": 1, "bf16": False}
    before = {path: (path / "model.safetensors").stat().st_mtime_ns for path in folded.runs}
    shutil.rmtree(folded.runs[2])
    again = hfrecipes.run("text-classification", dataset=opinions(90), output_dir=folded.path, folds=3, **settings)
    assert again.metrics == folded.metrics
    after = {path: (path / "model.safetensors").stat().st_mtime_ns for path in folded.runs}
    assert [before[path] == after[path] for path in folded.runs] == [True, True, False]
    with pytest.raises(OutputError, match="contains another run"):
        hfrecipes.run("text-classification", dataset=opinions(90), output_dir=folded.path, folds=4, **settings)


def test_unfinished_folds_are_not_written_over(tiny_bert, tmp_path):
    run = {"model": tiny_bert, "dataset": opinions(60), "bf16": False, "max_steps": 2, "output_dir": tmp_path / "run"}
    hfrecipes.run("text-classification", folds={"n_splits": 3, "fold": 2}, **run)
    before = (tmp_path / "run" / "recipe.yaml").read_text()
    for other in ({}, {"folds": 4}, {"seeds": [1, 2]}):
        with pytest.raises(OutputError, match="contains another run"):
            hfrecipes.run("text-classification", **run, **other)
    with pytest.raises(ModelError, match="contains several runs: choose one of fold-2"):
        hfrecipes.load(tmp_path / "run")
    assert (tmp_path / "run" / "recipe.yaml").read_text() == before


def test_folds_that_were_run_one_by_one_become_the_whole(tiny_bert, tmp_path, caplog):
    settings = {"model": tiny_bert, "dataset": opinions(60), "max_steps": 2, "save_strategy": "no", "bf16": False}
    run = {"output_dir": tmp_path / "run", **settings}
    second = hfrecipes.run("text-classification", folds={"n_splits": 2, "fold": 2}, **run)
    assert isinstance(second, hfrecipes.Result)
    assert second.path == tmp_path / "run" / "fold-2"
    assert "fold-1 have not been run yet" in caplog.text
    both = hfrecipes.run("text-classification", folds=2, **run)
    assert both.scores["test"]["accuracy"].runs[1] == second.metrics["test"]["accuracy"]
    again = hfrecipes.run("text-classification", folds={"n_splits": 2, "fold": 1}, **run)
    assert again.scores == both.scores, "all that was asked for is there"


def test_labels_in_the_order_of_the_checkpoint_do_not_change_what_is_scored_again(tiny_bert, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base, names = tmp_path / "model", {0: "good", 1: "bad"}
    AutoModelForSequenceClassification.from_pretrained(tiny_bert, id2label=names).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(base)
    settings = {"model": str(base), "dataset": opinions(60), "max_steps": 2, "save_strategy": "no", "bf16": False}
    first = hfrecipes.run("text-classification", output_dir=tmp_path / "run", folds=2, **settings)
    again = hfrecipes.run("text-classification", output_dir=tmp_path / "run", folds=2, **settings)
    assert first.metrics["out_of_fold"] == again.metrics["out_of_fold"]


def test_several_seeds_are_the_runs_of_each_seed(quick, tmp_path):
    rows = {"train": opinions(64), "test": opinions(40, 1)}
    settings = {**quick, "dataset": rows, "num_train_epochs": 1}
    several = hfrecipes.run("text-classification", output_dir=tmp_path / "run", seeds=[1, 2], **settings)
    assert [path.name for path in several.runs] == ["seed-1", "seed-2"]
    alone = hfrecipes.run("text-classification", output_dir=tmp_path / "alone", seed=2, **settings)
    assert several.scores["test"]["accuracy"].runs[1] == alone.metrics["test"]["accuracy"]
    assert several.scores["test"]["ece"].runs[0] != several.scores["test"]["ece"].runs[1]
    assert read_recipe_file(tmp_path / "run" / "recipe.yaml")["seeds"] == [1, 2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"folds": 1}, "folds: found 1, expected 2 or more"),
        ({"folds": {"n_splits": 3, "fold": 4}}, "folds.fold: found 4, expected a number from 1 to 3"),
        ({"folds": {"splits": 3}}, r"unknown setting folds.splits \(did you mean n_splits\?\)"),
        ({"folds": 3, "seeds": [1, 2]}, "folds and seeds: give only one of them"),
        ({"seeds": [1]}, r"seeds: found \[1\], expected two or more that differ; for one, seed=1"),
        ({"seeds": [1, -1]}, "seeds: found -1, expected a number from 0 to 4294967295"),
        ({"seeds": [1, 2, 2]}, "seeds: found 2 twice, and its run would count twice"),
        ({"folds": 10**20}, "folds: found 100000000000000000000, expected 10000 or less"),
        ({"seeds": [1, 2], "hub": "me/model"}, "leave it out, several runs give several models"),
    ],
)
def test_settings_that_make_no_runs_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        configure("text-classification", settings)


def test_the_command_shows_means_and_spreads(tiny_bert, tmp_path):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(60)))
    words = [f"model={tiny_bert}", "dataset=rows.jsonl", "bf16=false", "max_steps=2", "folds=2", "save_strategy=no"]
    made = CliRunner().invoke(main, ["run", "text-classification", *words])
    assert made.exit_code == 0, made.output
    assert "mean ± standard deviation of 2 runs" in made.output
    assert "out_of_fold" in made.output
    assert "runs/text-classification-rows-tiny-bert-2-folds/fold-1" in made.output
