"""What every task owes, checked over every task found: a new file in tasks/ is tested by being there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import close, rows_of

import hfrecipes
from hfrecipes.config import training_types
from hfrecipes.evaluation.scoring import score
from hfrecipes.recipe import (
    Recipe,
    arguments_name,
    input_columns,
    option_types,
    reference_columns,
    trainer_name,
    undefined,
)
from hfrecipes.registry import find, options, tasks

pytestmark = pytest.mark.rehearsed

TASKS = list(tasks())


def test_tasks_were_found():
    assert "text-classification" in TASKS


@pytest.mark.parametrize("task", TASKS)
def test_the_facts_are_complete_and_true(task):
    import transformers

    kind = find(task)
    assert kind.task == task
    assert hasattr(transformers, kind.auto_model)
    assert hasattr(transformers, trainer_name(kind))
    assert set(kind.defaults) <= set(training_types(arguments_name(kind)))
    assert not set(option_types(kind)) & set(training_types(arguments_name(kind)))
    assert input_columns(kind)
    assert set(reference_columns(kind)) <= set(kind.columns)
    assert kind.__mro__[1] is Recipe, "one level of inheritance"
    assert len(kind.samples) >= 4
    assert all(set(row) <= set(kind.columns) for row in kind.samples)
    for layout in kind.layouts:
        assert set(layout) <= set(kind.columns)
    for _, _, _, text in options(kind):
        assert text.endswith("."), "every option is explained"


@pytest.mark.parametrize("task", TASKS)
def test_no_method_of_a_task_is_left_to_the_base(task):
    kind = find(task)
    assert not undefined(kind)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_run_leaves_a_model_that_predicts_the_same_after_reload(task, lora, quick, model_for, tmp_path: Path):
    kind = find(task)
    quick["model"] = model_for(kind)
    rows = {"train": rows_of(kind), "validation": rows_of(kind, 8), "test": rows_of(kind, 8)}
    result = hfrecipes.run(task, dataset=rows, output_dir=tmp_path / "run", lora=lora, **quick)
    inputs = [{name: row[name] for name in input_columns(kind) if name in row} for row in rows["test"]]
    before, after = result.predict(inputs), hfrecipes.load(tmp_path / "run").predict(inputs)
    assert close(before, after)
    assert result.metrics["test"] == pytest.approx(hfrecipes.load(tmp_path / "run").evaluate(rows["test"]).metrics)
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").exists() == lora
    assert not list((tmp_path / "run").rglob("*.bin"))
    if lora:
        alone = tmp_path / "elsewhere"
        (tmp_path / "run" / "adapter").rename(alone)
        adapter = hfrecipes.load(alone)
        assert close(before, adapter.predict(inputs)), "the adapter and its base are all that it takes"
        assert result.metrics["test"] == pytest.approx(adapter.evaluate(rows["test"]).metrics, rel=1e-3, abs=1e-3)
    import transformers

    _, report = getattr(transformers, kind.auto_model).from_pretrained(tmp_path / "run", output_loading_info=True)
    assert not report["missing_keys"]


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_of_the_predictions_that_are_written(task, quick, model_for, tmp_path: Path):
    kind = find(task)
    quick["model"] = model_for(kind)
    rows = {"train": rows_of(kind), "test": rows_of(kind, 12)}
    result = hfrecipes.run(task, dataset=rows, output_dir=tmp_path / "run", **quick)
    written = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    test = [line for line in written if line["split"] == "test"]
    recipe = result.predictor.recipe
    assert [line["row"] for line in test] == list(range(12))
    for line, row in zip(test, rows["test"], strict=True):
        inputs = set(input_columns(kind)) & set(row)
        assert [line[name] for name in inputs] == [row[name] for name in inputs], "in the order of the rows"
        assert recipe.reference(line) == recipe.reference(row)
        for name in set(reference_columns(kind)) & set(line["prediction"]):
            assert type(line[name]) is type(line["prediction"][name]), "labels and predictions are spelled alike"
    by_hand = score(recipe, [line["prediction"] for line in test], [recipe.reference(line) for line in test])
    assert by_hand == pytest.approx(result.metrics["test"])


@pytest.mark.parametrize("task", TASKS)
def test_the_usage_snippet_of_the_card_runs(task, quick, model_for, tmp_path: Path, monkeypatch):
    kind = find(task)
    quick["model"] = model_for(kind)
    hfrecipes.run(
        task, dataset={"train": rows_of(kind), "test": rows_of(kind, 8)}, output_dir=tmp_path / "run", **quick
    )
    card = (tmp_path / "run" / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    snippets = card.split("```python\n")[1:]
    assert len(snippets) == 2
    for snippet in snippets:
        exec(snippet.partition("```")[0], {})


def trained(task: str, model: str, path: Path, checkpoint: Path | None = None, **training) -> torch.Tensor:
    """Weights after a few steps on rows in their order, without dropout."""
    kind = find(task)
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if "bert" in model else {}
    settings = {"learning_rate": 0.05, "warmup_steps": 0, "bf16": False, "optim": "sgd", "max_length": 32, **training}
    trainer = hfrecipes.build(
        task,
        model={"path": model, **plain},
        dataset={"train": rows_of(kind, 32)},
        splits={"validation": None},
        output_dir=path,
        save_total_limit=99,
        **settings,
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return torch.cat([weights.detach().flatten() for weights in trainer.model.parameters()])


@pytest.mark.parametrize("task", TASKS)
def test_what_is_learnt_does_not_depend_on_accumulation(task, model_for, tmp_path: Path):
    model = model_for(find(task))
    about = {"max_steps": 2, "save_strategy": "no", "train_sampling_strategy": "sequential", "max_grad_norm": 0.0}
    sizes = [{"per_device_train_batch_size": one, "gradient_accumulation_steps": 8 // one} for one in (8, 2)]
    whole, parts = (
        trained(task, model, tmp_path / name, **size, **about) for name, size in zip("ab", sizes, strict=True)
    )
    start = trained(task, model, tmp_path / "c", **{**about, "learning_rate": 1e-9})
    assert float((parts - whole).norm()) < 1e-3 * float((whole - start).norm())


@pytest.mark.parametrize("task", TASKS)
def test_a_run_that_goes_on_in_the_middle_of_an_epoch_learns_the_same(task, model_for, tmp_path: Path):
    model = model_for(find(task))
    about = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 8}
    about["gradient_accumulation_steps"] = 1
    whole = trained(task, model, tmp_path / "a", **about)
    states = [json.loads(file.read_text()) for file in (tmp_path / "a").glob("checkpoint-*/trainer_state.json")]
    epochs = {state["epoch"]: state["global_step"] for state in states if state["epoch"] != int(state["epoch"])}
    for step in (epochs[min(epochs)], next(epochs[epoch] for epoch in sorted(epochs) if epoch > 1)):
        resumed = trained(task, model, tmp_path / f"b{step}", tmp_path / "a" / f"checkpoint-{step}", **about)
        assert torch.equal(whole, resumed), f"after {step} steps"


@pytest.mark.parametrize("task", TASKS)
def test_options_survive_the_recipe_file(task):
    kind = find(task)
    recipe = kind()
    assert kind(**{f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}) == recipe


@pytest.mark.parametrize("task", TASKS)
def test_resampling_with_weights_of_one_gives_the_scores(task, tmp_path: Path):
    kind = find(task)
    recipe = kind()
    train, rows = (datasets.Dataset.from_list(rows_of(kind, number)) for number in (40, 12))
    recipe.infer_labels(train)
    references = [recipe.reference(row) for row in rows]
    predictions = recipe.baseline_predictions(rows, recipe.baseline(train.select(range(7))))
    weighted = recipe.measure(predictions, references)(np.ones((1, 12), dtype=np.float32))
    plain = score(recipe, predictions, references)
    assert {name: pytest.approx(values[0], nan_ok=True) for name, values in weighted.items()} == plain
