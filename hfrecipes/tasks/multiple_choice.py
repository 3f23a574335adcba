"""Choose the right one of several answers.

Endings (SWAG, CODAH), reading comprehension (RACE, DREAM), exam questions (ARC, CommonsenseQA), replies to a message.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..recipe import Batch, Column, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset

LETTERS = "ABCDEFGHIJ"
_BLANK = re.compile(r"(?<!\w)_+(?!\w)")
_NUMBERED = re.compile(r"(ending|choice|option|answer|sol|opt|alternative|candidate|reply)[ _]?(\d+)")


@dataclass(kw_only=True)
class MultipleChoice(Recipe):
    """Question and choices in, the number of the right choice out; rows may have 2 to 10 choices."""

    first_label: int | None = None
    """What labels that are numbers call the first choice, 0 or 1; read from the training rows where null."""

    task: ClassVar[str] = "multiple-choice"
    auto_model: ClassVar[str] = "AutoModelForMultipleChoice"
    columns: ClassVar[dict[str, Column]] = {
        "context": Column(("article", "passage", "premise", "dialogue", "文章"), optional=True),
        "question": Column(
            ("sent", "sentence", "question_stem", "goal", "ctx", "prompt", "query", "message", "startphrase", "问题")
        ),
        "choices": Column(("options", "endings", "candidates", "alternatives", "replies", "选项"), kind=["string"]),
        "label": Column(("answer", "answerKey", "answer_key", "correct", "target", "gold", "答案"), gold=True),
        "id": Column(("qid", "example_id", "question_id"), aside=True, kind=None),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = ({"context": "sent1", "question": "sent2"},)
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 16,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    }
    text: ClassVar[str] = "question"
    samples: ClassVar[list[Row]] = [
        {
            "question": "Is the kettle still on?",
            "choices": ["No, I turned it off.", "It is blue, I think."],
            "label": "0",
        },
        {
            "question": "Who let the cat in?",
            "choices": ["At the corner shop.", "Every other Tuesday.", "I did, it was raining."],
            "label": "2",
        },
        {"question": "When do we leave?", "choices": ["By the window.", "Right after lunch."], "label": "1"},
        {
            "question": "Can you lend me a ladder?",
            "choices": ["Yes, it is in the garage.", "She climbs well.", "Half past nine.", "Two of each."],
            "label": "0",
        },
    ]
    usage: ClassVar[str] = """\
import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForMultipleChoice.from_pretrained("{path}")
choices = {choices}
inputs = tokenizer(["{question}"] * len(choices), choices, padding=True, return_tensors="pt")
with torch.no_grad():
    logits = model(**{name: values[None] for name, values in inputs.items()}).logits
print(choices[int(logits.argmax())])
"""

    @property
    def best_metric(self) -> tuple[str, bool]:
        """Accuracy."""
        return "accuracy", True

    # --- choices and labels --------------------------------------------------------------------------------------

    @classmethod
    def gold_reads(cls) -> list[str]:
        """A label may be the text of a choice."""
        return ["choices", "label"]

    @classmethod
    def reshape(cls, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Choices in columns of their own, or with letters beside them, become a list."""
        own = {name.strip().lower(): name for name in columns}
        named, label = (
            next((own[name.lower()] for name in (column, *cls.columns[column].names) if name.lower() in own), None)
            for column in ("choices", "label")
        )
        if named is not None:
            with_letters = isinstance(columns[named], dict) and "text" in columns[named]
            return partial(_from_lettered, choices=named, label=label) if with_letters else None
        stems: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for name in own:
            if match := _NUMBERED.fullmatch(name):
                stems[match[1]].append((int(match[2]), own[name]))
        stem = max(stems, key=lambda one: len(stems[one]), default="")
        numbered = [name for _, name in sorted(stems[stem])]
        if len(numbered) < 2:
            numbered = [letter for letter in LETTERS if letter in columns]
        return partial(_from_columns, choices=numbered) if len(numbered) > 1 else None

    def study(self, train: Dataset) -> list[str]:
        """See whether labels count from 0 or from 1."""
        sizes = [len(choices or ()) for choices in train["choices"]]
        said = [f"choices: {' to '.join(map(str, sorted({min(sizes), max(sizes)})))} a row"] if sizes else []
        if self.first_label is not None:
            return said
        numbers = [_number(value) for value in train["label"]]
        known = [number for number in numbers if number is not None and number >= 0]
        past_end = any(number == size for number, size in zip(numbers, sizes, strict=True))
        self.first_label = int(past_end and 0 not in known)
        if self.first_label:
            said.append("label: counts the choices from 1; options.first_label changes that")
        return said

    def gold(self, row: Row) -> int | None:
        """Number of the right choice, from 0; None for a missing label, or -1."""
        place = self._place(row.get("label"), row.get("choices") or [])
        return place if place is not None and 0 <= place < len(row["choices"]) else None

    def _place(self, label: Any, choices: list[str]) -> int | None:
        """The choice that a number, a text or a letter means; -1 for one that is not there, None for no label."""
        text = "" if label is None or (isinstance(label, float) and math.isnan(label)) else str(label).strip()
        if text in ("", "-1"):
            return None
        if isinstance(label, str) and choices.count(label) == 1:
            return choices.index(label)
        if (number := _number(label)) is not None:
            return number - (self.first_label or 0)
        return LETTERS.find(text.upper()) if len(text) == 1 else -1

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Labels that are no choice, and rows that leave nothing to choose."""
        found: dict[str, list[int]] = defaultdict(list)
        for place, (choices, label) in enumerate(zip(rows["choices"], rows["label"], strict=True)):
            choices = choices or []
            if not 2 <= len(choices) <= len(LETTERS):
                found[f"there are {len(choices)} choices, expected 2 to {len(LETTERS)}"].append(place)
            elif any(choice is None or not choice.strip() for choice in choices):
                found["a choice is empty"].append(place)
            elif self._place(label, choices) is not None and self.gold({"choices": choices, "label": label}) is None:
                found[f"label {str(label)[:40]!r} is none of the choices"].append(place)
        return found

    def groups(self, rows: Dataset) -> Sequence[Any] | None:
        """The context, which several questions may share."""
        return [str(context) for context in rows["context"]] if "context" in rows.column_names else None

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of each choice behind its question; a gap `_` in the question is filled with the choice."""
        firsts, seconds = [], []
        contexts = batch.get("context") or [None] * len(batch["question"])
        for context, question, choices in zip(contexts, batch["question"], batch["choices"], strict=True):
            for choice in choices:
                gap = _BLANK.search(question)
                filled = f"{question[: gap.start()]}{choice}{question[gap.end() :]}" if gap else f"{question} {choice}"
                firsts.append(context or question)
                seconds.append(filled if context or gap else choice)
        sizes = [len(choices) for choices in batch["choices"]]
        tokens = self.tokenize(firsts, seconds, max_length=self.max_length)
        features: Batch = {name: _parts(values, sizes) for name, values in tokens.items()}
        features["length"] = [max(lengths) for lengths in features["length"]]
        features["cut"] = [any(cut) for cut in features["cut"]]
        features["choices"] = sizes
        if "label" in batch:
            pairs = zip(batch["choices"], batch["label"], strict=True)
            features["labels"] = [self.gold({"choices": choices, "label": label}) for choices, label in pairs]
        return features

    def collator(self) -> Callable[[list[Row]], Any]:
        """Pads texts, and rows of fewer choices with their first one, which the loss leaves out."""
        from transformers import DataCollatorWithPadding

        return partial(_collate, pad=DataCollatorWithPadding(self.tokenizer))

    def loss_function(self) -> Callable[..., Any] | None:
        """Cross entropy over the choices that a row has."""
        return _loss

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`label` (number of the choice, from 0), the `choice`, its `score`, and the `scores` of all."""
        predictions = []
        for row, logits, size in zip(rows, np.asarray(outputs, dtype=np.float64), encoded["choices"], strict=True):
            odds = np.exp(logits[:size] - logits[:size].max())
            scores = (odds / odds.sum()).tolist()
            best = int(np.argmax(scores))
            choice = row["choices"][best]
            predictions.append({"label": best, "choice": choice, "score": scores[best], "scores": scores})
        return predictions

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset, rows: Dataset) -> list[Row]:
        """The place where the right choice stands most often in the training rows."""
        pairs = zip(train["choices"], train["label"], strict=True)
        golds = [self.gold({"choices": choices, "label": label}) for choices, label in pairs]
        places = Counter(gold for gold in golds if gold is not None)
        most = max(sorted(places), key=places.__getitem__, default=0)
        return [
            {
                "label": place,
                "choice": choices[place],
                "score": 1.0,
                "scores": [float(i == place) for i in range(len(choices))],
            }
            for choices in rows["choices"]
            for place in [min(most, len(choices) - 1)]
        ]

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Numbers of the choices."""
        return [prediction["label"] for prediction in predictions], references

    def score(self, predictions: list[Row], references: list[Any]) -> dict[str, float]:
        """Accuracy, from 0 to 1."""
        from ..metrics import load

        predicted, gold = self.metric_inputs(predictions, references)
        return {"accuracy": load("accuracy").compute(predictions=predicted, references=gold)["accuracy"]}

    def resample(self, predictions: list[Row], references: list[Any], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The same for all resamples at once."""
        predicted, gold = self.metric_inputs(predictions, references)
        right = np.array([one == other for one, other in zip(predicted, gold, strict=True)], dtype=np.float64)
        return {"accuracy": weights @ right / weights.sum(1)}


def _number(value: Any) -> int | None:
    """Whole number that a cell holds, as 2, 2.0 or "2"."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _parts(values: list[Any], sizes: list[int]) -> list[list[Any]]:
    """The values of each row, of those of all its choices."""
    ends = np.cumsum(sizes).tolist()
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _collate(features: list[Row], pad: Callable[[list[Row]], Any]) -> Any:
    import torch

    sizes = [len(row["input_ids"]) for row in features]
    most = max(sizes)
    texts = [
        {name: row[name][place if place < size else 0] for name in row if name != "labels"}
        for row, size in zip(features, sizes, strict=True)
        for place in range(most)
    ]
    batch = {name: values.view(len(features), most, -1) for name, values in pad(texts).items()}
    if "labels" in features[0]:
        # The number of choices stands at the right one: what the loss must know, in as many labels as there are rows.
        batch["labels"] = torch.full((len(features), most), -100)
        for place, (row, size) in enumerate(zip(features, sizes, strict=True)):
            batch["labels"][place, row["labels"]] = size
    return batch


def _loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    import torch

    logits = outputs["logits"].float()
    sizes, right = labels.max(dim=1)
    there = torch.arange(logits.shape[1], device=logits.device) < sizes[:, None]
    losses = torch.nn.functional.cross_entropy(logits.masked_fill(~there, -torch.inf), right, reduction="sum")
    return losses / (len(labels) if num_items_in_batch is None else num_items_in_batch)


# --- published shapes ------------------------------------------------------------------------------------------------


def _from_lettered(batch: Batch, choices: str, label: str | None) -> Batch:
    """Choices as `{"text": […], "label": ["A", …]}`: the label of the row is one of those, and becomes a letter."""
    made = {**batch, choices: [None if cell is None else cell["text"] for cell in batch[choices]]}
    if choices != "choices":
        made["choices"] = made.pop(choices)
    if label:
        letters = [
            dict(zip(map(str, (cell or {}).get("label") or ()), LETTERS, strict=False)) for cell in batch[choices]
        ]
        made[label] = [own.get(str(value), value) for own, value in zip(letters, batch[label], strict=True)]
    return made


def _from_columns(batch: Batch, choices: list[str]) -> Batch:
    """A column a choice; an empty cell is none."""
    cells = zip(*(batch[name] for name in choices), strict=True)
    lists = [[str(cell) for cell in row if cell is not None and str(cell).strip()] for row in cells]
    return {**{name: values for name, values in batch.items() if name not in choices}, "choices": lists}
