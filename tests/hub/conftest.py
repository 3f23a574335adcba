"""The real clients against a stand-in for the Hub on the loopback: `python -m pytest tests/hub`.

These tests run in a process of their own. The address of the Hub is copied into many places when the libraries are
imported, so it has to be set before, and the other tests must not see it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hubprocess import HubProcess, free_port

# The package itself is not one of them: it reads no address, and imports these inside functions.
LIBRARIES = ["huggingface_hub", "datasets", "transformers", "peft", "evaluate"]
if early := [name for name in LIBRARIES if name in sys.modules]:
    raise RuntimeError(
        f"{', '.join(early)} imported before HF_ENDPOINT was set; run `python -m pytest tests/hub` alone"
    )

HOME = Path(tempfile.mkdtemp(prefix="hub-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
SERVER = HubProcess(free_port(), HOME / "state")
# Settings and tokens of whoever runs the tests must not reach them.
for name in [
    name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_")) or name.lower().endswith("_proxy")
]:
    del os.environ[name]
os.environ.update(
    HF_ENDPOINT=SERVER.url,
    HF_HOME=str(HOME / "home"),
    HF_HUB_OFFLINE="0",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",  # otherwise load_dataset sends a request to another host
    NO_PROXY="*",
)

LOOPBACK = {"localhost", "127.0.0.1", "::1", None}
HURRY = 0.1  # share of each wait between attempts that the tests really wait


def pytest_configure(config: pytest.Config) -> None:
    paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    if not all(path.resolve().is_relative_to(Path(__file__).parent) for path in paths):
        raise pytest.UsageError(f"tests/hub runs in a process of its own, not together with {', '.join(config.args)}")


@pytest.fixture(scope="session")
def server() -> Iterator[HubProcess]:
    SERVER.state.mkdir(parents=True)
    SERVER.start()
    yield SERVER
    SERVER.stop()


@pytest.fixture
def hub(server: HubProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubProcess]:
    """The stand-in with an empty log, and the writer logged in; a request that it does not know fails the test."""
    if not server.alive():
        server.restart()
    server.clear()
    monkeypatch.setenv("HF_TOKEN", server.writer)
    yield server
    if server.alive():
        server.check()


@pytest.fixture(scope="session")
def xet_works(tmp_path_factory: pytest.TempPathFactory) -> bool:
    from hubxet import works

    return works(tmp_path_factory.mktemp("xet"))


@pytest.fixture(params=["lfs", "xet"])
def transport(request: pytest.FixtureRequest, xet_works: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """How large files are uploaded; the client itself always takes xet where it is installed."""
    from huggingface_hub import constants

    if request.param == "xet" and not xet_works:
        pytest.skip("this hf_xet is not installed, or does not take a folder for a server")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param == "lfs")
    return request.param


@pytest.fixture(autouse=True)
def hub_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what another one downloaded, looked up or left in a queue of uploads."""
    import datasets
    from huggingface_hub import HfFileSystem, constants

    # These two live as long as the process, and remember files and tokens.
    HfFileSystem.clear_instance_cache()
    if (transformers_hub := sys.modules.get("transformers.utils.hub")) is not None:
        monkeypatch.setattr(transformers_hub, "_hf_api", None)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets-cache"))
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    monkeypatch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)  # sends the token to a server next to the Hub


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the client wanted to wait between attempts; it has no setting to shorten them."""
    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    asked: list[float] = []

    def sleep(seconds: float) -> None:
        asked.append(seconds)
        time.sleep(HURRY * seconds)

    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(**{**vars(time), "sleep": sleep}))
    return asked


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Refuse any other host, and fail the test even where a client swallows the refusal."""
    refused: list[Any] = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def guard(host: Any) -> None:
        if (host.decode() if isinstance(host, bytes) else host) not in LOOPBACK:
            refused.append(host)
            raise OSError(f"a test asked for {host}")

    def guarded_look_up(host: Any, *arguments: Any, **keywords: Any) -> Any:
        guard(host)
        return look_up(host, *arguments, **keywords)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            guard(address[0])
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    yield refused
    assert not refused, f"the test asked for {refused}"
