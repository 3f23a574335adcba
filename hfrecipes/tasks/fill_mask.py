"""Fill gaps in texts: masked language modelling.

Adapts an encoder to the language of a domain, before it is fine-tuned for another task.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..collate import padder
from ..errors import ConfigError
from ..losses import ItemLoss, cross_entropy, token_loss
from ..models.tokenizing import require_fast_tokenizer, windows
from ..recipe import HIGHER, IGNORED, LOWER, Batch, CardTexts, Column, Measure, Metric, Recipe, Row, detail
from . import _tokens
from ._lines import describe_lines
from ._masking import hide_words

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

BEST = 5  # tokens that are suggested for each gap
GAP = -1  # label of a gap in the text itself: it is filled, and is not part of the loss
_USAGE = """\
from transformers import pipeline

fill = pipeline("fill-mask", "{path}")
print(fill(f"Keep the jar in a {fill.tokenizer.mask_token} place."))
"""


@dataclass(kw_only=True)
class FillMask(Recipe):
    """Text in, tokens for its gaps out; trained and scored on masked words."""

    max_length: int = 256
    """Number of tokens of a block of text, including special tokens; limited by the model."""
    mlm_probability: float = 0.15
    """Share of the words that are masked."""
    whole_word_mask: bool = False
    """Whether all pieces of a word are masked together."""
    document: Literal["line", "paragraph", "file"] = "line"
    """What one text is in a text file; paragraphs have blank lines between them."""

    task: ClassVar[str] = "fill-mask"
    auto_model: ClassVar[str] = "AutoModelForMaskedLM"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column(("document", "content", "article", "sentence", "body", "文本", "内容")),
    }
    formats: ClassVar[tuple[str, ...]] = ("{document}",)
    # The logits of a batch have the size of the vocabulary, so batches are small.
    defaults: ClassVar[dict[str, Any]] = {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}
    metrics: ClassVar[Mapping[str, Metric]] = {"perplexity": LOWER, "accuracy": HIGHER, "loss": detail(LOWER)}
    # `words`, the word that each token is a piece of, is for the collator, which hides words; no model reads it.
    batch_features: ClassVar[dict[str, Any]] = {"words": "collator"}
    padding_side: ClassVar[str | None] = "right"
    samples: ClassVar[list[Row]] = [
        {"text": "The lid of the jar turns to the left."},
        {"text": "Keep the jar in a dry place, and out of the sun."},
        {"text": "A cracked lid does not keep the air out."},
        {"text": "Turn the jar over once a day while the fruit dries."},
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Fill gaps in texts: masked language modelling.",
        baseline="Every token is as likely as it is frequent in the training rows, whatever the tokens around it.",
        scores="Perplexity (1 is best) and accuracy (0 to 1) of the masked tokens.",
        usage=_USAGE,
        example={"text": "Keep the jar in a {mask} place."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mlm_probability < 1:
            raise ConfigError(f"mlm_probability: {self.mlm_probability}, expected a share between 0 and 1")

    def infer_labels(self, train: Dataset) -> list[str]:
        """Nothing; a hint where the lines of a file look like parts of a text."""
        return describe_lines(train, self.document)

    def reference(self, row: Row) -> bool:
        """True for every row: what is hidden is in the text itself."""
        return True

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Refuse a tokenizer without a mask token, as those of decoders are."""
        require_fast_tokenizer(self)
        _tokens.require_mask_token(self)
        return []

    # --- rows to features ----------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Blocks of each text, always with the same hidden words; nothing is hidden in a text that has gaps itself."""
        tokens = windows(self, batch["text"], stride=0)
        blocks, row_of_block = tokens["input_ids"], tokens["overflow_to_sample_mapping"]
        mask = self.tokenizer.mask_token_id
        rows_with_gaps = {row for row, ids in zip(row_of_block, blocks, strict=True) if mask in ids}
        features: Batch = {"input_ids": [], "labels": [], "row": row_of_block, "length": []}
        for index, row in enumerate(row_of_block):
            ids = np.array(blocks[index])
            if row in rows_with_gaps:
                shown, labels = ids, np.where(ids == mask, GAP, IGNORED)
            else:
                # Seeded by the content, so that scores of different models are of the same hidden words.
                generator = np.random.default_rng(_hash(ids))
                shown, labels = self._hide(ids, self._words(tokens, index), generator)
            features["input_ids"].append(shown)
            features["labels"].append(labels)
            features["length"].append(len(ids))
        return features

    def encode_for_training(self, batch: Batch) -> Batch:
        """Texts one after another in full blocks; the collator masks other words each time a block is read."""
        tokens = _tokens.tokenize_bare(self, batch["text"])
        separator = self.tokenizer.sep_token_id
        ids: list[int] = []
        words: list[int] = []
        for index, text_ids in enumerate(tokens["input_ids"]):
            ids += text_ids
            words += self._words(tokens, index)
            if separator is not None:
                ids.append(separator)
                words.append(-1)
        before, after = _tokens.special_tokens_around(self)
        room = self.max_length - len(before) - len(after)
        features: Batch = {"input_ids": [], "length": []}
        if self.whole_word_mask:
            features["words"] = []
        for start in range(0, len(ids), room):
            block = [*before, *ids[start : start + room], *after]
            features["input_ids"].append(block)
            features["length"].append(len(block))
            if self.whole_word_mask:
                features["words"].append([-1] * len(before) + words[start : start + room] + [-1] * len(after))
        return features

    def _words(self, tokens: Any, index: int) -> list[int]:
        """Number of the word that each token of a text or block is a piece of, -1 for special tokens."""
        if not self.whole_word_mask:
            # Every token counts as a word.
            return list(range(len(tokens["input_ids"][index])))
        return [-1 if word is None else word for word in tokens.word_ids(index)]

    def _hide(
        self, ids: np.ndarray, words: Sequence[int], generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids with some words hidden, and labels."""
        return hide_words(ids, words, share=self.mlm_probability, tokenizer=self.tokenizer, generator=generator)

    def collator(self, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
        """Hides words where none are hidden yet, and pads."""
        return partial(self._collate, pad=padder(self, label_filler=IGNORED))

    def _collate(self, features: list[Row], pad: Callable[[list[Row]], Any]) -> Any:
        batch = []
        for row in features:
            ids, labels = np.array(row["input_ids"]), row.get("labels")
            if labels is None:
                # Seeded by content and epoch, so that a resumed run hides what an uninterrupted one would hide.
                generator = np.random.default_rng([self.seed, self.epoch, _hash(ids)])
                words = row.get("words") or range(len(ids))
                ids, hidden_ids = self._hide(ids, words, generator)
                labels = hidden_ids.tolist()
            batch.append({"input_ids": ids.tolist(), "labels": labels})
        return pad(batch)

    def loss(self, label_smoothing: float = 0.0) -> Callable[..., Any]:
        """Cross entropy over the hidden tokens."""
        return partial(_loss_of_hidden, item_loss=partial(cross_entropy, label_smoothing=label_smoothing))

    # --- predictions and scores ----------------------------------------------------------------------------------

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Sums over the hidden tokens of each block, and scores and ids of the best tokens for each of its gaps."""
        import torch

        logits = logits[0] if isinstance(logits, tuple) else logits
        gaps = labels == GAP
        most_gaps = gaps.sum(1).max().clamp(min=1)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Outputs of several processes are gathered, for which they must have the same size.
            torch.distributed.all_reduce(most_gaps, op=torch.distributed.ReduceOp.MAX)
        scores = torch.full((len(labels), int(most_gaps), BEST), -100.0, device=logits.device)
        tokens = torch.full_like(scores, -100.0)
        for row in gaps.any(1).nonzero()[:, 0].tolist():
            # Row by row, because a softmax of all logits of a batch takes much memory.
            best = torch.softmax(logits[row][gaps[row]].float(), dim=-1).topk(BEST)
            number_of_gaps = len(best.values)
            scores[row, :number_of_gaps] = best.values
            tokens[row, :number_of_gaps] = best.indices.float()
        return _tokens.token_sums(logits, labels), scores.flatten(1), tokens.flatten(1)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """How well the hidden tokens of each row are predicted, and what fits the gaps that it has itself.

        `masked` tokens are hidden, `correct` of them are predicted, with a mean `loss` in nats; `fills` are the best
        tokens for each gap with their `score`.
        """
        row_of_block = encoded["row"][:]
        sums, best_scores, best_tokens = outputs
        fills: list[list[list[Row]]] = [[] for _ in range(len(rows))]
        for row, block_scores, block_tokens in zip(row_of_block, best_scores, best_tokens, strict=True):
            gaps = zip(block_scores.reshape(-1, BEST), block_tokens.reshape(-1, BEST), strict=True)
            for scores, tokens in gaps:
                # Blocks with fewer gaps than the others are filled up with -100.
                if scores[0] >= 0:
                    fills[row].append(self._suggestions(scores, tokens))
        sums = _tokens.sum_by_row(sums, row_of_block, len(rows))
        return list(map(_prediction, sums, fills))

    def _suggestions(self, scores: np.ndarray, tokens: np.ndarray) -> list[Row]:
        """The best tokens for a gap."""
        suggestions = []
        for score, token in zip(scores, tokens, strict=True):
            text = self.tokenizer.decode([int(token)]).strip()
            suggestions.append({"token_str": text, "score": float(score)})
        return suggestions

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Perplexity (1 is best) and accuracy (0 to 1) of the masked tokens."""
        masked, correct, losses = (np.zeros(len(predictions)) for _ in range(3))
        for index, prediction in enumerate(predictions):
            masked[index], correct[index] = prediction["masked"], prediction["correct"]
            losses[index] = prediction["loss"] * masked[index]
        return partial(_tokens.rates, masked, correct, losses)

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """How often each token occurs in the training rows."""
        # Asked before a model is loaded, for the names of the scores alone.
        if self.tokenizer is None:
            return {}
        return _tokens.count_tokens(self._token_ids(train), len(self.tokenizer))

    def _token_ids(self, rows: Dataset) -> Iterator[list[int]]:
        for batch in rows.select_columns("text").iter(1000):
            yield from _tokens.ids_of(self, batch["text"])

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """How well the hidden tokens are predicted by how frequent they are."""
        if self.tokenizer is None:
            return [_prediction(np.array([0.0, 1, 0]), [])] * len(rows)
        frequencies = _tokens.Frequencies(baseline)
        predictions = []
        for batch in rows.select_columns("text").iter(1000):
            features = self.encode(batch)
            sums = _tokens.sum_by_row(frequencies.token_sums(features["labels"]), features["row"], len(batch["text"]))
            predictions += [_prediction(row_sums, []) for row_sums in sums]
        return predictions


def _loss_of_hidden(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, item_loss: ItemLoss) -> Any:
    hidden = labels >= 0  # few tokens: all others would take many times the memory
    return token_loss({"logits": outputs["logits"][hidden]}, labels[hidden], num_items_in_batch, item_loss=item_loss)


def _hash(ids: np.ndarray) -> int:
    """A number from the ids that is the same in every process, unlike `hash`."""
    return zlib.crc32(ids.astype(np.int32).tobytes())


def _prediction(sums: np.ndarray, fills: list[Any]) -> Row:
    scored = _tokens.as_prediction(sums)
    return {"masked": scored["tokens"], "correct": scored["correct"], "loss": scored["loss"], "fills": fills}
