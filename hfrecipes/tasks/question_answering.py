"""Find the answer to a question in a text, or say that it has none.

The answer is a span of the text (extractive): SQuAD, SQuAD 2.0, CMRC 2018 and datasets of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..calibration import METRICS as PROBABILITY_METRICS
from ..data.batches import cells_of
from ..data.shapes import answers as answer_shapes
from ..errors import counted
from ..explaining.contract import ScoreToExplain
from ..metrics._squad import NO_TEXT
from ..models.tokenizing import separate_pairs
from ..recipe import (
    IGNORED,
    PERCENT,
    Batch,
    CardTexts,
    Column,
    Finding,
    Measure,
    Metric,
    Recipe,
    Row,
    detail,
    together,
)
from ..redaction.redactor import Edits
from ..redaction.rows import redacted_answer, restored_span
from . import _answer_probabilities, _spans
from ._answer_checks import check_answers, describe_unanswered
from ._answer_probabilities import RankedAnswer
from ._column_names import CONTEXT_NAMES
from ._explained_answers import score_of_answer
from ._slices import has_answer, question_word
from ._windows import (
    NO_ANSWER,
    AnswerSpan,
    check_options,
    context_windows,
    question_windows,
    require_reading_ahead,
    rows_out_of_reach,
    tokens_after_context,
)

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

_USAGE = """\
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForQuestionAnswering.from_pretrained("{path}")
inputs = tokenizer("{question}", "{context}", return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
start, end = outputs.start_logits.argmax(), outputs.end_logits.argmax()
print(tokenizer.decode(inputs["input_ids"][0, start : end + 1]))
"""


@dataclass(kw_only=True)
class QuestionAnswering(Recipe):
    """Question and context in, a span of the context out; long contexts are read in overlapping windows."""

    max_length: int = 384
    """Number of tokens of a window, including question and special tokens; limited by the model."""
    doc_stride: int = 128
    """Number of tokens that neighbouring windows share; at most half of a window's context tokens."""
    max_query_length: int = 64
    """Maximum number of tokens of a question; at most half a window."""
    max_answer_length: int = 30
    """Maximum number of tokens of an answer that is predicted."""
    version_2_with_negative: bool | None = None
    """Whether questions may have no answer; inferred from the training rows if null."""
    characters: bool | None = None
    """Whether F1 counts characters, as CMRC 2018 does for Chinese, not words; inferred from the answers if null."""
    temperature_scaling: bool = False
    """Whether scores of answers are calibrated by temperature scaling, fitted on validation."""

    task: ClassVar[str] = "question-answering"
    auto_model: ClassVar[str] = "AutoModelForQuestionAnswering"
    columns: ClassVar[dict[str, Column]] = {
        "question": Column(("query", "question_text", "问题", "frage", "pregunta"), slice_of=question_word),
        # Several questions are about the same context.
        "context": Column(tuple(CONTEXT_NAMES.split()), grouped=True),
        "answers": Column(reference=True, kind={"text": ["string"], "answer_start": ["int64"]}, slice_of=has_answer),
        "id": Column(("qid", "question_id"), passthrough=True),
    }
    defaults: ClassVar[dict[str, Any]] = {"per_device_eval_batch_size": 32}
    prediction: ClassVar[str | None] = "answer"
    # `labels` are first and last token of the answer, `context` first and last token of the context.
    batch_features: ClassVar[dict[str, Any]] = {"context": "loss"}
    padding_side: ClassVar[str | None] = "right"
    samples: ClassVar[list[Row]] = [
        {
            "question": "When does the last ferry leave?",
            "context": "The last ferry leaves at 17:40.",
            "answers": {"text": ["at 17:40", "17:40"], "answer_start": [22, 25]},
        },
        {
            "question": "Where are the oars kept?",
            "context": "Oars and life vests are kept in the green shed behind the harbour office.",
            "answers": {"text": ["in the green shed"], "answer_start": [29]},
        },
        {
            "question": "Who sells tickets on board?",
            "context": "Tickets are sold at the pier only.",
            "answers": {"text": [], "answer_start": []},
        },
        {
            "question": "What must a guest bring?",
            "context": "Guests are welcome on Sundays and bring their own mug.",
            "answers": {"text": ["their own mug"], "answer_start": [40]},
        },
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Find the answer to a question in a text, or say that it has none.",
        baseline="No answer where questions may have none, otherwise the sentence that shares most words with the "
        "question.",
        scores="Exact match and F1 in percent, 0 to 100, as the official scripts of SQuAD and CMRC 2018 compute them.",
        usage=_USAGE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The official scores, also by questions with and without answer where there are both."""
        # By the names of the official script.
        metrics = {"f1": PERCENT, "exact_match": PERCENT}
        if self.version_2_with_negative:
            metrics |= {"HasAns_f1": PERCENT, "NoAns_f1": PERCENT}
            metrics |= {"HasAns_exact": detail(PERCENT), "NoAns_exact": detail(PERCENT)}
        if self.temperature_scaling:
            metrics |= PROBABILITY_METRICS
            metrics |= _answer_probabilities.ANSWERABLE_METRICS if self.version_2_with_negative else {}
        return metrics

    # --- rows and answers ----------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Articles as SQuAD publishes them become one row per question; answers of other shapes become lists."""
        return answer_shapes.column_normalizer(columns)

    def redacted(self, row: Row, edits: Edits) -> Row:
        """Answers stay spans of the context: one that is replaced, in part too, becomes the placeholder."""
        changed = super().redacted(row, edits)
        if row.get("answers") is None or not isinstance(row.get("context"), str):
            return changed
        answers: Row = {"text": [], "answer_start": []}
        for text, start in answer_shapes.pairs(row["answers"]):
            span = answer_shapes.find_answer(row["context"], text or "", start)
            answer, new_start = redacted_answer(text or "", span, row["context"], edits)
            answers["text"].append(answer if text is not None else None)
            answers["answer_start"].append(start if new_start is None else new_start)
        return {**changed, "answers": answers}

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer whether questions may have no answer, and whether F1 counts words or characters."""
        from ..metrics._squad import mostly_cjk

        known = [reference for reference in self._references(train) if reference is not None]
        # The first answer of each question that has one; the other ones are in the same language.
        first_answers = [reference[0] or "" for reference in known if reference]
        sentences = []
        if self.version_2_with_negative is None:
            self.version_2_with_negative = len(first_answers) < len(known)
            sentences.append(describe_unanswered(len(known) - len(first_answers), len(known)))
        if self.characters is None:
            self.characters = mostly_cjk(first_answers)
            if self.characters:
                sentences.append("f1 counts characters, as CMRC 2018 does; options.characters=false counts words")
        return sentences

    def reference(self, row: Row) -> list[str] | list[str | None] | None:
        """Texts of the answers, none for a question without answer; None where that is not known.

        `NO_TEXT` where the question must have an answer, and none of them has a text.
        """
        if row.get("answers") is None:
            return None
        pairs = answer_shapes.pairs(row["answers"])
        if not pairs and self.version_2_with_negative is not False:
            return []
        texts = [text for text, _ in pairs if text and text.strip()]
        return texts or NO_TEXT

    def check(self, rows: Dataset) -> Iterable[Finding]:
        """Answers without a text, questions without the answer that they must have, and answers not found as given."""
        return check_answers(cells_of(rows, "context"), cells_of(rows, "answers"), self._references(rows))

    def _references(self, rows: Dataset) -> list[Any]:
        return [self.reference({"answers": cell}) for cell in cells_of(rows, "answers")]

    # --- rows to features ----------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Refuse a model that reads from left to right where questions may have no answer; keep the texts apart."""
        if model is not None and self.version_2_with_negative:
            require_reading_ahead(model, config)
        return separate_pairs(self)

    def encode(self, batch: Batch) -> Batch:
        """Windows of question and context; `starts` and `ends` are the characters of each token of the context."""
        tokens, truncated = question_windows(self, batch["question"], batch["context"], stride=self.doc_stride)
        features: Batch = {name: tokens[name] for name in ("input_ids", "token_type_ids") if name in tokens}
        features["length"] = [len(ids) for ids in tokens["input_ids"]]
        # A window of few tokens limits the question to half of them.
        over = "over_max_query_length" if self.max_query_length <= self.max_length // 2 else "over_max_length"
        features |= {"row": [], over: [], "starts": [], "ends": [], "context": []}
        contexts = list(context_windows(tokens))
        for window in contexts:
            features["row"].append(window.row)
            features[over].append(truncated[window.row])
            features["starts"].append(window.starts)
            features["ends"].append(window.ends)
            features["context"].append(window.context)
        if "answers" in batch:
            spans = list(map(self._answer_span, batch["context"], batch["answers"]))
            features["labels"] = [window.label(spans[window.row]) for window in contexts]
            out_of_reach = rows_out_of_reach(batch["context"], batch["answers"], contexts, self.max_answer_length)
            features["beyond_max_answer_length"] = [window.row in out_of_reach for window in contexts]
        return features

    def _answer_span(self, context: str, cell: Any) -> AnswerSpan | None:
        """Characters of the answer; None where it is not known, or not found in the context."""
        if answer_shapes.pairs(cell):
            return answer_shapes.first_span(context, cell)
        # Where questions must have an answer, nothing is learnt from one without.
        return NO_ANSWER if self.version_2_with_negative else None

    def encode_for_training(self, batch: Batch) -> Batch:
        """The windows whose answer is known."""
        features = self.encode(batch)
        # A window without known answer would not add to the loss, and would cost as much time as the others.
        known = [window for window, (first, _) in enumerate(features["labels"]) if first != IGNORED]
        for name, values in features.items():
            features[name] = [values[window] for window in known]
        return features

    def loss(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy of first and last token, over the windows whose answer is known."""
        return partial(_spans.window_loss, label_smoothing=label_smoothing, tokens_after=tokens_after_context(self))

    # --- outputs to predictions ----------------------------------------------------------------------------------

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """The score of no answer, and scores, first and last token of the best spans of each window."""
        starts, ends, context = logits[0].float(), logits[1].float(), logits[-1]
        # The first token of a window stands for no answer.
        no_answer = starts[:, :1] + ends[:, :1]
        return no_answer, *_spans.best_spans(starts, ends, context, self.max_answer_length)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`answer`, its `score` (share of all candidates), `start` and `end` in characters of the context.

        Where questions may have none, also `null_odds`, the logit of no answer minus that of the best span,
        `best_span`, and `no_answer_score`, the share of no answer; the answer is empty where `null_odds` exceeds the
        threshold, 0 before it is calibrated. A temperature changes the shares, and neither `null_odds` nor the answer.
        """
        # What is known of each window: its row, the characters of its tokens, and its best spans.
        windows = zip(encoded["row"], encoded["starts"], encoded["ends"], *outputs, strict=True)
        return [*_spans.best_answers(rows, windows, may_have_none=bool(self.version_2_with_negative))]

    def restored(self, row: Row, prediction: Row, edits: Edits) -> Row:
        """The answer as it stands in the context that was given, a placeholder in it as what it replaced."""
        if prediction.get("start") is None:
            return prediction
        answer, start, end = restored_span(row["context"], edits, prediction["start"], prediction["end"])
        return {**prediction, "answer": answer, "start": start, "end": end}

    @property
    def tuned_options(self) -> list[str]:
        """A temperature."""
        return ["temperature_scaling"] if self.temperature_scaling else []

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """The threshold of no answer that gives the best F1 on validation, and the temperature for what it decides.

        The threshold is for differences of logits, which are all divided by the temperature, so the order is no matter
        for the answers; the temperature is for the scores of the answers that are shown.
        """
        numbers: dict[str, float] = {}
        sentences: list[str] = []
        if self.version_2_with_negative and predictions:
            threshold = _spans.tuned_threshold(predictions, references, characters=bool(self.characters))
            numbers["null_threshold"] = threshold
            sentences.append(
                f"no answer: predicted where its score exceeds that of the best span by more than {threshold:.2f}, "
                f"which gives the best F1 on {counted(len(references), 'validation row')}"
            )
        if self.temperature_scaling:
            decided = _decided(predictions, numbers)
            matches, _ = self._agreement(decided, references)
            temperature, sentence = _answer_probabilities.fit(decided, matches > 0)
            numbers, sentences = {**numbers, **temperature}, [*sentences, sentence]
        return numbers, sentences

    def calibrated(self, predictions: list[Row], calibration: Mapping[str, float]) -> list[Row]:
        """The predictions with the answer that the threshold decides on, and scores after the temperature."""
        return [*_decided(predictions, calibration)]

    def scores_to_explain(self, row: Row, prediction: Row) -> list[ScoreToExplain]:
        """The logits of the first and last token of the answer, or those of no answer."""
        return [score_of_answer(self, row, prediction)]

    # --- scores --------------------------------------------------------------------------------------------------

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Exact match and F1 in percent, 0 to 100, as the official scripts of SQuAD and CMRC 2018 compute them.

        With a temperature also how far `score` can be trusted as the probability of an exact match, and, where
        questions may have no answer, 1 minus `no_answer_score` as that of having one.
        """
        from ..metrics import _squad

        matches, overlaps = self._agreement(predictions, references)
        measure = _squad.measure_agreement(matches, overlaps, references, self.version_2_with_negative)
        if not self.temperature_scaling:
            return measure
        return together([measure, *_answer_probabilities.measures(predictions, references, matches > 0)])

    def _agreement(self, predictions: Sequence[Row], references: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Exact match and F1 of each answer, 0 to 1, (rows,) each."""
        from ..metrics import _squad

        return _squad.agreement(
            [prediction["answer"] for prediction in predictions],
            references,
            version_2_with_negative=self.version_2_with_negative,
            characters=self.characters,
        )

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """The share of the questions without answer; all else the baseline sees in the row to predict."""
        known = [reference for reference in self._references(train) if reference is not None]
        return {"no_answer": sum(not reference for reference in known) / max(1, len(known))}

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """No answer where questions may have none, otherwise the sentence that shares most words with the question."""
        if self.version_2_with_negative:
            nothing = {"answer": "", "start": None, "end": None, "null_odds": 0.0, "best_span": ""}
            share = baseline.get("no_answer", 1.0)
            return [{**nothing, "score": share, "no_answer_score": share}] * len(rows)
        return list(map(_spans.nearest_sentence, rows["question"], rows["context"]))


def _decided(predictions: list[Row], calibration: Mapping[str, float]) -> list[RankedAnswer]:
    """What `decode` gave, with the threshold and the temperature among these numbers."""
    return [prediction.decided(calibration) for prediction in predictions if isinstance(prediction, RankedAnswer)]
