"""Give each text, or pair of texts, a label, several labels, or a number.

Sentiment, topics, intents, paraphrase and entailment (one label), tags and emotions (several), similarity (a number).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import calibration
from .. import losses as losses_module
from ..data.shapes.labels import (
    MULTI,
    REGRESSION,
    SINGLE,
    ProblemType,
    any_list,
    are_indicators,
    as_number,
    is_missing,
    label_name,
    ordered,
    problem_type_of,
)
from ..errors import ConfigError
from ..losses import ItemLoss, over_batch, token_loss
from ..models.heads import unit_of
from ..recipe import Batch, Column, Measure, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset

THRESHOLD = 0.5
FEW = 6  # labels that are named


def _words(words: str) -> tuple[str, ...]:
    return tuple(words.split())


@dataclass(kw_only=True)
class TextClassification(Recipe):
    """Text in, label out; labels decide whether it is one of many, any of many, or a number."""

    problem_type: ProblemType | None = None
    """Kind of label, as `config.problem_type` of transformers spells it; read from the labels where null."""
    class_weights: losses_module.ClassWeights | None = None
    """Weight of each label in the loss: `balanced` by how rare it is, or a number by label, 1 for the others."""
    focal_gamma: float = 0.0
    """How much less the loss heeds what the model is sure of (focal loss); 2 is usual, 0 turns it off."""
    logit_adjustment: float = 0.0
    """How far predictions are freed of the labels' frequency in train; 1 wholly, 0 not at all."""
    threshold: float | None = None
    """Probability above which one of several labels is given; null tunes one for each label on validation."""
    temperature_scaling: bool = False
    """Whether probabilities are calibrated on validation, by one temperature that their logits are divided by."""

    task: ClassVar[str] = "text-classification"
    auto_model: ClassVar[str] = "AutoModelForSequenceClassification"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column(
            _words(
                "sentence review content comment tweet message utterance question document body headline"
                " review_text text_a 文本 内容 评论 句子"
            )
        ),
        "text_pair": Column(optional=True),
        "label": Column(
            _words(
                "labels category class target intent sentiment emotion topic score stars rating gold_label 标签 类别"
            ),
            reference=True,
            kind=None,
        ),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = tuple(
        {"text": first, "text_pair": second}
        for first, second in [
            ("sentence1", "sentence2"),
            ("premise", "hypothesis"),
            ("question1", "question2"),
            ("question", "sentence"),
            ("question", "passage"),
            ("text_a", "text_b"),
            ("text1", "text2"),
            ("text", "text2"),
            ("sentence", "sentence2"),
            ("question", "context"),
            ("question", "answer"),
            ("sentence_a", "sentence_b"),
            ("sent1", "sent2"),
            ("query", "passage"),
            ("query", "document"),
        ]
    )
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 64,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    }
    lora: ClassVar[str | None] = "SEQ_CLS"
    samples: ClassVar[list[Row]] = [
        {"text": "My parcel was due on Monday and it is Thursday now.", "label": "delivery"},
        {"text": "The zip was broken when I opened the bag.", "label": "damaged"},
        {"text": "Could you tell me which depot has my box?", "label": "delivery"},
        {"text": "There is a crack right across the lid.", "label": "damaged"},
    ]
    usage: ClassVar[str] = """\
from transformers import pipeline

classify = pipeline("text-classification", "{path}")
print(classify("{text}", top_k=None))
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen: set[str] = set()  # labels that stand in the training rows; the dataset may know more
        self.trained_rows = 0
        losses_module.check(self)
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold: {self.threshold}, expected a probability between 0 and 1")

    @property
    def best_metric(self) -> tuple[str, bool]:
        """Accuracy, LRAP or Pearson's r.

        LRAP, since it moves from the start, and does not depend on thresholds that are tuned on the same rows.
        """
        return {MULTI: "lrap", REGRESSION: "pearsonr"}.get(self.problem_type or SINGLE, "accuracy"), True

    @property
    def headline(self) -> tuple[str, ...]:
        """The usual scores, and one that sees what they do not: small classes, ranks, how far off numbers are."""
        shown = {MULTI: ("f1_micro", "f1_macro", "lrap"), REGRESSION: ("pearsonr", "spearmanr", "mae", "r2")}
        return shown.get(self.problem_type or SINGLE, ("accuracy", "f1_macro"))

    # --- labels --------------------------------------------------------------------------------------------------

    def infer_labels(self, train: Dataset) -> list[str]:
        """Read the kind of problem and the labels from the training rows."""
        values = [value for value in train["label"] if not is_missing(value)]
        guessed = self.problem_type is None
        self.problem_type = self.problem_type or (
            SINGLE if self.labels and not any_list(values) else problem_type_of(values)
        )
        if self.problem_type == REGRESSION:
            self.labels = []
            losses_module.refuse(
                self, "a number is no label", [*losses_module.OPTIONS, "threshold", "temperature_scaling"]
            )
            numbers = [number for number in map(as_number, values) if number is not None]
            return [_said(guessed, f"regression, labels from {min(numbers):g} to {max(numbers):g}")] if numbers else []
        flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
        self.seen = {label_name(one) for one in flat if not is_missing(one)}
        self.labels = self.labels or ordered(self.seen)
        what = "one label a text" if self.problem_type == SINGLE else "any number of labels a text"
        shown = ", ".join(self.labels[:6]) + (", …" if len(self.labels) > 6 else "")
        said = _said(guessed, f"{what}, {len(self.labels)} labels: {shown}")
        if self.problem_type == SINGLE:
            losses_module.refuse(self, "it is for texts that may have several labels", ["threshold"])
        else:
            losses_module.refuse(self, "it is for texts that have one label", ["logit_adjustment"])
        return [said]

    def label_counts(self, train: Dataset) -> list[str]:
        """Rows of each label, and the weights that follow; of numbers their mean and spread."""
        if self.problem_type == REGRESSION:
            numbers = [number for number in map(as_number, train["label"]) if number is not None]
            self.number_scale = (float(np.mean(numbers)), unit_of(float(np.std(numbers))))
            return []
        references = [
            reference for value in train["label"] if (reference := self.reference({"label": value})) is not None
        ]
        self.trained_rows = len(references)
        names = (one for reference in references for one in (reference if isinstance(reference, list) else [reference]))
        return losses_module.check_class_weights(self, Counter(names))

    def reference(self, row: Row) -> Any:
        """Label name, list of names in the order of predictions, or number; None for a missing label.

        None for -1, too, where that is no label.
        """
        value = row.get("label")
        if is_missing(value):
            return None
        if self.problem_type == REGRESSION:
            return as_number(value)
        if self.problem_type == MULTI:
            if not isinstance(value, list):
                return [f"no list: {value}"]  # which is no label, and counts as wrong
            names = dict.fromkeys(self._known(label_name(one)) for one in value)
            known = [name for name in self.labels if name in names]
            return [*known, *(name for name in names if name not in self.labels)]
        name = self._known(label_name(value))
        return None if name == "-1" and name not in self.labels else name

    def _known(self, name: str) -> str:
        """The label that `name` means: 1.0 is label 1."""
        if name in self.labels or (number := as_number(name)) is None or not number.is_integer():
            return name
        return str(int(number)) if str(int(number)) in self.labels else name

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Labels of another form in all rows, or no two labels."""
        if self.problem_type == REGRESSION:
            return {}
        if self.problem_type == MULTI and are_indicators(rows["label"][:]):
            return {"label is a vector of 0 and 1; give lists of names": list(range(len(rows)))}
        if len(self._learnt) < 2:
            return {f"only one label, {', '.join(self._learnt) or 'none'}: expected two or more": []}
        names = set()
        for value in rows["label"]:
            names |= set(self._names(value))
        if len(names) > 1 and not names & self._learnt:  # spelled otherwise, as 0 and 1 for bad and good
            shown = ", ".join(sorted(names)[:FEW])
            return {f"none of the labels {shown} stands in train, which has {', '.join(self.labels[:FEW])}": []}
        return {}

    def label_problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Values that are no labels of this kind."""
        problems: dict[str, list[int]] = defaultdict(list)
        for index, value in enumerate(rows["label"]):
            if is_missing(value):
                continue
            if self.problem_type == REGRESSION:
                if as_number(value) is None:
                    problems[f"label {str(value)[:40]!r} is no number"].append(index)
            elif isinstance(value, list) != (self.problem_type == MULTI):
                problems["label is a list in some rows and one value in others, or no list of labels"].append(index)
            elif isinstance(value, list) and any(map(is_missing, value)):
                problems["a list of labels has an empty cell"].append(index)
        return problems

    def unknown_labels(self, rows: Dataset) -> dict[str, list[int]]:
        """Labels that train lacks."""
        problems: dict[str, list[int]] = defaultdict(list)
        learnt = self._learnt
        for index, value in enumerate(rows["label"]):
            for name in dict.fromkeys(self._names(value)):
                if name not in learnt:
                    problems[f"label {name!r} is unknown to the training rows"].append(index)
        return problems

    def untrainable(self, rows: Dataset) -> dict[str, list[int]]:
        """Lists that name a label twice, which counts once where it is scored."""
        named = [self._names(value) for value in rows["label"]]
        twice = [index for index, names in enumerate(named) if len(set(names)) < len(names)]
        return {"a label stands twice in one row": twice} if twice else {}

    @property
    def _learnt(self) -> set[str]:
        """Labels that stand in the training rows; of a model that was loaded, all that it has."""
        return self.seen or set(self.labels)

    def _names(self, value: Any) -> list[str]:
        """Labels that a raw value of the right kind names; none where it is missing, or of another kind."""
        if self.problem_type == REGRESSION or isinstance(value, list) != (self.problem_type == MULTI):
            return []
        if isinstance(value, list):
            return [self._known(label_name(one)) for one in value if not is_missing(one)]
        reference = self.reference({"label": value})
        return [] if reference is None else [reference]

    def strata(self, rows: Dataset) -> Sequence[Any] | None:
        """The label, where there is one of many."""
        return [self.reference({"label": value}) for value in rows["label"]] if self.problem_type == SINGLE else None

    def model_settings(self) -> dict[str, Any]:
        """Label names and problem type."""
        if self.problem_type == REGRESSION:
            return {"num_labels": 1, "problem_type": REGRESSION}
        return {
            "num_labels": len(self.labels),
            "id2label": dict(enumerate(self.labels)),
            "label2id": {name: place for place, name in enumerate(self.labels)},
            "problem_type": self.problem_type,
        }

    def purpose(self) -> str:
        """What each text is given."""
        number = len(self.labels)
        given: dict[Any, str] = {REGRESSION: "a number", MULTI: f"as many of {number} labels as fit"}
        return f"Gives each text, or pair of texts, {given.get(self.problem_type, f'one of {number} labels')}."

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of the text, or of both texts; the longer one is cut first."""
        features = self.tokenize(batch["text"], batch.get("text_pair"), max_length=self.max_length)
        if "label" in batch:
            features["labels"] = [self._target(self.reference({"label": value})) for value in batch["label"]]
        return features

    def _target(self, reference: Any) -> Any:
        """Number, row of 0 and 1, or label id; -100 for a label that train lacks, which the loss ignores."""
        if self.problem_type == REGRESSION:
            return float(reference)
        if self.problem_type == MULTI:
            return [float(name in reference) for name in self.labels]
        return self.labels.index(reference) if reference in self.labels else -100

    def loss_function(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy, of each label by itself where there may be several; squared error of numbers."""
        if self.problem_type == REGRESSION:
            if label_smoothing:
                raise ConfigError("label_smoothing_factor: leave it out, a number is no label")
            return partial(_loss, item_loss=_squared_error)
        if self.problem_type == MULTI:
            return partial(_loss, item_loss=losses_module.binary_loss(self, self.trained_rows, label_smoothing))
        return partial(token_loss, item_loss=losses_module.item_loss(self, label_smoothing))

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """Logits (rows, labels) to `label`, and `scores`, the probability of each label."""
        logits = np.asarray(outputs, dtype=np.float64)
        if self.problem_type == REGRESSION:
            return [{"label": float(value)} for value in logits[:, 0]]
        logits = logits / self.tuned.get("temperature", 1.0)
        if self.problem_type == MULTI:
            probabilities = (1 + np.tanh(logits / 2)) / 2  # the logistic function, without overflow
            return [self._several(row) for row in probabilities.tolist()]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return [self._one(row) for row in (odds / odds.sum(axis=1, keepdims=True)).tolist()]

    def _one(self, probabilities: list[float]) -> Row:
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        scores = dict(zip(self.labels, probabilities, strict=True))
        return {"label": self.labels[best], "score": probabilities[best], "scores": scores}

    def _several(self, probabilities: list[float]) -> Row:
        scores = dict(zip(self.labels, probabilities, strict=True))
        given = [name for name, share in scores.items() if share > self._threshold(name)]
        return {"label": given, "scores": scores}

    def _threshold(self, label: str) -> float:
        usual = THRESHOLD if self.threshold is None else self.threshold
        return self.tuned.get(f"threshold[{label}]", usual)

    def tune(self, predictions: list[Row], references: list[Any]) -> list[str]:
        """The temperature of the least log loss; of several labels the thresholds with the best F1, micro and macro."""
        sentences: list[str] = []
        if self.problem_type == REGRESSION or not predictions:
            return sentences
        shares, reference = (
            self._shares(predictions, self.labels),
            np.asarray(self.metric_inputs(predictions, references)[1]),
        )
        number = len(self.labels)  # of labels that train lacks there is nothing to tune
        if self.problem_type == MULTI:
            reference = reference[:, :number]
        else:
            shares, reference = shares[reference < number], reference[reference < number]
        if self.temperature_scaling:
            sentences.append(self._tune_temperature(shares, reference))
            # The thresholds are of the probabilities that come of it.
            divisor = self.tuned.get("temperature", 1.0)
            shares = calibration.sharpened(shares, divisor, several=self.problem_type == MULTI)
        if self.problem_type == MULTI and self.threshold is None:
            found = calibration.thresholds(shares, reference)
            self.tuned |= {f"threshold[{name}]": float(one) for name, one in zip(self.labels, found, strict=True)}
            sentences.append(
                f"thresholds: {found.min():.2f} to {found.max():.2f}, with the best mean of micro and macro F1 of "
                f"{len(reference)} validation rows; options.threshold=0.5 leaves them alone"
            )
        return sentences

    def _tune_temperature(self, shares: np.ndarray, reference: np.ndarray) -> str:
        rows = f"{len(reference)} validation rows"
        if len(reference) < calibration.FEWEST:
            return f"temperature: left at 1, {rows} are too few to find it; expected {calibration.FEWEST} or more"
        found = calibration.temperature(shares, reference)
        if found is None:
            return f"temperature: left at 1, the {rows} leave it open, as where nearly all are predicted right"
        self.tuned["temperature"] = found
        return f"temperature: {found:.3g}, which gives the least log loss of {rows}"

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """The label that train has most often, or the mean of its numbers."""
        references = [
            reference for value in train["label"] if (reference := self.reference({"label": value})) is not None
        ]
        if self.problem_type == REGRESSION:
            prediction: Row = {"label": float(np.mean(references))}
        else:
            counts = Counter(
                one for reference in references for one in (reference if isinstance(reference, list) else [reference])
            )
            scores = {name: counts[name] / max(1, len(references)) for name in self.labels}
            top = max(scores, key=scores.__getitem__)
            prediction = {"label": [top] if self.problem_type == MULTI else top, "scores": scores}
        return lambda rows: [prediction] * len(rows)

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Label ids, rows of 0 and 1, or numbers; labels that train lacks have ids of their own, behind the others."""
        predicted = [prediction["label"] for prediction in predictions]
        if self.problem_type == REGRESSION:
            return predicted, references
        ids = {name: place for place, name in enumerate(self._scored_labels(references))}
        if self.problem_type == SINGLE:
            return [ids[name] for name in predicted], [ids[name] for name in references]
        return self._indicators(predicted, ids).tolist(), self._indicators(references, ids).tolist()

    def _scored_labels(self, references: list[Any]) -> list[str]:
        """Labels of the model, then those that the references alone have."""
        names = dict.fromkeys(self.labels)
        for reference in references:
            names |= dict.fromkeys(reference if isinstance(reference, list) else [reference])
        return list(names)

    def _indicators(self, label_sets: list[list[str]], ids: dict[str, int]) -> np.ndarray:
        table = np.zeros((len(label_sets), len(ids)), dtype=np.int32)
        for row, names in enumerate(label_sets):
            table[row, [ids[name] for name in names]] = 1
        return table

    def _shares(self, predictions: list[Row], labels: list[str]) -> np.ndarray:
        """Probabilities (rows, labels), by name: what was written may have the labels in the order of another head.

        They are 0 for labels that train lacks.
        """
        return np.array([[one["scores"].get(name, 0.0) for name in labels] for one in predictions])

    def _calibration(self, predictions: list[Row], references: list[Any]) -> Measure:
        """How far probabilities can be trusted: `ece` and `brier`, 0 at best.

        Of one label a text the ECE is of the label that is given; the Brier score is summed over labels, and halved
        where there are two, as scikit-learn has it. Of several, both are means over texts and labels.
        """
        from ..metrics import _weighted

        labels, number = self._scored_labels(references), len(self.labels)
        shares, reference = (
            self._shares(predictions, labels),
            np.asarray(self.metric_inputs(predictions, references)[1]),
        )
        if self.problem_type == MULTI:
            squared = ((shares - reference) ** 2).sum(1) / number
            return partial(_weighted.calibration, shares[:, :number], reference[:, :number], squared)
        ones = np.eye(len(labels))[reference]
        squared = ((shares - ones) ** 2).sum(1) / (2 if number == 2 else 1)
        right = shares.argmax(1) == reference
        return partial(_weighted.calibration, shares.max(1, keepdims=True), right[:, None], squared)

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Shares and F1 from 0 to 1, correlations from -1 to 1, R2 up to 1, errors in the label's units."""
        from ..metrics import _weighted

        predicted, reference = (np.asarray(values) for values in self.metric_inputs(predictions, references))
        if self.problem_type == REGRESSION:
            return partial(_weighted.regression, predicted, reference)
        labels = self._scored_labels(references)
        if self.problem_type == SINGLE:
            counted = partial(_weighted.single_label, predicted, reference, labels=len(labels))
        else:
            counted = partial(
                _weighted.multi_label, predicted, reference, self._shares(predictions, labels), labels=labels
            )
        measured = self._calibration(predictions, references)
        return lambda weights: {**counted(weights), **measured(weights)}


def _loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, item_loss: ItemLoss) -> Any:
    losses = item_loss(outputs["logits"].float(), labels)
    return over_batch(losses.sum(), losses.numel(), num_items_in_batch)


def _squared_error(logits: Any, labels: Any) -> Any:
    return (logits[:, 0] - labels.float()) ** 2


def _said(guessed: bool, what: str) -> str:
    return f"labels: {what}" + ("; options.problem_type changes that" if guessed else "")
