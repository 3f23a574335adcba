"""Answer as the assistant of a dialogue: instructions, chats, dialogue systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..data.shapes import dialogues as dialogues_module
from ..data.shapes.dialogues import Messages
from ..errors import DataError
from ..recipe import Batch, Column, Measure, Prompt, Recipe, Row
from . import _causal, _tokens
from ._chat_template import PLAIN, Template

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(kw_only=True)
class Chat(Recipe):
    """Dialogue in, the assistant's next turn out."""

    max_length: int = 1024
    """Tokens of a dialogue at most; a longer one is cut between turns."""
    train_on: Literal["assistant", "last", "all"] = "assistant"
    """What is learnt: every turn of the assistant, the last one alone, or all that is said."""
    packing: bool = False
    """Whether the dialogues of a batch are put one behind another without padding, each seeing itself alone."""
    max_new_tokens: int = 256
    """Tokens of a reply at most."""
    temperature: float = 0.0
    """How freely tokens are drawn: 0 takes the likeliest each time, 1 draws by the model's probabilities."""
    generated_rows: int = 50
    """Rows of each split whose last reply is written anew and scored, after training; 0 for none."""
    characters: bool | None = None
    """Whether ROUGE counts words of any script, Chinese and Japanese by letter; read from the replies where null."""

    task: ClassVar[str] = "chat"
    pipeline_tag: ClassVar[str | None] = "text-generation"
    auto_model: ClassVar[str] = "AutoModelForCausalLM"
    columns: ClassVar[dict[str, Column]] = {
        "messages": Column(dialogues_module.TURNS, kind=[{"role": "string", "content": "string"}]),
        "prompt": Column(dialogues_module.ASKED, optional=True, passthrough=True, kind=None),
        "completion": Column(dialogues_module.REPLY, optional=True, passthrough=True, kind=None),
    }
    # Dialogues are long and vocabularies large: the logits of eight at once would fill many a GPU.
    defaults: ClassVar[dict[str, Any]] = {
        **_causal.DEFAULTS,
        "learning_rate": 2e-5,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": 2,
    }
    lora: ClassVar[str | None] = "CAUSAL_LM"
    text: ClassVar[str | None] = "messages"
    targets: ClassVar[tuple[str, ...]] = ("labels", "position_ids")
    reduced_by: ClassVar[tuple[str, ...]] = ("labels",)
    hidden_by: ClassVar[dict[str, str]] = {
        "hidden": "are shown only in part, because the chat template leaves out text such as thoughts; it is not learnt"
    }
    percent: ClassVar[tuple[str, ...]] = ("rougeL", "chrf")
    packages: ClassVar[tuple[str, ...]] = ("rouge_score", "sacrebleu")
    samples: ClassVar[list[Row]] = [
        {
            "messages": [
                {"role": "user", "content": "When do you open?"},
                {"role": "assistant", "content": "At ten, from Tuesday to Saturday."},
                {"role": "user", "content": "And on Sunday?"},
                {"role": "assistant", "content": "On Sunday we are closed."},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "Can I renew a book?"},
                {"role": "assistant", "content": "Yes, twice, unless somebody waits for it."},
            ]
        },
        {
            "messages": [
                {"role": "system", "content": "Answer briefly."},
                {"role": "user", "content": "What does a page cost?"},
                {"role": "assistant", "content": "Ten cents."},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "I lost my card."},
                {"role": "assistant", "content": "A new one is three euros."},
                {"role": "user", "content": "Thank you."},
                {"role": "assistant", "content": "You are welcome."},
            ]
        },
    ]
    usage: ClassVar[str] = """\
from transformers import pipeline

chat = pipeline("text-generation", "{path}")
print(chat([{"role": "user", "content": "When do you open?"}])[0]["generated_text"][-1]["content"])
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _causal.check(self)
        self.template: Any = None  # a Template, from `adapt_to_model` on

    def example(self, reads: Sequence[str]) -> Row:
        """A dialogue whose next turn is the assistant's."""
        return {"messages": self.samples[0]["messages"][:-1]}

    @property
    def best_metric(self) -> tuple[str, bool]:
        """Perplexity of the replies."""
        return "perplexity", False

    @property
    def headline(self) -> tuple[str, ...]:
        """How likely the replies are, and how near those come that the model writes."""
        return ("perplexity", "accuracy", "rougeL", "chrf", "at_limit")

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Published shapes of dialogues become messages."""
        return dialogues_module.reshaper(columns)

    @classmethod
    def reference_columns(cls) -> list[str]:
        """The dialogue itself."""
        return ["messages"]

    def reference(self, row: Row) -> Any:
        """What the assistant says last; None where it says nothing."""
        spoken = dialogues_module.replies(row["messages"] or [])
        return row["messages"][spoken[-1]]["content"] if spoken else None

    def problems(self, rows: Dataset) -> dict[str, list[int]]:
        """Turns out of order, blank, or of nobody known."""
        found: dict[str, list[int]] = {}
        for place, dialogue in enumerate(rows["messages"]):
            if dialogue and (wrong := dialogues_module.wrong_order(dialogue)):
                found.setdefault(wrong, []).append(place)
        return found

    def untrainable(self, rows: Dataset) -> dict[str, list[int]]:
        """Dialogues in which the assistant says nothing."""
        silent = [place for place, one in enumerate(rows["messages"]) if one and not dialogues_module.replies(one)]
        return {"the assistant says nothing": silent} if silent else {}

    def infer_labels(self, train: Dataset) -> list[str]:
        """See whether replies are in letters other than a to z."""
        if self.characters is not None:
            return []
        from ..metrics._text import SCRIPTS, is_foreign

        self.characters = is_foreign([text for text in map(self.reference, _tokens.some(train)) if text])
        return [SCRIPTS] * self.characters

    # --- the template --------------------------------------------------------------------------------------------

    def adapt_to_model(self, model_config: PretrainedConfig) -> list[str]:
        """A chat template where there is none, the tokens that end a turn, and room for a reply."""
        self.require_fast_tokenizer()
        said = _causal.settle_length(self)
        tokenizer, end = self.tokenizer, _tokens.end_of(self)
        if not tokenizer.chat_template:
            prefix, _ = _tokens.frame(self)
            start = "".join(tokenizer.convert_ids_to_tokens(prefix))
            tokenizer.chat_template = start + PLAIN.replace("{{ END }}", tokenizer.convert_ids_to_tokens(end))
            said.append("chat template: the tokenizer has none; a plain one is set, and saved with the model")
        self.template = Template(tokenizer, end)
        return [*said, *self.template.notes]

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of each dialogue, labels where they are the assistant's."""
        return self._features(batch["messages"], "last" if self.train_on == "last" else "assistant")

    def encode_for_training(self, batch: Batch) -> Batch:
        """As `encode`, without dialogues of which nothing can be learnt; the places of tokens where they are packed."""
        features = self._features(batch["messages"], self.train_on)
        kept = [place for place, labels in enumerate(features["labels"]) if max(labels) >= 0]
        features = {name: [values[place] for place in kept] for name, values in features.items()}
        if self.packing:
            features["position_ids"] = [list(range(length)) for length in features["length"]]
        return features

    def _features(self, dialogues: list[Messages], train_on: str) -> Batch:
        wrong = next((one for one in map(dialogues_module.wrong_order, dialogues) if one), None)
        if wrong:  # in rows to predict; others were checked before
            raise DataError(f"{wrong}: expected turns of user and assistant, one after the other")
        pieces = [
            (row, piece)
            for row, dialogue in enumerate(dialogues)
            for piece in self.template.pieces(dialogue, self.max_length, train_on)
        ]
        hidden = [not self.template.shows_all(dialogue) for dialogue in dialogues]
        return {
            "input_ids": [piece.ids for _, piece in pieces],
            "labels": [piece.labels for _, piece in pieces],
            "cut": [piece.cut for _, piece in pieces],
            "hidden": [hidden[row] for row, _ in pieces],
            "row": [row for row, _ in pieces],
            "length": [len(piece.ids) for _, piece in pieces],
        }

    collator = _causal.collator
    illustrate = _causal.illustrate
    loss_function = _causal.loss_function

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse one that sees what it is to guess, or cannot keep apart what is packed."""
        _causal.check_model(model, packs=self.packing)

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Of each piece: summed loss, number and hits of the tokens of replies."""
        return _causal.preprocess_logits(logits, labels)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """How well the `tokens` of the replies that are there were guessed: `correct` ones, mean `loss` in nats."""
        sums = _tokens.by_row(outputs, encoded["row"][:], len(rows))
        return [_tokens.as_prediction(one) if one[1] else {} for one in sums]

    # --- writing -------------------------------------------------------------------------------------------------

    def generation(self) -> dict[str, Any]:
        """Length, temperature, and what ends a turn."""
        return _causal.generation(self, self.template.ends)

    @property
    def written_rows(self) -> int | None:
        """As the option says."""
        return self.generated_rows

    def prompts(self, rows: Dataset, *, scored: bool) -> list[Prompt | None]:
        """The dialogue up to the assistant's last turn, without the first exchanges where it is too long."""
        room = max(1, self.max_length - self.max_new_tokens)
        shown = [dialogues_module.before_last_reply(one, scored=scored) for one in rows["messages"]]
        return [Prompt(one[-1]["content"], self.template.prompt(one, room)) if one else None for one in shown]

    def decode_generated(self, prompt: Prompt, ids: list[int]) -> Row:
        """`generated_text` answers `prompt`, which is what was said last."""
        kept, about = _causal.up_to_end(self, ids, self.template.ends)
        finished = len(kept) < len(ids) or about["at_limit"]
        text = self.template.reply(_tokens.text_of(self, kept), finished=finished)
        return {"prompt": prompt.text, "generated_text": text, **about}

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """Every token as likely as it is frequent in the training replies; as a text, the most frequent last reply."""
        some = _tokens.some(train)
        counts = Counter(text for text in map(self.reference, some) if text)
        most = max(sorted(counts), key=counts.__getitem__, default="")
        reply = {"generated_text": most}
        if self.tokenizer is None:  # asked before a model is loaded, for the names of the scores
            return lambda rows: [{**_tokens.as_prediction(np.array([0.0, 1, 0])), **reply} for _ in range(len(rows))]
        labels = (own for batch in some.iter(100) for own in self.encode(batch)["labels"])
        known = ([token for token in own if token >= 0] for own in labels)
        return partial(self._guessed, _tokens.Frequencies(known, len(self.tokenizer)), reply)

    def _guessed(self, frequencies: _tokens.Frequencies, reply: Row, rows: Dataset) -> list[Row]:
        """What a loss that depends on the token alone, and one and the same reply, come to."""
        made: list[Row] = []
        for batch in rows.select_columns("messages").iter(100):
            features = self.encode(batch)
            sums = _tokens.by_row(frequencies.sums(features["labels"]), features["row"], len(batch["messages"]))
            made += [{**(_tokens.as_prediction(one) if one[1] else {}), **reply} for one in sums]
        return made

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Written replies and the wanted ones, as far as there are any."""
        known = _with_text(predictions)
        return [predictions[place]["generated_text"] for place in known], [references[place] for place in known]

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Mean loss in nats, perplexity and accuracy, 0 to 1, of the tokens of replies; of written replies ROUGE-L and
        chrF, 0 to 100, their tokens, and the share that ends at the limit.
        """
        tokens, right, loss = (
            np.array([float(one.get(name, 0)) for one in predictions]) for name in ("tokens", "correct", "loss")
        )
        measures: list[Measure] = [partial(_tokens.rates, tokens, right, loss * tokens)]
        known = _with_text(predictions)
        if known:
            texts = self._texts([predictions[place] for place in known], [[references[place]] for place in known])
            measures.append(lambda weights: texts(weights[:, known]))
        return lambda weights: {name: value for one in measures for name, value in one(weights).items()}

    def _texts(self, predictions: list[Row], references: list[list[str]]) -> Measure:
        from ..metrics import _text

        texts = [one["generated_text"] for one in predictions]
        rows = {"rougeL": _text.rouge(texts, references, letters=bool(self.characters))["rougeL"]}
        for name in ("generated_tokens", "at_limit") if "at_limit" in predictions[0] else ():
            rows[name] = np.array([float(one[name]) for one in predictions])
        corpus = _text.Corpus(texts, references, names=["chrf"])
        self.signatures = corpus.signatures
        return partial(_of_texts, rows, corpus)


def _of_texts(rows: dict[str, np.ndarray], corpus: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    weights = weights.astype(np.float64)
    drawn = weights.sum(1)
    found = {name: weights @ values / np.where(drawn > 0, drawn, np.nan) for name, values in rows.items()}
    return {"rougeL": found.pop("rougeL"), **corpus.measure(weights), **found}


def _with_text(predictions: list[Row]) -> list[int]:
    """Places of the rows that a reply was written for."""
    return [place for place, one in enumerate(predictions) if "generated_text" in one]
