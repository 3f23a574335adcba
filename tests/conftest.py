"""Tiny models made from a config, rows made in the test; no network."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tiny models gain nothing from threads, and test processes side by side would fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import string
from collections.abc import Callable
from pathlib import Path

import pytest
from rows import BAD, GOOD, THINGS, close, opinions, rows_of  # noqa: F401


def make_tokenizer(extra: str = ""):
    """A WordPiece tokenizer of letters and the words above."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertTokenizerFast

    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation, *extra]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    words = [word for word in {*GOOD, *BAD, *THINGS, "the", "was"} if word not in pieces]
    vocabulary = {piece: place for place, piece in enumerate([*pieces, *sorted(words)])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=backend)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a BERT of one small layer and no head, that learns within seconds."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
        hidden_dropout_prob=0.05,
        attention_probs_dropout_prob=0.05,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_letters():
    """A tokenizer of single letters that ends each text, for models that write."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    signs = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_letters, *string.digits, *string.punctuation, *"äöüßÄÖÜ"]
    backend = Tokenizer(models.BPE({sign: place for place, sign in enumerate(signs)}, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=256, **special)


def save_t5(tokenizer, folder: Path) -> str:
    """Leave an encoder and decoder of two small layers in the folder, with the tokenizer."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
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
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small encoder and decoder that reads and writes letter by letter."""
    return save_t5(make_letters(), tmp_path_factory.mktemp("models") / "tiny-t5")


def make_pieces(texts: list[str], size: int = 400):
    """A tokenizer of pieces of the texts, down to bytes, whose one special token ends texts and fills batches."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*texts, *["<|user|>\n<|assistant|>\n<|system|>\n"] * 9], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>", model_max_length=512
    )


def save_llama(tokenizer, folder: Path, size: int = 32, layers: int = 1) -> str:
    """Leave a decoder of a few small layers in the folder, with the tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
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
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a decoder of one small layer, without a chat template."""
    from hfrecipes.tasks.chat import Chat
    from hfrecipes.tasks.text_generation import TextGeneration

    texts = [row["text"] for row in TextGeneration.samples]
    texts += [turn["content"] for row in Chat.samples for turn in row["messages"]]
    return save_llama(make_pieces(texts * 3), tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def model_for(tiny_bert: str, tiny_t5: str, tiny_llama: str) -> Callable[[type], str]:
    """The tiny model that has a head for the task."""
    models = {"AutoModelForSeq2SeqLM": tiny_t5, "AutoModelForCausalLM": tiny_llama}
    return lambda kind: models.get(kind.auto_model, tiny_bert)


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what another one cached, and none writes into the checkout."""
    import logging

    import datasets

    monkeypatch.setattr(logging.getLogger("hfrecipes"), "propagate", True)  # for caplog
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets-cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def rehearsal_where_it_is_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are rehearsed in modules that are marked so, and in other processes; it takes half of a tiny run."""
    if not request.node.get_closest_marker("rehearsed"):
        monkeypatch.setattr("hfrecipes.runner.rehearse", lambda job, finish: None)


@pytest.fixture
def quick(tiny_bert: str) -> dict:
    """Settings of a run of a few seconds."""
    return {
        "model": tiny_bert,
        "learning_rate": 1e-2,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "bf16": False,
    }
