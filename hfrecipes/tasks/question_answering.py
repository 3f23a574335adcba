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

from ..errors import ModelError
from ..recipe import Batch, Column, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset

BEST = 20  # starts and ends of each window that are kept, as in the baselines of SQuAD
NEAR = 20  # characters within which an answer is taken for the one that answer_start means
_NOWHERE = 1_000_000  # a position behind every text, which the loss of question answering leaves out
_TEXT, _START = ("answer", "answer_text", "答案"), ("answer_start", "start", "start_position")


@dataclass(kw_only=True)
class QuestionAnswering(Recipe):
    """Question and context in, a span of the context out; long contexts are read in overlapping windows."""

    max_length: int = 384
    """Tokens of each window, question and special ones included; at most what the model reads."""
    doc_stride: int = 128
    """Tokens that neighbouring windows of a context share."""
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
        "answers": Column(gold=True, kind={"text": ["string"], "answer_start": ["int64"]}),
        "id": Column(("qid", "question_id"), aside=True),
    }
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 32,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    }
    lora: ClassVar[str | None] = "QUESTION_ANS"
    text: ClassVar[str] = "question"
    targets: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")
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

    @classmethod
    def reshape(cls, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Articles as SQuAD publishes them become one row a question; an answer in two columns becomes `answers`."""
        own = {name.strip().lower(): name for name in columns}
        if "paragraphs" in own:
            return _from_articles
        if "qas" in own:
            return _from_paragraphs
        text = next((own[name] for name in _TEXT if name in own), None)
        if "answers" in own or text is None:
            return None
        inputs = {
            column: own[name]
            for column, facts in cls.columns.items()
            for name in (column, *facts.names)
            if name in own and not facts.gold
        }
        start = next((own[name] for name in _START if name in own), None)
        return partial(_from_flat, inputs=inputs, text=text, start=start)

    def study(self, train: Dataset) -> list[str]:
        """See whether questions may have no answer, and whether answers are counted by words or characters."""
        golds = [gold for cell in train["answers"] if (gold := self.gold({"answers": cell})) is not None]
        without = sum(not gold for gold in golds)
        sentences = []
        if self.version_2_with_negative is None:
            self.version_2_with_negative = without > 0
            share = f"{without / len(golds):.1%} of the questions have none" if without else "every question has one"
            sentences.append(f"answers: {share}; options.version_2_with_negative changes what is made of that")
        if self.characters is None:
            from ..metrics._squad import is_cjk

            answered = [gold[0] for gold in golds if gold]
            self.characters = sum(map(is_cjk, answered)) > len(answered) / 2
            if self.characters:
                sentences.append("f1 counts characters, as CMRC 2018 does; options.characters changes that")
        return sentences

    def gold(self, row: Row) -> Any:
        """Texts of the gold answers, none where the question has no answer; None where that is not known."""
        return None if row.get("answers") is None else [text for text, _ in _answers(row["answers"])]

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Questions without answer where each must have one."""
        if self.version_2_with_negative:
            return {}
        empty = [place for place, cell in enumerate(rows["answers"]) if cell is not None and not _answers(cell)]
        sentence = "the question has no answer and version_2_with_negative is false"
        return {sentence: empty} if empty else {}

    def untrainable(self, rows: Dataset) -> dict[str, list[int]]:
        """Questions none of whose answers stands where it should, or in one other place."""
        found = defaultdict(list)
        for place, (context, cell) in enumerate(zip(rows["context"], rows["answers"], strict=True)):
            if cell is not None and _answers(cell) and _first_span(context or "", cell) is None:
                found["the answer does not stand in the context, or at several places far from answer_start"].append(
                    place
                )
        return found

    def notes(self, rows: Dataset) -> dict[str, list[int]]:
        """Answers that stand beside the place that the row names."""
        moved = []
        for place, (context, cell) in enumerate(zip(rows["context"], rows["answers"], strict=True)):
            span = _first_span(context or "", cell) if cell is not None else None
            if span and span[0] not in [start for _, start in _answers(cell)]:
                moved.append(place)
        return {"answer_start was wrong, and was set to where the answer stands": moved} if moved else {}

    def groups(self, rows: Dataset) -> Sequence[Any] | None:
        """The context, which several questions share."""
        return [str(context) for context in rows["context"]]

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Windows of question and context; `starts` and `ends` are the characters of each context token."""
        tokens, cut = self._windows(batch["question"], batch["context"])
        rows = tokens["overflow_to_sample_mapping"]
        features: Batch = {name: tokens[name] for name in ("input_ids", "token_type_ids") if name in tokens}
        features |= {
            "row": rows,
            "length": [len(ids) for ids in tokens["input_ids"]],
            "cut": [cut[row] for row in rows],
        }
        features |= {"first": [], "starts": [], "ends": []}
        for window in range(len(rows)):
            inside = [place for place, part in enumerate(tokens.sequence_ids(window)) if part == 1]
            offsets = np.array(tokens["offset_mapping"][window], dtype=np.int32)[inside].reshape(-1, 2)
            features["first"].append(inside[0] if inside else 0)
            features["starts"].append(offsets[:, 0])
            features["ends"].append(offsets[:, 1])
        if "answers" in batch:
            spans = [_first_span(*pair) for pair in zip(batch["context"], batch["answers"], strict=True)]
            known = [bool(_answers(cell)) for cell in batch["answers"]]
            targets = [
                _target(spans[row], known[row], *window)
                for row, *window in zip(rows, features["first"], features["starts"], features["ends"], strict=True)
            ]
            features["start_positions"], features["end_positions"] = map(list, zip(*targets, strict=True))
        return features

    def _windows(self, questions: list[str], contexts: list[str]) -> tuple[Any, list[bool]]:
        """Tokens of all windows, and whether each question was cut to half of them."""
        if not self.tokenizer.is_fast:
            raise ModelError(
                f"{type(self.tokenizer).__name__} does not tell where a piece stands in the text: "
                "use a model with a fast tokenizer (tokenizer.json)"
            )
        questions = [question.lstrip() for question in questions]
        most = self.max_length // 2
        pieces = self.tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        cut = [len(offsets) > most for offsets in pieces]
        short = [
            question[: offsets[most - 1][1]] if long else question
            for question, offsets, long in zip(questions, pieces, cut, strict=True)
        ]
        room = self.max_length - most - self.tokenizer.num_special_tokens_to_add(pair=True)
        tokens = self.tokenizer(
            short,
            contexts,
            truncation="only_second",
            max_length=self.max_length,
            stride=max(0, min(self.doc_stride, room // 2)),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids="token_type_ids" in self.tokenizer.model_input_names,
        )
        return tokens, cut

    def reduce(self, logits: Any, labels: Any) -> Any:
        """The best starts and ends of each window with their scores, and the score of no answer (both at token 0)."""
        starts, ends = logits[0].float(), logits[1].float()
        most = min(BEST, starts.shape[1] - 1)
        best_starts, best_ends = starts[:, 1:].topk(most), ends[:, 1:].topk(most)
        null = starts[:, :1] + ends[:, :1]
        return null, best_starts.values, best_starts.indices.int() + 1, best_ends.values, best_ends.indices.int() + 1

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`answer`, its `score` (a share of all candidates), `start` and `end` in characters of the context.

        Where questions may have none, also `null_odds`, the score of no answer less that of the best span, and
        `best_span`; the answer is empty where `null_odds` exceeds the threshold that validation settled.
        """
        found: list[list[tuple[float, int, int]]] = [[] for _ in range(len(rows))]
        null = np.full(len(rows), np.inf)
        columns = ("row", "first", "starts", "ends")
        windows = zip(*(encoded[name] for name in columns), *outputs, strict=True)
        for row, first, starts, ends, no_answer, *scored in windows:
            found[row] += self._spans(first, np.asarray(starts), np.asarray(ends), *scored)
            null[row] = min(null[row], no_answer[0])
        return [
            self._prediction(row["context"], sorted(spans, reverse=True)[:BEST], float(odds))
            for row, spans, odds in zip(rows, found, null, strict=True)
        ]

    def _spans(
        self,
        first: int,
        starts: np.ndarray,
        ends: np.ndarray,
        start_scores: np.ndarray,
        start_places: np.ndarray,
        end_scores: np.ndarray,
        end_places: np.ndarray,
    ) -> list[tuple[float, int, int]]:
        """Score and characters of the spans that one window offers."""
        a, b = start_places[:, None] - first, end_places[None] - first
        fits = (a >= 0) & (a < len(starts)) & (b >= a) & (b < len(starts)) & (b - a < self.max_answer_length)
        scores = start_scores[:, None] + end_scores[None]
        pairs = sorted(((float(scores[i, j]), i, j) for i, j in np.argwhere(fits)), reverse=True)[:BEST]
        return [
            (score, int(starts[start_places[i] - first]), int(ends[end_places[j] - first])) for score, i, j in pairs
        ]

    def _prediction(self, context: str, spans: list[tuple[float, int, int]], null: float) -> Row:
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
        if not self.version_2_with_negative:
            return []
        total = best = sum(not gold for gold in references)
        threshold = min((one["null_odds"] for one in predictions), default=0.0) - 1
        for place in sorted(range(len(predictions)), key=lambda place: predictions[place]["null_odds"]):
            answer, gold = predictions[place]["best_span"], references[place]
            total += self._agreement([answer], [gold])[1][0] if gold else -bool(answer)
            if total > best:
                best, threshold = total, predictions[place]["null_odds"]
        self.tuned = {"null_threshold": float(threshold)}
        return [
            f"no answer: where its score exceeds that of the best span by more than {threshold:.2f}, "
            f"which gives the best F1 of {len(references)} validation rows"
        ]

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset, rows: Dataset) -> list[Row]:
        """No answer where questions may have none, else the sentence that shares most words with the question."""
        if self.version_2_with_negative:
            nothing = {"answer": "", "score": 1.0, "start": None, "end": None, "null_odds": 0.0, "best_span": ""}
            return [nothing] * len(rows)
        return [_nearest_sentence(*pair) for pair in zip(rows["question"], rows["context"], strict=True)]

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Texts of the answers, and the first gold one."""
        return [one["answer"] for one in predictions], [gold[0] if gold else "" for gold in references]

    def _agreement(self, answers: list[str], references: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Exact match and F1 of each row, against the gold answer that agrees best, 0 to 1."""
        from ..metrics import _squad

        exact, f1 = _squad.exact, _squad.f1 if self.version_2_with_negative else _squad.f1_v1
        if self.characters:
            exact, f1 = _squad.cmrc_exact, _squad.cmrc_f1
        elif self.version_2_with_negative:  # its script takes an answer of signs alone for none
            references = [[one for one in gold if _squad.normalize(one)] for gold in references]
        pairs = [(answer, gold or [""]) for answer, gold in zip(answers, references, strict=True)]
        matches, overlaps = (
            np.array([max(agree(answer, one) for one in gold) for answer, gold in pairs]) for agree in (exact, f1)
        )
        return matches, overlaps

    def score(self, predictions: list[Row], references: list[Any]) -> dict[str, float]:
        """Exact match and F1 in percent, 0 to 100, as the official scripts of SQuAD and CMRC 2018 give them."""
        once = np.ones((1, len(references)), dtype=np.float32)
        return {name: float(values[0]) for name, values in self.resample(predictions, references, once).items()}

    def resample(self, predictions: list[Row], references: list[Any], weights: np.ndarray) -> dict[str, np.ndarray]:
        """The same metrics for all resamples at once."""
        exact, f1 = self._agreement([one["answer"] for one in predictions], references)
        weights = weights.astype(np.float64)
        found = {"exact_match": _mean(exact, weights), "f1": _mean(f1, weights)}
        if self.version_2_with_negative:
            answered = np.array([bool(gold) for gold in references])
            for name, part in (("HasAns", answered), ("NoAns", ~answered)):
                found[f"{name}_exact"] = _mean(exact, weights * part)
                found[f"{name}_f1"] = _mean(f1, weights * part)
        return found


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean in percent, NaN where no row counts."""
    total = weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(100 * (weights @ values) / np.where(total > 0, total, np.nan))


def _nearest_sentence(question: str, context: str) -> Row:
    wanted = set(re.findall(r"\w", question) if not re.search(r"\w \w", question) else question.lower().split())
    spans = [match.span() for match in re.finditer(r"[^.!?。！？]+", context)] or [(0, len(context))]
    start, end = max(spans, key=lambda span: sum(word in context[slice(*span)].lower() for word in wanted))
    start += len(context[start:end]) - len(context[start:end].lstrip())
    return {"answer": context[start:end], "score": 1.0, "start": start, "end": end}


# --- answers and where they stand ------------------------------------------------------------------------------------


def _answers(cell: Any) -> list[tuple[str, int]]:
    """Text and start of each answer, of a dict of lists or a list of dicts; -1 for an unknown start."""
    if isinstance(cell, dict):
        texts, starts = cell.get("text") or [], cell.get("answer_start") or []
        pairs: Iterator[tuple[Any, Any]] = zip(texts, [*starts, *[-1] * (len(texts) - len(starts))], strict=False)
    else:
        pairs = ((one.get("text"), one.get("answer_start", -1)) if isinstance(one, dict) else (one, -1) for one in cell)
    return [(str(text), -1 if start is None else int(start)) for text, start in pairs if text is not None]


def _first_span(context: str, cell: Any) -> tuple[int, int] | None:
    """Characters of the first answer that stands in the context."""
    return next((span for text, start in _answers(cell) if (span := _locate(context, text, start))), None)


def _locate(context: str, text: str, start: int) -> tuple[int, int] | None:
    """Where the answer stands: at its start, near it, or in the one place that has it; blanks may differ in number."""
    if start >= 0 and text and context.startswith(text, start):
        return start, start + len(text)
    words = text.split()
    if not words:
        return None
    found = [match.span() for match in re.finditer(r"\s+".join(map(re.escape, words)), context)]
    nearest = min(found, key=lambda span: abs(span[0] - start), default=None)
    if nearest and (len(found) == 1 or (start >= 0 and abs(nearest[0] - start) <= NEAR)):
        return nearest
    return None


def _target(
    span: tuple[int, int] | None, has_answer: bool, first: int, starts: np.ndarray, ends: np.ndarray
) -> tuple[int, int]:
    """First and last token of the answer; token 0 where the window lacks it, as in the baselines of SQuAD."""
    if span is None:
        return (_NOWHERE, _NOWHERE) if has_answer else (0, 0)
    if not len(starts) or span[0] < starts[0] or span[1] > ends[-1]:
        return 0, 0
    start = int(np.searchsorted(ends, span[0], side="right"))
    end = int(np.searchsorted(starts, span[1], side="left")) - 1
    return first + start, first + max(start, end)


# --- published shapes ------------------------------------------------------------------------------------------------


def _from_articles(batch: Batch) -> Batch:
    return _rows(paragraph for paragraphs in batch["paragraphs"] for paragraph in paragraphs)


def _from_paragraphs(batch: Batch) -> Batch:
    return _rows({"context": context, "qas": qas} for context, qas in zip(batch["context"], batch["qas"], strict=True))


def _rows(paragraphs: Iterator[Row]) -> Batch:
    """A row for each question of paragraphs in the shape of SQuAD."""
    made: Batch = {"id": [], "question": [], "context": [], "answers": []}
    for paragraph in paragraphs:
        for asked in paragraph["qas"]:
            made["id"].append(str(asked.get("id") or ""))
            made["question"].append(asked["question"])
            made["context"].append(paragraph["context"])
            given = [] if asked.get("is_impossible") else asked.get("answers")
            made["answers"].append(None if given is None else _as_lists(given))
    return made


def _from_flat(batch: Batch, inputs: dict[str, str], text: str, start: str | None) -> Batch:
    starts = batch[start] if start else [-1] * len(batch[text])
    answers = [
        _as_lists([{"text": one, "answer_start": at}] if one else [])
        for one, at in zip(batch[text], starts, strict=True)
    ]
    return {**{column: batch[own] for column, own in inputs.items()}, "answers": answers}


def _as_lists(answers: Any) -> Row:
    pairs = _answers(answers)
    return {"text": [text for text, _ in pairs], "answer_start": [start for _, start in pairs]}
