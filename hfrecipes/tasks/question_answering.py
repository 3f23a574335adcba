"""Find the answer to a question in a text, or say that it has none.

The answer is a span of the text (extractive): SQuAD, SQuAD 2.0, CMRC 2018 and data of their shape.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.shapes import answers as answer_shapes
from ..errors import ConfigError
from ..losses import cross_entropy, over_batch
from ..metrics._squad import NO_TEXT
from ..models.heads import outputs
from ..recipe import Batch, Column, Measure, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

QUESTION = 64  # tokens of a question that are kept at most, as in the baselines of SQuAD
BEST = 20  # spans of each question that are kept, as in the baselines of SQuAD
SHORTEST = 32  # tokens of a window that has room for question and context


@dataclass(kw_only=True)
class QuestionAnswering(Recipe):
    """Question and context in, a span of the context out; long contexts are read in overlapping windows."""

    max_length: int = 384
    """Tokens of each window, question and special ones included; at most what the model reads."""
    doc_stride: int = 128
    """Tokens that neighbouring windows of a context share; at most half of those that a window has for it."""
    max_answer_length: int = 30
    """Tokens of an answer at most."""
    version_2_with_negative: bool | None = None
    """Whether questions may have no answer; read from the training rows where null."""
    characters: bool | None = None
    """Whether F1 counts characters, as CMRC 2018 does for Chinese, not words; read from the answers where null."""

    task: ClassVar[str] = "question-answering"
    auto_model: ClassVar[str] = "AutoModelForQuestionAnswering"
    columns: ClassVar[dict[str, Column]] = {
        "question": Column(("query", "问题")),
        "context": Column(("passage", "paragraph", "document", "article", "text", "文章")),
        "answers": Column(reference=True, kind={"text": ["string"], "answer_start": ["int64"]}),
        "id": Column(("qid", "question_id"), passthrough=True),
    }
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 32,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    }
    # No PEFT task type: its class for question answering forgets token types, in training alone.
    lora: ClassVar[str | None] = None
    text: ClassVar[str | None] = None
    percent: ClassVar[tuple[str, ...]] = (
        *("exact_match", "HasAns_exact", "NoAns_exact"),
        *("f1", "HasAns_f1", "NoAns_f1"),
    )
    # `labels` tell where the context stands, too, without which no best span is found.
    reduced_by: ClassVar[tuple[str, ...]] = ("labels",)
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
    usage: ClassVar[str] = """\
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

    @property
    def best_metric(self) -> tuple[str, bool]:
        """F1 of words, or of characters."""
        return "f1", True

    @property
    def headline(self) -> tuple[str, ...]:
        """The official scores, and how they part where questions may have no answer."""
        return ("f1", "exact_match", *(("HasAns_f1", "NoAns_f1") if self.version_2_with_negative else ()))

    # --- rows and answers ----------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_answer_length < 1:
            raise ConfigError(f"max_answer_length: {self.max_answer_length}, expected 1 or more")
        if self.max_length < SHORTEST:
            raise ConfigError(f"max_length: {self.max_length} leaves no room, expected {SHORTEST} or more")

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Articles as SQuAD publishes them become one row a question; answers of other shapes become lists."""
        own = {name.strip().lower(): name for name in columns}
        if "paragraphs" in own:
            return partial(answer_shapes.from_articles, paragraphs=own["paragraphs"])
        if "qas" in own:
            return partial(answer_shapes.from_paragraphs, qas=own["qas"])
        answers = next((own[name] for name in ("answers", *answer_shapes.TEXTS) if name in own), None)
        impossible = own.get("is_impossible")
        if answers is None or (answer_shapes.are_lists(columns[answers]) and impossible is None):
            return None
        start = next((own[name] for name in answer_shapes.STARTS if name in own), None)
        return partial(answer_shapes.from_flat, answers=answers, start=start, impossible=impossible)

    def infer_labels(self, train: Dataset) -> list[str]:
        """See whether questions may have no answer, and whether answers are counted by words or characters."""
        references = [
            reference for cell in train["answers"] if (reference := self.reference({"answers": cell})) is not None
        ]
        without = sum(not reference for reference in references)
        sentences = []
        if self.version_2_with_negative is None:
            self.version_2_with_negative = without > 0
            share = (
                f"{without / len(references):.1%} of the questions have none" if without else "every question has one"
            )
            sentences.append(f"answers: {share}; options.version_2_with_negative changes what is made of that")
        if self.characters is None:
            from ..metrics._squad import mostly_cjk

            self.characters = mostly_cjk([reference[0] or "" for reference in references if reference])
            if self.characters:
                sentences.append("f1 counts characters, as CMRC 2018 does; options.characters changes that")
        return sentences

    def reference(self, row: Row) -> Any:
        """Texts of the gold answers, none where the question has no answer; None where that is not known.

        `NO_TEXT` where an answer must be, and none has a text.
        """
        if row.get("answers") is None:
            return None
        pairs = answer_shapes.pairs(row["answers"])
        if not pairs and self.version_2_with_negative is not False:
            return []
        return [text for text, _ in pairs if text and text.strip()] or NO_TEXT

    def unknown_labels(self, rows: Dataset) -> dict[str, list[int]]:
        """Answers without text, and questions without answer where each must have one."""
        unknown = defaultdict(list)
        for index, cell in enumerate(rows["answers"]):
            if self.reference({"answers": cell}) == NO_TEXT:
                unknown[
                    "an answer has no text"
                    if answer_shapes.pairs(cell)
                    else "the question has no answer: options.version_2_with_negative=true allows that"
                ].append(index)
        return unknown

    def untrainable(self, rows: Dataset) -> dict[str, list[int]]:
        """Answers without text, and questions none of whose answers stands where it should, or in one other place."""
        found = defaultdict(list)
        for place, (cell, (context, reference, span)) in enumerate(
            zip(rows["answers"], self._spans(rows), strict=True)
        ):
            if not reference or reference == NO_TEXT:
                continue
            if len(reference) < len(answer_shapes.pairs(cell)):
                found["an answer has no text"].append(place)
            elif span is None:
                found[
                    "the answer does not stand in the context"
                    if not any(" ".join(text.split()) in " ".join(context.split()) for text in reference)
                    else "the answer stands in the context, but it is open where: answer_start tells no place of it"
                ].append(place)
        return found

    def notes(self, rows: Dataset) -> dict[str, list[int]]:
        """Answers that were looked for, since the row names no place or another."""
        found = defaultdict(list)
        cells = rows["answers"]
        for place, (cell, (_, reference, span)) in enumerate(zip(cells, self._spans(rows), strict=True)):
            pairs = [(text or "", start) for text, start in answer_shapes.pairs(cell)] if reference else []
            starts = {start + len(text) - len(text.lstrip()) for text, start in pairs}
            if span and max(starts) < 0:
                found["answer_start is not given, and was set to the one place that has the answer"].append(place)
            elif span and span[0] not in starts:
                found["answer_start was wrong, and was set to where the answer stands"].append(place)
        return found

    def _spans(self, rows: Dataset) -> Iterator[tuple[str, list[str] | None, tuple[int, int] | None]]:
        """Context, gold answers, and characters of the first answer that stands there, of each row."""
        for context, cell in zip(rows["context"], rows["answers"], strict=True):
            span = None if cell is None else answer_shapes.first_span(context or "", cell)
            yield context or "", self.reference({"answers": cell}), span

    def groups(self, rows: Dataset) -> Sequence[Any] | None:
        """The context, which several questions share."""
        return [hash(context) for context in rows["context"]]

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Windows of question and context.

        `starts` and `ends` are the characters of each context token; `labels` the first and last token of the answer,
        -1 where that is not known, and of the context.
        """
        tokens, cut = self._windows(batch["question"], batch["context"])
        rows = tokens["overflow_to_sample_mapping"]
        spans = self._answer_spans(batch)
        features: Batch = {name: tokens[name] for name in ("input_ids", "token_type_ids") if name in tokens}
        features |= {"row": rows, "length": [len(ids) for ids in tokens["input_ids"]]}
        features |= {"cut": [cut[row] for row in rows], "starts": [], "ends": [], "labels": []}
        for window, row in enumerate(rows):
            inside = [place for place, part in enumerate(tokens.sequence_ids(window)) if part == 1]
            offsets = np.array(tokens["offset_mapping"][window], dtype=np.int32)[inside].reshape(-1, 2)
            opens, closes = rows[window - 1 : window] != [row], rows[window + 1 : window + 2] != [row]
            features["starts"].append(offsets[:, 0])
            features["ends"].append(offsets[:, 1])
            first = inside[0] if inside else 0
            answer = _target(spans[row], first, offsets, opens, closes)
            features["labels"].append([*answer, first, first + len(inside) - 1])
        return features

    def _answer_spans(self, batch: Batch) -> list[Any]:
        """Characters of each answer, () for none; None where the answer is not known, or not where it stands."""
        if "answers" not in batch:
            return [None] * len(batch["context"])
        nothing = () if self.version_2_with_negative else None  # a question that must have an answer teaches nothing
        pairs = zip(batch["context"], batch["answers"], strict=True)
        return [
            answer_shapes.first_span(context, cell) if answer_shapes.pairs(cell) else nothing for context, cell in pairs
        ]

    def _windows(self, questions: list[str], contexts: list[str]) -> tuple[Any, list[bool]]:
        """Tokens of all windows, and whether each question was cut."""
        questions = [question.lstrip() for question in questions]
        most = min(QUESTION, self.max_length // 2)
        short = [self._shortened(question, most) for question in questions]
        cut = [len(one) < len(question) for one, question in zip(short, questions, strict=True)]
        room = self.max_length - most - self.tokenizer.num_special_tokens_to_add(pair=True)
        tokens = self.windows(short, contexts, stride=max(0, min(self.doc_stride, room // 2)), cut="only_second")
        return tokens, cut

    def _shortened(self, question: str, most: int) -> str:
        """The question, cut behind that many tokens."""
        if len(question.encode()) <= most:  # no tokenizer makes more tokens than there are bytes
            return question
        offsets = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return question if len(offsets) <= most else question[: offsets[most - 1][1]]

    def encode_for_training(self, batch: Batch) -> Batch:
        """The windows whose answer is known."""
        features = self.encode(batch)
        kept = [place for place, labels in enumerate(features["labels"]) if labels[0] >= 0]
        return {name: [values[place] for place in kept] for name, values in features.items()}

    def loss_function(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy of first and last token, over the windows whose answer is known."""
        return partial(_loss, label_smoothing=label_smoothing, after_context=self._after_context())

    def _after_context(self) -> int:
        """Number of special tokens after the context."""
        if self.tokenizer is None:
            return 1
        parts: list[int | None] = self.tokenizer("a", "a").sequence_ids()
        return parts[::-1].index(1)

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse a model that reads from left to right where questions may have no answer.

        Token 0 stands for no answer, and there such a model has seen nothing of the context yet.
        """
        import torch

        if not self.version_2_with_negative:
            return
        texts = (torch.tensor([[5, 6, 7, last]]) for last in (8, 9))
        first, other = (outputs(model, {"input_ids": ids})["start_logits"][0, 0] for ids in texts)
        if torch.equal(first, other):
            raise ConfigError(
                f"version_2_with_negative: a model of type {model.config.model_type} reads from left to right, so its "
                "first token, which stands for no answer, sees nothing of the context: use an encoder such as BERT, or "
                "rows that all have an answer"
            )

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """The score of no answer (both at token 0), and the best spans of each window: scores, first, last token."""
        import torch

        starts, ends = logits[0].float(), logits[1].float()
        null, most = starts[:, :1] + ends[:, :1], self.max_answer_length
        places = torch.arange(starts.shape[1], device=starts.device)
        outside = (places < labels[:, 2:3]) | (places > labels[:, 3:4])
        ends = torch.nn.functional.pad(ends.masked_fill(outside, -torch.inf), (0, most + BEST), value=-torch.inf)
        starts = torch.nn.functional.pad(starts.masked_fill(outside, -torch.inf), (0, BEST), value=-torch.inf)
        spans = starts[:, :, None] + ends.unfold(1, most, 1)[:, : starts.shape[1]]  # (windows, first, tokens more)
        scores, best = spans.flatten(1).topk(BEST)
        firsts = (best // most - labels[:, 2:3]).int()
        return null, scores, firsts, firsts + (best % most).int()

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`answer`, its `score` (a share of all candidates), `start` and `end` in characters of the context.

        Where questions may have none, also `null_odds`, the score of no answer less that of the best span, and
        `best_span`; the answer is empty where `null_odds` exceeds the threshold that validation settled.
        """
        found: list[dict[tuple[int, int], float]] = [{} for _ in range(len(rows))]
        null = np.full(len(rows), np.inf)
        windows = zip(*(encoded[name] for name in ("row", "starts", "ends")), *outputs, strict=True)
        for row, starts, ends, no_answer, scores, firsts, lasts in windows:
            null[row] = min(null[row], no_answer[0])
            for score, first, last in zip(scores.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
                if score > -np.inf:
                    span = (starts[first], ends[last])
                    found[row][span] = max(score, found[row].get(span, score))
        return [
            self._prediction(row["context"], spans, float(odds))
            for row, spans, odds in zip(rows, found, null, strict=True)
        ]

    def _prediction(self, context: str, found: dict[tuple[int, int], float], null: float) -> Row:
        spans = sorted(((score, *span) for span, score in found.items()), reverse=True)[:BEST]
        spans = spans or [(null - 1e4, 0, 0)]  # a context without a token
        best, start, end = spans[0]
        start, end = end - len(context[start:end].lstrip()), start + len(context[start:end].rstrip())
        scores = np.array([score for score, _, _ in spans] + [null] * bool(self.version_2_with_negative))
        odds = np.exp(scores - scores.max())
        prediction = {"answer": context[start:end], "score": float(odds[0] / odds.sum()), "start": start, "end": end}
        if not self.version_2_with_negative:
            return prediction
        more = {"null_odds": null - best, "best_span": prediction["answer"]}
        if null - best > self.tuned.get("null_threshold", 0.0):
            prediction = {"answer": "", "score": float(odds[-1] / odds.sum()), "start": None, "end": None}
        return {**prediction, **more}

    def tune(self, predictions: list[Row], references: list[Any]) -> list[str]:
        """The threshold of no answer that gives the best F1, as the official script of SQuAD 2.0 finds it."""
        if not self.version_2_with_negative or not predictions:
            return []
        from ..metrics import _squad

        odds = np.array([one["null_odds"] for one in predictions])
        spans = [prediction["best_span"] for prediction in predictions]
        _, overlaps = _squad.agreement(spans, references, version_2_with_negative=True, characters=self.characters)
        # A question without answer gains nothing, and loses what it has where a span is given.
        gains = [
            overlap if reference else -float(bool(span))
            for overlap, span, reference in zip(overlaps, spans, references, strict=True)
        ]
        order = np.argsort(odds, kind="stable")
        totals = np.cumsum(np.array(gains)[order])
        last = np.append(np.diff(odds[order]) > 0, True)  # a threshold parts no two rows of the same odds
        totals = np.where(last, totals, -np.inf)
        best = int(np.argmax(totals))
        threshold = odds[order[best]] if totals[best] > 0 else odds.min() - 1
        self.tuned = {"null_threshold": float(threshold)}
        return [
            f"no answer: where its score exceeds that of the best span by more than {threshold:.2f}, "
            f"which gives the best F1 of {len(references)} validation rows"
        ]

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """No answer where questions may have none, else the sentence that shares most words with the question."""
        if self.version_2_with_negative:
            nothing = {"answer": "", "score": 1.0, "start": None, "end": None, "null_odds": 0.0, "best_span": ""}
            return lambda rows: [nothing] * len(rows)
        return lambda rows: [_nearest_sentence(*pair) for pair in zip(rows["question"], rows["context"], strict=True)]

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Texts of the answers, and the first gold one."""
        return [one["answer"] for one in predictions], [
            reference[0] or "" if reference else "" for reference in references
        ]

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Exact match and F1 in percent, 0 to 100, as the official scripts of SQuAD and CMRC 2018 give them."""
        from ..metrics import _squad

        answers = [prediction["answer"] for prediction in predictions]
        return _squad.measure(
            answers,
            references,
            version_2_with_negative=self.version_2_with_negative,
            characters=self.characters,
        )


def _target(span: Any, first: int, offsets: np.ndarray, opens: bool, closes: bool) -> tuple[int, int]:
    """First and last token of the answer; token 0 where the window lacks it, as in the baselines of SQuAD."""
    if span is None:
        return answer_shapes.UNKNOWN, answer_shapes.UNKNOWN
    found = answer_shapes.target(span or None, offsets[:, 0], offsets[:, 1], opens=opens, closes=closes)
    if found is None:
        return 0, 0
    return found if found[0] < 0 else (first + found[0], first + found[1])


def _loss(
    outputs: Any,
    labels: Any,
    num_items_in_batch: Any = None,
    *,
    label_smoothing: float = 0.0,
    after_context: int = 1,
) -> Any:
    import torch

    known = labels[:, 0] >= 0
    first, last, opens, closes = labels[known].T
    indexes = torch.arange(outputs["start_logits"].shape[1], device=labels.device)
    # How much padding a window has depends on the windows beside it, so none of it may stand in the softmax.
    padding = (indexes > closes[:, None] + after_context) & (indexes > 0)
    # Targets are smoothed over the context and token 0, which stands for no answer.
    among = ((indexes >= opens[:, None]) & (indexes <= closes[:, None])) | (indexes == 0)
    total = 0.0
    for name, target in (("start_logits", first), ("end_logits", last)):
        logits = outputs[name][known].float().masked_fill(padding, -torch.inf)
        total = total + cross_entropy(logits, target, label_smoothing, among).sum() / 2
    # The Trainer counts all four numbers that a window has in `labels`; training has no window without answer or none.
    whole = None if num_items_in_batch is None else num_items_in_batch / 4
    return over_batch(total, known.sum().clamp(min=1), whole)


def _nearest_sentence(question: str, context: str) -> Row:
    wanted = set(re.findall(r"\w", question) if not re.search(r"\w \w", question) else question.lower().split())
    spans = [match.span() for match in re.finditer(r"[^.!?。！？]+", context)] or [(0, len(context))]
    start, end = max(spans, key=lambda span: sum(word in context[slice(*span)].lower() for word in wanted))
    start += len(context[start:end]) - len(context[start:end].lstrip())
    return {"answer": context[start:end], "score": 1.0, "start": start, "end": end}
