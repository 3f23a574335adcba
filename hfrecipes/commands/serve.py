"""The command that answers requests over HTTP: serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..errors import require_packages
from ..log import LIBRARIES, explained
from ..output import say
from .words import RUN, TRUST

_Function = TypeVar("_Function", bound=Callable[..., Any])
HOST = click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for other machines too."
)


def port_option(default: int) -> Callable[[_Function], _Function]:
    """The option of a port."""
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help="Port to listen on; 0 picks a free one.",
    )


@click.command()
@RUN
@HOST
@port_option(8000)
@TRUST
def serve(path: str, host: str, port: int, trust: bool) -> None:
    """Answer requests for predictions over HTTP: POST /predict, GET /health, GET /docs.

    Requests that come together are predicted together. Ctrl-C ends it once they are answered.
    """
    require_packages("a server", "fastapi", "uvicorn")
    from ..predictor import load
    from ..serving.limits import Limits
    from ..serving.listening import address_of, listening_socket, run_app
    from ..serving.server import make_app

    # Loading a model takes longer than to see that a port is in use.
    listening_socket(host, port).close()
    with explained(f"{LIBRARIES}, then the model"):
        app, limits = make_app(load(path, trust=trust)), Limits()
    listening = listening_socket(host, port)
    address = address_of(listening)
    reach = "this machine alone reaches it; --host changes that" if is_local(address) else "other machines reach it"
    run_app(app, listening, limits, lambda: say(f"{address}  ({reach}; what to send: {address}/docs)", err=True))
    say("all requests are answered", err=True)


def is_local(address: str) -> bool:
    """Whether no other machine reaches an address."""
    return address.startswith(("http://127.", "http://[::1]:"))
