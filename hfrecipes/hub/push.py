"""Push a run: what others need of it and nothing else, as often as it takes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import run_folder
from ..config import RunConfig, read_config, to_yaml
from ..errors import ConfigError, ModelError, NotFoundError
from ..log import log
from ..models.adapters import PROMPTS, method_of
from ..models.directory import ADAPTER, CONFIG
from ..recipe import Recipe
from ..registry import find
from ..yaml12 import format_value
from .card import facts
from .client import as_hub_error, repository, require_access, until_it_works
from .names import clean, portable
from .settings import BRANCH, UPLOAD
from .settings import keywords as settings_keywords
from .settings import problems as settings_problems

if TYPE_CHECKING:
    from huggingface_hub import HfApi


# Files of an adapter's folder, and names that files of a model have: those are taken away where another model comes.
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_OF_A_MODEL = re.compile(
    rf"(({ADAPTER}|{CONFIG}|{ADAPTER}/{CONFIG})/)?"
    r"(model([-.].*)?\.safetensors|model\.safetensors\.index\.json|(generation_)?config\.json|adapter_config\.json"
    r"|adapter_model\.safetensors|tokenizer.*\.(json|model)|(special_tokens_map|added_tokens|vocab|metrics)\.json"
    r"|vocab\.txt|merges\.txt|spiece\.model|sentencepiece\.bpe\.model|chat_template\.jinja|recipe\.yaml)"
)
# Where a snippet of a card names the model.
_NAMED = re.compile(r'(from_pretrained\(|hfrecipes\.load\(|pipeline\("[\w-]+", )"((?:[^"\\]|\\.)*)"')
_SIGNED = re.compile(r"\n<!-- hfrecipes ([0-9a-f]{16}) -->\n?$")


def push(path: str | os.PathLike[str], to: str | Mapping[str, Any], **more: Any) -> str:
    """Push a complete run: model, card, settings and scores. What has not changed does not travel again.

    Args:
        path: Folder of the run.
        to: Name of the repository, or settings as `run` takes them under `hub`.
        **more: Such settings, as `private`, `revision`, `tag`, `commit_message`, `model` (merged, adapter, both).

    Returns:
        Address of the commit.

    Raises:
        ConfigError: A setting cannot be carried out.
        HubError: The push failed; the folder is as it was, and the same call goes on with it.
        ModelError: The folder is no complete run.
        NotFoundError: There is no such folder.

    Example:
        >>> hfrecipes.push("runs/quickstart", "me/intents", private=True)  # doctest: +SKIP
    """
    place = Path(path)
    _require_run(place)
    config = replace(read_config(place / run_folder.RECIPE), hub={**settings_keywords(to), **more})
    found = settings_problems(config, _about(place)["origin"]["model"])
    if found:
        raise ConfigError(found)
    return push_run(place, config)


def _require_run(path: Path) -> None:
    if not path.is_dir():
        raise NotFoundError(f"there is no folder {path}: give that of a complete run")
    if not (path / run_folder.RECIPE).exists():
        raise ModelError(f"{path} has no {run_folder.RECIPE}: expected the folder that a run of hfrecipes left")
    if not run_folder.is_complete(path):
        raise ModelError(f"the run in {path} is not complete: the command that started it resumes it")
    if not _about(path):
        parts = sorted(one.name for one in path.iterdir() if (one / run_folder.RUN).exists())
        edit = f"it holds several runs: push one of {', '.join(parts)}" if parts else "push the run that it came from"
        raise ModelError(f"{path} has no model of its own: {edit}")


def _about(path: Path) -> dict[str, Any]:
    """What the run says of itself."""
    return run_folder.read_json(path / run_folder.RUN)


def push_run(path: Path, config: RunConfig) -> str:
    """Push the run in a folder as its settings say; gives the address of the commit.

    Raises:
        HubError: It failed; the folder is as it was.
    """
    from huggingface_hub import HfApi

    given, api = settings_keywords(config.hub), HfApi()
    what = f"hub: the push of {path} failed, and the run is whole"
    later = f". To push it later:  {_command(path, given)}"
    require_access(given["repo_id"], later)
    with as_hub_error(what, later), tempfile.TemporaryDirectory() as stage:
        name = until_it_works(lambda: repository(api, given))
        revision = given.get("revision")
        theirs = until_it_works(lambda: api.list_repo_files(name, revision=revision))
        _stage(path, Path(stage), config, name)
        _spare_their_card(api, name, revision, Path(stage), theirs)
        own = {str(file.relative_to(stage)) for file in Path(stage).rglob("*")}
        upload = {key: given[key] for key in UPLOAD if key in given}
        upload.setdefault("commit_message", f"{config.task} model, by hfrecipes")
        stale = [file for file in theirs if _OF_A_MODEL.fullmatch(file) and file not in own]
        commit = until_it_works(
            lambda: api.upload_folder(repo_id=name, folder_path=stage, delete_patterns=stale or None, **upload)
        )
        if given.get("tag"):
            until_it_works(lambda: _tag(api, name, given["tag"], commit.oid))
        if given.get("every"):
            until_it_works(lambda: _drop_branch(api, name))
    return str(commit.commit_url)


def _command(path: Path, given: Mapping[str, Any]) -> str:
    """The command that pushes the run again, with the same settings."""
    flat = {f"card.{key}": value for key, value in given.get("card", {}).items()}
    flat |= {key: value for key, value in given.items() if key not in ("repo_id", "card")}
    words = [f"{key}={format_value(value)}" for key, value in flat.items()]
    return shlex.join(["hfrecipes", "push", str(path), given["repo_id"], *words])


# --- what travels ------------------------------------------------------------------------------------------------


def _stage(path: Path, stage: Path, config: RunConfig, name: str) -> None:
    """Put together what is pushed: large files by links, settings without places of this machine."""
    about = _about(path)
    what = _what_to_push(path, config, about["origin"]["model"])
    shared = portable(replace(config, **about["shared"]))
    if what != "adapter":
        link_files((path / file for file in about["files"]), stage)
        (stage / run_folder.RECIPE).write_text(to_yaml(shared), encoding="utf-8")
    if what != "merged":
        place = stage if what == "adapter" else stage / ADAPTER
        tokenizer = [path / ADAPTER / file for file in about["tokenizer"]]
        link_files([*(path / ADAPTER / file for file in ADAPTER_FILES), *tokenizer], place)
        link_files((path / ADAPTER / CONFIG).glob("*.json"), place / CONFIG)
        _name_base(place / ADAPTER_FILES[0], shared)
        (place / run_folder.RECIPE).write_text(to_yaml(shared), encoding="utf-8")
    link_files([path / run_folder.METRICS], stage)
    recipe = find(config.task)(**config.options)
    card = _card(
        path, replace(config, hub={**settings_keywords(config.hub), "model": what}), recipe, about["origin"], name
    )
    (stage / run_folder.CARD).write_text(card, encoding="utf-8")


def _what_to_push(path: Path, config: RunConfig, base: str | None) -> str:
    """`merged`, `adapter`, or `both`: the last one where others can load the base."""
    wanted: str | None = settings_keywords(config.hub).get("model")
    if wanted or not (path / ADAPTER).exists():
        return wanted or "merged"
    if method_of(config.lora) in PROMPTS:
        return "adapter"
    return "both" if base else "merged"


def link_files(files: Iterable[Path], target: Path) -> None:
    """Have the files in another folder, without their content twice; settings without places of this machine."""
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not file.is_file():
            continue
        if file.suffix == ".json" and file.name not in ("tokenizer.json", "vocab.json"):
            content = json.loads(file.read_text(encoding="utf-8"))
            if clean(content) != content:
                (target / file.name).write_text(json.dumps(clean(content), indent=2), encoding="utf-8")
                continue
        try:
            os.link(file, target / file.name)
        except OSError:  # another file system
            shutil.copyfile(file, target / file.name)


def _name_base(file: Path, shared: RunConfig) -> None:
    """Have an adapter name its base as the settings do: of a base inside a package it holds the folder."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = shared.model["path"] if isinstance(shared.model, dict) else shared.model
    file.unlink()  # it may be a link
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")


# --- the card ----------------------------------------------------------------------------------------------------


def _card(path: Path, config: RunConfig, recipe: Recipe, origin: Mapping[str, str | None], name: str) -> str:
    """The card of the run with the name that it has on the Hub, and the front matter that the push asks for."""
    from huggingface_hub import ModelCard, ModelCardData

    card = ModelCard.load(path / run_folder.CARD)
    known = card.data.to_dict()
    title = name.rpartition("/")[2]
    for entry in known.get("model-index", []):
        entry["name"] = title
    head = ModelCardData(**{**known, **facts(config, recipe, origin)})
    text = re.sub(r"^# .*$", lambda _: f"# {title}", card.text, count=1, flags=re.MULTILINE)
    if settings_keywords(config.hub)["model"] == "adapter":  # transformers alone does not load it
        text = re.sub(r"```python\n(?:(?!```).)*?```\n\nWith", "With", text, count=1, flags=re.DOTALL)
    text = _NAMED.sub(lambda found: f'{found[1]}"{name}"', text)
    if settings_keywords(config.hub)["model"] == "both":
        alone = f'The adapter alone, merged into its base on loading: `hfrecipes.load("{name}/{ADAPTER}")`.'
        text = text.replace("\n## Training data\n", f"\n{alone}\n\n## Training data\n", 1)
    return _signed(f"---\n{head}\n---\n{text}")


def _signed(text: str) -> str:
    """The text with a mark that tells whether somebody changes it later."""
    text = _SIGNED.sub("", text).rstrip("\n")
    return f"{text}\n\n<!-- hfrecipes {_digest(text)} -->\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.rstrip("\n").encode()).hexdigest()[:16]


def _spare_their_card(api: HfApi, name: str, revision: str | None, stage: Path, theirs: list[str]) -> None:
    """Leave a card alone that was written, or changed, on the Hub."""
    from huggingface_hub import hf_hub_download

    if run_folder.CARD not in theirs:
        return
    file = until_it_works(lambda: hf_hub_download(name, run_folder.CARD, revision=revision))
    text = Path(file).read_text(encoding="utf-8")
    mark = _SIGNED.search(text)
    if mark is None or mark[1] != _digest(_SIGNED.sub("", text)):
        (stage / run_folder.CARD).unlink()
        log(
            f"hub: the {run_folder.CARD} in {name} was written there, and stays as it is; delete it there for a new one"
        )


# --- branches and tags -------------------------------------------------------------------------------------------


def _tag(api: HfApi, name: str, tag: str, commit: str) -> None:
    """Have the tag name what was pushed, wherever it was before."""
    before = {one.name: one.target_commit for one in api.list_repo_refs(name).tags}.get(tag)
    if before == commit:
        return
    if before is not None:
        log(f"hub: tag {tag} moves from {before[:8]} to {commit[:8]}")
        api.delete_tag(name, tag=tag)
    api.create_tag(name, tag=tag, revision=commit)


def _drop_branch(api: HfApi, name: str) -> None:
    """The run is complete: its checkpoints are of no more use."""
    if BRANCH in [one.name for one in api.list_repo_refs(name).branches]:
        api.delete_branch(name, branch=BRANCH)
