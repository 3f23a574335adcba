"""Write a text that answers, rewrites or completes another.

Questions with or without a text to read (generative question answering), instructions, corrections, any text to text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..data.shapes import answers as answer_shapes
from ..data.shapes.cells import below
from ..errors import DataError
from ..recipe import Batch, Column, Measure, Recipe, Row
from . import _seq2seq

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig


@dataclass(kw_only=True)
class Text2TextGeneration(Recipe):
    """Text in, text out."""

    max_length: int = 512
    """Tokens kept of each input, special ones included; at most what the model reads."""
    max_target_length: int = 128
    """Tokens of an output at most, learnt or generated."""
    num_beams: int = 1
    """Beams that outputs are searched with; 4 costs more and often reads better."""
    prefix: str = ""
    """Text before each input."""
    characters: bool | None = None
    """Whether F1 counts Chinese and Japanese letters, not words; read from the outputs where null."""
    normalize: Literal["squad"] | None = None
    """Whether exact match and F1 compare texts as SQuAD does, without case, punctuation and articles."""

    task: ClassVar[str] = "text2text-generation"
    auto_model: ClassVar[str] = "AutoModelForSeq2SeqLM"
    columns: ClassVar[dict[str, Column]] = {
        "input": Column(("source", "text", "prompt", "input_text", "source_text", "inputs", "输入")),
        "output": Column(
            ("target", "response", "completion", "target_text", "output_text", "targets", "输出"), reference=True
        ),
        "references": Column(reference=True, optional=True, passthrough=True, kind=["string"]),
    }
    defaults: ClassVar[dict[str, Any]] = _seq2seq.DEFAULTS
    lora: ClassVar[str | None] = "SEQ_2_SEQ_LM"
    trainer: ClassVar[str] = "Seq2SeqTrainer"
    cut_by: ClassVar[dict[str, str]] = _seq2seq.CUT_BY
    percent: ClassVar[tuple[str, ...]] = ("exact_match", "f1", "chrf")
    refused: ClassVar[dict[str, str]] = _seq2seq.REFUSED
    text: ClassVar[str | None] = "input"
    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)
    samples: ClassVar[list[Row]] = [
        {"input": "cant come thu", "output": "I am sorry, I cannot come on Thursday."},
        {"input": "key under mat", "output": "The key is under the mat."},
        {"input": "thx for the cake", "output": "Thank you very much for the cake."},
        {"input": "pls call back", "output": "Could you call me back, please?"},
    ]
    usage: ClassVar[str] = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForSeq2SeqLM.from_pretrained("{path}")
inputs = tokenizer("{prefix}{input}", return_tensors="pt")
print(tokenizer.decode(model.generate(inputs["input_ids"])[0], skip_special_tokens=True))
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _seq2seq.check(self)

    @property
    def best_metric(self) -> tuple[str, bool]:
        """chrF, which sees how near an output is that is not yet right."""
        return "chrf", True

    @property
    def headline(self) -> tuple[str, ...]:
        """Agreement, and how often outputs were cut off."""
        return ("exact_match", "f1", "chrf", "at_limit")

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Instructions with their input, and questions with their context and answers, become input and output."""
        if "instruction" in columns:
            return partial(_from_instructions, more=next((one for one in ("input", "context") if one in columns), None))
        if "question" in columns and "input" not in columns:
            answers = next((name for name in ("answers", *answer_shapes.TEXTS) if name in columns), None)
            return partial(_from_questions, answers=answers)
        return None

    @classmethod
    def reference_columns(cls) -> list[str]:
        """The output, and others of the same input."""
        return ["output", "references"]

    def reference(self, row: Row) -> Any:
        """All wanted outputs; None where there is none."""
        return _seq2seq.wanted(row.get("output"), row.get("references")) or None

    def infer_labels(self, train: Dataset) -> list[str]:
        """See whether outputs are Chinese or Japanese."""
        if self.characters is not None:
            return []
        from ..metrics._squad import mostly_cjk

        self.characters = mostly_cjk(_seq2seq.texts(train, "output"))
        return ["f1 counts letters; options.characters changes that"] * self.characters

    def adapt_to_model(self, model_config: PretrainedConfig) -> list[str]:
        """How much the model can write."""
        return _seq2seq.fit_target_length(self, model_config)

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of input and output."""
        return _seq2seq.encode(self, batch, "input", "output")

    generation = _seq2seq.generation
    collator = _seq2seq.collator
    loss_function = _seq2seq.loss_function

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`generated_text`, its number of `tokens`, and whether it ends `at_limit`."""
        return _seq2seq.decode(self, outputs, "generated_text")

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """The output that train has most often."""
        counts = Counter(_seq2seq.texts(train, "output"))
        most = max(sorted(counts), key=counts.__getitem__, default="")
        return lambda rows: [{"generated_text": most}] * len(rows)

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Outputs, and the first gold one."""
        return [one["generated_text"] for one in predictions], [reference[0] for reference in references]

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Exact match and F1 of the best reference, chrF of the corpus, 0 to 100; lengths."""
        from ..metrics._text import Corpus

        texts = [one["generated_text"] for one in predictions]
        values = {}
        for name, agree in zip(("exact_match", "f1"), self._agreement(), strict=True):
            best = [max(map(partial(agree, text), wanted)) for text, wanted in zip(texts, references, strict=True)]
            values[name] = 100 * np.array(best)
        values |= _seq2seq.lengths(predictions)
        corpus = Corpus(texts, references, names=["chrf"])
        self.signatures = corpus.signatures
        return lambda weights: {**_seq2seq.means(values, weights), **corpus.measure(weights)}

    def _agreement(self) -> tuple[Callable[[str, str], float], Callable[[str, str], float]]:
        """How exact match and F1 compare a text with a reference, 0 to 1."""
        from ..metrics import _squad, _text

        if self.normalize is None:
            return _text.exact, partial(_text.token_f1, characters=bool(self.characters))
        return (_squad.cmrc_exact, _squad.cmrc_f1) if self.characters else (_squad.exact, _squad.f1_v1)


def _from_instructions(batch: Batch, more: str | None) -> Batch:
    """`instruction` and, where there is one, the text that it is about, one below the other."""
    texts = batch[more] if more else [None] * len(batch["instruction"])
    made = {name: values for name, values in batch.items() if name not in ("instruction", more)}
    made["input"] = [below(*pair) for pair in zip(batch["instruction"], texts, strict=True)]
    return made


def _from_questions(batch: Batch, answers: str | None) -> Batch:
    """Question and, where there is one, context; the first answer to learn from, all to be scored against."""
    contexts = batch.get("context") or [None] * len(batch["question"])
    made = {name: values for name, values in batch.items() if name not in ("question", "context", answers)}
    made["input"] = [_question(*pair) for pair in zip(batch["question"], contexts, strict=True)]
    if answers is not None:
        texts = [_texts(cell) for cell in batch[answers]]
        made["output"] = [several[0] if several else None for several in texts or []]
        made["references"] = texts
    return made


def _question(question: Any, context: Any) -> str | None:
    if question is None or not str(question).strip():
        return None
    return f"question: {question} context: {context}" if context else str(question)


def _texts(cell: Any) -> list[str] | None:
    try:
        found = answer_shapes.as_lists(cell)
    except DataError:
        if not isinstance(cell, str):
            raise
        return [cell]  # an answer may look like code
    return None if found is None else [text for text, _ in answer_shapes.pairs(found) if text]
