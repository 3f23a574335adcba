"""The socket, the server around an app, and how it ends: requests in flight are answered first."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import ConfigError
from .limits import Limits

if TYPE_CHECKING:
    import asyncio

LOOPBACK = "127.0.0.1"
BACKLOG = 2048  # connections that wait until the server accepts them


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: Name or address.
        port: Number of the port; 0 for a free one.

    Raises:
        ConfigError: It cannot listen there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"--host: there is no host {host!r} on this machine") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"--port: {port} is in use: choose another one, or 0 for a free one") from error
        raise ConfigError(f"cannot listen on {host} port {port} ({error.strerror}): choose another --port") from error


def address_of(listening: socket.socket) -> str:
    """The address of a socket as a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_app(app: Any, listening: socket.socket, limits: Limits, started: Callable[[], None]) -> None:
    """Serve an app until the process is asked to end.

    Args:
        app: The app.
        listening: Socket that listens.
        limits: How long a request may take.
        started: Called once requests are answered.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        # Whatever is on its way has its answer by then.
        timeout_graceful_shutdown=round(limits.upload_seconds + limits.seconds) + 5,
    )
    _Server(config, started).run(sockets=[listening])


class _Server(uvicorn.Server):  # type: ignore[misc]
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self.call_when_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell so."""
        await super().startup(sockets)
        if self.started:
            self.call_when_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End by these signals once requests are answered, and then without the signal that would end a command."""
        if threading.current_thread() is not threading.main_thread():  # where there are no signals
            yield
            return
        before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Protocol(H11Protocol):  # type: ignore[misc]
    """Closes connections that never become a request."""

    seconds = 30.0  # until the headers of the first request have arrived

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a connection."""
        super().connection_made(transport)
        self.loop.call_later(self.seconds, self._close_unless_used)

    def _close_unless_used(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()
