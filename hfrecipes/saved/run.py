"""A saved run, on this machine or on the Hub: where it is, what its settings are, and whether its files are whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import metrics
from .. import trust as trust_
from ..config.recipe_files import read_recipe_file
from ..config.resolving import resolve
from ..config.run_config import RunConfig
from ..config.trainer_keywords import accepted, training_types
from ..errors import ConfigError, ModelError, NotFoundError, when_offline
from ..hub.client import reason
from ..hub.names import hub_id_or_none
from ..log import log
from ..models.directory import ADAPTER, is_adapter, is_exported
from ..recipe import Recipe, arguments_name, option_types
from ..registry import find, is_task
from ..run_folder import contents, manifest

_KNOWN = set(RunConfig.__dataclass_fields__)
# Keywords of a model that a run of somebody else may have: the others run code, or name paths on this machine.
_HARMLESS = ("path", "revision", "subfolder", "quantization_config", "dtype")


def verify(path: str | os.PathLike[str]) -> tuple[int, list[str]]:
    """Compare every byte of a run, its adapter and its checkpoints with what was saved.

    Args:
        path: Folder of one or several runs, or of an adapter, or Hub id.

    Returns:
        Number of files that were compared, and a sentence for each that differs.

    Raises:
        NotFoundError: There is no such run.
        ModelError: It was saved without a manifest.
    """
    name = os.path.expanduser(os.fspath(path))
    folder = Path(name) if os.path.isdir(name) else find_run(name)[0]
    number, differing = 0, []
    for file in sorted(folder.rglob(manifest.MANIFEST)):
        entries = manifest.read(file.parent)
        if entries is None:
            differing.append(f"{file} is damaged: the files beside it cannot be compared with it")
            continue
        number += len(entries)
        for inner, difference in manifest.differences(file.parent, entries, "full"):
            differing.append(f"{file.parent / inner} {difference}")
    if not number and not differing:
        raise ModelError(
            f"{folder} has no {manifest.MANIFEST}, so there is nothing to compare its files with: expected the folder "
            "of a run, or of a model that was pushed"
        )
    return number, differing


def find_run(name: str) -> tuple[Path, bool]:
    """Folder of the run, and whether it came from the Hub, where anybody may have written it."""
    name = os.path.expanduser(name)
    if os.path.isdir(name):
        return _local(Path(name)), False
    repository, _, revision = name.partition("@")
    is_part = repository.count("/") == 2 and repository.endswith(f"/{ADAPTER}")
    if is_part:
        repository = repository.removesuffix(f"/{ADAPTER}")
    if hub_id_or_none(repository) is None or "/" not in repository:
        raise NotFoundError(f"there is no run {name}: give the folder of a run, or a Hub id such as me/model")
    return _from_hub(repository, revision, ADAPTER if is_part else ""), True


def _local(folder: Path) -> Path:
    """The folder, after checking that it contains one complete run.

    Raises:
        ModelError: It does not.
    """
    contents.check_readable(folder)
    kept = folder.parent if is_adapter(folder) else folder
    if not (folder / contents.RECIPE).exists() and not (kept / contents.RUN).exists():
        raise ModelError(f"{folder} has no {contents.RECIPE}: expected the folder of a run of hfrecipes")
    parts = sorted(part.name for part in folder.iterdir() if (part / contents.RUN).exists())
    if parts:
        raise ModelError(f"{folder} contains several runs: choose one of {', '.join(parts)}")
    if not (contents.is_complete(folder) or is_adapter(folder)):
        # The manifest is written when the model is whole, the scores after it.
        if not contents.has_whole_model(folder):
            raise ModelError(
                f"the run in {folder} is not complete: run the command that started it again, to resume it"
            )
        if not is_exported(folder):
            log(f"{folder} has no {contents.METRICS}: it was deleted, or the run not scored; the model is complete")
    return folder


def _from_hub(name: str, revision: str, part: str) -> Path:
    """Folder of a model that a run pushed, or of the adapter in it, downloaded unless it is in the cache."""
    from huggingface_hub import snapshot_download

    patterns = {"allow_patterns": f"{part}/*"} if part else {"ignore_patterns": ["checkpoint-*", f"{ADAPTER}/*"]}
    try:
        folder = Path(snapshot_download(name, revision=revision or None, **patterns)) / part
    except Exception as error:
        raise NotFoundError(
            f"{name} is not a local folder, and loading it from the Hub failed{when_offline()}: {reason(error)}"
        ) from error
    if not (folder / contents.RECIPE).exists():
        raise ModelError(f"{name} has no {contents.RECIPE}: expected a model that a run of hfrecipes pushed")
    return folder


def settings_of(folder: Path, is_foreign: bool, trust: bool) -> tuple[RunConfig, Recipe]:
    """Settings and task of a saved run, checked like those of a new one.

    Raises:
        UntrustedError: They name code, and it is not trusted.
        ModelError: They were not written by a run, or would run code that others wrote.
    """
    file = folder / contents.RECIPE
    try:
        is_checked = not is_foreign and manifest.is_as_saved(folder, file.name)
        config, recipe = _resolved(read_recipe_file(file), file, is_foreign, trust, is_checked=is_checked)
        _log_change(file)
    except (ConfigError, NotFoundError) as error:
        kept = _kept_settings(folder)
        if kept is None:
            raise ModelError(f"{file} was changed or damaged after the run: {error}") from error
        log(f"{file} is missing or damaged ({error}): the settings that the run kept elsewhere are used")
        config, recipe = _resolved(kept, folder, is_foreign, trust)
    return (_harmless(config) if is_foreign else config), recipe


def _log_change(file: Path) -> None:
    """Print that a file of settings was edited since the run."""
    change = manifest.change_of(file.parent, file.name)
    if change is not None:
        log(f"{file} {change}: the settings in it now are used")


def _kept_settings(folder: Path) -> dict[str, Any] | None:
    """Settings of a run from another of its files: that of the adapter, or that of the run around an adapter."""
    run = folder.parent if is_adapter(folder) else folder
    for other in (run / ADAPTER, run):
        if other != folder and (other / contents.RECIPE).exists():
            with contextlib.suppress(ConfigError):
                return read_recipe_file(other / contents.RECIPE)
    return contents.kept_settings(run)


def _resolved(
    written: Mapping[str, Any], source: Path, is_foreign: bool, trust: bool, *, is_checked: bool = False
) -> tuple[RunConfig, Recipe]:
    """Settings and task from what a recipe file says.

    Args:
        written: Content of the file.
        source: The file.
        is_foreign: Whether somebody else may have written it.
        trust: Whether code that it names may be run.
        is_checked: Whether a run wrote it, which had checked the keywords of TrainingArguments before.

    Raises:
        UntrustedError: They name code, and it is not trusted.
        ConfigError: A setting is wrong.
        ModelError: The task is code that others wrote.
    """
    settings = {key: value for key, value in written.items() if key in _KNOWN}
    task = settings["task"]
    if not is_foreign:
        trust_.require(settings, source=source, trust=trust, said={})
    elif not is_task(task):
        # Not even where it is trusted: what was read may be replaced on the Hub before it is downloaded again.
        raise ModelError(
            f"this model was trained with a task of its author's own, {task}: download both, and load the folder"
        )
    kind = find(task)
    # To know their types, TrainingArguments is imported, and PEFT with it, which takes longer than a prediction.
    training = dict.fromkeys(settings.get("training", ()), Any) if is_checked else training_types(arguments_name(kind))
    if isinstance(settings.get("training"), dict):
        settings["training"] = accepted(settings["training"])
    config = resolve(settings, option_types=option_types(kind), training=training)
    return config, kind(**config.options)


def _harmless(config: RunConfig) -> RunConfig:
    """Settings that others wrote, without what would run their code, or write files to paths they choose."""
    shipped = [name for name in config.metrics if name in metrics.names()]
    model = config.model
    if isinstance(model, dict):
        model = {key: value for key, value in model.items() if key in _HARMLESS}
    for setting, code in trust_.code_in({"metrics": config.metrics, "model": config.model}).items():
        log(f"{setting} is not used: it would run {code}, and code of a run on the Hub is never run")
    return replace(config, metrics=shipped, model=model)
