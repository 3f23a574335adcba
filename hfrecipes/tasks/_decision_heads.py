"""Decision heads of transformers, which score the options themselves, made to read batches as language models do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.decision import DecisionConfig
    from transformers.models.jev.configuration_jev import JevConfig

AUTO_MODEL = "AutoModelForDecision"
# What a checkpoint that holds its head beside the weights of a language model says of it.
FILES = ("decision_config.json", "judge_config.json", "calibration.json")


def head_of(model_config: PretrainedConfig, texts: Mapping[str, str]) -> tuple[JevConfig | None, DecisionConfig | None]:
    """Config of the decision head of a model, and the decision config that its files hold; None for what it lacks.

    Args:
        model_config: Config of the model, or of the language model beside whose weights the head is.
        texts: Texts of the files of the model, by name.

    Raises:
        ModelError: A file is damaged.
    """
    if model_config.model_type == "jev":
        return model_config, None
    given = {}
    for name in FILES:
        if name in texts:
            given[name.removesuffix(".json")] = _read(name, texts[name])
    if not given:
        return None, None
    from transformers import JevConfig

    whole = model_config.to_dict()
    try:
        # The one that is made of them changes the other: each gets its own.
        decision_config = JevConfig.decision_config(given, dict(whole))
        head = JevConfig(text_config=whole, **given) if decision_config else None
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{', '.join(given)} of the model: {error!r}, expected a decision head: copy it again"
        ) from error
    return head, decision_config


def _read(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ModelError(f"{name} of the model is damaged ({error}): copy it again") from error


def rows_of_head(head: JevConfig) -> dict[str, range]:
    """The rows of a head that score the options of each type of question."""
    ends = sorted({*head.offsets.values(), head.num_verbalizers})
    rows = {}
    for kind, start in head.offsets.items():
        later = [end for end in ends if end > start]
        rows[kind] = range(start, min(later, default=start))
    return rows


def load(path: str, *, config: PretrainedConfig | None = None, **keywords: Any) -> tuple[Any, dict[str, Any]]:
    """A model with a decision head, and what `from_pretrained` reports of its weights.

    Args:
        path: Folder or name on the Hub.
        config: Its config; by default that in its files.
        keywords: Those of `from_pretrained`.
    """
    from transformers import JevForDecision
    from transformers.decision.modeling_utils import DecisionMixin

    if config is None:
        config, _ = JevForDecision.checkpoint_config(path, **keywords)
    # That of the class itself fails where a report is asked for.
    model, report = super(DecisionMixin, JevForDecision).from_pretrained(
        path, config=config, output_loading_info=True, **keywords
    )
    model.forward = MethodType(_forward, model)
    return model, report


def _forward(model: PreTrainedModel, *args: Any, logits_to_keep: Any = None, **inputs: Any) -> Any:
    """Scores of all labels at tokens of a batch, as logits of a language model are; with `marks` those of one prompt.

    Args:
        model: With a decision head.
        args: Inputs of one prompt.
        logits_to_keep: Indices of the tokens; by default all of them.
        inputs: Inputs of a batch, or of one prompt.
    """
    from transformers.modeling_outputs import CausalLMOutput

    if args or "marks" in inputs:
        return type(model).forward(model, *args, **inputs)
    hidden = model.model(**inputs, use_cache=False).last_hidden_state
    if logits_to_keep is not None:
        hidden = hidden[:, logits_to_keep]
    logits = model.proj(hidden.to(model.proj.weight.dtype))
    cap = model.config.softcap
    return CausalLMOutput(logits=logits if cap is None else cap * (logits / cap).tanh())
