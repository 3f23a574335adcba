"""Models of one or two small layers, made from a config: they train in a second, and need no network.

Their tokenizers are made of the characters that they are given, so that no text becomes unknown tokens.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipe import Recipe

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

ASCII = (*string.ascii_letters, *string.digits, *string.punctuation)
# Written in the template that chat models get by default.
_TURNS = "<|user|>\n<|assistant|>\n<|system|>\n"


def tiny_model(recipe: type[Recipe], folder: Path) -> str:
    """Save a model with a head for the task, and a tokenizer for its samples, in a folder.

    Args:
        recipe: The task.
        folder: Folder for model and tokenizer.

    Returns:
        The folder.
    """
    texts = list(_texts_in(recipe.samples))
    characters = dict.fromkeys([*ASCII, *sorted(set("".join(texts)) - {" ", "\n", "\t"})])
    if recipe.auto_model == "AutoModelForSeq2SeqLM":
        return save_encoder_decoder(character_tokenizer(characters), folder)
    if recipe.auto_model == "AutoModelForCausalLM":
        return save_decoder(byte_tokenizer(texts * 3), folder)
    words = re.findall(r"\w+", " ".join(texts).lower())
    # Without dropout, two trainings that should learn the same do so to the last digit.
    return save_encoder(word_tokenizer(characters, words), folder, dropout=0.0, max_position_embeddings=128)


def _texts_in(value: Any) -> Iterable[str]:
    """All texts in a row, a list or a block."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts_in(list(value.values()))
    elif isinstance(value, list):
        for entry in value:
            yield from _texts_in(entry)


# --- encoders ------------------------------------------------------------------------------------------------------


def word_tokenizer(characters: Collection[str], words: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer for encoders, with a mask token: whole words where it knows them, else characters.

    Args:
        characters: Characters that texts are made of, in the order of their ids.
        words: Words with ids of their own.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertTokenizerFast

    pieces = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters])
    pieces |= dict.fromkeys([f"##{character}" for character in characters])
    # Sorted, as the order of a set is another one in each process.
    pieces |= dict.fromkeys(sorted(set(words) - set(pieces)))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=backend)


def save_encoder(tokenizer: PreTrainedTokenizerFast, folder: Path, *, dropout: float = 0.05, **sizes: int) -> str:
    """Save a BERT of one layer and without a head in the folder, with the tokenizer.

    Args:
        tokenizer: One of `word_tokenizer`.
        folder: Folder for both.
        dropout: Probability of all dropouts.
        **sizes: Keywords of the config, in place of those here.
    """
    from transformers import BertConfig, BertModel

    default_sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }
    config = BertConfig(
        vocab_size=len(tokenizer),
        initializer_range=0.1,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **{**default_sizes, **sizes},
    )
    return _save(BertModel, config, tokenizer, folder)


# --- encoders with a decoder ---------------------------------------------------------------------------------------


def character_tokenizer(characters: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of single characters that ends each text, for models that generate text.

    Args:
        characters: Characters that texts are made of, in the order of their ids.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = dict.fromkeys(["<pad>", "</s>", "<unk>", "▁", *characters])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=256, **special)


def save_encoder_decoder(tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    """Save a T5 of two small layers in the folder, with the tokenizer.

    Args:
        tokenizer: One of `character_tokenizer`.
        folder: Folder for both.
    """
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return _save(T5ForConditionalGeneration, config, tokenizer, folder)


# --- decoders ------------------------------------------------------------------------------------------------------


def byte_tokenizer(texts: list[str], size: int = 400) -> PreTrainedTokenizerFast:
    """A tokenizer of pieces of the texts, down to bytes, whose only special token ends texts and serves as padding.

    Args:
        texts: Texts from which the pieces are learnt.
        size: Number of pieces.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*texts, *[_TURNS] * 9], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>", model_max_length=512
    )


def save_decoder(tokenizer: PreTrainedTokenizerFast, folder: Path, size: int = 32, layers: int = 1) -> str:
    """Save a Llama of a few small layers in the folder, with the tokenizer and without a chat template.

    Args:
        tokenizer: One of `byte_tokenizer`.
        folder: Folder for both.
        size: Width of the layers.
        layers: Number of layers.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size,
        intermediate_size=2 * size,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(LlamaForCausalLM, config, tokenizer, folder)


def _save(model: Any, config: PretrainedConfig, tokenizer: PreTrainedTokenizerFast, folder: Path) -> str:
    """Draw the weights of a model class, the same ones each time, and save them with the tokenizer."""
    import torch

    # The caller's random state stays unchanged.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
