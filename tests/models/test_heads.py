"""Heads of few outputs: float32 under any precision, and numbers of any size, plain wherever they are saved."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from conftest import opinions, rows_of

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.models import heads
from hfrecipes.registry import find

pytestmark = pytest.mark.rehearsed

FEW_OUTPUTS = ["text-classification", "token-classification", "question-answering", "multiple-choice"]


def priced(number: int, price: float, step: float, seed: int = 0) -> list[dict]:
    """Rows whose number follows from the word that a tiny model can learn."""
    rows = []
    for row in opinions(number, seed):
        rows.append({"text": row["text"], "label": price + step * (row["label"] == "good")})
    return rows


def labels_of(predictions: list[dict]) -> list[float]:
    """The predicted numbers."""
    return [row["label"] for row in predictions]


def scores_of(predictions: list[dict]) -> list[float]:
    """Scores of the predicted labels."""
    return [row["score"] for row in predictions]


@pytest.mark.parametrize("task", FEW_OUTPUTS)
def test_scores_are_computed_in_float32_where_the_model_is_not(task, quick, tmp_path):
    rows = {"train": rows_of(find(task), 8), "validation": rows_of(find(task), 8)}
    settings = {**quick, "bf16": True, "use_cpu": True}
    trainer = hfrecipes.build(task, dataset=rows, output_dir=tmp_path / "run", **settings)
    seen = {}
    head = next(iter(heads.heads(trainer.model).values()))
    head.register_forward_hook(lambda module, inputs, output: seen.update(head=output.dtype))
    body = next(part for part in trainer.model.base_model.encoder.modules() if isinstance(part, torch.nn.Linear))
    body.register_forward_hook(lambda module, inputs, output: seen.update(body=output.dtype))
    trainer.evaluate()
    assert seen == {"head": torch.float32, "body": torch.bfloat16}


@pytest.mark.parametrize("price", [100.0, 3000.0])
def test_in_half_precision_numbers_are_bound_to_no_grid(price, quick, tmp_path):
    rows = []
    for index, row in enumerate(opinions(60)):
        rows.append({"text": row["text"], "label": price + 0.37 * (index % 7)})
    settings = {**quick, "bf16": True, "use_cpu": True, "num_train_epochs": 1}
    dataset = {"train": rows[:40], "validation": rows[40:]}
    result = hfrecipes.run("text-classification", dataset=dataset, output_dir=tmp_path / "run", **settings)
    texts = [row["text"] for row in rows]
    remainders = {number % 0.5 for number in labels_of(result.predict(texts))}
    assert len(remainders) > 10, "bfloat16 has multiples of 0.5 near 100, of 16 near 3,000"


@pytest.fixture(scope="module")
def prices(tiny_bert, tmp_path_factory):
    """A run on prices of some hundred thousand, with a rate that suits numbers near 1."""
    path = tmp_path_factory.mktemp("prices") / "run"
    rows = {"train": priced(160, 190_000.5, 100_000), "test": priced(40, 190_000.5, 100_000, seed=1)}
    settings = {"learning_rate": 1e-2, "num_train_epochs": 4, "per_device_train_batch_size": 8, "bf16": False}
    return hfrecipes.run("text-classification", model=tiny_bert, dataset=rows, output_dir=path, **settings), rows


def test_large_numbers_are_learnt_with_the_usual_rate(prices):
    result, _ = prices
    scores = result.scores["test"]
    assert scores["mae"].value < 0.5 * scores["mae"].baseline
    assert scores["r2"].value > 0.5
    assert not np.isfinite(scores["pearsonr"].baseline), "one and the same number has no correlation"
    assert list(result.headline) == ["pearsonr", "spearmanr", "mae", "r2"]
    assert -1 < scores["r2"].ci95[0] < scores["r2"].value < scores["r2"].ci95[1] <= 1


def test_transformers_alone_give_the_same_numbers(prices):
    from transformers import pipeline

    result, rows = prices
    texts = [row["text"] for row in rows["test"][:5]]
    plain = pipeline("text-classification", str(result.path))
    ours, again = result.predict(texts), hfrecipes.load(result.path).predict(texts)
    assert labels_of(ours) == pytest.approx(scores_of(plain(texts)), rel=1e-5)
    assert labels_of(ours) == pytest.approx(labels_of(again), rel=1e-6)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_checkpoints_and_what_a_trainer_saves_give_the_numbers_too(lora, quick, tmp_path):
    from transformers import AutoModelForSequenceClassification

    rows = {"train": priced(40, 2e5 + 0.5, 1e5), "validation": priced(8, 2e5 + 0.5, 1e5)}
    trainer = hfrecipes.build("text-classification", dataset=rows, output_dir=tmp_path / "run", lora=lora, **quick)
    trainer.train()
    if lora:
        trainer.model = trainer.model.merge_and_unload()
    trainer.save_model(str(tmp_path / "saved"))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    batch = trainer.data_collator([trainer.eval_dataset[0]])
    labels = batch.pop("labels")
    with torch.no_grad():
        expected = trainer.model.eval()(**batch)["logits"]
        assert float(plain(**batch)["logits"]) == pytest.approx(float(expected), rel=1e-5)
    assert abs(float(expected) - float(labels)) < 2e5, "it starts from the mean, and not from 0"


def test_a_head_that_knows_numbers_starts_from_what_it_knows(prices, quick, tmp_path):
    result, rows = prices
    settings = {**quick, "model": str(result.path), "learning_rate": 1e-9}
    again = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    text = rows["test"][0]["text"]
    assert again.predict(text)["label"] == pytest.approx(result.predict(text)["label"], rel=1e-3)


def test_writing_and_reading_in_units_changes_no_digit():
    layer = torch.nn.Linear(4, 1)
    before = copy.deepcopy(layer.state_dict())

    class Model(torch.nn.Module):
        base_model_prefix = "body"

        def __init__(self) -> None:
            super().__init__()
            self.body, self.score = torch.nn.Identity(), layer

        def get_output_embeddings(self) -> None:
            return None

    model = Model()
    heads.learn_numbers(model, 240_000.0, heads.unit_of(50_235.0), fresh=[])
    in_units = copy.deepcopy(dict(layer.named_parameters()))
    for name, weights in layer.state_dict().items():
        assert torch.equal(before[name], weights), "what is saved is in the original scale"
    layer.load_state_dict(layer.state_dict())
    for name, weights in layer.named_parameters():
        assert torch.equal(in_units[name], weights), "what is loaded is in units again"


@pytest.mark.parametrize("deviation", [0.0, 1e-3, 0.7, 1.0, 3.0, 50_235.0])
def test_units_are_powers_of_two_near_the_deviation(deviation):
    unit = heads.unit_of(deviation)
    assert np.log2(unit) == round(np.log2(unit))
    assert not deviation or 2**-0.5 <= deviation / unit <= 2**0.5


def test_a_model_that_gives_the_mean_is_said_to_be_no_better(quick, tmp_path, caplog):
    rows = []
    for index, row in enumerate(opinions(80)):
        rows.append({"text": row["text"], "label": 10.5 + index % 5})
    settings = {**quick, "learning_rate": 1e-7}
    dataset = {"train": rows[:60], "test": rows[60:]}
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.run("text-classification", dataset=dataset, output_dir=tmp_path / "run", **settings)
    assert "not significantly better than the baseline: mae " in caplog.text


def test_half_precision_weights_predict_the_same_after_reload(quick, tiny_bert, tmp_path):
    rows = {"train": opinions(40), "test": opinions(12, 1)}
    settings = {**quick, "model": {"path": tiny_bert, "dtype": "bfloat16"}, "num_train_epochs": 1}
    for lora in (False, True):
        path = tmp_path / f"run-{lora}"
        result = hfrecipes.run("text-classification", dataset=rows, output_dir=path, lora=lora, **settings)
        texts = [row["text"] for row in rows["test"]]
        before, after = result.predict(texts), hfrecipes.load(path).predict(texts)
        assert scores_of(before) == pytest.approx(scores_of(after), abs=1e-6)


@pytest.mark.parametrize("labels", [(3000.5, 3001.5), (1e9 + 0.5, 2e9), (1e-23, 3e-23)])
def test_numbers_far_from_0_or_of_any_size_are_no_reason_to_diverge(labels, quick, tmp_path):
    low, high = labels
    rows = priced(40, low, high - low)
    settings = {**quick, "options": {"problem_type": "regression"}}
    result = hfrecipes.run("text-classification", dataset={"train": rows}, output_dir=tmp_path / "run", **settings)
    assert abs(result.predict(rows[0]["text"])["label"] - (low + high) / 2) < 2 * (high - low)


def test_a_head_without_bias_learns_in_units_of_the_numbers_themselves(tiny_llama, quick, tmp_path):
    settings = {**quick, "model": tiny_llama, "num_train_epochs": 6}
    rows = {"train": priced(80, 3000.5, 1000), "validation": priced(8, 3000.5, 1000)}
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    assert result.scores["validation"]["mae"].value < 1500
    again = hfrecipes.load(tmp_path / "run").evaluate(rows["validation"]).metrics["mae"]
    assert again == pytest.approx(result.scores["validation"]["mae"].value, rel=1e-4)


@pytest.mark.parametrize("more", [{"bf16_full_eval": True}, {"model": {"dtype": "bfloat16"}}], ids=["eval", "dtype"])
def test_what_would_round_numbers_is_refused(more, quick, tiny_bert, tmp_path):
    settings = {**quick, **more}
    if "model" in more:
        settings["model"] = {"path": tiny_bert, **more["model"]}
    rows = {"train": priced(40, 0.5, 1)}
    with pytest.raises(ConfigError, match="would round the numbers that are learnt"):
        hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)


def test_padding_that_changes_a_number_by_little_of_its_size_is_seen(quick, tmp_path, caplog):
    from test_neighbours import xlnet

    settings = {**quick, "model": xlnet(tmp_path / "model", "right"), "num_train_epochs": 1}
    rows = {"train": priced(40, 3000.5, 1), "validation": priced(8, 3000.5, 1)}
    hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    assert "padding: on the left" in caplog.text
