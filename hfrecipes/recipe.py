"""The contract of a task: what a Recipe may declare and do, but not how it is run.

Class attributes are facts, dataclass fields are the options of the task, methods are its behaviour. A recipe never
touches the disk, the network, the command line or the Trainer; the packages of hfrecipes do, and call the recipe. The
order of the methods below is the order in which a run calls them. docs/write-a-task.md writes one step by step.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from .collate import padder
from .errors import ConfigError
from .redaction.redactor import Edits, FindNames
from .redaction.rows import redacted_cells
from .redaction.settings import RedactSettings

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SHORTEST = 8  # minimum number of tokens of a text, including special tokens
IGNORED = -100  # label that no loss and no count looks at, as in transformers
TEACHER = "teacher"  # feature with what another run says of a row, for the loss alone
DISTANCE = "distance"  # of a row from the training rows: in outputs of a model, in predictions, and in `learned`
Row = dict[str, Any]
Batch = dict[str, list[Any]]
Reader = Literal["collator", "model", "loss"]
Measure = Callable[["np.ndarray"], dict[str, "np.ndarray"]]

# Most tasks train with these; a task declares only what differs. The learning rate follows the model.
DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 64,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
}


@dataclass(frozen=True)
class Column:
    """A column that rows have once they are in the shape of the task."""

    names: tuple[str, ...] = ()
    """Names that datasets use for it."""
    optional: bool | Literal["each row"] = False
    """Whether a dataset can do without it; `each row` if a row also can where training rows have it, since the options
    say what it is then."""
    reference: bool = False
    """Whether predictions are scored against it; rows to predict do not have it."""
    passthrough: bool = False
    """Whether it is only carried along, as an id; never required, and not checked for duplicates or blanks."""
    kind: Any = "string"
    """Type of a cell: a type of `datasets`, a list with one, or a dict of them; `json` for values of any form; None for
    any type."""
    grouped: bool = False
    """Whether rows with equal cells stay in the same split, as questions about the same text do."""
    stratified: bool = False
    """Whether its labels keep their proportions when rows are split."""
    slice_of: Callable[[Any], str | None] | None = None
    """Name of the part of the rows that a cell puts its row into, for scores of each part; None for no part."""


@dataclass(frozen=True)
class Metric:
    """Whether higher or lower values of a metric are better, and where it is shown."""

    greater_is_better: bool
    maximum: float = 1.0
    """Best value of a metric of which greater is better."""
    in_table: bool = True
    """Whether tables show it; every metric is in metrics.json."""

    @property
    def sign(self) -> int:
        """Factor by which values are multiplied so that greater ones are better."""
        return 1 if self.greater_is_better else -1


HIGHER, LOWER, PERCENT = Metric(True), Metric(False), Metric(True, maximum=100.0)


def detail(metric: Metric) -> Metric:
    """The same metric, for metrics.json alone and not for tables."""
    return replace(metric, in_table=False)


@dataclass(frozen=True)
class Finding:
    """Something about rows that the user should know.

    The level decides what follows. `error`: the row cannot be used. `untrainable`: it can be scored, but nothing can be
    learnt from it. `label`: its label is of the wrong form, and `unknown`: no prediction can match its label; both are
    errors in train, while rows of other splits stay, and count as wrong. `ignored`: the options say that its label is
    none; it is left out, except in test, where it is predicted. `note`: it is odd, and is used all the same.
    """

    level: Literal["error", "untrainable", "label", "unknown", "ignored", "note"]
    sentence: str
    """What is wrong, to be followed by the number of rows and the indices of the first ones."""
    rows: Sequence[int] = ()
    """Indices of the rows, several times where several labels of a row are wrong; empty for all rows together."""


@dataclass(frozen=True)
class CardTexts:
    """Texts of the model card about the task; `{labels}` stands for the number of labels."""

    purpose: str
    """What the model does, in a sentence."""
    baseline: str
    """What the baseline predicts."""
    scores: str
    """Range of the metrics, and how they are computed."""
    usage: str
    """Snippet of plain transformers; `{path}` is the model, `{text}` and names of columns are cells of a row."""
    example: Row | None = None
    """Row to predict, where that is not the first sample; `{mask}` stands for the mask token."""
    pipeline_tag: str | None = None
    """The Hub's name of the task, where that is another."""


class Prompt(NamedTuple):
    """What a model continues."""

    text: str
    """As shown to people."""
    input_ids: list[int]


class Writer:
    """How the model of a task generates texts: prompts, generation settings, and texts from generated ids."""

    refused: Mapping[str, str] = {}
    """TrainingArguments keywords that the task has options for, each with what to use instead."""
    languages: Sequence[str] = ()
    """ISO 639 codes of the languages that are read and written, where the options tell them."""
    generated_rows: int | None = None
    """How many rows of a split get a text when they are scored; None where the Trainer generates during evaluation."""

    def generation(self) -> dict[str, Any]:
        """Keywords of GenerationConfig, shared by evaluation, prediction and the saved model."""
        raise NotImplementedError

    def prompts(self, rows: Dataset, *, scored: bool) -> list[Prompt | None]:
        """The prompt of each row, None for a row without one.

        Args:
            rows: Raw rows.
            scored: Whether the rows have references that the texts are scored against.
        """
        raise NotImplementedError

    def decode(self, prompt: Prompt, ids: list[int]) -> Row:
        """What the generated ids add to the prediction of a row: `prompt`, `generated_text` and what is known of it."""
        raise NotImplementedError

    def canary(self, prefix: str, secret: str) -> Row:
        """A row of train in which the model writes a secret after a beginning, for `privacy.canaries`.

        Args:
            prefix: What it is given, such as the text to read or the turn of the user.
            secret: What it writes; empty for a row to predict.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class Recipe:
    """Base of all tasks: defaults, without control flow. A task overrides what it needs; it must have `reference`,
    `encode`, `loss`, `decode`, `measure`, `baseline` and `baseline_predictions`.

    Set before the methods are called: `labels` from `infer_labels` on, `tokenizer` from `adapt_to_model` on, `seed` and
    `epoch` while the model is trained. `learned` holds what else a task learns from its training rows, as JSON values;
    it is saved with the model and is there again after `hfrecipes.load`, as `labels` and `calibration` are.
    """

    max_length: int = 512
    """Maximum number of tokens of a text or pair, including special tokens; limited by the model."""
    drop_invalid: bool = False
    """Whether rows that cannot be used are dropped instead of being an error."""
    redact: list[str] | dict[str, Any] | None = None
    """Kinds of names and numbers in texts that a placeholder replaces, such as email and phone; see docs/privacy.md."""
    dropout: float | dict[str, float] | None = None
    """Probability of all dropouts of the model, or by their names in its config; null leaves them as they are."""
    freeze: Literal["embeddings", "backbone"] | int | None = None
    """What to freeze: embeddings; a number of lower layers, with the embeddings; or backbone, all but the head."""
    layerwise_lr_decay: float | None = None
    """Factor of the learning rate from each layer to the next one below; 0.9 is usual, null for one rate."""

    task: ClassVar[str]
    """Name of the task, as on the Hub if it has one."""
    auto_model: ClassVar[str]
    """Name of the class in transformers that loads the model with its head."""
    columns: ClassVar[dict[str, Column]]
    """Columns of the rows, the first input first."""
    layouts: ClassVar[tuple[dict[str, str], ...]] = ()
    """Column names that real datasets use together, tried before single names."""
    formats: ClassVar[tuple[str, ...]] = ()
    """How files that are no tables are read: `conll`, `parallel`, `turns` where lists of texts in JSON are dialogues, a
    row for each `file`, `paragraph` or non-empty `line`; `{name}` for what the option of that name says. By default
    each line is a row."""
    defaults: ClassVar[dict[str, Any]] = {}
    """TrainingArguments keywords that differ from DEFAULTS."""
    defaults_with: ClassVar[dict[str, dict[str, Any]]] = {}
    """Those that differ again while an option is on, by the name of the option."""
    prediction: ClassVar[str | None] = None
    """Key of a prediction that is scored against the reference; None where tokens are scored and no answer."""
    batch_features: ClassVar[dict[str, Reader]] = {}
    """Features that batches have in addition to the outputs of the tokenizer and `labels`, and what reads them. Those
    for the loss go past the model, to `loss` and `preprocess_logits` by name."""
    padding_side: ClassVar[str | None] = None
    """Side of the padding where outputs are looked up by the index of a token; None for the model's usual side."""
    reads_files: ClassVar[tuple[str, ...]] = ()
    """Names of further files of the model whose texts `adapt_to_model` finds in `texts_of_model`, where it has them."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Modules beyond the core that the task needs."""
    samples: ClassVar[list[Row]]
    """A few rows for docs, errors and tests."""
    card: ClassVar[CardTexts]
    """Texts of the model card."""

    def __post_init__(self) -> None:
        _check_options(self)
        self.tokenizer: PreTrainedTokenizerBase = None
        self.labels: list[str] = []
        self.learned: dict[str, Any] = {}
        self.texts_of_model: dict[str, str] = {}
        self.calibration: dict[str, float] = {}
        self.label_counts: dict[str, int] = {}
        self.not_averaged: list[str] = []  # labels that macro scores leave out, since some scored split lacks them
        self.number_scale: tuple[float, float] | None = None  # mean and deviation of labels that are numbers
        self.find_names: FindNames | None = None  # of the run that `redact` names
        self.pads_to_max_length = False
        self.checks_again = False  # whether `check` finds more once the tokenizer is known
        self.seed = self.epoch = 0
        self.signatures: dict[str, str] = {}

    # --- rows ----------------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Metrics that `measure` gives, with their direction; the first one picks the checkpoint.

        Most tasks override it by a plain class attribute: `metrics = {"accuracy": HIGHER, "f1_macro": HIGHER}`. `f1`
        stands for `f1[person]` too.
        """
        raise NotImplementedError

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Function that converts batches of another published shape to the columns of the task; None for no change.

        Args:
            columns: Columns of the rows, with their types of `datasets`.

        Returns:
            A function of a batch, which may return more rows, or fewer, than it gets.
        """
        return None

    def redacted(self, row: Row, edits: Edits) -> Row:
        """The row with placeholders in its texts, and labels as they are.

        Args:
            row: Under the column names of the task.
            edits: What is replaced in a text.
        """
        return redacted_cells(row, text_columns(self), edits)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer from all training rows what the options leave open, such as labels; one sentence for each guess.

        `labels` is set before where the dataset itself names its classes.
        """
        return []

    def reference(self, row: Row) -> Any:
        """What the prediction of the row is scored against; None where the row has none."""
        raise NotImplementedError

    def check(self, rows: Dataset) -> Iterable[Finding]:
        """What is wrong or odd about rows with references; empty inputs and missing references are found without it."""
        return []

    def use_label_counts(self, counts: Mapping[str, int], rows: int) -> list[str]:
        """Set what depends on how often each label occurs in the rows that are trained on in the end.

        `infer_labels` sees all training rows, before a limit, a fold or a validation split takes rows away.

        Args:
            counts: How often each label occurs, in the order of `labels`; `label_counts` has them later.
            rows: Number of rows with a reference.

        Returns:
            One sentence for each decision.
        """
        return []

    # --- model ---------------------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Fill in what the model decides, and refuse one that cannot do the task.

        Called once `tokenizer` is set and before rows are encoded, with the config alone; once more before training,
        with the model as it is to be trained.

        Returns:
            One sentence for each decision.

        Raises:
            ConfigError: The model needs an option that is not given, or cannot do what the options ask for.
            ModelError: The model cannot do the task.
        """
        return []

    def load_model(self, path: str | Path, **keywords: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
        """The model with the head of the task, and what `from_pretrained` reports of its weights.

        Args:
            path: Folder or name on the Hub.
            keywords: Those of `from_pretrained`.
        """
        import transformers

        auto_class: Any = getattr(transformers, self.auto_model)
        loaded: tuple[PreTrainedModel, dict[str, Any]] = auto_class.from_pretrained(
            path, output_loading_info=True, **keywords
        )
        return loaded

    def model_settings(self) -> dict[str, Any]:
        """Keywords that the config of the model needs for this task."""
        if not self.labels:
            return {}
        names = dict(enumerate(self.labels))
        ids = {name: number for number, name in names.items()}
        return {"num_labels": len(names), "id2label": names, "label2id": ids}

    def model_files(self) -> dict[str, str]:
        """Further files that transformers reads beside the model, by name: their text, with what is calibrated."""
        return {}

    @property
    def needs_distances(self) -> bool:
        """Whether predictions get the distance of the row from the training rows, which is measured after training."""
        return False

    @property
    def writer(self) -> Writer | None:
        """How the model generates texts; None for a task without generation."""
        return None

    # --- batches and loss ----------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Rows to features.

        Returns:
            `input_ids`; `length`, the number of tokens; `labels` where rows have references; the `batch_features`.
            `row`, the index of the row in the batch, where a row may make several features, as windows of a long text.
            `over_<option>` for features that were truncated at that option; `hidden` for rows that are shown in part;
            `beyond_<option>` for rows whose reference is longer than predictions can be.
        """
        raise NotImplementedError

    def encode_for_training(self, batch: Batch) -> Batch:
        """As `encode`, for the rows that are trained on, where those differ."""
        return self.encode(batch)

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Function that makes a batch of features; it gets the outputs of the tokenizer, `labels`
        and what `batch_features` names."""
        return padder(self)

    def loss(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """`compute_loss_func` of the Trainer: a function of `outputs`, `labels` and `num_items_in_batch`.

        The loss is a sum over the items of this part, divided by the number of items of the whole batch. A mean over
        the part, as many heads compute it, would make what is learnt depend on how batches are split. `outputs` also
        has the `batch_features` for the loss.

        Args:
            label_smoothing: Share of each target that is spread evenly over all classes.
        """
        raise NotImplementedError

    # --- predictions and scores ----------------------------------------------------------------------------------

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """What evaluation keeps of a batch of logits, so that its memory grows with the number of rows alone.

        Args:
            logits: Logits of the model; a tuple of all outputs where there are several, features for the loss last.
            labels: The feature of that name, None where rows to predict have none.
        """
        return logits[0] if isinstance(logits, tuple) else logits

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """Outputs to one prediction per row.

        Args:
            outputs: What `preprocess_logits` kept, numpy, one entry per feature; a list where their sizes differ.
            rows: Raw rows.
            encoded: Rows after `encode`.
        """
        raise NotImplementedError

    @property
    def tuned_options(self) -> list[str]:
        """Options that are set and ask for numbers that only validation rows can tell."""
        return []

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """Numbers that are tuned on validation, such as thresholds, and one sentence for each; saved with the model."""
        return {}, []

    def calibrated(self, predictions: list[Row], calibration: Mapping[str, float]) -> list[Row]:
        """The predictions after what `calibrate` found is applied."""
        return predictions

    def restored(self, row: Row, prediction: Row, edits: Edits) -> Row:
        """The prediction of a redacted row, with spans that are those of the row as it was given.

        Args:
            row: As it was given.
            prediction: Of the redacted row.
            edits: What was replaced in a text.
        """
        return prediction

    def is_right_or_wrong(self, reference: Any) -> bool:
        """Whether a prediction for a row with this reference is one of both; where no label fits, it may be neither."""
        return reference is not None

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """The metrics as a function of weights, from which both the scores and their intervals are computed.

        Args:
            predictions: One per row.
            references: One per row.

        Returns:
            Function of weights (resamples, rows), how often each row counts, to values by metric (resamples,).
        """
        raise NotImplementedError

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """What the baseline needs to know about the training rows, as JSON values that are saved with the run."""
        raise NotImplementedError

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """Predictions of rows without any model, from what `baseline` gave."""
        raise NotImplementedError


def _check_options(recipe: Recipe) -> None:
    """Refuse values that the options of all tasks cannot have.

    Raises:
        ConfigError: One is out of range.
    """
    RedactSettings.of(recipe.redact)
    if recipe.max_length < SHORTEST:
        raise ConfigError(f"max_length: {recipe.max_length}, expected {SHORTEST} tokens or more")
    given = recipe.dropout.values() if isinstance(recipe.dropout, dict) else [recipe.dropout or 0]
    if not all(0 <= probability < 1 for probability in given):
        raise ConfigError(f"dropout: {recipe.dropout}, expected probabilities from 0 to below 1")
    if isinstance(recipe.freeze, int) and recipe.freeze < 1:
        raise ConfigError(f"freeze: {recipe.freeze}, expected 1 layer or more, embeddings, or backbone")
    if recipe.layerwise_lr_decay is not None and not 0 < recipe.layerwise_lr_decay <= 1:
        raise ConfigError(f"layerwise_lr_decay: {recipe.layerwise_lr_decay}, expected a factor above 0, 1 at most")


# --- what follows from the facts ---------------------------------------------------------------------------------


def training_defaults(recipe: type[Recipe], options: Mapping[str, Any]) -> dict[str, Any]:
    """TrainingArguments keywords that a task trains with, given the options that are set."""
    defaults = {**DEFAULTS, **recipe.defaults}
    for name, changed in recipe.defaults_with.items():
        if options.get(name):
            defaults |= changed
    return defaults


def input_columns(recipe: type[Recipe] | Recipe) -> list[str]:
    """Columns that a prediction is made from."""
    return [name for name, column in recipe.columns.items() if not column.reference and not column.passthrough]


def reference_columns(recipe: type[Recipe] | Recipe) -> list[str]:
    """Columns that predictions are scored against; empty where a text is its own reference."""
    return [name for name, column in recipe.columns.items() if column.reference]


def text_columns(recipe: Recipe) -> list[str]:
    """Columns with texts of people: inputs, what goes with them, and references that are texts to write."""
    columns = []
    for name, column in recipe.columns.items():
        # Other references are labels, which are learnt as they are.
        if not column.reference or recipe.writer is not None:
            columns.append(name)
    return columns


def text_column(recipe: type[Recipe] | Recipe) -> str | None:
    """Column of a bare text to predict; None where a text alone is not enough."""
    if "text" in recipe.columns:
        return "text"
    required = [name for name in input_columns(recipe) if not recipe.columns[name].optional]
    return required[0] if len(required) == 1 else None


def option_types(recipe: type[Recipe]) -> dict[str, Any]:
    """Name and type of every option."""
    hints = typing.get_type_hints(recipe)
    return {field.name: hints[field.name] for field in fields(recipe)}


def options(recipe: Recipe) -> dict[str, Any]:
    """Name and value of every option."""
    return {field.name: getattr(recipe, field.name) for field in fields(recipe)}


def fresh_copy(recipe: Recipe) -> Recipe:
    """A recipe of the same options that has learnt nothing, to read rows with: that infers labels anew."""
    fresh = type(recipe)(**options(recipe))
    fresh.find_names = recipe.find_names
    return fresh


def batch_names(recipe: Recipe) -> set[str]:
    """Names of all features that batches may have."""
    return {*recipe.tokenizer.model_input_names, "labels", *recipe.batch_features}


def loss_features(recipe: Recipe) -> tuple[str, ...]:
    """Names of the features that go past the model to the loss, `labels` aside."""
    return tuple(name for name, reader in recipe.batch_features.items() if reader == "loss")


def file_formats(recipe: Recipe) -> tuple[str, ...]:
    """How files that are no tables are read, with the options filled in."""
    return tuple(text.format_map(options(recipe)) for text in recipe.formats)


def best_metric(recipe: Recipe) -> str:
    """Metric that picks the checkpoint."""
    return next(iter(recipe.metrics))


def deciding_metric(recipe: Recipe, training: Mapping[str, Any], scored: Collection[str] | None = None) -> str:
    """The metric that picked the checkpoint if it is among the saved scores, as a loss mostly is not; else the first.

    Args:
        recipe: The task.
        training: Keywords of TrainingArguments.
        scored: Metrics that the scores have; None where nothing is scored yet.
    """
    named = str(training.get("metric_for_best_model", "")).removeprefix("eval_")
    is_scored = named.partition("[")[0] in recipe.metrics if scored is None else named in scored
    return named if is_scored and metric_named(recipe, named) is not None else best_metric(recipe)


def table_metrics(recipe: Recipe) -> list[str]:
    """Metrics that tables show."""
    return [name for name, metric in recipe.metrics.items() if metric.in_table]


def together(parts: Sequence[Measure]) -> Measure:
    """All metrics of several measures."""

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        values: dict[str, np.ndarray] = {}
        for part in parts:
            values |= part(weights)
        return values

    return measured


def metric_named(recipe: Recipe, name: str) -> Metric | None:
    """The entry of `metrics` for a metric; None if the recipe does not name it.

    Example:
        >>> class Toy(Recipe):
        ...     metrics = {"f1": HIGHER}
        >>> metric_named(Toy(), "f1[person]").greater_is_better, metric_named(Toy(), "cost")
        (True, None)
    """
    if name == "loss":
        return LOWER
    return recipe.metrics.get(name) or recipe.metrics.get(name.partition("[")[0])


def writes_in_evaluation(recipe: type[Recipe] | Recipe) -> bool:
    """Whether the Trainer generates texts during evaluation, as for models with an encoder and a decoder."""
    return recipe.auto_model == "AutoModelForSeq2SeqLM"


def trainer_name(recipe: type[Recipe] | Recipe) -> str:
    """Name of the Trainer class in transformers that the task is trained with."""
    return "Seq2SeqTrainer" if writes_in_evaluation(recipe) else "Trainer"


def arguments_name(recipe: type[Recipe] | Recipe) -> str:
    """Name of the TrainingArguments class that goes with that Trainer."""
    return "Seq2SeqTrainingArguments" if writes_in_evaluation(recipe) else "TrainingArguments"


def undefined(recipe: type[Recipe]) -> list[str]:
    """Facts and methods that a task must define, and that this one does not.

    Example:
        >>> class Toy(Recipe):
        ...     task, columns, samples = "toy", {}, []
        >>> undefined(Toy)[:3]
        ['auto_model', 'card', 'metrics']
    """
    missing = [name for name in ("task", "auto_model", "columns", "samples", "card") if not hasattr(recipe, name)]
    required = ("metrics", "reference", "encode", "loss", "decode", "measure", "baseline", "baseline_predictions")
    return missing + [name for name in required if getattr(recipe, name) is getattr(Recipe, name)]


def example(recipe: Recipe, columns: Sequence[str]) -> Row:
    """A sample row to predict, with the input columns of the model, for the card and the command line."""
    row = recipe.samples[0] if recipe.card.example is None else recipe.card.example
    cells = {name: row.get(name, "…") for name in columns}
    for name, cell in cells.items():
        if isinstance(cell, str) and "{mask}" in cell:
            cells[name] = cell.replace("{mask}", recipe.tokenizer.mask_token)
    return cells
