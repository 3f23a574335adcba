"""What is said to be frozen, dropped or slowed down is, in every architecture; and no more than that."""

from __future__ import annotations

import pytest
import torch
from architectures import NAMES, config_for, group_of
from conftest import opinions, rows_of

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.models import regularization

HEADS = {
    "encoders": "AutoModelForSequenceClassification",
    "writers": "AutoModelForSeq2SeqLM",
    "decoders": "AutoModelForCausalLM",
}


def model_of(name: str):
    """A model of two layers or more."""
    import transformers

    torch.manual_seed(0)
    config = config_for(name)
    if group_of(name) == "writers":
        for layers in ("encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers"):
            setattr(config, layers, 2)
    return getattr(transformers, HEADS[group_of(name)]).from_config(config)


def trained(model) -> set[str]:
    return {name for name, weights in model.named_parameters() if weights.requires_grad}


def ids(parameters) -> set[int]:
    return {id(weights) for weights in parameters}


def all_trained(parameters) -> bool:
    return all(weights.requires_grad for weights in parameters)


def none_trained(parameters) -> bool:
    return not any(weights.requires_grad for weights in parameters)


def by_parameter(optimizer, setting: str) -> dict[int, float]:
    """A setting of the optimizer's groups, by the id of each parameter."""
    values = {}
    for group in optimizer.param_groups:
        for weights in group["params"]:
            values[id(weights)] = group[setting]
    return values


# --- freezing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_frozen_and_nothing_else(name):
    model = model_of(name)
    every = trained(model)
    regularization.freeze(model, "embeddings", [])
    assert not model.get_input_embeddings().weight.requires_grad
    frozen = every - trained(model)
    assert frozen
    # Names of layers and heads in all of these architectures.
    for part in (".layer.", ".layers.", ".h.", ".block.", "classif"):
        assert part not in " ".join(frozen)


@pytest.mark.parametrize("name", NAMES)
def test_lower_layers_are_frozen_with_the_embeddings(name):
    model = model_of(name)
    stacks = regularization.stacks(model)
    assert len(stacks) == (2 if group_of(name) == "writers" else 1)
    regularization.freeze(model, 1, [])
    for blocks in stacks:
        assert none_trained(blocks[0])
        for block in blocks[1:]:
            assert all_trained(block)
    assert not model.get_input_embeddings().weight.requires_grad
    with pytest.raises(ConfigError, match=r"freeze: found 9, expected \d at most, the layers of this model"):
        regularization.freeze(model, 9, [])


@pytest.mark.parametrize("name", [name for name in NAMES if group_of(name) == "encoders"])
def test_with_a_frozen_backbone_the_head_and_what_is_new_are_trained(name):
    model = model_of(name)
    new, _ = next(model.base_model.named_children())
    regularization.freeze(model, "backbone", [new])
    inside = ids(model.base_model.parameters())
    fresh = ids(getattr(model.base_model, new).parameters())
    for _, weights in model.named_parameters():
        assert weights.requires_grad == (id(weights) not in inside or id(weights) in fresh)


def test_a_model_of_which_nothing_is_left_to_train_is_refused():
    with pytest.raises(ConfigError, match="freeze: backbone leaves nothing of this model to train"):
        regularization.freeze(model_of("gpt2"), "backbone", [])


def test_frozen_weights_stay_as_the_checkpoint_has_them(tiny_bert, quick, tmp_path):
    from transformers import AutoModel

    result = hfrecipes.run(
        "text-classification", dataset=opinions(60), freeze="backbone", output_dir=tmp_path / "run", **quick
    )
    base, model = AutoModel.from_pretrained(tiny_bert).state_dict(), result.trainer.model.bert.state_dict()
    for name in base:
        assert torch.equal(base[name], model[name].cpu()), name
    assert "freeze: backbone" in (tmp_path / "run" / "recipe.yaml").read_text()


# --- layer-wise learning rates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_has_the_rate_of_its_depth_and_norms_and_biases_no_decay(name):
    import transformers

    model = model_of(name)
    arguments = transformers.TrainingArguments(
        output_dir="x", learning_rate=1.0, weight_decay=0.1, use_cpu=True, report_to="none"
    )
    trainer = transformers.Trainer(model, arguments)
    optimizer = regularization.layerwise_optimizer(trainer, 0.5)
    rates, decays = by_parameter(optimizer, "lr"), by_parameter(optimizer, "weight_decay")
    grouped = sum(len(group["params"]) for group in optimizer.param_groups)
    assert grouped == len(rates) == len(trained(model)), "each parameter is in one group"
    stacks = regularization.stacks(model)
    for blocks in stacks:
        for below, block in enumerate(reversed(blocks), 1):
            assert {rates[id(weights)] for weights in block} == {0.5**below}
    deepest = max(map(len, stacks)) + 1
    assert rates[id(model.get_input_embeddings().weight)] == 0.5**deepest
    assert optimizer.param_groups[0]["lr"] == max(rates.values()), "the rate that is logged is that of the head"
    assert decays == by_parameter(trainer.create_optimizer(), "weight_decay"), "decay is as the Trainer has it"
    for name, weights in model.named_parameters():
        if weights.ndim < 2:
            assert not decays[id(weights)], f"{name} is a norm or a bias, which are not decayed"


def test_rates_by_layer_survive_a_resume(quick, tmp_path):
    about = {
        "save_strategy": "steps",
        "save_steps": 2,
        "max_steps": 6,
        "layerwise_lr_decay": 0.5,
        "save_total_limit": 9,
    }
    settings = {**quick, **about, "dataset": {"train": opinions(64)}, "splits": {"validation": None}}
    whole = hfrecipes.build("text-classification", output_dir=tmp_path / "a", **settings)
    whole.train()
    resumed = hfrecipes.build("text-classification", output_dir=tmp_path / "b", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))
    for weights, again in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(weights, again)


def test_an_optimizer_that_makes_its_own_groups_is_refused(monkeypatch):
    import transformers

    model = model_of("bert")
    arguments = transformers.TrainingArguments(output_dir="x", use_cpu=True, report_to="none")
    trainer = transformers.Trainer(model, arguments)
    monkeypatch.setattr(trainer, "get_optimizer_cls_and_kwargs", lambda *_: (torch.optim.SGD, {"params": [], "lr": 1}))
    with pytest.raises(ConfigError, match="makes its own groups; use adamw_torch"):
        regularization.layerwise_optimizer(trainer, 0.9)


def test_experts_that_share_their_name_with_embeddings_are_none():
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    more = {
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
        "num_experts": 2,
        "num_experts_per_tok": 1,
    }
    model = Qwen2MoeForCausalLM(Qwen2MoeConfig(vocab_size=50, intermediate_size=16, **sizes, **more))
    every = trained(model)
    regularization.freeze(model, "embeddings", [])
    assert every - trained(model) == {"model.embed_tokens.weight"}


# --- dropout -----------------------------------------------------------------------------------------------------


def test_dropout_is_set_by_name_or_all_at_once(quick, tmp_path, caplog):
    settings = {**quick, "dataset": opinions(40)}
    named = hfrecipes.build(
        "text-classification", output_dir=tmp_path / "a", dropout={"classifier_dropout": 0.4}, **settings
    )
    assert named.model.dropout.p == 0.4
    assert named.model.bert.embeddings.dropout.p == 0.05
    assert "dropout: classifier_dropout None → 0.4" in caplog.text
    every = hfrecipes.build("text-classification", output_dir=tmp_path / "b", dropout=0.3, **settings)
    for module in every.model.modules():
        assert not isinstance(module, torch.nn.Dropout) or module.p == 0.3
    with pytest.raises(
        ConfigError, match=r"no hiden_dropout \(did you mean hidden_dropout_prob\?\); a model of type bert"
    ):
        hfrecipes.build("text-classification", output_dir=tmp_path / "c", dropout={"hiden_dropout": 0.1}, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_says_which_dropouts_it_has(name):
    config = config_for(name)
    settings = regularization.dropout_settings(0.25, config)
    assert settings
    assert set(settings.values()) == {0.25}
    assert "layerdrop" not in " ".join(settings)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"dropout": 1.0}, "expected probabilities from 0 to below 1"),
        ({"dropout": {"a": -0.1}}, "expected probabilities from 0 to below 1"),
        ({"freeze": 0}, "expected 1 layer or more"),
        ({"freeze": "head"}, "freeze: found head"),
        ({"layerwise_lr_decay": 1.5}, "expected a factor above 0, 1 at most"),
        ({"label_smoothing_factor": 1.5}, "label_smoothing_factor: found 1.5, expected a number from 0 to below 1"),
        ({"neftune_noise_alpha": -1}, "neftune_noise_alpha: found -1, expected a number above 0"),
        ({"early_stopping": {"early_stopping_patience": "x"}}, "early_stopping.early_stopping_patience: found x"),
        ({"freeze": 2, "lora": True}, "freeze: leave it out, lora freezes all but the adapters"),
    ],
)
def test_values_that_make_no_sense_are_refused_before_anything_is_read(option, said):
    from hfrecipes.training.configuration import configure

    with pytest.raises(ConfigError, match=said):
        configure("text-classification", option)


# --- the Trainer's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("task", ["text-classification", "text-generation", "translation"])
def test_noise_on_embeddings_is_for_training_alone(task, lora, model_for, quick, tmp_path):
    from hfrecipes.registry import find

    rows = rows_of(find(task), 24)
    settings = {**quick, "model": model_for(find(task)), "lora": lora, "max_steps": 2, "neftune_noise_alpha": 5.0}
    if task == "translation":  # a model that has learnt nothing writes until it is stopped
        settings["max_target_length"] = 16
    result = hfrecipes.run(task, dataset={"train": rows, "test": rows[:4]}, output_dir=tmp_path / "run", **settings)
    again = hfrecipes.load(tmp_path / "run").evaluate(rows[:4])
    assert result.metrics["test"] == pytest.approx(again.metrics)


@pytest.mark.parametrize(("metric", "greater"), [("brier", False), ("loss", False), ("f1_macro", True)])
def test_the_best_checkpoint_is_the_one_that_the_metric_calls_so(metric, greater, quick, tmp_path):
    trainer = hfrecipes.build(
        "text-classification",
        dataset=opinions(40),
        metric_for_best_model=metric,
        output_dir=tmp_path / "run",
        **quick,
    )
    assert trainer.args.greater_is_better is greater


# --- architectures with names of their own -----------------------------------------------------------------------


def odd_models() -> dict[str, torch.nn.Module]:
    """A model whose table of embeddings is called w, one with lists of tables, and one without any one table."""
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    paths = {"max_depth": 3, "xpath_unit_hidden_size": 4}
    configs = [
        transformers.CTRLConfig(vocab_size=64, n_embd=16, n_layer=2, n_head=2, dff=16, n_positions=40, pad_token_id=1),
        transformers.MarkupLMConfig(vocab_size=64, max_position_embeddings=40, **sizes, **paths),
        transformers.CanineConfig(local_transformer_stride=16, num_hash_buckets=64, **sizes),
    ]
    kind = transformers.AutoModelForSequenceClassification
    return {config.model_type: kind.from_config(config) for config in configs}


@pytest.mark.parametrize("name", ["ctrl", "markuplm", "canine"])
def test_embeddings_of_other_names_are_frozen_and_learn_slowest(name):
    model = odd_models()[name]
    depths = regularization._depths(model)
    try:
        tables = list(model.get_input_embeddings().parameters())
    except NotImplementedError:
        # CANINE has several tables.
        tables = [weights for part, weights in model.named_parameters() if "HashBucket" in part]
    assert tables
    for weights in tables:
        assert depths[id(weights)] == max(depths.values())
    heads = [weights for part, weights in model.named_parameters() if part.startswith("classifier")]
    assert not ids(heads) & set(depths)
    regularization.freeze(model, "embeddings", fresh=["classifier"])
    assert none_trained(tables)
    assert all_trained(heads)


def test_freezing_embeddings_that_are_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(regularization, "embeddings", lambda model: [])
    with pytest.raises(ConfigError, match="freeze: embeddings, but a model of type ctrl has no table of embeddings"):
        regularization.freeze(odd_models()["ctrl"], "embeddings", fresh=[])
