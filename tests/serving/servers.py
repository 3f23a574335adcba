"""Small runs of each task, and servers of them on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rows import rows_of

import hfrecipes
from hfrecipes import registry
from hfrecipes.contract.tiny_models import tiny_model
from hfrecipes.predictor import Predictor
from hfrecipes.recipe import option_types

SETTINGS = {"max_steps": 2, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "bf16": False}
# Generated texts are long by default, and each token takes time.
SHORT = {"max_target_length": 16, "max_new_tokens": 8, "generated_rows": 1}


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A run of a task on its sample rows, trained when it is first asked for."""
    runs: dict[str, Path] = {}

    def run(task: str) -> Path:
        if task not in runs:
            folder, kind = tmp_path_factory.mktemp("served"), registry.find(task)
            options = {name: value for name, value in SHORT.items() if name in option_types(kind)}
            rows = rows_of(kind)
            hfrecipes.run(
                task,
                model=tiny_model(kind, folder / "model"),
                dataset={"train": rows, "test": rows[:4]},
                output_dir=str(folder / "run"),
                **SETTINGS,
                **options,
            )
            runs[task] = folder / "run"
        return runs[task]

    return run


@pytest.fixture(scope="session")
def predictor_of(run_of: Callable[..., Path]) -> Callable[[str], Predictor]:
    """The model of such a run."""
    predictors: dict[str, Predictor] = {}

    def load(task: str) -> Predictor:
        if task not in predictors:
            predictors[task] = hfrecipes.load(run_of(task))
        return predictors[task]

    return load


@pytest.fixture
def reviews(predictor_of: Callable[[str], Predictor]) -> Predictor:
    """A model for text classification."""
    return predictor_of("text-classification")


@contextlib.contextmanager
def served(app: Any, limits: Any) -> Iterator[str]:
    """The address of an app that is served on loopback until the block ends."""
    from hfrecipes.serving import listening

    servers: list[Any] = []
    started = threading.Event()
    listener = listening.listening_socket("127.0.0.1", 0)
    address = listening.address_of(listener)
    with pytest.MonkeyPatch.context() as patch:
        original = listening._Server
        patch.setattr(listening, "_Server", lambda *words: servers.append(original(*words)) or servers[0])
        thread = threading.Thread(target=listening.run_app, args=(app, listener, limits, started.set))
        thread.start()
        assert started.wait(60)
    try:
        yield address
    finally:
        servers[0].should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server ends"


def as_sent(value: Any) -> Any:
    """A value as it is after JSON."""
    return json.loads(json.dumps(value))
