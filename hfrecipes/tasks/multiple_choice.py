"""Choose the right one of several answers.

Endings (SWAG, CODAH), reading comprehension (RACE, DREAM), exam questions (ARC, CommonsenseQA), replies to a message.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.shapes import choices as choice_shapes
from ..losses import cross_entropy, over_batch
from ..recipe import Batch, Column, Measure, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

_BLANK = re.compile(r"(?<![A-Za-z0-9])_+(?![A-Za-z0-9])")


@dataclass(kw_only=True)
class MultipleChoice(Recipe):
    """Question and choices in, the number of the right choice out; rows may have 2 to 10 choices."""

    label_form: choice_shapes.Form | None = None
    """Whether labels count the choices from 0 or 1, are letters, or the choice itself; read from train where null."""

    task: ClassVar[str] = "multiple-choice"
    auto_model: ClassVar[str] = "AutoModelForMultipleChoice"
    columns: ClassVar[dict[str, Column]] = {
        "context": Column(("article", "passage", "premise", "dialogue", "文章"), optional=True),
        "question": Column(
            ("sent", "sentence", "question_stem", "goal", "ctx", "prompt", "query", "message", "startphrase", "问题")
        ),
        "choices": Column(
            ("options", "endings", "candidates", "alternatives", "replies", "answers", "选项"), kind=["string"]
        ),
        "label": Column(("answer", "answerKey", "answer_key", "correct", "target", "gold", "答案"), reference=True),
        "id": Column(("qid", "example_id", "question_id"), passthrough=True, kind=None),
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
    text: ClassVar[str | None] = None
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
    def reference_columns(cls) -> list[str]:
        """A label may be the text of a choice."""
        return ["choices", "label"]

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Choices in columns of their own, with letters beside them, or that are no texts, become a list of texts."""
        named = {column: [column, *self.columns[column].names] for column in ("choices", "label")}
        return choice_shapes.reshaper(columns, named["choices"], named["label"])

    def infer_labels(self, train: Dataset) -> list[str]:
        """See what labels are: the form that fits most rows."""
        pairs = [(row["label"], row["choices"] or []) for row in _row_by_row(train)]
        sizes = [len(choices) for _, choices in pairs]
        said = [f"choices: {' to '.join(map(str, sorted({min(sizes), max(sizes)})))} a row"] if sizes else []
        if self.label_form is not None:
            return said
        known = [(label, choices) for label, choices in pairs if not choice_shapes.is_missing(label)]
        fits = {
            form: sum(choice_shapes.place_of(label, choices, form) is not None for label, choices in known)
            for form in choice_shapes.FORMS
        }
        self.label_form = form = max(choice_shapes.FORMS, key=lambda one: fits[one])
        without_first = not any(choice_shapes.place_of(label, choices, "from_0") == 0 for label, choices in known)
        doubt = "; none of them is the first choice" if form == "from_0" and without_first else ""
        return [*said, f"label: {choice_shapes.FORMS[form]}{doubt}; options.label_form changes that"]

    def reference(self, row: Row) -> int | str | None:
        """Number of the right choice, from 0; the label as it is where it is none of them, None where there is none."""
        label, choices = row.get("label"), row.get("choices") or []
        if choice_shapes.is_missing(label):
            return None
        # A letter or a text among numbers is still one; a number is read in the one way alone.
        forms = [self.label_form or "from_0", *(("letter", "text") if choice_shapes.number_of(label) is None else ())]
        for form in forms:
            number = choice_shapes.place_of(label, choices, form)
            if number is not None:
                return number
        return str(label)

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Rows that leave nothing to choose."""
        problems: dict[str, list[int]] = defaultdict(list)
        for index, choices in enumerate(rows["choices"]):
            size = len(choices or ())
            if not 2 <= size <= len(choice_shapes.LETTERS):
                problems[f"there are {size} choices, expected 2 to {len(choice_shapes.LETTERS)}"].append(index)
        return problems

    def unknown_labels(self, rows: Dataset) -> dict[str, list[int]]:
        """Labels that are none of the choices."""
        unknown: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(_row_by_row(rows)):
            if isinstance(self.reference(row), str):
                unknown[f"label {str(row['label'])[:40]!r} is none of the choices"].append(index)
        return unknown

    def groups(self, rows: Dataset) -> Sequence[Any] | None:
        """The context, which several questions may share."""
        return [hash(context) for context in rows["context"]] if "context" in rows.column_names else None

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of each choice behind its question; a gap `_` in the question is filled with the choice."""
        sizes = [len(choices) for choices in batch["choices"]]
        contexts = batch.get("context") or [None] * len(sizes)
        rows = zip(contexts, batch["question"], batch["choices"], strict=True)
        parts = [self._pair(context, question, choice) for context, question, choices in rows for choice in choices]
        firsts, seconds, shortened = map(list, zip(*parts, strict=True))
        # The choice stands at the end of the second text, and is what must not be cut.
        tokens = self.tokenize(firsts, seconds, max_length=self.max_length, cut="only_first")
        features: Batch = {name: _parts(values, sizes) for name, values in tokens.items()}
        features["length"] = [max(lengths) for lengths in features["length"]]
        features["cut"] = [any(cut) for cut in _parts(list(map(max, tokens["cut"], shortened)), sizes)]
        features["choices"] = sizes
        if "label" in batch:
            features["labels"] = [_number(self.reference(row)) for row in _row_by_row(batch)]
        return features

    def _pair(self, context: str | None, question: str, choice: str) -> tuple[str, str, bool]:
        """First and second text of a choice, and whether one was shortened so that the choice has room."""
        # A quarter at least is left for the first text.
        room = (self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)) * 3 // 4
        kept, asked = self._kept(choice, room, from_end=False), question
        gap = _BLANK.search(question)
        if (context or gap) and len(f"{question}{kept}".encode()) >= room:
            asked = self._kept(question, room - self._size(kept) - 1, from_end=True)
            gap = _BLANK.search(asked)
        filled = f"{asked[: gap.start()]}{kept}{asked[gap.end() :]}" if gap else f"{asked} {kept}".lstrip()
        is_cut = kept != choice or asked != question
        return (context or question), (filled if context or _BLANK.search(question) else kept), is_cut

    def _size(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _kept(self, text: str, most: int, *, from_end: bool) -> str:
        """As much of the text as makes that many tokens, its end or its start."""
        if len(text.encode()) <= most or not self.tokenizer.is_fast:  # a token has a byte or more
            return text
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= most:
            return text
        if most <= 0:
            return ""
        return text[offsets[-most][0] :] if from_end else text[: offsets[most - 1][1]]

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Pads texts, and rows of fewer choices with their first one, which the loss leaves out."""
        from transformers import DataCollatorWithPadding

        return partial(_collate, pad=DataCollatorWithPadding(self.tokenizer, **self.padding()))

    def loss_function(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy over the choices that a row has."""
        return partial(_loss, label_smoothing=label_smoothing)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`label` (number of the choice, from 0), the `choice`, its `score`, and the `scores` of all."""
        predictions = []
        for row, logits, size in zip(rows, outputs, encoded["choices"], strict=True):
            odds = np.exp(logits[:size].astype(np.float64) - logits[:size].max())
            scores = (odds / odds.sum()).tolist()
            best = int(np.argmax(scores))
            choice = row["choices"][best]
            predictions.append({"label": best, "choice": choice, "score": scores[best], "scores": scores})
        return predictions

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """The place where the right choice stands most often in the training rows."""
        places = Counter(
            reference for reference in map(self.reference, _row_by_row(train)) if isinstance(reference, int)
        )
        most = max(sorted(places), key=places.__getitem__, default=0)
        return lambda rows: [_certain(choices, min(most, len(choices) - 1)) for choices in rows["choices"]]

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Numbers of the choices, -100 for a label that is none of them."""
        return [prediction["label"] for prediction in predictions], list(map(_number, references))

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Accuracy, from 0 to 1."""
        predicted, reference = self.metric_inputs(predictions, references)
        right = np.array([one == other for one, other in zip(predicted, reference, strict=True)], dtype=np.float64)
        return lambda weights: {"accuracy": weights @ right / weights.sum(1)}


def _row_by_row(columns: Any) -> Iterator[Row]:
    """Choices and label of each row."""
    for choices, label in zip(columns["choices"], columns["label"], strict=True):
        yield {"choices": choices, "label": label}


def _number(label: Any) -> int:
    """The choice, or -100 for a label that is none: it counts as wrong, and the loss ignores it."""
    return label if isinstance(label, int) else -100


def _certain(choices: list[str], place: int) -> Row:
    scores = [float(other == place) for other in range(len(choices))]
    return {"label": place, "choice": choices[place], "score": 1.0, "scores": scores}


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
            if row["labels"] >= 0:
                batch["labels"][place, row["labels"]] = size
    return batch


def _loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, label_smoothing: float = 0.0) -> Any:
    import torch

    known = labels.amax(dim=1) >= 0
    logits, labels = outputs["logits"][known].float(), labels[known]
    sizes, right = labels.max(dim=1)
    there = torch.arange(logits.shape[1], device=logits.device) < sizes[:, None]
    losses = cross_entropy(logits.masked_fill(~there, -torch.inf), right, label_smoothing, there)
    return over_batch(losses.sum(), max(len(labels), 1), num_items_in_batch)
