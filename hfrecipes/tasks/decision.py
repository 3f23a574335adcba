"""Answer questions about a text with a probability for each option, in one pass of a language model.

Tickets by urgency, replies by tone, claims that are true or false; `pipeline("decision")` reads the trained model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..collate import padder
from ..losses import ClassWeights
from ..recipe import Batch, CardTexts, Column, Finding, Measure, Metric, Recipe, Row, loss_features, text_columns
from ..redaction.redactor import Edits
from ..redaction.rows import redacted_cells
from . import (
    _causal,
    _decision_baseline,
    _decision_checks,
    _decision_config,
    _decision_heads,
    _decision_learning,
    _decision_loss,
    _decision_predictions,
    _decision_prompts,
    _decision_rows,
    _decision_samples,
    _decision_scores,
)
from ._decision_answers import Reference, reference_of
from ._decision_learning import Unseen, Weights
from ._decision_questions import Criteria, Question, QuestionType, as_written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.decision import DecisionConfig

_STATES = (
    "text",
    "sentence",
    "sent",
    "content",
    "message",
    "ticket",
    "comment",
    "review",
    "context",
    "passage",
    "input",
)


@dataclass(kw_only=True)
class Decision(Recipe):
    """A state and a question with its options in, the likeliest option and the probabilities of all out."""

    instructions: str | None = None
    """The question, for rows without one of their own, such as those of a classification set."""
    criteria: Criteria | None = None
    """Options of that question with their descriptions, or a list of levels from the lowest to the highest; null for
    the answers in train."""
    question_type: QuestionType | None = None
    """Type of questions that do not tell theirs: choice, score (levels) or noul (true or false); inferred if null."""
    label_tokens: dict[str, list[str]] | None = None
    """Labels of the options for each type of question, each a single token; by default those of the model's decision
    config, or else A, B, C, … and Yes, No."""
    shuffle_options: bool = True
    """Whether each training row shows the options of a choice in an order of its own."""
    order_bias: bool = False
    """Whether choices are also asked in reverse order, to measure how often the answer changes; twice the time."""
    ordinal_loss: bool = False
    """Whether levels are learnt by the ranked probability score, for which a level farther off is worse."""
    class_weights: ClassWeights | None = None
    """Weight of each answer in the loss; `balanced` is in inverse proportion to its frequency among equal questions."""
    question_weights: Weights | None = None
    """Weight of questions in the loss, by the name that a request gives them, their text or their type."""
    unseen_questions: Unseen | None = None
    """Questions that are held out of train and validation, by name or as a share; test scores them as unseen."""
    temperature_scaling: bool = True
    """Whether the probabilities of each type of question are calibrated by a temperature, fitted on validation."""

    task: ClassVar[str] = "decision"
    auto_model: ClassVar[str] = "AutoModelForCausalLM"
    columns: ClassVar[dict[str, Column]] = {
        # Several questions may be about the same state.
        "state": Column(_STATES, grouped=True),
        # What a row does not say is as in the options; some descriptions may be empty.
        "question": Column(("instructions",), optional="each row"),
        "options": Column(
            ("criteria", "choices", "endings", "candidates", "alternatives"),
            optional="each row",
            kind=["string"],
        ),
        "descriptions": Column(optional="each row", kind=None),
        "question_type": Column(optional="each row", kind=None),
        "answer": Column(("label", "target", "score", "rating", "category", "class"), reference=True),
        "name": Column(optional=True, passthrough=True, kind=None),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = ({"state": "sent", "answer": "label"},)
    # The untrained model answers too: how much it knows already is printed beside what is learnt.
    defaults: ClassVar[dict[str, Any]] = {**_causal.DEFAULTS, "eval_on_start": True}
    prediction: ClassVar[str | None] = "answer"
    padding_side: ClassVar[str | None] = "right"
    reads_files: ClassVar[tuple[str, ...]] = (*_decision_config.FILES, *_decision_heads.FILES)
    batch_features: ClassVar[dict[str, Any]] = {
        "mark": "collator",
        "logits_to_keep": "model",
        **dict.fromkeys(("candidates", "targets", "is_ranked", "weights"), "loss"),
    }
    samples: ClassVar[list[Row]] = _decision_samples.SAMPLES
    card: ClassVar[CardTexts] = _decision_samples.CARD

    def __post_init__(self) -> None:
        super().__post_init__()
        # YAML reads the option in `1: positive` as a number, and that in `true: real` as a boolean.
        for name in ("criteria", "class_weights", "question_weights"):
            if isinstance(getattr(self, name), dict):
                setattr(self, name, {as_written(option): value for option, value in getattr(self, name).items()})
        _decision_checks.check_question(self)
        _decision_learning.check_options(self)
        self.prompts: Any = None  # Prompts, from `adapt_to_model` on

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those of all questions, of each type where there are several, of levels, and of the order of options."""
        kinds, has_unseen = self.learned.get("types", ()), "unseen" in self.learned
        return _decision_scores.metrics_of(kinds, has_unseen=has_unseen, has_orders=self.order_bias)

    # --- questions and answers -----------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """A row for each question, with its options and their descriptions as lists of texts."""
        names = {name: (name, *column.names) for name, column in self.columns.items()}
        return _decision_rows.column_normalizer(columns, names)

    def redacted(self, row: Row, edits: Edits) -> Row:
        """Answers are replaced as options are, so that each stays one of them; types of questions stay."""
        columns = [name for name in text_columns(self) if name != "question_type"]
        return redacted_cells(row, [*columns, "answer"], edits)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer the question of rows without one of their own: its options are the answers in train."""
        names, self.labels = self.labels, []  # those of a dataset that names its classes
        return _decision_learning.learn(self, train, names)

    def question(self, row: Row) -> Question:
        """The question of a row."""
        asked = Question(self.question_type or "choice", self.instructions, self.criteria)
        return Question.of(row, Question.from_json(self.learned.get("question", asked.as_json())))

    def reference(self, row: Row) -> Reference:
        """The right option, or the share of each; the answer itself where it is no option, None where there is none."""
        return reference_of(row.get("answer"), self.question(row), self.learned.get("answer_form", "text"))

    def check(self, rows: Dataset) -> Iterator[Finding]:
        """Questions that cannot be asked, answers that are no option, control tokens in states."""
        most = _decision_config.MOST if self.prompts is None else self.prompts.most
        yield from _decision_checks.findings(self, rows, most)
        if self.prompts is not None:
            yield from self.prompts.written_control_tokens(rows["state"][:])

    # --- model ---------------------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Labels of the options and the template of the prompts, from the decision config of the model if it has one.

        Raises:
            ConfigError: Labels are no distinct single tokens, or an adapter cannot be merged.
            ModelError: The pipeline could not ask the model.
        """
        if model is not None:
            _decision_config.check_model(model)
            return []
        sentences: list[str] = []
        head, given = _decision_heads.head_of(config, self.texts_of_model)
        if head is not None:
            self.auto_model = _decision_heads.AUTO_MODEL  # type: ignore[misc]
        if "decision" in self.learned:
            settings = _decision_config.saved_config(self.learned["decision"])
        else:
            settings, sentences = _decision_config.config_of(self, head or config, given)
            self.learned["decision"] = asdict(settings)
        self.prompts = _decision_prompts.Prompts(settings, self, head or config)
        self.checks_again = True  # the labels of the model limit the number of options
        return sentences

    def load_model(self, path: str | Path, **keywords: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
        """A language model, or a model with a decision head, which then takes the same batches."""
        if self.auto_model == _decision_heads.AUTO_MODEL:
            model, report = _decision_heads.load(str(path), **keywords)
            model.decision_config = self.calibrated_config
            return model, report
        return super().load_model(path, **keywords)

    def model_files(self) -> dict[str, str]:
        """The decision config that `pipeline("decision")` and the served route read."""
        return _decision_config.files_of(self.calibrated_config)

    @property
    def calibrated_config(self) -> DecisionConfig:
        """The decision config with the temperature of each type of question."""
        prefix = _decision_predictions.TEMPERATURE
        temperature = {name.removeprefix(prefix): value for name, value in self.calibration.items()}
        return replace(self.prompts.config, temperature=temperature)

    # --- features ------------------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """The prompt of each question, with the tokens of the labels; of choices also in reverse order, if asked."""
        return _decision_prompts.features_of(
            self, batch, lambda _, question: question.in_both_orders() if self.order_bias else [question]
        )

    def encode_for_training(self, batch: Batch) -> Batch:
        """As `encode`, with the options of choices in an order that is drawn for each row."""
        return _decision_prompts.features_of(
            self, batch, lambda state, question: [question.shuffled(state) if self.shuffle_options else question]
        )

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Pads prompts and options on the right, and tells the model which logits are looked at."""
        return partial(_decision_loss.collate, pad=padder(self))

    def loss(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy over the options of a question."""
        return partial(_decision_loss.option_loss, label_smoothing=label_smoothing, is_ordinal=self.ordinal_loss)

    # --- predictions and scores ----------------------------------------------------------------------------------

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Logits of the labels of the options, (rows, options)."""
        # Rows to predict have the label tokens alone, and rows with answers the other features after them.
        candidates = logits[-1 if labels is None else -len(loss_features(self))]
        return _decision_loss.option_logits(logits[0], candidates)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """The likeliest option of each question, with the probabilities of all."""
        return _decision_predictions.predictions_of(self, outputs, list(rows), encoded)

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """The temperature of each type of question."""
        fit = _decision_predictions.fit_temperatures
        return fit(predictions, references) if self.temperature_scaling else ({}, [])

    def calibrated(self, predictions: list[Row], calibration: Mapping[str, float]) -> list[Row]:
        """The predictions with the probabilities after the temperatures."""
        return _decision_predictions.at_temperatures(predictions, calibration) if calibration else predictions

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Accuracy, macro F1, log loss, Brier score and calibration error; of levels the ranked probability score."""
        return _decision_scores.measure(predictions, references)

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """How often each option is the answer."""
        rows = _decision_rows.without_states(train)
        return _decision_baseline.count_answers((self.question(row), self.reference(row)) for row in rows)

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The most frequent option of each question."""
        questions = [self.question(row) for row in _decision_rows.without_states(rows)]
        return [_decision_baseline.most_frequent(question, baseline) for question in questions]
