"""Settings of a push, and the checks of them that need no request to the Hub."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..config import RunConfig
from ..errors import ConfigError, nearest
from ..models.adapters import PROMPTS, method_of
from .names import model_path

MODELS = ("merged", "adapter", "both")
# Checkpoints have a separate branch, so that an unfinished model never appears on the main one.
BRANCH = "hfrecipes-checkpoints"


@dataclass(frozen=True)
class PushSettings:
    """Where a run is pushed to, and how; None for what was not given.

    Example:
        >>> PushSettings.of("me/intents").repo_id
        'me/intents'
        >>> PushSettings.of({"repo_id": "me/intents", "private": True, "tag": "v1"}).create_keywords()
        {'private': True}
    """

    repo_id: str
    """Name of the repository; without an owner it belongs to the user who is logged in."""
    private: bool | None = None
    """Whether the repository is private."""
    visibility: str | None = None
    """`public` or `private`, the other spelling of `create_repo`."""
    resource_group_id: str | None = None
    """Resource group of an organisation, for `create_repo`."""
    region: str | None = None
    """Region where the files are stored, for `create_repo`."""
    revision: str | None = None
    """Branch to push to, created if missing; `main` where not given."""
    commit_message: str | None = None
    """Title of the commit."""
    commit_description: str | None = None
    """Text below the title of the commit."""
    tag: str | None = None
    """Tag for the pushed commit; an existing one moves to it."""
    model: str | None = None
    """What is pushed after training with an adapter: `merged`, `adapter`, or `both`."""
    every: str | None = None
    """`save` to push each checkpoint too."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """Front matter of the model card: keywords of `ModelCardData`."""

    @classmethod
    def of(cls, hub: str | Mapping[str, Any] | None) -> PushSettings | None:
        """The settings under `hub`; None where nothing is to be pushed.

        Raises:
            ConfigError: A key is unknown, a value has the wrong type, or the name is missing.
        """
        given = keywords(hub)
        if not given:
            return None
        wrong = _key_problems(given)
        if wrong:
            raise ConfigError(wrong)
        return cls(**given)

    @classmethod
    def required(cls, hub: str | Mapping[str, Any] | None) -> PushSettings:
        """The settings under `hub`, for functions that are called only where something is pushed.

        Raises:
            ConfigError: As for `of`, or there are none.
        """
        settings = cls.of(hub)
        if settings is None:
            raise ConfigError("hub: found no repository to push to; add hub=<user or organisation>/<name>")
        return settings

    def create_keywords(self) -> dict[str, Any]:
        """Keywords of `create_repo` that were given."""
        return self._given("private", "visibility", "resource_group_id", "region")

    def upload_keywords(self) -> dict[str, Any]:
        """Keywords of `upload_folder` that were given."""
        return self._given("revision", "commit_message", "commit_description")

    def as_dict(self) -> dict[str, Any]:
        """All settings that were given, as `of` takes them."""
        given = self._given(*_TYPES)
        if not self.card:
            del given["card"]
        return given

    def _given(self, *names: str) -> dict[str, Any]:
        given = {}
        for name in names:
            value = getattr(self, name)
            if value is not None:
                given[name] = value
        return given

    def wants_private(self) -> bool | None:
        """Whether a private repository was asked for, in either spelling; None where nothing was said."""
        if self.private is not None:
            return self.private
        return {"private": True, "public": False}.get(self.visibility or "")


# The fields are the known keys; those that are no text are named here.
_TYPES: dict[str, type] = dict.fromkeys([setting.name for setting in fields(PushSettings)], str)
_TYPES |= {"private": bool, "card": dict}
_EXPECTED = {
    bool: "true or false",
    # In YAML and on the command line, a version number such as 1.0 is read as a number.
    str: "a text; put a number in quotes, as in hub.tag=\"'1.0'\"",
    dict: "a block of keys",
}


def keywords(hub: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The unchecked settings under `hub` as a dict, the name under `repo_id`."""
    if isinstance(hub, str):
        return {"repo_id": hub}
    return dict(hub or {})


def problems(config: RunConfig, base: str | None) -> list[str]:
    """Problems in the settings of a push that show without asking the Hub, a sentence for each.

    Args:
        config: Settings of the run.
        base: Hub id of the model that it starts from, if it has one.
    """
    given = keywords(config.hub)
    if not given:
        return []
    sentences = _key_problems(given) + _name_problems(given) + _card_problems(given.get("card", {}))
    if given.get("every", "save") != "save":
        sentences.append(f"hub.every: found {given['every']}, expected save, which pushes each checkpoint")
    if given.get("every") and config.training.get("save_only_model"):
        sentences.append("save_only_model: remove it, a run that resumes from hub.every=save needs the optimizer too")
    if given.get("model") not in (None, *MODELS):
        sentences.append(f"hub.model: found {given['model']}, expected {', '.join(MODELS)}")
    return sentences + _adapter_problems(config, given.get("model"), base)


def _key_problems(given: Mapping[str, Any]) -> list[str]:
    """Unknown keys, values of the wrong type, and a missing name: what would make no `PushSettings`."""
    unknown, mistyped = [], []
    for key, value in given.items():
        if key not in _TYPES:
            unknown.append(f"unknown setting hub.{key}{nearest(key, _TYPES)}")
        elif not isinstance(value, _TYPES[key]):
            expected = _EXPECTED[_TYPES[key]]
            mistyped.append(f"hub.{key}: found {value!r} ({type(value).__name__}), expected {expected}")
    sentences = unknown + mistyped
    if "repo_id" not in given:
        sentences.append("hub: found keywords without a name; add hub.repo_id=<user or organisation>/<name>")
    return sentences


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
    method, path = method_of(config.lora), model_path(config)
    if wanted in ("adapter", "both") and not config.lora:
        return [f"hub.model: found {wanted}, but this run trains no adapter: add lora=true, or remove hub.model"]
    # Prompts are inputs, not weights, so a base model cannot take them in.
    only_adapter = method in PROMPTS
    if wanted in ("merged", "both") and only_adapter:
        return [f"hub.model: found {wanted}, but {method} cannot be merged into its base model: use hub.model=adapter"]
    # `hfrecipes check` needs no model, and then nothing is known of the base.
    is_shared = base or path is None or path.startswith("pkg://")
    if (wanted in ("adapter", "both") or only_adapter) and not is_shared:
        return [
            f"hub: an adapter cannot be used without its base model, and {path} is a local folder: push that first, "
            "and train from its Hub id"
        ]
    return []
