"""Learning curves: nested parts of train, each an ordinary run, and a promise that more rows can be held to."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.curve.forecast import forecast, standard_errors
from hfrecipes.curve.learning_curve import _promise, _start_of_fit
from hfrecipes.curve.power_law import fit
from hfrecipes.data.prepare import load_data
from hfrecipes.errors import ConfigError, DataError, ModelError, OutputError
from hfrecipes.evaluation.scoring import Score
from hfrecipes.recipe import HIGHER, LOWER
from hfrecipes.training.configuration import configure
from hfrecipes.training.folder_names import default_folder

ROWS = {"train": opinions(60), "validation": opinions(40, 1), "test": opinions(40, 2)}


def parts_of(dataset, task: str = "text-classification", steps: int = 5, **settings) -> list[dict]:
    """Rows of each part's splits, by name, and the indices of its training rows."""
    parts = []
    for step in range(1, steps + 1):
        curve = {"steps": steps, "step": step}
        config, recipe = configure(task, {"dataset": dataset, "curve": curve, **settings})
        data, _ = load_data(config, recipe)
        rows = {split: list(rows) for split, rows in data.splits.items()}
        parts.append({**rows, "indices": data.row_numbers["train"]})
    return parts


# --- parts of train ----------------------------------------------------------------------------------------------


def test_each_part_contains_the_one_before_and_labels_keep_their_shares():
    rows = [{"text": f"t{index}", "label": "rare" if index % 10 == 0 else "usual"} for index in range(200)]
    dataset = {"train": rows}
    for split, label in (("validation", "usual"), ("test", "rare")):
        dataset[split] = [{"text": f"{split} {index}", "label": label} for index in range(20)]
    parts = parts_of(dataset)
    assert [len(part["train"]) for part in parts] == [40, 80, 120, 160, 200]
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller["indices"]) < set(larger["indices"])
    for part in parts:
        assert [rows[index] for index in part["indices"]] == part["train"], "in their order, with their numbers"
        assert Counter(row["label"] for row in part["train"])["rare"] == len(part["train"]) / 10
        assert part["validation"] == dataset["validation"]
        assert part["test"] == dataset["test"]


def test_a_validation_split_that_is_drawn_is_the_same_for_all_parts():
    parts = parts_of({"train": opinions(100)}, steps=4)
    assert all(part["validation"] == parts[0]["validation"] for part in parts)
    texts = {row["text"] for row in parts[0]["validation"]}
    assert len(parts[-1]["train"]) + len(texts) == 100
    assert not any(row["text"] in texts for row in parts[-1]["train"])


def test_parts_are_those_of_the_limited_rows_and_depend_on_the_seed():
    dataset = {**ROWS, "train": opinions(90)}
    first = parts_of(dataset, steps=3, limit={"train": 60})
    assert [len(part["train"]) for part in first] == [20, 40, 60]
    again = parts_of(dataset, steps=3, limit={"train": 60})
    other = parts_of(dataset, steps=3, limit={"train": 60}, seed=7)
    assert first[0]["indices"] == again[0]["indices"] != other[0]["indices"]


def test_questions_on_one_text_follow_each_other():
    from hfrecipes.registry import find

    sample = find("question-answering").samples[0]
    rows = []
    for index in range(40):
        context = f"{sample['context']} {index % 10}"
        rows.append({**sample, "context": context, "question": f"q{index}?"})
    parts = parts_of({"train": rows, "validation": rows[:4]}, "question-answering", steps=4)
    for part in parts:
        whole = [text for text, times in Counter(row["context"] for row in part["train"]).items() if times == 4]
        assert len(whole) >= len(part["train"]) // 4 - 1, "only the last text of a part may be divided"


def test_too_few_rows_are_named_before_anything_is_trained(tiny_bert, tmp_path):
    settings = {"model": tiny_bert, "dataset": {**ROWS, "train": opinions(40)}, "output_dir": tmp_path / "run"}
    with pytest.raises(
        DataError, match="found 40 rows of train, so the smallest of 5 parts has 8, expected 10 or more"
    ):
        hfrecipes.run("text-classification", curve=5, **settings)
    assert not (tmp_path / "run").exists()


def test_labels_that_a_part_lacks_are_printed_with_the_first_part(caplog):
    rows = [{"text": f"t{index}", "label": f"l{index % 2}"} for index in range(60)] + [{"text": "x", "label": "once"}]
    parts = parts_of({"train": rows, "validation": rows[:10]}, steps=3)
    assert "part 1 of 3 has no row of 1 of the labels: once" in caplog.text
    assert "part 3 of 3 has no row" not in caplog.text
    assert {row["label"] for row in parts[2]["train"]} == {"l0", "l1", "once"}


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"curve": 2}, "curve: found 2, expected the number of parts of train, 3 to 20"),
        ({"curve": 1000}, "curve: found 1000, expected"),
        ({"curve": True}, "curve: found true"),
        ({"curve": {"steps": 3, "step": 4}}, "curve.step: found 4, expected a number from 1 to 3"),
        ({"curve": {"parts": 3}}, "unknown setting curve.parts"),
        ({"curve": 3, "folds": 3}, "curve and folds: give only one of them"),
        ({"curve": 3, "hub": "me/model"}, "leave it out, several runs give several models"),
        ({"curve": 3, "splits": {"validation": None}}, "curve: its validation scores are extrapolated"),
        ({"learning_curve": 5}, "curve=5"),
    ],
)
def test_settings_that_make_no_curve_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        configure("text-classification", settings)


def test_a_list_of_models_and_building_are_refused(tiny_bert, tmp_path):
    models = [tiny_bert, {"path": tiny_bert, "revision": "v1"}]
    with pytest.raises(ConfigError, match="model and curve: give one model, or leave curve out"):
        hfrecipes.run("text-classification", model=models, dataset=ROWS, curve=3, output_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="curve ask for several Trainers, and build makes one"):
        hfrecipes.build("text-classification", model=tiny_bert, dataset=ROWS, curve=3)


def test_the_default_folder_tells_a_curve():
    config, _ = configure("text-classification", {"model": "me/small", "dataset": "rows.csv", "curve": 5})
    assert default_folder("text-classification", config).name == "text-classification-rows-small-curve"


# --- runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Those of a run of rows in files, so that the command line can repeat it."""
    folder = tmp_path_factory.mktemp("rows")
    files = {}
    for split, rows in ROWS.items():
        files[split] = str(folder / f"{split}.jsonl")
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"model": tiny_bert, "dataset": files, "learning_rate": 1e-2, "num_train_epochs": 2, "bf16": False}


@pytest.fixture(scope="module")
def curve(settings: dict, tmp_path_factory: pytest.TempPathFactory) -> hfrecipes.LearningCurve:
    folder = tmp_path_factory.mktemp("curve") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfrecipes.flow.single.rehearse", lambda *_: None)
        patch.setattr("hfrecipes.reports.plots.are_available", lambda: False)
        return hfrecipes.run("text-classification", output_dir=folder, curve=3, **settings)


def saved(path) -> dict:
    return json.loads((path / "metrics.json").read_text())


def test_each_part_is_an_ordinary_run_and_the_last_one_that_of_all_rows(curve, settings, tmp_path):
    names = ["rows-33-percent", "rows-67-percent", "rows-100-percent"]
    assert [path.name for path in curve.runs] == names
    assert [part.rows for part in curve.parts] == [20, 40, 60]
    for part in curve.parts:
        assert part.scores["validation"]["accuracy"].value == saved(part.runs[0])["validation"]["accuracy"]["value"]
        assert hfrecipes.load(part.runs[0]).predict("the film was great")["label"] in ("good", "bad")
    alone = hfrecipes.run("text-classification", output_dir=tmp_path / "alone", **settings)
    assert alone.scores["test"] == curve.parts[-1].scores["test"]


def test_the_folder_has_all_numbers_and_the_settings(curve):
    content = json.loads((curve.path / "curve.json").read_text())
    assert content["metric"] == "accuracy"
    assert [part["rows"] for part in content["parts"]] == [20, 40, 60]
    assert content["parts"][0]["validation"] == saved(curve.runs[0])["validation"]
    assert content["forecast"]["rows"] == 120
    assert content["sentences"] == list(curve.sentences)
    assert read_recipe_file(curve.path / "recipe.yaml")["curve"] == {"steps": 3}
    assert read_recipe_file(curve.runs[1] / "recipe.yaml")["curve"] == {"steps": 3, "step": 2}


def test_the_result_shows_scores_by_rows(curve):
    assert list(curve.frame.index) == [20, 40, 60]
    scores = curve.parts[1].scores["test"]["accuracy"]
    assert curve.frame.loc[40, "test_accuracy"] == scores.value
    assert curve.frame.loc[40, "test_accuracy_low"] == scores.low
    assert curve.sentence.startswith("twice the rows (120) would bring")
    assert curve.sentence in curve._repr_html_()
    assert repr(curve).startswith("LearningCurve(validation accuracy ")


def test_a_complete_curve_returns_as_it_is_and_a_missing_part_alone_is_run(curve, settings):
    before = {path: (path / "model.safetensors").stat().st_mtime_ns for path in curve.runs}
    shutil.rmtree(curve.runs[1])
    again = hfrecipes.run("text-classification", output_dir=curve.path, curve=3, **settings)
    after = {path: (path / "model.safetensors").stat().st_mtime_ns for path in curve.runs}
    assert [before[path] == after[path] for path in curve.runs] == [True, False, True]
    assert again.sentences == curve.sentences
    assert again.parts == curve.parts


def test_another_run_is_not_written_over(curve, settings):
    for other in ({}, {"curve": 4}, {"curve": 3, "seeds": [1, 2]}):
        with pytest.raises(OutputError, match="contains another run"):
            hfrecipes.run("text-classification", output_dir=curve.path, **settings, **other)


def test_commands_on_the_whole_folder_name_the_runs_in_it(curve):
    with pytest.raises(ModelError, match="contains several runs: choose one of rows-100-percent"):
        hfrecipes.load(curve.path)
    with pytest.raises(ModelError, match="has a model for each part of train: compare one of them"):
        hfrecipes.compare(curve.path, curve.runs[0])
    made = CliRunner().invoke(main, ["report", str(curve.path)])
    assert made.exit_code == 2
    assert "contains a learning curve: a report is made of one of rows-100-percent" in made.output


def test_one_part_can_be_run_alone(curve, settings, tmp_path, caplog):
    first = {"steps": 3, "step": 1}
    alone = hfrecipes.run("text-classification", output_dir=tmp_path / "run", curve=first, **settings)
    assert isinstance(alone, hfrecipes.Result)
    assert alone.scores["test"] == curve.parts[0].scores["test"]
    assert "rows-67-percent, rows-100-percent have not been run yet" in caplog.text
    whole = hfrecipes.run("text-classification", output_dir=curve.path, curve=first, **settings)
    assert whole.parts == curve.parts, "all that a curve is made of is there"


@pytest.mark.long
def test_seeds_give_the_mean_of_several_runs_of_each_part(tiny_bert, tmp_path):
    settings = {"model": tiny_bert, "dataset": ROWS, "max_steps": 2, "save_strategy": "no", "bf16": False}
    made = hfrecipes.run("text-classification", output_dir=tmp_path / "run", curve=3, seeds=[1, 2], **settings)
    assert [path.name for path in made.parts[0].runs] == ["rows-33-percent-seed-1", "rows-33-percent-seed-2"]
    each = [saved(path)["validation"]["accuracy"]["value"] for path in made.parts[2].runs]
    assert made.parts[2].scores["validation"]["accuracy"].runs == tuple(each)
    assert made.frame.loc[60, "validation_accuracy"] == pytest.approx(np.mean(each))
    assert "test_accuracy_sd" in made.frame


def test_the_command_prints_scores_by_rows_and_the_promise(curve, settings):
    files = [f"dataset.{split}={file}" for split, file in settings["dataset"].items()]
    others = [f"{name}={value}" for name, value in settings.items() if name != "dataset"]
    words = [*files, *others, "curve=3", f"output_dir={curve.path}"]
    made = CliRunner().invoke(main, ["run", "text-classification", *words])
    assert made.exit_code == 0, made.output
    lines = made.output.splitlines()
    head = next(index for index, line in enumerate(lines) if line.split()[:3] == ["rows", "validation", "accuracy"])
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["20", "40", "60"]
    assert lines[head + 4] == curve.sentence
    assert f"all numbers: {curve.path}/curve.json" in made.output.replace("\n", "")


@pytest.mark.pictures
def test_the_plot_shows_each_part_and_the_band(curve):
    (axes,) = curve.plot().axes
    assert axes.get_xlabel() == "training rows"
    assert axes.get_ylabel() == "accuracy (higher is better)"
    labels = axes.get_legend_handles_labels()[1]
    assert {"validation", "test", "95 % band"} <= set(labels)


@pytest.mark.pictures
def test_a_notebook_shows_a_plot_at_the_end_of_a_cell(curve):
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(curve.plot())
    assert shown["image/png"].startswith(b"\x89PNG")


# --- the forecast ------------------------------------------------------------------------------------------------

COUNTS = [200, 400, 600, 800]


def expected(scores, error: float = 0.002, **more):
    settings = {"bounds": (0.0, 1.0), "greater_is_better": True, "seed": 1, **more}
    return forecast(COUNTS, scores, np.full(4, error), **settings)


def law(rows, a: float = 0.9, b: float = 2.0, c: float = 0.5) -> np.ndarray:
    return a - b * np.asarray(rows, dtype=float) ** -c


def test_a_power_law_is_recovered():
    made = expected(law(COUNTS))
    assert made.rows == 1600
    assert made.score.value == pytest.approx(law(1600), abs=2e-3)
    assert made.gain.value == pytest.approx(law(1600) - law(800), abs=2e-3)
    assert made.gain.low < law(1600) - law(800) < made.gain.high


def test_errors_that_fall_are_the_mirror_of_scores_that_rise():
    up = expected(law(COUNTS))
    down = expected(1 - law(COUNTS), greater_is_better=False)
    assert down.score.value == pytest.approx(1 - up.score.value)
    assert down.gain.value == pytest.approx(-up.gain.value)


def test_nothing_beyond_the_best_possible_score_is_promised():
    made = expected([0.7, 0.9, 0.96, 0.99], error=0.02)
    assert made.score.high <= 1.0
    assert max(made.band.high) <= 1.0
    made = expected([30.0, 12.0, 4.0, 1.0], error=2.0, bounds=(0.0, math.inf), greater_is_better=False)
    assert made.score.low >= 0.0


def test_the_interval_holds_the_true_gain_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = []
    for seed in range(60):
        noise = generator.normal(0, 0.01, len(COUNTS))
        made = expected(law(COUNTS) + noise, error=0.01, seed=seed)
        held.append(made.gain.low <= law(1600) - law(800) <= made.gain.high)
    assert np.mean(held) >= 0.88


def test_scores_far_from_any_curve_widen_the_interval():
    smooth, rough = law(COUNTS), law(COUNTS) + np.array([0.03, -0.03, 0.03, -0.03])
    narrow, wide = expected(smooth).gain, expected(rough).gain
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_seeds_that_differ_more_than_intervals_allow_count():
    together = [[Score(0.8, 0.79, 0.81), Score(0.8, 0.79, 0.81)]] * 3
    apart = [[Score(0.75, 0.74, 0.76), Score(0.85, 0.84, 0.86)]] * 3
    assert standard_errors(together) == pytest.approx(0.02 / 3.92 / math.sqrt(2))
    assert standard_errors(apart) == pytest.approx(math.sqrt(0.005) / math.sqrt(2))


def test_a_metric_without_interval_is_not_extrapolated():
    errors = standard_errors([[Score(0.8)], [Score(0.82)], [Score(0.83)]])
    assert forecast([1, 2, 3], [0.8, 0.82, 0.83], errors, bounds=(0, 1), greater_is_better=True, seed=1) is None
    assert "no interval" in _promise("accuracy", HIGHER, None)


@pytest.mark.parametrize(
    ("scores", "metric", "sentence"),
    [
        (law(COUNTS), HIGHER, "twice the rows (1,600) would bring about +0.021 accuracy on validation (+0.0"),
        (1 - law(COUNTS), LOWER, "twice the rows (1,600) would bring about -0.021 accuracy on validation (-0.0"),
        ([0.8] * 4, HIGHER, "twice the rows (1,600) would bring no gain of validation accuracy that can be told from"),
        ([0.8] * 4, LOWER, "twice the rows (1,600) would bring no gain of validation accuracy that can be told from"),
        ([0.8, 0.75, 0.7, 0.65], HIGHER, "twice the rows (1,600) would bring no gain"),
    ],
)
def test_the_sentence_promises_no_more_than_the_interval(scores, metric, sentence):
    made = expected(scores, greater_is_better=metric.greater_is_better)
    assert _promise("accuracy", metric, made).startswith(sentence)


def test_parts_that_are_no_better_than_the_baseline_are_not_fitted():
    runs = [[Score(value, value - 0.05, value + 0.05, baseline=0.5)] for value in (0.5, 0.52, 0.7, 0.75, 0.8)]
    start, notes = _start_of_fit([100, 200, 300, 400, 500], runs, HIGHER)
    assert start == 2
    assert notes == ["not fitted: 200 rows or fewer, which are not enough to learn anything"]
    start, notes = _start_of_fit([100, 200, 300, 400], runs[:4], HIGHER)
    assert start == 1
    assert "rough: some of the fitted parts are not significantly better than the baseline" in notes
    start, notes = _start_of_fit([100, 200], runs[:2], HIGHER)
    assert notes == ["no part is significantly better than the baseline, and the curve may only rise later"]


def test_resamples_are_fitted_as_if_alone():
    rows = np.array(COUNTS)
    scores = np.array([law(COUNTS), law(COUNTS, 0.8, 1.0, 0.3), [0.5, 0.9, 0.99, 1.0]])
    errors = np.full(4, 0.01)
    together = fit(rows, scores, errors, 1.0).at(np.array([1600]))
    alone = [fit(rows, scores[index : index + 1], errors, 1.0).at(np.array([1600]))[0] for index in range(3)]
    assert together == pytest.approx(np.array(alone))
