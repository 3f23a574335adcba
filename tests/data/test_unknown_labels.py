"""Labels of validation and test that no prediction can match: the row stays, counts as wrong, and is named."""

from __future__ import annotations

import json
import warnings

import datasets
import numpy as np
import pytest
import sklearn.metrics as sklearn_metrics
from click.testing import CliRunner, Result
from conftest import opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.data import checks
from hfrecipes.data.prepare import load_data
from hfrecipes.data.rows import Data
from hfrecipes.errors import DataError
from hfrecipes.evaluation.scoring import score
from hfrecipes.recipe import Column, Finding, Recipe
from hfrecipes.registry import find
from hfrecipes.tasks.text_classification import MULTI, SINGLE, TextClassification
from hfrecipes.tasks.token_classification import TokenClassification
from hfrecipes.training.configuration import configure

CHOICES = ["by bus", "on foot", "by boat"]
CONTEXT = "the old mill stands at the weir"


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def text(label: object, place: int = 0) -> dict:
    return {"text": f"text {place}", "label": label}


def words(tags: list, tokens: str = "the old mill") -> dict:
    return {"tokens": tokens.split(), "tags": tags}


def choice(label: str, place: int = 0) -> dict:
    return {"question": f"how {place} ?", "choices": CHOICES, "label": label}


def question(*answers: str) -> dict:
    return {
        "question": "what ?",
        "context": CONTEXT,
        "answers": {"text": list(answers), "answer_start": [-1] * len(answers)},
    }


# Task, rows of train, rows with a label that no prediction can match, and what is said of them.
UNKNOWN = {
    "one label": ("text-classification", [text("ab"[i % 2], i) for i in range(20)], [text("new")], "label 'new'"),
    "ids": ("text-classification", [text(i % 2, i) for i in range(20)], [text(2)], "label '2'"),
    "several labels": (
        "text-classification",
        [text([["a"], ["b", "a"], []][i % 3], i) for i in range(20)],
        [text(["a", "new"])],
        "label 'new'",
    ),
    "tags": ("token-classification", [words(["D", "A", "N"])] * 20, [words(["D", "A", "X"])], "tag 'X'"),
    "entities": (
        "token-classification",
        [words(["O", "B-x", "I-x"])] * 20,
        [words(["O", "B-new", "O"]), words(["O", "S-x", "new"])],
        "tag 'B-new'",
    ),
    "spans": (
        "token-classification",
        [{"text": CONTEXT, "entities": [{"start": 8, "end": 12, "label": "x"}]}] * 20,
        [{"text": CONTEXT, "entities": [{"start": 8, "end": 12, "label": "new"}]}],
        "tag 'B-new'",
    ),
    "choices": ("multiple-choice", [choice(str(i % 3), i) for i in range(20)], [choice("3"), choice("by ship")], "'3'"),
    "answers": ("question-answering", [question("old mill")] * 20, [question(""), question()], "an answer has no text"),
}


@pytest.mark.parametrize("drop_invalid", [False, True])
@pytest.mark.parametrize("case", UNKNOWN)
def test_rows_that_are_only_scored_stay_and_are_named(case, drop_invalid, caplog):
    task, train, odd, sentence = UNKNOWN[case]
    dataset = {"train": train, "validation": [*train[:3], *odd], "test": [*odd, *train[:3]]}
    config, recipe = configure(task, {"dataset": dataset, "drop_invalid": drop_invalid})
    with caplog.at_level("INFO", "hfrecipes"):
        data, _ = load_data(config, recipe)
    for split in ("validation", "test"):
        assert len(data.splits[split]) == 3 + len(odd)
        assert None not in checks.references(recipe, data.splits[split])
        note = data.notes[split]
        assert note in caplog.messages
        assert f"{split}: no prediction can match the label of {len(odd)} of {3 + len(odd)} rows" in note
        assert sentence in note
    assert "train" not in data.notes


@pytest.mark.parametrize(
    ("case", "known"),
    [("one label", (1, 0)), ("ids", (1, 0)), ("tags", (3, 2)), ("entities", (3, 2)), ("spans", (7, 6))],
)
def test_targets_that_the_model_has_no_label_for_are_ignored(case, known, tiny_bert):
    task, train, odd, _ = UNKNOWN[case]
    dataset = {"train": train, "validation": [train[0], *odd]}
    labels = hfrecipes.build(task, model=tiny_bert, dataset=dataset, bf16=False).eval_dataset["labels"]
    assert tuple(int(np.sum(np.ravel(one) >= 0)) for one in labels[:2]) == known


def test_of_several_labels_those_that_train_has_are_still_targets(tiny_bert):
    task, train, odd, _ = UNKNOWN["several labels"]
    trainer = hfrecipes.build(task, model=tiny_bert, dataset={"train": train, "validation": odd}, bf16=False)
    assert trainer.eval_dataset["labels"][:] == [[1.0, 0.0]]
    assert np.isfinite(trainer.evaluate()["eval_loss"])


@pytest.mark.parametrize("case", ["one label", "tags", "choices", "answers"])
def test_a_batch_with_such_a_row_loses_what_it_loses_without(case, tiny_bert):
    task, train, odd, _ = UNKNOWN[case]
    settings = {"model": tiny_bert, "bf16": False, "label_smoothing_factor": 0.1}
    if case in ("one label", "tags"):
        settings |= {"focal_gamma": 2.0, "class_weights": "balanced"}
        odd = [words(["X", "X", "X"])] if case == "tags" else odd
    losses = []
    for number, held in enumerate(([*train[:2]], [*train[:2], *odd], odd)):
        trainer = hfrecipes.build(
            task, dataset={"train": train, "validation": held}, output_dir=f"{number}", **settings
        )
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[2] == 0


# --- scores ------------------------------------------------------------------------------------------------------


def both(recipe: Recipe, predictions: list, references: list) -> dict[str, float]:
    """The scores, after a look that resampling with weights of one gives the same."""
    plain = score(recipe, predictions, references)
    weighted = recipe.measure(predictions, references)(np.ones((1, len(references)), dtype=np.float32))
    assert set(plain) == set(weighted)
    for name, value in plain.items():
        assert weighted[name][0] == pytest.approx(value, abs=1e-6, nan_ok=True), name
    return plain


def guesses(recipe: TextClassification, rows: int, seed: int) -> list[dict]:
    return recipe.decode(np.random.default_rng(seed).normal(size=(rows, len(recipe.labels))), [], None)


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_scores_of_one_label_are_those_of_scikit_learn_with_the_unknown_labels(number, seed):
    recipe = TextClassification(problem_type=SINGLE)
    recipe.labels = [f"l{place}" for place in range(number)]
    predictions = guesses(recipe, 60, seed)
    references = np.random.default_rng(seed).choice([*recipe.labels, "new", "newer"], 60).tolist()
    found = both(recipe, predictions, references)
    given = [one["label"] for one in predictions]
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(references, given))
    assert found["matthews_correlation"] == pytest.approx(sklearn_metrics.matthews_corrcoef(references, given))
    for name in ("f1", "precision", "recall"):
        for average in ("macro", "weighted"):
            expected = getattr(sklearn_metrics, f"{name}_score")(references, given, average=average, zero_division=0)
            assert found[f"{name}_{average}"] == pytest.approx(expected)
    misses = [one["label"] != label for one, label in zip(predictions, references, strict=True)]
    assert found["brier"] > 0
    worst = score(recipe, predictions, ["new"] * 60)
    assert worst["accuracy"] == worst["f1_macro"] == 0
    assert worst["brier"] > score(recipe, predictions, given)["brier"]
    assert found["accuracy"] == pytest.approx(1 - np.mean(misses))


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_several_labels_are_those_of_scikit_learn_with_the_unknown_labels(seed):
    recipe = TextClassification(problem_type=MULTI)
    recipe.labels = ["a", "b", "c"]
    predictions, generator = guesses(recipe, 40, seed), np.random.default_rng(seed)
    names = [*recipe.labels, "new", "newer"]
    reference = generator.integers(0, 2, (40, 5))
    reference[0] = 1
    references = [[names[place] for place in np.flatnonzero(row)] for row in reference]
    found = both(recipe, predictions, references)
    given = np.array([[name in one["label"] for name in names] for one in predictions], dtype=int)
    ranked = np.array([[one["scores"].get(name, 0.0) for name in names] for one in predictions])
    assert found["subset_accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(reference, given))
    assert found["lrap"] == pytest.approx(sklearn_metrics.label_ranking_average_precision_score(reference, ranked))
    for name in ("f1", "precision", "recall"):
        for average in ("micro", "macro"):
            expected = getattr(sklearn_metrics, f"{name}_score")(reference, given, average=average, zero_division=0)
            assert found[f"{name}_{average}"] == pytest.approx(expected)
    assert found["f1[new]"] == found["f1[newer]"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_tags_are_those_of_scikit_learn_with_the_unknown_tags(seed):
    recipe, generator = TokenClassification(scheme="none"), np.random.default_rng(seed)
    recipe.labels = ["M", "NN", "S_x"]  # which other schemes would take for parts of an entity
    reference = [generator.choice([*recipe.labels, "new"], 7).tolist() for _ in range(9)]
    given = [generator.choice(recipe.labels, 7).tolist() for _ in range(9)]
    found = both(recipe, [{"tags": tags} for tags in given], reference)
    flat = np.ravel(reference), np.ravel(given)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(*flat))
    assert found["f1_macro"] == pytest.approx(sklearn_metrics.f1_score(*flat, average="macro", zero_division=0))
    assert found["f1[new]"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_entities_are_those_of_seqeval_with_the_unknown_types(seed):
    from seqeval.metrics import accuracy_score, classification_report
    from seqeval.scheme import IOB2

    recipe, generator = TokenClassification(scheme="BIO"), np.random.default_rng(seed)
    recipe.labels = ["O", "B-x", "I-x", "B-y", "I-y"]
    reference = [generator.choice([*recipe.labels, "B-new", "I-new"], 9).tolist() for _ in range(12)]
    given = [generator.choice(recipe.labels, 9).tolist() for _ in range(12)]
    found = both(recipe, [{"tags": tags} for tags in given], reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(reference, given, output_dict=True, zero_division=0)
        strict = classification_report(reference, given, output_dict=True, zero_division=0, mode="strict", scheme=IOB2)
    assert found["accuracy"] == pytest.approx(accuracy_score(reference, given))
    assert found["recall"] == pytest.approx(report["micro avg"]["recall"])
    assert found["f1"] == pytest.approx(report["micro avg"]["f1-score"])
    assert found["f1_macro"] == pytest.approx(report["macro avg"]["f1-score"])
    assert found["recall_strict"] == pytest.approx(strict["micro avg"]["recall"])
    assert found["f1[new]"] == found["recall[new]"] == 0


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "BIOES", "BILOU", "BMES"])
@pytest.mark.parametrize("tag", ["x", "Q-x", "", "-100"])
def test_what_is_no_tag_of_the_scheme_is_an_entity_that_is_missed(scheme, tag):
    recipe = TokenClassification(scheme=scheme)
    first = {"BIO": "B-x", "IOB1": "I-x", "BILOU": "U-x"}.get(scheme, "S-x")
    recipe.labels = ["O", first]
    found = both(recipe, [{"tags": ["O", first]}, {"tags": [first, "O"]}], [["O", first], [tag, "O"]])
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["recall"] == found["recall_strict"] == pytest.approx(1 / 2)


def test_tags_that_the_data_names_beside_the_scheme_are_scored_too():
    recipe = TokenClassification(scheme="BIO")
    recipe.labels = ["O", "B-x", "S-x", "misc"]
    found = both(recipe, [{"tags": ["misc", "S-x", "O"]}], [["misc", "B-x", "O"]])
    assert (found["accuracy"], found["recall"]) == (pytest.approx(2 / 3), pytest.approx(1 / 2))


def test_a_choice_that_is_none_counts_as_wrong():
    recipe = find("multiple-choice")(label_form="from_1")
    references = [recipe.reference({"choices": CHOICES, "label": label}) for label in ("1", "3", "0", "4", "by ship")]
    assert references[:2] == [0, 2]
    predictions = [{"label": label} for label in (0, 2, 0, 2, 1)]
    assert both(recipe, predictions, references) == {"accuracy": pytest.approx(2 / 5)}


@pytest.mark.parametrize("version_2_with_negative", [False, True])
@pytest.mark.parametrize("answer", ["", "old mill"])
def test_an_answer_without_text_counts_as_wrong(version_2_with_negative, answer):
    recipe = find("question-answering")(version_2_with_negative=version_2_with_negative, characters=False)
    rows = [question("old mill"), question(""), question(" ", "old mill"), question()]
    references = [recipe.reference(row) for row in rows]
    right = [answer == "old mill", False, answer == "old mill", version_2_with_negative and answer == ""]
    found = both(recipe, [{"answer": answer}] * 4, references)
    assert found["exact_match"] == pytest.approx(100 * np.mean(right))
    assert found["f1"] == pytest.approx(100 * np.mean(right))


# --- labels that are none ----------------------------------------------------------------------------------------

MALFORMED = {
    "a list for one label": (UNKNOWN["one label"], text(["a", "b"]), "label is a list in some rows"),
    "an empty cell in a list": (UNKNOWN["several labels"], text(["a", None]), "a list of labels has an empty cell"),
    "fewer tags than tokens": (UNKNOWN["tags"], words(["D"]), "there are not as many tags as tokens"),
    "more tags than tokens": (UNKNOWN["entities"], words(["O"] * 5), "there are not as many tags as tokens"),
    "a token without tag": (UNKNOWN["entities"], words(["O", None, "O"]), "a token has no tag"),
    "spans over each other": (
        UNKNOWN["spans"],
        {"text": CONTEXT, "entities": [{"start": 0, "end": 7, "label": "x"}, {"start": 4, "end": 12, "label": "x"}]},
        "spans overlap",
    ),
}


def as_file(rows: list[dict], name: str) -> str:
    """Rows in a file, where a list may stand beside single values."""
    with open(name, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return name


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_label_is_an_error_and_with_drop_invalid_counts_as_wrong(case, tmp_path):
    (task, train, _, _), odd, sentence = MALFORMED[case]
    parts = {"train": as_file(train, "a.jsonl"), "test": as_file([*train[:3], odd], "b.jsonl")}
    with pytest.raises(DataError, match=f"test: {sentence}.* in 1 row .3.*drop_invalid=true"):
        hfrecipes.check(task, dataset=parts)
    config, recipe = configure(task, {"dataset": parts, "drop_invalid": True})
    data, _ = load_data(config, recipe)
    assert len(data.splits["test"]) == 4
    assert sentence in data.notes["test"]
    rows = data.splits["test"].select([3])
    if task == "text-classification":
        answers = [{"label": label, "scores": dict.fromkeys("ab", 0.5)} for label in ("a", "b")]
        answers = answers if recipe.problem_type == SINGLE else [{**one, "label": [one["label"]]} for one in answers]
        name = "accuracy" if recipe.problem_type == SINGLE else "subset_accuracy"
    else:
        answers = [{"tags": [tag] * len(rows[0]["tokens"])} for tag in recipe.labels]
        name = "accuracy"
    for answer in answers[-1:] if case == "a token without tag" else answers:
        assert both(recipe, [answer], checks.references(recipe, rows))[name] == 0
    if case == "a list for one label":  # where train has lists too, labels are of another kind
        return
    in_train = {"train": as_file([*train, odd], "c.jsonl"), "test": parts["test"]}
    config, recipe = configure(task, {"dataset": in_train, "drop_invalid": True})
    data, _ = load_data(config, recipe)
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 20, "train goes without it"


@pytest.mark.parametrize("drop_invalid", [False, True])
def test_what_cannot_be_scored_stays_an_error(drop_invalid):
    numbers = [text(f"{place / 4}", place) for place in range(20)]
    settings = {"dataset": {"train": numbers, "test": [*numbers[:3], text("high")]}, "drop_invalid": drop_invalid}
    expected = r"test: label 'high' is not a number in 1 row \(3, counted from 0\). Fix these rows$"
    with pytest.raises(DataError, match=expected):
        hfrecipes.check("text-classification", **settings)


def test_labels_that_are_all_of_another_kind_stay_an_error():
    train = UNKNOWN["several labels"][1]
    with pytest.raises(DataError, match="test: label is a list in some rows and one value in others, or no list"):
        hfrecipes.check("text-classification", dataset={"train": train, "test": [text("a")] * 4}, drop_invalid=True)


@pytest.mark.parametrize("drop_invalid", [False, True])
def test_a_label_that_stands_twice_in_a_scored_row_counts_once(drop_invalid):
    train = UNKNOWN["several labels"][1]
    config, recipe = configure(
        "text-classification",
        {"dataset": {"train": train, "validation": train, "test": [text(["a", "a"])]}, "drop_invalid": drop_invalid},
    )
    data, _ = load_data(config, recipe)
    assert checks.references(recipe, data.splits["test"]) == [["a"]]
    found = hfrecipes.check("text-classification", dataset=[*train, text(["a", "a"])])
    assert sum(found["rows"].values()) == len(train) + 1


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_scored_row_whose_text_is_empty_is_still_dropped(split):
    train = UNKNOWN["one label"][1]
    dataset = {"train": train, split: [*train[:3], {"text": " ", "label": "new"}]}
    found = hfrecipes.check("text-classification", dataset=dataset, drop_invalid=True)
    assert found["rows"][split] == 3


class Outside(Recipe):
    """A task that knows nothing of all this."""

    task = "outside"
    columns = {"text": Column(), "label": Column(reference=True)}  # noqa: RUF012

    def reference(self, row):
        return row["label"]

    def check(self, rows):
        odd = [index for index, label in enumerate(rows["label"]) if label == "new"]
        return [Finding("error", "the label is new", odd)] if odd else []


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_task_outside_the_package_names_and_drops_its_problems_itself(split):
    rows = datasets.Dataset.from_list([text("a"), text("new")])
    with pytest.raises(DataError, match=r"the label is new in 1 row .1, counted from 0.. Fix these rows, or drop them"):
        checks.check_rows(Data({split: rows}, {}, {}), Outside())
    data = checks.check_rows(Data({split: rows}, {}, {}), Outside(drop_invalid=True))
    assert data.splits[split].to_list() == [text("a")]
    assert checks.scored_as_wrong(data, Outside()) == {}


# --- a run -------------------------------------------------------------------------------------------------------


def test_a_run_scores_keeps_and_names_them_wherever_scores_are_shown(tiny_bert, tmp_path):
    parts = {"train": opinions(40), "validation": opinions(10, 1), "test": [*opinions(8, 2), *[text("new", 9)] * 4]}
    (tmp_path / "data").mkdir()
    for split, rows in parts.items():
        as_file(rows, f"data/{split}.jsonl")
    settings = [f"model={tiny_bert}", "dataset=data", "bf16=false", "max_steps=2", "drop_invalid=true"]
    sentence = (
        "test: no prediction can match the label of 4 of 12 rows; these rows count as wrong: label 'new' does not occur"
    )
    checked = call("check", "text-classification", *settings)
    assert checked.exit_code == 0, checked.output
    assert sentence in checked.output
    made = call("run", "text-classification", *settings, "output_dir=run")
    assert made.exit_code == 0, made.output
    assert sentence in made.stdout.partition("baseline")[2], "below the table"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert sentence in metrics["notes"]["test"]
    assert sentence in (tmp_path / "run" / "README.md").read_text()
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    test = [line for line in lines if line["split"] == "test"]
    assert [line["label"] for line in test[8:]] == ["new"] * 4
    right = sum(line["label"] == line["prediction"]["label"] for line in test)
    assert metrics["test"]["accuracy"]["value"] == pytest.approx(right / 12)
    as_file([{"text": "", "label": "good"}, *parts["test"]], "more.jsonl")
    again = call("evaluate", "run", "dataset=more.jsonl")
    assert f"{sentence} in train in 4 rows (9, 10, 11, 12, counted from 0)" in again.stdout
    assert f"{right / 12:.3f} (" in again.stdout
    reread = hfrecipes.run("text-classification", output_dir="run", **parse_overrides(settings))
    assert reread.notes["test"] == metrics["notes"]["test"]
    assert set(reread.metrics) == {"train", "validation", "test"}


def test_several_seeds_name_them_too(tiny_bert, tmp_path):
    parts = {"train": opinions(40), "validation": opinions(10, 1), "test": [*opinions(8, 2), text("new")]}
    result = hfrecipes.run(
        "text-classification", model=tiny_bert, dataset=parts, seeds=[1, 2], max_steps=1, bf16=False, output_dir="runs"
    )
    assert "label 'new' does not occur in train" in result.notes["test"]
    assert set(result.scores) - {"gap"} == {"train", "validation", "test"}
    assert json.loads((tmp_path / "runs" / "metrics.json").read_text())["notes"] == result.notes


@pytest.mark.parametrize("labels", [(0, 1), (False, True), ("0", "1"), (0.0, 1.0), ("no", "yes")])
def test_rows_that_were_got_wrong_are_those_whose_label_differs(labels, tiny_bert, tmp_path):
    parts = {
        split: [{"text": row["text"], "label": labels[row["label"] == "good"]} for row in opinions(number, seed)]
        for split, number, seed in (("train", 40, 0), ("validation", 12, 1), ("test", 12, 2))
    }
    result = hfrecipes.run(
        "text-classification", model=tiny_bert, dataset=parts, max_steps=2, bf16=False, output_dir="run"
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    for split in ("validation", "test"):
        own = [line for line in lines if line["split"] == split]
        wrong = sum(line["label"] != line["prediction"]["label"] for line in own)
        assert result.metrics[split]["accuracy"] == pytest.approx(1 - wrong / 12)


def test_several_labels_are_written_in_the_order_of_predictions(tiny_bert, tmp_path):
    rows = [text(["z", "a"] if place % 2 else ["a", "z", "m"], place) for place in range(24)]
    settings = {"model": tiny_bert, "max_steps": 1, "bf16": False, "output_dir": "run"}
    result = hfrecipes.run(
        "text-classification", dataset={"train": rows, "test": rows[:12]}, threshold=1e-6, **settings
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    right = [line["label"] == line["prediction"]["label"] for line in lines if line["split"] == "test"]
    assert result.metrics["test"]["subset_accuracy"] == pytest.approx(np.mean(right)) == 0.5


@pytest.mark.parametrize("form", [["A", "B", "C"], ["1", "2", "3"], CHOICES])
def test_choices_are_written_as_predictions_count_them(form, tiny_bert, tmp_path):
    rows = [choice(form[place % 3], place) for place in range(24)]
    settings = {"model": tiny_bert, "max_steps": 2, "bf16": False, "output_dir": "run", "folds": 2}
    result = hfrecipes.run("multiple-choice", dataset=rows, **settings)
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == [place % 3 for place in range(24)]
    right = np.mean([line["label"] == line["prediction"]["label"] for line in lines])
    assert result.metrics["out_of_fold"]["accuracy"] == pytest.approx(right)


def test_a_label_of_hundreds_of_lists_is_named_as_any_list():
    nested: list = []
    for _ in range(900):
        nested = [nested]
    rows = [{"text": f"text {number}", "label": "xy"[number % 2]} for number in range(40)]
    with pytest.raises(DataError, match="label is a list of lists"):
        hfrecipes.check("text-classification", dataset=[*rows, {"text": "a", "label": nested}])
