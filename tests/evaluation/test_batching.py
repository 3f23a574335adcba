"""Evaluation during training, after it and after loading computes the same rows in the same batches."""

from __future__ import annotations

import json
from itertools import chain

import numpy as np
import pytest
from datasets import Dataset
from rows import opinions

import hfrecipes
from hfrecipes.contract.trial import Trial, are_close
from hfrecipes.evaluation import evaluate, inference
from hfrecipes.evaluation.batching import Limits, batches_of
from hfrecipes.evaluation.inference import Inference, outputs
from hfrecipes.evaluation.kept import KeptOutputs, sums_of_weights
from hfrecipes.registry import list_tasks

ROWS = {"train": opinions(40), "validation": opinions(12, 1), "test": opinions(12, 2)}
LENGTHS = np.random.default_rng(0).integers(1, 90, 500)


def features_of(lengths) -> Dataset:
    return Dataset.from_dict({"length": list(lengths), "input_ids": [[1] * length for length in lengths]})


def test_batches_never_have_more_tokens_than_the_longest_rows_and_the_longest_come_first():
    batches = batches_of(features_of(LENGTHS), Limits(rows=8))
    assert sorted(chain.from_iterable(batches)) == list(range(500))
    longest = [int(LENGTHS[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    assert len(batches[0]) == 8
    tokens = [length * len(batch) for length, batch in zip(longest, batches, strict=True)]
    assert max(tokens) <= 8 * LENGTHS.max()
    assert len(batches) < 500 / 8, "short rows share large batches"
    padded = sum(tokens) / LENGTHS.sum()
    assert padded < 1.1


def test_a_number_of_tokens_that_fits_in_any_case_makes_batches_larger():
    assert len(batches_of(features_of(LENGTHS), Limits(rows=1, tokens=4096))[0]) == 4096 // LENGTHS.max()
    choices = Dataset.from_dict({"length": [4] * 100, "input_ids": [[[1] * 4] * 5] * 100})
    assert len(batches_of(choices, Limits(rows=1, tokens=200))[0]) == 200 // (4 * 5), "each choice is a text"


def test_rows_whose_memory_does_not_follow_from_their_length_come_in_batches_of_one_size():
    sizes = [len(batch) for batch in batches_of(features_of(LENGTHS), Limits(rows=8, tokens=9999, shares_tokens=False))]
    assert sizes == [8] * 62 + [4]


def test_rows_stay_in_their_order_where_they_are_not_grouped_by_length():
    batches = batches_of(features_of([5, 90, 1, 40, 2]), Limits(rows=2, by_length=False))
    assert batches == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("processes", [2, 3, 7])
@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("number", [1, 5, 499])
def test_batches_that_processes_compute_at_the_same_time_have_the_same_size(processes, by_length, number):
    batches = batches_of(features_of(LENGTHS[:number]), Limits(rows=8, by_length=by_length), processes)
    assert len(batches) % processes == 0
    for start in range(0, len(batches), processes):
        assert len(set(map(len, batches[start : start + processes]))) == 1
    order = list(chain.from_iterable(batches))
    assert sorted(order[:number]) == list(range(number)), "what is filled in comes last"
    assert len(order) < number + processes


def varied(trial: Trial, number: int) -> list[dict]:
    """Sample rows whose texts are of many lengths."""
    rows = trial.rows(number)
    for index, row in enumerate(rows):
        for name, cell in row.items():
            if trial.kind.columns[name].kind == "string" and not trial.kind.columns[name].reference:
                row[name] = " ".join([cell] * (1 + index % 4)) if isinstance(cell, str) else cell
    return rows


@pytest.mark.parametrize("precision", [{"bf16": True}, {"bf16": False}], ids=["bf16", "float32"])
@pytest.mark.parametrize("task", list(list_tasks()))
def test_the_trainer_evaluates_as_the_model_is_evaluated_after_training(task, precision, trial_of, tmp_path):
    """Bit by bit, in half precision too, where other batches give other numbers."""
    trial = trial_of(task)
    rows = {"train": trial.rows(16), "validation": varied(trial, 16)}
    settings = {**trial._short_texts(), **precision, "per_device_eval_batch_size": 3, "report_to": "none"}
    trainer = hfrecipes.build(task, model=trial.model, dataset=rows, output_dir=tmp_path / "run", **settings)
    scorer = trainer.compute_metrics
    trainer.evaluate()
    during = scorer.kept.of(trainer.model)
    after = outputs(Inference(trainer.model, scorer.recipe, scorer.inference.settings), scorer.encoded)
    decoded = [scorer.recipe.decode(found, scorer.rows, scorer.encoded) for found in (during, after)]
    assert repr(decoded[0]) == repr(decoded[1])


def test_rows_that_the_user_gives_are_still_evaluated(quick, tmp_path):
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)
    own = trainer.evaluate()
    some = trainer.evaluate(trainer.eval_dataset.select(range(5)))
    assert some["eval_loss"] > 0
    assert "eval_accuracy" not in some
    assert trainer.evaluate()["eval_accuracy"] == own["eval_accuracy"]
    assert len(trainer.predict(trainer.eval_dataset).predictions) > 0


# --- kept outputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_validation_is_not_predicted_again_after_full_fine_tuning(lora, quick, tmp_path, monkeypatch):
    predicted = []
    monkeypatch.setattr(
        evaluate, "outputs", lambda ready, encoded: predicted.append(len(encoded)) or inference.outputs(ready, encoded)
    )
    rows = {**ROWS, "validation": opinions(14, 1)}
    settings = {**quick, "num_train_epochs": 3, "lora": lora}
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    assert (14 in predicted) == lora, "merging rounds, so that a merged model is another one"
    again = result.predict([row["text"] for row in rows["validation"]])
    known = [row["prediction"] for row in _predictions(tmp_path / "run") if row["split"] == "validation"]
    assert are_close(known, again)


def _predictions(run) -> list[dict]:
    return [json.loads(line) for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def test_outputs_are_kept_for_the_weights_that_gave_them():
    import torch

    model, kept = torch.nn.Linear(3, 2), KeptOutputs()
    states = []
    for step in range(1, 5):
        torch.nn.init.normal_(model.weight)
        states.append({name: values.clone() for name, values in model.state_dict().items()})
        kept.keep(np.full(4, step), model, step, best_step=2 if step > 2 else None)
    found = []
    for state in states:
        model.load_state_dict(state)
        outputs_of_state = kept.of(model)
        found.append(None if outputs_of_state is None else int(outputs_of_state[0]))
    assert found == [None, 2, None, 4], "the best and the last one"
    with torch.no_grad():
        model.bias[0] = torch.nextafter(model.bias[0], torch.tensor(9.0))
    assert kept.of(model) is None, "the smallest change of a weight counts"


def test_large_outputs_are_not_kept(monkeypatch):
    import torch

    model, kept = torch.nn.Linear(3, 2).to(torch.bfloat16), KeptOutputs()
    monkeypatch.setattr("hfrecipes.evaluation.kept.LARGEST", 100)
    kept.keep([np.zeros(4), (np.zeros(4), np.zeros(4))], model, 1, None)
    assert kept.of(model) is not None
    kept.keep([np.zeros(4), (np.zeros(4), np.zeros(5))], model, 2, None)
    assert kept.of(model) is None
    assert len(sums_of_weights(model)) == 2
