"""Settings as others may see them: Hub ids stay, local paths are reduced to their last part."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..config.run_config import RunConfig
from ..masking import mask_settings

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WILDCARD = re.compile(r"[*?\[]")
# Keywords of from_pretrained and load_dataset that hold local folders or credentials.
_PRIVATE_KEYWORDS = {"cache_dir", "storage_options", "local_files_only", "proxies", "token", "use_auth_token"}
# Words in the keys of a model's JSON files whose values are paths.
_PATH_WORDS = re.compile("path|file|checkpoint|dir")


def model_path(config: RunConfig) -> str | None:
    """Hub id or folder of the model, for both forms of the `model` setting."""
    return config.base.name if config.model else None


def hub_ids(config: RunConfig) -> dict[str, str | None]:
    """Hub ids of `model` and `dataset`; None for what does not come from the Hub.

    Call it in the folder where the run is started: in another one, a relative path would look like a Hub id.
    """
    dataset = config.dataset.get("path") if isinstance(config.dataset, Mapping) else config.dataset
    dataset_id = hub_id_or_none(dataset)
    # A dataset without an owner is a file format such as csv, or a folder.
    if dataset_id is not None and "/" not in dataset_id:
        dataset_id = None
    return {"model": hub_id_or_none(model_path(config)), "dataset": dataset_id}


def hub_id_or_none(name: Any) -> str | None:
    """The name itself if it is a Hub id, else None: nobody else can use a local folder.

    Example:
        >>> hub_id_or_none("me/model"), hub_id_or_none("./model")
        ('me/model', None)
    """
    if isinstance(name, str) and _HUB_ID.fullmatch(name) and not is_local(name):
        return name
    return None


def is_local(name: str) -> bool:
    """Whether the name is a path on this machine."""
    return _is_absolute(name) or name.startswith(("./", "../", "~")) or "\\" in name or os.path.exists(name)


def _is_absolute(name: str) -> bool:
    # Windows paths count on every system: a recipe file may come from another machine.
    return os.path.isabs(name) or re.match(r"[A-Za-z]:[\\/]|\\\\", name) is not None


def shareable(config: RunConfig) -> RunConfig:
    """The settings as others may see them: without local paths, output folder and push.

    Example:
        >>> shareable(RunConfig(task="chat", model="/data/base", dataset={"train": "./a.csv"})).dataset
        {'train': 'a.csv'}
    """
    shared: dict[str, Any] = {}
    for name in ("task", "model", "dataset", "tests", "metrics", "distill"):
        shared[name] = _change_texts(getattr(config, name), _shareable, dropped=_PRIVATE_KEYWORDS)
    # Only absolute paths are shortened in these two: a relative one cannot be told from a pattern of layer names.
    for name in ("training", "lora"):
        shared[name] = _change_texts(getattr(config, name), _shortened_if_absolute)
    redact = config.options.get("redact")
    if isinstance(redact, dict) and "model" in redact:
        shared["options"] = {**config.options, "redact": {**redact, "model": last_name(redact["model"])}}
    return dataclasses.replace(config, **mask_settings(shared), output_dir=None, hub=None)


def _change_texts(value: Any, change: Callable[[str], str], *, dropped: Collection[str] = ()) -> Any:
    """The value with each text in it changed, however deep it is nested, and without the dropped keys."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_change_texts(item, change, dropped=dropped) for item in value]
    if not isinstance(value, Mapping):
        return value
    changed = {}
    for key, item in value.items():
        if key not in dropped:
            changed[key] = _change_texts(item, change, dropped=dropped)
    return changed


def _shareable(name: str) -> str:
    """A name of a model, file or dataset as others may see it."""
    scheme = name.partition("://")[0] if "://" in name else ""
    if scheme == "file" or (not scheme and (is_local(name) or _WILDCARD.search(name))):
        return last_name(name)
    if scheme in ("", "pkg", "hf"):
        return name
    # A password before the host and a signature in the query give access to private data.
    url = urlsplit(name)
    host = url.netloc.rpartition("@")[2]
    return urlunsplit((url.scheme, host, url.path, "", ""))


def _shortened_if_absolute(text: str) -> str:
    if _is_absolute(text):
        return last_name(text)
    return text


def last_name(path: str) -> str:
    """Last part of a path of any operating system.

    Example:
        >>> last_name("C:\\\\Users\\\\me\\\\rows.csv"), last_name("/data/base/")
        ('rows.csv', 'base')
    """
    if path in (".", ".."):
        path = os.path.abspath(path)
    # Windows paths may be written with both kinds of slashes, so this class splits the paths of all systems.
    return PureWindowsPath(path).name


def without_local_paths(value: Any, key: str = "") -> Any:
    """Content of a JSON file of a model as others may see it: paths are reduced to their last part.

    Only values under keys such as `path` or `file` are changed: labels and tokens may look like paths.
    """
    if isinstance(value, dict):
        cleaned = {}
        for inner_key, item in value.items():
            cleaned[inner_key] = without_local_paths(item, inner_key)
        return cleaned
    if isinstance(value, list):
        return [without_local_paths(item, key) for item in value]
    if isinstance(value, str) and _PATH_WORDS.search(key) and is_local(value):
        return last_name(value)
    return value
