"""One temperature for the probabilities of each task that has some: fitted on validation, saved and applied."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import BAD, GOOD, THINGS, opinions

import hfrecipes
from hfrecipes import calibration
from hfrecipes.errors import ConfigError
from hfrecipes.evaluation.scoring import score
from hfrecipes.metrics import _weighted
from hfrecipes.recipe import option_types
from hfrecipes.registry import find, list_tasks
from hfrecipes.tasks import _answer_probabilities, _word_probabilities
from hfrecipes.tasks._answer_probabilities import RankedAnswer

# --- rows whose references a model cannot always know ----------------------------------------------------------------


def texts(number: int, seed: int) -> list[dict]:
    rows = opinions(number, seed)
    for row in rows[::6]:
        row["label"] = {"good": "bad", "bad": "good"}[row["label"]]
    return rows


def choices(number: int, seed: int) -> list[dict]:
    rows = []
    for index, row in enumerate(texts(number, seed)):
        names = ["good", "bad"] + ["neither"] * (index % 2)
        rows.append({"question": row["text"], "choices": names, "label": str(int(row["label"] == "bad"))})
    return rows


def sentences(number: int, seed: int) -> list[dict]:
    generator = random.Random(seed)
    rows = []
    for _ in range(number):
        things = generator.sample(THINGS, 2)
        words = ["the", *things, "was", generator.choice(GOOD + BAD)]
        kind = "thing" if generator.random() < 0.8 else "name"
        tags = ["O", f"B-{kind}", f"I-{kind}", "O", "O"]
        rows.append({"text": " ".join(words), "tokens": words, "tags": tags})
    return rows


def questions(number: int, seed: int) -> list[dict]:
    generator = random.Random(seed)
    rows = []
    for _ in range(number):
        first, second = generator.sample(THINGS, 2)
        context = f"the {first} was {generator.choice(GOOD)} the {second} was {generator.choice(BAD)}"
        answers = [first, second, None]
        answer = answers[generator.choices(range(3), [5, 2, 3])[0]]
        found = (
            {"text": [answer], "answer_start": [context.index(answer)]} if answer else {"text": [], "answer_start": []}
        )
        rows.append({"question": "what was ?", "context": context, "answers": found})
    return rows


ROWS = {
    "text-classification": texts,
    "multiple-choice": choices,
    "token-classification": sentences,
    "question-answering": questions,
}
INPUTS = ("text", "question", "choices", "tokens", "context")


def test_all_tasks_with_the_option_are_tested_here():
    known = {name for name in list_tasks() if "temperature_scaling" in option_types(find(name))}
    # Decisions have a temperature for each type of question: tests/tasks/test_decision.py.
    assert set(ROWS) == known - {"decision"}


@pytest.fixture(scope="module", params=list(ROWS))
def scaled(request, tiny_bert, tmp_path_factory) -> SimpleNamespace:
    """A run with the option, loaded, and its test rows predicted with and without what was tuned."""
    make = ROWS[request.param]
    dataset = {"train": make(120, 0), "validation": make(120, 1), "test": make(60, 2)}
    result = hfrecipes.run(
        request.param,
        model=tiny_bert,
        dataset=dataset,
        temperature_scaling=True,
        output_dir=tmp_path_factory.mktemp("temperature") / "run",
        learning_rate=3e-3,
        num_train_epochs=3,
        per_device_train_batch_size=8,
        bf16=False,
    )
    loaded = hfrecipes.load(result.path)
    rows = [{name: row[name] for name in INPUTS if name in row} for row in dataset["test"]]
    predictions, numbers = loaded.predict(rows), loaded.recipe.calibration
    loaded.recipe.calibration = {name: value for name, value in numbers.items() if name != "temperature"}
    unscaled = loaded.predict(rows)
    loaded.recipe.calibration = numbers
    return SimpleNamespace(
        result=result,
        loaded=loaded,
        dataset=dataset,
        predictions=predictions,
        unscaled=unscaled,
        references=[loaded.recipe.reference(row) for row in dataset["test"]],
    )


def distributions(prediction: dict) -> list[np.ndarray]:
    """Probabilities that sum to 1, one array for each word of a sentence, else a single one."""
    if isinstance(prediction, RankedAnswer):
        return [calibration.softmax(prediction.logits[None])[0]]
    if "probabilities" in prediction:
        return [np.array(list(word.values())) for word in prediction["probabilities"]]
    scores = prediction["scores"]
    return [np.array(list(scores.values()) if isinstance(scores, dict) else scores)]


def shown(prediction: dict) -> list[float]:
    """Probability of what is predicted: for each word, or of the row."""
    return prediction["scores"] if "tags" in prediction else [prediction["score"]]


def test_the_log_loss_on_validation_is_lower_and_the_answers_are_the_same(scaled):
    numbers = scaled.loaded.recipe.calibration
    values = {}
    for name, kept in (("with", numbers), ("without", {**numbers, "temperature": 1.0})):
        # Thresholds stay, since a score is that of the answer which they decide on.
        scaled.loaded.recipe.calibration = kept
        values[name] = scaled.loaded.evaluate(scaled.dataset["validation"]).metrics["log_loss"]
    scaled.loaded.recipe.calibration = numbers
    assert values["with"] < values["without"]
    assert values["with"] == pytest.approx(scaled.result.metrics["validation"]["log_loss"], abs=1e-6)
    for key in ("label", "tags", "answer", "null_odds"):
        assert [row.get(key) for row in scaled.predictions] == [row.get(key) for row in scaled.unscaled]


def test_the_temperature_is_saved_with_the_model_and_scales_the_scores(scaled):
    saved = json.loads((scaled.result.path / "config.json").read_text())["hfrecipes"]["calibration"]
    assert scaled.loaded.recipe.calibration == saved
    temperature = saved["temperature"]
    assert temperature != 1
    for before, after in zip(scaled.unscaled, scaled.predictions, strict=True):
        expected = []
        for shares, now in zip(distributions(before), shown(before), strict=True):
            powers = shares ** (1 / temperature)
            expected.append(now ** (1 / temperature) / powers.sum())
        assert shown(after) == pytest.approx(expected, rel=1e-6)


def test_scores_have_intervals_a_baseline_and_their_values_before(scaled):
    for name in ("log_loss", "ece"):
        entry = scaled.result.scores["test"][name]
        assert entry.low <= entry.value <= entry.high
        assert np.isfinite(entry.baseline)
        assert entry.uncalibrated is not None
    again = scaled.loaded.evaluate(scaled.dataset["test"]).metrics
    for name, value in scaled.result.metrics["test"].items():
        assert again[name] == pytest.approx(value, abs=1e-6), name


def test_the_scores_are_those_of_the_written_predictions(scaled):
    lines = [json.loads(line) for line in (scaled.result.path / "predictions.jsonl").read_text().splitlines()]
    predictions = [line["prediction"] for line in lines if line["split"] == "test"]
    values = score(scaled.loaded.recipe, predictions, scaled.references)
    for name, value in scaled.result.metrics["test"].items():
        assert values[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name


def test_too_few_rows_leave_it_at_1_and_that_is_printed(scaled):
    numbers, sentences = scaled.loaded.recipe.calibrate(scaled.unscaled[:5], scaled.references[:5])
    assert "temperature" not in numbers
    assert any("temperature: left at 1, too few" in sentence for sentence in sentences)


@pytest.mark.parametrize("task", list(ROWS))
def test_without_validation_it_is_refused_before_training(task, quick, tmp_path):
    settings = {**quick, "eval_strategy": "no", "early_stopping": False, "splits": {"validation": None}}
    with pytest.raises(ConfigError, match=r"options\.temperature_scaling: found no validation split to tune on"):
        hfrecipes.run(
            task, dataset=ROWS[task](20, 0), temperature_scaling=True, output_dir=tmp_path / "run", **settings
        )


def test_adapter_and_merged_model_have_the_same_temperature(quick, tmp_path):
    dataset = {"train": sentences(40, 0), "validation": sentences(40, 1)}
    settings = {**quick, "dataset": dataset, "lora": True, "temperature_scaling": True}
    result = hfrecipes.run("token-classification", output_dir=tmp_path / "run", **settings)
    expected = result.predict("the film was great")
    assert "temperature" in result.predictor.recipe.calibration
    for folder in ("run", "run/adapter"):
        loaded = hfrecipes.load(tmp_path / folder)
        assert loaded.recipe.calibration == result.predictor.recipe.calibration
        assert loaded.predict("the film was great")["scores"] == pytest.approx(expected["scores"], abs=1e-4)


# --- the temperature -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_absent_choices_get_no_probability_and_do_not_count_in_the_loss(seed):
    import torch

    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 6, 400)
    logits = [generator.normal(size=size) * 4 for size in sizes]
    # Drawn at a temperature of 2, so that the logits are too sure.
    right = [int((row / 2 + generator.gumbel(size=len(row))).argmax()) for row in logits]
    shares = calibration.side_by_side([calibration.softmax(row[None])[0] for row in logits])

    log = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        rows = [
            torch.nn.functional.cross_entropy(torch.tensor(row) / log.exp(), torch.tensor(index))
            for row, index in zip(logits, right, strict=True)
        ]
        loss = torch.stack(rows).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    temperature = calibration.best_temperature(calibration.loss_of(shares, np.array(right)))
    assert temperature == pytest.approx(float(log.exp()), rel=1e-3)
    after = calibration.apply_temperature(shares, temperature)
    assert (after[np.isnan(shares)] == 0).all()
    assert after.sum(1) == pytest.approx(1)


def test_words_of_all_rows_share_one_temperature_and_unknown_tags_do_not_count():
    generator = np.random.default_rng(0)
    labels = ["O", "B-a", "I-a"]
    recipe = find("token-classification")(temperature_scaling=True, scheme="BIO")
    recipe.labels = labels
    rows, references, logits, ids = [], [], [], []
    for words in generator.integers(1, 8, 60):
        row = generator.normal(size=(words, 3)) * 3
        tags = (row / 3 + generator.gumbel(size=row.shape)).argmax(1)
        rows.append(_word_probabilities.prediction(calibration.softmax(row), labels, every=True))
        references.append([labels[tag] for tag in tags])
        logits.append(row)
        ids.append(tags)
    expected = calibration.best_temperature(
        calibration.loss_of(calibration.softmax(np.concatenate(logits)), np.concatenate(ids))
    )
    numbers, (sentence,) = recipe.calibrate(rows, references)
    assert numbers["temperature"] == pytest.approx(expected, rel=1e-4)
    assert f"{len(np.concatenate(ids))} validation words" in sentence
    # A tag that train does not have, and a row without as many tags as words.
    more = [*rows, rows[0], rows[1]], [*references, ["B-other"] * len(references[0]), []]
    assert recipe.calibrate(*more)[0]["temperature"] == pytest.approx(numbers["temperature"])


def test_an_entity_has_the_mean_of_the_scores_of_its_words():
    shares = calibration.softmax(np.array([[2.0, 0, 0], [0, 3.0, 0], [0, 1.0, 2.0]]))
    row = _word_probabilities.prediction(shares, ["O", "B-a", "I-a"], every=True)
    row["entities"] = [{"label": "a", "score": 0.0, "text": "b c", "start": 2, "end": 5}]
    (after,) = _word_probabilities.scaled([row], ["O", "B-a", "I-a"], 2.0, "BIO")
    assert after["tags"] == row["tags"] == ["O", "B-a", "I-a"]
    assert after["scores"] != pytest.approx(row["scores"])
    assert after["entities"][0]["score"] == pytest.approx(np.mean(after["scores"][1:]))
    assert [max(word.values()) for word in after["probabilities"]] == after["scores"]


def test_the_temperature_of_answers_is_the_one_with_the_best_score_for_what_is_shown():
    generator = np.random.default_rng(0)
    predictions = []
    for size in generator.integers(2, 20, 300):
        logits = -np.sort(generator.exponential(3, size=size))
        predictions.append(RankedAnswer({"answer": "a", "start": 0, "end": 1}, logits, may_have_none=False))
    is_right = generator.random(300) < np.array([row["score"] for row in predictions]) ** 2
    numbers, _ = _answer_probabilities.fit(predictions, is_right)

    def loss(temperature: float) -> float:
        scores = np.array([row.decided({"temperature": temperature})["score"] for row in predictions])
        return float(-np.log(np.where(is_right, scores, 1 - scores)).mean())

    grid = np.exp(np.linspace(-1, 2, 61))
    assert numbers["temperature"] == pytest.approx(grid[np.argmin(list(map(loss, grid)))], rel=0.06)


# --- scores ----------------------------------------------------------------------------------------------------------


def test_log_loss_and_calibration_error_are_those_of_the_items_that_a_resample_holds():
    from sklearn.metrics import log_loss

    generator = np.random.default_rng(0)
    row_of = np.repeat(np.arange(30), generator.integers(0, 4, 30))
    sure = generator.random(len(row_of))
    right = generator.random(len(row_of)) < sure
    chance = np.where(right, sure, 1 - sure)
    weights = generator.integers(0, 3, (6, 30))
    losses = _weighted.log_loss(chance, row_of, 30)(weights)["log_loss"]
    errors = _weighted.calibration_error(sure, right, row_of, 30)(weights)["ece"]
    for draw, counts in enumerate(weights):
        items = np.repeat(np.arange(len(row_of)), counts[row_of])
        assert losses[draw] == pytest.approx(log_loss(right[items], sure[items], labels=[False, True]))
        alike = _weighted.calibration(
            sure[items, None], right[items, None], np.zeros(len(items)), np.ones((1, len(items)))
        )
        assert errors[draw] == pytest.approx(alike["ece"][0])


def test_predictions_of_a_run_without_the_option_are_scored_without_log_loss():
    recipe = find("token-classification")(temperature_scaling=True, scheme="BIO")
    recipe.labels = ["O", "B-a"]
    values = score(recipe, [{"tags": ["O", "B-a"], "scores": [0.9, 0.8]}], [["O", "O"]])
    assert values["accuracy"] == 0.5
    assert "log_loss" not in values
