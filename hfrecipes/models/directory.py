"""An ordinary model directory: which model a run starts from, what its folder must contain, and how it is saved."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..config import RunConfig, local_path
from ..errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Keywords of `from_pretrained` that tokenizer, config and model all take.
SHARED_KEYWORDS = ("revision", "subfolder", "trust_remote_code", "code_revision", "cache_dir", "local_files_only")
ADAPTER = "adapter"  # subfolder of a run's folder
CONFIG = "config"  # subfolder of that: a config.json beside the adapter would be taken for that of a whole model
_MODEL_FILES = ("config.json", "generation_config.json", "model*.safetensors", "model*.safetensors.index.json")
_WEIGHT_FILES = ("*.safetensors", "*.bin", "*.safetensors.index.json")


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

    @property
    def path(self) -> str:
        """Hub id or folder; a `pkg://` name is resolved, and its checksum verified, each time this is read."""
        return local_path(self.name)

    @property
    def shared_keywords(self) -> dict[str, Any]:
        """Those of the keywords that also apply to the tokenizer and the config."""
        return {name: value for name, value in self.keywords.items() if name in SHARED_KEYWORDS}

    @property
    def is_quantized(self) -> bool:
        """Whether the weights are loaded in 4 or 8 bits."""
        return bool(self.keywords.get("quantization_config"))

    @property
    def trust_remote_code(self) -> bool:
        """Whether code from the model's repository may be run."""
        return bool(self.keywords.get("trust_remote_code"))


def name_and_keywords(config: RunConfig) -> tuple[str, dict[str, Any]]:
    """Folder or Hub id of the run's model, and the keywords of `from_pretrained` that were given with it.

    Raises:
        ConfigError: No model is given.
    """
    settings = ModelSettings.of(config.model)
    return settings.path, dict(settings.keywords)


# --- checks before anything is read ------------------------------------------------------------------------------


def check_folder(path: str) -> None:
    """Refuse a local folder that is not a model directory.

    Args:
        path: Folder; a Hub id passes.

    Raises:
        ModelError: There is no such folder, or its config or weights are missing.
    """
    if not os.path.isdir(path):
        # A Hub id has one slash at most, so these can only be meant as folders.
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"there is no model folder {path}: give a folder or a Hub id")
        return
    folder = Path(path)
    if is_adapter(folder):
        return
    if not (folder / "config.json").exists():
        raise ModelError(f"{path} has no config.json: expected a model directory as save_pretrained leaves it")
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHT_FILES):
        raise ModelError(f"{path} has no weights: expected model.safetensors beside its config.json")


def check_start(path: str) -> None:
    """Refuse a local folder that a training cannot start from.

    Args:
        path: Folder; a Hub id passes.

    Raises:
        ModelError: As for `check_folder`, and for an adapter, whose checkpoints would not be whole models.
    """
    check_folder(path)
    if is_adapter(path):
        raise ModelError(f"{path} is an adapter: start from a whole model made of it:  hfrecipes merge {path} <folder>")


def is_adapter(path: str | Path) -> bool:
    """Whether the folder contains an adapter, and not a whole model."""
    return Path(path, "adapter_config.json").exists()


# --- loading -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def as_model_error(path: str) -> Iterator[None]:
    """Turn whatever loading raises into a ModelError that names the model."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        if os.path.isdir(path):
            raise ModelError(f"the model in {path} cannot be loaded: {reason}") from error
        raise ModelError(
            f"model {path!r} is not a local folder, and loading it from the Hub failed: {reason}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the load report and the progress bars of transformers; `load_model` logs what is new in one line."""
    from transformers.utils import logging

    level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            _upstream.silence_renamed_checkpointing()
            yield
    finally:
        logging.set_verbosity(level)
        # Bars that were off before, as by HF_HUB_DISABLE_PROGRESS_BARS, stay off.
        if shows_bars:
            logging.enable_progress_bar()


# --- saving ------------------------------------------------------------------------------------------------------


def save(model: Any, tokenizer: PreTrainedTokenizerBase, path: Path) -> list[str]:
    """Save model and tokenizer as an ordinary model directory.

    Returns:
        Names of the files that belong to it.
    """
    with quiet():
        model.save_pretrained(path)
    files = set(save_tokenizer(tokenizer, path))
    patterns = list(_MODEL_FILES)
    # A model with code of its author only loads with the .py files that save_pretrained copied.
    if getattr(model.config, "auto_map", None):
        patterns.append("*.py")
    for pattern in patterns:
        files.update(file.name for file in path.glob(pattern))
    return sorted(files)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path) -> list[str]:
    """Save the tokenizer in the folder; returns the names of its files."""
    return [os.path.relpath(file, path) for file in tokenizer.save_pretrained(path)]


def save_config(model: Any, path: Path) -> None:
    """Write the config of the model anew, also beside its adapter, after what the recipe learned has changed."""
    with quiet():
        for folder in (path, path / ADAPTER / CONFIG):
            if (folder / "config.json").exists():
                model.config.save_pretrained(folder)
