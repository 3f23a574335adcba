"""Models whose weights are saved in another format than they compute in come back from checkpoints as they were."""

from __future__ import annotations

import pytest
import torch
from conftest import plan_of
from safetensors.torch import load_file

import hfrecipes
from hfrecipes.run_folder import contents
from hfrecipes.training.trainer import make_job

TEXTS = {
    "train": [{"text": f"cat {number} slept all day"} for number in range(24)],
    "validation": [{"text": f"dogs went home {number}"} for number in range(6)],
}
# Each epoch after the first makes the loss on validation worse.
SETTINGS = {"num_train_epochs": 3, "learning_rate": 2e-2, "bf16": False, "max_length": 32, "early_stopping": False}


@pytest.fixture(scope="module")
def experts(tiny_llama, tmp_path_factory):
    """A folder with a tiny mixture of experts: in the file, each expert has weights of its own."""
    from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    tokenizer, folder = AutoTokenizer.from_pretrained(tiny_llama), tmp_path_factory.mktemp("experts")
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MixtralConfig(vocab_size=len(tokenizer), num_local_experts=4, num_key_value_heads=2, **size)
    MixtralForCausalLM(config).save_pretrained(folder)
    return folder


def train(experts, path, **settings):
    given = {**SETTINGS, **settings}
    return hfrecipes.run("text-generation", model=experts, dataset=TEXTS, output_dir=path, **given)


def test_an_adapter_is_put_onto_attention_by_default(experts, tmp_path):
    train(experts, tmp_path / "run", lora=True, num_train_epochs=1)
    adapted = [
        name for name in load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors") if "lora_A" in name
    ]
    assert {name.split(".")[-3] for name in adapted} == {"q_proj", "v_proj"}


def test_the_best_checkpoint_is_what_is_scored_and_saved(experts, tmp_path):
    result = train(experts, tmp_path / "run")
    losses = [entry["eval_loss"] for entry in result.trainer.state.log_history if "eval_loss" in entry]
    assert min(losses) < losses[-1]
    assert result.metrics["validation"]["loss"] == pytest.approx(min(losses), abs=1e-5)
    assert any(".experts.3.w1." in name for name in load_file(tmp_path / "run" / "model.safetensors")), "as published"


def test_an_interrupted_run_resumes_to_the_very_same_weights(experts, tmp_path):
    import transformers

    class Stop(transformers.TrainerCallback):
        def on_epoch_begin(self, args, state, control, **kwargs):
            if state.epoch == 2:
                raise KeyboardInterrupt

    whole = train(experts, tmp_path / "whole")
    plan = plan_of("text-generation", {"model": experts, "dataset": TEXTS, "output_dir": tmp_path / "run", **SETTINGS})
    job = make_job(plan)
    job.trainer.add_callback(Stop())
    contents.write_start(plan.path, plan.config, plan.info)
    with pytest.raises(KeyboardInterrupt):
        job.trainer.train()
    resumed = train(experts, tmp_path / "run")
    assert resumed.metrics == whole.metrics
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(first[name], second[name]) for name in first)
