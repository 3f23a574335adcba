"""Decision config of a model: labels of the options and template of the prompts; models that cannot be asked."""

from __future__ import annotations

import inspect
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ModelError
from ..models.lengths import has_sparse_attention, sparse_minimum
from ..models.tokenizing import require_fast_tokenizer
from . import _causal, _tokens
from ._chat_template import PLAIN
from ._decision_heads import has_head
from ._decision_questions import TYPES

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.decision import DecisionConfig

FILES = ("decision.json", "decision_template.jinja")
# Labels that are tried, in this order, where the usual ones are no single tokens of a model.
_CHARACTERS = (*string.ascii_uppercase, *string.ascii_lowercase, *string.digits)
_USUAL = {"choice": list(string.ascii_uppercase), "score": list(string.ascii_uppercase), "noul": ["Yes", "No"]}
MOST = {kind: len(labels) for kind, labels in _USUAL.items()}


def check_model(model: PreTrainedModel) -> None:
    """Refuse models that the pipeline could not ask.

    Raises:
        ConfigError: Its adapter cannot be merged.
        ModelError: It does not read from left to right though it is no encoder, or has no `logits_to_keep`.
    """
    adapter = getattr(model, "active_peft_config", None)
    if adapter is not None and adapter.is_prompt_learning:
        raise ConfigError(
            'lora: virtual tokens cannot be merged, and pipeline("decision") does not read them: use lora'
        )
    whole = model if adapter is None else model.get_base_model()
    if "logits_to_keep" not in inspect.signature(whole.forward).parameters:
        raise ModelError(f"a model of type {model.config.model_type} has no logits_to_keep: use another, such as Qwen")
    if not is_encoder(model.config):
        _causal.check_model(model, packs=False)


def is_encoder(model_config: PretrainedConfig) -> bool:
    """Whether a model reads in both directions, as BERT does where it fills masks; also that below a decision head."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if has_head(model_config):
        model_config = model_config.text_config
    settings = model_config.to_dict()
    if settings.get("is_causal") is False:
        return True
    is_decoder = settings.get("is_decoder") or settings.get("is_encoder_decoder")
    return type(model_config) in MODEL_FOR_MASKED_LM_MAPPING and not is_decoder


def _refuse_type(model_config: PretrainedConfig) -> None:
    """Refuse types of models that the pipeline does not load, or whose logits it looks up at the wrong token.

    Raises:
        ModelError: It is one.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = model_config.model_type
    if has_head(model_config):
        return
    if is_encoder(model_config) and type(model_config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(
            f'pipeline("decision") does not look up the mask token of a model of type {kind}: use an encoder such as '
            "BERT, RoBERTa or ELECTRA, or a language model such as Qwen"
        )


def _refuse_padding(recipe: Any, model_config: PretrainedConfig) -> None:
    """Refuse models that read rows of one length alone, since the pipeline does not pad.

    Raises:
        ModelError: It is one, with the `max_length` at which it reads any.
    """
    if not recipe.pads_to_max_length:
        return
    edit = "use a model of another type"
    if has_sparse_attention(model_config):
        edit = f"set max_length={sparse_minimum(model_config)}, at which its attention is full, or {edit}"
    raise ModelError(
        f"a model of type {model_config.model_type} needs rows padded to max_length={recipe.max_length}, and "
        f'pipeline("decision") does not pad: {edit}'
    )


def config_of(
    recipe: Any, model_config: PretrainedConfig, given: DecisionConfig | None
) -> tuple[DecisionConfig, list[str]]:
    """The decision config to train with, and a sentence for each decision; the tokenizer gets a chat template.

    Args:
        recipe: The task, with its tokenizer and the files of a decision config, if the model has one.
        model_config: Config of the model.
        given: The decision config that files of a decision head hold.

    Raises:
        ConfigError: Labels that the options name are no distinct single tokens.
        ModelError: The model or its tokenizer cannot be used, has no two labels, or its decision config is damaged.
    """
    _refuse_type(model_config)
    _refuse_padding(recipe, model_config)
    require_fast_tokenizer(recipe)
    # The temperature is that of other weights, and is fitted again after training.
    config = replace(given or _config_in(recipe.texts_of_model), temperature={})
    if config.adapter:
        file, key = ("judge_config.json", "adapter_subfolder") if given else (FILES[0], "adapter")
        raise ModelError(
            f"{file} of the model names an adapter in its folder {config.adapter}: merge it into the weights and set "
            f"{key} to null there, or use its base model"
        )
    config, sentences = _with_template(recipe, config, model_config)
    if has_head(model_config):
        if recipe.label_tokens:
            raise ConfigError("label_tokens: leave it out, the decision head scores options by their place")
        return config, sentences
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


def _with_template(
    recipe: Any, config: DecisionConfig, model_config: PretrainedConfig
) -> tuple[DecisionConfig, list[str]]:
    """The config with a template where an encoder needs one; other models ask in the chat template of the tokenizer."""
    if not is_encoder(model_config) or (has_head(model_config) and not recipe.tokenizer.mask_token):
        return config, _set_chat_template(recipe)
    _tokens.require_mask_token(recipe)
    return replace(config, chat_template=config.chat_template or _with_mask(recipe)), []


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


def _with_mask(recipe: Any) -> str:
    """The usual prompt of transformers with a mask token where the label is looked up, between special tokens."""
    from transformers.decision import DECISION_PROMPT

    tokenizer = recipe.tokenizer
    before, after = (tokenizer.decode(ids) for ids in _tokens.special_tokens_around(recipe))
    return f"{before}{DECISION_PROMPT.rstrip()} {tokenizer.mask_token}<|mark|>{after}"


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


def files_of(config: DecisionConfig) -> dict[str, str]:
    """The files of a decision config, by name."""
    settings = asdict(config)
    template = settings.pop("chat_template")
    files = {FILES[0]: json.dumps(settings, indent=2) + "\n"}
    return files if template is None else {**files, FILES[1]: template}
