"""Write a short text that says what matters in a long one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..data.batches import cells_of
from ..data.shapes import texts as text_shapes
from ..recipe import PERCENT, Batch, CardTexts, Column, Measure, Metric, Recipe, Row, Writer
from . import _seq2seq, _tokens
from ._references import all_references, describe_references, references_of
from ._slices import by_length

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

LEAD = 3  # sentences of the document that the baseline takes


@dataclass(kw_only=True)
class Summarization(Recipe):
    """Document in, summary out."""

    max_length: int = 512
    """Maximum number of tokens of a document, including special tokens; limited by the model."""
    max_target_length: int = 128
    """Maximum number of tokens of a summary, in training and generation."""
    num_beams: int = 1
    """Number of beams; 4 takes longer and often gives better summaries."""
    prefix: str | None = None
    """Prefix before each document, as T5 expects; taken from the config of the model if null."""
    characters: bool | None = None
    """Whether ROUGE counts words of any script, Chinese and Japanese by character; inferred if null."""

    task: ClassVar[str] = "summarization"
    auto_model: ClassVar[str] = "AutoModelForSeq2SeqLM"
    columns: ClassVar[dict[str, Column]] = {
        "document": Column(
            (
                "article",
                "text",
                "dialogue",
                "content",
                "source",
                "src",
                "short_text",
                "abst",
                "body",
                "report",
                "正文",
                "文章",
                "原文",
            )
        ),
        "summary": Column(
            ("highlights", "abstract", "headline", "title", "tldr", "target", "tgt", "摘要", "标题"),
            reference=True,
            slice_of=by_length,
        ),
        "references": Column(("summaries",), reference=True, optional=True, passthrough=True, kind=["string"]),
    }
    formats: ClassVar[tuple[str, ...]] = ("parallel",)
    defaults: ClassVar[dict[str, Any]] = _seq2seq.DEFAULTS
    prediction: ClassVar[str | None] = "summary_text"
    # ROUGE-L picks the checkpoint: it also looks at the order of the words.
    metrics: ClassVar[Mapping[str, Metric]] = {
        "rougeL": PERCENT,
        "rouge1": PERCENT,
        "rouge2": PERCENT,
        "rougeLsum": PERCENT,
        **_tokens.LENGTH_METRICS,
    }
    packages: ClassVar[tuple[str, ...]] = ("rouge_score",)
    samples: ClassVar[list[Row]] = [
        {
            "document": "The pump in the cellar failed on Friday. Two neighbours carried water out for an hour. "
            "The committee agreed to buy a new pump before the autumn.",
            "summary": "A new pump will be bought before the autumn.",
        },
        {
            "document": "Twelve singers came to the rehearsal. The hall was cold, and the piano is out of tune. "
            "The concert moves to the second Sunday in May.",
            "summary": "The concert moves to the second Sunday in May.",
        },
        {
            "document": "The hedge by the gate is too high again. Ines will cut it in March, when the birds are not "
            "nesting yet. Rakes are in the shed.",
            "summary": "Ines cuts the hedge in March.",
        },
        {
            "document": "There was cake left from Saturday. We read the accounts and found no mistake. "
            "The fee stays at ten euros a year.",
            "summary": "The accounts are right, and the fee stays the same.",
        },
    ]
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Writes a short text that says what matters in a long one.",
        baseline="The first three sentences of the document.",
        scores="F-measures of ROUGE against the best reference, from 0 to 100; `generated_tokens` is the mean number "
        "of tokens, `at_limit` the share of summaries that stop at the limit without an end.",
        usage="""\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForSeq2SeqLM.from_pretrained("{path}")
inputs = tokenizer("{prefix}{document}", return_tensors="pt")
print(tokenizer.decode(model.generate(inputs["input_ids"])[0], skip_special_tokens=True))
""",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _seq2seq.check_options(self)

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Sentences and turns become a document; of several summaries the first is learnt, and all are references."""
        document, summary = ([name, *self.columns[name].names] for name in ("document", "summary"))
        return text_shapes.column_normalizer(columns, document, summary)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer `characters` from the scripts of the summaries; tell where there are several."""
        sentences = describe_references(train, "summary")
        if self.characters is not None:
            return sentences
        from ..metrics._text import ANY_SCRIPT_NOTE, is_foreign

        self.characters = is_foreign(all_references(train, "summary"))
        return [*sentences, ANY_SCRIPT_NOTE] if self.characters else sentences

    def reference(self, row: Row) -> Any:
        """All reference summaries; None where there is none."""
        return references_of(row.get("summary"), row.get("references")) or None

    # --- model ---------------------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """The prefix that the model knows, and how much it can write."""
        if model is not None:  # the config of the model decided everything in the first call
            return []
        sentences = _seq2seq.infer_prefix(self, config, self.task)
        return sentences + _seq2seq.fit_target_length(self, config)

    @property
    def writer(self) -> Writer:
        """Generates summaries."""
        return _seq2seq.Seq2SeqWriter(self)

    # --- features, predictions and scores ------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of document and summary."""
        return _seq2seq.encode(self, batch, "document", "summary")

    collator = _seq2seq.collator
    loss = _seq2seq.loss

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`summary_text`, its number of `tokens`, and whether it stops `at_limit` without an end."""
        return _seq2seq.decode(self, outputs, "summary_text")

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """ROUGE against the best reference, lengths."""
        from ..metrics import _text

        texts = [prediction["summary_text"] for prediction in predictions]
        values = _text.rouge(texts, references, letters=bool(self.characters))
        return partial(_seq2seq.means, {**values, **_seq2seq.lengths(predictions)})

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """Nothing: a summary is taken from its document."""
        return {}

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """The first sentences of each document, where news and reports say what matters."""
        from ..metrics._text import sentences

        predictions = []
        for text in cells_of(rows, "document"):
            # Chinese and Japanese have no spaces, neither between sentences.
            separator = " " if " " in text else ""
            predictions.append({"summary_text": separator.join(sentences(text)[:LEAD])})
        return predictions
