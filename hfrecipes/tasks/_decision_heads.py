"""Decision heads of transformers, which score the options themselves, made to read batches as language models do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ._decision_questions import TYPES

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from transformers.decision import DecisionConfig
    from transformers.models.jev.configuration_jev import JevConfig

AUTO_MODEL = "AutoModelForDecision"
# What a checkpoint that holds its head beside the weights of a language model says of it.
FILES = ("decision_config.json", "judge_config.json", "calibration.json")


def has_head(model_config: PretrainedConfig) -> bool:
    """Whether a decision head scores the options of a model."""
    return bool(model_config.model_type == "jev")


def head_of(model_config: PretrainedConfig, texts: Mapping[str, str]) -> tuple[JevConfig | None, DecisionConfig | None]:
    """Config of the decision head of a model, and the decision config that its files hold; None for what it lacks.

    Args:
        model_config: Config of the model, or of the language model beside whose weights the head is.
        texts: Texts of the files of the model, by name.

    Raises:
        ModelError: A file is damaged.
    """
    if has_head(model_config):
        lacking = set(TYPES) - set(model_config.offsets)
        if lacking:
            raise ModelError(
                f"config.json of the model: offsets has no {sorted(lacking)[0]}, expected {', '.join(TYPES)}"
            )
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
    except Exception as error:  # also of `strict` data classes
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


@cache
def _class_for_batches() -> type[Any]:
    """The class of transformers, made to read batches, under its own name: configs of what it saves have that."""
    import transformers
    from transformers.modeling_outputs import CausalLMOutput

    class JevForDecision(transformers.JevForDecision):  # type: ignore[misc]
        """A decision head that also reads batches, as language models do."""

        __qualname__ = "JevForDecision"

        def __init__(self, config: JevConfig) -> None:
            super().__init__(config)
            # The head itself has nothing that could be computed again.
            self.supports_gradient_checkpointing = self.model.supports_gradient_checkpointing

        @classmethod
        def is_custom_code(cls) -> bool:
            """No: weights are stored under the names that those of the class in transformers are."""
            return False

        def forward(self, *args: Any, logits_to_keep: Any = None, **inputs: Any) -> Any:
            """Scores of all labels at tokens of a batch, as logits of a language model; with `marks` of one prompt.

            Args:
                args: Inputs of one prompt.
                logits_to_keep: Indices of the tokens; by default all of them.
                inputs: Inputs of a batch, or of one prompt.
            """
            if args or "marks" in inputs:
                return super().forward(*args, **inputs)
            hidden = self.model(**inputs, use_cache=False).last_hidden_state
            if logits_to_keep is not None:
                hidden = hidden[:, logits_to_keep]
            logits = self.proj(hidden.to(self.proj.weight.dtype))
            cap = self.config.softcap
            return CausalLMOutput(logits=logits if cap is None else cap * (logits / cap).tanh())

    return JevForDecision


def __getattr__(name: str) -> Any:
    # Where a pickled model looks for its class.
    if name == "JevForDecision":
        return _class_for_batches()
    raise AttributeError(f"module {__name__} has no attribute {name}")


def load(path: str, *, config: PretrainedConfig | None = None, **keywords: Any) -> tuple[Any, dict[str, Any]]:
    """A model with a decision head, and what `from_pretrained` reports of its weights.

    Args:
        path: Folder or name on the Hub.
        config: Its config; by default that in its files.
        keywords: Those of `from_pretrained`.

    Raises:
        ModelError: The head is that of another model.
    """
    from transformers.decision.modeling_utils import DecisionMixin

    head_class = _class_for_batches()
    if config is None:
        config, _ = head_class.checkpoint_config(path, **keywords)
    if config is not None:
        # Keywords of a config that is made already would go to the model.
        for name in [name for name in keywords if hasattr(config.text_config, name) and name != "dtype"]:
            setattr(config.text_config, name, keywords.pop(name))
    # That of the class itself fails where a report is asked for.
    model, report = super(DecisionMixin, head_class).from_pretrained(
        path, config=config, output_loading_info=True, **keywords
    )
    if any(entry[0].startswith("proj.") for entry in report["mismatched_keys"]):
        raise ModelError(f"the decision head in {path} has another number of rows than its files say: copy it again")
    if "proj.weight" not in report["missing_keys"]:  # heads of some checkpoints have no bias: it is zero
        report["missing_keys"] = [name for name in report["missing_keys"] if name != "proj.bias"]
    return model, report
