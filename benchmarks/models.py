"""Models to measure with: of random weights, from a config, with a tokenizer of the words of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hfrecipes.contract.tiny_models import ASCII, byte_tokenizer, word_tokenizer


def bert(folder: Path, words: Sequence[str], **sizes: int) -> str:
    """Save a BERT without a head, of the size of BERT-base if no other sizes are given."""
    from transformers import BertConfig, BertModel

    tokenizer = word_tokenizer(ASCII, words)
    tokenizer.model_max_length = 512
    # As many rows in the table of embeddings as BERT-base has: its optimizer states are part of what is measured.
    config = BertConfig(vocab_size=max(sizes.pop("vocab_size", 30522), len(tokenizer)), **sizes)
    return _save(BertModel(config), tokenizer, folder)


def llama(folder: Path, texts: Sequence[str], **sizes: int) -> str:
    """Save a Llama of 124 million weights, as GPT-2 has, if no other sizes are given."""
    from transformers import LlamaConfig, LlamaForCausalLM

    defaults = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12}
    tokenizer = byte_tokenizer(list(texts), size=4000)
    tokenizer.model_max_length = 1024
    sizes = {"vocab_size": 50257, "max_position_embeddings": 1024, **defaults, **sizes}
    config = LlamaConfig(
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **{**sizes, "vocab_size": max(sizes["vocab_size"], len(tokenizer))},
    )
    return _save(LlamaForCausalLM(config), tokenizer, folder)


def t5(folder: Path, words: Sequence[str], **sizes: int) -> str:
    """Save an encoder with a decoder, small enough for a CPU if no other sizes are given."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    pieces = {piece: number for number, piece in enumerate(["<pad>", "</s>", "<unk>", *words])}
    backend = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **special)
    defaults = {"d_model": 256, "d_kv": 32, "d_ff": 1024, "num_layers": 4, "num_heads": 8}
    config = T5Config(
        vocab_size=len(tokenizer),
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        **{**defaults, **sizes},
    )
    return _save(T5ForConditionalGeneration(config), tokenizer, folder)


def _save(model: Any, tokenizer: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
