"""An ordinary model directory: which model a run starts from, what its folder must contain, and how it is saved."""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePath
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..config.blocks import ModelSettings, sha256_of
from ..errors import HFRecipesError, ModelError, when_offline
from ..recipe import Recipe
from ..run_folder.contents import check_readable
from ..run_folder.writing import draft_folder
from . import integrity

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ADAPTER = "adapter"  # subfolder of a run's folder
ONNX, EXPORT = "model.onnx", "export.json"  # of a model that was exported, and what is known of it
CONFIG = "config"  # subfolder of that: a config.json next to the adapter would be taken for that of a complete model
_LONGEST_ID = 200  # characters of a Hub id; its two names have 96 at most
_SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".jinja")  # of files of a model and its tokenizer
_WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")


# --- checks before anything is read ------------------------------------------------------------------------------


def check_folder(path: str) -> None:
    """Refuse a local folder that is not a model directory.

    Args:
        path: Folder; a Hub id passes.

    Raises:
        ModelError: There is no such folder, or its config or weights are missing or damaged.
    """
    if not os.path.isdir(path):
        # A Hub id has one slash at most, so these can only be meant as folders.
        if path.startswith((".", "/", "~")) or path.count("/") > 1 or len(path) > _LONGEST_ID:
            raise ModelError(f"there is no model folder {path}: give a folder or a Hub id")
        return
    folder = Path(path)
    check_readable(folder)
    for inner in folder.iterdir():
        # A checkpoint or a model of a run may stand in a folder of its own.
        if inner.is_dir() and inner.suffix in _SUFFIXES:
            raise ModelError(f"{inner} is a folder, expected a file: put the file there")
        # A pipe would be waited for, and a device read for ever.
        if inner.suffix in _SUFFIXES and not inner.is_file():
            raise ModelError(f"{inner} is a pipe, a device or a broken link, expected a file: put the file there")
    if is_adapter(folder):
        integrity.check_adapter_files(folder, CONFIG)
        return
    if not (folder / "config.json").exists():
        raise ModelError(f"{path} has no config.json: expected a model directory as save_pretrained leaves it")
    if not is_exported(folder):
        integrity.check_files(folder)


def check_start(model: ModelSettings) -> None:
    """Refuse a model that a training cannot start from, before anything of it is loaded.

    Args:
        model: Folder or Hub id, with its revision.

    Raises:
        ModelError: As for `check_folder`, for the model of a run that has changed since it was saved, for an adapter,
            whose checkpoints would not be whole models, and for one on the Hub that has only pickled weights.
    """
    check_folder(model.path)
    if is_adapter(model.path):
        raise ModelError(
            f"{model.path} is an adapter: start from the merged model:  hfrecipes merge {model.path} <folder>"
        )
    refuse_exported(model.path, "trained")
    if os.path.isdir(model.path):
        integrity.check_unchanged(Path(model.path))
    else:
        _check_on_the_hub(model)


def _check_on_the_hub(model: ModelSettings) -> None:
    """Refuse pickled weights by the list of files, before they are downloaded.

    Raises:
        ModelError: The repository has no other ones.
    """
    inside = f"{model.keywords['subfolder']}/" if model.keywords.get("subfolder") else ""
    names = [name.removeprefix(inside) for name in _names_on_the_hub(model) if name.startswith(inside)]
    pickles = [name for name in names if PurePath(name).match("pytorch_model*.bin")]
    if pickles and not any(name.endswith(".safetensors") for name in names):
        raise ModelError(
            f"{model.path} on the Hub has only pickled weights ({pickles[0]}), which can hide code: use a model or a "
            f"revision with safetensors, or convert it:  hf download {model.path} --local-dir <folder>  and, in that "
            f'folder,  python -c "{integrity.CONVERT}"'
        )


def _names_on_the_hub(model: ModelSettings) -> list[str]:
    """Names of the files of a repository; of those in the cache where the Hub cannot be asked."""
    from huggingface_hub import list_repo_files, try_to_load_from_cache

    revision = model.keywords.get("revision")
    # Loading the model explains best what is wrong with the name or the network.
    with contextlib.suppress(Exception):
        return list(list_repo_files(model.path, revision=revision))
    with contextlib.suppress(Exception):
        cached = try_to_load_from_cache(model.path, "config.json", model.keywords.get("cache_dir"), revision)
        if isinstance(cached, str):
            return os.listdir(Path(cached).parent)
    return []


def check_weights(path: str) -> None:
    """Refuse a local folder with weights that are NaN, without loading the model; very large ones are not read.

    Raises:
        ModelError: There are some.
    """
    if os.path.isdir(path):
        integrity.check_finite_files(Path(path))


def is_adapter(path: str | Path) -> bool:
    """Whether the folder contains an adapter, and not a whole model."""
    return Path(path, "adapter_config.json").exists()


def is_exported(path: str | Path) -> bool:
    """Whether the folder contains a model that `export` wrote."""
    return Path(path, ONNX).exists() and Path(path, EXPORT).exists()


def refuse_exported(path: str | Path, what: str) -> None:
    """Refuse a folder that `export` wrote.

    Args:
        path: Folder.
        what: What cannot be done with it.

    Raises:
        ModelError: It is one.
    """
    if is_exported(path):
        raise ModelError(f"{path} is a model in ONNX, which cannot be {what}: use the run that it was exported from")


def identity(model: ModelSettings) -> str | None:
    """An id of the weights of a model: its commit on the Hub, or a hash of the files in its folder."""
    folder = Path(model.path)
    if not folder.is_dir():
        return _upstream.commit_of(model.path, model.keywords.get("revision"), model.keywords.get("cache_dir"))
    whole = hashlib.sha256()
    for file in weight_files(folder):
        whole.update(bytes.fromhex(sha256_of(file)))
    return whole.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of a model, and those that list them."""
    files: list[Path] = []
    for pattern in _WEIGHT_FILES:
        files += folder.glob(pattern)
    return sorted(files)


# --- loading -----------------------------------------------------------------------------------------------------


# Errors whose text is a sentence; of others, such as a KeyError, the type says more than the text.
_SENTENCES = (OSError, ValueError, ImportError, RuntimeError)


@contextlib.contextmanager
def as_model_error(path: str, part: str = "model") -> Iterator[None]:
    """Turn whatever `from_pretrained` raises into a ModelError that names the model; put nothing else inside.

    Args:
        path: Folder, or Hub id.
        part: What is loaded from it.
    """
    try:
        yield
    except HFRecipesError:
        raise
    except UnpicklingError as error:
        raise ModelError(
            f"the weights of {path} are a pickle that holds more than numbers, and could run code: use a model whose "
            "weights are in .safetensors"
        ) from error
    # The libraries raise errors of all kinds for a damaged file, some of them bare exceptions.
    except Exception as error:
        if _upstream.is_about_custom_code(error):
            raise ModelError(
                f"the model in {path} comes with code of its own, which is not run: read it, then add "
                "model.trust_remote_code=true to the command, or use another model"
            ) from error
        reason = " ".join(str(error).split())[:300]
        if not isinstance(error, _SENTENCES):
            reason = f"{type(error).__name__}: {reason}; its files are damaged: copy them again"
        if os.path.isdir(path):
            raise ModelError(f"the {part} in {path} cannot be loaded: {reason}") from error
        raise ModelError(
            f"model {path!r} is not a local folder, and loading it from the Hub failed{when_offline()}: {reason}"
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


def save(model: Any, recipe: Recipe, path: Path) -> list[str]:
    """Save model and tokenizer, with the files that the task has beside them, as an ordinary model directory.

    Returns:
        Names of the files that belong to it.
    """
    with draft_folder(path) as folder:
        with quiet():
            model.save_pretrained(folder)
        save_tokenizer(recipe.tokenizer, folder)
        _write_files(recipe, folder)
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, path: Path) -> list[str]:
    """Save the tokenizer in the folder; returns the names of its files."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Left by the last call, they would depend on whether rows were encoded or came from the cache.
        backend.no_truncation()
        backend.no_padding()
    return [os.path.relpath(file, path) for file in tokenizer.save_pretrained(path)]


def save_config(model: Any, recipe: Recipe, path: Path) -> None:
    """Write the config of the model again, also next to its adapter, after what the recipe learned has changed."""
    with quiet():
        for folder in (path, path / ADAPTER / CONFIG):
            if (folder / "config.json").exists():
                with draft_folder(folder) as drafts:
                    model.config.save_pretrained(drafts)
                    if folder == path:
                        _write_files(recipe, drafts)


def _write_files(recipe: Recipe, folder: Path) -> None:
    """Write the files that the task has beside the model."""
    for name, text in recipe.model_files().items():
        (folder / name).write_text(text, encoding="utf-8")
