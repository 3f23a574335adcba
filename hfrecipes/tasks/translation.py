"""Write a text in another language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..metrics._languages import language
from ..recipe import PERCENT, Batch, CardTexts, Column, Measure, Metric, Recipe, Row
from . import _parallel_columns, _seq2seq, _tokens
from ._language_codes import check_language, language_codes, use_codes
from ._references import all_references, describe_references, references_of
from ._slices import by_length
from ._translation_writer import TranslationWriter

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(kw_only=True)
class Translation(Recipe):
    """Text in one language in, text in another out."""

    max_length: int = 256
    """Maximum number of tokens of a text, including special tokens; limited by the model."""
    max_target_length: int = 256
    """Maximum number of tokens of a translation, in training and generation."""
    num_beams: int = 1
    """Number of beams; 4 takes longer and often gives better translations."""
    source_lang: str | None = None
    """Language to translate from: a key of the data, and the code of models that need one; the first one if null."""
    target_lang: str | None = None
    """Language to translate to, in the same form; the second one if null."""
    prefix: str | None = None
    """Prefix before each source, as T5 expects; taken from the config of the model if null."""

    task: ClassVar[str] = "translation"
    auto_model: ClassVar[str] = "AutoModelForSeq2SeqLM"
    columns: ClassVar[dict[str, Column]] = {
        "source": Column(("src", "src_text", "source_text", "text", "input", "原文")),
        "target": Column(
            ("tgt", "tgt_text", "target_text", "output", "translation", "译文"), reference=True, slice_of=by_length
        ),
        "references": Column(reference=True, optional=True, passthrough=True, kind=["string"]),
    }
    # Files of the same lines in two languages, told apart by their suffix.
    formats: ClassVar[tuple[str, ...]] = ("parallel",)
    defaults: ClassVar[dict[str, Any]] = _seq2seq.DEFAULTS
    prediction: ClassVar[str | None] = "translation_text"
    # chrF picks the checkpoint: BLEU stays at 0 as long as no four words in a row are right.
    metrics: ClassVar[Mapping[str, Metric]] = {
        "chrf": PERCENT,
        "bleu": PERCENT,
        "exact_match": PERCENT,
        **_tokens.LENGTH_METRICS,
    }
    packages: ClassVar[tuple[str, ...]] = ("sacrebleu", "langcodes")
    samples: ClassVar[list[Row]] = [
        {"source": "The bus leaves at ten.", "target": "Der Bus fährt um zehn."},
        {"source": "Where is the key?", "target": "Wo ist der Schlüssel?"},
        {"source": "We meet at the gate.", "target": "Wir treffen uns am Tor."},
        {"source": "It rains a lot in May.", "target": "Im Mai regnet es viel."},
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Translates a text into another language.",
        baseline="The source text, unchanged.",
        scores="BLEU and chrF of the corpus, and exact match, from 0 to 100; `generated_tokens` is the mean number of "
        "tokens, `at_limit` the share of translations that stop at the limit without an end.",
        usage="""\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForSeq2SeqLM.from_pretrained("{path}")
inputs = tokenizer("{prefix}{source}", return_tensors="pt")
print(tokenizer.decode(model.generate(inputs["input_ids"])[0], skip_special_tokens=True))
""",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _seq2seq.check_options(self)

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Texts by language, in one column of dicts or in one column each, become source and target.

        Raises:
            ConfigError: The data has other languages than the options name, or too many to guess.
        """
        return _parallel_columns.normalizer(self, columns)

    def reference(self, row: Row) -> Any:
        """All reference translations; None where there is none."""
        return references_of(row.get("target"), row.get("references")) or None

    def infer_labels(self, train: Dataset) -> list[str]:
        """Check the languages against the texts, and tell the direction.

        Raises:
            ConfigError: A language is not known, and its texts do not show which one it is.
        """
        sentences = describe_references(train, "target")
        sample = _tokens.sample_rows(train)
        for name, code in (("source", self.source_lang), ("target", self.target_lang)):
            if code:
                sentences += check_language(name, code, all_references(sample, name))
        if self.source_lang and self.target_lang:
            sentences.append(f"from {self.source_lang} to {self.target_lang}; options.source_lang changes that")
        return sentences

    # --- model ---------------------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Language codes and prefix of the model, and how much it can write.

        Raises:
            ConfigError: It needs a language code that is not given.
        """
        if model is not None:  # the config of the model decided everything in the first call
            return []
        codes = language_codes(self.tokenizer)
        sentences = use_codes(self, codes) if codes else []
        # T5 has one entry for each direction, such as translation_en_to_de.
        source = self.source_lang and language(self.source_lang)
        target = self.target_lang and language(self.target_lang)
        sentences += _seq2seq.infer_prefix(self, config, f"translation_{source}_to_{target}")
        return sentences + _seq2seq.fit_target_length(self, config)

    @property
    def writer(self) -> TranslationWriter:
        """Generates translations."""
        return TranslationWriter(self)

    # --- features, predictions and scores ------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of both texts."""
        return _seq2seq.encode(self, batch, "source", "target")

    collator = _seq2seq.collator
    loss = _seq2seq.loss

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`translation_text`, its number of `tokens`, and whether it stops `at_limit` without an end."""
        return _seq2seq.decode(self, outputs, "translation_text")

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """BLEU and chrF of the corpus, exact match, lengths."""
        from ..metrics._text import Corpus, exact

        texts = [prediction["translation_text"] for prediction in predictions]
        corpus = Corpus(texts, references, self.target_lang or "")
        self.signatures = corpus.signatures
        values = {"exact_match": _seq2seq.best_of(exact, texts, references), **_seq2seq.lengths(predictions)}
        return partial(_measure, corpus, values)

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """Nothing: the source is copied."""
        return {}

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The source, copied."""
        return [{"translation_text": text} for text in rows["source"]]


def _measure(corpus: Any, values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    return {**corpus.measure(weights), **_seq2seq.means(values, weights)}
