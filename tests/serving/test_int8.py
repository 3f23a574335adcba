"""Layers in 8 bits: every task predicts with them, and what they cost is printed; elsewhere they are refused."""

from __future__ import annotations

import re

import pytest
import torch
from shipped import SHIPPED

import hfrecipes
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
    import shutil

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
