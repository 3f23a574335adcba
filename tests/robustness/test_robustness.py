"""Texts are changed as people type them, references stay right, and each drop of a score has its paired interval."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, NotFoundError
from hfrecipes.registry import find, list_tasks
from hfrecipes.robustness import perturbations, substitutes, suite
from hfrecipes.robustness.perturbations import SUITE, Perturbation

ENGLISH = "Mary told James-Lee that it's fine, but Mary wasn't sure; see https://example.org/?a=1."
CHINESE = "我在北京买了2个iPhone，张伟说的是真的！"


def changed(change, text: str, seed: int = 0) -> str:
    return change(text, np.random.default_rng(seed))


@pytest.mark.parametrize("perturbation", SUITE, ids=lambda entry: entry.name)
@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "", " ", "a", "…", "👍🏽", "naïve Straße", "x" * 5000])
def test_a_change_is_the_same_each_time_and_never_fails(perturbation, text):
    assert changed(perturbation.change, text) == changed(perturbation.change, text)


@pytest.mark.parametrize(
    ("change", "text", "expected"),
    [
        (perturbations.lower_case, "Where is MY parcel?", "where is my parcel?"),
        (perturbations.upper_case, "Where is my parcel?", "WHERE IS MY PARCEL?"),
        (perturbations.no_punctuation, "It's well-known, isn't it?! (Yes.)", "It's well-known isn't it Yes"),
        (perturbations.full_width, "我有2个iPhone", "我有２个ｉＰｈｏｎｅ"),
        (perturbations.full_width, "2 iPhones", "2 iPhones"),
        (perturbations.half_width, "好，真的！", "好,真的!"),
        (perturbations.typos, "it is so", "it is so"),
        (perturbations.homophones, "Where is it?", "Where is it?"),
        (perturbations.other_names, "The film was great", "The film was great"),
    ],
)
def test_what_a_change_does(change, text, expected):
    assert changed(change, text) == expected


def test_typos_change_a_tenth_of_the_words_and_leave_their_ends():
    words = ["parcels", "arrive", "tomorrow", "because", "somebody", "ordered", "yellow", "bicycles", "yesterday"]
    for seed in range(20):
        new = changed(perturbations.typos, " ".join(words), seed).split()
        different = [pair for pair in zip(words, new, strict=True) if pair[0] != pair[1]]
        assert len(different) <= 1
        assert all(word[0] == other[0] and word[-1] == other[-1] for word, other in different)
    assert any(changed(perturbations.typos, "parcel", seed) != "parcel" for seed in range(5))


def test_a_name_is_replaced_by_the_same_rare_one_everywhere():
    new = changed(perturbations.other_names, "Mary met Emma. Mary left, and Maryland stayed.")
    first, second = new.split()[0], new.split()[2].rstrip(".")
    assert first in substitutes.RARE_NAMES
    assert second in substitutes.RARE_NAMES
    assert first != second
    assert new == f"{first} met {second}. {first} left, and Maryland stayed."
    assert "张伟" not in changed(perturbations.other_names, CHINESE)


@pytest.mark.parametrize("text", ["3DMark跑1800多", "PCMark", "Mark2", "MarkDown"])
def test_a_name_inside_another_word_stays(text):
    assert changed(perturbations.other_names, text) == text
    assert "Mark" not in changed(perturbations.other_names, "我叫Mark，你呢？")


def test_homophones_are_of_one_sound_and_replace_each_other():
    for character, others in substitutes.HOMOPHONES.items():
        assert character not in others
        assert all(character in substitutes.HOMOPHONES[other] for other in others)
    assert changed(perturbations.homophones, "我在这") in ("我再这", "我在着")


def test_a_list_of_words_keeps_its_length_so_that_each_label_keeps_its_word():
    row = {"tokens": ["Mary", ",", "the", "queen", "…", "of", "Scots"], "tags": ["B-PER", *["O"] * 6]}
    for perturbation in SUITE:
        new = suite.changed_row(row, ["tokens"], perturbation, 0)
        if new is not None:
            assert len(new["tokens"]) == 7, perturbation.name
            assert all(word.strip() for word in new["tokens"])
            assert new["tags"] == row["tags"]


def test_a_text_that_would_be_empty_stays():
    erase = Perturbation("erase", lambda text, random: " ")
    assert suite.changed_row({"text": "a"}, ["text"], erase, 0) is None
    assert suite.changed_row({"text": None}, ["text"], erase, 0) is None


@pytest.mark.parametrize("task", list_tasks())
def test_columns_that_a_reference_points_into_are_not_changed(task):
    recipe = find(task)()
    if task in ("chat", "text-generation", "fill-mask"):
        with pytest.raises(ConfigError, match="are also what its predictions are scored against"):
            suite.changed_columns(recipe)
        return
    columns = suite.changed_columns(recipe)
    assert columns
    assert "context" not in columns or task == "multiple-choice"
    assert not any(recipe.columns[name].reference for name in columns)


@pytest.fixture(scope="module")
def run(tiny_bert, tmp_path_factory) -> hfrecipes.Result:
    rows = {
        "train": opinions(60),
        "validation": opinions(20, 1),
        "test": [*opinions(38, 2), {"text": "!", "label": "bad"}, {"text": "Great, a film!", "label": "good"}],
    }
    folder = tmp_path_factory.mktemp("robust") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfrecipes.flow.single.rehearse", lambda *_: None)
        settings = {"num_train_epochs": 8, "learning_rate": 5e-3, "bf16": False, "report_to": "none"}
        return hfrecipes.run("text-classification", model=tiny_bert, dataset=rows, output_dir=folder, **settings)


def test_each_change_has_a_score_a_paired_interval_and_examples(run, monkeypatch):
    reverse = Perturbation("reversed", lambda text, random: text[::-1])
    nothing = Perturbation("nothing", lambda text, random: text)
    monkeypatch.setattr(suite, "SUITE", (reverse, nothing))
    result = hfrecipes.load(run.path).robustness()
    assert result.rows == 40
    assert result.before["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"])
    (entry,) = result.perturbed
    assert entry.name == "reversed"
    predictor = hfrecipes.load(run.path)
    rows = [json.loads(line) for line in (run.path / "predictions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == "test"]
    labels = [prediction["label"] for prediction in predictor.predict([row["text"][::-1] for row in rows])]
    accuracy = np.mean([label == row["label"] for label, row in zip(labels, rows, strict=True)])
    assert entry.scores["accuracy"] == pytest.approx(accuracy)
    assert entry.changes["accuracy"].value == pytest.approx(accuracy - result.before["accuracy"])
    low, high = entry.changes["accuracy"].ci95
    assert low <= entry.changes["accuracy"].value <= high
    assert entry.changed == 39, "! is the same from behind"
    others = [row["prediction"]["label"] != label for row, label in zip(rows, labels, strict=True)]
    assert entry.other_predictions == sum(others)
    for example in entry.examples:
        assert example.after == example.before[::-1]
        assert example.predicted != example.predicted_after


def test_the_command_prints_a_row_for_each_change_and_writes_everything(run, tmp_path):
    made = CliRunner().invoke(main, ["robustness", str(run.path), "-o", str(tmp_path / "r.json")])
    assert made.exit_code == 0, made.output
    for name in ("as they are", "typos", "upper case", "no punctuation"):
        assert name in made.output
    assert "homophones" not in made.output, "nothing is changed"
    assert re.search("largest change: |none of these changes makes accuracy worse", made.output)
    written = json.loads((tmp_path / "r.json").read_text())
    assert set(written["perturbations"]) >= {"typos", "no punctuation"}
    again = CliRunner().invoke(main, ["robustness", str(run.path), "-o", str(tmp_path / "r.json")])
    assert again.exit_code == 2
    assert "exists: choose another name" in again.output


def test_other_rows_can_be_given(run):
    result = hfrecipes.load(run.path).robustness([*opinions(10, 5), {"text": "A great film by Mary", "label": "good"}])
    assert result.rows == 11
    assert "other names" in [entry.name for entry in result.perturbed]
    assert "<table>" in result._repr_html_()


def test_a_model_without_its_run_needs_rows(run, tmp_path):
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "recipe.yaml",
        "run.json",
        "metrics.json",
    ):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    with pytest.raises(NotFoundError, match="give a file of rows with labels"):
        hfrecipes.load(tmp_path).robustness()


def test_the_sentence_names_the_largest_change_and_whether_it_may_be_chance():
    from hfrecipes.evaluation.scoring import Score

    def entry(name: str, drop: Score) -> suite.Perturbed:
        return suite.Perturbed(name, 3, 0, {"accuracy": 0.5}, {"accuracy": drop}, [])

    entries = [entry("typos", Score(-0.1, -0.15, -0.05)), entry("upper case", Score(0.02, -0.01, 0.05))]
    result = suite.Robustness(10, ["accuracy"], {"accuracy": 0.6}, entries)
    assert suite.sentences(result) == ["largest change: typos, accuracy -0.100 (-0.150 to -0.050)"]
    lower = suite.Robustness(10, ["accuracy"], {"accuracy": 0.6}, entries, greater_is_better=False)
    assert suite.sentences(lower) == [
        "largest change: upper case, accuracy +0.020 (-0.010 to +0.050), which may be chance"
    ]
    assert suite.sentences(suite.Robustness(10, ["accuracy"], {"accuracy": math.nan}, [])) == []
