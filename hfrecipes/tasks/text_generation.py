"""Continue a text: causal language modelling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..recipe import HIGHER, IGNORED, LOWER, Batch, CardTexts, Column, Measure, Metric, Recipe, Row, detail
from . import _blocks, _causal, _tokens
from ._continuation import ContinuationWriter
from ._lines import describe_lines

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(kw_only=True)
class TextGeneration(Recipe):
    """The beginning of a text in, the rest of it out; trained and scored on each next token."""

    max_length: int = 512
    """Number of tokens of a block of text, including special tokens; limited by the model."""
    document: Literal["line", "paragraph", "file"] = "line"
    """What one text is in a text file; paragraphs have blank lines between them."""
    across_documents: bool = True
    """Whether a text can attend to the texts before it in its block; if not, whole texts are packed."""
    max_new_tokens: int = 64
    """Maximum number of generated tokens."""
    temperature: float = 0.0
    """Temperature of sampling: 0 takes the most likely token each time, 1 samples with the model's probabilities."""
    generated_rows: int = 4
    """Rows of each split whose beginning is continued when they are scored, as examples to read; 0 for none."""

    task: ClassVar[str] = "text-generation"
    auto_model: ClassVar[str] = "AutoModelForCausalLM"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column(("document", "content", "article", "story", "poem", "body", "sentence", "文本", "内容", "正文")),
    }
    formats: ClassVar[tuple[str, ...]] = ("{document}",)
    defaults: ClassVar[dict[str, Any]] = _causal.DEFAULTS
    batch_features: ClassVar[dict[str, Any]] = {"position_ids": "model"}
    metrics: ClassVar[Mapping[str, Metric]] = {
        "perplexity": LOWER,
        "byte_perplexity": LOWER,
        "accuracy": HIGHER,
        "loss": detail(LOWER),
    }
    samples: ClassVar[list[Row]] = [
        {"text": "The kettle hums, the cat looks up, and the morning can begin."},
        {"text": "Rain on the roof, and nobody has to go out today."},
        {"text": "The boat was small, but so was the lake."},
        {"text": "She counted the stars until one of them winked."},
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Continues a text.",
        baseline="Every token with its frequency in the training rows, whatever comes before it.",
        scores="Mean loss per token in nats, perplexity per token and per byte, 1 at best, and the share of tokens "
        "that are predicted correctly, from 0 to 1. Models with different tokenizers can be compared by perplexity per "
        "byte.",
        usage="""\
from transformers import pipeline

write = pipeline("text-generation", "{path}")
print(write("The cat looks up")[0]["generated_text"])
""",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _causal.check_options(self)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Nothing; a hint where the lines of a file look like parts of a text."""
        return describe_lines(train, self.document)

    def reference(self, row: Row) -> Any:
        """True: the text is its own reference."""
        return True

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """How many tokens it generates at most.

        Raises:
            ModelError: The model sees the tokens that it should predict.
            ConfigError: It lets packed texts see each other.
        """
        if model is not None:
            _causal.check_model(model, packs=not self.across_documents)
        return _causal.fit_new_tokens(self)

    @property
    def writer(self) -> ContinuationWriter:
        """Continues texts."""
        return ContinuationWriter(self)

    # --- features ------------------------------------------------------------------------------------------------

    def documents(self, texts: list[str]) -> Iterator[_blocks.Document]:
        """For each text the tokens that it starts from, and its tokens with the end."""
        prefix, _ = _tokens.special_tokens_around(self)
        end = _tokens.end_of(self)
        for ids in _tokens.ids_of(self, texts):
            # Without a token that begins texts, a text starts from the end of another one.
            yield prefix or [end], [*ids, end]

    def encode(self, batch: Batch) -> Batch:
        """Each text by itself, in windows."""
        features: Batch = {"input_ids": [], "labels": [], "row": [], "length": []}
        for row, (start, ids) in enumerate(self.documents(batch["text"])):
            for window in _blocks.windows([*start, *ids], self.max_length):
                features["input_ids"].append(window)
                features["labels"].append([IGNORED, *window[1:]])
                features["row"].append(row)
                features["length"].append(len(window))
        return features

    def encode_for_training(self, batch: Batch) -> Batch:
        """Full blocks of all texts as one stream; or each text by itself, to be packed with others."""
        if not self.across_documents:
            features = self.encode(batch)
            return {**features, "position_ids": _causal.positions(features["length"])}
        blocks = _blocks.stream(list(self.documents(batch["text"])), _tokens.end_of(self), self.max_length)
        features = {name: [] for name in [*blocks[0], "length"]}
        for block in blocks:
            for name, tokens in block.items():
                features[name].append(tokens)
            features["length"].append(len(block["input_ids"]))
        return features

    collator = _causal.collator
    loss = _causal.loss

    # --- predictions and scores ----------------------------------------------------------------------------------

    preprocess_logits = staticmethod(_causal.preprocess_logits)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """Of each text: number of `tokens`, the end included, `correct` ones, mean `loss` in nats, `bytes` in UTF-8."""
        sums = _tokens.sum_by_row(outputs, encoded["row"][:], len(rows))
        return [_prediction(row_sums, row["text"]) for row_sums, row in zip(sums, rows, strict=True)]

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Loss, perplexity per token and per byte, accuracy."""
        tokens, correct, loss, size = _tokens.columns_of(predictions, ("tokens", "correct", "loss", "bytes"))
        return partial(_tokens.rates, tokens, correct, loss * tokens, size=size)

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """How often each token occurs in the training rows."""
        if self.tokenizer is None:  # before a model is loaded, only the names of the scores are asked for
            return {}
        sample = self._documents_of(_tokens.sample_rows(train))
        return _tokens.count_tokens((tokens for _, tokens in sample), len(self.tokenizer))

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """Every token with its frequency, whatever comes before it."""
        if self.tokenizer is None:
            return [_prediction(np.array([0.0, 1, 0]), "a") for _ in range(len(rows))]
        frequencies = _tokens.Frequencies(baseline)
        predictions = []
        # Row by row, because all tokens of a large split may not fit into memory.
        for text, (_, tokens) in zip(rows["text"], self._documents_of(rows), strict=True):
            predictions.append(_prediction(frequencies.token_sums([tokens])[0], text))
        return predictions

    def _documents_of(self, rows: Dataset) -> Iterator[_blocks.Document]:
        """As `documents`, of the texts of all rows."""
        for batch in rows.select_columns("text").iter(1000):
            yield from self.documents(batch["text"])


def _prediction(sums: np.ndarray, text: str) -> Row:
    return {**_tokens.as_prediction(sums), "bytes": len(text.encode())}
