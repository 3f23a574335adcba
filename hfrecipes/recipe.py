"""The Recipe: what a task is, in one small class.

Class attributes are facts, fields are the task's options, methods are behaviour. A recipe never touches disk, network,
the command line or the Trainer; the runner does, and calls the recipe.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
Batch = dict[str, list[Any]]


@dataclass(frozen=True)
class Column:
    """A column that rows have once renamed."""

    names: tuple[str, ...] = ()
    """Names that real datasets give it."""
    optional: bool = False
    """Whether a row can do without it."""
    gold: bool = False
    """Whether it holds the answer, which rows to predict lack."""


@dataclass(kw_only=True)
class Recipe:
    """Base of all tasks: holds defaults, never flow. A task overrides what it needs.

    Set by the runner before any method but `study` is called: `tokenizer` and `labels`.
    """

    task: ClassVar[str]
    """Task name, as the Hub spells it."""
    auto_model: ClassVar[str]
    """Name of the class in transformers that loads the model with its head."""
    columns: ClassVar[dict[str, Column]]
    """Columns that rows have once renamed."""
    layouts: ClassVar[tuple[dict[str, str], ...]] = ()
    """Column names that real datasets use together, tried before single names."""
    defaults: ClassVar[dict[str, Any]] = {}
    """TrainingArguments keywords that suit the task."""
    lora: ClassVar[str | None] = None
    """Task type that PEFT knows it by."""
    trainer: ClassVar[str] = "Trainer"
    """Name of the Trainer class in transformers; its arguments class is `<trainer>` with `ingArguments` for `er`."""
    samples: ClassVar[list[Row]]
    """A few rows that docs, errors and tests show and use."""
    usage: ClassVar[str]
    """Snippet that the model card shows; `{path}` stands for the model."""

    def __post_init__(self) -> None:
        self.tokenizer: PreTrainedTokenizerBase = None
        self.labels: list[str] = []

    @classmethod
    def inputs(cls) -> list[str]:
        """Columns that a prediction is made from."""
        return [name for name, facts in cls.columns.items() if not facts.gold]

    @classmethod
    def answers(cls) -> list[str]:
        """Columns that hold what a prediction is scored against."""
        return [name for name, facts in cls.columns.items() if facts.gold]

    @classmethod
    def option_types(cls) -> dict[str, Any]:
        """Name and type of every option."""
        hints = typing.get_type_hints(cls)
        return {f.name: hints[f.name] for f in fields(cls)}

    @property
    def best_metric(self) -> tuple[str, bool]:
        """Score that picks the checkpoint, and whether greater is better."""
        raise NotImplementedError

    @property
    def headline(self) -> tuple[str, ...]:
        """Scores that tables show; the others are in metrics.json."""
        return (self.best_metric[0],)

    def study(self, train: Dataset) -> list[str]:
        """Settle what the training rows decide (labels, kind of problem); one sentence for each guess.

        `labels` is set before where the dataset itself names its classes.
        """
        return []

    def gold(self, row: Row) -> Any:
        """What the row's prediction is scored against; None where the row has no answer."""
        raise NotImplementedError

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Sentences on what is wrong with rows, each with the places of those rows."""
        return {}

    def strata(self, rows: Dataset) -> Sequence[Any] | None:
        """Group of each row, to be kept in proportion when a validation split is drawn; None for none."""
        return None

    def model_settings(self) -> dict[str, Any]:
        """Keywords that the model's config needs for this task."""
        return {}

    def encode(self, batch: Batch) -> Batch:
        """Rows to features: `input_ids`, `length` (tokens), `cut` (whether the text was), `labels` where given."""
        raise NotImplementedError

    def tokenize(self, texts: list[str], pairs: list[str] | None = None, *, max_length: int) -> Batch:
        """Ids of each text or pair, their number, and whether `max_length` cut it.

        No attention mask: padding makes it. Token types only where there is a second text.
        """
        tokens = self.tokenizer(
            texts,
            pairs,
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=pairs is not None and "token_type_ids" in self.tokenizer.model_input_names,
        )
        lengths = [len(ids) for ids in tokens["input_ids"]]
        full = [length >= max_length for length in lengths]
        if tokens.encodings is not None:
            full = [at_limit and bool(one.overflowing) for at_limit, one in zip(full, tokens.encodings, strict=True)]
        return {**tokens, "length": lengths, "cut": full}

    def reduce(self, logits: Any, labels: Any) -> Any:
        """What evaluation keeps of a batch of logits, so that its memory grows with rows alone."""
        return logits[0] if isinstance(logits, tuple) else logits

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """Model output to one prediction per row.

        Args:
            outputs: What `reduce` kept, numpy, one entry per encoded row.
            rows: Raw rows.
            encoded: Rows after `encode`.
        """
        raise NotImplementedError

    def score(self, predictions: list[Row], references: list[Any]) -> dict[str, float]:
        """Predictions against what `gold` gave, as metrics."""
        raise NotImplementedError

    def resample(self, predictions: list[Row], references: list[Any], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics of many resamples at once, for their intervals.

        Args:
            predictions: One per row.
            references: One per row.
            weights: How often each resample draws each row, (resamples, rows).

        Returns:
            Values by metric, (resamples,). The default calls `score` on up to 200 resamples; a task whose metrics come
            from counts does better.
        """
        import numpy as np

        draws = []
        for counts in weights[:200].astype(int):
            places = np.repeat(np.arange(len(counts)), counts)
            draws.append(self.score([predictions[i] for i in places], [references[i] for i in places]))
        return {name: np.array([draw[name] for draw in draws]) for name in draws[0]} if draws else {}

    def baseline(self, references: list[Any], rows: int) -> list[Row]:
        """Predictions for `rows` rows by someone who saw only the answers of the training rows."""
        raise NotImplementedError

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Predictions and references in the form that `evaluate` metrics of this task take."""
        raise NotImplementedError


def arguments_name(recipe: type[Recipe]) -> str:
    """Name of the TrainingArguments class that goes with the recipe's Trainer.

    Example:
        >>> class Toy(Recipe): pass
        >>> arguments_name(Toy)
        'TrainingArguments'
    """
    return recipe.trainer.removesuffix("er") + "ingArguments"
