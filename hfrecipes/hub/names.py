"""Names that mean something elsewhere: Hub ids stay, places of this machine are reduced to their last name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..config import RunConfig

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Keywords that say where things lie on this machine, or open them.
_DROPPED = {"cache_dir", "storage_options", "local_files_only", "proxies", "token", "use_auth_token"}


def model_path(config: RunConfig) -> str | None:
    """Name or folder of the model, however it was given."""
    return config.model["path"] if isinstance(config.model, dict) else config.model


def origin(config: RunConfig) -> dict[str, str | None]:
    """Hub ids of model and dataset; None where they come from elsewhere.

    To be asked where the run is carried out: from another folder, a relative path would look like an id.
    """
    given = config.dataset
    dataset = hub_name(given.get("path") if isinstance(given, Mapping) else given)
    # A name without owner is a format, as csv, or a folder elsewhere.
    return {"model": hub_name(model_path(config)), "dataset": dataset if dataset and "/" in dataset else None}


def hub_name(name: Any) -> str | None:
    """The Hub id that the name is, or None for a folder, which means nothing to others."""
    is_id = isinstance(name, str) and _HUB_ID.fullmatch(name) is not None and not is_local(name)
    return name if is_id else None


def is_local(name: str) -> bool:
    """Whether the name is a place of this machine."""
    return _is_absolute(name) or name.startswith(("./", "../", "~")) or "\\" in name or os.path.exists(name)


def _is_absolute(name: str) -> bool:
    return os.path.isabs(name) or re.match(r"[A-Za-z]:[\\/]|\\\\", name) is not None


def portable(config: RunConfig) -> RunConfig:
    """The settings as others may see them: no places of this machine, no output folder, no push.

    Example:
        >>> portable(RunConfig(task="chat", model="/data/base", dataset={"train": "./a.csv"})).dataset
        {'train': 'a.csv'}
    """
    shown = {name: _shown(getattr(config, name)) for name in ("task", "model", "dataset", "metrics")}
    # Only whole paths here: a prefix of texts, or a pattern of layers, may begin with any sign.
    kept = {name: _without_paths(getattr(config, name)) for name in ("training", "lora")}
    return dataclasses.replace(config, **shown, **kept, output_dir=None, hub=None)


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shown(one) for key, one in value.items() if key not in _DROPPED}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return _name(value) if isinstance(value, str) else value


def _name(value: str) -> str:
    scheme = value.partition("://")[0] if "://" in value else ""
    if scheme == "file" or (not scheme and (is_local(value) or any(sign in value for sign in "*?["))):
        return last_name(value)
    if scheme in ("", "pkg", "hf"):
        return value
    parts = urlsplit(value)  # what stands before the host, or behind the path, may open it
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def last_name(place: str) -> str:
    """Last part of a path of any system.

    Example:
        >>> last_name("C:\\\\Users\\\\me\\\\rows.csv"), last_name("/data/base/")
        ('rows.csv', 'base')
    """
    if place in (".", ".."):
        place = os.path.abspath(place)
    return PureWindowsPath(place).name


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_paths(one) for one in value]
    return last_name(value) if isinstance(value, str) and _is_absolute(value) else value


def clean(value: Any, key: str = "") -> Any:
    """Content of a settings file as others may see it: values under keys of paths and files by their last name.

    Labels and tokens may look like paths, and stay.
    """
    if isinstance(value, dict):
        return {inner: clean(one, inner) for inner, one in value.items()}
    if isinstance(value, list):
        return [clean(one, key) for one in value]
    is_place = isinstance(value, str) and any(word in key for word in ("path", "file", "checkpoint", "dir"))
    return last_name(value) if is_place and is_local(value) else value
