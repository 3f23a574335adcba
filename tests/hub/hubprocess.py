"""The stand-in as a test uses it: a process to start and to kill, with a log of its requests."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

STARTS_WITHIN = 90  # seconds


def free_port() -> int:
    """A port below those that the system gives to clients.

    Otherwise, while the server is dead, a client that tries again could get this port for its side of the connection,
    and would then talk to itself.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class HubProcess:
    """The server on a fixed port, with its state in a folder; both stay the same when it is killed and restarted."""

    # Values for HF_TOKEN; `hubstate.TOKENS` has the users.
    writer, reader, stranger, member, guest = "hf_writer", "hf_reader", "hf_stranger", "hf_member", "hf_guest"
    # Namespace of the writer, and an organisation where `member` may write and `guest` may read.
    owner, organisation = "writer", "guild"

    def __init__(self, port: int, state: Path):
        self.port, self.state = port, state
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.over = False

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self.over:
            return
        command = [sys.executable, str(Path(__file__).with_name("hubserver.py"))]
        environment = {**os.environ, "HF_HOME": str(self.state / "home")}
        self.process = subprocess.Popen(
            [*command, "--state", str(self.state), "--port", str(self.port)], env=environment
        )
        until = time.monotonic() + STARTS_WITHIN
        while not self.alive():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the stand-in for the Hub did not start")
            time.sleep(0.02)

    def alive(self) -> bool:
        try:
            self._ask("GET", "up")
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as when a machine dies."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop for good, even if a failed test has left a restart waiting."""
        self.over = True
        self.kill()

    def restart(self, after: float = 0.0) -> threading.Thread:
        """Start again: at once, or in the background some seconds after it died."""

        def wait_and_start() -> None:
            self.process.wait()
            time.sleep(after)
            self.start()

        thread = threading.Thread(target=wait_and_start, daemon=True)
        thread.start()
        if not after:
            thread.join()
        return thread

    def fault(self, kind: str, path: str, *, method: str | None = None, times: int = 1, **details: Any) -> None:
        """Make the next calls whose path matches fail.

        Examples:
            fault("status", "/commit/", status=503, headers={"Retry-After": "1"}, body="busy")
            fault("reset", "/commit/")              the call is read, nothing is done, the connection is closed
            fault("drop", "/commit/")               it is done, and the connection is closed without an answer
            fault("exit", "/storage/", bytes=1000)  the server dies after that many bytes of the body
            fault("hang", "/resolve/", seconds=3)   the answer takes that long
            fault("truncate", "/storage/", method="GET", bytes=1000)  the body of the answer is truncated
        """
        self._ask("POST", "fault", {"kind": kind, "path": path, "method": method, "times": times, **details})

    def log(self, path: str = "", method: str | None = None) -> list[dict[str, Any]]:
        """Calls since the test began whose path matches.

        Each has `method`, `path`, `query`, `storage` (whether it was sent to that origin), `token` (whether it had
        one), `bytes` of its body and `status` of the answer, None where there was none; also `fault`, `unrouted` and
        `crash` where they apply.
        """
        calls = self._ask("GET", "log")
        return [call for call in calls if re.search(path, call["path"]) and method in (None, call["method"])]

    def check(self) -> None:
        """Fail if a client asked for an unknown address, or sent its token to the storage."""
        strange = [call for call in self.log() if "unrouted" in call or "crash" in call]
        assert not strange, strange
        assert not [call for call in self.log() if call["storage"] and call["token"]], "a token reached the storage"

    def clear(self) -> None:
        """Forget all calls and faults."""
        self._ask("POST", "clear", {})

    def _ask(self, method: str, what: str, value: Any = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, f"/_test/{what}", json.dumps(value))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()
