"""The Hub: what is checked before training, and what its refusals mean."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..config import RunConfig
from ..errors import HFRecipesError, HubError
from ..log import log
from .settings import CREATE, keywords

if TYPE_CHECKING:
    from huggingface_hub import HfApi


T = TypeVar("T")
ANSWER_WITHIN = 600.0  # seconds: the client itself would wait for ever
WAITS = (5.0, 30.0)  # seconds before what failed is tried again
LATER = "; or leave hub out, and push later with  hfrecipes push"


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
        log(f"hub: {given['repo_id']} is {name}")
    if {"config.json", "adapter_config.json"} & set(api.list_repo_files(name, revision=given.get("revision"))):
        log(f"hub: {name} holds a model already; this one takes its place, and the old one stays in the history")


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
            log(f"hub: {reason(error)}; once more in {wait:g} seconds")
            time.sleep(wait)
    bound_answers()
    return do()
