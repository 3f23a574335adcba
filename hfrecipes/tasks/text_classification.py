"""Give each text, or pair of texts, a label, several labels, or a number.

Sentiment, topics, intents, paraphrase and entailment (one label), tags and emotions (several), similarity (a number).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from .. import losses
from ..data.shapes.label_cells import LabelReader
from ..data.shapes.labels import MULTI, REGRESSION, SINGLE, ProblemType
from ..explaining.contract import ScoreToExplain
from ..models.distances import check_head
from ..models.tokenizing import separate_pairs, tokenize
from ..recipe import DISTANCE, Batch, CardTexts, Column, Finding, Measure, Metric, Recipe, Row
from . import _abstention, _explained, _label_reading
from ._column_names import LABEL_NAMES, LAYOUTS, TEXT_NAMES
from ._label_sets import Coverage
from ._number_labels import NumberLabels
from ._one_label import OneLabel
from ._out_of_scope import with_distances
from ._several_labels import SeveralLabels
from ._two_labels import Threshold

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

LabelKind = OneLabel | SeveralLabels | NumberLabels
LABEL_KINDS: dict[str, type[LabelKind]] = {SINGLE: OneLabel, MULTI: SeveralLabels, REGRESSION: NumberLabels}


@dataclass(kw_only=True)
class TextClassification(Recipe):
    """Text in, label out; the labels decide on the `label_kind`: one of many, any of many, or a number."""

    problem_type: ProblemType | None = None
    """Kind of labels: a value of `config.problem_type` of transformers; inferred from the labels if null."""
    label_names: list[str] | dict[str, str | int] | str | None = None
    """Names of labels that are ids: in the order of the ids, by id, or a json or text file that has them."""
    ignore_labels: list[str | int] | str | int | None = None
    """Labels, or a label, that mean that there is none, such as `-`: their rows are neither trained on nor scored."""
    class_weights: losses.ClassWeights | None = None
    """Weight of each label in the loss: `balanced` by how rare it is, or a number by label, 1 for the others."""
    focal_gamma: float = 0.0
    """Gamma of the focal loss, which gives less weight to rows already classified well; 2 is usual, 0 is off."""
    logit_adjustment: float = 0.0
    """Strength of logit adjustment: 1 predicts as if labels were equally frequent in train, 0 is off."""
    threshold: Threshold | None = None
    """Probability above which a label is predicted; between two labels also what it is tuned for, such as `f1`."""
    positive_label: str | int | float | bool | None = None
    """Of two labels the one that `threshold` is for, and that is looked for in scores; the second one if null."""
    coverage: Coverage | None = None
    """Share of rows whose `label_set` should hold the right label, such as 0.9, or of each label {by_label: 0.9}."""
    abstain: _abstention.Given | None = None
    """Which rows get no answer: the least sure ones, {share: 0.1}, or all beyond an error rate, {risk: 0.05}."""
    out_of_scope: str | int | None = None
    """Label of validation and test rows that none of the labels fits: neither right nor wrong, to be told by doubt."""
    out_of_scope_by: Literal["probability", "distance"] = "probability"
    """What tells rows that no label fits, and what `abstain` limits: a low probability, or the distance from train."""
    temperature_scaling: bool = False
    """Whether probabilities are calibrated by temperature scaling, fitted on validation."""

    task: ClassVar[str] = "text-classification"
    auto_model: ClassVar[str] = "AutoModelForSequenceClassification"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column(tuple(TEXT_NAMES.split())),
        "text_pair": Column(optional=True),
        # Only labels that are names are stratified: a list or a number has no class to keep in proportion.
        "label": Column(tuple(LABEL_NAMES.split()), reference=True, kind=None, stratified=True),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = LAYOUTS
    prediction: ClassVar[str | None] = "label"
    samples: ClassVar[list[Row]] = [
        {"text": "My parcel was due on Monday and it is Thursday now.", "label": "delivery"},
        {"text": "The zip was broken when I opened the bag.", "label": "damaged"},
        {"text": "Could you tell me which depot has my box?", "label": "delivery"},
        {"text": "There is a crack right across the lid.", "label": "damaged"},
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose=OneLabel.purpose,  # infer_labels replaces it
        baseline="The label that train has most often, or the mean of its numbers.",
        scores="Shares and F1 from 0 to 1, correlations from -1 to 1, R2 up to 1, errors in the label's units.",
        usage="""\
from transformers import pipeline

classify = pipeline("text-classification", "{path}")
print(classify("{text}", top_k=None))
""",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.labels_in_train: set[str] = set()  # the dataset may know more labels
        self.trained_rows = 0
        _label_reading.check_options(self)

    @property
    def label_kind(self) -> LabelKind:
        """The behaviour for the inferred problem type."""
        return LABEL_KINDS[self.problem_type or SINGLE](self)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The usual metrics of the label kind, and one that shows what they hide: small classes, ranks, distances."""
        return self.label_kind.metrics

    @property
    def tuned_options(self) -> list[str]:
        """A threshold that is to be the best for something, label sets, abstention, a temperature."""
        is_set = {
            "threshold": isinstance(self.threshold, str | dict),
            "coverage": self.coverage is not None,
            "abstain": self.abstain is not None,
            "temperature_scaling": self.temperature_scaling,
        }
        return [name for name, given in is_set.items() if given]

    @property
    def needs_distances(self) -> bool:
        """Whether rows that no label fits are told by their distance from train."""
        return self.out_of_scope_by == "distance"

    @property
    def reader(self) -> LabelReader:
        """How the cells of labels are read, as far as the training rows and the options tell."""
        return LabelReader(**self.learned.get("label_cells", {}))

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Exports of annotation tools become texts and the labels that were chosen, lists in texts one text."""
        return _label_reading.normalizer(columns, self.columns["text"].names)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Guess the form of the labels and the problem type, and collect the labels."""
        return _label_reading.infer_labels(self, train)

    def use_label_counts(self, counts: Mapping[str, int], rows: int) -> list[str]:
        """Check the class weights, and describe them."""
        return self.label_kind.use_label_counts(counts, rows)

    def reference(self, row: Row) -> Any:
        """Name of the label, list of names in the order of predictions, or number; None for a missing label."""
        if "label" not in row:  # which is not the same as an empty list of labels
            return None
        return self.label_kind.reference(self.reader.read(row["label"]))

    def check(self, rows: Dataset) -> Iterable[Finding]:
        """Labels that are of another kind, or that do not occur in train."""
        return _label_reading.check(self, rows)

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Put something between two texts where the tokenizer puts nothing; refuse a head without distances."""
        if model is not None and self.needs_distances:
            check_head(model, len(self.labels))
        return separate_pairs(self) if self.learned.get("has_pairs") else []

    def model_settings(self) -> dict[str, Any]:
        """Names of the labels, and the problem type."""
        settings = super().model_settings() or {"num_labels": 1}  # a number is the only output of its model
        return {**settings, "problem_type": self.problem_type}

    def encode(self, batch: Batch) -> Batch:
        """Tokens of the text, or of both texts; the longer one is truncated first."""
        features = tokenize(self, batch["text"], batch.get("text_pair"))
        if "label" in batch:  # rows to predict have none
            references = [self.reference({"label": value}) for value in batch["label"]]
            features["labels"] = list(map(self.label_kind.target, references))
        return features

    def loss(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy, of each label by itself where there may be several; squared error of numbers."""
        return self.label_kind.loss(label_smoothing)

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Logits (batch, labels); with them the distance (batch, 1), of a model that returns it."""
        # During training there are none yet.
        return (logits[0], logits[-1]) if DISTANCE in self.learned else super().preprocess_logits(logits, labels)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """Logits (rows, labels) to `label`, and `scores`, the probability of each label; `distance` if it is there."""
        logits, distances = outputs if isinstance(outputs, tuple) else (outputs, None)
        # In float32, probabilities near 1 would be equal, and ranks by them too.
        predictions = self.label_kind.predictions_of(self.label_kind.shares_of(np.asarray(logits, dtype=np.float64)))
        return predictions if distances is None else with_distances(predictions, distances[:, 0].tolist())

    def soft_labels(self, logits: Any, encoded: Dataset) -> list[np.ndarray]:
        """Probabilities of the labels of each row, or its number."""
        return list(self.label_kind.shares_of(np.asarray(logits, dtype=np.float64)))

    def soft_targets(self, soft_labels: list[np.ndarray], encoded: Dataset) -> list[np.ndarray]:
        """Those of the rows, each of which is one feature."""
        return soft_labels

    def predictions_of(self, soft_labels: list[np.ndarray], rows: Sequence[Row] | Dataset) -> list[Row]:
        """Labels and their probabilities, or numbers."""
        return self.label_kind.predictions_of(np.stack(soft_labels))

    def soft_loss(self) -> Callable[..., Any]:
        """Divergence from the teacher's probabilities, of each label by itself where there may be several."""
        return self.label_kind.soft_loss

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """A temperature, with the lowest log loss; for several labels a threshold for each one, with the best F1."""
        return self.label_kind.calibrate(predictions, references) if predictions else ({}, [])

    def calibrated(self, predictions: list[Row], calibration: Mapping[str, float]) -> list[Row]:
        """Predictions after temperature and thresholds."""
        return self.label_kind.calibrated(predictions, calibration) if predictions else []

    def scores_to_explain(self, row: Row, prediction: Row) -> list[ScoreToExplain]:
        """The margin of the label, the logit of each label where there may be several, or the number."""
        return _explained.scores_of(self, row, ["text", "text_pair"], self.label_kind.explained(prediction))

    def is_right_or_wrong(self, reference: Any) -> bool:
        """Whether the row has a label that a prediction can match or miss."""
        return reference is not None and reference != self.learned.get("out_of_scope")

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Shares and F1 from 0 to 1, correlations from -1 to 1, R2 up to 1, errors in the label's units."""
        return self.label_kind.measure(predictions, references)

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """The prediction that all rows get: the label that train has most often, or the mean of its numbers."""
        references = [self.reference({"label": value}) for value in train["label"][:]]
        return self.label_kind.baseline([reference for reference in references if reference is not None])

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The same prediction for each row."""
        return [dict(baseline) for _ in range(len(rows))]
