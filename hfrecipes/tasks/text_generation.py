"""Go on writing a text: causal language modelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..errors import ConfigError
from ..recipe import Batch, Column, Measure, Prompt, Recipe, Row
from . import _causal, _tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

OPENING = 60  # letters of a text at most that the model goes on from when it is scored


@dataclass(kw_only=True)
class TextGeneration(Recipe):
    """The beginning of a text in, the rest of it out; trained and scored on each next token."""

    max_length: int = 512
    """Tokens of each block of text, special ones included; at most what the model reads."""
    document: Literal["line", "paragraph", "file"] = "line"
    """What one text is in a text file; paragraphs have blank lines between them."""
    across_documents: bool = True
    """Whether a text in a block sees those before it; without, texts are packed and seen each by itself."""
    max_new_tokens: int = 64
    """Tokens that are written at most."""
    temperature: float = 0.0
    """How freely tokens are drawn: 0 takes the likeliest each time, 1 draws by the model's probabilities."""
    generated_rows: int = 4
    """Rows of each split whose beginning the model goes on from when it is scored, for the eye; 0 for none."""

    task: ClassVar[str] = "text-generation"
    auto_model: ClassVar[str] = "AutoModelForCausalLM"
    columns: ClassVar[dict[str, Column]] = {
        "text": Column(("document", "content", "article", "story", "poem", "body", "sentence", "文本", "内容", "正文")),
    }
    defaults: ClassVar[dict[str, Any]] = _causal.DEFAULTS
    lora: ClassVar[str | None] = "CAUSAL_LM"
    targets: ClassVar[tuple[str, ...]] = ("labels", "position_ids")
    reduced_by: ClassVar[tuple[str, ...]] = ("labels",)
    samples: ClassVar[list[Row]] = [
        {"text": "The kettle hums, the cat looks up, and the morning can begin."},
        {"text": "Rain on the roof, and nobody has to go out today."},
        {"text": "The boat was small, but so was the lake."},
        {"text": "She counted the stars until one of them winked."},
    ]
    usage: ClassVar[str] = """\
from transformers import pipeline

write = pipeline("text-generation", "{path}")
print(write("The cat looks up")[0]["generated_text"])
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _causal.check(self)

    @property
    def formats(self) -> tuple[str, ...]:
        """As the option says."""
        return (self.document,)

    @property
    def best_metric(self) -> tuple[str, bool]:
        """Perplexity of the tokens."""
        return "perplexity", False

    @property
    def headline(self) -> tuple[str, ...]:
        """Perplexity by token and by byte, and how often the best guess is right."""
        return ("perplexity", "byte_perplexity", "accuracy")

    @classmethod
    def reference_columns(cls) -> list[str]:
        """Nothing: a text is its own answer."""
        return []

    def reference(self, row: Row) -> Any:
        """True: what comes next stands in the text."""
        return True

    def adapt_to_model(self, model_config: PretrainedConfig) -> list[str]:
        """Room for what is written."""
        return _causal.settle_length(self)

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def _documents(self, texts: list[str]) -> Iterator[tuple[list[int], list[int]]]:
        """Of each text what it starts from, and its tokens with the end."""
        prefix, _ = _tokens.frame(self)
        end = _tokens.end_of(self)
        for ids in _tokens.ids_of(self, texts):
            yield prefix or [end], [*ids, end]

    def encode(self, batch: Batch) -> Batch:
        """Each text by itself, in windows that share a token from which the next one goes on."""
        features: Batch = {"input_ids": [], "labels": [], "row": []}
        for row, (start, ids) in enumerate(self._documents(batch["text"])):
            for window in self._cut([*start, *ids]):
                features["input_ids"].append(window)
                features["labels"].append([-100, *window[1:]])
                features["row"].append(row)
        return {**features, "length": [len(ids) for ids in features["input_ids"]]}

    def encode_for_training(self, batch: Batch) -> Batch:
        """Full blocks: all texts one behind another, or whole texts that do not see each other."""
        documents = list(self._documents(batch["text"]))
        blocks = self._stream(documents) if self.across_documents else self._apart(documents)
        features = {name: [block[name] for block in blocks] for name in blocks[0]}
        return {**features, "length": [len(block["input_ids"]) for block in blocks]}

    def _cut(self, ids: list[int]) -> list[list[int]]:
        """Parts that share a token, from which the next one goes on: each token but the first is guessed in one."""
        last = max(len(ids) - 1, 1)
        return [ids[start : start + self.max_length] for start in range(0, last, self.max_length - 1)]

    def _stream(self, documents: list[tuple[list[int], list[int]]]) -> list[Row]:
        end = [_tokens.end_of(self)]
        opens = documents[0][0] == end
        ids, labels = end * opens, [-100] * opens
        for start, own in documents:
            given = [] if start == end else start  # the end of a text is what the next one starts from
            ids += [*given, *own]
            labels += [*[-100] * len(given), *own]
        pairs = zip(self._cut(ids), self._cut(labels), strict=True)
        return [{"input_ids": block, "labels": [-100, *wanted[1:]]} for block, wanted in pairs]

    def _apart(self, documents: list[tuple[list[int], list[int]]]) -> list[Row]:
        pieces = [piece for start, own in documents for piece in self._cut([*start, *own])]
        features = [
            {"input_ids": ids, "labels": [-100, *ids[1:]], "position_ids": list(range(len(ids)))} for ids in pieces
        ]
        return _causal.pack(features, self.max_length)

    collator = _causal.collator
    illustrate = _causal.illustrate
    loss_function = _causal.loss_function

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse one that sees what it is to guess, or cannot keep apart what is packed."""
        _causal.check_model(model, packs=not self.across_documents)

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Of each window: summed loss, number and hits of its tokens."""
        return _causal.preprocess_logits(logits, labels)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """For each text how well its `tokens`, the end included, were guessed: `correct` ones, mean `loss` in nats.

        `bytes` is the length of the text in UTF-8.
        """
        sums = _tokens.by_row(outputs, encoded["row"][:], len(rows))
        return [_prediction(one, row["text"]) for one, row in zip(sums, rows, strict=True)]

    # --- writing -------------------------------------------------------------------------------------------------

    def generation(self) -> dict[str, Any]:
        """Length and temperature."""
        return _causal.generation(self, [_tokens.end_of(self)])

    @property
    def written_rows(self) -> int | None:
        """As the option says."""
        return self.generated_rows

    def prompts(self, rows: Dataset, *, scored: bool) -> list[Prompt | None]:
        """The text, or its beginning where it is one to be scored, behind what texts start from in training."""
        texts = rows["text"][:]
        texts = list(map(_opening, texts)) if scored else texts
        room = max(1, self.max_length - self.max_new_tokens - 1)
        ids = [[*start, *own[:-1][-room:]] for start, own in self._documents(texts)]
        return [Prompt(*pair) for pair in zip(texts, ids, strict=True)]

    def decode_generated(self, prompt: Prompt, ids: list[int]) -> Row:
        """`generated_text` goes on where `prompt` ends."""
        kept, about = _causal.up_to_end(self, ids, [_tokens.end_of(self)])
        # Alone, the first word would lose the blank before it.
        whole, given = (_tokens.text_of(self, one) for one in ([*prompt.input_ids, *kept], prompt.input_ids))
        text = whole[len(given) :] if whole.startswith(given) else _tokens.text_of(self, kept)
        return {"prompt": prompt.text, "generated_text": text, **about}

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """Every token as likely as it is frequent in the training rows, whatever stands before it."""
        if self.tokenizer is None:  # asked before a model is loaded, for the names of the scores
            return lambda rows: [_prediction(np.array([0.0, 1, 0]), "a") for _ in range(len(rows))]
        ids = (own for texts in _tokens.some(train).iter(1000) for _, own in self._documents(texts["text"]))
        return partial(self._guessed, _tokens.Frequencies(ids, len(self.tokenizer)))

    def _guessed(self, frequencies: _tokens.Frequencies, rows: Dataset) -> list[Row]:
        """What a loss that depends on the token alone comes to."""
        made: list[Row] = []
        for texts in rows.select_columns("text").iter(1000):
            sums = frequencies.sums([own for _, own in self._documents(texts["text"])])
            made += [_prediction(one, text) for one, text in zip(sums, texts["text"], strict=True)]
        return made

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """None: what is scored are tokens.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("metrics: text-generation has perplexity and accuracy, and takes no others")

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Mean loss in nats, perplexity by token and by byte, 1 at best, and the share of tokens guessed, 0 to 1.

        Perplexity by byte does not depend on how a tokenizer cuts texts, so that models can be compared by it.
        """
        tokens, right, loss, size = (
            np.array([float(one[name]) for one in predictions]) for name in ("tokens", "correct", "loss", "bytes")
        )
        return partial(_scores, tokens, right, loss * tokens, size)


def _prediction(sums: np.ndarray, text: str) -> Row:
    return {**_tokens.as_prediction(sums), "bytes": len(text.encode())}


def _scores(
    tokens: np.ndarray, right: np.ndarray, losses: np.ndarray, size: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    total = weights.astype(np.float64) @ size
    return {
        **_tokens.rates(tokens, right, losses, weights),
        "byte_perplexity": np.exp(weights @ losses / np.where(total > 0, total, np.nan)),
    }


def _opening(text: str) -> str:
    """The first half of a text, or the start of a long one, in whole words where they have blanks between them."""
    start = text[: max(1, min(OPENING, len(text) // 2))]
    return start.rpartition(" ")[0].rstrip() or start
