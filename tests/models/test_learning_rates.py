"""A run that sets no learning rate gets one that suits its model, and says which."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from conftest import opinions
from safetensors.torch import save_file
from transformers import AutoConfig

import hfrecipes
from hfrecipes.errors import ModelError, OutputError
from hfrecipes.flow import candidates
from hfrecipes.models.learning_rates import explained
from hfrecipes.run_folder.claim import differences
from hfrecipes.training.configuration import configure
from hfrecipes.training.plan import make_plan
from hfrecipes.training.trainer import make_job

WIDTHS = {
    ("bert", "hidden_size", 128): (1.5e-4, 1.5e-3),
    ("bert", "hidden_size", 384): (1.5e-4, 1.5e-3),
    ("bert", "hidden_size", 768): (5e-5, 5e-4),
    ("bert", "hidden_size", 1024): (2e-5, 2e-4),
    ("distilbert", "dim", 768): (5e-5, 5e-4),
    ("modernbert", "hidden_size", 768): (5e-5, 5e-4),
    ("gpt2", "n_embd", 768): (5e-5, 5e-4),
    ("qwen2", "hidden_size", 896): (5e-5, 5e-4),
    ("llama", "hidden_size", 4096): (2e-5, 2e-4),
    ("bart", "d_model", 1024): (2e-5, 2e-4),
    ("roberta", "hidden_size", 768): (2e-5, 4e-4),
    ("t5", "d_model", 512): (3e-4, 1e-3),
    ("mt5", "d_model", 768): (3e-4, 1e-3),
}


def save_config(folder, family: str, **settings) -> None:
    """A model directory whose weights nobody loads."""
    AutoConfig.for_model(family, **settings).save_pretrained(folder)
    save_file({str(number): torch.zeros(1) for number in range(100)}, folder / "model.safetensors")


def rate_of(task: str, **settings) -> float | None:
    return configure(task, settings)[0].training.get("learning_rate")


@pytest.mark.parametrize(("family", "name", "width"), WIDTHS)
def test_the_default_follows_width_family_and_method(family, name, width, tmp_path):
    save_config(tmp_path, family, **{name: width})
    full, adapter = WIDTHS[family, name, width]
    assert rate_of("text-classification", model=tmp_path) == full
    assert rate_of("text-classification", model=tmp_path, lora=True) == adapter
    assert rate_of("text-classification", model=tmp_path, lora=True, learning_rate=1e-5) == 1e-5


def test_a_task_may_declare_its_own_whatever_the_model(tmp_path):
    save_config(tmp_path, "llama", hidden_size=64)
    model_config = AutoConfig.from_pretrained(tmp_path)
    config, _ = configure("chat", {"model": tmp_path})
    assert config.training["learning_rate"] == 2e-5
    assert explained(config, 2e-5, model_config) == ""
    config, _ = configure("chat", {"model": tmp_path, "lora": True})
    assert config.training["learning_rate"] == pytest.approx(2e-4)
    assert "0.0002, 10 times that of the task" in explained(config, 2e-5, model_config)


@pytest.mark.parametrize("model", [None, "me/nothing-here", "no/folder/at/all"])
def test_without_a_model_to_read_there_is_none_yet(model):
    assert rate_of("text-classification", **({"model": model} if model else {})) is None


def test_the_rate_is_printed_and_trained_with_and_another_run_is_told_by_it(tiny_bert, tmp_path, caplog):
    settings = {"model": tiny_bert, "dataset": opinions(24), "output_dir": tmp_path / "run", "max_steps": 2}
    with caplog.at_level("INFO"):
        result = hfrecipes.run("text-classification", **settings)
    width = AutoConfig.from_pretrained(tiny_bert).hidden_size
    assert f"learning_rate: 0.00015, the default for models of hidden size {width}" in caplog.messages
    assert 0 < result.history["learning_rate"].max() <= 1.5e-4
    with pytest.raises(OutputError, match=r"learning_rate is 0\.00015 there and 0\.001 here"):
        hfrecipes.run("text-classification", **settings, learning_rate=1e-3)


def test_a_run_whose_model_cannot_be_asked_is_still_known_by_its_other_settings():
    there = {"training": {"learning_rate": 2e-4, "seed": 1}}
    assert differences(there, {"training": {"seed": 1}}) == ""
    assert "learning_rate is 0.0002 there" in differences(there, {"training": {"seed": 1, "learning_rate": 1e-3}})
    assert "seed is 1 there and 2 here" in differences(there, {"training": {"seed": 2}})


def test_the_recipe_file_of_several_models_gives_each_its_own(tmp_path):
    folders = [tmp_path / "small", tmp_path / "t5"]
    save_config(folders[0], "bert", hidden_size=128)
    save_config(folders[1], "t5", d_model=512)
    config, _ = configure("text-classification", {"model": list(map(str, folders))}, index=0)
    together = asdict(candidates.with_models(config, list(map(str, folders))))
    again = [configure(nonempty(together), {}, index=index)[0].training["learning_rate"] for index in (0, 1)]
    assert again == [1.5e-4, 3e-4]
    config, _ = configure("text-classification", {"model": list(map(str, folders)), "learning_rate": 1e-5}, index=0)
    together = asdict(candidates.with_models(config, list(map(str, folders))))
    assert configure(nonempty(together), {}, index=1)[0].training["learning_rate"] == 1e-5


def nonempty(settings: dict) -> dict:
    return {name: value for name, value in settings.items() if value not in (None, {}, [], False)}


def test_a_model_that_could_not_be_asked_at_first_is_asked_before_it_is_trained(tiny_bert, tmp_path, monkeypatch):
    def fail(settings):
        raise ModelError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr("hfrecipes.models.learning_rates.load_config", fail)
        given = {"model": tiny_bert, "dataset": opinions(24), "output_dir": tmp_path / "run"}
        plan = make_plan(*configure("text-classification", given), tmp_path / "run")
    assert "learning_rate" not in plan.config.training
    job = make_job(plan)
    assert job.trainer.args.learning_rate == job.plan.config.training["learning_rate"] == 1.5e-4
