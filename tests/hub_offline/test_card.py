"""The text of the model card, with and without what a task says about itself; no network, no training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hfrecipes.config.run_config import RunConfig
from hfrecipes.data.prepare import rare_labels
from hfrecipes.evaluation.scoring import Score
from hfrecipes.hub.card import card_for_hub, was_edited, write_card
from hfrecipes.recipe import CardTexts
from hfrecipes.registry import find
from hfrecipes.run_folder.contents import RunInfo

TEXTS = {
    "purpose": "Sorts letters.",
    "baseline": "the most frequent label",
    "scores": "Accuracy from 0 to 1.",
    "usage": 'sort("{path}", "{text}", {{}})\n',
}
SCORE = Score(0.5, 0.4, 0.6, baseline=0.1)
SCORES = {"train": {"accuracy": SCORE}, "validation": {"accuracy": SCORE, "accuracy[a]": SCORE, "loss": Score(1.2)}}
INFO = RunInfo(
    hfrecipes="1.0",
    origin={"model": None, "dataset": None},
    versions={"torch": "2"},
    data={"train": "60 rows, 0123abcd", "validation": "20 rows, 4567cdef"},
    steps=3,
    seconds=1.5,
    machine="CPU",
    parameters={"total": 1000, "trained": 10, "share": 0.01},
)


@pytest.fixture
def card_text(tmp_path: Path):
    """Writes the card of a run and returns its text."""

    def write(scores=SCORES, /, *, calibration=(), **texts: str) -> str:
        recipe = find("text-classification")()
        recipe.card = CardTexts(**{**TEXTS, **texts})
        recipe.calibration = dict(calibration)
        data = {split: INFO.data.get(split, "9 rows, 89ab") for split in scores if split != "gap"}
        (tmp_path / "config.json").write_text("{}")
        config = RunConfig(task="text-classification", model="/data/base", dataset="/data/rows.csv")
        write_card(tmp_path, config, recipe, scores, replace(INFO, data=data))
        return (tmp_path / "README.md").read_text(encoding="utf-8")

    return write


def test_the_texts_of_the_task_are_on_the_card(card_text, tmp_path):
    text = card_text()
    assert f"# {tmp_path.name}\n\nSorts letters.\n\nFine-tuned with hfrecipes 1.0 from `base`.\n" in text
    assert f'sort("{tmp_path.name}", "My parcel was due' in text
    assert "\nAccuracy from 0 to 1.\n\nLower is better for loss.\n\nBaseline: the most frequent label.\n" in text


@pytest.mark.parametrize("empty", [*TEXTS, "all"])
def test_an_empty_text_leaves_no_empty_line_and_no_empty_sentence(card_text, empty):
    text = card_text(**dict.fromkeys(TEXTS if empty == "all" else [empty], ""))
    assert "\n\n\n" not in text
    assert not re.search(r"^ |^\.$| $|Baseline:\s*\.?$", text.partition("\n```yaml\n")[0].partition("\n# ")[2], re.M)
    assert ("Baseline:" in text) == (empty not in ("baseline", "all"))
    assert len(text.split("```python\n")) == (2 if empty in ("usage", "all") else 3)


def test_the_notes_on_the_scores_speak_only_of_what_there_is(card_text):
    assert "optimistic" not in card_text()
    assert "`gap` is" not in card_text()
    text = card_text({**SCORES, "test": {"accuracy": SCORE}, "gap": {"accuracy": SCORE}})
    assert "Validation also chose the checkpoint, so its scores are optimistic" in text
    assert "`gap` is train minus validation" in text
    assert "accuracy[a]" not in text


def test_tuned_values_are_named_with_who_applies_them(card_text):
    assert "hfrecipes applies" not in card_text()
    expected = "hfrecipes applies the values tuned on validation (threshold 0.3), also for the scores below; plain"
    assert f"\n\n{expected} transformers does not.\n\n" in card_text(calibration={"threshold": 0.3})


def test_no_package_index_is_named(card_text):
    assert "pip install" not in card_text()
    assert "pypi" not in card_text()


def test_labels_with_few_rows_are_named():
    recipe = find("text-classification")()
    recipe.label_counts = {"often": 20, "rare `x`": 3, "never": 0}
    assert rare_labels(recipe) == ["labels with fewer than 20 training rows: never (0), rare 'x' (3)"]
    recipe.label_counts = {f"label {number:02}": 1 for number in range(13)}
    assert rare_labels(recipe)[0].endswith("label 11 (1), …")
    recipe.label_counts = {"often": 20}
    assert rare_labels(recipe) == []


@pytest.mark.parametrize("what", ["merged", "adapter", "both"])
def test_the_pushed_card_has_the_name_of_the_repository(card_text, tmp_path, what):
    card_text(usage='pipeline("text-classification", "{path}")\n')
    text = card_for_hub(tmp_path / "README.md", "me/letters", what, {"license": "mit"})
    assert "\n# letters\n" in text
    assert "license: mit" in text
    assert ('pipeline("text-classification", "me/letters")' in text) == (what != "adapter")
    assert 'hfrecipes.load("me/letters")' in text
    assert ('`hfrecipes.load("me/letters/adapter")`' in text) == (what == "both")
    assert "\n\n\n" not in text
    assert not was_edited(text)
    assert not was_edited(text.rstrip("\n")), "an editor may take the last line break away"
    assert was_edited(text.replace("mit", "apache-2.0"))
    assert was_edited("# Written by hand\n")
