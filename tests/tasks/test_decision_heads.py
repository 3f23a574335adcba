"""Decision heads of transformers are trained, alone and with adapters, and answer in the pipeline as they do here."""

from __future__ import annotations

import json

import pytest
import torch
from test_decision import FEW, ROWS, pipeline_scores

import hfrecipes
from hfrecipes.errors import ConfigError, DataError, ModelError
from hfrecipes.tasks.decision import Decision

KINDS = ("causal", "both directions", "recurrent", "beside its model")


def language_model(kind: str, source):
    """Config of a tiny language model with the vocabulary of another."""
    from transformers import AutoConfig, LlamaConfig, Qwen2Config, Qwen3_5TextConfig

    size = {
        "vocab_size": AutoConfig.from_pretrained(source).vocab_size,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    if kind == "recurrent":
        linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
        layers = {"layer_types": ["linear_attention", "full_attention"], "head_dim": 16}
        return Qwen3_5TextConfig(linear_key_head_dim=16, linear_value_head_dim=16, **linear, **layers, **size)
    kinds = {"causal": LlamaConfig, "both directions": Qwen2Config, "beside its model": Qwen2Config}
    config = kinds[kind](**size)
    config.is_causal = kind != "both directions"
    return config


def save_head(kind: str, source, folder, **settings):
    """A folder with a decision head on a tiny model, and the tokenizer of `source`."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, JevConfig, JevForDecision

    torch.manual_seed(0)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    config = language_model(kind, source)
    if kind != "beside its model":
        JevForDecision(JevConfig(text_config=config, hidden_size=32, softcap=30.0, **settings)).save_pretrained(folder)
        return folder
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    codes = {"codes": list("ABCDEF"), "temperature": 1.3, "prompt": "d3"}
    (folder / "decision_config.json").write_text(json.dumps(codes))
    save_file({"weight": torch.randn(6, 32)}, folder / "readout.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(("kind", "lora"), [(kind, False) for kind in KINDS] + [(kind, True) for kind in KINDS[::3]])
def test_the_pipeline_gives_the_same_probabilities(kind, lora, tiny_llama, tmp_path):
    model = save_head(kind, tiny_llama, tmp_path / "model")
    train = [{**row, "state": f"{row['state']} {number}"} for number, row in enumerate(Decision.samples * 3)]
    hfrecipes.run("decision", model=model, dataset={"train": train}, lora=lora, output_dir=tmp_path / "run", **FEW)
    asked = [{**row, "state": "long " * (number % 7) + row["state"]} for number, row in enumerate(train)]
    asked = [{name: cell for name, cell in row.items() if name != "answer"} for row in asked]
    loaded = hfrecipes.load(tmp_path / "run")
    alone = [loaded.predict(row) for row in asked]
    for row, expected in zip(alone, pipeline_scores(tmp_path / "run", loaded, asked), strict=True):
        assert row["scores"] == pytest.approx(expected, abs=1e-5)
    same = [row for row in ROWS if row["options"]]
    for together, one in zip(loaded.predict(same), map(loaded.predict, same), strict=True):
        assert together["scores"] == pytest.approx(one["scores"], abs=1e-5), "padding changes nothing"


def test_a_head_learns_and_the_model_of_the_run_still_answers_one_prompt(tiny_llama, tmp_path):
    from transformers.decision import Question

    model = save_head("causal", tiny_llama, tmp_path / "model")
    result = hfrecipes.run(
        "decision",
        model=model,
        dataset={"train": ROWS, "validation": ROWS},
        shuffle_options=False,
        output_dir=tmp_path / "run",
        **{**FEW, "num_train_epochs": 60, "learning_rate": 3e-3, "early_stopping": False},
    )
    assert result.metrics["validation"]["accuracy"] > 0.9, "the word is in each message"
    trained = result.trainer.model
    request = {
        "state": "Message 3 of angry",
        "questions": {"q": {"type": "choice", "criteria": {"a": None, "b": None}}},
    }
    ((inputs, questions),) = trained.decision_config.prepare_inputs(request, result.predictor.recipe.tokenizer)
    (scores,) = trained.decide(**inputs, decision_questions=questions)
    assert isinstance(questions[0], Question)
    assert scores.shape == (2,)


def test_more_options_than_the_head_has_rows_for_are_refused(tiny_llama, tmp_path):
    offsets = {"noul": 0, "score": 2, "choice": 4}
    model = save_head("causal", tiny_llama, tmp_path / "model", num_verbalizers=6, offsets=offsets)
    with pytest.raises(DataError, match="3 options"):
        hfrecipes.run("decision", model=model, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)


def test_labels_of_a_head_are_its_own(tiny_llama, tmp_path):
    model = save_head("causal", tiny_llama, tmp_path / "model")
    with pytest.raises(ConfigError, match="label_tokens: leave it out, the decision head"):
        hfrecipes.run(
            "decision",
            model=model,
            dataset={"train": ROWS},
            label_tokens={"choice": ["A", "B", "C"]},
            output_dir=tmp_path / "run",
            **FEW,
        )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "decision_config.json of the model is damaged"),
        ('{"codes": ["A"], "prompt": "none"}', "decision_config of the model: KeyError.*, expected a decision head"),
    ],
)
def test_damaged_files_of_a_head_are_named(text, sentence, tiny_llama, tmp_path):
    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    (model / "decision_config.json").write_text(text)
    with pytest.raises(ModelError, match=sentence):
        hfrecipes.run("decision", model=model, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)


def test_weights_of_a_head_that_is_missing_are_new(tiny_llama, tmp_path, caplog):
    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    (model / "readout.safetensors").unlink()
    hfrecipes.run("decision", model=model, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)
    assert "new, trained from scratch: proj" in caplog.text
