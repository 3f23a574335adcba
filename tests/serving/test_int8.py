"""Layers in 8 bits: every task predicts with them, and what they cost is printed; elsewhere they are refused."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from conftest import opinions
from shipped import SHIPPED

import hfrecipes
from hfrecipes.contract.tiny_models import tiny_model
from hfrecipes.errors import ConfigError, ModelError
from hfrecipes.models.int8 import in_int8, is_int8
from hfrecipes.registry import find

pytest_plugins = ["servers"]


@pytest.mark.model
@pytest.mark.parametrize("task", SHIPPED)
def test_every_task_predicts_in_8_bits_and_says_what_that_changes(task, run_of, predictor_of, caplog):
    predictor = hfrecipes.load(run_of(task), int8=True)
    rows = [dict(row) for row in find(task).samples]
    predictions = predictor.predict(rows)
    assert [set(row) for row in predictions] == [set(row) for row in predictor_of(task).predict(rows)]
    assert is_int8(predictor.model)
    assert not is_int8(predictor_of(task).model)
    assert re.search(
        r"int8: \d+ layers of the model in 8 bits; \w+ on 4 rows of test: [\d.]+ before, [\d.]+ in 8 bits, a change",
        caplog.text,
    )


@pytest.mark.model
def test_the_score_in_8_bits_is_that_of_evaluate(run_of, predictor_of, caplog):
    run = run_of("text-classification")
    predictor = hfrecipes.load(run, int8=True)
    said = re.search(r"test: ([\d.]+) before, ([\d.]+) in 8 bits", caplog.text)
    rows = [line for line in read(run) if line["split"] == "test"]
    evaluated = [each.evaluate(rows).metrics["accuracy"] for each in (predictor_of("text-classification"), predictor)]
    assert [float(number) for number in said.groups()] == pytest.approx(evaluated, abs=5e-4)


def read(run) -> list[dict]:
    from hfrecipes.run_folder.contents import read_predictions

    return list(read_predictions(run))


@pytest.mark.model
def test_a_run_without_its_rows_says_how_to_see_the_score(run_of, tmp_path, caplog):

    copy = shutil.copytree(run_of("text-classification"), tmp_path / "copy")
    (copy / "predictions.jsonl").unlink()
    predictor = hfrecipes.load(copy, int8=True)
    assert "hfrecipes evaluate with --int8 shows it" in caplog.text
    with pytest.raises(ConfigError, match="load without int8"):
        predictor.explain("a text")


def test_models_without_linear_layers_and_on_a_gpu_are_refused():
    class Model(torch.nn.Sequential):
        device = torch.device("cpu")

    with pytest.raises(ModelError, match="no linear layers"):
        in_int8(Model(torch.nn.Tanh()))
    Model.device = torch.device("cuda")
    with pytest.raises(ModelError, match="found the model on cuda"):
        in_int8(Model(torch.nn.Linear(2, 2)))


@pytest.mark.model
@pytest.mark.parametrize("kind", ["roberta", "electra", "deberta-v2"])
def test_heads_that_are_modules_of_their_own_compute_in_8_bits(kind, tmp_path, caplog):
    import transformers

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    tiny_model(find("text-classification"), tmp_path / "base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "base")
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), max_position_embeddings=140, pad_token_id=tokenizer.pad_token_id, **small
    )
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    settings = {"model": str(tmp_path / "model"), "dataset": opinions(40), "output_dir": str(tmp_path / "run")}
    hfrecipes.run("text-classification", **settings, max_length=64, max_steps=1, bf16=False)
    assert hfrecipes.load(tmp_path / "run", int8=True).predict("a book")["label"] in ("good", "bad")
    assert "in 8 bits" in caplog.text


@pytest.mark.model
@pytest.mark.parametrize("setting", [{"model": {"dtype": "bfloat16"}}, {"bf16_full_eval": True}])
def test_models_in_half_precision_compute_in_8_bits(setting, run_of, tmp_path):
    import yaml

    copy = shutil.copytree(run_of("text-classification"), tmp_path / "copy")
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text())
    if "model" in setting:
        path = recipe["model"] if isinstance(recipe["model"], str) else recipe["model"]["path"]
        recipe["model"] = {"path": path, **setting["model"]}
    else:
        recipe["training"] |= setting
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert hfrecipes.load(copy, int8=True).predict("a text")["label"]
