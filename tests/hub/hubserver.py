"""A stand-in for the Hugging Face Hub on the loopback: `python hubserver.py --state DIR --port N`.

It runs in a separate process so that a test can kill it, and keeps its state in the folder so that it can be started
again. The API is at http://127.0.0.1:N and the storage at http://localhost:N, which is another origin for a client:
it must not send its token there. `/_test/` below the API is for the tests alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import struct
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hubapi import Answer, Call, Hub, UnroutedError, answer, reply
from hubstate import Store
from hubxet import Xet

BLOCK = 64 * 1024  # bytes


class Faults:
    """Faults in the order given; each is over after `times` calls that match it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.waiting: list[dict[str, Any]] = []
        self.over = threading.Event()

    def add(self, fault: dict[str, Any]) -> None:
        with self.lock:
            self.waiting.append({"method": None, "times": 1, **fault})

    def take(self, method: str, path: str) -> dict[str, Any]:
        """The fault for a call, empty if there is none."""
        with self.lock:
            for fault in self.waiting:
                if fault["times"] and fault["method"] in (None, method) and re.search(fault["path"], path):
                    fault["times"] -= 1
                    return fault
        return {}

    def clear(self) -> None:
        """Forget all faults, and end calls that hang: they must not last into the next test."""
        with self.lock:
            self.waiting.clear()
            self.over.set()
            self.over = threading.Event()

    def hang(self, seconds: float) -> bool:
        """Wait, and return whether the test was over before the end."""
        return self.over.wait(seconds)


class Log:
    """A line for each call, written before the answer is sent, so that a test that has the answer finds the line."""

    def __init__(self, file: Path):
        self.file = file
        self.lock = threading.Lock()

    def add(self, line: dict[str, Any]) -> None:
        with self.lock, self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> list[dict[str, Any]]:
        with self.lock:
            return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def clear(self) -> None:
        with self.lock:
            self.file.unlink(missing_ok=True)


class Server(ThreadingHTTPServer):
    """The socket and what all connections share."""

    daemon_threads = True

    def __init__(self, state: Path, port: int):
        super().__init__(("127.0.0.1", port), Handler)
        self.hub = Hub(Store(state), Xet(state / "xet"), f"http://127.0.0.1:{port}", f"http://localhost:{port}")
        self.faults = Faults()
        self.log = Log(state / "log.jsonl")

    def handle_error(self, request, client_address) -> None:
        """Print nothing: clients close connections all the time."""


class Handler(BaseHTTPRequestHandler):
    """A connection: takes the fault for each call, if there is one, or lets the API answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each answer takes 40 ms longer
    wbufsize = -1
    server: Server

    def handle_call(self) -> None:
        self.line: dict[str, Any] = {}
        if self.path.startswith("/_test/"):
            self.send(self.control(self.path.removeprefix("/_test/"), self.read_body()))
            return
        address = urlsplit(self.path)
        at_storage = (self.headers.get("Host") or "").startswith("localhost")
        self.line = {"method": self.command, "path": address.path, "query": address.query, "storage": at_storage}
        self.line |= {"token": "Authorization" in self.headers, "bytes": 0, "status": None}
        fault = self.server.faults.take(self.command, address.path)
        self.line |= {"fault": fault["kind"]} if fault else {}
        self.respond(address, at_storage, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_call  # noqa: N815

    def respond(self, address: Any, at_storage: bool, fault: dict[str, Any]) -> None:
        kind = fault.get("kind")
        if kind == "exit":
            self.exit(fault.get("bytes", 0))
        body = self.read_body()  # even before an error: an answer during the body would break the connection
        self.line["bytes"] = len(body)
        if kind == "hang" and self.server.faults.hang(fault["seconds"]):
            self.line, kind = {}, "reset"
        if kind == "reset":
            self.hang_up()
        elif kind == "status":
            headers = {"Content-Type": "text/plain", **fault.get("headers", {})}
            self.send(Answer(fault["status"], fault.get("body", "").encode(), headers))
        elif kind == "drop":
            self.answer(address, at_storage, body)
            self.hang_up()
        else:
            self.send(self.answer(address, at_storage, body), fault.get("bytes") if kind == "truncate" else None)

    def answer(self, address: Any, at_storage: bool, body: bytes) -> Answer:
        """Let the API answer; unknown addresses and crashes are written to the log, where the tests see them."""
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        call = Call(self.server.hub, self.command, address.path, query, self.headers, body)
        try:
            if at_storage != address.path.startswith("/storage/"):
                raise UnroutedError(f"{address.path} at the wrong origin")
            return answer(call)
        except UnroutedError as error:
            self.line["unrouted"] = str(error)
            return reply({"error": "Not found"}, 404)
        except Exception:
            self.line["crash"] = traceback.format_exc()
            return reply({"error": self.line["crash"]}, 500)

    def control(self, what: str, body: bytes) -> Answer:
        """Calls of the tests: set a fault, read the log, clear both."""
        if what == "fault":
            self.server.faults.add(json.loads(body))
        elif what == "clear":
            self.server.faults.clear()
            self.server.log.clear()
        return reply(self.server.log.read() if what == "log" else {})

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(self, answer: Answer, cut: int | None = None) -> None:
        """Send an answer; with `cut` its body ends after that many bytes."""
        if self.line:
            self.server.log.add({**self.line, "status": answer.status})
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:cut])
        self.wfile.flush()
        if cut is not None:
            self.close_connection = True

    def hang_up(self) -> None:
        """Close the connection without an answer; the client sees a reset."""
        if self.line:
            self.server.log.add(self.line)
        self.close_connection = True
        # Without waiting for unsent data, the system sends a reset in place of a regular end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def exit(self, after: int) -> None:
        """Die during the body, as a machine does."""
        after = min(after, int(self.headers.get("Content-Length") or 0))
        while after > 0:
            after -= len(self.rfile.read1(min(after, BLOCK))) or after
        self.server.log.add(self.line)
        os.kill(os.getpid(), signal.SIGKILL)

    def log_message(self, *message: Any) -> None:
        """The log is kept for the tests, not printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    Server(options.state.resolve(), options.port).serve_forever()


if __name__ == "__main__":
    main()
