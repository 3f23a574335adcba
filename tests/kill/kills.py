"""Kills runs before single file operations and at random moments, runs the same command again, and compares folders.

    python tests/kill/kills.py --kills 30 --cases text lora

Every run is a fork of this process, in which the libraries are loaded already. A run that was killed must end with the
files of the run that was not, but for seconds, dates, memory and energy; none may be stuck, and only the steps since
the last checkpoint may be trained again. A run of two processes is killed as a whole, as a machine is that loses its
power.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rows import opinions

from hfrecipes.registry import find
from hfrecipes.run_folder.contents import is_complete
from hfrecipes.run_folder.progress import last_checkpoint

SECONDS = 120  # for a run that takes a few
# Audit events of Python that change something on the disk.
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
QUICK = {
    "learning_rate": 1e-2,
    "max_steps": 6,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 8,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_total_limit": 2,
    "bf16": False,
    "disable_tqdm": True,
}
STOPS_EARLY = {"max_steps": 20, "learning_rate": 1e-5, "early_stopping": {"early_stopping_patience": 1}}
EPOCHS = {"max_steps": -1, "num_train_epochs": 3, "eval_strategy": "epoch", "eval_steps": None}
# Name -> task and what its settings add.
CASES: dict[str, tuple[str, dict]] = {
    "text": ("text-classification", {}),
    "lora": ("text-classification", {"lora": True}),
    "early": ("text-classification", STOPS_EARLY),
    "folds": ("text-classification", {"folds": 2, "max_steps": 2}),
    "names": ("token-classification", {}),
    "summary": ("summarization", {"max_target_length": 8}),
    "writing": ("text-generation", {"generated_rows": 1, "max_new_tokens": 4}),
    "processes": ("text-classification", {"per_device_train_batch_size": 4}),
    "epochs": ("text-classification", EPOCHS),
    "signals": ("text-classification", EPOCHS),
}
# Sent in place of SIGKILL: training ends with a checkpoint, and all else at once.
SIGNALS = {"signals": signal.SIGTERM}
OUTCOMES = ("same", "lost", "stuck", "otherwise")


def settings_of(case: str, folder: Path) -> tuple[str, dict]:
    """Task and settings of a case; model and rows are made once in the folder."""
    from hfrecipes.contract.tiny_models import tiny_model

    task, more = CASES[case]
    kind = find(task)
    model = folder / "models" / task
    if not model.exists():
        tiny_model(kind, model)
    rows = opinions(48) if task == "text-classification" else [dict(kind.samples[i % 4]) for i in range(32)]
    dataset = rows if "folds" in more else {"train": rows[:24], "validation": rows[24:32], "test": rows[24:32]}
    return task, {**QUICK, "model": str(model), "dataset": dataset, **more}


# --- forks -------------------------------------------------------------------------------------------------------


def in_fork(work: Callable[[], None], log: Path, after: float | None = None, number: int = signal.SIGKILL) -> int:
    """Do something in a fork of this process.

    Args:
        work: What to do.
        log: File for all that it prints.
        after: Seconds after which the fork is sent a signal; None for no signal.
        number: The signal.

    Returns:
        Exit status; 128 and the number of a signal that ended it; -1 for one that was stuck.
    """
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)  # a kill is for the second process of a run too
        status = 1
        with open(log, "a", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                work()
                status = 0
            except SystemExit as ended:
                status = ended.code
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    start = time.monotonic()
    while time.monotonic() - start < SECONDS:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        if after is not None and time.monotonic() - start > after:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, number)
            after = None
        time.sleep(0.01)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -1


def as_two_processes() -> bool:
    """Make this process the first of two, as torchrun would; whether it is the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rank = int(os.fork() == 0)
    names = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank}
    os.environ.update({name: str(value) for name, value in names.items()})
    return rank == 0


class Changes:
    """Counts changes below a folder, and kills this process before one of them."""

    def __init__(self, folder: Path, kill_before: int | None = None, sent: int = signal.SIGKILL) -> None:
        self.folder, self.kill_before, self.sent, self.number = str(folder), kill_before, sent, 0
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_change = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or "w" in str(mode or "")
        elif event in CHANGES:
            path, is_change = arguments[0], True
        else:
            return
        if is_change and isinstance(path, str | os.PathLike) and self.folder in os.fspath(path):
            self.number += 1
            if self.number == self.kill_before:
                os.killpg(0, self.sent)


class Steps:
    """Counts the training steps in each folder below one, while it is entered."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counts = folder, Counter()

    def __enter__(self) -> Counter:
        from transformers import Trainer

        self.step = Trainer.training_step

        def counted(trainer: Trainer, *arguments: object, **keywords: object) -> object:
            path = Path(trainer.args.output_dir)
            # What is tried before training has another folder.
            if path.is_relative_to(self.folder):
                self.counts[path.relative_to(self.folder).as_posix()] += 1
            return self.step(trainer, *arguments, **keywords)

        Trainer.training_step = counted
        return self.counts

    def __exit__(self, *error: object) -> None:
        from transformers import Trainer

        Trainer.training_step = self.step


def run(case: str, folder: Path, name: str, kill_before: int | None = None) -> None:
    """A whole run into `folder / name`, in the fork; the numbers of its changes and steps go into a file beside it."""
    import torch

    import hfrecipes

    torch.set_num_threads(1)
    task, settings = settings_of(case, folder)
    is_first = case != "processes" or as_two_processes()
    changes = Changes(folder / name, kill_before if is_first else None, SIGNALS.get(case, signal.SIGKILL))
    with Steps(folder / name) as steps:
        hfrecipes.run(task, output_dir=folder / name, **settings)
    if is_first:
        numbers = {"changes": changes.number, "steps": steps}
        (folder / f"{name}.json").write_text(json.dumps(numbers), encoding="utf-8")


# --- what a run leaves -------------------------------------------------------------------------------------------


def content_of(folder: Path) -> dict[str, object]:
    """Content of each file by its name, without seconds, dates, memory, energy and the folder's own name."""
    files: dict[str, object] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir():
            files[name] = "folder"
        elif file.name == "run.json":
            content = json.loads(file.read_text(encoding="utf-8"))
            files[name] = {key: value for key, value in content.items() if key not in ("seconds", "energy", "memory")}
        elif file.name == "manifest.json":
            # The settings hold the name of the folder.
            content = json.loads(file.read_text(encoding="utf-8"))
            files[name] = {key: value for key, value in content.items() if not key.endswith("recipe.yaml")}
        elif file.suffix in (".md", ".yaml", ".html"):
            text = file.read_text(encoding="utf-8").replace(folder.name, "<folder>")
            files[name] = re.sub(r"[\d.]+ (s|seconds|minutes)\b|\d\d\d\d-\d\d-\d\d", "<time>", text)
        else:
            files[name] = file.read_bytes()
    return files


def differing(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """Names of the files that are not the same."""
    return [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]


def steps_to_keep(folder: Path, whole: dict[str, int]) -> dict[str, int]:
    """Number of the steps that need no training again, for each folder of a run that was killed."""
    kept = {}
    for name, steps in whole.items():
        checkpoint = last_checkpoint(folder / name)
        if is_complete(folder / name):
            kept[name] = steps
        elif checkpoint:
            kept[name] = int(checkpoint.name.removeprefix("checkpoint-"))
    return kept


def try_one(case: str, folder: Path, number: int, whole: Whole, kill_before: int | None, after: float | None) -> str:
    """Kill a run and run it again; the outcome, and after a colon what is wrong."""
    name = f"{case}-{number:03}"
    log = folder / f"{name}.log"
    sent = SIGNALS.get(case, signal.SIGKILL)
    status = in_fork(lambda: run(case, folder, name, kill_before), log, after, sent)
    if status not in (0, 128 + sent):
        return f"otherwise: the run that was to be killed ended with {status}"
    kept = steps_to_keep(folder / name, whole.steps)
    status = in_fork(lambda: run(case, folder, name), log)
    if status:
        return "stuck" if status == -1 else f"stuck: the same command again ends with {status}"
    again = numbers_of(folder, name)["steps"]
    for part, steps in whole.steps.items():
        if again.get(part, 0) > steps - kept.get(part, 0):
            return f"lost: {again[part]} of {steps} steps of {part} were trained again, {kept.get(part, 0)} were saved"
    names = differing(whole.files, content_of(folder / name))
    return f"otherwise: {', '.join(names)}" if names else "same"


class Whole(NamedTuple):
    """What a run leaves that was not killed."""

    files: dict[str, object]
    steps: dict[str, int]


def numbers_of(folder: Path, name: str) -> dict:
    """The numbers that `run` wrote."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def kill(case: str, folder: Path, kills: int, generator: random.Random) -> list[tuple[str, str]]:
    """Moment and outcome of each kill; half of them before single changes, spread evenly over the run."""
    start = time.monotonic()
    status = in_fork(lambda: run(case, folder, f"{case}-whole"), folder / f"{case}-whole.log")
    seconds = time.monotonic() - start
    if status:
        return [("none", f"otherwise: the run itself ended with {status}")]
    numbers = numbers_of(folder, f"{case}-whole")
    whole, changes = Whole(content_of(folder / f"{case}-whole"), numbers["steps"]), numbers["changes"]
    outcomes = []
    for number in range(kills):
        before = after = None
        if number % 2 == 0:
            before = 1 + round((changes - 1) * (number // 2) / max(1, (kills - 1) // 2))
            moment = f"before change {before} of {changes}"
        else:
            after = generator.uniform(0, seconds)
            moment = f"after {after:.2f} s of {seconds:.2f}"
        outcome = try_one(case, folder, number, whole, before, after)
        outcomes.append((moment, outcome))
    return outcomes


def main() -> int:
    """Print a line for each kill that did not end well, and a table; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="for each case")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    import hfrecipes.runner  # noqa: F401, before the forks, which then need not

    generator, bad = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        for case in given.cases:
            settings_of(case, Path(folder))
            outcomes = kill(case, Path(folder), given.kills, generator)
            for moment, outcome in outcomes:
                if outcome != "same":
                    bad += 1
                    print(f"{case}: killed {moment}: {outcome}", flush=True)
            counts = Counter(outcome.partition(":")[0] for _, outcome in outcomes)
            numbers = [f"{outcome} {counts[outcome]}" for outcome in OUTCOMES]
            print(f"{case}: {', '.join(numbers)}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
