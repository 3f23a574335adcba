"""Prompts and label tokens of questions, both as transformers' decision pipeline makes them."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ModelError
from ..models.tokenizing import require_fast_tokenizer
from ..recipe import Finding, Recipe
from . import _tokens
from ._chat_template import PLAIN
from ._decision_questions import TYPES, Question
from ._shorten import shorten

if TYPE_CHECKING:
    from transformers.decision import DecisionConfig

FILES = ("decision.json", "decision_template.jinja")
# Labels that are tried, in this order, where the usual ones are no single tokens of a model.
_CHARACTERS = (*string.ascii_uppercase, *string.ascii_lowercase, *string.digits)
_USUAL = {"choice": list(string.ascii_uppercase), "score": list(string.ascii_uppercase), "noul": ["Yes", "No"]}
MOST = {kind: len(labels) for kind, labels in _USUAL.items()}


@dataclass(frozen=True)
class Prompt:
    """What the model reads of a question."""

    ids: list[int]
    """Tokens up to the one after which the label of the answer follows."""
    options: list[str]
    """The options in the order in which they are shown."""
    labels: list[int]
    """The token of each option's label."""
    is_shortened: bool
    """Whether a part of the state was left out."""


class Prompts:
    """Makes prompts with the template and the labels of a decision config.

    Args:
        config: Decision config of the model.
        recipe: The task, with a tokenizer that has a chat template, and the maximum number of tokens of a prompt.
    """

    def __init__(self, config: DecisionConfig, recipe: Recipe) -> None:
        self.config, self.recipe, self.max_length = config, recipe, recipe.max_length
        # A copy, since `prepare_inputs` adds its marks, which the saved tokenizer must not have.
        self.tokenizer = copy.deepcopy(recipe.tokenizer)
        self.tokenizer.model_max_length = int(1e30)  # no warning: what is too long is shortened here
        self._keep_vocabulary()

    def _keep_vocabulary(self) -> None:
        """Add the marks once, and keep the vocabulary, which `prepare_inputs` would make anew for each prompt."""
        question = {"type": "noul", "instructions": None, "criteria": None}
        self.config.prepare_inputs({"state": "", "questions": {"question": question}}, self.tokenizer)
        self.tokenizer.get_vocab = partial(_kept, self.tokenizer.get_vocab())

    @property
    def most(self) -> dict[str, int]:
        """Number of labels of each type of question."""
        return {kind: len(self.config.labels.get(kind) or _USUAL[kind]) for kind in TYPES}

    def read(self, state: str, question: Question) -> Prompt:
        """The prompt of a question; of one that is too long, the end of the state is left out."""
        prompt = self._prepared(state, question)
        if len(prompt.ids) <= self.max_length:
            return prompt
        kept = self._prepared("", question).ids
        room, text = self.max_length - len(kept), state
        # Pieces of the state may be other tokens in the prompt: what is still too long is shortened again.
        while room > 0 and text:
            text = shorten(self.recipe, text, room, keep="start")
            ids = self._prepared(text, question).ids
            if len(ids) <= self.max_length:
                kept = ids
                break
            room -= len(ids) - self.max_length
        # What follows the state is read last, and is kept where not even that fits.
        return replace(prompt, ids=kept[-self.max_length :], is_shortened=True)

    def _prepared(self, state: str, question: Question) -> Prompt:
        from transformers.decision import label_token_ids

        request = {"state": _as_given(state), "questions": {"question": question}}
        ((inputs, (asked,)),) = self.config.prepare_inputs(request, self.tokenizer)
        # What comes after the mark changes nothing in a model that reads from left to right.
        ids = inputs["input_ids"][0, : int(inputs["marks"][0])].tolist()
        return Prompt(ids, list(asked.options), label_token_ids(self.tokenizer, tuple(asked.labels)), False)

    def written_control_tokens(self, states: Sequence[str]) -> Iterator[Finding]:
        """A note on control tokens that are written in states, which the template reads as text or leaves out."""
        special = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        rows, written = [], set[str]()
        for index, state in enumerate(states):
            in_state = {token for token in special if token in (state or "")}
            if in_state:
                rows.append(index)
                written |= in_state
        if rows:
            marks = ", ".join(sorted(written))
            yield Finding("note", f"control tokens in the state ({marks}) are read as text, not as tokens", rows)


def _kept(vocabulary: dict[str, int]) -> dict[str, int]:
    return vocabulary


def _as_given(state: str) -> Any:
    """The object that a state in JSON stands for, as templates may show its parts; any other text as it is."""
    if state[:1] not in "{[":
        return state
    try:
        value = json.loads(state)
    except ValueError:
        return state
    # Texts that would be rendered differently after a round trip stay texts.
    return value if json.dumps(value, ensure_ascii=False) == state else state


# --- decision config -------------------------------------------------------------------------------------------------


def config_of(recipe: Any) -> tuple[DecisionConfig, list[str]]:
    """The decision config to train with, and a sentence for each decision; the tokenizer gets a chat template.

    Args:
        recipe: The task, with its tokenizer and the files of a decision config, if the model has one.

    Raises:
        ConfigError: Labels that the options name are no distinct single tokens.
        ModelError: The tokenizer cannot be used, or has no two labels, or the decision config is damaged.
    """
    require_fast_tokenizer(recipe)
    sentences = _set_chat_template(recipe)
    # The temperature is that of other weights, and is fitted again after training.
    config = replace(_config_in(recipe.texts_of_model), temperature={})
    if config.adapter:
        raise ModelError(f"{FILES[0]} of the model names an adapter: merge it first, or use its base model")
    if recipe.label_tokens:
        config = replace(config, labels={**config.labels, **recipe.label_tokens})
        for kind, labels in recipe.label_tokens.items():
            _refuse_shared_tokens(recipe, kind, labels)
    labels = dict(config.labels)
    for kind in TYPES:
        if not _are_tokens(recipe, labels.get(kind) or _USUAL[kind]):
            labels[kind] = _other_labels(recipe, kind)
            shown = ", ".join(labels[kind][:6]) + (", …" if len(labels[kind]) > 6 else "")
            sentences.append(f"labels of {kind}: {shown}, as the usual ones are no single tokens of this model")
    return replace(config, labels=labels), sentences


def _config_in(texts: Mapping[str, str]) -> DecisionConfig:
    """The decision config in the files of a model; the usual one where there is none."""
    from transformers.decision import DecisionConfig

    known = {field.name for field in fields(DecisionConfig)}
    try:
        settings = json.loads(texts.get(FILES[0], "{}"))
        config = DecisionConfig(**{name: value for name, value in settings.items() if name in known})
    except Exception as error:  # of `strict` data classes, and of JSON
        raise ModelError(f"{FILES[0]} of the model is damaged ({error}): copy it again") from error
    return replace(config, chat_template=texts.get(FILES[1], config.chat_template))


def saved_config(settings: Mapping[str, Any]) -> DecisionConfig:
    """The decision config that a run was trained with."""
    from transformers.decision import DecisionConfig

    return DecisionConfig(**settings)


def _set_chat_template(recipe: Any) -> list[str]:
    """Give the tokenizer a plain chat template where it has none."""
    tokenizer = recipe.tokenizer
    if tokenizer.chat_template:
        return []
    end = tokenizer.convert_ids_to_tokens(_tokens.end_of(recipe))
    prefix, _ = _tokens.special_tokens_around(recipe)
    start = "".join(tokenizer.convert_ids_to_tokens(prefix))
    tokenizer.chat_template = start + PLAIN.replace("{{ END }}", end)
    return ["chat template: the tokenizer has none; a plain one is set, and saved with the model"]


def _are_tokens(recipe: Any, labels: Sequence[str]) -> bool:
    from transformers.decision import label_token_ids

    try:
        label_token_ids(recipe.tokenizer, tuple(labels))
    except ValueError:
        return False
    return True


def _other_labels(recipe: Any, kind: str) -> list[str]:
    """Letters and digits that are single tokens: two for true and false, 26 at most for other questions."""
    kept: list[str] = []
    for character in _CHARACTERS:
        if len(kept) < MOST[kind] and _are_tokens(recipe, [*kept, character]):
            kept.append(character)
    if len(kept) < 2:
        raise ModelError("fewer than two letters are single tokens of this model: use another model")
    return kept


def _refuse_shared_tokens(recipe: Any, kind: str, labels: Sequence[str]) -> None:
    """Refuse labels that the first token does not tell apart, or that have several tokens.

    Raises:
        ConfigError: There are some.
    """
    if len(set(labels)) < len(labels):
        raise ConfigError(f"label_tokens.{kind}: found {', '.join(labels)}, expected different labels")
    ids = [recipe.tokenizer(label, add_special_tokens=False)["input_ids"] for label in labels]
    first: dict[int, str] = {}
    for label, tokens in zip(labels, ids, strict=True):
        other = first.setdefault(tokens[0] if tokens else -1, label)
        if other != label:
            raise ConfigError(f"label_tokens.{kind}: {other} and {label} begin with the same token: use others")
    for label, tokens in zip(labels, ids, strict=True):
        if len(tokens) != 1:
            raise ConfigError(f"label_tokens.{kind}: {label} has {len(tokens)} tokens, expected one: use others")
    if not _are_tokens(recipe, labels):
        raise ConfigError(f"label_tokens.{kind}: one of {', '.join(labels)} is unknown to the model: use others")


def files_of(config: DecisionConfig, temperature: Mapping[str, float]) -> dict[str, str]:
    """The files of a decision config, by name, with the temperature of each type of question."""
    settings = asdict(replace(config, temperature=dict(temperature)))
    template = settings.pop("chat_template")
    files = {FILES[0]: json.dumps(settings, indent=2) + "\n"}
    return files if template is None else {**files, FILES[1]: template}
