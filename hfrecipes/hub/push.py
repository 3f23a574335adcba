"""Push a run: the files that others need and no others, with retries."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import trust as trust_
from ..config.blocks import AdapterSettings, PushSettings, push_keywords
from ..config.recipe_files import read_config, to_yaml
from ..config.run_config import RunConfig
from ..config.yaml12 import format_value
from ..errors import ConfigError, ModelError, NotFoundError
from ..log import log
from ..models.adapters import ADAPTER_FILES, BASE, file_names
from ..models.directory import ADAPTER, CONFIG, refuse_exported
from ..registry import find
from ..run_folder import contents, manifest
from ..run_folder.contents import RunInfo
from .card import card_for_hub, front_matter, was_edited
from .client import as_hub_error, repository, require_access, with_retries
from .names import model_path, shareable, without_local_paths
from .settings import BRANCH
from .settings import problems as settings_problems

if TYPE_CHECKING:
    from huggingface_hub import HfApi


# Names that files of a model have, ours or another's: an earlier push may have left some that this one has not.
# A folder in front of them counts only where hfrecipes writes it, so that files of the owner are never deleted.
_MODEL_FILE = re.compile(
    rf"(({ADAPTER}|{CONFIG}|{ADAPTER}/{CONFIG})/)?"
    r"(model([-.].*)?\.safetensors|model\.safetensors\.index\.json|(generation_)?config\.json|adapter_config\.json"
    r"|(adapter_model|distance)\.safetensors|tokenizer.*\.(json|model)|(special_tokens_map|added_tokens|vocab|metrics|baseline|manifest)\.json"
    r"|vocab\.txt|merges\.txt|spiece\.model|sentencepiece\.bpe\.model|chat_template\.jinja|recipe\.yaml)"
    rf"|{contents.PICTURES}/(learning_curves|confusions|reliability|scores)\.svg"
)


def push(path: str | os.PathLike[str], to: str | Mapping[str, Any], *, trust: bool = False, **more: Any) -> str:
    """Push a complete run: model, card, settings and scores. Files that have not changed are not sent again.

    Args:
        path: Folder of the run.
        to: Name of the repository, or settings as `run` takes them under `hub`.
        trust: Whether the .py file of the run's task may be run, which the card is made with.
        **more: Further settings, as `private`, `revision`, `tag`, `commit_message`, `model` (merged, adapter, both).

    Returns:
        Address of the commit.

    Raises:
        ConfigError: A setting cannot be used.
        HubError: The push failed; the folder is unchanged, and the same call continues the push.
        ModelError: The folder is not a complete run.
        NotFoundError: There is no such folder.

    Example:
        >>> hfrecipes.push("runs/quickstart", "me/intents", private=True)  # doctest: +SKIP
    """
    if not isinstance(path, str | os.PathLike):
        raise NotFoundError(f"found {path!r} ({type(path).__name__}), expected the folder of a run")
    folder = Path(path)
    _require_run(folder)
    saved = read_config(folder / contents.RECIPE)
    trust_.require({"task": saved.task}, source=folder / contents.RECIPE, trust=trust, said={})
    config = replace(saved, hub={**push_keywords(to), **more})
    sentences = settings_problems(config, _info(folder).origin["model"])
    if sentences:
        raise ConfigError(sentences)
    return push_run(folder, config, PushSettings.required(config.hub))


def _require_run(path: Path) -> None:
    """Refuse a folder that is not a complete run with one model."""
    if not os.path.isdir(path):
        raise NotFoundError(f"there is no folder {path}: expected the folder of a complete run")
    contents.check_readable(path)
    if not (path / contents.RECIPE).exists():
        raise ModelError(f"{path} has no {contents.RECIPE}: expected the folder of a run of hfrecipes")
    # Folds, seeds and a list of models leave a folder for each run, and at most scores in the one above them.
    runs = sorted(folder.name for folder in path.iterdir() if (folder / contents.RUN).exists())
    if runs:
        raise ModelError(f"{path} contains several runs, and no single model: push one of {', '.join(runs)}")
    refuse_exported(path, "pushed")
    if not contents.is_complete(path):
        raise ModelError(f"the run in {path} is not complete: run the command that started it again, to resume it")
    if RunInfo.read(path) is None:
        raise ModelError(f"{path} has no {contents.RUN}: push the folder of the run that the model comes from")


def _info(path: Path) -> RunInfo:
    """Facts about a complete run, as it wrote them down.

    Raises:
        ModelError: They are missing.
    """
    info = RunInfo.read(path)
    if info is None:
        raise ModelError(f"{path} has no {contents.RUN}: push the folder of the run that the model comes from")
    return info


def push_run(path: Path, config: RunConfig, settings: PushSettings) -> str:
    """Push the run in a folder as its settings say, and return the address of the commit.

    Raises:
        HubError: The push failed; the folder is unchanged.
        ModelError: The model is not the one that was saved.
    """
    from huggingface_hub import HfApi

    _require_whole(path, config, settings)
    api = HfApi()
    later = f". To push it later:  {_command(path, settings)}"
    require_access(settings.repo_id, later)
    with as_hub_error(f"hub: the push of {path} failed, but the run is complete", later):
        name = with_retries(lambda: repository(api, settings))
        commit = _upload(api, path, config, settings, name)
        tag = settings.tag
        if tag:
            with_retries(lambda: _tag(api, name, tag, commit.oid))
        if settings.every:
            with_retries(lambda: _drop_branch(api, name))
    return str(commit.commit_url)


def _upload(api: HfApi, path: Path, config: RunConfig, settings: PushSettings, name: str) -> Any:
    """Send the files that others need in one commit, which also deletes those of a former model."""
    details = {"commit_message": f"{config.task} model, by hfrecipes", **settings.upload_keywords()}
    remote_files = with_retries(lambda: api.list_repo_files(name, revision=settings.revision))
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        _fill_stage(path, stage, config, settings, name)
        if contents.CARD in remote_files:
            _keep_edited_card(name, settings.revision, stage)
        # Files of a former model that this one does not replace, such as further shards.
        stale = []
        for file in remote_files:
            if _MODEL_FILE.fullmatch(file) and not (stage / file).exists():
                stale.append(file)
        return with_retries(
            lambda: api.upload_folder(repo_id=name, folder_path=stage, delete_patterns=stale or None, **details)
        )


def _command(path: Path, settings: PushSettings) -> str:
    """The command that pushes the run again, with the same settings."""
    given = settings.as_dict()
    name = given.pop("repo_id")
    words = []
    for key, value in given.pop("card", {}).items():
        words.append(f"card.{key}={format_value(value)}")
    for key, value in given.items():
        words.append(f"{key}={format_value(value)}")
    return shlex.join(["hfrecipes", "push", str(path), name, *words])


# --- the files that are pushed -----------------------------------------------------------------------------------


def _fill_stage(path: Path, stage: Path, config: RunConfig, settings: PushSettings, name: str) -> None:
    """Put the files to be pushed into one folder: large ones as links, settings without local paths."""
    info = _info(path)
    what = _what_to_push(path, settings.model, config.adapter, info.origin["model"])
    # Recorded by the run: from another folder, relative paths could not be told from Hub ids.
    shared = shareable(replace(config, **info.shared))
    if what != "adapter":
        link_files((path / file for file in info.files), stage)
        (stage / contents.RECIPE).write_text(to_yaml(shared), encoding="utf-8")
        _add_manifest(path, stage, info.files)
    if what != "merged":
        # Alone, the adapter is at the top, where PEFT looks for it.
        target = stage if what == "adapter" else stage / ADAPTER
        _add_adapter(path / ADAPTER, target, info.tokenizer, shared)
    # The baseline may hold words of the training rows, so it stays here.
    link_files([path / contents.METRICS], stage)
    link_files((path / contents.PICTURES).glob("*.svg"), stage / contents.PICTURES)
    recipe = find(config.task)(**config.options)
    metadata = front_matter(recipe, info.origin, adapter=config.adapter, push=replace(settings, model=what))
    card = card_for_hub(path / contents.CARD, name, what, metadata)
    (stage / contents.CARD).write_text(card, encoding="utf-8")


def _what_to_push(path: Path, wanted: str | None, adapter: AdapterSettings | None, base: str | None) -> str:
    """`merged`, `adapter`, or `both`; the last one only where others can load the base model, of Hub id `base`."""
    if wanted or not (path / ADAPTER).exists():
        return wanted or "merged"
    if adapter is not None and adapter.is_prompt_learning:
        return "adapter"
    return "both" if base else "merged"


def _add_adapter(source: Path, target: Path, tokenizer_files: Sequence[str], shared: RunConfig) -> None:
    """Add the files of an adapter, its tokenizer, the configuration of its base model, and its settings."""
    link_files((source / file for file in (*ADAPTER_FILES, *tokenizer_files)), target)
    link_files([source / BASE], target)
    link_files((source / CONFIG).glob("*.json"), target / CONFIG)
    _name_base(target / ADAPTER_FILES[0], shared)
    (target / contents.RECIPE).write_text(to_yaml(shared), encoding="utf-8")
    _add_manifest(source, target, file_names(source, tokenizer_files))


def _require_whole(path: Path, config: RunConfig, settings: PushSettings) -> None:
    """Refuse, before any request, to push a model or an adapter that is not the one that was saved."""
    info = _info(path)
    what = _what_to_push(path, settings.model, config.adapter, info.origin["model"])
    if what != "adapter":
        _require_unchanged(path, info.files)
    if what != "merged":
        _require_unchanged(path / ADAPTER, ADAPTER_FILES)


def _require_unchanged(path: Path, names: Sequence[str]) -> None:
    """Refuse to push a model that is not the one that was saved.

    Raises:
        ModelError: A file is missing, or has changed.
    """
    entries = manifest.read(path) or {}
    missing = [(name, "is missing") for name in names if not (path / name).exists()]
    for name, difference in [*missing, *manifest.differences(path, entries, "full")]:
        if name not in contents.BESIDE_MODEL:
            raise ModelError(f"{path / name} {difference}: put the right file back, or train again, and push then")


def _add_manifest(source: Path, target: Path, names: Sequence[str]) -> None:
    """Say what was pushed; weights are not hashed again where the run has done it."""
    entries = manifest.read(source)
    if entries is None:
        manifest.write(target, [*names, contents.RECIPE])
    else:
        manifest.follow(target, entries)


def link_files(files: Iterable[Path], target: Path) -> None:
    """Put the files that exist into another folder as links, and JSON files without local paths."""
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not file.is_file():
            continue
        # These two are large and hold no paths, only tokens that may look like paths.
        if file.suffix == ".json" and file.name not in ("tokenizer.json", "vocab.json"):
            content = json.loads(file.read_text(encoding="utf-8"))
            if without_local_paths(content) != content:
                (target / file.name).write_text(json.dumps(without_local_paths(content), indent=2), encoding="utf-8")
                continue
        try:
            os.link(file, target / file.name)
        except OSError:  # the folders are on different file systems
            shutil.copyfile(file, target / file.name)


def _name_base(file: Path, shared: RunConfig) -> None:
    """Write the base model into an adapter as the settings name it; PEFT writes the folder it was loaded from."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = model_path(shared)
    file.unlink()  # it may be a link to the file of the run, which must not change
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def _keep_edited_card(name: str, revision: str | None, stage: Path) -> None:
    """Do not push a card where somebody wrote or changed the one on the Hub."""
    from huggingface_hub import hf_hub_download

    file = with_retries(lambda: hf_hub_download(name, contents.CARD, revision=revision))
    if was_edited(Path(file).read_text(encoding="utf-8")):
        (stage / contents.CARD).unlink()
        log(f"hub: {contents.CARD} in {name} was edited on the Hub and is kept; delete it there to get a new one")


# --- branches and tags -------------------------------------------------------------------------------------------


def _tag(api: HfApi, name: str, tag: str, commit: str) -> None:
    """Make the tag point to the commit; an existing one moves."""
    for existing in api.list_repo_refs(name).tags:
        if existing.name != tag:
            continue
        if existing.target_commit == commit:
            return
        log(f"hub: tag {tag} moves from {existing.target_commit[:8]} to {commit[:8]}")
        # The Hub cannot move a tag.
        api.delete_tag(name, tag=tag)
    api.create_tag(name, tag=tag, revision=commit)


def _drop_branch(api: HfApi, name: str) -> None:
    """Delete the branch of the checkpoints, which nobody needs once the run is complete."""
    if BRANCH in [branch.name for branch in api.list_repo_refs(name).branches]:
        api.delete_branch(name, branch=BRANCH)
