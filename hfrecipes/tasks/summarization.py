"""Write a short text that says what matters in a long one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ..recipe import Batch, Column, Measure, Recipe, Row
from . import _seq2seq

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

LEAD = 3  # sentences that the trivial summary takes


@dataclass(kw_only=True)
class Summarization(Recipe):
    """Document in, summary out."""

    max_length: int = 512
    """Tokens kept of each document, special ones included; at most what the model reads."""
    max_target_length: int = 128
    """Tokens of a summary at most, learnt or generated."""
    num_beams: int = 1
    """Beams that summaries are searched with; 4 costs more and often reads better."""
    prefix: str | None = None
    """Text before each document, as T5 was trained with; read from the model where null."""
    characters: bool | None = None
    """Whether ROUGE counts words of any script, Chinese and Japanese by letter; read from the summaries where null."""

    task: ClassVar[str] = "summarization"
    auto_model: ClassVar[str] = "AutoModelForSeq2SeqLM"
    columns: ClassVar[dict[str, Column]] = {
        "document": Column(
            ("article", "text", "dialogue", "content", "source", "body", "report", "正文", "文章", "原文")
        ),
        "summary": Column(
            ("highlights", "abstract", "headline", "title", "tldr", "target", "摘要", "标题"), reference=True
        ),
        "references": Column(("summaries",), reference=True, optional=True, passthrough=True, kind=["string"]),
    }
    defaults: ClassVar[dict[str, Any]] = _seq2seq.DEFAULTS
    lora: ClassVar[str | None] = "SEQ_2_SEQ_LM"
    trainer: ClassVar[str] = "Seq2SeqTrainer"
    cut_by: ClassVar[dict[str, str]] = _seq2seq.CUT_BY
    refused: ClassVar[dict[str, str]] = _seq2seq.REFUSED
    text: ClassVar[str | None] = "document"
    percent: ClassVar[tuple[str, ...]] = ("rouge1", "rouge2", "rougeL", "rougeLsum")
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
    usage: ClassVar[str] = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForSeq2SeqLM.from_pretrained("{path}")
inputs = tokenizer("{prefix}{document}", return_tensors="pt")
print(tokenizer.decode(model.generate(inputs["input_ids"])[0], skip_special_tokens=True))
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _seq2seq.check(self)

    @property
    def best_metric(self) -> tuple[str, bool]:
        """ROUGE-L."""
        return "rougeL", True

    @property
    def headline(self) -> tuple[str, ...]:
        """The usual ROUGEs, and how often summaries were cut off."""
        return ("rouge1", "rouge2", "rougeL", "rougeLsum", "at_limit")

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Sentences become a document; of several summaries the first is to learn from, all to be scored against."""
        own = {name.strip().lower(): name for name in columns}
        document, summary = (
            next((own[name] for name in (column, *self.columns[column].names) if name in own), None)
            for column in ("document", "summary")
        )
        lists = [name if name and hasattr(columns[name], "feature") else None for name in (document, summary)]
        return partial(_from_lists, document=lists[0], summary=lists[1]) if any(lists) else None

    @classmethod
    def reference_columns(cls) -> list[str]:
        """The summary, and others of the same document."""
        return ["summary", "references"]

    def reference(self, row: Row) -> Any:
        """All wanted summaries; None where there is none."""
        return _seq2seq.wanted(row.get("summary"), row.get("references")) or None

    def infer_labels(self, train: Dataset) -> list[str]:
        """See whether summaries are in letters other than a to z."""
        if self.characters is not None:
            return []
        from ..metrics._text import SCRIPTS, is_foreign

        self.characters = is_foreign(_seq2seq.texts(train, "summary"))
        return [SCRIPTS] * self.characters

    def adapt_to_model(self, model_config: PretrainedConfig) -> list[str]:
        """The prefix that the model knows, and how much it can write."""
        return [*_seq2seq.infer_prefix(self, model_config, self.task), *_seq2seq.fit_target_length(self, model_config)]

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of document and summary."""
        return _seq2seq.encode(self, batch, "document", "summary")

    generation = _seq2seq.generation
    collator = _seq2seq.collator
    loss_function = _seq2seq.loss_function

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`summary_text`, its number of `tokens`, and whether it ends `at_limit`."""
        return _seq2seq.decode(self, outputs, "summary_text")

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """The first three sentences of the document."""
        return lambda rows: [{"summary_text": _lead(text)} for text in rows["document"]]

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Summaries, and the first gold one."""
        return [one["summary_text"] for one in predictions], [reference[0] for reference in references]

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """ROUGE F-measures, 0 to 100, of the best reference; tokens written, and the share that ends at the limit."""
        from ..metrics import _text

        texts = [one["summary_text"] for one in predictions]
        found = _text.rouge(texts, references, letters=bool(self.characters))
        return partial(_seq2seq.means, {**found, **_seq2seq.lengths(predictions)})


def _lead(text: str) -> str:
    from ..metrics._text import sentences

    return (" " if " " in text else "").join(sentences(text)[:LEAD])


def _from_lists(batch: Batch, document: str | None, summary: str | None) -> Batch:
    made = {name: values for name, values in batch.items() if name not in (document, summary)}
    if document is not None:
        made["document"] = [
            None if cell is None else " ".join(str(one) for one in cell if one is not None) for cell in batch[document]
        ]
    if summary is not None:
        made["summary"] = [cell[0] if cell else None for cell in batch[summary]]
        made["references"] = batch[summary]
    return made
