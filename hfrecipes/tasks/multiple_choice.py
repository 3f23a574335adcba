"""Choose the right one of several answers.

Endings (SWAG, CODAH), reading comprehension (RACE, DREAM), exam questions (ARC, CommonsenseQA), replies to a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import calibration
from ..collate import padder
from ..data.batches import cells_of, rows_of
from ..data.shapes import choices as choice_shapes
from ..distilling.losses import soft_label_loss
from ..models.tokenizing import separate_pairs
from ..recipe import (
    HIGHER,
    IGNORED,
    Batch,
    CardTexts,
    Column,
    Finding,
    Measure,
    Metric,
    Recipe,
    Row,
    together,
)
from . import _abstention
from ._choice_texts import check_choices, collate, describe_sizes, encode_choices, sized_choice_loss

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

_LABELS = ("answer", "answerKey", "answer_key", "correct", "correct_answer", "correct_option", "cop", "target", "gold")
_USAGE = """\
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


@dataclass(kw_only=True)
class MultipleChoice(Recipe):
    """Question and choices in, the index of the right choice out; rows may have 2 to 26 choices."""

    label_form: choice_shapes.Form | None = None
    """Whether labels count the choices from 0 or 1, are letters, or the choice itself; inferred from train if null."""

    abstain: _abstention.Given | None = None
    """Which questions get no answer: the least sure ones, {share: 0.1}, or all beyond an error rate, {risk: 0.05}."""
    temperature_scaling: bool = False
    """Whether probabilities of choices are calibrated by temperature scaling, fitted on validation."""

    task: ClassVar[str] = "multiple-choice"
    auto_model: ClassVar[str] = "AutoModelForMultipleChoice"
    columns: ClassVar[dict[str, Column]] = {
        # Several questions may be about the same context.
        "context": Column(
            ("article", "passage", "premise", "dialogue", "dialog", "support", "文章"), optional=True, grouped=True
        ),
        "question": Column(
            ("sent", "sentence", "question_stem", "goal", "ctx", "prompt", "query", "message", "startphrase", "问题")
        ),
        "choices": Column(
            ("choice", "options", "endings", "candidates", "alternatives", "replies", "answers", "选项"),
            kind=["string"],
        ),
        "label": Column((*_LABELS, "答案"), reference=True),
        "id": Column(("qid", "example_id", "question_id"), passthrough=True, kind=None),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = ({"context": "sent1", "question": "sent2"},)
    # A row is as many texts as it has choices, so batches are smaller than elsewhere.
    defaults: ClassVar[dict[str, Any]] = {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 16}
    prediction: ClassVar[str | None] = "label"
    # `sizes`, the number of choices of each row, tells the loss which scores belong to choices that the row has.
    batch_features: ClassVar[dict[str, Any]] = {"sizes": "loss"}
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
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Choose the right one of several answers.",
        baseline="The position that is most often right in the training rows.",
        scores="Accuracy, from 0 to 1.",
        usage=_USAGE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _abstention.check_abstain(self.abstain)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The share of right answers, also among those that are given where some are not; how far scores are right."""
        of_answers = {} if self.abstain is None else _abstention.METRICS
        return {"accuracy": HIGHER} | of_answers | (calibration.METRICS if self.temperature_scaling else {})

    # --- choices and labels --------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """A row for each question, with its context as a text and its choices as a list of texts."""
        names = {name: [name, *column.names] for name, column in self.columns.items()}
        return choice_shapes.column_normalizer(columns, names["context"], names["choices"], names["label"])

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer what the labels are: the form that fits most rows."""
        sentences = describe_sizes(cells_of(train, "choices"))
        if self.label_form is None:
            cells = zip(cells_of(train, "label"), cells_of(train, "choices"), strict=True)
            self.label_form, doubt = choice_shapes.infer_form(cells)
            sentences.append(f"label: {choice_shapes.FORMS[self.label_form]}{doubt}; options.label_form changes that")
        return sentences

    def reference(self, row: Row) -> int | str | None:
        """Index of the right choice; the label itself where it matches no choice, None where the row has none."""
        return choice_shapes.right_choice(row.get("label"), row.get("choices") or [], self.label_form or "from_0")

    def check(self, rows: Dataset) -> Iterable[Finding]:
        """Rows without at least two choices, and labels that match none of the choices."""
        return check_choices(rows["choices"][:], map(self.reference, _row_by_row(rows)))

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Put something between two texts where the tokenizer puts nothing."""
        return separate_pairs(self)

    # --- rows to features ----------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of the question with each choice; a gap `_` in the question is filled with the choice."""
        features, sizes = encode_choices(self, batch.get("context"), batch["question"], batch["choices"])
        features["sizes"] = sizes
        if "label" in batch:
            rows = rows_of({"choices": batch["choices"], "label": batch["label"]})
            features["labels"] = [_label(self.reference(row)) for row in rows]
        return features

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Pads texts to the same length, and rows to the same number of choices."""
        return partial(collate, names=("labels", "sizes"), pad=padder(self))

    def loss(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy over the choices that a row has."""
        return partial(sized_choice_loss, label_smoothing=label_smoothing)

    def soft_loss(self) -> Callable[..., Any]:
        """Divergence from the teacher's probabilities of the choices."""
        return soft_label_loss

    # --- predictions and scores ----------------------------------------------------------------------------------

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`label` (index of the choice), the `choice`, its `score`, and the `scores` of all choices."""
        return self.predictions_of(self.soft_labels(outputs, encoded), rows)

    def soft_labels(self, logits: Any, encoded: Dataset) -> list[np.ndarray]:
        """Probabilities of the choices of each row."""
        shares = []
        for scores, size in zip(logits, encoded["sizes"], strict=True):
            # The largest logit is subtracted first, so that the exponential does not overflow.
            odds = np.exp(scores[:size].astype(np.float64) - scores[:size].max())
            shares.append(odds / odds.sum())
        return shares

    def soft_targets(self, soft_labels: list[np.ndarray], encoded: Dataset) -> list[np.ndarray]:
        """Those of the rows, each of which is one feature."""
        return soft_labels

    def predictions_of(self, soft_labels: list[np.ndarray], rows: Sequence[Row] | Dataset) -> list[Row]:
        """The most probable choice, and the probabilities of all."""
        predictions = []
        for row, shares in zip(rows, soft_labels, strict=True):
            scores = shares.tolist()
            best = int(np.argmax(scores))
            choice = row["choices"][best]
            predictions.append({"label": best, "choice": choice, "score": scores[best], "scores": scores})
        return predictions

    @property
    def tuned_options(self) -> list[str]:
        """Abstention, a temperature."""
        is_set = {"abstain": self.abstain is not None, "temperature_scaling": self.temperature_scaling}
        return [name for name, given in is_set.items() if given]

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """The temperature, and the probability after it below which there is no answer."""
        numbers: dict[str, float] = {}
        sentences: list[str] = []
        if self.temperature_scaling:
            ids = np.array(list(map(_label, references)), dtype=int)
            shares = calibration.side_by_side([row["scores"] for row in predictions])
            known = ids != IGNORED  # a label that is no text of a choice has no probability
            numbers, sentence = calibration.fit(calibration.loss_of(shares[known], ids[known]), int(known.sum()))
            sentences.append(sentence)
            predictions = _at_temperature(predictions, numbers)
        if isinstance(self.abstain, dict) and predictions:
            confidence = np.array([prediction["score"] for prediction in predictions])
            limit, sentence = _abstention.tune(confidence, _are_right(predictions, references), self.abstain)
            numbers, sentences = {**numbers, **limit}, [*sentences, sentence]
        return numbers, sentences

    def calibrated(self, predictions: list[Row], calibration: Mapping[str, float]) -> list[Row]:
        """The predictions with the probabilities after the temperature, and `abstained`, where the options ask."""
        return _abstention.with_abstention(_at_temperature(predictions, calibration), calibration)

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Accuracy, from 0 to 1; with abstention that of the answers, and their share; with a temperature log loss."""
        from ..metrics import _weighted

        is_right = _are_right(predictions, references)
        parts: list[Measure] = [lambda weights: {"accuracy": weights @ is_right / weights.sum(1)}]
        if self.abstain is not None:
            parts.append(_abstention.measure(predictions, is_right))
        if self.temperature_scaling:
            pairs = zip(predictions, map(_label, references), strict=True)
            chance = [row["scores"][index] if index != IGNORED else np.nan for row, index in pairs]
            parts.append(_weighted.log_loss(np.array(chance)))
            sure = np.array([prediction["score"] for prediction in predictions])
            parts.append(_weighted.calibration_error(sure, is_right))
        return together(parts)

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """The position at which the right choice is most often; the first one of several."""
        counts: Counter[int] = Counter()
        for row in _row_by_row(train):
            reference = self.reference(row)
            if isinstance(reference, int):
                counts[reference] += 1
        return {"position": max(sorted(counts), key=counts.__getitem__, default=0)}

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The choice at that position, or the last one of a row with fewer choices; each choice is as probable."""
        predictions = []
        for choices in cells_of(rows, "choices"):
            index = min(baseline["position"], len(choices) - 1)
            scores = [1 / len(choices)] * len(choices)
            predictions.append({"label": index, "choice": choices[index], "score": scores[index], "scores": scores})
        return predictions


def _row_by_row(rows: Dataset) -> Iterator[Row]:
    """Choices and label of each row."""
    return rows_of({name: cells_of(rows, name) for name in ("choices", "label")})


def _at_temperature(predictions: list[Row], numbers: Mapping[str, float]) -> list[Row]:
    """The predictions with the probabilities that the temperature gives, if there is one."""
    if "temperature" not in numbers:
        return predictions
    shares = calibration.side_by_side([row["scores"] for row in predictions])
    changed = []
    for row, scaled in zip(predictions, calibration.apply_temperature(shares, numbers["temperature"]), strict=True):
        scores = scaled[: len(row["scores"])].tolist()
        changed.append({**row, "score": scores[row["label"]], "scores": scores})
    return changed


def _are_right(predictions: list[Row], references: list[Any]) -> np.ndarray:
    """Whether each prediction is right; a reference that is a text matches no choice, and so its row is wrong."""
    pairs = zip(predictions, references, strict=True)
    return np.array([prediction["label"] == reference for prediction, reference in pairs])


def _label(reference: Any) -> int:
    """Index of the choice; a label that matches none of them is ignored by the loss, and counts as wrong."""
    return reference if isinstance(reference, int) else IGNORED
