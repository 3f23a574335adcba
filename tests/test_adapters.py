"""What LoRA leaves: a merged model and an adapter that both predict as the trained model did, or an error."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import opinions
from safetensors.torch import load_file, save_file

import hfrecipes
from hfrecipes import model as model_module
from hfrecipes.errors import ModelError


@pytest.fixture(scope="module")
def adapted(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> hfrecipes.Result:
    rows = {"train": opinions(80), "test": opinions(20, 1)}
    folder = tmp_path_factory.mktemp("lora") / "run"
    settings = {"model": tiny_bert, "learning_rate": 1e-2, "num_train_epochs": 2, "bf16": False}
    return hfrecipes.run("text-classification", dataset=rows, output_dir=folder, lora=True, **settings)


def test_what_was_saved_is_loaded_and_compared(adapted):
    """Both ways to load it are looked at, and one that predicts otherwise ends the run."""
    recipe, config = adapted.predictor.recipe, adapted.predictor.config
    base = json.loads((adapted.path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    config = hfrecipes.RunConfig(**{**vars(config), "model": base})
    batch = dict(recipe.tokenizer(["the film was great"], return_tensors="pt"))
    expected = model_module.logits(hfrecipes.load(adapted.path).trainer.model, batch)
    model_module.check_saved(expected, batch, config, recipe, adapted.path)
    with pytest.raises(ModelError, match=r"the merged model saved in .* predicts otherwise .* logits differ by 0.5"):
        model_module.check_saved(expected + 0.5, batch, config, recipe, adapted.path)
    file = adapted.path / "adapter" / "adapter_model.safetensors"
    whole = load_file(file)
    save_file({name: weights if "classifier" in name else 9 * weights for name, weights in whole.items()}, file)
    with pytest.raises(ModelError, match=r"the adapter saved in .* predicts otherwise"):
        model_module.check_saved(expected, batch, config, recipe, adapted.path)
    save_file(whole, file)


def test_a_run_that_saved_something_else_ends_with_an_error(tiny_bert, quick, tmp_path, monkeypatch):
    def forgetful(model, tokenizer, path):
        save_adapter(model, tokenizer, path)
        file = path / "adapter_model.safetensors"
        save_file({name: 0 * weights for name, weights in load_file(file).items()}, file)

    save_adapter = model_module._save_adapter
    monkeypatch.setattr(model_module, "_save_adapter", forgetful)
    with pytest.raises(ModelError, match=r"the adapter saved in .* Do not use it"):
        hfrecipes.run("text-classification", dataset=opinions(60), output_dir=tmp_path / "run", lora=True, **quick)
    assert not (tmp_path / "run" / "metrics.json").exists(), "the run is not taken for complete"


def test_the_adapter_alone_knows_labels_and_how_it_was_trained(adapted):
    alone = hfrecipes.load(adapted.path / "adapter")
    assert alone.recipe.labels == ["bad", "good"]
    one, other = (predictor.predict("the film was great") for predictor in (alone, adapted))
    assert one["label"] == other["label"]
    assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_how_many_weights_were_trained_is_stored(adapted):
    number = json.loads((adapted.path / "run.json").read_text())["parameters"]
    assert 0 < number["trained"] < number["total"]


def test_the_commit_of_the_base_is_kept(tiny_bert, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    base.config._commit_hash = "0123abc"
    model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS"))
    model_module.save(model, AutoTokenizer.from_pretrained(tiny_bert), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())["revision"] == "0123abc"


@pytest.mark.parametrize("task", ["text-classification", "question-answering", "multiple-choice"])
def test_a_head_that_the_checkpoint_has_is_trained_too(task, tiny_bert, quick, tmp_path):
    from hfrecipes.registry import find

    rows = [dict(find(task).samples[place % 4]) for place in range(40)]
    first = hfrecipes.run(task, dataset=rows, output_dir=tmp_path / "first", max_steps=1, **quick)
    again = {**quick, "model": str(first.path)}
    trainer = hfrecipes.build(task, dataset=rows, output_dir=tmp_path / "second", lora=True, **again)
    trained = [name for name, weights in trainer.model.named_parameters() if weights.requires_grad]
    assert any("classifier" in name or "qa_outputs" in name for name in trained)


def test_transformers_itself_loads_the_adapter_of_a_model_that_writes(tiny_llama, quick, tmp_path):
    from transformers import AutoModelForCausalLM

    rows = [{"text": row["text"]} for row in opinions(40)]
    settings = {**quick, "model": tiny_llama, "lora": True}
    result = hfrecipes.run("text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        one, other = (
            AutoModelForCausalLM.from_pretrained(path).eval()(input_ids=ids).logits
            for path in (result.path, result.path / "adapter")
        )
    assert torch.allclose(one, other, atol=1e-4)
