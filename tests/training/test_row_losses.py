"""No loss depends on the rows beside a row: for every task a batch of 8 is 8 times 1, and two processes of 4."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from processes import TWO_PROCESSES, run_python

import hfrecipes
from hfrecipes.recipe import input_columns, option_types, reference_columns
from hfrecipes.registry import find, list_tasks

TASKS = list(list_tasks())
TIMES = (1, 6, 1, 3, 8, 1, 2, 5) * 6  # how often the words of each row are repeated
SETTINGS = {
    "splits": {"validation": None},
    "max_steps": 1,
    "learning_rate": 0.05,
    "warmup_steps": 0,
    "optim": "sgd",
    "bf16": False,
    "max_grad_norm": 0.0,
    "train_sampling_strategy": "sequential",
    "save_strategy": "no",
    "max_length": 256,
}
# Runs every task in each of two processes, and leaves the weights.
SCRIPT = """
import json, torch
import hfrecipes

for task, settings in json.load(open("settings.json")).items():
    trainer = hfrecipes.build(task, **settings)
    assert trainer.args.world_size == 2
    trainer.train()
    if trainer.is_world_process_zero():
        torch.save(torch.cat([one.detach().flatten() for one in trainer.model.parameters()]), f"{task}.pt")
"""


def longer(value, times: int):
    """Texts of several words said again and again, in lists too."""
    if isinstance(value, str):
        return " ".join([value] * times) if " " in value else value
    if isinstance(value, list):
        return [longer(part, times) for part in value]
    return {name: longer(part, times) for name, part in value.items()} if isinstance(value, dict) else value


def rows_of_many_lengths(task: str) -> list[dict]:
    kind, rows = find(task), []
    for index, times in enumerate(TIMES):
        row = dict(kind.samples[index % len(kind.samples)])
        inputs = {name: longer(row[name], times) for name in input_columns(kind) if name in row}
        if "tags" in row:  # which go with their tokens
            inputs = {name: row[name] * times for name in ("tokens", "tags")}
        rows.append({**row, **inputs})
    return rows


def settings_of(task: str, model: str, path: Path, **sizes) -> dict:
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if "bert" in model else {}
    options = {"max_target_length": 32} if "max_target_length" in option_types(find(task)) else {}
    about = {"model": {"path": model, **plain}, "dataset": {"train": rows_of_many_lengths(task)}}
    return {**SETTINGS, **options, **about, "output_dir": str(path), **sizes}


def trained(task: str, settings: dict) -> torch.Tensor:
    trainer = hfrecipes.build(task, **settings)
    lengths = trainer.train_dataset["length"][:]
    assert len(set(lengths)) > 1 or reference_columns(find(task)) == [], "rows of one length would show nothing"
    trainer.train()
    return torch.cat([weights.detach().flatten() for weights in trainer.model.parameters()])


@pytest.mark.parametrize("task", TASKS)
def test_eight_rows_are_eight_times_one(task, model_for, tmp_path):
    model = model_for(find(task))
    sizes = {
        "whole": {"per_device_train_batch_size": 8},
        "one by one": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    }
    weights = {name: trained(task, settings_of(task, model, tmp_path / name, **size)) for name, size in sizes.items()}
    start = trained(task, settings_of(task, model, tmp_path / "start", learning_rate=1e-9))
    assert float((weights["whole"] - start).norm()) > 1e-3, "something is learnt"
    assert torch.allclose(weights["whole"], weights["one by one"], atol=1e-5)


@pytest.mark.long
def test_eight_rows_are_those_of_two_processes(model_for, tmp_path):
    settings = {}
    for task in TASKS:
        settings[task] = settings_of(task, model_for(find(task)), tmp_path / task, per_device_train_batch_size=4)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    run_python(*TWO_PROCESSES, "script.py", cwd=tmp_path)
    for task, about in settings.items():
        whole = trained(task, {**about, "output_dir": str(tmp_path / "whole" / task), "per_device_train_batch_size": 8})
        assert torch.allclose(whole, torch.load(tmp_path / f"{task}.pt"), atol=1e-5), task
