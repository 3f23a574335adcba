"""Settings of a push, and the checks of them that need no request to the Hub."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..config.blocks import push_key_problems, push_keywords
from ..config.run_config import RunConfig
from ..errors import nearest
from .names import model_path

MODELS = ("merged", "adapter", "both")
# Checkpoints have a separate branch, so that an unfinished model never appears on the main one.
BRANCH = "hfrecipes-checkpoints"


def problems(config: RunConfig, base: str | None) -> list[str]:
    """Problems in the settings of a push that show without asking the Hub, a sentence for each.

    Args:
        config: Settings of the run.
        base: Hub id of the model that it starts from, if it has one.
    """
    given = push_keywords(config.hub)
    if not given:
        return []
    sentences = push_key_problems(given) + _name_problems(given) + _card_problems(given.get("card", {}))
    if given.get("every", "save") != "save":
        sentences.append(f"hub.every: found {given['every']}, expected save, which pushes each checkpoint")
    if given.get("every") and config.training.get("save_only_model"):
        sentences.append("save_only_model: remove it, a run that resumes from hub.every=save needs the optimizer too")
    if given.get("model") not in (None, *MODELS):
        sentences.append(f"hub.model: found {given['model']}, expected {', '.join(MODELS)}")
    return sentences + _adapter_problems(config, given.get("model"), base)


def _name_problems(given: Mapping[str, Any]) -> list[str]:
    """Names that the Hub would refuse, and the branch that hfrecipes needs for checkpoints."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    name = given.get("repo_id")
    if not isinstance(name, str):  # already reported
        return []
    if given.get("revision") == BRANCH:
        return [f"hub.revision: {BRANCH} is reserved for checkpoints; choose another branch"]
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        # The client's sentence on slashes does not say what a name looks like.
        if "/" in name:
            return [f"hub: found {name}, expected <user or organisation>/<name>, without the address of the Hub"]
        return [f"hub: {' '.join(str(error).split())}"]
    return []


def _card_problems(card: Any) -> list[str]:
    """Keys of the card that hfrecipes fills in itself, and misspelled ones."""
    from huggingface_hub import ModelCardData

    if not isinstance(card, Mapping):  # already reported
        return []
    filled, misspelled = [], []
    known = list(inspect.signature(ModelCardData).parameters)
    known.remove("kwargs")
    for key in card:
        if key in ("model_name", "eval_results"):
            filled.append(f"hub.card.{key}: remove it, hfrecipes fills it in")
        # ModelCardData takes any key, so only one that resembles a known key is taken for a mistake.
        suggestion = nearest(str(key), known)
        if key not in known and suggestion:
            misspelled.append(f"unknown setting hub.card.{key}{suggestion}")
    return filled + misspelled


def _adapter_problems(config: RunConfig, wanted: str | None, base: str | None) -> list[str]:
    """Adapters that were not trained, cannot be merged, or whose base model nobody else could load."""
    adapter, path = config.adapter, model_path(config)
    if wanted in ("adapter", "both") and adapter is None:
        return [f"hub.model: found {wanted}, but this run trains no adapter: add lora=true, or remove hub.model"]
    # Prompts are inputs, not weights, so a base model cannot take them in.
    only_adapter = adapter is not None and adapter.is_prompt_learning
    if wanted in ("merged", "both") and adapter is not None and only_adapter:
        why = f"{adapter.method} cannot be merged into its base model"
        return [f"hub.model: found {wanted}, but {why}: use hub.model=adapter"]
    # `hfrecipes check` needs no model, and then nothing is known of the base.
    is_shared = base or path is None or path.startswith("pkg://")
    if (wanted in ("adapter", "both") or only_adapter) and not is_shared:
        return [
            f"hub: an adapter cannot be used without its base model, and {path} is a local folder: push that first, "
            "and train from its Hub id"
        ]
    return []
