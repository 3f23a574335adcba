"""What is said of scores beside the scores: their intervals, the gap between train and validation, what tuning did."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from conftest import opinions

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.evaluation import scoring
from hfrecipes.evaluation.scoring import Score
from hfrecipes.metrics import _uncertainty
from hfrecipes.registry import find, list_tasks

# --- intervals -------------------------------------------------------------------------------------------------------


def answers(right: list[bool]) -> tuple[list[dict], list[int]]:
    """Predictions and labels of a multiple choice whose accuracy is the share that is right."""
    return [{"label": int(is_right)} for is_right in right], [1] * len(right)


def accuracy(right: list[bool], **more) -> Score:
    return scoring.scores(find("multiple-choice")(), *answers(right), seed=0, **more)["accuracy"]


@pytest.mark.parametrize(
    ("rows", "share", "in_texts"),
    [(20, 0.95, False), (50, 0.97, False), (30, 0.5, True), (50, 0.6, True), (200, 0.7, True), (200, 0.97, True)],
)
def test_an_interval_holds_the_true_accuracy_as_often_as_it_says(rows, share, in_texts):
    file = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    assert runpy.run_path(str(file))["coverage"](rows, share, 400, in_texts=in_texts) >= 0.91


def test_a_share_of_rows_has_the_interval_of_clopper_and_pearson():
    from scipy.stats import beta

    assert accuracy([True] * 20).ci95 == pytest.approx([beta.ppf(0.025, 20, 1), 1])
    assert accuracy([False] * 20).ci95 == pytest.approx([0, beta.ppf(0.975, 1, 20)])
    for right in (19, 12, 5):
        expected = beta.ppf([0.025, 0.975], [right, right + 1], [21 - right, 20 - right])
        assert accuracy([place < right for place in range(20)]).ci95 == pytest.approx(expected, abs=0.02)


def test_rows_of_one_group_each_have_the_interval_of_rows():
    right = [place % 7 > 0 for place in range(40)]
    assert accuracy(right, groups=[f"text {place}" for place in range(40)]) == accuracy(right)


def test_rows_that_share_a_group_tell_less_than_others():
    right = [place // 10 % 2 == 0 for place in range(100)]
    groups = [place // 10 for place in range(100)]
    low, high = accuracy(right, groups=groups).ci95
    assert (low, high) == pytest.approx(_uncertainty.share_interval(0.5, 10), abs=0.02)
    low, high = accuracy([True] * 100, groups=groups).ci95
    assert (low, high) == pytest.approx(_uncertainty.share_interval(1.0, 10)), "they may all be right together"
    one_large = [0] * 90 + list(range(1, 11))
    assert accuracy([True] * 100, groups=one_large).ci95[0] < 0.3, "most rows are of one group"


def test_groups_are_those_of_the_rows_that_are_scored():
    right, groups = [True] * 30, [place // 10 for place in range(30)]
    predictions, references = answers(right)
    references[:20] = [None] * 20
    recipe = find("multiple-choice")()
    found = scoring.scores(recipe, predictions, references, seed=0, groups=groups)["accuracy"]
    assert found.ci95 == pytest.approx(_uncertainty.share_interval(1.0, 1))


def perfect(task: str, rows: int) -> tuple[hfrecipes.Recipe, list[dict], list]:
    """A recipe with predictions that are all right, and what they are scored against."""
    recipe = find(task)()
    if task == "text-classification":
        recipe.problem_type, recipe.labels = "single_label_classification", ["a", "b"]
        names = ["ab"[row % 2] for row in range(rows)]
        return (
            recipe,
            [{"label": name, "scores": {"a": float(name == "a"), "b": float(name == "b")}} for name in names],
            names,
        )
    if task == "token-classification":
        recipe.scheme, recipe.labels = "BIO", ["O", "B-x", "I-x"]
        return recipe, [{"tags": ["O", "B-x", "I-x", "O"]}] * rows, [["O", "B-x", "I-x", "O"]] * rows
    if task == "question-answering":
        recipe.version_2_with_negative = recipe.characters = False
        return recipe, [{"answer": "the mill"}] * rows, [["the mill"]] * rows
    if task == "text2text-generation":
        recipe.characters = False
        return recipe, [{"generated_text": "the mill"}] * rows, [["the mill"]] * rows
    if task == "summarization":
        recipe.characters = False
        return recipe, [{"summary_text": "An old mill."}] * rows, [["An old mill."]] * rows
    return (
        recipe,
        [{"translation_text": "Die alte Mühle steht am Fluss."}] * rows,
        [["Die alte Mühle steht am Fluss."]] * rows,
    )


@pytest.mark.parametrize(
    ("task", "names", "best"),
    [
        ("text-classification", ["accuracy", "f1_macro", "precision_macro", "recall_weighted"], 1),
        ("token-classification", ["accuracy", "precision", "recall", "f1", "f1_strict", "f1[x]"], 1),
        ("question-answering", ["exact_match", "f1"], 100),
        ("text2text-generation", ["exact_match", "f1"], 100),
        ("summarization", ["rouge1", "rougeL"], 100),
        ("translation", ["bleu", "chrf", "exact_match"], 100),
    ],
)
def test_scores_of_rows_that_are_all_right_are_not_certain(task, names, best):
    found = scoring.scores(*perfect(task, 20), seed=0)
    for name in names:
        assert found[name].ci95 == pytest.approx([0.832 * best, best], abs=0.001 * best), name


def test_a_correlation_that_is_perfect_in_few_rows_is_not_certain():
    entry = scoring.scores(*perfect("text-classification", 20), seed=0)["matthews_correlation"]
    assert entry.ci95 == pytest.approx([2 * 0.832 - 1, 1], abs=0.001)


def test_a_score_of_some_of_the_rows_has_the_interval_of_those():
    recipe = find("question-answering")(version_2_with_negative=True, characters=False)
    references = [["the mill"]] * 95 + [[]] * 5
    found = scoring.scores(recipe, [{"answer": "the mill"}] * 95 + [{"answer": ""}] * 5, references, seed=0)
    assert found["NoAns_exact"].ci95 == pytest.approx([100 * edge for edge in _uncertainty.share_interval(1, 5)])
    assert found["HasAns_f1"].ci95 == pytest.approx([100 * edge for edge in _uncertainty.share_interval(1, 95)])
    recipe, predictions, references = perfect("token-classification", 6)
    nothing = ["O", "O"]
    found = scoring.scores(recipe, [*predictions, *[{"tags": nothing}] * 60], [*references, *[nothing] * 60], seed=0)
    assert found["f1"].ci95 == pytest.approx(_uncertainty.share_interval(1, 6)), "60 sentences have no entity"
    assert found["accuracy"].ci95[0] > 0.9


def test_words_of_one_sentence_are_resampled_together():
    recipe, _, references = perfect("token-classification", 40)
    predictions = [{"tags": tags if row % 2 else ["I-x", "O", "O", "B-x"]} for row, tags in enumerate(references)]
    low, high = scoring.scores(recipe, predictions, references, seed=0)["accuracy"].ci95
    assert (low, high) == pytest.approx(_uncertainty.share_interval(0.5, 40), abs=0.01)


@pytest.mark.parametrize("task", list_tasks())
def test_every_interval_holds_its_score_and_stays_within_what_the_score_can_be(task):
    recipe = find(task)()
    rows = datasets.Dataset.from_list([recipe.samples[place % len(recipe.samples)] for place in range(12)])
    recipe.infer_labels(rows)
    references = [recipe.reference(row) for row in rows]
    predictions = recipe.baseline_predictions(rows, recipe.baseline(rows))
    found = scoring.scores(recipe, predictions, references, seed=0, groups=[0, 1, 2] * 4)
    for name, entry in found.items():
        if np.isfinite(entry.value):
            low, high = entry.ci95
            least, most = scoring.bounds(recipe, name)
            assert least <= low <= entry.value <= high <= most, name


def test_scores_without_a_greatest_value_widen_with_fewer_rows():
    recipe, widths = find("text-generation")(), []
    for rows in (10, 1000):
        losses = np.random.default_rng(0).gamma(4, 0.75, rows)
        predictions = [{"tokens": 20, "correct": 5, "loss": loss, "bytes": 80} for loss in losses]
        entry = scoring.scores(recipe, predictions, [True] * rows, seed=0)["perplexity"]
        assert 0 < entry.ci95[0] < entry.value < entry.ci95[1]
        widths.append(entry.ci95[1] / entry.ci95[0])
    assert widths[1] < widths[0] / 3


def test_an_interval_that_cannot_be_known_is_a_dash():
    one = [{"tokens": 20, "correct": 5, "loss": 2.0, "bytes": 80}]
    entry = scoring.scores(find("text-generation")(), one, [True], seed=0)["perplexity"]
    assert str(entry) == "7.389 (–)"
    assert scoring.interval(None, None) == "–"


def test_a_metric_that_the_user_names_is_resampled_by_group_too():
    recipe, predictions, references = perfect("text-classification", 40)
    recipe.measure = lambda *_: lambda weights: {}
    groups = [place // 10 for place in range(40)]
    found = scoring.scores(recipe, predictions, references, seed=0, others=["accuracy"], groups=groups)["accuracy"]
    assert found.ci95 == pytest.approx(_uncertainty.share_interval(1.0, 4))


@pytest.mark.parametrize(("rows", "is_better"), [(4, False), (8, True)])
def test_few_right_answers_are_not_better_than_chance_for_sure(rows, is_better):
    entry = replace(accuracy([True] * rows), baseline=0.5)
    assert bool(scoring.no_better_than_baseline(find("multiple-choice")(), {"accuracy": entry})) != is_better


def test_a_perfect_score_on_train_leaves_the_gap_in_doubt():
    train, validation = ({"accuracy": accuracy([place < 18 for place in range(rows)])} for rows in (18, 20))
    low, high = scoring.gap(train, validation)["accuracy"].ci95
    assert low < 0 < 0.1 < high, "2 wrong answers of 20 are no sign of overfitting after 18 of 18"


# --- the gap, and overfitting ----------------------------------------------------------------------------------------


def entries(train: float, held: float, baseline: float, half: float = 0.02, name: str = "accuracy") -> dict:
    found = {
        "train": {name: Score(train, train - half, train + half, baseline)},
        "validation": {name: Score(held, held - half, held + half)},
    }
    return {**found, scoring.GAP: scoring.gap(found["train"], found["validation"])}


def test_the_gap_has_the_interval_of_a_difference():
    """Its width is that of independent errors, as resampling both scores shows."""
    generator = np.random.default_rng(0)
    one, other = generator.random(400) < 0.9, generator.random(300) < 0.7
    draws = [np.array([generator.choice(rows, len(rows)).mean() for _ in range(2000)]) for rows in (one, other)]
    found = scoring.gap(
        *(
            {"a": Score(rows.mean(), *np.percentile(draw, [2.5, 97.5]))}
            for rows, draw in zip((one, other), draws, strict=True)
        )
    )["a"]
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert found.ci95 == pytest.approx(np.percentile(draws[0] - draws[1], [2.5, 97.5]), abs=0.01)


@pytest.mark.parametrize(
    ("train", "held", "baseline", "half", "said"),
    [
        (1.0, 0.8, 0.1, 0.02, True),
        (0.95, 0.9, 0.5, 0.02, False),
        (1.0, 0.8, 0.1, 0.2, False),
        (0.5, 0.5, 0.5, 0.01, False),
        (0.4, 0.3, 0.5, 0.01, False),
        (0.8, 0.9, 0.1, 0.01, False),
    ],
)
def test_overfitting_is_named_where_much_of_what_was_learnt_is_lost(train, held, baseline, half, said):
    recipe = find("text-classification")()
    sentences = scoring.overfitting(recipe, entries(train, held, baseline, half), lora=False)
    assert bool(sentences) == said
    if said:
        assert "accuracy is 1.000 on train and 0.800 on validation" in sentences[0]
        assert "lora=true" in sentences[0]
        assert "lora=true" not in scoring.overfitting(recipe, entries(train, held, baseline, half), lora=True)[0]


@pytest.mark.parametrize(("train", "held", "baseline"), [(0.55, 0.1, 0.5), (1.0, 0.1, 0.1), (0.51, 0.0, 0.505)])
def test_no_more_than_all_of_a_gain_is_lost(train, held, baseline):
    recipe = find("text-classification")()
    (sentence,) = scoring.overfitting(recipe, entries(train, held, baseline, 0.001), lora=False)
    assert "so nothing of the gain over the baseline carries over to new rows" in sentence
    assert "%" not in sentence
    assert "try dropout=0.2 first, then freeze=embeddings, then lora=true; see docs/overfitting.md" in sentence


def test_scores_that_fall_go_by_ratios():
    recipe = find("text-generation")()
    assert not scoring.overfitting(recipe, entries(10.0, 11.0, 100.0, 0.1, "perplexity"), lora=False)
    assert scoring.overfitting(recipe, entries(5.0, 20.0, 100.0, 0.1, "perplexity"), lora=False)
    assert not scoring.overfitting(recipe, entries(5.0, 4.0, 100.0, 0.1, "perplexity"), lora=False)


def test_table_report_and_file_show_the_gap(quick, tmp_path):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    rows = {"train": opinions(40), "validation": opinions(40, 1), "test": opinions(20, 2)}
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **quick)
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    entry = written["gap"]["accuracy"]
    assert entry["value"] == pytest.approx(
        result.metrics["train"]["accuracy"] - result.metrics["validation"]["accuracy"]
    )
    assert "gap" in (tmp_path / "run" / "README.md").read_text()
    assert "gap" not in repr(result)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(60)))
    words = [f"model={quick['model']}", "dataset=train.jsonl", "bf16=false", "max_steps=2", "save_strategy=no"]
    made = CliRunner().invoke(main, ["run", "text-classification", *words])
    assert made.exit_code == 0, made.output
    assert "gap" in made.output


TRACKER = """
from types import SimpleNamespace

class EmissionsTracker:
    def __init__(self, output_dir):
        pass

    def start(self):
        pass

    def stop(self):
        self.final_emissions_data = SimpleNamespace(energy_consumed=0.0012345, emissions=0.00045678)
"""


def test_energy_that_codecarbon_measured_is_on_the_card(quick, tmp_path, monkeypatch):
    from transformers.integrations import integration_utils

    (tmp_path / "codecarbon.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(integration_utils, "is_codecarbon_available", lambda: True)
    quick |= {"report_to": "codecarbon"}
    hfrecipes.run("text-classification", dataset=opinions(40), output_dir=tmp_path / "run", **quick)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["energy"] == {"kwh": 0.00123, "co2eq_kg": 0.000457}
    assert "0.00123 kWh, 0.000457 kg CO2eq" in (tmp_path / "run" / "README.md").read_text()


def test_a_metric_that_is_named_twice_is_refused():
    with pytest.raises(ConfigError, match="metrics: found mse twice: name each metric once"):
        hfrecipes.check("text-classification", dataset=opinions(20), metrics=["mse", "accuracy", "mse"])


# --- metrics that the user names -------------------------------------------------------------------------------------


def test_a_metric_that_cannot_score_so_few_rows_is_left_out_and_costs_no_run(caplog):
    recipe = find("text-classification")(problem_type="regression")
    recipe.labels = ["score"]
    few = scoring.scores(recipe, [{"label": 1.0}], [2.0], seed=0, others=["pearsonr"])
    assert "mse" in few
    assert "pearsonr is left out: it cannot score 1 row" in caplog.text
