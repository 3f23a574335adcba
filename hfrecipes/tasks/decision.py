"""Answer questions about a text with a probability for each option, in one pass of a language model.

Tickets by urgency, replies by tone, claims that are true or false; `pipeline("decision")` reads the trained model.
"""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import calibration
from ..collate import padder
from ..data.batches import rows_of
from ..data.shapes.choices import FORMS
from ..errors import ConfigError, DataError, ModelError
from ..losses import ClassWeights
from ..recipe import (
    IGNORED,
    Batch,
    CardTexts,
    Column,
    Finding,
    Measure,
    Metric,
    Recipe,
    Row,
    loss_features,
    text_columns,
)
from ..redaction.redactor import Edits
from ..redaction.rows import redacted_cells
from . import _causal, _decision_loss, _decision_prompts, _decision_rows, _decision_scores
from ._decision_answers import Reference, infer_form, likeliest, reference_of, shares_of
from ._decision_questions import (
    Criteria,
    Question,
    QuestionType,
    check_question,
    default_question,
    from_saved,
    in_order,
    options_of,
    problem_of,
    question_of,
    saved,
)
from ._decision_weights import Unseen, Weights, check_weights, names_of, refuse_unknown, unseen_of, weight_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

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
_USAGE = """\
import json
from transformers import pipeline

decide = pipeline("decision", "{path}")
question = json.loads(decide.model.config.hfrecipes["learned"]["example"])  # type, instructions and criteria
print(decide({"state": "{text}", "questions": {"question": question}}))
"""
_FEATURES = ("input_ids", "candidates", "options", "row", "length", "over_max_length")
_TONE: Row = {"question": "What is the tone?", "options": ["calm", "angry"], "descriptions": ["", "blames somebody"]}
_URGENCY: Row = {
    "question": "How urgent is it?",
    "options": ["can wait", "this week", "today"],
    "question_type": "score",
}
_REFUND: Row = {"question": "Is a refund requested?", "question_type": "noul"}
_EXAMPLE = question_of(_TONE, {"type": "choice", "instructions": None, "criteria": None})


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
        "question": Column(("instructions",), optional=True, has_default=True),
        "options": Column(
            ("criteria", "choices", "endings", "candidates", "alternatives"),
            optional=True,
            has_default=True,
            kind=["string"],
        ),
        "descriptions": Column(optional=True, has_default=True, kind=None),
        "question_type": Column(optional=True, has_default=True, kind=None),
        "answer": Column(("label", "target", "score", "rating", "category", "class"), reference=True),
        "name": Column(optional=True, passthrough=True, kind=None),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = ({"state": "sent", "answer": "label"},)
    # The untrained model answers too: how much it knows already is printed beside what is learnt.
    defaults: ClassVar[dict[str, Any]] = {**_causal.DEFAULTS, "eval_on_start": True}
    prediction: ClassVar[str | None] = "answer"
    padding_side: ClassVar[str | None] = "right"
    reads_files: ClassVar[tuple[str, ...]] = _decision_prompts.FILES
    batch_features: ClassVar[dict[str, Any]] = {
        "logits_to_keep": "model",
        "candidates": "loss",
        **dict.fromkeys(("targets", "is_ranked", "weights"), "loss"),
    }
    samples: ClassVar[list[Row]] = [
        {"state": "The lid was broken again, and nobody answers me!", **_TONE, "answer": "angry"},
        {"state": "Could you tell me when the shop opens?", **_TONE, "answer": "calm"},
        {"state": "The shop floor is under water.", **_URGENCY, "answer": "2"},
        {"state": "Some day I would like a second key.", **_URGENCY, "answer": "0"},
        {"state": "Please send my money back.", **_REFUND, "answer": "true"},
        {"state": "I like the new colour.", **_REFUND, "answer": "false"},
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Answers questions about a text with a probability for each option.",
        baseline="The most frequent answer to the same question, or else to those with the same options, with the "
        "frequency of each.",
        scores="Accuracy, macro F1, Brier score, calibration error and ranked probability score (rps) from 0 to 1, log "
        "loss in nats; of all questions, and by type where there are several.",
        usage=_USAGE,
        example={"state": "Nobody answers me!", **_TONE, "question_type": "choice"},
        pipeline_tag="text-classification",  # the Hub has no tag for decisions
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_question(self)
        check_weights(self.class_weights, self.question_weights, self.unseen_questions)
        self.prompts: Any = None  # Prompts, from `adapt_to_model` on

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Those of all questions, of each type where there are several, of levels, and of the order of options."""
        kinds = self.learned.get("types", ())
        by_type: dict[str, Metric] = {}
        parts = [*(kinds if len(kinds) > 1 else ()), *(_decision_scores.PARTS if "unseen" in self.learned else ())]
        for kind in parts:
            by_type[f"accuracy[{kind}]"] = _decision_scores.METRICS["accuracy"]
        of_levels = _decision_scores.OF_LEVELS if "score" in kinds else {}
        of_order = _decision_scores.OF_ORDER if self.order_bias else {}
        return {**_decision_scores.METRICS, **by_type, **of_levels, **of_order}

    # --- questions and answers -----------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """A row for each question, with its options and their descriptions as lists of texts."""
        names = {name: (name, *column.names) for name, column in self.columns.items()}
        return _decision_rows.column_normalizer(columns, names["state"], names["options"], names["answer"])

    def redacted(self, row: Row, edits: Edits) -> Row:
        """Answers are replaced as options are, so that each stays one of them; types of questions stay."""
        columns = [name for name in text_columns(self) if name != "question_type"]
        return redacted_cells(row, [*columns, "answer"], edits)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer the question of rows without one of their own: its options are the answers in train."""
        names, self.labels = self.labels, []  # those of a dataset that names its classes
        default, sentences = default_question(self, _rows(train), names)
        self.learned["question"] = saved(default)
        questions = [self.question(row) for row in _rows(train)]
        self.learned["types"] = sorted({question["type"] for question in questions})
        pairs = zip(_rows(train), questions, strict=True)
        form = infer_form((row.get("answer"), question, bool(row.get("options"))) for row, question in pairs)
        if form != "text":
            self.learned["answer_form"] = form
            sentences.append(f"answers: a number or letter is {FORMS[form]}")
        sentences += self._infer_weights(train, questions)
        # For the card: no row is shown, and the order of its options is kept.
        is_set = self.criteria is not None or (self.instructions is not None and default["criteria"] is not None)
        self.learned["example"] = json.dumps(default if is_set else _EXAMPLE, ensure_ascii=False)
        return sentences

    def _infer_weights(self, train: Dataset, questions: list[Question]) -> list[str]:
        """Check names against train, count the answers that are balanced, and choose the questions to hold out."""
        options, names = set[str](), set[str]()
        first = []
        for row, question in zip(_rows(train), questions, strict=True):
            options.update(options_of(question))
            called = names_of(row, question)
            names.update(called)
            first.append(called[0])
        refuse_unknown("question_weights", self.question_weights or {}, names)
        if isinstance(self.class_weights, dict):
            refuse_unknown("class_weights", self.class_weights, options)
        elif self.class_weights:
            self.learned["answer_counts"] = self.baseline(train)["answers"]
        if self.unseen_questions is None:
            return []
        self.learned["unseen"] = held = unseen_of(self.unseen_questions, first)
        return [f"held out of train and validation: {len(held)} of {len(set(first))} questions ({', '.join(held)})"]

    def _is_unseen(self, row: Row, question: Question) -> bool:
        return names_of(row, question)[0] in self.learned.get("unseen", ())

    def question(self, row: Row) -> Question:
        """The question of a row."""
        default = {"type": self.question_type or "choice", "instructions": self.instructions, "criteria": self.criteria}
        return question_of(row, from_saved(self.learned.get("question", default)))

    def reference(self, row: Row) -> Reference:
        """The right option, or the share of each; the answer itself where it is no option, None where there is none."""
        return reference_of(row.get("answer"), self.question(row), self.learned.get("answer_form", "text"))

    def check(self, rows: Dataset) -> Iterator[Finding]:
        """Questions that cannot be asked, answers that are no option, control tokens in states."""
        most = _decision_prompts.MOST if self.prompts is None else self.prompts.most
        wrong: dict[tuple[str, str], list[int]] = {}
        held = []
        for index, row in enumerate(_rows(rows)):
            question = self.question(row)
            if self._is_unseen(row, question):
                held.append(index)
            problem = problem_of(row, question, most)
            level = "error"
            if not problem:
                right = likeliest(self.reference(row))
                is_option = right is None or right in options_of(question)
                level, problem = "unknown", "" if is_option else f"answer {str(right)[:40]!r} is none of the options"
            if problem:
                wrong.setdefault((level, problem), []).append(index)
        if held:
            yield Finding("ignored", "the question is held out by unseen_questions", held)
        for (level, problem), indices in wrong.items():
            yield Finding(level, problem, indices)  # type: ignore[arg-type]
        if self.prompts is not None:
            yield from self.prompts.written_control_tokens(rows["state"][:])

    # --- model ---------------------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Labels of the options and the template of the prompts, from the decision config of the model if it has one.

        Raises:
            ConfigError: Labels are no distinct single tokens, or an adapter cannot be merged.
            ModelError: The model does not read from left to right, or cannot give the logits of a single token.
        """
        if model is not None:
            _check_model(model)
            return []
        sentences: list[str] = []
        if "decision" in self.learned:
            settings = _decision_prompts.saved_config(self.learned["decision"])
        else:
            settings, sentences = _decision_prompts.config_of(self)
            self.learned["decision"] = asdict(settings)
        self.prompts = _decision_prompts.Prompts(settings, self)
        self.checks_again = True  # the labels of the model limit the number of options
        return sentences

    def model_files(self) -> dict[str, str]:
        """The decision config that `pipeline("decision")` and the served route read."""
        prefix = _decision_scores.TEMPERATURE
        temperature = {name.removeprefix(prefix): value for name, value in self.calibration.items()}
        return _decision_prompts.files_of(self.prompts.config, temperature)

    # --- features ------------------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """The prompt of each question, with the tokens of the labels; of choices also in reverse order, if asked."""
        return self._features(batch, _with_reversed if self.order_bias else _as_given)

    def encode_for_training(self, batch: Batch) -> Batch:
        """As `encode`, with the options of choices in an order that is drawn for each row."""
        return self._features(batch, _shuffled if self.shuffle_options else _as_given)

    def _features(self, batch: Batch, orders: Callable[[Row, Question], list[Question]]) -> Batch:
        features: Batch = {name: [] for name in _FEATURES}
        about_answers: Batch = {name: [] for name in ("labels", "targets", "is_ranked", "weights")}
        for index, row in enumerate(rows_of(batch)):
            question = self.question(row)
            problem = problem_of(row, question, self.prompts.most)
            if problem:
                raise DataError(f"{problem}: the question about {str(row['state'])[:60]!r}")
            reference = self.reference(row)
            right, weight = likeliest(reference), weight_of(self, row, question, reference)
            for asked in orders(row, question):
                prompt = self.prompts.read(row["state"], asked)
                features["input_ids"].append(prompt.ids)
                features["candidates"].append(prompt.labels)
                features["options"].append(prompt.options)
                features["row"].append(index)
                features["length"].append(len(prompt.ids))
                features["over_max_length"].append(prompt.is_shortened)
                label = prompt.options.index(str(right)) if right in prompt.options else IGNORED
                about_answers["labels"].append(label)
                about_answers["targets"].append(shares_of(reference, prompt.options))
                about_answers["is_ranked"].append(int(question["type"] == "score"))
                about_answers["weights"].append(weight)
        return {**features, **about_answers} if "answer" in batch else features

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
        predictions: list[Row | None] = [None] * len(rows)
        raw = list(rows)
        for logits, options, index in zip(outputs, encoded["options"][:], encoded["row"][:], strict=True):
            question = self.question(raw[index])
            shares = calibration.softmax(np.asarray(logits, np.float64)[None, : len(options)])[0].tolist()
            by_option = dict(zip(options, shares, strict=True))
            scores = {name: by_option[name] for name in options_of(question)}
            first = predictions[index]
            unseen = {"unseen": self._is_unseen(raw[index], question)} if "unseen" in self.learned else {}
            prediction = _decision_scores.prediction_of(question["type"], scores, **unseen)
            if first is None:
                predictions[index] = prediction
            else:
                first[_decision_scores.OTHER_ORDER] = prediction["answer"]
        return [prediction or {} for prediction in predictions]

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """The temperature of each type of question."""
        if not self.temperature_scaling:
            return {}, []
        return _decision_scores.fit_temperatures(predictions, references)

    def calibrated(self, predictions: list[Row], calibration: Mapping[str, float]) -> list[Row]:
        """The predictions with the probabilities after the temperatures."""
        return _decision_scores.at_temperatures(predictions, calibration) if calibration else predictions

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Accuracy, macro F1, log loss, Brier score and calibration error; of levels the ranked probability score."""
        return _decision_scores.measure(predictions, references)

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """How often each option is the answer."""
        return _decision_scores.count_answers((self.question(row), self.reference(row)) for row in _rows(train))

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The most frequent option of each question."""
        return [_decision_scores.most_frequent(self.question(row), baseline) for row in _rows(rows)]


def _rows(rows: Dataset) -> Iterable[Row]:
    """All cells but the states, which take most of the memory."""
    names = [name for name in rows.column_names if name != "state"]
    for batch in rows.select_columns(names).iter(1000):
        yield from rows_of(batch)


def _check_model(model: PreTrainedModel) -> None:
    """Refuse models that the pipeline could not ask.

    Raises:
        ConfigError: Its adapter cannot be merged.
        ModelError: It does not read from left to right, or has no `logits_to_keep`.
    """
    adapter = getattr(model, "active_peft_config", None)
    if adapter is not None and adapter.is_prompt_learning:
        raise ConfigError(
            'lora: virtual tokens cannot be merged, and pipeline("decision") does not read them: use lora'
        )
    whole = model if adapter is None else model.get_base_model()
    if "logits_to_keep" not in inspect.signature(whole.forward).parameters:
        raise ModelError(f"a model of type {model.config.model_type} has no logits_to_keep: use another, such as Qwen")
    _causal.check_model(model, packs=False)


# --- the order of options --------------------------------------------------------------------------------------------


def _as_given(row: Row, question: Question) -> list[Question]:
    return [question]


def _with_reversed(row: Row, question: Question) -> list[Question]:
    """A choice in both directions."""
    if question["type"] != "choice":
        return [question]
    return [question, in_order(question, range(len(question["criteria"]))[::-1])]


def _shuffled(row: Row, question: Question) -> list[Question]:
    """A choice in an order that depends on the row alone, so that it is the same in each run and on each machine."""
    if question["type"] != "choice":
        return [question]
    generator = np.random.default_rng(zlib.crc32(f"{row['state']}\n{question}".encode()))
    return [in_order(question, generator.permutation(len(question["criteria"])).tolist())]
