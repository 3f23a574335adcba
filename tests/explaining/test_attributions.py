"""What a word adds to a prediction: the values add up, and belong to the words that the model reads."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from conftest import make_tokenizer
from models import ReadsOneToken
from rows import close, opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, MissingPackageError
from hfrecipes.evaluation.inference import Inference
from hfrecipes.explaining.explainer import Explainer
from hfrecipes.explaining.gradients import STEPS, stand_in_token
from hfrecipes.explaining.words import joined_by_tokens, word_spans
from hfrecipes.tasks.text_classification import TextClassification

TEXT = "the film the lamp the was awful"


def classifier(**options):
    """A task with labels and a tokenizer, for a model that is not trained."""
    recipe = TextClassification(max_length=24, **options)
    recipe.labels = ["bad", "good"]
    recipe.tokenizer = make_tokenizer("好的电影")
    return recipe


def explainer_of(recipe, model) -> Explainer:
    return Explainer(Inference.of(model, recipe, {"use_cpu": True}))


@pytest.fixture(scope="module")
def runs(tiny_bert, tmp_path_factory):
    """Trains one model of each kind of label, once."""
    trained = {}

    def run(name: str, rows: list[dict], **settings):
        if name not in trained:
            folder = tmp_path_factory.mktemp("runs") / name
            known = {"learning_rate": 1e-2, "num_train_epochs": 2, "per_device_train_batch_size": 8, "bf16": False}
            hfrecipes.run(
                "text-classification",
                model=tiny_bert,
                dataset={"train": rows, "validation": rows[:8]},
                output_dir=str(folder),
                **{**known, **settings},
            )
            trained[name] = folder
        return trained[name]

    return run


@pytest.fixture
def one_label(runs):
    return runs("one", opinions(40))


def sums_up(explanation) -> None:
    for target in explanation.targets:
        difference = target.score - target.baseline_score
        assert sum(target.values) == pytest.approx(difference + target.delta, abs=1e-5)
        assert abs(target.delta) <= max(0.05 * abs(difference), 1e-3) or explanation.notes


# --- the values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [1, 3, 7])
def test_a_model_that_reads_one_token_has_all_of_its_score_from_that_word(index):
    recipe = classifier()
    model = ReadsOneToken(len(recipe.tokenizer), index)
    explanation = explainer_of(recipe, model).explain({"text": TEXT}, {"label": "good"})
    (target,) = explanation.targets
    for word, value in enumerate(target.values):
        if word == index - 1:  # the first token is a special one
            assert value == pytest.approx(target.score - target.baseline_score, rel=0.05)
        else:
            assert value == 0.0
    assert [word.text for word in explanation.words] == TEXT.split()


def test_steps_are_added_until_the_values_sum_up_or_the_rest_is_named():
    recipe = classifier()
    model = ReadsOneToken(len(recipe.tokenizer), 3)
    with torch.no_grad():
        model.table.weight *= 500  # almost a step function
    explanation = explainer_of(recipe, model).explain({"text": TEXT}, {"label": "good"})
    (target,) = explanation.targets
    assert target.steps > STEPS[0]
    sums_up(explanation)


def test_attributions_of_a_text_do_not_depend_on_padding(one_label):
    predictor = hfrecipes.load(one_label)
    alone = predictor.explain(TEXT).targets[0].values
    predictor.recipe.pads_to_max_length = True
    predictor.recipe.max_length = 40
    assert predictor.explain(TEXT).targets[0].values == pytest.approx(alone, abs=1e-4)


def test_words_keep_their_values_with_padding_on_the_left():
    recipe = classifier()
    recipe.pads_to_max_length = True
    recipe.tokenizer.padding_side = "left"
    model = ReadsOneToken(len(recipe.tokenizer), -2)  # the last token is a special one
    (target,) = explainer_of(recipe, model).explain({"text": TEXT}, {"label": "good"}).targets
    assert target.values[:-1] == [0.0] * 6
    assert target.values[-1] != 0


def test_a_model_in_half_precision_is_explained_in_float32_and_left_as_it_is(one_label):
    predictor = hfrecipes.load(one_label)
    exact = predictor.explain(TEXT).targets[0].values
    predictor.trainer.model.bert.to(torch.bfloat16)
    explanation = predictor.explain(TEXT)
    assert explanation.targets[0].values == pytest.approx(exact, abs=0.2)
    sums_up(explanation)
    assert next(predictor.trainer.model.bert.parameters()).dtype == torch.bfloat16


def test_adapters_are_explained_merged_and_not(runs, one_label):
    folder = runs("lora", opinions(40), lora=True)
    merged = hfrecipes.load(folder).explain(TEXT)
    sums_up(merged)
    kept = hfrecipes.load(folder / "adapter").explain(TEXT)
    assert kept.targets[0].values == pytest.approx(merged.targets[0].values, abs=1e-3)


# --- kinds of labels -------------------------------------------------------------------------------------------------


def test_the_words_of_both_texts_of_a_pair_have_attributions(runs):
    rows = [{**row, "text_pair": "the train was fine"} for row in opinions(24)]
    folder = runs("pairs", rows)
    explanation = hfrecipes.load(folder).explain({"text": TEXT, "text_pair": "the coat was great"})
    columns = [word.column for word in explanation.words]
    assert columns == ["text"] * 7 + ["text_pair"] * 4
    assert all(explanation.texts[word.column][word.start : word.end] == word.text for word in explanation.words)
    sums_up(explanation)


def test_every_label_that_is_predicted_is_a_target_of_its_own(runs):
    rows = [{"text": row["text"], "label": [row["label"], "any"]} for row in opinions(40)]
    explanation = hfrecipes.load(runs("several", rows)).explain(TEXT)
    assert {target.target for target in explanation.targets} == set(explanation.prediction["label"])
    assert len(explanation.targets) == len(explanation.prediction["label"]) >= 1
    sums_up(explanation)


def test_where_no_label_is_predicted_the_most_probable_one_is_explained():
    recipe = classifier(problem_type="multi_label_classification")
    model = ReadsOneToken(len(recipe.tokenizer), 3)
    prediction = {"label": [], "scores": {"bad": 0.2, "good": 0.4}}
    (target,) = explainer_of(recipe, model).explain({"text": TEXT}, prediction).targets
    assert target.target == "good"


def test_the_score_of_a_regression_is_the_number_itself(runs):
    rows = [{"text": row["text"], "label": 1.5 if row["label"] == "good" else -1.5} for row in opinions(40)]
    explanation = hfrecipes.load(runs("numbers", rows)).explain(TEXT)
    (target,) = explanation.targets
    assert target.score == pytest.approx(explanation.prediction["label"], abs=1e-4)
    sums_up(explanation)


# --- words -----------------------------------------------------------------------------------------------------------


def test_characters_are_words_where_there_are_no_spaces():
    recipe = classifier()
    text = "好的电影 film!"
    model = ReadsOneToken(len(recipe.tokenizer), 2)
    explanation = explainer_of(recipe, model).explain({"text": text}, {"label": "good"})
    assert [word.text for word in explanation.words] == ["好", "的", "电", "影", "film", "!"]
    assert all(text[word.start : word.end] == word.text for word in explanation.words)
    values = explanation.targets[0].values
    assert values[1] != 0
    assert values[:1] + values[2:] == [0.0] * 5


def test_pieces_of_a_word_are_summed_up():
    recipe = classifier()
    model = ReadsOneToken(len(recipe.tokenizer), 3)  # the second letter of a word that the tokenizer does not know
    explanation = explainer_of(recipe, model).explain({"text": "the xyzzy film"}, {"label": "good"})
    assert [word.text for word in explanation.words] == ["the", "xyzzy", "film"]
    assert [value != 0 for value in explanation.targets[0].values] == [False, True, False]


def test_words_that_share_a_token_are_one():
    assert joined_by_tokens(word_spans("北京很大"), [(0, 2), (2, 3), (3, 4)]) == [(0, 2), (2, 3), (3, 4)]
    assert joined_by_tokens(word_spans("a b c"), [(0, 1), (1, 3), (3, 5)]) == [(0, 1), (2, 3), (4, 5)]
    assert joined_by_tokens(word_spans("wait..."), [(0, 4), (4, 7)]) == [(0, 4), (4, 7)]
    assert word_spans("") == joined_by_tokens([], []) == []


def test_words_beyond_the_length_limit_are_counted():
    recipe = classifier()
    model = ReadsOneToken(len(recipe.tokenizer), 3)
    explanation = explainer_of(recipe, model).explain({"text": "the film " * 20}, {"label": "good"})
    (note,) = explanation.notes
    assert "18 of 40 words are outside of the 24 tokens that the model read at once" in note
    assert explanation.targets[0].values[22:] == [0.0] * 18


def test_the_stand_in_is_the_mask_token_and_padding_where_there_is_none():
    tokenizer = make_tokenizer()
    assert stand_in_token(tokenizer) == ("[MASK]", tokenizer.mask_token_id)
    bare = SimpleNamespace(mask_token_id=None, pad_token="<pad>", pad_token_id=0)
    assert stand_in_token(bare) == ("<pad>", 0)


# --- what users see --------------------------------------------------------------------------------------------------


def test_one_text_gives_one_explanation_and_a_list_one_for_each_row(one_label):
    predictor = hfrecipes.load(one_label)
    explanation = predictor.explain(TEXT)
    assert explanation.prediction == predictor.predict(TEXT)
    assert explanation.targets[0].target == explanation.prediction["label"]
    several = predictor.explain([TEXT, " ", "the book was fine"])
    # Beside a longer text, the last digits of a prediction may differ.
    assert close(several[0].prediction, explanation.prediction)
    assert replace(several[0], prediction=explanation.prediction) == explanation
    assert several[1] is None
    assert predictor.explain([]) == []
    assert json.loads(json.dumps(explanation.as_json()))["words"][0] == {
        "text": "the",
        "start": 0,
        "end": 3,
        "column": "text",
    }


def test_a_notebook_shows_colours_and_escapes_the_text(one_label):
    shown = hfrecipes.load(one_label).explain("the <b>film</b> was awful")._repr_html_()
    assert "<b>film" not in shown
    assert "&lt;" in shown
    assert "rgba(" in shown


def test_the_command_prints_a_line_for_each_word(one_label):
    result = CliRunner().invoke(main, ["explain", str(one_label), TEXT])
    assert result.exit_code == 0, result.output
    words = [line.split()[-1] for line in result.stdout.splitlines() if line[2:3] in "+-" and line.startswith("  ")]
    assert words == TEXT.split()
    assert "[MASK]" in result.stderr


def test_the_command_explains_the_first_rows_of_a_file_as_json(one_label, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in opinions(5)), encoding="utf-8")
    result = CliRunner().invoke(main, ["explain", str(one_label), str(file), "limit=2", "--json"])
    explanations = json.loads(result.stdout)
    assert [explanation["texts"]["text"] for explanation in explanations] == [row["text"] for row in opinions(2)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["two", "words"], "put quotes around a text"),
        (["text", "limit=0"], "limit: found 0, expected a number of rows, 1 or more"),
        (["text", "steps=9"], "explain takes limit=, columns.<name>="),
    ],
)
def test_the_command_says_what_it_takes(one_label, words, sentence):
    result = CliRunner().invoke(main, ["explain", str(one_label), *words])
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_without_captum_the_command_that_installs_it_is_named(one_label, monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install captum"):
        hfrecipes.load(one_label).explain(TEXT)
    result = CliRunner().invoke(main, ["explain", str(one_label), TEXT])
    assert result.exit_code == 2
    assert "pip install captum" in result.stderr


def test_a_task_that_cannot_be_explained_is_refused_with_those_that_can():
    from hfrecipes.tasks.fill_mask import FillMask

    with pytest.raises(ConfigError, match=r"fill-mask cannot be explained word by word; these tasks can: .*text-class"):
        Explainer(Inference.of(None, FillMask(), {"use_cpu": True}))
