"""Requests to the Hub: what is checked before training, what its errors mean, and when to try again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..config.blocks import PushSettings
from ..errors import HFRecipesError, HubError
from ..log import log

if TYPE_CHECKING:
    from huggingface_hub import HfApi


T = TypeVar("T")
TIMEOUT = 600.0  # seconds: without one, the client would wait for an answer forever
RETRY_WAITS = (5.0, 30.0)  # seconds before the second and the third attempt
PUSH_LATER = "; or leave hub out, and push later with  hfrecipes push"


def preflight(settings: PushSettings, card: Mapping[str, Any]) -> str:
    """Make sure before training that the push will be allowed: card, token, name, permission, visibility.

    Args:
        settings: Settings of the push.
        card: Front matter of the card, as far as it is known.

    Returns:
        Full name of the repository, which then exists.

    Raises:
        HubError: The push would fail, and why.
    """
    from huggingface_hub import HfApi, ModelCard, ModelCardData

    require_access(settings.repo_id, PUSH_LATER)
    with as_hub_error(f"hub: cannot push to {settings.repo_id}", PUSH_LATER):
        limit_waiting()
        # First what can fail without leaving an empty repository on the Hub.
        ModelCard(f"---\n{ModelCardData(**card)}\n---\n").validate()
        api = HfApi()
        api.whoami()
        name = repository(api, settings)
        _log_target(api, name, settings)
        return name


def _log_target(api: HfApi, name: str, settings: PushSettings) -> None:
    """Print where the push goes if only a short name was given, and whether it replaces a model."""
    if name != settings.repo_id:
        log(f"hub: {settings.repo_id} is short for {name}")
    if {"config.json", "adapter_config.json"} & set(api.list_repo_files(name, revision=settings.revision)):
        log(f"hub: {name} already holds a model: this run replaces it, and the old one stays in the history")


def require_access(name: str, otherwise: str = "") -> None:
    """Refuse to push to `name` offline, or without a token.

    Raises:
        HubError: One of the two, with `otherwise` as the other way out.
    """
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise HubError(f"hub: HF_HUB_OFFLINE is set, so nothing can be pushed to {name}: unset it{otherwise}")
    if get_token() is None:
        raise HubError(f"hub: no token found: log in with  hf auth login  or set HF_TOKEN{otherwise}")


def repository(api: HfApi, settings: PushSettings) -> str:
    """Full name of the repository, created if it is missing, as is the branch to push to.

    Raises:
        HubError: It is public and a private one was asked for, or the other way round.
    """
    name: str = api.create_repo(settings.repo_id, exist_ok=True, **settings.create_keywords()).repo_id
    # With exist_ok, create_repo also succeeds for a user who can only read an existing repository.
    api.auth_check(name, write=True)
    # It does not change the visibility of an existing one either, and private rows must not become public.
    private = settings.wants_private()
    if private is not None and private != api.repo_info(name).private:
        visibility, wanted = ("public", "private") if private else ("private", "public")
        raise HubError(
            f"hub: {name} already exists and is {visibility}, and a {wanted} repository was asked for: change that in "
            "its settings on the Hub, or choose another name"
        )
    if settings.revision not in (None, "main"):
        api.create_branch(name, branch=settings.revision, exist_ok=True)
    return name


def limit_waiting() -> None:
    """Make the client give up a request that hangs; without a limit, a push could wait forever."""
    from huggingface_hub.utils import get_session

    # Set before every attempt: the client opens a new session after a connection error.
    get_session().timeout = TIMEOUT


@contextlib.contextmanager
def as_hub_error(what: str, otherwise: str = "") -> Iterator[None]:
    """Turn any error of the client into a HubError that says what was tried, why it failed, and what to do.

    Args:
        what: What was tried.
        otherwise: What to do instead.
    """
    try:
        yield
    except HubError:
        raise
    # The client lets errors of its HTTP library and of the operating system pass, so there is no common base class.
    except Exception as error:
        raise HubError(f"{what}: {reason(error)}{otherwise}") from error


_NO_REPOSITORY = "there is no such repository, or this token may not see it"
_NO_REVISION = "it has no branch, tag or commit of that name"
_LONGEST = 300  # characters quoted of an error: pages of a proxy can be long


def reason(error: BaseException) -> str:
    """Why a request failed, in a sentence, with the edit that fixes it where there is one."""
    quoted = " ".join(str(error).split())
    if len(quoted) > _LONGEST:
        quoted = quoted[:_LONGEST].rpartition(" ")[0] + " …"
    advice = _advice(error)
    if advice is None:
        return quoted or type(error).__name__
    return f"{advice} ({type(error).__name__}: {quoted})"


def _advice(error: BaseException) -> str | None:
    no_revision = "revision" in type(error).__name__.lower()
    by_status = {
        401: "it does not know this token, or needs one: log in with  hf auth login  or set HF_TOKEN",
        403: "this token may not do that: use one with write permission, or a repository name under your account",
        404: _NO_REVISION if no_revision else _NO_REPOSITORY,
        409: "somebody else is changing it",
        412: "somebody else has changed it in the meantime: try again",
        429: "too many requests: try again later",
    }
    advice = by_status.get(status_of(error) or 0)
    if advice is None and is_temporary(error):
        return "it does not answer as it should: try again later"
    return advice


def status_of(error: BaseException) -> int | None:
    """HTTP status behind an error of the client, which wraps some errors in others; None if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if response is not None:
            return int(response.status_code)
        cause = cause.__cause__
    return None


def is_temporary(error: BaseException) -> bool:
    """Whether another attempt can help: the Hub is busy or away, or the client could not read its answer."""
    if isinstance(error, HFRecipesError):  # our own refusals would only repeat
        return False
    status = status_of(error)
    if status is not None:
        return status >= 500 or status in (408, 409, 412, 429)
    # By name, since importing the HTTP library only for its classes would tie us to it.
    names = {kind.__name__ for kind in type(error).__mro__}
    # The client raises a RuntimeError where one upload has closed the connection of another.
    return bool(names & {"TransportError", "ConnectionError", "TimeoutError", "JSONDecodeError", "RuntimeError"})


def with_retries(action: Callable[[], T]) -> T:
    """Call `action`, retrying temporary failures; files that were already uploaded are not sent again."""
    for wait in RETRY_WAITS:
        limit_waiting()
        try:
            return action()
        except Exception as error:
            if not is_temporary(error):
                raise
            log(f"hub: {reason(error)}; trying again in {wait:g} seconds")
            time.sleep(wait)
    limit_waiting()
    return action()
