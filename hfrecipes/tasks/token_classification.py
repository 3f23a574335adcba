"""Give each word of a sentence a tag.

Named entities and chunks (tags mark where each begins and ends), parts of speech (one tag per word).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from .. import losses
from ..calibration import METRICS as PROBABILITY_METRICS
from ..collate import padder
from ..data.batches import cells_of
from ..data.shapes.label_cells import names_for, names_of
from ..distilling.losses import soft_label_loss
from ..explaining.contract import ScoreToExplain
from ..metrics._schemes import OUTSIDE, Scheme, canonical_tags, fit_length, ordered_tags, scheme_of, split_tag
from ..recipe import HIGHER, IGNORED, Batch, CardTexts, Column, Finding, Measure, Metric, Recipe, Row, detail, together
from ..redaction.redactor import Edits
from . import _word_probabilities
from ._explained_entities import scores_of_entities
from ._redacted_words import redacted_words
from ._soft_tags import shares_of_words, targets_of_windows
from ._tag_checks import MISSING, check_tags, describe_tags, tags_in
from ._tag_columns import TAG_NAMES, TOKEN_NAMES, reader_of, unnamed_columns
from ._words import entities_of_text, join_windows, tokenize_words

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PreTrainedModel

ENTITY_METRICS = {
    "f1": HIGHER,
    "precision": HIGHER,
    "recall": HIGHER,
    "f1_macro": detail(HIGHER),
    "precision_strict": detail(HIGHER),
    "recall_strict": detail(HIGHER),
    "f1_strict": detail(HIGHER),
    "accuracy": detail(HIGHER),
}
TAG_METRICS = {
    "accuracy": HIGHER,
    "f1_macro": HIGHER,
    # There is one of these for each tag, such as f1[NOUN].
    "f1": detail(HIGHER),
    "precision": detail(HIGHER),
    "recall": detail(HIGHER),
}


@dataclass(kw_only=True)
class TokenClassification(Recipe):
    """Words in, a tag for each out; a long sentence is read in windows, and no word is left out."""

    scheme: Scheme | None = None
    """How tags mark entities; `none` for tags without prefix, as parts of speech; inferred from the tags if null."""
    label_names: list[str] | dict[str, str | int] | str | None = None
    """Names of tags that are ids: in the order of the ids, by id, or a json or text file that has them."""
    stride: int = 64
    """Number of tokens that neighbouring windows of a long sentence share; at most half a window."""
    class_weights: losses.ClassWeights | None = None
    """Weight of each tag in the loss: `balanced` by how rare it is, or a number by tag, 1 for the others."""
    focal_gamma: float = 0.0
    """Gamma of the focal loss, which gives less weight to words already tagged well; 2 is usual, 0 is off."""
    logit_adjustment: float = 0.0
    """Strength of logit adjustment: 1 predicts as if tags were equally frequent in train, 0 is off."""
    temperature_scaling: bool = False
    """Whether probabilities of tags are calibrated by temperature scaling, fitted on the words of validation."""

    task: ClassVar[str] = "token-classification"
    auto_model: ClassVar[str] = "AutoModelForTokenClassification"
    columns: ClassVar[dict[str, Column]] = {
        "tokens": Column(TOKEN_NAMES, kind=["string"]),
        "text": Column(passthrough=True),
        "tags": Column(TAG_NAMES, reference=True, kind=["string"]),
        "entities": Column(
            reference=True,
            optional=True,
            passthrough=True,
            kind=[{"start": "int64", "end": "int64", "label": "string"}],  # characters, end exclusive
        ),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = tuple(unnamed_columns())
    formats: ClassVar[tuple[str, ...]] = ("conll",)
    prediction: ClassVar[str | None] = "tags"
    padding_side: ClassVar[str | None] = "right"  # words are counted from the left
    samples: ClassVar[list[Row]] = [
        {
            "tokens": ["Ask", "Amina", "Hassan", "at", "the", "boat", "club", "."],
            "tags": ["O", "B-person", "I-person", "O", "O", "O", "O", "O"],
        },
        {
            "tokens": ["The", "bridge", "at", "Mill", "Lane", "is", "shut", "."],
            "tags": ["O", "O", "O", "B-place", "I-place", "O", "O", "O"],
        },
        {
            "tokens": ["Otis", "found", "a", "glove", "in", "Market", "Row"],
            "tags": ["B-person", "O", "O", "O", "O", "B-place", "I-place"],
        },
        {"tokens": ["No", "rehearsal", "today", ",", "sorry", "!"], "tags": ["O", "O", "O", "O", "O", "O"]},
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Gives each word of a sentence a tag.",
        baseline=(
            "The tag that each word has most often in the training rows, and for other words the most frequent one."
        ),
        scores=(
            "Precision, recall and F1 of whole entities, from 0 to 1: over all, strict, and by type; accuracy of tags."
        ),
        usage="""\
from transformers import pipeline

tag = pipeline("token-classification", "{path}", aggregation_strategy="simple")
print(tag("{text}"))
""",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        losses.check_options(self)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """F1 of whole entities, or accuracy of tags that stand alone; `_strict` where tags must follow the scheme."""
        metrics = TAG_METRICS if self.scheme == "none" else ENTITY_METRICS
        return metrics | (PROBABILITY_METRICS if self.temperature_scaling else {})

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Texts become words, and spans of characters their tags; lists written as text become lists."""
        return reader_of(columns)

    def redacted(self, row: Row, edits: Edits) -> Row:
        """Each word stays one word, so that tags stay at theirs."""
        return redacted_words(row, edits)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Guess the scheme from the training tags, and collect these."""
        names = names_of(self.label_names)
        if names:
            self.learned["names"] = names
        sentences = [tags for tags in map(self._tags, cells_of(train, "tags")) if tags is not None]
        counts = Counter(chain.from_iterable(sentences))
        for tag in MISSING:
            counts.pop(tag, None)
        is_guess = self.scheme is None
        self.scheme = self.scheme or scheme_of(counts, sentences)
        # A dataset that names its tags may have more of them than the training rows.
        self.labels = names_for(set(counts), self.label_names) or self.labels or ordered_tags(set(counts), self.scheme)
        return [describe_tags(counts, self.entity_types, self.scheme, is_guess=is_guess)]

    def use_label_counts(self, counts: Mapping[str, int], rows: int) -> list[str]:
        """Check the class weights, and describe them."""
        return losses.check_class_weights(self, counts)

    @property
    def entity_types(self) -> list[str]:
        """Types of entity in the order of the labels; the tags themselves where they stand alone."""
        if self.scheme == "none":
            return self.labels
        types = {}  # a dict keeps their order
        for tag in self.labels:
            if tag != OUTSIDE:
                types[split_tag(tag)[1]] = True
        return list(types)

    def reference(self, row: Row) -> Any:
        """Tags of the words, None where the row has none; a missing tag is empty."""
        return self._tags(row.get("tags"))

    def _tags(self, cell: Any) -> list[str] | None:
        return tags_in(cell, self.learned.get("names", {}))

    def check(self, rows: Dataset) -> Iterable[Finding]:
        """Tags that are missing, unknown, or break the scheme, and spans of characters that cannot become tags."""
        return check_tags(rows, list(map(self._tags, cells_of(rows, "tags"))), self.labels, self.scheme or "BIO")

    # --- batches and loss ----------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Windows over the tokens of each sentence; `words` has a word's index at the token that it is tagged by."""
        tokens, words = tokenize_words(self, batch["tokens"], self.stride)
        rows = tokens["overflow_to_sample_mapping"]
        lengths = list(map(len, tokens["input_ids"]))
        features = {"input_ids": tokens["input_ids"], "row": rows, "words": words, "length": lengths}
        if "tags" in batch:
            targets = list(map(self._targets, batch["tokens"], map(self._tags, batch["tags"])))
            features["labels"] = []
            for window_words, row in zip(words, rows, strict=True):
                # Other tokens, such as the second one of a word, are neither learnt nor scored.
                labels = [targets[row][word] if word >= 0 else IGNORED for word in window_words]
                features["labels"].append(labels)
        return features

    def _targets(self, words: list[str], tags: list[str] | None) -> list[int]:
        """Label id of each word; the id that the loss ignores for a tag that is unknown, or is of no word."""
        if tags is None or len(words) != len(tags):
            return [IGNORED] * len(words)
        ids = dict(zip(self.labels, range(len(self.labels)), strict=True))
        return [ids.get(tag, IGNORED) for tag in tags]

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Pads labels too."""
        return padder(self, label_filler=IGNORED)

    def loss(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy over the words."""
        return partial(losses.token_loss, item_loss=losses.item_loss(self, label_smoothing))

    def soft_loss(self) -> Callable[..., Any]:
        """Divergence from the teacher's probabilities of the tags of each word."""
        return soft_label_loss

    # --- predictions and scores ----------------------------------------------------------------------------------

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Most probable label of each token, and its probability; all logits where a temperature may divide them."""
        import torch

        logits = super().preprocess_logits(logits, labels)
        if self.temperature_scaling:
            return logits.float()
        # Two numbers per token, whatever the number of tags.
        score, best = torch.softmax(logits.float(), dim=-1).max(dim=-1)
        return best.int(), score

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`tags` and their `scores`, one per word; for rows with a text also `entities`, in characters.

        The score of an entity is the mean of those of its words. With a temperature, predictions also have
        `probabilities`, those of all tags for each word.
        """
        if self.temperature_scaling:
            return self.predictions_of(shares_of_words(outputs, encoded), rows)
        predictions: list[Row] = []
        windows = zip(encoded["row"], encoded["words"], *outputs, strict=True)
        for words in join_windows(windows, len(rows)):
            tags, scores = [self.labels[label] for label, _ in words], [float(score) for _, score in words]
            predictions.append({"tags": tags, "scores": scores})
        return self._with_entities(predictions, rows)

    def _with_entities(self, predictions: list[Row], rows: Sequence[Row] | Dataset) -> list[Row]:
        """The predictions, with the entities of the rows that have a text."""
        for row, prediction in zip(rows, predictions, strict=True):
            # Rows of words alone have no text in which an entity could be located.
            if isinstance(row.get("text"), str):
                prediction["entities"] = entities_of_text(row, prediction, self.scheme)
        return predictions

    def restored(self, row: Row, prediction: Row, edits: Edits) -> Row:
        """The entities in the text that was given: its words are as many as those that were read."""
        if not isinstance(row.get("text"), str):
            return prediction
        return {**prediction, "entities": entities_of_text(row, prediction, self.scheme)}

    def soft_labels(self, logits: Any, encoded: Dataset) -> list[np.ndarray]:
        """Probabilities of the tags of each word, (words, tags)."""
        return shares_of_words(logits, encoded)

    def soft_targets(self, soft_labels: list[np.ndarray], encoded: Dataset) -> list[np.ndarray]:
        """Those of the word that each token of a window stands for, (tokens, tags)."""
        return targets_of_windows(soft_labels, encoded)

    def predictions_of(self, soft_labels: list[np.ndarray], rows: Sequence[Row] | Dataset) -> list[Row]:
        """The most probable tag of each word."""
        predictions = []
        for shares in soft_labels:
            predictions.append(_word_probabilities.prediction(shares, self.labels, every=self.temperature_scaling))
        return self._with_entities(predictions, rows)

    @property
    def tuned_options(self) -> list[str]:
        """A temperature."""
        return ["temperature_scaling"] if self.temperature_scaling else []

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """The temperature with the lowest log loss of the tags of words."""
        if not self.temperature_scaling:
            return {}, []
        numbers, sentence = _word_probabilities.fit(predictions, references, self.labels)
        return numbers, [sentence]

    def calibrated(self, predictions: list[Row], calibration: Mapping[str, float]) -> list[Row]:
        """The predictions with the probabilities that the temperature gives; the tags stay as they are."""
        if "temperature" not in calibration:
            return predictions
        return _word_probabilities.scaled(predictions, self.labels, calibration["temperature"], self.scheme)

    def scores_to_explain(self, row: Row, prediction: Row) -> list[ScoreToExplain]:
        """The margins of its tags, summed up for each entity."""
        return scores_of_entities(self, row, prediction)

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Scores of whole entities as in conlleval, or of tags where they stand alone.

        Where a row has not as many reference tags as words, none of its words is right.
        """
        from ..metrics import _entities

        predicted, actual = [], []
        for prediction, reference in zip(predictions, references, strict=True):
            tags = prediction["tags"]
            predicted.append(canonical_tags(tags, self.scheme))
            actual.append(canonical_tags(fit_length(reference, tags), self.scheme))
        if self.scheme == "none":
            measure = _entities.measure_tags(predicted, actual, self.labels, self.not_averaged)
        else:
            measure = _entities.measure_entities(predicted, actual, self.entity_types, self.scheme, self.not_averaged)
        if not self.temperature_scaling:
            return measure
        return together([measure, *_word_probabilities.measures(predictions, references)])

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """The most frequent tag of each word of the training rows, and of all words."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        overall: Counter[str] = Counter()
        for words, tags in zip(cells_of(train, "tokens"), map(self._tags, cells_of(train, "tags")), strict=True):
            for word, tag in zip(words, tags or (), strict=False):  # a row may have too few tags
                counts[word][tag] += 1
                overall[tag] += 1
        by_word = {word: _most_frequent(tag_counts) for word, tag_counts in counts.items()}
        total = max(1, overall.total())
        shares = {tag: overall[tag] / total for tag in self.labels}
        return {"by_word": by_word, "other": _most_frequent(overall), "shares": shares}

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The usual tag of each word; with a temperature also the shares of the tags in train as probabilities."""
        predictions: list[Row] = []
        shares = baseline.get("shares") if self.temperature_scaling else None
        for words in cells_of(rows, "tokens"):
            tags = [baseline["by_word"].get(word, baseline["other"]) for word in words]
            prediction: Row = {"tags": tags, "scores": [1.0] * len(tags)}
            if shares is not None:
                prediction |= {"scores": [shares.get(tag, 0.0) for tag in tags], "probabilities": [shares] * len(tags)}
            predictions.append(prediction)
        return predictions


def _most_frequent(counts: Counter[str]) -> str:
    # Sorted, so that ties are broken in the same way whatever the order of the rows.
    return max(sorted(counts), key=counts.__getitem__)
