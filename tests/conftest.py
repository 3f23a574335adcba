"""Tiny models made from a config, rows made in the test; no network."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tiny models gain nothing from threads, and test processes side by side would fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import gc
import importlib
import string
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rows import BAD, GOOD, THINGS, close, opinions, rows_of  # noqa: F401

from hfrecipes.contract.tiny_models import ASCII, character_tokenizer, save_encoder, word_tokenizer
from hfrecipes.contract.tiny_models import byte_tokenizer as make_pieces
from hfrecipes.contract.tiny_models import save_decoder as save_llama
from hfrecipes.contract.tiny_models import save_encoder_decoder as save_t5

if TYPE_CHECKING:
    from hfrecipes.contract.trial import Trial

# Whoever takes one of these is likely to train it, or to load it at least.
MODELS = {"tiny_bert", "tiny_t5", "tiny_llama", "model_for"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that take a model, through other fixtures too: `make quick` leaves them out."""
    for item in items:
        if MODELS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.model)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave the imported modules out of later garbage collections, and let no training begin with one.

    With all these modules in memory, one takes longer than the training of a tiny model.
    """
    if any(item.get_closest_marker("model") for item in session.items):
        importlib.import_module("hfrecipes.runner")
        importlib.import_module("peft")
        memory = importlib.import_module("accelerate.utils.memory")
        memory.gc = types.SimpleNamespace(collect=lambda: None)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def trial_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trial]:
    """Settings, rows and runs of a task, which tests share."""
    from hfrecipes.contract.trial import Trial

    return functools.cache(lambda task: Trial(task, tmp_path_factory.mktemp(task)))


def plan_of(task: str, settings: dict):
    """The plan of a run, which neither encodes rows nor loads a model."""
    from hfrecipes.training.configuration import configure
    from hfrecipes.training.plan import make_plan

    return make_plan(*configure(task, settings), Path(settings["output_dir"]))


def make_tokenizer(extra: str = ""):
    """A WordPiece tokenizer of characters and the words above."""
    characters = [*string.ascii_lowercase, *string.digits, *string.punctuation, *extra]
    return word_tokenizer(characters, [*GOOD, *BAD, *THINGS, "the", "was"])


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a BERT of one small layer and no head, that learns within seconds."""
    return save_encoder(make_tokenizer(), tmp_path_factory.mktemp("models") / "tiny-bert")


def make_letters():
    """A tokenizer of single characters that ends each text, for models that generate text."""
    return character_tokenizer([*ASCII, *"äöüßÄÖÜ"])


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small encoder and decoder that reads and writes letter by letter."""
    return save_t5(make_letters(), tmp_path_factory.mktemp("models") / "tiny-t5")


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
        monkeypatch.setattr("hfrecipes.flow.single.rehearse", lambda job, finish: None)


@pytest.fixture(autouse=True)
def pictures_where_they_are_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw pictures in modules that are marked so, and in other processes; it takes as long as a tiny run."""
    if not request.node.get_closest_marker("pictures"):
        monkeypatch.setattr("hfrecipes.reports.plots.are_available", lambda: False)


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
