"""Write a text that answers, rewrites or completes another one.

Questions with or without a text to read (generative question answering), instructions, corrections, any text to text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..data.shapes import requests as request_shapes
from ..recipe import PERCENT, Batch, CardTexts, Column, Measure, Metric, Recipe, Row, Writer
from . import _seq2seq, _tokens
from ._references import all_references, describe_json, describe_references, references_of
from ._slices import by_length

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(kw_only=True)
class Text2TextGeneration(Recipe):
    """Text in, text out."""

    max_length: int = 512
    """Maximum number of tokens of an input, including special tokens; limited by the model."""
    max_target_length: int = 128
    """Maximum number of tokens of an output, in training and generation."""
    num_beams: int = 1
    """Number of beams; 4 takes longer and often gives better outputs."""
    prefix: str = ""
    """Prefix before each input."""
    characters: bool | None = None
    """Whether F1 counts Chinese and Japanese characters, not words; inferred from the outputs if null."""
    normalize: Literal["squad"] | None = None
    """Whether exact match and F1 compare texts as SQuAD does, without case, punctuation and articles."""

    task: ClassVar[str] = "text2text-generation"
    auto_model: ClassVar[str] = "AutoModelForSeq2SeqLM"
    columns: ClassVar[dict[str, Column]] = {
        "input": Column(("source", "src", "text", "prompt", "input_text", "source_text", "inputs", "输入")),
        "output": Column(
            ("target", "tgt", "response", "completion", "target_text", "output_text", "targets", "输出"),
            reference=True,
            slice_of=by_length,
        ),
        "references": Column(reference=True, optional=True, passthrough=True, kind=["string"]),
    }
    layouts: ClassVar[tuple[dict[str, str], ...]] = _seq2seq.SUMMARIES
    formats: ClassVar[tuple[str, ...]] = ("parallel",)
    defaults: ClassVar[dict[str, Any]] = _seq2seq.DEFAULTS
    prediction: ClassVar[str | None] = "generated_text"
    # chrF picks the checkpoint: it also tells how near an output is that is not right yet.
    metrics: ClassVar[Mapping[str, Metric]] = {
        "chrf": PERCENT,
        "exact_match": PERCENT,
        "f1": PERCENT,
        **_tokens.LENGTH_METRICS,
    }
    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)
    samples: ClassVar[list[Row]] = [
        {"input": "cant come thu", "output": "I am sorry, I cannot come on Thursday."},
        {"input": "key under mat", "output": "The key is under the mat."},
        {"input": "thx for the cake", "output": "Thank you very much for the cake."},
        {"input": "pls call back", "output": "Could you call me back, please?"},
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Writes a text that answers, rewrites or completes another one.",
        baseline="The most frequent output of the training rows.",
        scores="Exact match and F1 against the best reference, and chrF of the corpus, from 0 to 100; "
        "`generated_tokens` is the mean number of tokens, `at_limit` the share of outputs that stop at the limit "
        "without an end.",
        usage="""\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForSeq2SeqLM.from_pretrained("{path}")
inputs = tokenizer("{prefix}{input}", return_tensors="pt")
print(tokenizer.decode(model.generate(inputs["input_ids"])[0], skip_special_tokens=True))
""",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _seq2seq.check_options(self)

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Instructions, questions with their answers, turns, lists and objects become input and output."""
        source, target = ([name, *self.columns[name].names] for name in ("input", "output"))
        return request_shapes.column_normalizer(columns, source, target)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer `characters`: whether outputs are Chinese or Japanese; tell which outputs are not plain texts."""
        sentences = [*describe_json(train, "input"), *describe_json(train, "output")]
        for sentence in describe_references(train, "output"):
            sentences.append(f"{sentence}; a list that is to be learnt as a whole must be written as a text")
        if self.characters is not None:
            return sentences
        from ..metrics._squad import mostly_cjk

        self.characters = mostly_cjk(all_references(train, "output"))
        if self.characters:
            sentences.append("F1 counts characters; options.characters changes that")
        return sentences

    def reference(self, row: Row) -> Any:
        """All reference outputs; None where there is none."""
        return references_of(row.get("output"), row.get("references")) or None

    # --- model ---------------------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """How much the model can write."""
        if model is not None:  # the config of the model decided everything in the first call
            return []
        return _seq2seq.fit_target_length(self, config)

    @property
    def writer(self) -> Writer:
        """Generates outputs."""
        return _seq2seq.Seq2SeqWriter(self)

    # --- features, predictions and scores ------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of input and output."""
        return _seq2seq.encode(self, batch, "input", "output")

    collator = _seq2seq.collator
    loss = _seq2seq.loss

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`generated_text`, its number of `tokens`, and whether it stops `at_limit` without an end."""
        return _seq2seq.decode(self, outputs, "generated_text")

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Exact match and F1 against the best reference, chrF of the corpus, lengths."""
        from ..metrics._text import Corpus

        texts = [prediction["generated_text"] for prediction in predictions]
        exact, f1 = self._agreement()
        values = {
            "exact_match": _seq2seq.best_of(exact, texts, references),
            "f1": _seq2seq.best_of(f1, texts, references),
            **_seq2seq.lengths(predictions),
        }
        corpus = Corpus(texts, references, names=["chrf"])
        self.signatures = corpus.signatures
        return partial(_measure, corpus, values)

    def _agreement(self) -> tuple[Callable[[str, str], float], Callable[[str, str], float]]:
        """Exact match and F1 of a text and a reference, 0 to 1, as the options ask for."""
        from ..metrics import _squad, _text

        if self.normalize is None:
            return _text.exact, partial(_text.token_f1, characters=bool(self.characters))
        if self.characters:
            return _squad.cmrc_exact, _squad.cmrc_f1
        return _squad.exact, _squad.f1_v1

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """The most frequent output of the training rows."""
        counts = Counter(all_references(train, "output"))
        # Sorted first, so that among equally frequent outputs the order of the rows does not decide.
        return {"output": max(sorted(counts), key=counts.__getitem__, default="")}

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The same output for every row."""
        return [{"generated_text": baseline["output"]}] * len(rows)


def _measure(corpus: Any, values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    return {**_seq2seq.means(values, weights), **corpus.measure(weights)}
