"""Answer as the assistant of a dialogue: instructions, chats, dialogue systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..data.shapes import dialogues
from ..data.shapes.turns import ROLES
from ..errors import ConfigError
from ..models.tokenizing import require_fast_tokenizer
from ..recipe import PERCENT, Batch, CardTexts, Column, Finding, Measure, Metric, Recipe, Row, Writer, text_columns
from ..redaction.redactor import Edits
from ..redaction.rows import redacted_cells
from . import _causal, _chat_checks, _chat_labels, _chat_replies, _tokens
from ._chat_template import PLAIN, Template, dialogues_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(kw_only=True)
class Chat(Recipe):
    """Dialogue in, the assistant's next turn out."""

    max_length: int = 1024
    """Maximum number of tokens of a dialogue; a longer one is truncated between turns."""
    roles: dict[str, str] | None = None
    """Role of each speaker that data calls by another name, such as A: user, B: assistant."""
    system: Literal["merge", "drop"] | None = None
    """What is done with system messages: merged into the first turn of the user, or dropped; null keeps them."""
    train_on: Literal["assistant", "last", "all"] = "assistant"
    """What is trained on: every turn of the assistant, only the last one, or all turns."""
    packing: bool = False
    """Whether dialogues share rows of `max_length` tokens, without padding and without attention between them."""
    max_new_tokens: int = 256
    """Maximum number of tokens of a reply."""
    temperature: float = 0.0
    """Temperature of sampling: 0 takes the most likely token each time, 1 samples with the model's probabilities."""
    generated_rows: int = 50
    """Rows of each split for which the model generates the last reply, to be scored after training; 0 for none."""
    characters: bool | None = None
    """Whether ROUGE counts words of any script, Chinese and Japanese by character; inferred if null."""

    task: ClassVar[str] = "chat"
    auto_model: ClassVar[str] = "AutoModelForCausalLM"
    columns: ClassVar[dict[str, Column]] = {
        "messages": Column(dialogues.TURN_COLUMNS, kind=["json"]),
        "prompt": Column(dialogues.REQUEST_COLUMNS, optional=True, passthrough=True, kind=None),
        "completion": Column(dialogues.REPLY_COLUMNS, optional=True, passthrough=True, kind=None),
        "references": Column(reference=True, optional=True, passthrough=True, kind=["string"]),
        "tools": Column(dialogues.TOOL_COLUMNS, optional=True, passthrough=True),
        dialogues.KEYWORDS: Column(optional=True, passthrough=True),
    }
    formats: ClassVar[tuple[str, ...]] = ("turns",)
    # Dialogues are long and vocabularies large: the logits of eight of them at once would not fit on many GPUs.
    defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 2e-5,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": 2,
    }
    # A packed row of 1,024 tokens holds about as many tokens as eight dialogues, so that a step learns from as many.
    defaults_with: ClassVar[dict[str, dict[str, Any]]] = {
        "packing": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1},
    }
    prediction: ClassVar[str | None] = "generated_text"
    batch_features: ClassVar[dict[str, Any]] = {"position_ids": "model"}
    # Perplexity picks the checkpoint: no replies are generated while the model is trained.
    metrics: ClassVar[Mapping[str, Metric]] = {
        **_tokens.TOKEN_METRICS,
        "rougeL": PERCENT,
        "chrf": PERCENT,
        **_tokens.LENGTH_METRICS,
    }
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
    card: ClassVar[CardTexts] = CardTexts(
        purpose="Answers as the assistant of a dialogue.",
        baseline="Every token with its frequency in the training replies; as a reply, the most frequent last reply.",
        scores="Mean loss per token of the replies in nats, perplexity, and accuracy, from 0 to 1; of generated "
        "replies ROUGE-L and chrF, from 0 to 100, `generated_tokens`, the mean number of tokens, and `at_limit`, the "
        "share that stops at the limit without an end.",
        usage="""\
from transformers import pipeline

chat = pipeline("text-generation", "{path}")
print(chat([{"role": "user", "content": "When do you open?"}])[0]["generated_text"][-1]["content"])
""",
        example={"messages": samples[0]["messages"][:-1]},  # so that the assistant speaks next
        pipeline_tag="text-generation",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _causal.check_options(self)
        for speaker, role in (self.roles or {}).items():
            if role not in ROLES.values():
                raise ConfigError(f"roles.{speaker}: found {role!r}, expected user, assistant, system or tool")
        self.template: Any = None  # a Template, from `adapt_to_model` on

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Published shapes of dialogues become messages."""
        return dialogues.column_normalizer(columns, self.roles, self.system)

    def redacted(self, row: Row, edits: Edits) -> Row:
        """Redacts messages and the arguments of calls, which remain valid JSON; roles and names of tools are kept."""
        return redacted_cells(row, text_columns(self), edits, reads_json=True)

    def infer_labels(self, train: Dataset) -> list[str]:
        """Infer `characters` from the scripts of the replies.

        Raises:
            DataError: It is not known who of the speakers is the assistant.
        """
        _chat_checks.refuse_unknown_speakers(train, drop_invalid=self.drop_invalid)
        if self.characters is not None:
            return []
        from ..metrics._text import ANY_SCRIPT_NOTE, is_foreign

        self.characters = is_foreign(list(self._last_replies(_tokens.sample_rows(train))))
        return [ANY_SCRIPT_NOTE] if self.characters else []

    def reference(self, row: Row) -> Any:
        """The last reply that is learnt, or all of several alternatives; None where the assistant says nothing."""
        return _chat_replies.reference(row, self.template)

    def _last_replies(self, rows: Dataset) -> Iterator[str]:
        for row in rows:
            if reply := _chat_replies.first_reference(row, self.template):
                yield reply

    def check(self, rows: Dataset) -> Iterator[Finding]:
        """Turns that are out of order, blank or of an unknown role; dialogues that the template does not show."""
        yield from _chat_checks.of_turns(rows, self.train_on)
        if self.template is None:
            yield from _chat_checks.notes_on_turns(rows, self.train_on)
        else:
            yield from _chat_checks.of_template(self.template, rows)

    # --- model ---------------------------------------------------------------------------------------------------

    def adapt_to_model(self, config: PretrainedConfig, model: PreTrainedModel | None = None) -> list[str]:
        """Chat template, the tokens that end a turn, and how many tokens a reply has at most.

        Raises:
            ModelError: The tokenizer or its template cannot be used, or the model sees the tokens it is to predict.
            ConfigError: The model lets packed dialogues see each other.
        """
        if model is not None:  # the tokenizer decided the rest in the first call
            _causal.check_model(model, packs=self.packing)
            return []
        require_fast_tokenizer(self)
        sentences = _causal.fit_new_tokens(self)
        tokenizer, end = self.tokenizer, _tokens.end_of(self)
        if not tokenizer.chat_template:
            prefix, _ = _tokens.special_tokens_around(self)
            start = "".join(tokenizer.convert_ids_to_tokens(prefix))
            tokenizer.chat_template = start + PLAIN.replace("{{ END }}", tokenizer.convert_ids_to_tokens(end))
            sentences.append("chat template: the tokenizer has none; a plain one is set, and saved with the model")
        self.template = Template(tokenizer, end)
        self.checks_again = True  # the template may refuse dialogues
        return sentences + _chat_labels.notes(self.template)

    @property
    def writer(self) -> Writer:
        """Generates replies."""
        return _chat_replies.ChatWriter(self)

    # --- features ------------------------------------------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of each dialogue, with labels where the assistant speaks."""
        return self._features(batch, "last" if self.train_on == "last" else "assistant")

    def encode_for_training(self, batch: Batch) -> Batch:
        """As `encode`, with labels as `train_on` says, and without pieces that have none."""
        features = self._features(batch, self.train_on)
        # A piece has no labels where its prompt alone fills `max_length`.
        kept = [index for index, labels in enumerate(features["labels"]) if max(labels) >= 0]
        for name, cells in features.items():
            features[name] = [cells[index] for index in kept]
        if self.packing:
            features["position_ids"] = _causal.positions(features["length"])
        return features

    def _features(self, batch: Batch, train_on: str) -> Batch:
        features: Batch = {"input_ids": [], "labels": [], "over_max_length": [], "hidden": [], "row": [], "length": []}
        _chat_checks.refuse_wrong_rows(batch)
        for row, (dialogue, given) in enumerate(dialogues_of(batch)):
            template = self.template.with_given(given)
            hidden = not template.shows_all(dialogue)
            for piece in _chat_labels.pieces(template, dialogue, self.max_length, train_on):
                features["input_ids"].append(piece.ids)
                features["labels"].append(piece.labels)
                features["over_max_length"].append(piece.truncated)
                features["hidden"].append(hidden)
                features["row"].append(row)
                features["length"].append(len(piece.ids))
        return features

    collator = _causal.collator
    loss = _causal.loss

    # --- predictions and scores ----------------------------------------------------------------------------------

    def preprocess_logits(self, logits: Any, labels: Any) -> Any:
        """Of each piece: summed loss, number of tokens and number of correct ones, in replies alone."""
        return _causal.preprocess_logits(logits, labels)

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """How well the replies of each dialogue are predicted: `tokens`, `correct` ones, mean `loss` in nats."""
        sums = _tokens.sum_by_row(outputs, encoded["row"][:], len(rows))
        return [_prediction(row_sums) for row_sums in sums]

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Loss, perplexity and accuracy of the tokens of replies; of generated replies ROUGE-L, chrF, lengths."""
        tokens, correct, loss = _tokens.columns_of(predictions, ("tokens", "correct", "loss"))
        of_tokens = partial(_tokens.rates, tokens, correct, loss * tokens)
        # Replies are generated for some rows only.
        written = [index for index, prediction in enumerate(predictions) if "generated_text" in prediction]
        if not written:
            return of_tokens
        of_replies, self.signatures = _chat_replies.measure(
            [predictions[index] for index in written],
            [references[index] for index in written],
            characters=bool(self.characters),
        )
        return lambda weights: {**of_tokens(weights), **of_replies(weights[:, written])}

    def baseline(self, train: Dataset) -> dict[str, Any]:
        """The most frequent last reply, and how often each token occurs in the replies."""
        sample = _tokens.sample_rows(train)
        counts = Counter(self._last_replies(sample))
        # Sorted first, so that among equally frequent replies the order of the rows does not decide.
        reply = max(sorted(counts), key=counts.__getitem__, default="")
        if self.tokenizer is None:  # before a model is loaded, only the names of the scores are asked for
            return {"reply": reply}
        return {"reply": reply, "tokens": _tokens.count_tokens(self._reply_tokens(sample), len(self.tokenizer))}

    def _reply_tokens(self, rows: Dataset) -> Iterator[list[int]]:
        for batch in rows.iter(100):
            for labels in self.encode(batch)["labels"]:
                yield [token for token in labels if token >= 0]

    def baseline_predictions(self, rows: Dataset, baseline: Mapping[str, Any]) -> list[Row]:
        """Every token with its frequency, whatever comes before it, and the same reply for every row."""
        reply = {"generated_text": baseline["reply"]}
        if self.tokenizer is None:
            return [{**_prediction(np.array([0.0, 1, 0])), **reply} for _ in range(len(rows))]
        frequencies = _tokens.Frequencies(baseline["tokens"])
        predictions: list[Row] = []
        for batch in rows.iter(100):
            features = self.encode(batch)
            sums = _tokens.sum_by_row(
                frequencies.token_sums(features["labels"]), features["row"], len(batch["messages"])
            )
            for row_sums in sums:
                predictions.append({**_prediction(row_sums), **reply})
        return predictions


def _prediction(sums: np.ndarray) -> Row:
    """Sums of a row as a prediction; empty where it has no reply, as rows to predict."""
    return _tokens.as_prediction(sums) if sums[1] else {}
