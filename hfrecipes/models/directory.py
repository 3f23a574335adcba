"""An ordinary model directory: what stands in it, checked before it is read, and written."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import RunConfig, local_path
from ..errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHARED_KEYWORDS = ("revision", "subfolder", "trust_remote_code", "code_revision", "cache_dir", "local_files_only")
TUNED = "hfrecipes_tuned"  # key in config.json of what validation decided, as thresholds
PADDING = "hfrecipes_padding"  # key in config.json, "max_length" for a model that reads padding
ADAPTER = "adapter"  # folder in that of a run
CONFIG = "config"  # folder in that: beside the adapter itself, it would be taken for a whole model's
_OF_MODEL = ("config.json", "generation_config.json", "model*.safetensors", "model*.safetensors.index.json")
_WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json")


def name_and_keywords(config: RunConfig) -> tuple[str, dict[str, Any]]:
    """The model's name or folder, and the keywords of `from_pretrained` that came with it.

    Raises:
        ConfigError: No model is given.
    """
    given = {"path": config.model} if isinstance(config.model, str) else dict(config.model or {})
    if not given:
        raise ConfigError("no model: add model=<hub id or folder>")
    return local_path(given.pop("path")), given


def check_folder(path: str) -> None:
    """Refuse a local folder that is no model directory, before anything else is tried.

    Raises:
        ModelError: It lacks its config or its weights.
    """
    if not os.path.isdir(path):
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"there is no model folder {path}: give a folder or a Hub id")
        return
    folder = Path(path)
    if is_adapter(folder):
        return
    if not (folder / "config.json").exists():
        raise ModelError(f"{path} has no config.json: expected a model directory as save_pretrained leaves it")
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise ModelError(f"{path} has no weights: expected model.safetensors beside its config.json")


def check_start(path: str) -> None:
    """As `check_folder`, for a model that is to be trained.

    Raises:
        ModelError: Also where it is an adapter, whose checkpoints would be no whole model.
    """
    check_folder(path)
    if is_adapter(path):
        raise ModelError(f"{path} is an adapter: start from a whole model made of it:  hfrecipes merge {path} <folder>")


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
        raise ModelError(f"model {path!r} is no folder here, and the Hub did not give it: {reason}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Mute the load report and the bars of loading and saving; `load_model` says what is new in one line."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():  # PEFT asks a model by an old name whether it computes activations anew
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def save(model: Any, tokenizer: PreTrainedTokenizerBase, path: Path) -> list[str]:
    """Leave an ordinary model directory; gives the names of its files."""
    with quiet():
        model.save_pretrained(path)
    of_model = {file.name for pattern in _OF_MODEL for file in path.glob(pattern)}
    of_author = {file.name for file in path.glob("*.py")} if getattr(model.config, "auto_map", None) else set()
    return sorted({*of_model, *of_author, *save_tokenizer(tokenizer, path)})


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path) -> list[str]:
    """Leave the tokenizer in the folder; gives the names of its files."""
    return [os.path.relpath(file, path) for file in tokenizer.save_pretrained(path)]


def is_adapter(path: str | Path) -> bool:
    """Whether the folder holds an adapter, and not a whole model."""
    return Path(path, "adapter_config.json").exists()


def save_tuned(model: Any, tuned: dict[str, float], path: Path) -> None:
    """Write what validation decided into the config.json of the model, so that it goes where the model goes."""
    setattr(model.config, TUNED, tuned)
    with quiet():
        for place in (path, path / ADAPTER / CONFIG):
            if (place / "config.json").exists():
                model.config.save_pretrained(place)
