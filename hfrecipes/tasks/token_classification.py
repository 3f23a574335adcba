"""Give each word of a sentence a tag.

Named entities and chunks (tags mark where each begins and ends), parts of speech (one tag a word).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import losses
from ..data.shapes.tags import (
    LETTERS,
    OUTSIDE,
    Scheme,
    cuts_words,
    find_words,
    from_cells,
    from_texts,
    ordered,
    scheme_of,
    span_problems,
    split,
    violations,
)
from ..losses import token_loss
from ..recipe import Batch, Column, Measure, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

_MISSING = {"", "nan", "-100"}
_ALONE = {"BIO": "B", "IOB1": "I"}  # first letter of an entity of one word; S in the other schemes
_TEXT = ("text", "sentence", "content")
_SPANS = ("entities", "spans", "label", "labels", "annotations", "ents")


@dataclass(kw_only=True)
class TokenClassification(Recipe):
    """Words in, a tag for each out; a long sentence is read in windows, and no word is left out."""

    scheme: Scheme | None = None
    """How tags mark entities; `none` for tags that stand alone, as parts of speech; read from the tags where null."""
    stride: int = 64
    """Tokens that neighbouring windows of a sentence beyond max_length share; at most half a window."""
    class_weights: losses.ClassWeights | None = None
    """Weight of each tag in the loss: `balanced` by how rare it is, or a number by tag, 1 for the others."""
    focal_gamma: float = 0.0
    """How much less the loss heeds what the model is sure of (focal loss); 2 is usual, 0 turns it off."""
    logit_adjustment: float = 0.0
    """How far predictions are freed of the tags' frequency in train; 1 wholly, 0 not at all."""

    task: ClassVar[str] = "token-classification"
    auto_model: ClassVar[str] = "AutoModelForTokenClassification"
    columns: ClassVar[dict[str, Column]] = {
        "tokens": Column(("words", "word", "token", "form", "0", "chars", "char", "字"), kind=["string"]),
        "text": Column(passthrough=True),
        "tags": Column(
            (
                *("ner_tags", "ner_tag", "ner", "upos", "pos_tags", "pos", "chunk_tags", "chunk", "bio_tags", "bio"),
                *("tag", "labels", "label", "标签"),
            ),
            reference=True,
            kind=["string"],
        ),
        "entities": Column(
            reference=True,
            optional=True,
            passthrough=True,
            kind=[{"start": "int64", "end": "int64", "label": "string"}],
        ),
    }
    # Files of one token a line: the token stands first, or behind a number that counts, and its tag last.
    layouts: ClassVar[tuple[dict[str, str], ...]] = tuple(
        {"tokens": str(first), "tags": str(last)} for first in (0, 1) for last in range(9, first, -1)
    )
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 64,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    }
    lora: ClassVar[str | None] = "TOKEN_CLS"
    padding_side: ClassVar[str | None] = "right"
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
    usage: ClassVar[str] = """\
from transformers import pipeline

tag = pipeline("token-classification", "{path}", aggregation_strategy="simple")
print(tag("{text}"))
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        losses.check(self)

    @property
    def formats(self) -> tuple[str, ...]:
        """Files of one token a line."""
        return ("conll",)

    @property
    def best_metric(self) -> tuple[str, bool]:
        """F1 of whole entities, or accuracy of tags."""
        return ("accuracy" if self.scheme == "none" else "f1"), True

    @property
    def headline(self) -> tuple[str, ...]:
        """The usual scores."""
        return ("accuracy", "f1_macro") if self.scheme == "none" else ("f1", "precision", "recall")

    # --- tags ----------------------------------------------------------------------------------------------------

    @classmethod
    def reference_columns(cls) -> list[str]:
        """The tags; entities have become tags."""
        return ["tags"]

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Texts become words, and spans of characters their tags; lists written as text become lists."""
        own = {name.strip().lower(): name for name in columns}
        tokens, tags = self._named(own, "tokens"), self._named(own, "tags")
        if tokens:
            written = [name for name in (*tokens, *tags) if _is_text(columns[name])]
            return partial(from_cells, lists=written) if written else None
        text = next((own[name] for name in _TEXT if name in own), None)
        if text is None or not _is_text(columns[text]):
            return None
        spans = next((own[name] for name in _SPANS if name in own), None)
        if spans is not None and hasattr(columns[spans], "feature") and not _is_text(columns[spans].feature):
            return partial(from_texts, text=text, spans=spans)
        of_words = [name for name in tags if name.lower() not in _SPANS]
        if of_words:  # a tag for each word between blanks
            written = [text, *(name for name in of_words if _is_text(columns[name]))]
            return partial(from_cells, lists=written, text=text)
        # What is no list of spans stays as it is, to be named in an error.
        return partial(from_texts, text=text, beside=spans)

    @classmethod
    def _named(cls, own: Mapping[str, str], column: str) -> list[str]:
        return [own[name] for name in (column, *cls.columns[column].names) if name in own]

    def infer_labels(self, train: Dataset) -> list[str]:
        """Read scheme and labels from the training tags."""
        sentences = [tags for row in train.select_columns("tags") if (tags := self.reference(row)) is not None]
        counts = Counter(tag for tags in sentences for tag in tags if tag not in _MISSING)
        guessed = self.scheme is None
        self.scheme = self.scheme or scheme_of(counts, sentences)
        self.labels = self.labels or ordered(set(counts), self.scheme)
        types = self._types
        shown = ", ".join(types[:8]) + (", …" if len(types) > 8 else "")
        what = f"one a word, {len(types)} tags" if self.scheme == "none" else f"{self.scheme}, {len(types)} types"
        sentence = f"tags: {what}: {shown}" + ("; options.scheme changes that" if guessed else "")
        if counts and all(map(str.isdigit, counts)):
            sentence += "; they are numbers, and names such as B-person would tell entities"
        return [sentence]

    def label_counts(self, train: Dataset) -> list[str]:
        """Words of each tag, and the weights that follow."""
        sentences = (self.reference(row) or () for row in train.select_columns("tags"))
        return losses.check_class_weights(
            self, Counter(tag for tags in sentences for tag in tags if tag not in _MISSING)
        )

    @property
    def _types(self) -> list[str]:
        """Types of entity in the order of the labels; where tags stand alone, the tags."""
        return list(dict.fromkeys(filter(None, map(self._type, self.labels))))

    def _type(self, tag: str) -> str:
        """Type of entity of a tag, empty outside; the tag itself where tags stand alone."""
        if self.scheme == "none":
            return tag
        return "" if tag == OUTSIDE else split(tag)[1]

    def _canonical(self, tags: Iterable[str]) -> list[str]:
        """Tags in the letters of BIOES and with a hyphen, as seqeval reads them; as they are where they stand alone.

        One that is no tag of the scheme becomes an entity of a type of its own.
        """
        return [self._canonical_tag(tag) for tag in tags]

    def _canonical_tag(self, tag: str) -> str:
        prefix, kind = split(tag)
        letters = LETTERS.get(self.scheme or "", {})
        if self.scheme == "none" or tag == OUTSIDE:
            return tag
        if prefix in letters:
            return f"{letters[prefix]}-{kind}"
        return f"{_ALONE.get(self.scheme or '', 'S')}-{tag!r}"

    def reference(self, row: Row) -> Any:
        """Tags of the words, None where the row has none; a tag that lacks is empty."""
        return None if row.get("tags") is None else ["" if tag is None else str(tag) for tag in row["tags"]]

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """No two tags, or no sentences."""
        problems: dict[str, list[int]] = {}
        if len(self.labels) < 2:
            problems[f"only one tag, {', '.join(self.labels) or 'none'}: expected two or more"] = []
        if len(rows) > 1 and {len(tokens or ()) for tokens in rows["tokens"]} == {1}:
            problems["every row has one token: expected a sentence a row, or blank lines between sentences"] = []
        return problems

    def label_problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Spans that no tags can stand for, and words without tag."""
        problems: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            of_spans = list(span_problems(row.get("text") or "", row.get("entities") or []))
            for sentence in of_spans:
                problems[sentence].append(index)
            tags = self.reference(row)
            if tags is None or of_spans:
                continue
            if len(tags) != len(row["tokens"] or ()):
                problems["there are not as many tags as tokens"].append(index)
            if not _MISSING.isdisjoint(tags):
                problems["a token has no tag"].append(index)
        return problems

    def unknown_labels(self, rows: Dataset) -> dict[str, list[int]]:
        """Tags that train lacks, or that break with the others; the index of a row stands once for each such tag."""
        unknown: dict[str, list[int]] = defaultdict(list)
        known = {tag for tag in self.labels if self.scheme == "none" or tag == OUTSIDE or split(tag)[0]} | _MISSING
        for index, tags in enumerate(map(self._tags, rows["tags"])):
            for tag in tags or ():
                if tag not in known:
                    unknown[self._stranger(tag)].append(index)
        return unknown

    def _tags(self, tags: Any) -> Any:
        return self.reference({"tags": tags})

    def _stranger(self, tag: str) -> str:
        if self.scheme == "none" or split(tag)[0]:
            return f"tag {tag!r} is unknown to the training rows"
        return f"tag {tag!r} has no prefix, as other tags do (options.scheme=none takes tags as they are)"

    def notes(self, rows: Dataset) -> dict[str, list[int]]:
        """Tags that break the scheme, and spans that begin or end within a word."""
        found: dict[str, list[int]] = {}
        if self.scheme != "none":
            sentences = [tags or [] for tags in map(self._tags, rows["tags"])]
            broken = [violations(tags, self.scheme or "BIO") for tags in sentences]
            sentence = f"{sum(broken)} of {sum(map(len, sentences))} tags break {self.scheme}"
            found = {sentence: [place for place, number in enumerate(broken) if number]} if any(broken) else {}
        if "entities" in rows.column_names:
            inside = [
                place
                for place, (text, entities) in enumerate(zip(rows["text"], rows["entities"], strict=True))
                if cuts_words(text or "", entities or [])
            ]
            found |= {"a span begins or ends within a word and was widened to it": inside} if inside else {}
        return found

    def model_settings(self) -> dict[str, Any]:
        """Label names."""
        names = dict(enumerate(self.labels))
        return {"num_labels": len(names), "id2label": names, "label2id": {tag: place for place, tag in names.items()}}

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Windows over the pieces of each sentence; `words` holds at one piece of each word the word's number."""
        sentences = batch["tokens"]
        tokens, owners = self._windows(sentences)
        lost = [set(range(len(words))) - owned.keys() for words, owned in zip(sentences, owners, strict=True)]
        if any(lost):  # a word of nothing but odd signs can leave no piece; it needs one to be tagged by
            unknown = self.tokenizer.unk_token or self.tokenizer.mask_token or "?"
            shown = [
                [unknown if place in gone else word for place, word in enumerate(words)]
                for words, gone in zip(sentences, lost, strict=True)
            ]
            tokens, owners = self._windows(shown)
        words = [[-1] * len(ids) for ids in tokens["input_ids"]]
        for owned in owners:
            for word, (window, piece) in owned.items():
                words[window][piece] = word
        features = {"input_ids": tokens["input_ids"], "row": tokens["overflow_to_sample_mapping"], "words": words}
        features["length"] = [len(ids) for ids in tokens["input_ids"]]
        if "tags" in batch:
            targets = list(map(self._targets, sentences, batch["tags"]))
            features["labels"] = [
                [-100 if word < 0 else targets[row][word] for word in several]
                for several, row in zip(words, features["row"], strict=True)
            ]
        return features

    def _targets(self, words: list[str], tags: list[Any]) -> list[int]:
        """Label id of each word; -100, which the loss ignores, for a tag that train lacks, or that is of no word."""
        if len(words) != len(tags):
            return [-100] * len(words)
        ids = {tag: index for index, tag in enumerate(self.labels)}
        return [ids.get(str(tag), -100) for tag in tags]

    def _windows(self, sentences: list[list[str]]) -> tuple[Any, list[dict[int, tuple[int, int]]]]:
        """Tokens of all windows, and for each sentence the window and piece that each word is tagged by."""
        room = self.max_length - self.tokenizer.num_special_tokens_to_add()
        stride = max(0, min(self.stride, room // 2))
        tokens = self.windows([" ".join(words) for words in sentences], stride=stride)
        return tokens, _owners(tokens, sentences)

    def loss_function(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy over the words."""
        return partial(token_loss, item_loss=losses.item_loss(self, label_smoothing))

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Pads labels too."""
        from transformers import DataCollatorForTokenClassification

        collate: Callable[[list[Row]], Any] = DataCollatorForTokenClassification(self.tokenizer, **self.padding())
        return collate

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Best label of each piece, and its probability."""
        import torch

        logits = logits[0] if isinstance(logits, tuple) else logits
        score, best = torch.softmax(logits.float(), dim=-1).max(dim=-1)
        return best.int(), score

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`tags` and their `scores`, one a word; for rows with a text also `entities`, in characters."""
        best, score = outputs
        found: list[dict[int, tuple[str, float]]] = [{} for _ in range(len(rows))]
        for window, (row, words) in enumerate(zip(encoded["row"], encoded["words"], strict=True)):
            for piece, word in enumerate(words):
                if word >= 0:
                    found[row][word] = (self.labels[best[window][piece]], float(score[window][piece]))
        pairs = [[one[word] for word in sorted(one)] for one in found]
        predictions: list[Row] = [
            {"tags": [tag for tag, _ in one], "scores": [value for _, value in one]} for one in pairs
        ]
        for row, prediction in zip(rows, predictions, strict=True):
            if row.get("text") is not None:
                prediction["entities"] = self._entities(row["text"], row["tokens"], **prediction)
        return predictions

    def _entities(self, text: str, tokens: list[str], tags: list[str], scores: list[float]) -> list[Row]:
        spans = find_words(text, tokens)
        return [
            {
                "label": kind,
                "score": float(np.mean(scores[first : last + 1])),
                "text": text[spans[first][0] : spans[last][1]],
                "start": spans[first][0],
                "end": spans[last][1],
            }
            for kind, first, last in self._chunks(tags)
            if spans
        ]

    def _chunks(self, tags: list[str]) -> list[tuple[str, int, int]]:
        """Type, first and last word of each entity, as conlleval finds them; each word alone where tags stand alone."""
        if self.scheme == "none":
            return [(tag, place, place) for place, tag in enumerate(tags)]
        from ..metrics import _entities

        return _entities.entities_in(self._canonical(tags))

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """The tag that each word has most often in the training rows, and for other words the most frequent one."""
        seen: dict[str, Counter[str]] = defaultdict(Counter)
        for tokens, tags in zip(train["tokens"], train["tags"], strict=True):
            for token, tag in zip(tokens, self._tags(tags) or (), strict=False):
                seen[token][tag] += 1
        usual = {token: max(sorted(counts), key=counts.__getitem__) for token, counts in seen.items()}
        overall = Counter[str]()
        for counts in seen.values():
            overall.update(counts)
        most = max(sorted(overall), key=overall.__getitem__)
        return lambda rows: [_certain([usual.get(token, most) for token in tokens]) for tokens in rows["tokens"]]

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Tags, row by row; where there are not as many as words, nothing in the row is right."""
        predicted = [prediction["tags"] for prediction in predictions]
        fitting = [
            reference if len(reference) == len(tags) else [""] * len(tags)
            for reference, tags in zip(references, predicted, strict=True)
        ]
        return list(map(self._canonical, predicted)), list(map(self._canonical, fitting))

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Precision, recall and F1 of whole entities, from 0 to 1: over all, strict, and by type; accuracy of tags.

        As conlleval and seqeval's default mode count; `_strict` as seqeval's strict mode, where an entity counts only
        if its tags keep to the scheme.
        """
        from ..metrics import _entities

        predicted, reference = self.metric_inputs(predictions, references)
        if self.scheme == "none":
            return _entities.measure_tags(predicted, reference, self.labels)
        return _entities.measure_entities(predicted, reference, self._types, self.scheme)


def _certain(tags: list[str]) -> Row:
    return {"tags": tags, "scores": [1.0] * len(tags)}


def _is_text(kind: Any) -> bool:
    return getattr(kind, "dtype", None) in ("string", "large_string")


# --- words and windows -----------------------------------------------------------------------------------------------


def _owners(tokens: Any, sentences: list[list[str]]) -> list[dict[int, tuple[int, int]]]:
    """For each sentence: word -> window and piece that it is tagged by, the first piece where it has most context."""
    starts = [np.cumsum([0, *(len(word) + 1 for word in words[:-1])]) for words in sentences]
    rows = tokens["overflow_to_sample_mapping"]
    owned: list[dict[int, tuple[int, int]]] = [{} for _ in sentences]
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for window, (row, offsets) in enumerate(zip(rows, tokens["offset_mapping"], strict=True)):
        is_first, is_last = window == 0 or rows[window - 1] != row, window + 1 == len(rows) or rows[window + 1] != row
        for piece, word, start in _first_pieces(np.array(offsets), starts[row]):
            left = np.inf if is_first else piece
            right = np.inf if is_last else len(offsets) - piece
            context = min(left, right)
            known = best.get((row, word))
            if known is None or (context > known[0] and start == known[1]):  # elsewhere the word's start is cut off
                best[row, word] = (context, start)
                owned[row][word] = (window, piece)
    return owned


def _first_pieces(offsets: np.ndarray, starts: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Piece, word and first character of the first piece of each word in a window."""
    real = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
    # By the last character: a piece may include the blank before its word.
    words = np.searchsorted(starts, offsets[real, 1] - 1, side="right") - 1
    seen, places = np.unique(words, return_index=True)
    yield from zip(real[places].tolist(), seen.tolist(), offsets[real[places], 0].tolist(), strict=True)
