"""Small models of every architecture, made from their configs."""

from __future__ import annotations

import json

from conftest import make_letters, make_pieces, make_tokenizer

from hfrecipes.recipe import Recipe
from hfrecipes.registry import find, list_tasks

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 140,
    "initializer_range": 0.1,
}
LAYERED = {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in (("layers", 1), ("ffn_dim", 64))}
BOTH = {**LAYERED, "d_model": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
DECODER = {**SMALL, "num_key_value_heads": 1, "head_dim": 16}
# Name of the model type -> what makes it small.
ENCODERS = {
    "bert": SMALL,
    "roberta": SMALL,
    "xlm-roberta": SMALL,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 140},
    "electra": {**SMALL, "embedding_size": 16},
    "albert": {**SMALL, "embedding_size": 16},
    "mpnet": SMALL,
    "deberta-v2": {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    "modernbert": {**SMALL, "num_hidden_layers": 3},
}
WRITERS = {
    "bart": {**BOTH, "max_position_embeddings": 140},
    "mbart": {**BOTH, "max_position_embeddings": 140},
    "marian": {**BOTH, "max_position_embeddings": 140},
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2},
}
DECODERS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 140},
    "llama": DECODER,
    "qwen2": DECODER,
    "mistral": DECODER,
    "gemma": DECODER,
}
GROUPS = {"encoders": ENCODERS, "writers": WRITERS, "decoders": DECODERS}
WITH_TYPES = {"bert", "electra", "albert", "deberta-v2"}
# transformers has a class for these, and they are left out: (models, task) -> why.
SEES_ALL, HALF = "sees what it is to guess", "its decoder alone; take a model that only decodes"
LOST = "transformers looks for the weights under other names, and would start from nothing"


def tasks_with(auto_model: str) -> list[str]:
    """Tasks whose models are of that class."""
    return [task for task in list_tasks() if find(task).auto_model == auto_model]


def holes() -> dict[tuple[str, str], str]:
    """Models and tasks that are left out, each with the reason."""
    left_out = {}
    for task in tasks_with("AutoModelForCausalLM"):
        if find(task).writer is not Recipe.writer:  # others are asked at a mask token
            left_out |= {(name, task): SEES_ALL for name in ENCODERS}
        left_out |= {(name, task): HALF for name in WRITERS}
    for task in tasks_with("AutoModelForQuestionAnswering"):
        left_out |= {(name, task): LOST for name in ("llama", "qwen2")}
    return left_out


HOLES = holes()


def tokenizer_for(name: str):
    from transformers import PreTrainedTokenizerFast

    if name in WRITERS:
        letters = make_letters()
        letters.add_special_tokens({"mask_token": "<mask>"})
        return letters
    if name in DECODERS:
        return make_pieces([json.dumps(row) for task in list_tasks() for row in find(task).samples])
    known = make_tokenizer()
    if name in WITH_TYPES:
        return known
    return PreTrainedTokenizerFast(
        tokenizer_object=known.backend_tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": getattr(known, f"{name}_token") for name in ("pad", "unk", "cls", "sep", "mask")},
    )


def config_for(name: str):
    from transformers import CONFIG_MAPPING

    tokenizer = tokenizer_for(name)
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    about = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": end,
        "eos_token_id": end,
        "vocab_size": len(tokenizer),
    }
    if name in WRITERS:
        about["decoder_start_token_id"] = end
    return CONFIG_MAPPING[name](**{**GROUPS[group_of(name)][name], **about})


def group_of(name: str) -> str:
    return next(group for group, models in GROUPS.items() if name in models)


def supported(name: str) -> list[str]:
    """Tasks that transformers has a head for."""
    import transformers

    kind = type(config_for(name))
    return [task for task in list_tasks() if kind in getattr(transformers, find(task).auto_model)._model_mapping]


NAMES = [name for models in GROUPS.values() for name in models]
