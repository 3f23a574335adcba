"""Settings of a push, and why some could not be carried out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..config import RunConfig
from ..errors import nearest
from ..models.adapters import PROMPTS, method_of
from .names import model_path

# Settings and their types: of create_repo, of upload_folder, and what else a push takes.
CREATE: dict[str, type] = {"private": bool, "visibility": str, "resource_group_id": str, "region": str}
UPLOAD: dict[str, type] = {"revision": str, "commit_message": str, "commit_description": str}
OWN: dict[str, type] = {"repo_id": str, "tag": str, "model": str, "every": str, "card": dict}
MODELS = ("merged", "adapter", "both")
BRANCH = "hfrecipes-checkpoints"


def keywords(hub: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings with the name under `repo_id`."""
    return {"repo_id": hub} if isinstance(hub, str) else dict(hub or {})


def problems(config: RunConfig, base: str | None) -> list[str]:
    """Sentences on settings that could not be carried out, found without asking the Hub.

    Args:
        config: Settings of the run.
        base: Hub id of the model that it starts from, if it has one.
    """
    given, known = keywords(config.hub), {**OWN, **CREATE, **UPLOAD}
    if not given:
        return []
    found = [f"unknown setting hub.{key}{nearest(key, known)}" for key in given if key not in known]
    found += [
        f"hub.{key}: found {value!r} ({type(value).__name__}), expected {_WORDS[known[key]]}"
        for key, value in given.items()
        if key in known and not isinstance(value, known[key])
    ]
    found += _name_problems(given) + _card_problems(given.get("card", {}))
    if given.get("every", "save") != "save":
        found.append(f"hub.every: found {given['every']}, expected save, for a push of each checkpoint")
    if given.get("every") and config.training.get("save_only_model"):
        found.append("save_only_model: leave it out, with hub.every=save a resume needs the optimizer too")
    if given.get("model") not in (None, *MODELS):
        found.append(f"hub.model: found {given['model']}, expected {', '.join(MODELS)}")
    return found + _adapter_problems(config, given.get("model"), base)


_WORDS = {bool: "true or false", str: "a text; a number in quotes, as hub.tag=\"'1.0'\"", dict: "a block of keys"}


def _name_problems(given: Mapping[str, Any]) -> list[str]:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if "repo_id" not in given:
        return ["hub: found keywords without a name; add hub.repo_id=<user or organisation>/<name>"]
    if given.get("revision") == BRANCH:
        return [f"hub.revision: {BRANCH} is where checkpoints travel to; choose another branch"]
    try:
        validate_repo_id(given["repo_id"])
    except HFValidationError as error:
        if "/" in given["repo_id"]:
            return [f"hub: found {given['repo_id']}, expected <user or organisation>/<name>, and no address"]
        return [f"hub: {' '.join(str(error).split())}"]
    return []


def _card_problems(card: Any) -> list[str]:
    """Keys of the card that hfrecipes writes itself, or that are spelled a little otherwise than known ones."""
    from huggingface_hub import ModelCardData

    known = [name for name in inspect.signature(ModelCardData).parameters if name != "kwargs"]
    keys = card if isinstance(card, Mapping) else {}
    own = [f"hub.card.{key}: leave it out, it is filled in" for key in keys if key in ("model_name", "eval_results")]
    return own + [
        f"unknown setting hub.card.{key}{nearest(key, known)}"
        for key in keys
        if key not in known and nearest(str(key), known)
    ]


def _adapter_problems(config: RunConfig, wanted: str | None, base: str | None) -> list[str]:
    name, alone = model_path(config), method_of(config.lora) in PROMPTS
    if wanted in ("adapter", "both") and not config.lora:
        return [f"hub.model: {wanted} needs an adapter: add lora=true, or leave it out"]
    if wanted in ("merged", "both") and alone:
        return [f"hub.model: {method_of(config.lora)} leaves nothing to merge; expected adapter"]
    has_base = base or name is None or name.startswith("pkg://")
    if (wanted in ("adapter", "both") or alone) and not has_base:
        return [f"hub: an adapter is of no use without its base, and {name} is a local folder: push that first"]
    return []
