"""What is trained: rows of one task, encoded as the public examples of transformers encode them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .rows import Row

IGNORED = -100  # label that no loss counts


@dataclass(frozen=True)
class Job:
    """Rows, a model, and the settings that all ways share."""

    task: str
    model: str
    rows: Mapping[str, list[Row]]
    batch: int
    longest: int
    """Tokens of a row at most; the public way pads all rows to it."""
    epochs: float = 1
    learning_rate: float = 5e-5
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises."""
    seed: int = 42
    folder: Path | None = None
    """Files of the rows, by split."""

    @property
    def kind(self) -> Kind:
        """How the task is trained without hfrecipes."""
        return KINDS[self.task]

    @cached_property
    def labels(self) -> list[str]:
        """Names of the labels of texts, or of words; empty where the task has none."""
        column, names = self.kind.label_column, set()
        for row in self.rows["train"] if column else ():
            names.update(map(str, row[column] if isinstance(row[column], list) else [row[column]]))
        return sorted(names)


@dataclass(frozen=True)
class Kind:
    """How a task is trained with transformers alone."""

    auto_model: str
    encode: Callable[[Any, Job, list[Row], bool], dict[str, list[Any]]]
    """Features of rows, padded to the longest that is allowed where the last argument is true."""
    collator: str
    """Class of transformers that makes batches of features that are not padded."""
    score: str
    """What a trained model is scored by."""
    label_column: str = ""
    has_targets: bool = False
    """Whether labels are a text of their own."""
    pads: bool = True
    """Whether the public example pads all rows to the same length by default."""


def tokens_in(job: Job, features: Mapping[str, list[Any]]) -> int:
    """Number of tokens without padding; those of targets that have a row of their own are tokens too."""
    masks = features.get("attention_mask")
    number = sum(map(len, features["input_ids"])) if masks is None else sum(map(sum, masks))
    if job.kind.has_targets:
        number += sum(map(len, features["labels"]))
    return int(number)


def load_model(job: Job) -> Any:
    """The model with a new head, the same for a seed that was set before."""
    import transformers

    names = {"id2label": dict(enumerate(job.labels))} if job.labels else {}
    return getattr(transformers, job.kind.auto_model).from_pretrained(job.model, **names)


def load_tokenizer(job: Job) -> Any:
    """The tokenizer of the model."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(job.model)


# --- encoding --------------------------------------------------------------------------------------------------------


def _padding(job: Job, padded: bool) -> dict[str, Any]:
    return {"truncation": True, "max_length": job.longest, "padding": "max_length" if padded else False}


def _texts(tokenizer: Any, job: Job, rows: list[Row], padded: bool) -> dict[str, list[Any]]:
    encoded = tokenizer([row["text"] for row in rows], **_padding(job, padded))
    return {**encoded, "labels": [job.labels.index(str(row["label"])) for row in rows]}


def _words(tokenizer: Any, job: Job, rows: list[Row], padded: bool) -> dict[str, list[Any]]:
    """The tag of a word at its first piece."""
    encoded = tokenizer([row["tokens"] for row in rows], is_split_into_words=True, **_padding(job, padded))
    labels = []
    for index, row in enumerate(rows):
        before, of_row = None, []
        for word in encoded.word_ids(index):
            is_first = word is not None and word != before
            of_row.append(job.labels.index(row["tags"][word]) if is_first else IGNORED)
            before = word
        labels.append(of_row)
    return {**encoded, "labels": labels}


def _windows(tokenizer: Any, job: Job, rows: list[Row], padded: bool) -> dict[str, list[Any]]:
    """Windows of the contexts, with first and last token of the answer, 0 where a window does not hold it."""
    settings = {**_padding(job, padded), "truncation": "only_second", "stride": 128}
    questions, contexts = [row["question"] for row in rows], [row["context"] for row in rows]
    encoded = tokenizer(questions, contexts, return_overflowing_tokens=True, return_offsets_mapping=True, **settings)
    source, offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
    starts, ends = [], []
    for window, row in enumerate(source):
        answers = rows[row]["answers"]
        begin = answers["answer_start"][0]
        parts = encoded.sequence_ids(window)
        start, end = _span(offsets[window], parts, begin, begin + len(answers["text"][0]))
        starts.append(start)
        ends.append(end)
    return {**encoded, "start_positions": starts, "end_positions": ends}


def _span(offsets: list[tuple[int, int]], parts: list[int | None], begin: int, end: int) -> tuple[int, int]:
    """First and last token of the characters, 0 and 0 if they are not there."""
    inside = []
    for token, (start, stop) in enumerate(offsets):
        if parts[token] == 1 and start < end and stop > begin:
            inside.append(token)
    return (inside[0], inside[-1]) if inside else (0, 0)


def _targets(tokenizer: Any, job: Job, rows: list[Row], padded: bool) -> dict[str, list[Any]]:
    """Documents and summaries; the public example does not pad them by default either."""
    encoded = tokenizer([row["document"] for row in rows], **_padding(job, False))
    labels = tokenizer(text_target=[row["summary"] for row in rows], truncation=True, max_length=128)
    return {**encoded, "labels": labels["input_ids"]}


def _blocks(tokenizer: Any, job: Job, rows: list[Row], padded: bool) -> dict[str, list[Any]]:
    """All texts one after the other, cut into blocks without any padding."""
    stream: list[int] = []
    for ids in tokenizer([row["text"] for row in rows], add_special_tokens=False)["input_ids"]:
        stream += [*ids, tokenizer.eos_token_id]
    whole = range(0, len(stream) - job.longest + 1, job.longest)
    blocks = [stream[start : start + job.longest] for start in whole]
    return {"input_ids": blocks, "labels": [list(block) for block in blocks]}


KINDS = {
    "text-classification": Kind(
        "AutoModelForSequenceClassification", _texts, "DataCollatorWithPadding", "accuracy", label_column="label"
    ),
    "token-classification": Kind(
        "AutoModelForTokenClassification", _words, "DataCollatorForTokenClassification", "f1", label_column="tags"
    ),
    "question-answering": Kind("AutoModelForQuestionAnswering", _windows, "DataCollatorWithPadding", "exact"),
    "summarization": Kind(
        "AutoModelForSeq2SeqLM", _targets, "DataCollatorForSeq2Seq", "loss", has_targets=True, pads=False
    ),
    "text-generation": Kind("AutoModelForCausalLM", _blocks, "DefaultDataCollator", "loss", pads=False),
}
