"""Fill gaps in texts: masked language modelling.

Adapts an encoder to the language of a domain, before it is fine-tuned for another task.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..errors import ConfigError, ModelError
from ..losses import cross_entropy, token_loss
from ..recipe import Batch, Column, Measure, Recipe, Row
from . import _tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

BEST = 5  # words offered for each gap
GAP = -1  # label of a gap that the text itself has: to be filled, and no part of the loss


@dataclass(kw_only=True)
class FillMask(Recipe):
    """Text in, words for its gaps out; trained and scored on words that are hidden from it."""

    max_length: int = 256
    """Tokens of each block of text, special ones included; at most what the model reads."""
    mlm_probability: float = 0.15
    """Share of the words that are hidden."""
    whole_word_mask: bool = False
    """Whether all pieces of a word are hidden together."""
    document: Literal["line", "paragraph", "file"] = "line"
    """What one text is in a text file; paragraphs have blank lines between them."""

    task: ClassVar[str] = "fill-mask"
    auto_model: ClassVar[str] = "AutoModelForMaskedLM"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column(("document", "content", "article", "sentence", "body", "文本", "内容")),
    }
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    }
    # `words` is what whole_word_mask needs to draw the targets.
    targets: ClassVar[tuple[str, ...]] = ("labels", "words")
    reduced_by: ClassVar[tuple[str, ...]] = ("labels",)
    padding_side: ClassVar[str | None] = "right"
    samples: ClassVar[list[Row]] = [
        {"text": "The lid of the jar turns to the left."},
        {"text": "Keep the jar in a dry place, and out of the sun."},
        {"text": "A cracked lid does not keep the air out."},
        {"text": "Turn the jar over once a day while the fruit dries."},
    ]
    usage: ClassVar[str] = """\
from transformers import pipeline

fill = pipeline("fill-mask", "{path}")
print(fill(f"Keep the jar in a {fill.tokenizer.mask_token} place."))
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mlm_probability < 1:
            raise ConfigError(f"mlm_probability: {self.mlm_probability}, expected a share between 0 and 1")

    @property
    def formats(self) -> tuple[str, ...]:
        """As the option says."""
        return (self.document,)

    def example(self, reads: Sequence[str]) -> Row:
        """A text with a gap."""
        return {"text": f"Keep the jar in a {self.tokenizer.mask_token} place."}

    @property
    def best_metric(self) -> tuple[str, bool]:
        """Perplexity of the hidden tokens."""
        return "perplexity", False

    @property
    def headline(self) -> tuple[str, ...]:
        """Perplexity, and how often the best guess is right."""
        return ("perplexity", "accuracy")

    @classmethod
    def reference_columns(cls) -> list[str]:
        """Nothing: a text is its own answer."""
        return []

    def reference(self, row: Row) -> Any:
        """True: what is hidden stands in the text."""
        return True

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Each text in blocks, the same words hidden whenever it is read; none in a text that has gaps itself."""
        self._check_tokenizer()
        tokens = self.windows(batch["text"], stride=0)
        features: Batch = {"input_ids": [], "labels": [], "row": tokens["overflow_to_sample_mapping"]}
        mask = self.tokenizer.mask_token_id
        open_rows = {row for row, ids in zip(features["row"], tokens["input_ids"], strict=True) if mask in ids}
        for block, (row, ids) in enumerate(zip(features["row"], tokens["input_ids"], strict=True)):
            hidden = seen = np.array(ids)
            if row in open_rows:
                labels = np.where(seen == mask, GAP, -100)
            else:
                generator = np.random.default_rng(_hash(seen))
                hidden, labels = self._hide(seen, self._words(tokens, block), generator)
            features["input_ids"].append(hidden)
            features["labels"].append(labels)
        return {**features, "length": [len(ids) for ids in features["input_ids"]]}

    def encode_for_training(self, batch: Batch) -> Batch:
        """Texts one behind another in full blocks; what is hidden is drawn anew whenever a block is read."""
        tokens = self._read(batch["text"])
        end = [one for one in (self.tokenizer.sep_token_id,) if one is not None]
        ids = [one for text in tokens["input_ids"] for one in (*text, *end)]
        words = [
            word for text in range(len(tokens["input_ids"])) for word in (*self._words(tokens, text), *[-1] * len(end))
        ]
        prefix, suffix = _tokens.frame(self)
        room = self.max_length - len(prefix) - len(suffix)
        blocks = [slice(start, start + room) for start in range(0, len(ids), room)]
        framed = [[*prefix, *ids[block], *suffix] for block in blocks]
        features: Batch = {"input_ids": framed, "length": [len(ids) for ids in framed]}
        if self.whole_word_mask:
            features["words"] = [[*[-1] * len(prefix), *words[block], *[-1] * len(suffix)] for block in blocks]
        return features

    def _check_tokenizer(self) -> None:
        self.require_fast_tokenizer()
        if self.tokenizer.mask_token_id is None:
            raise ModelError("the model's tokenizer has no mask token: use an encoder such as BERT")

    def _read(self, texts: list[str]) -> Any:
        self._check_tokenizer()
        return _tokens.alone(self, texts)

    def _words(self, tokens: Any, text: int) -> list[int]:
        """Number of the word that each token is a piece of; -1 for none."""
        if not self.whole_word_mask:
            return list(range(len(tokens["input_ids"][text])))
        return [-1 if word is None else word for word in tokens.word_ids(text)]

    def _hide(
        self, ids: np.ndarray, words: Sequence[int], generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids with some words hidden, and labels: the hidden ids, -100 elsewhere.

        As BERT (Devlin et al. 2019): of the tokens to guess 80 % are masked, 10 % another token, 10 % as they were.
        """
        special = np.isin(ids, self.tokenizer.all_special_ids)
        # Pieces of one word stand side by side, and a word's number may come again in another text.
        starts = np.diff(np.asarray(words), prepend=-2) != 0
        word = np.cumsum(starts) - 1
        drawn = generator.random(word[-1] + 1 if len(word) else 0) < self.mlm_probability
        chosen = drawn[word] & ~special
        if not chosen.any() and not special.all():
            chosen = (word == word[generator.choice(np.flatnonzero(~special))]) & ~special
        fate = generator.random(len(ids))
        hidden = np.where(chosen & (fate < 0.8), self.tokenizer.mask_token_id, ids)
        others = generator.integers(0, len(self.tokenizer), len(ids))
        return np.where(chosen & (fate >= 0.9), others, hidden), np.where(chosen, ids, -100)

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Hides words where none are hidden yet, and pads."""
        from transformers import DataCollatorForTokenClassification

        return partial(self._collate, pad=DataCollatorForTokenClassification(self.tokenizer, **self.padding()))

    def _collate(self, features: list[Row], pad: Callable[[list[Row]], Any]) -> Any:
        shown = []
        for row in features:
            ids, labels = np.array(row["input_ids"]), row.get("labels")
            if labels is None:
                # By content and epoch, so that a run resumed in the middle hides what it would have hidden.
                generator = np.random.default_rng([self.seed, self.epoch, _hash(ids)])
                ids, labels = self._hide(ids, row.get("words") or range(len(ids)), generator)
                labels = labels.tolist()
            shown.append({"input_ids": ids.tolist(), "labels": labels})
        return pad(shown)

    def loss_function(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy over the hidden tokens."""
        return partial(token_loss, item_loss=partial(cross_entropy, label_smoothing=label_smoothing))

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Of each block: summed loss, number and hits of the hidden tokens; the best tokens for each open gap."""
        import torch

        logits = logits[0] if isinstance(logits, tuple) else logits
        gaps = labels == GAP
        most = gaps.sum(1).max().clamp(min=1)
        if torch.distributed.is_available() and torch.distributed.is_initialized():  # which gather tensors of one size
            torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX)
        best = torch.full((2, len(labels), int(most), BEST), -100.0, device=logits.device)
        for row in gaps.any(1).nonzero()[:, 0].tolist():
            top = torch.softmax(logits[row][gaps[row]].float(), dim=-1).topk(BEST)
            best[0, row, : len(top.values)], best[1, row, : len(top.values)] = top.values, top.indices.float()
        return _tokens.sums(logits, labels), best[0].flatten(1), best[1].flatten(1)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """For each row how well hidden words were guessed, and what fits the gaps that it has itself.

        `masked` tokens were hidden, `correct` of them guessed, with a mean `loss` in nats; `fills` are the best tokens
        for each gap with their `score`.
        """
        places = encoded["row"][:]
        sums = _tokens.by_row(outputs[0], places, len(rows))
        fills: list[list[list[Row]]] = [[] for _ in range(len(rows))]
        for place, scores, tokens in zip(places, *outputs[1:], strict=True):
            pairs = zip(scores.reshape(-1, BEST), tokens.reshape(-1, BEST), strict=True)
            fills[place] += [self._fill(*pair) for pair in pairs if pair[0][0] >= 0]
        return [_prediction(one, own) for one, own in zip(sums, fills, strict=True)]

    def _fill(self, scores: np.ndarray, tokens: np.ndarray) -> list[Row]:
        words = [self.tokenizer.decode([int(token)]).strip() for token in tokens]
        return [{"token_str": word, "score": float(score)} for word, score in zip(words, scores, strict=True)]

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """Every token as likely as it is frequent in the training rows, whatever stands around it."""
        if self.tokenizer is None:  # asked before a model is loaded, for the names of the scores
            return lambda rows: [_prediction(np.array([0.0, 1, 0]), [])] * len(rows)
        ids = (one for texts in train.select_columns("text").iter(1000) for one in _tokens.ids_of(self, texts["text"]))
        return partial(self._guessed, _tokens.Frequencies(ids, len(self.tokenizer)))

    def _guessed(self, frequencies: _tokens.Frequencies, rows: Dataset) -> list[Row]:
        """What one and the same guess, and a loss that depends on the token alone, come to."""
        made: list[Row] = []
        for texts in rows.select_columns("text").iter(1000):
            features = self.encode(texts)
            sums = _tokens.by_row(frequencies.sums(features["labels"]), features["row"], len(texts["text"]))
            made += [_prediction(one, []) for one in sums]
        return made

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """None: what is scored are tokens.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("metrics: fill-mask has perplexity and accuracy, and takes no others")

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Perplexity of the hidden tokens, 1 at best, and the share of them guessed, from 0 to 1."""
        masked, right = (np.array([float(one[name]) for one in predictions]) for name in ("masked", "correct"))
        losses = np.array([one["loss"] for one in predictions]) * masked
        return partial(_tokens.rates, masked, right, losses)


def _hash(ids: np.ndarray) -> int:
    return zlib.crc32(ids.astype(np.int32).tobytes())


def _prediction(sums: np.ndarray, fills: list[Any]) -> Row:
    known = _tokens.as_prediction(sums)
    return {"masked": known.pop("tokens"), **known, "fills": fills}
