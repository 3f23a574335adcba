"""A training that diverges stops at once, says where, and leaves the last good checkpoint as it was."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from conftest import opinions, rows_of
from diverging import rows_named_when_spoiled

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, DivergedError
from hfrecipes.registry import find
from hfrecipes.training import divergence

ROWS = {
    "train": opinions(48),
    "validation": opinions(8, 1),
    "numbers": [{"text": row["text"], "label": 0.5 + index % 3} for index, row in enumerate(opinions(48))],
    "several": [{"text": row["text"], "label": [row["label"]]} for row in opinions(48)],
}


@pytest.mark.parametrize("labels", ["train", "numbers", "several"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_rate_that_is_far_too_large_ends_the_run_in_the_same_way(labels, lora, quick, tmp_path):
    settings = {**quick, "learning_rate": 1e9, "lora": lora, "warmup_steps": 0}
    with pytest.raises(DivergedError, match=r"step \d+ .*not finite \(learning rate \d.*Lower learning_rate"):
        hfrecipes.run("text-classification", dataset=ROWS[labels], output_dir=tmp_path / "run", **settings)
    assert not (tmp_path / "run" / "metrics.json").exists(), "the run is not taken for complete"
    assert not list((tmp_path / "run").glob("*.safetensors"))


@pytest.mark.parametrize("task", ["token-classification", "text-generation"])
def test_other_tasks_stop_too(task, quick, model_for, tmp_path):
    kind = find(task)
    settings = {**quick, "model": model_for(kind), "learning_rate": 1e9, "warmup_steps": 0, "max_steps": 4}
    with pytest.raises(DivergedError):
        hfrecipes.run(task, dataset={"train": rows_of(kind)}, output_dir=tmp_path / "run", **settings)


def test_the_command_line_says_it_without_a_traceback(quick, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS["train"]))
    words = [f"model={quick['model']}", "dataset=rows.jsonl", "output_dir=run", "learning_rate=5e8", "bf16=false"]
    result = CliRunner().invoke(main, ["run", "text-classification", *words])
    assert result.exit_code == 2
    assert "not finite" in result.output
    assert "Traceback" not in result.output


def test_rows_of_the_step_are_named_and_the_last_good_checkpoint_stays(quick, tmp_path):
    """One row alone has a 7, which the model reads as something infinite from the second epoch on."""
    rows = [*ROWS["train"][:20], {"text": "the lamp was fine 7", "label": "good"}, *ROWS["train"][20:]]
    dataset = {"train": rows, "validation": ROWS["validation"]}
    settings = {**quick, "num_train_epochs": 3, "save_total_limit": None, "early_stopping": False}
    trainer = hfrecipes.build("text-classification", dataset=dataset, output_dir=tmp_path / "run", **settings)
    seven = trainer.processing_class.convert_tokens_to_ids("7")

    assert "20" in rows_named_when_spoiled(trainer, seven)
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-7"]
    state = torch.load(tmp_path / "run" / "checkpoint-7" / "optimizer.pt", weights_only=True)["state"]
    assert all(torch.isfinite(part["exp_avg"]).all() for part in state.values())


def test_weights_that_are_not_finite_are_never_saved(quick, tmp_path):
    from transformers import TrainerCallback

    class Spoil(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **keywords):
            if state.global_step + 1 == state.max_steps:
                model.classifier.weight.data[0, 0] = float("inf")

    trainer = hfrecipes.build("text-classification", dataset=ROWS["train"], output_dir=tmp_path / "run", **quick)
    trainer.callback_handler.callbacks.insert(0, Spoil())
    with pytest.raises(DivergedError, match=r"the weights after step \d+ are not finite"):
        trainer.train()
    last = max(int(path.name.partition("-")[2]) for path in (tmp_path / "run").glob("checkpoint-*"))
    assert last < trainer.state.max_steps


def test_finite_means_every_weight_that_is_trained():
    model = torch.nn.Linear(3, 2)
    assert divergence.are_finite(model)
    model.weight.data[1, 1] = float("nan")
    assert not divergence.are_finite(model)
    model.weight.requires_grad_(False)
    assert divergence.are_finite(model)


@pytest.mark.parametrize("setting", ["learning_rate", "weight_decay", "max_grad_norm"])
def test_settings_are_finite(setting):
    with pytest.raises(ConfigError, match=f"{setting}: found .inf, expected a finite number"):
        hfrecipes.check("text-classification", dataset=ROWS["train"], **{setting: float("inf")})


def test_what_is_no_number_is_null_in_what_is_written(tmp_path):
    from hfrecipes.run_folder import contents

    contents.write_predictions(
        tmp_path, [{"row": 0, "prediction": {"loss": float("inf"), "scores": [float("nan"), 1.0]}}]
    )
    line = json.loads((tmp_path / "predictions.jsonl").read_text(), parse_constant=pytest.fail)
    assert line["prediction"] == {"loss": None, "scores": [None, 1.0]}
