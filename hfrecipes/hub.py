"""The Hub: which settings a push takes, what is checked before training, and what its refusals mean."""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .adapters import PROMPTS, method_of
from .config import RunConfig
from .errors import HFRecipesError, HubError, nearest
from .portable import model_path
from .say import say

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
# Settings and their types: of create_repo, of upload_folder, and what else a push takes.
CREATE: dict[str, type] = {"private": bool, "visibility": str, "resource_group_id": str, "region": str}
UPLOAD: dict[str, type] = {"revision": str, "commit_message": str, "commit_description": str}
OWN: dict[str, type] = {"repo_id": str, "tag": str, "model": str, "every": str, "card": dict}
MODELS = ("merged", "adapter", "both")
BRANCH = "hfrecipes-checkpoints"
ANSWER_WITHIN = 600.0  # seconds: the client itself would wait for ever
WAITS = (5.0, 30.0)  # seconds before what failed is tried again
LATER = "; or leave hub out, and push later with  hfrecipes push"


# --- settings ----------------------------------------------------------------------------------------------------


def keywords(hub: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings with the name under `repo_id`."""
    return {"repo_id": hub} if isinstance(hub, str) else dict(hub or {})


def problems(config: RunConfig, base: str | None) -> list[str]:
    """Sentences on settings that could not be carried out, found without asking the Hub.

    Args:
        config: Settings of the run.
        base: Hub id of the model that it starts from, if it has one.
    """
    given, known = keywords(config.hub), {**OWN, **CREATE, **UPLOAD}
    if not given:
        return []
    found = [f"unknown setting hub.{key}{nearest(key, known)}" for key in given if key not in known]
    found += [
        f"hub.{key}: found {value!r} ({type(value).__name__}), expected {_WORDS[known[key]]}"
        for key, value in given.items()
        if key in known and not isinstance(value, known[key])
    ]
    found += _name_problems(given) + _card_problems(given.get("card", {}))
    if given.get("every", "save") != "save":
        found.append(f"hub.every: found {given['every']}, expected save, for a push of each checkpoint")
    if given.get("every") and config.training.get("save_only_model"):
        found.append("save_only_model: leave it out, with hub.every=save a resume needs the optimizer too")
    if given.get("model") not in (None, *MODELS):
        found.append(f"hub.model: found {given['model']}, expected {', '.join(MODELS)}")
    return found + _adapter_problems(config, given.get("model"), base)


_WORDS = {bool: "true or false", str: "a text; a number in quotes, as hub.tag=\"'1.0'\"", dict: "a block of keys"}


def _name_problems(given: Mapping[str, Any]) -> list[str]:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if "repo_id" not in given:
        return ["hub: found keywords without a name; add hub.repo_id=<user or organisation>/<name>"]
    if given.get("revision") == BRANCH:
        return [f"hub.revision: {BRANCH} is where checkpoints travel to; choose another branch"]
    try:
        validate_repo_id(given["repo_id"])
    except HFValidationError as error:
        if "/" in given["repo_id"]:
            return [f"hub: found {given['repo_id']}, expected <user or organisation>/<name>, and no address"]
        return [f"hub: {' '.join(str(error).split())}"]
    return []


def _card_problems(card: Any) -> list[str]:
    """Keys of the card that hfrecipes writes itself, or that are spelled a little otherwise than known ones."""
    from huggingface_hub import ModelCardData

    known = [name for name in inspect.signature(ModelCardData).parameters if name != "kwargs"]
    keys = card if isinstance(card, Mapping) else {}
    own = [f"hub.card.{key}: leave it out, it is filled in" for key in keys if key in ("model_name", "eval_results")]
    return own + [
        f"unknown setting hub.card.{key}{nearest(key, known)}"
        for key in keys
        if key not in known and nearest(str(key), known)
    ]


def _adapter_problems(config: RunConfig, wanted: str | None, base: str | None) -> list[str]:
    name, alone = model_path(config), method_of(config.lora) in PROMPTS
    if wanted in ("adapter", "both") and not config.lora:
        return [f"hub.model: {wanted} needs an adapter: add lora=true, or leave it out"]
    if wanted in ("merged", "both") and alone:
        return [f"hub.model: {method_of(config.lora)} leaves nothing to merge; expected adapter"]
    has_base = base or name is None or name.startswith("pkg://")
    if (wanted in ("adapter", "both") or alone) and not has_base:
        return [f"hub: an adapter is of no use without its base, and {name} is a local folder: push that first"]
    return []


# --- before training ---------------------------------------------------------------------------------------------


def preflight(config: RunConfig, card: Mapping[str, Any]) -> str:
    """Make sure before training that the push will be allowed: card, token, name, permission, private or not.

    Args:
        config: Settings of the run.
        card: Front matter of the card, as far as it is known.

    Returns:
        Full name of the repository, which is there then.

    Raises:
        HubError: The push could not work, and why.
    """
    from huggingface_hub import HfApi, ModelCard, ModelCardData

    given = keywords(config.hub)
    require_access(given["repo_id"], LATER)
    with as_hub_error(f"hub: cannot push to {given['repo_id']}", LATER):
        bound_answers()
        ModelCard(f"---\n{ModelCardData(**card)}\n---\n").validate()
        api = HfApi()
        api.whoami()
        name = repository(api, given)
        _say_what_is_there(api, name, given)
        return name


def _say_what_is_there(api: HfApi, name: str, given: Mapping[str, Any]) -> None:
    if name != given["repo_id"]:
        say(f"hub: {given['repo_id']} is {name}")
    if {"config.json", "adapter_config.json"} & set(api.list_repo_files(name, revision=given.get("revision"))):
        say(f"hub: {name} holds a model already; this one takes its place, and the old one stays in the history")


def require_access(name: str, otherwise: str = "") -> None:
    """Refuse to push where that is switched off, or nobody is logged in.

    Raises:
        HubError: One of the two.
    """
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise HubError(f"hub: HF_HUB_OFFLINE is set, so that nothing can be pushed to {name}: unset it{otherwise}")
    if get_token() is None:
        raise HubError(f"hub: no token found: log in with  hf auth login  or set HF_TOKEN{otherwise}")


def repository(api: HfApi, given: Mapping[str, Any]) -> str:
    """Full name of the repository, made where it is not there, with the branch to push to.

    Raises:
        HubError: It is public and a private one was asked for, or the other way round.
    """
    about = {key: given[key] for key in CREATE if key in given}
    name: str = api.create_repo(given["repo_id"], exist_ok=True, **about).repo_id
    api.auth_check(name, write=True)
    wanted = given.get("private", {"private": True, "public": False}.get(given.get("visibility", "")))
    if wanted is not None and wanted != api.repo_info(name).private:
        found, asked = ("public", "private") if wanted else ("private", "public")
        raise HubError(
            f"hub: {name} is there already and is {found}, and a {asked} one was asked for: change that in its "
            "settings on the Hub, or choose another name"
        )
    if given.get("revision") not in (None, "main"):
        api.create_branch(name, branch=given["revision"], exist_ok=True)
    return name


def bound_answers() -> None:
    """Have the client give up what hangs; without a limit a push could wait for ever."""
    from huggingface_hub.utils import get_session

    get_session().timeout = ANSWER_WITHIN


# --- what goes wrong ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def as_hub_error(what: str, otherwise: str = "") -> Iterator[None]:
    """Turn whatever the client raises into a HubError that says what was tried, and what to do instead."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        raise HubError(f"{what}: {reason(error)}{otherwise}") from error


_NO_REPOSITORY = "there is no such repository, or this token may not see it"
_NO_REVISION = "it has no branch, tag or commit of that name"


def reason(error: BaseException) -> str:
    """Why the Hub did not do it, in a sentence, with the edit where there is one."""
    said = " ".join(str(error).split())
    said = said if len(said) <= 300 else said[:300].rpartition(" ")[0] + " …"
    advice = {
        401: "it does not know this token, or needs one: log in with  hf auth login  or set HF_TOKEN",
        403: "this token may not do that: take one with write permission, or a name of your own",
        404: _NO_REVISION if "revision" in type(error).__name__.lower() else _NO_REPOSITORY,
        409: "somebody else is changing it",
        412: "somebody else has changed it meanwhile: try again",
        429: "too many requests: try again later",
    }.get(status_of(error) or 0)
    if advice is None and may_pass(error):
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


def may_pass(error: BaseException) -> bool:
    """Whether trying again can help: the Hub is busy or away, or the client stumbled over an answer that was none."""
    if isinstance(error, HFRecipesError):  # a refusal of our own
        return False
    status = status_of(error)
    if status is not None:
        return status >= 500 or status in (408, 409, 412, 429)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    # The client raises a RuntimeError where one upload has closed the connection of another.
    return bool(kinds & {"TransportError", "ConnectionError", "TimeoutError", "JSONDecodeError", "RuntimeError"})


def until_it_works(do: Callable[[], T]) -> T:
    """Do it, again where waiting may help: what has arrived is not sent again."""
    for wait in WAITS:
        bound_answers()
        try:
            return do()
        except Exception as error:
            if not may_pass(error):
                raise
            say(f"hub: {reason(error)}; once more in {wait:g} seconds")
            time.sleep(wait)
    bound_answers()
    return do()
