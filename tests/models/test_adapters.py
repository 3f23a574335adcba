"""What LoRA leaves: a merged model and an adapter that both predict as the trained model did, or an error."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import close, make_tokenizer, opinions, rows_of
from safetensors.torch import load_file, save_file

import hfrecipes
from hfrecipes.config.blocks import AdapterSettings
from hfrecipes.errors import ConfigError, MissingPackageError, ModelError
from hfrecipes.models import adapters
from hfrecipes.models.adapters import settings as adapter_settings
from hfrecipes.recipe import input_columns
from hfrecipes.training.configuration import configure

pytestmark = pytest.mark.rehearsed


def texts_alone(rows: list[dict]) -> list[dict]:
    """The rows without their labels, for models that learn to write or to fill gaps."""
    return [{"text": row["text"]} for row in rows]


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
    config = replace(config, model=base)
    batch = dict(recipe.tokenizer(["the film was great"], return_tensors="pt"))
    expected = adapters.logits(hfrecipes.load(adapted.path).trainer.model, batch)
    adapters.check_saved(expected, batch, config, recipe, adapted.path)
    with pytest.raises(ModelError, match=r"the merged model saved in .* predicts differently .* logits differ by 0.5"):
        adapters.check_saved(expected + 0.5, batch, config, recipe, adapted.path)
    file = adapted.path / "adapter" / "adapter_model.safetensors"
    saved, whole = file.read_bytes(), load_file(file)
    save_file({name: weights if "classifier" in name else 9 * weights for name, weights in whole.items()}, file)
    with pytest.raises(ModelError, match=r"the adapter saved in .* predicts differently"):
        adapters.check_saved(expected, batch, config, recipe, adapted.path)
    file.write_bytes(saved)


def test_a_run_that_saved_something_else_ends_with_an_error(tiny_bert, quick, tmp_path, monkeypatch):
    def forgetful(model, recipe, config, path):
        save_adapter(model, recipe, config, path)
        file = path / "adapter" / "adapter_model.safetensors"
        save_file({name: 0 * weights for name, weights in load_file(file).items()}, file)

    save_adapter = adapters.save
    monkeypatch.setattr(adapters, "save", forgetful)
    with pytest.raises(ModelError, match=r"the adapter saved in .* Do not use it"):
        hfrecipes.run("text-classification", dataset=opinions(60), output_dir=tmp_path / "run", lora=True, **quick)
    assert not (tmp_path / "run" / "metrics.json").exists(), "the run is not taken for complete"


def test_the_adapter_alone_knows_labels_and_how_it_was_trained(adapted):
    alone = hfrecipes.load(adapted.path / "adapter")
    assert alone.recipe.labels == ["bad", "good"]
    from_adapter, from_run = alone.predict("the film was great"), adapted.predict("the film was great")
    assert from_adapter["label"] == from_run["label"]
    assert from_adapter["score"] == pytest.approx(from_run["score"], abs=1e-4)


def test_how_many_weights_were_trained_is_stored(adapted):
    number = json.loads((adapted.path / "run.json").read_text())["parameters"]
    assert 0 < number["trained"] < number["total"]
    assert number["share"] == pytest.approx(number["trained"] / number["total"], rel=0.01)


@pytest.mark.parametrize("revision", [None, "main"])
def test_the_commit_of_the_base_is_kept(revision, tiny_bert, quick, tmp_path):
    """The base is loaded from a cache of the Hub, as after a download."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--me--tiny"
    shutil.copytree(tiny_bert, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    base = {"path": "me/tiny", "cache_dir": str(tmp_path / "cache")}
    if revision:
        base["revision"] = revision
    settings = {**quick, "model": base, "max_steps": 2, "lora": True}
    result = hfrecipes.run("text-classification", dataset=opinions(40), output_dir=tmp_path / "run", **settings)
    kept = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert (kept["base_model_name_or_path"], kept["revision"]) == ("me/tiny", commit)
    # The author of the base uploads other weights.
    other = repository / "snapshots" / commit[::-1]
    shutil.copytree(tiny_bert, other)
    weights = load_file(other / "model.safetensors")
    save_file({name: -values for name, values in weights.items()}, other / "model.safetensors", {"format": "pt"})
    (repository / "refs" / "main").write_text(commit[::-1])
    text = "the film was great"
    assert close(result.predict(text), hfrecipes.load(tmp_path / "run" / "adapter").predict(text))


@pytest.mark.parametrize("task", ["text-classification", "question-answering", "multiple-choice"])
def test_a_head_that_the_checkpoint_has_is_trained_too(task, tiny_bert, quick, tmp_path):
    from hfrecipes.registry import find

    rows = rows_of(find(task), 40)
    first = hfrecipes.run(task, dataset=rows, output_dir=tmp_path / "first", max_steps=1, **quick)
    again = {**quick, "model": str(first.path)}
    trainer = hfrecipes.build(task, dataset=rows, output_dir=tmp_path / "second", lora=True, **again)
    trained = [name for name, weights in trainer.model.named_parameters() if weights.requires_grad]
    assert any("classifier" in name or "qa_outputs" in name for name in trained)


def test_a_head_whose_name_is_the_end_of_another_is_saved(quick, tmp_path):
    """In DistilBERT, `classifier` is also the end of `pre_classifier`, by which PEFT finds both."""
    from transformers import DistilBertConfig, DistilBertModel

    from hfrecipes.registry import find

    tokenizer, folder = make_tokenizer(), tmp_path / "model"
    tokenizer.save_pretrained(folder)
    size = {"dim": 32, "n_heads": 2, "n_layers": 1, "hidden_dim": 32}
    DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
    rows = rows_of(find("multiple-choice"), 20)
    settings = {**quick, "model": str(folder), "lora": True, "max_steps": 2}
    result = hfrecipes.run("multiple-choice", dataset=rows, output_dir=tmp_path / "run", **settings)
    saved = load_file(result.path / "adapter" / "adapter_model.safetensors")
    assert {"base_model.model.classifier.weight", "base_model.model.pre_classifier.weight"} <= set(saved)


def test_transformers_itself_loads_the_adapter_of_a_model_that_writes(tiny_llama, quick, tmp_path):
    from transformers import AutoModelForCausalLM

    rows = texts_alone(opinions(40))
    settings = {**quick, "model": tiny_llama, "lora": True}
    result = hfrecipes.run("text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(result.path).eval()(input_ids=ids).logits
        adapter = AutoModelForCausalLM.from_pretrained(result.path / "adapter").eval()(input_ids=ids).logits
    assert torch.allclose(merged, adapter, atol=1e-4)


def test_an_adapter_can_be_merged_later(adapted, tmp_path):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    alone = tmp_path / "elsewhere"
    shutil.copytree(adapted.path / "adapter", alone)
    for source, name in ((adapted.path, "whole"), (alone, "alone")):
        made = CliRunner().invoke(main, ["merge", str(source), str(tmp_path / name)])
        assert made.exit_code == 0, made.output
        assert close(
            adapted.predict(["the film was great"]), hfrecipes.load(tmp_path / name).predict(["the film was great"])
        )
    merged = tmp_path / "whole"
    for source, dest, said in (
        (merged, tmp_path / "other", "there is nothing to merge, it is a complete model already"),
        (alone, merged, "is not empty: choose another folder"),
        (tmp_path / "no", tmp_path / "other", "there is no run"),
    ):
        refused = CliRunner().invoke(main, ["merge", str(source), str(dest)])
        assert refused.exit_code == 2
        assert said in refused.output
    assert not (tmp_path / "other").exists()


# --- other methods than LoRA -------------------------------------------------------------------------------------

# What makes a method small enough for layers of 32.
SMALL = {
    "VBLORA": {"vector_length": 8, "num_vectors": 16},
    "MISS": {"r": 8},
    "ROAD": {"group_size": 16},
    "SHIRA": {"r": 4},
    "C3A": {"block_size": 16},
    "WAVEFT": {"n_frequency": 8},
    "FOURIERFT": {"n_frequency": 8},
    "PSOFT": {"r": 8},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
}


def methods() -> list[str]:
    """Every method that PEFT knows."""
    from peft import PeftType

    return [method.value for method in PeftType]


def fit(task: str) -> list[str]:
    from hfrecipes.registry import find

    return [
        method for method in methods() if not adapters.problems(AdapterSettings.of({"peft_type": method}), find(task))
    ]


def test_every_method_is_taken_or_refused_with_a_reason():
    assert len(fit("text-classification")) > 25
    assert {"LORA", "IA3", "VERA"} <= set(fit("token-classification"))
    assert not {"PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"} & set(fit("token-classification"))
    refused = set(methods()) - set(fit("text-classification"))
    assert refused >= {"ADALORA", "XLORA", "POLY"}
    for method in refused:
        with pytest.raises(ConfigError, match=f"lora.peft_type: found {method}, expected one of LORA, ") as error:
            configure("text-classification", {"lora": {"peft_type": method}})
        assert (adapter_settings._UNSUPPORTED.get(method, "")) in str(error.value)
    assert set(adapter_settings._UNSUPPORTED) <= refused
    with pytest.raises(ConfigError, match="PROMPT_TUNING does not fit token-classification"):
        configure("token-classification", {"lora": {"peft_type": "PROMPT_TUNING"}})
    with pytest.raises(ConfigError, match=r"lora.peft_type: found LORRA, expected one of .*did you mean LORA"):
        configure("text-classification", {"lora": {"peft_type": "lorra"}})
    with pytest.raises(ConfigError, match=r"unknown setting lora.vera_droput .did you mean lora.vera_dropout"):
        configure("text-classification", {"lora": {"peft_type": "VERA", "vera_droput": 0.1}})


def test_settings_of_adapters_are_read_once():
    assert AdapterSettings.of(False) is None
    assert AdapterSettings.of(True) == AdapterSettings("LORA", {})
    given = {"peft_type": "prompt_tuning", "num_virtual_tokens": 7}
    prompts = AdapterSettings.of(given)
    assert (prompts.method, prompts.is_prompt_learning, prompts.virtual_tokens) == ("PROMPT_TUNING", True, 7)
    assert given["peft_type"] == "prompt_tuning", "what the user gave stays as it is"
    assert AdapterSettings.of({"peft_type": "PREFIX_TUNING"}).virtual_tokens == 20
    vera = AdapterSettings.of({"peft_type": "VERA", "r": 4})
    assert (dict(vera.keywords), vera.is_prompt_learning, vera.virtual_tokens) == ({"r": 4}, False, 0)


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, str]:
    """A model that PEFT's tables know, and one that they lack and whose head has two layers."""
    from transformers import AutoModel, BertConfig, MPNetConfig

    known = {"vocab_size": len(make_tokenizer()), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    folders = {}
    for kind in (BertConfig, MPNetConfig):
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("bases") / kind.model_type
        AutoModel.from_config(kind(**known, intermediate_size=64, max_position_embeddings=64)).save_pretrained(folder)
        tokenizer = make_tokenizer()
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
        tokenizer.save_pretrained(folder)
        folders[kind.model_type] = str(folder)
    return folders


@pytest.mark.parametrize("method", fit("text-classification"))
def test_what_any_method_trained_predicts_the_same_after_reload(method, bases, quick, tmp_path):
    tried = {"LORA": ["bert", "mpnet"], "IA3": ["bert", "mpnet"], "PREFIX_TUNING": ["bert"]}.get(method, ["mpnet"])
    for name in tried:
        base = bases[name]
        settings = {**quick, "model": base, "max_steps": 2, "lora": {"peft_type": method, **SMALL.get(method, {})}}
        rows = {"train": opinions(32), "test": opinions(8, 1)}
        result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / name, **settings)
        texts = [row["text"] for row in rows["test"]]
        alone = tmp_path / f"{name}-adapter"
        before, again = result.predict(texts), hfrecipes.load(tmp_path / name).predict(texts)
        (tmp_path / name / "adapter").rename(alone)
        assert close(before, again)
        assert close(before, hfrecipes.load(alone).predict(texts))
        assert (tmp_path / name / "model.safetensors").exists() == (method not in adapter_settings.PROMPTS)
        number = json.loads((tmp_path / name / "run.json").read_text())["parameters"]
        assert 0 < number["trained"] < number["total"]


@pytest.mark.parametrize("method", adapter_settings.PROMPTS)
@pytest.mark.parametrize("task", ["text-generation", "text2text-generation"])
def test_models_that_write_can_be_given_virtual_tokens(method, task, quick, model_for, tmp_path):
    from hfrecipes.registry import find

    rows = rows_of(find(task), 24)
    lora = {"peft_type": method, **SMALL[method]}
    settings = {**quick, "model": model_for(find(task)), "lora": lora, "max_steps": 2, "max_length": 96}
    settings |= {"across_documents": True} if task == "text-generation" else {"max_target_length": 8}
    result = hfrecipes.run(task, dataset={"train": rows, "test": rows[:4]}, output_dir=tmp_path / "run", **settings)
    again = hfrecipes.load(tmp_path / "run")
    assert result.metrics["test"] == pytest.approx(again.evaluate(rows[:4]).metrics, rel=1e-3, abs=1e-3)
    inputs = []
    for row in rows[:2]:
        inputs.append({name: row[name] for name in input_columns(find(task))})
    assert close(result.predict(inputs), again.predict(inputs))


def test_a_model_that_takes_no_virtual_tokens_is_refused_before_training(bases, quick, tmp_path):
    settings = {**quick, "model": bases["mpnet"], "lora": {"peft_type": "PREFIX_TUNING"}, "dataset": opinions(40)}
    with pytest.raises(ConfigError, match="does not support past key values"):
        hfrecipes.build("text-classification", output_dir=tmp_path / "run", **settings)


def test_virtual_tokens_take_room_from_the_text(tiny_bert, quick, tmp_path):
    lora = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 40}
    rows = [{"text": "a " * 200, "label": "0"}, {"text": "a " * 200, "label": "1"}] * 20
    trainer = hfrecipes.build("text-classification", dataset=rows, output_dir=tmp_path / "run", lora=lora, **quick)
    assert len(trainer.train_dataset[0]["input_ids"]) == 64 - 40
    trainer.train()


@pytest.mark.parametrize("how", ["pissa", "olora", "orthogonal"])
def test_adapters_that_change_their_base_as_they_are_drawn_are_not_taken_for_others(how, tiny_bert, quick, tmp_path):
    """Some ways to draw an adapter take something off the base: it must be put back, or the run ends with an error."""
    rows = {"train": opinions(40), "test": opinions(8, 1)}
    settings = {**quick, "max_steps": 2, "lora": {"init_lora_weights": how}}
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    texts = [row["text"] for row in rows["test"]]
    assert close(result.predict(texts), hfrecipes.load(tmp_path / "run" / "adapter").predict(texts))


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"use_dora": "no"}, "lora.use_dora: found 'no' .str., expected true or false"),
        ({"r": 1.5}, "lora.r: found 1.5 .float., expected whole number"),
        (
            {"modules_to_save": "classifier"},
            "lora.modules_to_save: found classifier .str., expected list of texts or null",
        ),
        ({"rank_pattern": 3}, "lora.rank_pattern: found 3 .int., expected block of keys"),
        ({"task_type": "CAUSAL_LM"}, "lora.task_type: leave it out"),
        ({"layer_replication": [[0, 1]]}, "lora.layer_replication: leave it out"),
        ({"peft_type": "PREFIX_TUNING", "prefix_projection": True}, "lora.prefix_projection: leave it out"),
        ({"init_lora_weights": "eva"}, "lora.init_lora_weights: eva needs a pass over the rows before training"),
        ({"init_lora_weights": "corda"}, "lora.init_lora_weights: corda needs a pass over the rows before training"),
        ({}, "lora: found an empty block"),
    ],
)
def test_values_of_an_adapter_are_checked_before_anything_is_read(lora, said):
    with pytest.raises(ConfigError, match=said):
        configure("text-classification", {"lora": lora})


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"modules_to_save": ["poler"]}, "this model has no module poler .did you mean pooler"),
        ({"modules_to_save": ["embeddings"]}, "PEFT cannot save and load what these settings train"),
        ({"target_modules": "query"}, r"linear layers of this model are .*query.*lora.target_modules='\["),
        ({"target_modules": ["query", "valu"]}, "lora.target_modules: no layer is called valu .did you mean value"),
        ({"exclude_modules": ["quer"]}, "lora.exclude_modules: no layer is called quer .did you mean query"),
        ({"exclude_modules": "quer"}, "lora.exclude_modules: no layer is called quer .did you mean query"),
        ({"target_parameters": ["weigh"]}, "lora.target_parameters: no layer is called weigh .did you mean weight"),
        ({"rank_pattern": {"key": 4}}, "lora.rank_pattern: no layer is called key; there are query, value"),
        ({"alpha_pattern": {"^query": 4}}, r"lora.alpha_pattern: no layer is called \^query .*there are query, value"),
        ({"layers_to_transform": [0, 99]}, "lora.layers_to_transform: no adapted layer has the number 99; there are 0"),
        ({"trainable_token_indices": [0, 9999]}, "lora.trainable_token_indices: found 9999, expected the numbers 0 to"),
        ({"r": 10**6}, r"lora.r: found 1000000, expected \d+ at most, the size of the largest layer"),
        ({"rank_pattern": {"query": 10**6}}, r"lora.rank_pattern.query: found 1000000, expected \d+ at most"),
        ({"loftq_config": {"loftq_bits": 4}}, "`loftq_config` specified but will be ignored"),
        ({"peft_type": "IA3", "feedforward_modules": ["query"]}, "lora: `feedforward_modules` should be a subset"),
        (
            {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 60},
            "60 virtual tokens leave no room for a text in the 64 tokens of the model",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_the_model_is_refused_before_training(lora, said, quick, tmp_path):
    with pytest.raises(ConfigError, match=said):
        hfrecipes.build("text-classification", dataset=opinions(40), lora=lora, output_dir=tmp_path / "run", **quick)


def test_names_that_layers_have_are_taken(quick, tmp_path):
    names = {
        "target_modules": ["query", "attention.self.value"],
        "exclude_modules": ["encoder.layer.0.attention.self.key"],
    }
    ranks = {"rank_pattern": {"query": 2, r"layer\.\d+\.attention\.self\.value": 4}, "layers_to_transform": 0}
    lora = {**names, **ranks, "trainable_token_indices": {"word_embeddings": [5]}}
    hfrecipes.build("text-classification", dataset=opinions(40), lora=lora, output_dir=tmp_path / "run", **quick)


def test_weights_in_two_places_are_not_adapted_in_one(tiny_bert, quick, tmp_path):
    rows = texts_alone(opinions(40))
    lora = {"target_modules": ["word_embeddings", "query"]}
    with pytest.raises(ConfigError, match="word_embeddings shares its weights with another layer"):
        hfrecipes.build("fill-mask", dataset=rows, lora=lora, output_dir=tmp_path / "run", **quick)


def test_modules_that_are_to_be_saved_are_so_beside_those_that_are_new(tiny_bert, quick, tmp_path, caplog):
    """A list of the user's does not replace the new ones, is not written into, and does not hinder a resume."""
    lora, rows = {"modules_to_save": ["word_embeddings"]}, opinions(40)
    run = {**quick, "dataset": rows, "lora": lora, "output_dir": tmp_path / "run", "max_steps": 2}
    hfrecipes.run("text-classification", **run)
    assert lora == {"modules_to_save": ["word_embeddings"]}
    kept = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())["modules_to_save"]
    assert {"classifier", "embeddings.word_embeddings"} <= set(kept)
    caplog.clear()
    hfrecipes.run("text-classification", **run)
    assert "this run is complete" in caplog.text


def test_virtual_tokens_write_the_same_alone_and_beside_longer_prompts(tiny_llama, quick, tmp_path):
    settings = {**quick, "model": tiny_llama, "max_steps": 4, "max_new_tokens": 12, "max_length": 64}
    lora = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    rows = [{"text": f"{row['text']}."} for row in opinions(60)]
    trained = hfrecipes.run("text-generation", dataset=rows, lora=lora, output_dir=tmp_path / "run", **settings)
    short, long = "the", "the film was so very much better than all that we saw before it"
    assert trained.predict([short])[0]["generated_text"] == trained.predict([short, long])[0]["generated_text"]


def test_an_adapter_is_no_model_to_start_from(adapted, quick, tmp_path):
    run = {**quick, "model": str(adapted.path / "adapter"), "dataset": opinions(40), "output_dir": tmp_path / "run"}
    with pytest.raises(ModelError, match=r"is an adapter: start from .* hfrecipes merge"):
        hfrecipes.run("text-classification", **run)


# --- quantized bases ---------------------------------------------------------------------------------------------

FOUR_BITS = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


def test_a_quantized_model_is_refused_where_it_cannot_be_trained():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    model = {"path": "me/model", "quantization_config": FOUR_BITS}
    with pytest.raises(ConfigError, match=r"found no GPU, which it needs: leave it out"):
        configure("text-generation", {"model": model, "lora": True})
    with pytest.raises(ConfigError, match=r"quantized weights cannot be trained themselves: add lora=true"):
        configure("text-generation", {"model": model})


def test_a_quantized_model_needs_a_package_that_is_named(monkeypatch):
    from hfrecipes.models import loading

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    config = hfrecipes.RunConfig(task="chat", model={"path": "a", "quantization_config": FOUR_BITS}, lora=True)
    with pytest.raises(MissingPackageError, match=r"needs bitsandbytes: pip install bitsandbytes$"):
        loading.quantization_problems(config)


def test_unknown_keywords_of_a_quantization_are_named():
    from hfrecipes.models import loading

    config = hfrecipes.RunConfig(task="chat", model={"path": "a", "quantization_config": {"load_in_4bits": True}})
    with pytest.raises(ConfigError, match=r"unknown key load_in_4bits \(did you mean load_in_4bit"):
        loading.quantization_problems(config)


def test_what_was_trained_on_four_bits_is_merged_into_the_sixteen_bit_base(tmp_path, quick, monkeypatch, caplog):
    pytest.importorskip("bitsandbytes")
    from conftest import make_pieces, save_llama

    from hfrecipes.models import loading

    monkeypatch.setattr(loading, "quantization_problems", lambda config: [])
    rows = texts_alone(opinions(40))
    base = save_llama(make_pieces([row["text"] for row in rows]), tmp_path / "base", size=64)
    settings = {**quick, "model": {"path": base, "quantization_config": FOUR_BITS}, "lora": True, "max_steps": 3}
    result = hfrecipes.run("text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    assert "merged into the base in 16 bits: logits differ by" in caplog.text
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    inputs = [{"text": "the film was"}]
    for path in (tmp_path / "run", tmp_path / "run" / "adapter"):
        assert close(result.predict(inputs), hfrecipes.load(path).predict(inputs), 1e-2)
    number = json.loads((tmp_path / "run" / "run.json").read_text())["parameters"]
    whole = sum(weights.numel() for weights in hfrecipes.load(tmp_path / "run").trainer.model.parameters())
    assert number["total"] == pytest.approx(whole + number["trained"], rel=0.01)


@pytest.mark.parametrize("method", ["LORA", "IA3"])
def test_tokens_that_the_model_lacks_are_trained_or_it_is_printed_that_they_are_not(method, quick, tmp_path, caplog):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(quick["model"])
    tokenizer.add_tokens(["<place>", "<name>"])
    AutoModel.from_pretrained(quick["model"]).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{**row, "text": f"<place> {row['text']} <name>"} for row in opinions(40)]
    settings = {**quick, "model": str(tmp_path / "model"), "lora": {"peft_type": method}, "dataset": rows}
    trainer = hfrecipes.build("text-classification", output_dir=tmp_path / "build", **settings)
    before = trainer.model.get_input_embeddings()(torch.tensor([len(tokenizer) - 1])).detach().clone()
    trainer.train()
    after = trainer.model.get_input_embeddings()(torch.tensor([len(tokenizer) - 1])).detach()
    is_trained = method == "LORA"
    assert (float((after - before).abs().max()) > 1e-4) == is_trained
    assert ("embeddings: those of 2 new tokens are trained along with the adapters" in caplog.text) == is_trained
    assert ("those of new tokens stay random, because IA3 does not train tokens" in caplog.text) != is_trained
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    text = rows[0]["text"]
    for path in (result.path, result.path / "adapter"):
        assert close(result.predict(text), hfrecipes.load(path).predict(text)), path


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_added_tokens_in_a_table_with_rows_to_spare_are_trained_unless_the_model_knows_them(
    scale, quick, tmp_path, caplog
):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(quick["model"])
    tokenizer.add_tokens(["<place>", "<name>"])
    model = AutoModel.from_pretrained(quick["model"])
    model.resize_token_embeddings(len(tokenizer) + 6)
    rows = model.get_input_embeddings().weight.data
    rows[len(tokenizer) - 2 :] = rows[10] / 2  # as a table is left that was made larger than its tokenizer
    rows[len(tokenizer) - 2] *= scale
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    settings = {**quick, "model": str(tmp_path / "model"), "lora": True, "dataset": opinions(40)}
    trainer = hfrecipes.build("text-classification", output_dir=tmp_path / "build", **settings)
    number = 2 if scale < 1 else 1
    assert f"embeddings: those of {number} new token" in caplog.text
    assert "embeddings of added tokens such as <name> look untrained" in caplog.text
    trained = trainer.model.peft_config["default"].trainable_token_indices
    assert trained == list(range(len(tokenizer) - number, len(tokenizer)))
    edit = f"lora.trainable_token_indices=[{len(tokenizer) - 2}] trains them"
    kept = f"1 added token, such as <place>, look trained and stay as they are; {edit}"
    assert (kept in caplog.text) == (scale > 1)


def test_no_added_token_with_the_length_of_an_unused_row_stays_as_it_was_drawn(quick, tmp_path, caplog):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(quick["model"])
    tokenizer.add_tokens([f"<new {number}>" for number in range(40)])
    model = AutoModel.from_pretrained(quick["model"])
    model.resize_token_embeddings(len(tokenizer) + 2)
    rows = model.get_input_embeddings().weight.data
    torch.manual_seed(0)
    rows[-42:] = torch.randn_like(rows[-42:]) * 0.02  # as rows of a table are drawn, of which 2 are left
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    settings = {**quick, "model": str(tmp_path / "model"), "dataset": opinions(40)}
    trainer = hfrecipes.build("text-classification", output_dir=tmp_path / "build", lora=True, **settings)
    assert len(trainer.model.peft_config["default"].trainable_token_indices) == 40
    caplog.clear()
    lora = {"trainable_token_indices": [3]}
    hfrecipes.build("text-classification", output_dir=tmp_path / "given", lora=lora, **settings)
    assert "look untrained" not in caplog.text, "the user decides"


def add_tokens(folder: str, new_folder, auto: str, **settings) -> str:
    """A copy of a model whose tokenizer has two tokens that the model lacks."""
    import transformers

    auto_class = getattr(transformers, auto)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<place>", "<name>"])
    tokenizer.save_pretrained(new_folder)
    config = transformers.AutoConfig.from_pretrained(folder, **settings)
    auto_class.from_config(config).save_pretrained(new_folder)
    return str(new_folder)


@pytest.mark.parametrize("task", ["text-generation", "text2text-generation", "fill-mask"])
def test_new_tokens_of_a_model_that_shares_its_embeddings_are_trained(task, quick, model_for, tmp_path, caplog):
    from hfrecipes.registry import find

    auto = find(task).auto_model
    model = add_tokens(model_for(find(task)), tmp_path / "model", auto, tie_word_embeddings=True)
    rows = texts_alone(opinions(24))
    if task == "text2text-generation":
        rows = [{"input": f"<place> {row['text']}", "target": "a <name>"} for row in rows]
    else:
        rows = [{"text": f"<place> {row['text']} <name>"} for row in rows]
    settings = {**quick, "model": model, "lora": True, "max_steps": 2, "dataset": {"train": rows}}
    result = hfrecipes.run(task, output_dir=tmp_path / "run", **settings)
    assert "embeddings: those of 2 new tokens are trained along with the adapters" in caplog.text
    assert "reloaded merged model and adapter: same predictions as the trained model" in caplog.text
    assert result.path.exists()


@pytest.mark.parametrize("wanted", ["embed_tokens", "lm_head"])
def test_a_module_with_shared_weights_is_refused_and_not_left_out(wanted, tiny_llama, quick, tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(tiny_llama, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "model")
    settings = {**quick, "model": str(tmp_path / "model"), "lora": {"modules_to_save": [wanted]}}
    with pytest.raises(
        ConfigError, match=f"lora.modules_to_save: .*{wanted} shares its weights .*: leave it out, or set"
    ):
        hfrecipes.build("text-generation", dataset=texts_alone(opinions(24)), output_dir=tmp_path / "run", **settings)


def test_new_tokens_that_are_frozen_are_named(tiny_bert, quick, tmp_path, caplog):
    model = add_tokens(tiny_bert, tmp_path / "model", "AutoModel")
    settings = {**quick, "model": model, "freeze": "embeddings"}
    hfrecipes.build("text-classification", dataset=opinions(24), output_dir=tmp_path / "run", **settings)
    assert "embeddings: 2 new ones are frozen and stay random; leave freeze out to train them" in caplog.text
