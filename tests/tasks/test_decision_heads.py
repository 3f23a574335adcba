"""Decision heads of transformers are trained, alone and with adapters, and answer in the pipeline as they do here."""

from __future__ import annotations

import json
import pickle

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


def train_few(model, path, **settings):
    """A short training on a few rows."""
    return hfrecipes.run("decision", model=model, output_dir=path, **{"dataset": {"train": ROWS}, **FEW, **settings})


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
        ('{"codes": 5}', "decision_config of the model: .*, expected a decision head"),
        ('{"codes": ["A", "B"], "temperature": "x"}', "decision_config of the model: .*, expected a decision head"),
        ('{"codes": ["A", "B", "C"], "temperature": 1}', "has another number of rows than its files say"),
    ],
)
def test_damaged_files_of_a_head_are_named(text, sentence, tiny_llama, tmp_path):
    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    (model / "decision_config.json").write_text(text)
    with pytest.raises(ModelError, match=sentence):
        train_few(model, tmp_path / "run")


def test_a_head_without_rows_for_a_type_is_refused(tiny_llama, tmp_path):
    model = save_head("causal", tiny_llama, tmp_path / "model", offsets={"choice": 0})
    with pytest.raises(ModelError, match="offsets has no noul, expected choice, score, noul"):
        train_few(model, tmp_path / "run")


def test_an_adapter_that_is_beside_the_weights_is_refused(tiny_llama, tmp_path):
    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    (model / "decision_config.json").unlink()
    ranges = {"noul": [0, 2], "score": [2, 4], "choice": [4, 6]}
    slots = {"verbalizers": list("ABCDEF"), "num_slots": 6, "ranges": ranges}
    (model / "judge_config.json").write_text(json.dumps({"slots": slots}))
    (model / "calibration.json").write_text(json.dumps({"per_kind": {"noul": 1.0, "score": 1.0, "choice": 1.0}}))
    with pytest.raises(ModelError, match=r"judge_config.json of the model names an adapter in its folder adapter"):
        train_few(model, tmp_path / "run")


def test_the_temperature_of_a_run_is_that_of_its_model_and_of_the_pipeline(tiny_llama, tmp_path):
    from transformers import pipeline

    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    mixed = [{**row, "answer": ("calm", "angry", "angry", "sad")[number % 4]} for number, row in enumerate(ROWS * 5)]
    train_few(model, tmp_path / "run", dataset={"train": mixed, "validation": mixed}, shuffle_options=False)
    loaded, decide = hfrecipes.load(tmp_path / "run"), pipeline("decision", str(tmp_path / "run"))
    assert loaded.model.decision_config == decide.decision_config
    assert set(decide.decision_config.temperature) == {"choice"}, "not that of the model that it began with"
    rows = [{name: cell for name, cell in row.items() if name != "answer"} for row in ROWS[:3]]
    for row, expected in zip(loaded.predict(rows), pipeline_scores(tmp_path / "run", loaded, rows), strict=True):
        assert row["scores"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_head_is_new_only_where_its_weights_are_missing(is_there, tiny_llama, tmp_path, caplog):
    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    if not is_there:
        (model / "readout.safetensors").unlink()
    train_few(model, tmp_path / "run")
    assert ("new, trained from scratch: proj" in caplog.text) is not is_there


# --- adapters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["causal", "beside its model"])
def test_an_adapter_trains_the_head_too(kind, tiny_llama, tmp_path):
    from transformers import JevForDecision

    model = save_head(kind, tiny_llama, tmp_path / "model")
    train_few(model, tmp_path / "run", lora=True)
    before, after = (JevForDecision.from_pretrained(folder) for folder in (model, tmp_path / "run"))
    assert not torch.equal(before.proj.weight, after.proj.weight)
    row = {name: cell for name, cell in ROWS[0].items() if name != "answer"}
    merged, adapter = (hfrecipes.load(tmp_path / "run" / name).predict(row) for name in ("", "adapter"))
    assert merged["scores"] == pytest.approx(adapter["scores"], abs=1e-5)


def test_a_new_head_that_an_adapter_could_not_hold_is_refused(tiny_llama, tmp_path):
    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    (model / "readout.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"lora: proj is new, and PEFT would take it for .*q_proj too: train once"):
        train_few(model, tmp_path / "run", lora=True)


def test_virtual_tokens_are_refused(tiny_llama, tmp_path):
    model = save_head("causal", tiny_llama, tmp_path / "model")
    with pytest.raises(ConfigError, match="PROMPT_TUNING does not fit decision"):
        train_few(model, tmp_path / "run", lora={"peft_type": "PROMPT_TUNING"})


# --- settings of the model -----------------------------------------------------------------------------------------


def test_settings_of_the_body_and_checkpoints_of_activations_are_taken(tiny_llama, tmp_path):
    model = save_head("beside its model", tiny_llama, tmp_path / "model")
    result = train_few(model, tmp_path / "run", dropout=0.2, gradient_checkpointing=True)
    assert result.trainer.model.config.text_config.attention_dropout == 0.2
    assert result.trainer.model.model.gradient_checkpointing


def test_a_loaded_head_can_be_pickled(tiny_llama, tmp_path):
    model = save_head("causal", tiny_llama, tmp_path / "model")
    trained = train_few(model, tmp_path / "run").trainer.model
    ids = {"input_ids": torch.tensor([[5, 6, 7]]), "logits_to_keep": torch.tensor([2])}
    copied = pickle.loads(pickle.dumps(trained.cpu().eval()))
    assert torch.equal(copied(**ids).logits, trained(**ids).logits)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["architectures"] == ["JevForDecision"]
