"""The Recipe: what a task is, in one small class.

Class attributes are facts, fields are the task's options, methods are behaviour. A recipe never touches disk, network,
the command line or the Trainer; the runner does, and calls the recipe.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from .errors import ConfigError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SHORTEST = 8  # tokens of a text at least, special ones included
Row = dict[str, Any]
Batch = dict[str, list[Any]]
Measure = Callable[["np.ndarray"], dict[str, "np.ndarray"]]


@dataclass(frozen=True)
class Column:
    """A column that rows have once renamed."""

    names: tuple[str, ...] = ()
    """Names that real datasets give it."""
    optional: bool = False
    """Whether a row can do without it."""
    reference: bool = False
    """Whether it holds the answer, which rows to predict lack."""
    passthrough: bool = False
    """Whether it only goes along, as an id does; never needed, and not looked for repeats or blanks."""
    kind: Any = "string"
    """Type of a cell: a type of `datasets`, a list with one, or a dict of them; None for any."""


class Prompt(NamedTuple):
    """What a model goes on from."""

    text: str
    """As a person reads it."""
    input_ids: list[int]


@dataclass(kw_only=True)
class Recipe:
    """Base of all tasks: holds defaults, never flow. A task overrides what it needs.

    `measure` leaves in `signatures` what a metric must be quoted with, where there is such a thing; `count` in `counts`
    how often train has each label, or in `number_scale` mean and unit of the numbers that are its labels.
    `pads_to_max_length` is set for a model that reads padding.
    Set by the runner: `labels` before `study`, `tokenizer` before any row is encoded, `seed` and `epoch` in training.
    """

    max_length: int = 512
    """Tokens kept of each text or pair, special ones included; at most what the model reads."""
    drop_invalid: bool = False
    """Whether rows that cannot be used are dropped instead of being an error."""
    dropout: float | dict[str, float] | None = None
    """Probability of all dropouts of the model, or by their names in its config; null leaves them as they are."""
    freeze: Literal["embeddings", "backbone"] | int | None = None
    """What is not trained: embeddings, a number of lower layers with them, or backbone for all but the head."""
    layerwise_lr_decay: float | None = None
    """Factor of the learning rate from each layer to the next one below; 0.9 is usual, null for one rate."""

    task: ClassVar[str]
    """Task name, as the Hub spells it where it has one."""
    pipeline_tag: ClassVar[str | None] = None
    """The Hub's name for it, where that is another."""
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
    padding_side: ClassVar[str | None] = None
    """Side that batches are padded on where outputs are looked up by the index of a token; None for the model's own."""
    text: ClassVar[str | None] = "text"
    """Column that a bare text to predict goes to; None where a text alone is not enough."""
    targets: ClassVar[tuple[str, ...]] = ("labels",)
    """Features for loss and collator, beside what the model reads."""
    reduced_by: ClassVar[tuple[str, ...]] = ()
    """Targets that `reduce` looks at, so that predictions have them too; the others come from answers alone."""
    cut_by: ClassVar[dict[str, str]] = {"cut": "max_length"}
    """Features that tell whether something was cut off, each with the option that says how much is kept."""
    hidden_by: ClassVar[dict[str, str]] = {}
    """Features that tell whether a part of a row is not shown to the model for another reason, each with that."""
    refused: ClassVar[dict[str, str]] = {}
    """TrainingArguments keywords that the task has options for, each with what to use in its place."""
    percent: ClassVar[tuple[str, ...]] = ()
    """Metrics that go up to 100, where others go to 1."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Modules beyond the core that scoring needs, of the extra `generation`."""
    samples: ClassVar[list[Row]]
    """A few rows that docs, errors and tests show and use."""
    usage: ClassVar[str]
    """Snippet that the model card shows; `{path}` stands for the model."""

    def __post_init__(self) -> None:
        if self.max_length < SHORTEST:
            raise ConfigError(f"max_length: {self.max_length}, expected {SHORTEST} tokens or more")
        given = self.dropout.values() if isinstance(self.dropout, dict) else [self.dropout or 0]
        if not all(0 <= one < 1 for one in given):
            raise ConfigError(f"dropout: {self.dropout}, expected probabilities from 0 to below 1")
        if isinstance(self.freeze, int) and self.freeze < 1:
            raise ConfigError(f"freeze: {self.freeze}, expected 1 layer or more, embeddings, or backbone")
        if self.layerwise_lr_decay is not None and not 0 < self.layerwise_lr_decay <= 1:
            raise ConfigError(f"layerwise_lr_decay: {self.layerwise_lr_decay}, expected a factor above 0, 1 at most")
        self.tokenizer: PreTrainedTokenizerBase = None
        self.labels: list[str] = []
        self.counts: dict[str, int] = {}
        self.number_scale: tuple[float, float] | None = None
        self.pads_to_max_length = False
        self.seed = self.epoch = 0
        self.tuned: dict[str, float] = {}
        self.signatures: dict[str, str] = {}

    @classmethod
    def inputs(cls) -> list[str]:
        """Columns that a prediction is made from."""
        return [name for name, facts in cls.columns.items() if not facts.reference and not facts.passthrough]

    @classmethod
    def answers(cls) -> list[str]:
        """Columns that hold what a prediction is scored against; none where a text is its own answer."""
        return [name for name, facts in cls.columns.items() if facts.reference]

    @classmethod
    def reference_columns(cls) -> list[str]:
        """Columns that `gold` looks at."""
        return cls.answers()

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """What brings rows of another published shape into the task's columns; None where nothing is to do.

        Called with the columns that the rows have and their types of `datasets`; the function may return more rows, or
        fewer, than it gets.
        """
        return None

    @property
    def formats(self) -> tuple[str, ...]:
        """How files that are no tables are read: `conll`, `parallel`, or a row a `file`, a `paragraph`, a full `line`.

        Else each line is a row, blank ones too.
        """
        return ()

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

    @property
    def languages(self) -> list[str]:
        """Codes of the languages of the texts, where the options tell them."""
        return []

    def infer_labels(self, train: Dataset) -> list[str]:
        """Settle what the training rows decide (labels, kind of problem); one sentence for each guess.

        `labels` is set before where the dataset itself names its classes.
        """
        return []

    def label_counts(self, train: Dataset) -> list[str]:
        """Count in `counts` what stands in the rows that are trained on in the end; one sentence for what follows.

        `study` sees all of train, before a limit, a fold or a drawn validation split takes rows away.
        """
        return []

    def reference(self, row: Row) -> Any:
        """What the row's prediction is scored against; None where the row has no answer."""
        raise NotImplementedError

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Sentences on what is wrong with rows, each with the places of those rows."""
        return {}

    def untrainable(self, rows: Dataset) -> dict[str, list[int]]:
        """As `problems`, of rows that can be scored and not be trained on."""
        return {}

    def unknown_labels(self, rows: Dataset) -> dict[str, list[int]]:
        """Sentences on labels that no prediction can match, as those that train lacks, with the indices of their rows.

        An error in train. Elsewhere the row stays and the label counts as wrong: `gold` gives it as it is, `encode`
        makes a target of it that the loss ignores (-100), and every score counts it.
        """
        return {}

    def label_problems(self, rows: Dataset) -> dict[str, list[int]]:
        """As `problems`, of labels alone, as a list where one value is expected.

        With `drop_invalid` rows that are only scored are not dropped for them: they count as wrong, as `unknown_labels`
        do. Where `gold` gives None, nothing can be scored against the row, and it stays an error.
        """
        return {}

    def notes(self, rows: Dataset) -> dict[str, list[int]]:
        """Sentences on what is odd about rows and can be used all the same, each with the places of those rows."""
        return {}

    def strata(self, rows: Dataset) -> Sequence[Any] | None:
        """Group of each row, to be kept in proportion when a validation split is drawn; None for none."""
        return None

    def groups(self, rows: Dataset) -> Sequence[Any] | None:
        """What each row shares with others that must stay in the same split, as questions share a text."""
        return None

    def adapt_to_model(self, model_config: PretrainedConfig) -> list[str]:
        """Fill in what the model decides, once its tokenizer is there; one sentence for each.

        Raises:
            ConfigError: The model needs an option that is not given.
        """
        return []

    def model_settings(self) -> dict[str, Any]:
        """Keywords that the model's config needs for this task."""
        return {}

    def generation(self) -> dict[str, Any]:
        """Keywords of GenerationConfig that texts are generated with; empty where the model generates none."""
        return {}

    @property
    def written_rows(self) -> int | None:
        """How many rows of a split the model writes a text for when it is scored; rows to predict all get one.

        None where it writes none, or where its Trainer generates, and `decode` has the texts.
        """
        return None

    def prompts(self, rows: Dataset, *, scored: bool) -> list[Prompt | None]:
        """For each row what the model goes on from; None for nothing.

        Args:
            rows: Raw rows.
            scored: Whether they are rows with answers, scored after training, and not rows to predict.
        """
        raise NotImplementedError

    def decode_generated(self, prompt: Prompt, ids: list[int]) -> Row:
        """What the ids that the model wrote add to a row's prediction, `prompt` and `generated_text` among it."""
        raise NotImplementedError

    def encode(self, batch: Batch) -> Batch:
        """Rows to features: `input_ids`, `length` (tokens), `cut` (whether the text was), `targets` where known.

        Where a row may make several features, as windows of a long text, `row` is its place in the batch.
        """
        raise NotImplementedError

    def encode_for_training(self, batch: Batch) -> Batch:
        """As `encode`, for the rows to train on, where those differ."""
        return self.encode(batch)

    def tokenize(
        self, texts: list[str], pairs: list[str] | None = None, *, max_length: int, cut: bool | str = True
    ) -> Batch:
        """Ids of each text or pair, their number, and whether `max_length` cut it; `cut` as `truncation` has it.

        No attention mask: padding makes it. Token types only where there is a second text.
        """
        tokens = self.tokenizer(
            texts,
            pairs,
            truncation=cut,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=pairs is not None and "token_type_ids" in self.tokenizer.model_input_names,
        )
        lengths = [len(ids) for ids in tokens["input_ids"]]
        full = [length >= max_length for length in lengths]
        if tokens.encodings is not None:
            full = [at_limit and bool(one.overflowing) for at_limit, one in zip(full, tokens.encodings, strict=True)]
        return {**tokens, "length": lengths, "cut": full}

    def require_fast_tokenizer(self) -> None:
        """Refuse a tokenizer that cannot tell which part of the text a token is.

        Raises:
            ModelError: It is a slow one.
        """
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"{type(self.tokenizer).__name__} does not tell where its pieces stand in the text: "
                "use a model with a fast tokenizer (tokenizer.json)"
            )

    def windows(self, texts: list[str], pairs: list[str] | None = None, *, stride: int, cut: bool | str = True) -> Any:
        """Tokens of each text or pair in overlapping windows of `max_length`, with the characters of each token.

        Args:
            texts: One a row.
            pairs: Second texts.
            stride: Tokens that neighbouring windows share.
            cut: What goes on in the next window, as `truncation` of the tokenizer names it.

        Raises:
            ModelError: The tokenizer cannot tell where its tokens stand.
        """
        self.require_fast_tokenizer()
        self.tokenizer.truncation_side = "right"  # windows come from left to right
        return self.tokenizer(
            texts,
            pairs,
            truncation=cut,
            max_length=self.max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=pairs is not None and "token_type_ids" in self.tokenizer.model_input_names,
        )

    def purpose(self) -> str:
        """What the model does, in a sentence for its card; that of the task's module, where options say no more."""
        return " ".join((sys.modules[type(self).__module__].__doc__ or "").partition("\n\n")[0].split())

    def example(self, reads: Sequence[str]) -> Row:
        """A row to predict, of the columns that the model reads, for its card and the command line."""
        return {name: self.samples[0].get(name, "…") for name in reads}

    def illustrate(self, features: Row) -> str:
        """Encoded row as a person reads it, what is learnt of it marked; empty where there is nothing to see."""
        return ""

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse a model that cannot do what the options ask for; called with the model as it is to be trained.

        Raises:
            ConfigError: It cannot.
        """

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """What makes a batch of features for the model; it is given only what that reads, and `targets`."""
        from transformers import DataCollatorWithPadding

        collate: Callable[[list[Row]], Any] = DataCollatorWithPadding(self.tokenizer, **self.padding())
        return collate

    def padding(self) -> dict[str, Any]:
        """Keywords of a data collator: rows are padded as the longest of their batch, or all as `max_length` says."""
        return {"padding": "max_length", "max_length": self.max_length} if self.pads_to_max_length else {}

    def loss_function(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """`compute_loss_func` of the Trainer: of `outputs`, `labels` and `num_items_in_batch`.

        A sum over the items of this part, divided by those of the whole batch: with a mean over the part, as many heads
        give it, what is learnt would depend on how batches are cut.

        Args:
            label_smoothing: Share of each target that is spread evenly over all classes, its own too.
        """
        raise NotImplementedError

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """What evaluation keeps of a batch of logits, so that its memory grows with rows alone."""
        return logits[0] if isinstance(logits, tuple) else logits

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """Model output to one prediction per row.

        Args:
            outputs: What `reduce` kept, numpy, one entry per feature; a list where their sizes differ.
            rows: Raw rows.
            encoded: Rows after `encode`.
        """
        raise NotImplementedError

    def tune(self, predictions: list[Row], references: list[Any]) -> list[str]:
        """Settle in `tuned` what validation decides, as a threshold; one sentence for each.

        `tuned` is saved with the model, and `decode` heeds it.
        """
        return []

    def score(self, predictions: list[Row], references: list[Any]) -> dict[str, float]:
        """Predictions against what `gold` gave, as metrics; by default what `measure` gives for all rows, once each."""
        import numpy as np

        once = np.ones((1, len(references)), dtype=np.float32)
        return {name: float(values[0]) for name, values in self.measure(predictions, references)(once).items()}

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """The metrics as a function of how often each row counts, for their intervals.

        Args:
            predictions: One per row.
            references: One per row.

        Returns:
            Function of weights (resamples, rows), to values by metric (resamples,). The default calls `score` on each
            resample; a task whose metrics come from counts does better, and then needs no `score`.
        """
        import numpy as np

        def of_resamples(weights: np.ndarray) -> dict[str, np.ndarray]:
            draws = []
            for counts in weights.astype(int):
                places = np.repeat(np.arange(len(counts)), counts)
                draws.append(self.score([predictions[i] for i in places], [references[i] for i in places]))
            return {name: np.array([draw[name] for draw in draws]) for name in draws[0]} if draws else {}

        return of_resamples

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """A prediction of rows without any model, learnt once from the training rows."""
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
