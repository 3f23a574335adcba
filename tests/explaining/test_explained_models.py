"""Encoders of every family are explained; models that look their tokens up in two places are refused."""

from __future__ import annotations

import pytest
import torch
from architectures import ENCODERS, config_for, tokenizer_for

from hfrecipes.errors import ModelError
from hfrecipes.evaluation.inference import Inference
from hfrecipes.explaining.explainer import Explainer
from hfrecipes.tasks.text_classification import TextClassification

TEXT = "the film was lovely, and 7 lamps"
WORDS = ["the", "film", "was", "lovely", ",", "and", "7", "lamps"]


def explained(config, tokenizer):
    from transformers import AutoModelForSequenceClassification

    recipe = TextClassification(max_length=64)
    recipe.labels = ["a", "b", "c"]
    recipe.tokenizer = tokenizer
    config.num_labels = 3
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    return Explainer(Inference.of(model, recipe, {"use_cpu": True})).explain({"text": TEXT}, {"label": "b"})


def sums_up(explanation) -> None:
    (target,) = explanation.targets
    difference = target.score - target.baseline_score
    assert sum(target.values) == pytest.approx(difference, abs=max(0.05 * abs(difference), 1e-3))
    assert any(target.values)
    assert not explanation.notes


@pytest.mark.parametrize("name", [*ENCODERS, "gpt2"])
def test_attributions_of_every_encoder_sum_up(name):
    explanation = explained(config_for(name), tokenizer_for(name))
    assert [word.text for word in explanation.words] == WORDS
    sums_up(explanation)


def test_a_model_that_looks_up_columns_is_explained_like_others():
    from transformers import XLNetConfig

    tokenizer = tokenizer_for("bert")
    tokenizer.padding_side = "left"
    config = XLNetConfig(
        vocab_size=len(tokenizer), d_model=32, n_layer=2, n_head=2, d_inner=64, pad_token_id=0, initializer_range=0.2
    )
    sums_up(explained(config, tokenizer))


def test_a_model_that_looks_up_more_than_the_text_is_explained_by_the_text():
    from transformers import LongformerConfig

    tokenizer = tokenizer_for("roberta")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = LongformerConfig(
        vocab_size=len(tokenizer),
        attention_window=8,  # the text is padded to a multiple of it inside the model
        max_position_embeddings=140,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    sums_up(explained(config, tokenizer))


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_an_encoder_with_a_decoder_is_refused_in_a_sentence(name):
    with pytest.raises(ModelError, match=f"predictions of a model of type {name} cannot be explained"):
        explained(config_for(name), tokenizer_for(name))
