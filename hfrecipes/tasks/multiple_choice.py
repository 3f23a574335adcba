"""Choose the right one of several answers.

Endings (SWAG, CODAH), reading comprehension (RACE, DREAM), exam questions (ARC, CommonsenseQA), replies to a message.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..recipe import Batch, Column, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset

LETTERS = "ABCDEFGHIJ"
Form = Literal["from_0", "from_1", "letter", "text"]
# In the order in which a doubt is decided.
_FORMS: dict[Form, str] = {
    "from_0": "the number of the choice, counted from 0",
    "from_1": "the number of the choice, counted from 1",
    "letter": "the letter of the choice",
    "text": "the text of the choice",
}
_BLANK = re.compile(r"(?<!\w)_+(?!\w)")
_NUMBERED = re.compile(r"(ending|choice|option|answer|sol|opt|alternative|candidate|reply)[ _]?(\d+)")


@dataclass(kw_only=True)
class MultipleChoice(Recipe):
    """Question and choices in, the number of the right choice out; rows may have 2 to 10 choices."""

    label_form: Form | None = None
    """Whether labels count the choices from 0 or 1, are letters, or the choice itself; read from train where null."""

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
context, question, choices = "{context}", "{question}", {choices}
texts = [context or question] * len(choices)
endings = [question + " " + choice if context else choice for choice in choices]
inputs = tokenizer(texts, endings, padding=True, return_tensors="pt")
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
        """Choices in columns of their own, with letters beside them, or that are no texts, become a list of texts."""
        own = {name.strip().lower(): name for name in columns}
        named, label = (
            next((own[name.lower()] for name in (column, *cls.columns[column].names) if name.lower() in own), None)
            for column in ("choices", "label")
        )
        if named is not None:
            kind = columns[named]
            is_plain = getattr(getattr(kind, "feature", None), "dtype", None) in ("string", "large_string", "null")
            return None if is_plain or _is_scalar(kind) else partial(_from_choices, choices=named, label=label)
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
        """See what labels are: the form that fits most rows."""
        pairs = [(label, choices or []) for label, choices in zip(train["label"], train["choices"], strict=True)]
        sizes = [len(choices) for _, choices in pairs]
        said = [f"choices: {' to '.join(map(str, sorted({min(sizes), max(sizes)})))} a row"] if sizes else []
        if self.label_form is not None:
            return said
        known = [(label, choices) for label, choices in pairs if not _is_missing(label)]
        fits = {form: sum(_place(label, choices, form) is not None for label, choices in known) for form in _FORMS}
        self.label_form = form = max(_FORMS, key=lambda one: fits[one])
        without_first = not any(_place(label, choices, "from_0") == 0 for label, choices in known)
        doubt = "; none of them is the first choice" if form == "from_0" and without_first else ""
        return [*said, f"label: {_FORMS[form]}{doubt}; options.label_form changes that"]

    def gold(self, row: Row) -> int | None:
        """Number of the right choice, from 0; None for a missing label, or -1."""
        label, choices = row.get("label"), row.get("choices") or []
        if _is_missing(label):
            return None
        # A letter or a text among numbers is still one; a number is read in the one way alone.
        forms = [self.label_form or "from_0", *(("letter", "text") if _number(label) is None else ())]
        return next((place for form in forms if (place := _place(label, choices, form)) is not None), None)

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Labels that are no choice, and rows that leave nothing to choose."""
        found: dict[str, list[int]] = defaultdict(list)
        for place, (choices, label) in enumerate(zip(rows["choices"], rows["label"], strict=True)):
            choices = choices or []
            if not 2 <= len(choices) <= len(LETTERS):
                found[f"there are {len(choices)} choices, expected 2 to {len(LETTERS)}"].append(place)
            elif not _is_missing(label) and self.gold({"choices": choices, "label": label}) is None:
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


# --- labels ----------------------------------------------------------------------------------------------------------


def _is_missing(label: Any) -> bool:
    return label is None or str(label).strip() in ("", "-1", "-1.0", "nan")


def _place(label: Any, choices: list[str], form: str) -> int | None:
    """The choice that a label of this form means, from 0; None where it means none, or more than one."""
    text, number = str(label).strip(), _number(label)
    if form == "text":
        alike = [place for place, choice in enumerate(choices) if choice is not None and choice.strip() == text]
        return alike[0] if len(alike) == 1 else None
    if form == "letter":
        number = LETTERS.find(text.upper()) if len(text) == 1 else None
    elif number is not None:
        number -= form == "from_1"
    return number if number is not None and 0 <= number < len(choices) else None


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


def _from_choices(batch: Batch, choices: str, label: str | None) -> Batch:
    """Choices as dicts, as lists of dicts or as numbers; the label of the row becomes a letter where they have names.

    Such as `{"text": […], "label": ["A", …]}`, `[{"label": "A", "text": …}, …]` or `{"A": …, "B": …}`.
    """
    pairs = [_named_choices(cell) for cell in batch[choices]]
    made = {name: values for name, values in batch.items() if name != choices}
    made["choices"] = [None if one is None else [text for _, text in one] for one in pairs]
    if label:
        made[label] = [_letter(own, value) for own, value in zip(pairs, batch[label], strict=True)]
    return made


def _named_choices(cell: Any) -> list[tuple[str, Any]] | None:
    """Name and text of each choice; no names for a plain list."""
    if cell is None:
        return None
    if isinstance(cell, dict) and isinstance(cell.get("text"), list):
        texts = cell["text"]
        named = list(zip(map(str, cell.get("label") or [""] * len(texts)), texts, strict=False))
    elif isinstance(cell, dict):
        named = list(cell.items())
    else:
        dicts = [one if isinstance(one, dict) else {"text": one} for one in cell]
        named = [(str(one.get("label", "")), one.get("text")) for one in dicts]
    return _without_end([(name, None if text is None else str(text)) for name, text in named])


def _letter(own: list[tuple[str, Any]] | None, label: Any) -> Any:
    """The letter of the choice that the label names; the label itself where choices have no names, or others."""
    names = [name for name, _ in own or ()]
    if not any(names) or _is_missing(label):
        return label
    return LETTERS[names.index(str(label))] if str(label) in names else f"{label} (not in {', '.join(names)})"


def _from_columns(batch: Batch, choices: list[str]) -> Batch:
    """A column a choice; rows of fewer choices leave the last ones empty."""
    cells = zip(*(batch[name] for name in choices), strict=True)
    lists = [
        [text for _, text in _without_end([("", None if cell is None else str(cell)) for cell in row])] for row in cells
    ]
    return {**{name: values for name, values in batch.items() if name not in choices}, "choices": lists}


def _without_end(named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Without the empty ones behind the last choice; one between others stays, and is found at fault."""
    while named and not (named[-1][1] or "").strip():
        named.pop()
    return named


def _is_scalar(kind: Any) -> bool:
    return not isinstance(kind, dict) and not hasattr(kind, "feature")
