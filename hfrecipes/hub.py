"""The Hub: what may be pushed is checked before training, and what is pushed is what others need of a run.

On its main branch a repository has the model with its card.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import folder
from .adapters import PROMPTS, method_of
from .config import RunConfig, hub_name, local_path, model_path, portable, read_config, to_yaml
from .errors import HubError, ModelError, nearest
from .model import ADAPTER, CONFIG
from .say import say

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
CREATE, UPLOAD = ("private", "visibility", "resource_group_id", "region"), ("revision", "commit_message")
OWN = ("repo_id", "commit_description", "tag", "model", "every", "card")
MODELS = ("merged", "adapter", "both")
# What others need of a run. Never checkpoints, never training_args.bin, which is a pickle, never predictions, which
# hold the rows; run.json says when and on what machine.
PUSHED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.spm", "*.codes", "*.jinja", "*.py", folder.CARD)
NOT_PUSHED = (folder.RUN,)
BRANCH = "checkpoints"
ANSWER_WITHIN = 600.0  # seconds: the client itself would wait for ever
WAITS = (5.0, 30.0)  # seconds before what failed is tried again
_LARGE = 1_000_000  # bytes: a vocabulary, and not settings that could hold a path


# --- settings ----------------------------------------------------------------------------------------------------


def keywords(hub: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings with the name under `repo_id`."""
    return {"repo_id": hub} if isinstance(hub, str) else dict(hub or {})


def problems(config: RunConfig) -> list[str]:
    """Sentences on settings that could not be carried out, found without asking the Hub."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    given = keywords(config.hub)
    if not given:
        return []
    known = (*OWN, *CREATE, *UPLOAD)
    found = [f"unknown setting hub.{key}{nearest(key, known)}" for key in given if key not in known]
    if "repo_id" not in given:
        found.append("hub: found keywords without a name; add hub.repo_id=<user or organisation>/<name>")
    try:
        validate_repo_id(given.get("repo_id", "a/b"))
    except HFValidationError as error:
        found.append(f"hub: {' '.join(str(error).split())}")
    if given.get("every", "save") != "save":
        found.append(f"hub.every: found {given['every']}, expected save, for a push of each checkpoint")
    if given.get("model") not in (None, *MODELS):
        found.append(f"hub.model: found {given['model']}, expected {', '.join(MODELS)}")
    if not isinstance(given.get("card", {}), Mapping):
        found.append("hub.card: expected keywords of ModelCardData, as hub.card.license=mit")
    return found + _adapter_problems(config, given.get("model"))


def _adapter_problems(config: RunConfig, wanted: str | None) -> list[str]:
    name, alone = model_path(config) or "", method_of(config.lora) in PROMPTS
    if wanted in ("adapter", "both") and not config.lora:
        return [f"hub.model: {wanted} needs an adapter: add lora=true, or leave it out"]
    if wanted in ("merged", "both") and alone:
        return [f"hub.model: {method_of(config.lora)} leaves nothing to merge; expected adapter"]
    if (wanted in ("adapter", "both") or alone) and not (hub_name(name) or name.startswith("pkg://")):
        return [f"hub: an adapter is of no use without its base, and {name} is a local folder: push that first"]
    return []


def what_to_push(config: RunConfig) -> str:
    """`merged`, `adapter`, or `both`: the last one where others can load the base."""
    wanted: str | None = keywords(config.hub).get("model")
    if wanted or not config.lora:
        return wanted or "merged"
    if method_of(config.lora) in PROMPTS:
        return "adapter"
    return "both" if hub_name(model_path(config)) else "merged"


# --- before training ---------------------------------------------------------------------------------------------


def preflight(config: RunConfig, metadata: Mapping[str, Any]) -> None:
    """Make sure before training that the push will be allowed: token, name, permission, and the card's metadata.

    Args:
        config: Settings of the run.
        metadata: Front matter of the card, as far as it is known.

    Raises:
        HubError: The push could not work, and why.
    """
    given = keywords(config.hub)
    if not given:
        return
    from huggingface_hub import HfApi, ModelCard, constants, get_token

    name, otherwise = given["repo_id"], "; or leave hub out, and push later with  hfrecipes push"
    if constants.is_offline_mode():
        raise HubError(f"hub: HF_HUB_OFFLINE is set, so that nothing can be pushed to {name}: unset it{otherwise}")
    if get_token() is None:
        raise HubError(f"hub: no token found: log in with  hf auth login  or set HF_TOKEN{otherwise}")
    api = HfApi()
    with as_hub_error(f"hub: cannot push to {name}", otherwise):
        bound_answers()
        api.whoami()
        repository = _repository(api, given)
        api.auth_check(repository, write=True)
        ModelCard(f"---\n{to_front_matter(metadata)}---\n").validate()
    if given.get("private") and not api.repo_info(repository).private:
        raise HubError(
            f"hub: {repository} is there already and is public, and private=true was asked for: change that in its "
            "settings on the Hub, or choose another name"
        )


def to_front_matter(metadata: Mapping[str, Any]) -> str:
    """The metadata as YAML."""
    from huggingface_hub.utils import yaml_dump

    return str(yaml_dump(dict(metadata), sort_keys=False))


def _repository(api: HfApi, given: Mapping[str, Any]) -> str:
    """Full name of the repository, made where it is not there, with the branch to push to."""
    about = {key: given[key] for key in CREATE if key in given}
    repository: str = api.create_repo(given["repo_id"], exist_ok=True, **about).repo_id
    if given.get("revision") not in (None, "main"):
        api.create_branch(repository, branch=given["revision"], exist_ok=True)
    return repository


def bound_answers() -> None:
    """Have the client give up what hangs; without a limit a push could wait for ever."""
    from huggingface_hub.utils import get_session

    get_session().timeout = ANSWER_WITHIN


@contextlib.contextmanager
def as_hub_error(what: str, otherwise: str = "") -> Iterator[None]:
    """Turn whatever the client raises into a HubError that says what was tried, and what to do instead."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        raise HubError(f"{what}: {reason(error)}{otherwise}") from error


def reason(error: BaseException) -> str:
    """Why the Hub did not do it, in a sentence, with the edit where there is one."""
    said = " ".join(str(error).split())
    said = said if len(said) <= 300 else said[:300].rpartition(" ")[0] + " …"
    advice = {
        401: "it does not know this token, or needs one: log in with  hf auth login  or set HF_TOKEN",
        403: "this token may not write there: take one with write permission, or a name of your own",
        404: "there is no such repository, or this token may not see it",
        409: "somebody else is changing it",
        412: "somebody else has changed it meanwhile: try again",
        429: "too many requests: try again later",
    }.get(status_of(error) or 0)
    if advice is None and _may_pass(error):
        advice = "it does not answer as it should: try again later"
    return f"{advice} ({type(error).__name__}: {said})" if advice else said or type(error).__name__


def status_of(error: BaseException) -> int | None:
    """HTTP status behind an error of the client, which wraps some."""
    one: BaseException | None = error
    while one is not None:
        response = getattr(one, "response", None)
        if response is not None:
            return int(response.status_code)
        one = one.__cause__
    return None


def _may_pass(error: BaseException) -> bool:
    """Whether trying again can help: not where the Hub said no, nor where the card is wrong."""
    status = status_of(error)
    if status is not None:
        return status >= 500 or status in (408, 409, 412, 429)
    return not (isinstance(error, ValueError) and "Invalid metadata" in str(error)) and not isinstance(error, HubError)


def _until_it_works(do: Callable[[], T]) -> T:
    """Do it, again where waiting may help: what has arrived is not sent again."""
    for wait in (*WAITS, None):
        bound_answers()
        try:
            return do()
        except Exception as error:
            if wait is None or not _may_pass(error):
                raise
            say(f"hub: {reason(error)}; once more in {wait:g} seconds")
            time.sleep(wait)
    raise HubError("unreachable")


# --- the model ---------------------------------------------------------------------------------------------------


def push(path: str | os.PathLike[str], hub: str | Mapping[str, Any], **more: Any) -> str:
    """Push a complete run: model, card, settings and scores. What has not changed does not travel again.

    Args:
        path: Folder of the run.
        hub: Name of the repository, or settings as `run` takes them.
        **more: Such settings, as `private`, `revision`, `tag`, `commit_message`, `model` (merged, adapter, both).

    Returns:
        Address of the commit.

    Raises:
        HubError: The push failed; the folder is as it was, and the same call goes on with it.
        ModelError: The folder is no complete run.

    Example:
        >>> hfrecipes.push("runs/quickstart", "me/intents", private=True)  # doctest: +SKIP
    """
    place = Path(path)
    if not folder.is_complete(place):
        raise ModelError(f"{place} is no complete run: the command that started it resumes it")
    config = replace(read_config(place / folder.RECIPE), hub={**keywords(hub), **more})
    found = problems(config)
    if found:
        raise HubError("; ".join(found))
    return push_run(place, config)


def push_run(path: Path, config: RunConfig) -> str:
    """Push the run in a folder as its settings say; gives the address of the commit.

    Raises:
        HubError: It failed; the folder is as it was.
    """
    from huggingface_hub import HfApi

    given, api = keywords(config.hub), HfApi()
    again = f"hfrecipes push {path} {given['repo_id']}"
    what = f"hub: the push of {path} failed, and the run is whole"
    with as_hub_error(what, f". To push it later:  {again}"), tempfile.TemporaryDirectory() as stage:
        repository = _until_it_works(lambda: _repository(api, given))
        _stage_model(path, Path(stage), config, repository)
        upload = {key: given[key] for key in (*UPLOAD, "commit_description") if key in given}
        upload.setdefault("commit_message", f"{config.task} model, by hfrecipes")
        # Weights of another kind that lie there from before would be taken for this model's.
        stale = ["*.safetensors", "*.index.json", "config.json", "adapter_config.json", f"{ADAPTER}/*", f"{CONFIG}/*"]
        commit = _until_it_works(
            lambda: api.upload_folder(repo_id=repository, folder_path=stage, delete_patterns=stale, **upload)
        )
        if given.get("tag"):
            revision = given.get("revision")
            _until_it_works(lambda: api.create_tag(repository, tag=given["tag"], revision=revision, exist_ok=True))
        if given.get("every"):
            _until_it_works(lambda: _drop_branch(api, repository))
    return str(commit.commit_url)


def _stage_model(path: Path, stage: Path, config: RunConfig, repository: str) -> None:
    """Put together what is pushed: large files by links, settings without paths of this machine."""
    what = what_to_push(config)
    if what != "adapter":
        stage_files(path, stage, PUSHED, config)
        (stage / folder.RECIPE).write_text(to_yaml(portable(config)), encoding="utf-8")
    if what != "merged":
        place = stage if what == "adapter" else stage / ADAPTER
        for source, target in ((path / ADAPTER, place), (path / ADAPTER / CONFIG, place / CONFIG)):
            stage_files(source, target, PUSHED, config)
        _name_base(place / "adapter_config.json", config)
        (place / folder.RECIPE).write_text(to_yaml(portable(config)), encoding="utf-8")
    if what == "adapter":
        stage_files(path, stage, (folder.CARD, folder.METRICS), config)
    card = stage / folder.CARD
    text = card.read_text(encoding="utf-8").replace(f'"{path.name}"', f'"{repository}"')
    card.unlink()  # it may be a link
    card.write_text(text, encoding="utf-8")


def _name_base(file: Path, config: RunConfig) -> None:
    """Have an adapter name its base as the settings do: of a base inside a package it holds the folder."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = hub_name(model_path(config)) or model_path(config)
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def stage_files(source: Path, target: Path, patterns: tuple[str, ...], config: RunConfig) -> None:
    """Link the files of a folder that match; rewrite those that may name places of this machine."""
    target.mkdir(parents=True, exist_ok=True)
    places = _local_places(source, config)
    for file in sorted({one for pattern in patterns for one in source.glob(pattern)}):
        if file.name in NOT_PUSHED or not file.is_file() or (target / file.name).exists():
            continue
        may_hold_paths = file.suffix in (".json", ".md") and file.stat().st_size < _LARGE
        text = file.read_text(encoding="utf-8") if may_hold_paths else ""
        changed = text
        for place, name in places.items():
            changed = changed.replace(json.dumps(place)[1:-1], name).replace(place, name)
        if changed != text:
            (target / file.name).write_text(changed, encoding="utf-8")
        else:
            _link(file, target / file.name)


def _local_places(source: Path, config: RunConfig) -> dict[str, str]:
    """Paths of this machine that files may hold, the longest first, with what to write in their place."""
    found = [os.path.abspath(source), os.path.abspath(source.parent), str(Path.home())]
    name = local_path(model_path(config) or "")
    if os.path.exists(name):
        found += [os.path.abspath(name), name]
    absolute = {place for place in found if os.path.isabs(place) and place != os.sep}
    return {place: os.path.basename(place) for place in sorted(absolute, key=len, reverse=True)}


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another file system
        shutil.copyfile(file, target)


# --- the branch of checkpoints -----------------------------------------------------------------------------------


def _drop_branch(api: HfApi, repository: str) -> None:
    """The run is complete: its checkpoints are of no more use."""
    if BRANCH in [one.name for one in api.list_repo_refs(repository).branches]:
        api.delete_branch(repository, branch=BRANCH)
