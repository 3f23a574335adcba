"""Gives every bad input to hfrecipes in a process of its own, and tells how it was answered.

    python tests/hostile/bad_inputs.py --groups recipes data

A bad input must be refused by one sentence of at most 2,000 characters, before anything is written, or be read as it
stands. No traceback, no unexpected error, no hang, no code that a file names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from hostile.inputs import MARK, TEXT, Input, every_input
from hostile.situations import situations
from rows import opinions

GROUPS = ("settings", "recipes", "data", "commands", "models", "tamper", "python")
GOOD = ("refused", "read")
_ERRORS = re.compile(r"\n\d+ errors?\b.*\n$")  # the last line that `check` prints
CPU_SECONDS, WALL_SECONDS = 60, 240  # a run of one step takes a few
MEMORY = 6 * 2**30  # bytes that an input may take on top of the libraries
LONGEST = 2000


def make_base(folder: Path) -> None:
    """The model, the rows and the complete run that every input finds."""
    import hfrecipes
    from hfrecipes.contract.tiny_models import tiny_model
    from hfrecipes.registry import find

    folder.mkdir()
    with contextlib.chdir(folder):
        tiny_model(find(TEXT), Path("m"))
        rows = "".join(json.dumps(row) + "\n" for row in opinions(48))
        Path("d.jsonl").write_text(rows, encoding="utf-8")
        hfrecipes.run(TEXT, model="m", dataset="d.jsonl", max_steps=1, bf16=False, output_dir="run", disable_tqdm=True)


def answer(tried: Input, base: Path, folder: Path) -> tuple[str, str]:
    """How an input was answered, and the last lines that were printed."""
    shutil.copytree(base, folder)
    before = _names(folder)
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        _in_child(tried, folder)
    status = None
    while status is None and time.monotonic() - start < WALL_SECONDS:
        ended, ending = os.waitpid(process, os.WNOHANG)
        status = ending if ended else None
        time.sleep(0.005)
    # Also a run that was started for the input to meet, which would go on writing.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    if status is None:
        os.waitpid(process, 0)
        return "hang", ""
    printed = (folder / ".printed").read_bytes().decode("utf-8", "replace")
    return _verdict(tried, status, printed, folder, before), printed[-600:]


def _names(folder: Path) -> set[str]:
    return {str(path) for path in folder.iterdir()}


def _in_child(tried: Input, folder: Path) -> None:
    """What the process of an input does; it never returns."""
    status = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        # Before anything is prepared, which may take the folder away.
        Path(".given").write_bytes(tried.given)
        os.dup2(os.open(".given", os.O_RDONLY), 0)
        output = os.open(".printed", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if tried.prepare:
            tried.prepare()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        status = _call(tried.call) if tried.call else _command(tried.words)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _command(words: Iterable[str]) -> int:
    from hfrecipes.cli import main

    try:
        main(args=list(words), prog_name="hfrecipes")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _call(code: str) -> int:
    import numpy as np

    import hfrecipes

    try:
        eval(code, {"hfrecipes": hfrecipes, "np": np, "Path": Path})
    except hfrecipes.HFRecipesError as error:
        print(f"hfrecipes: {error}")
        return 2
    return 0


def _verdict(tried: Input, status: int, printed: str, folder: Path, before: set[str]) -> str:
    if (folder / MARK).exists():
        return "code was run"
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else f"signal {os.WTERMSIG(status)}"
    code = os.waitstatus_to_exitcode(status)
    if "Traceback (most recent call last)" in printed:
        return "traceback"
    if "please report it" in printed:
        return "unexpected"
    if code == 0:
        return "read" if tried.may_pass else "accepted"
    if code == 1 and _ERRORS.search(printed):  # `check` lists all that is wrong with rows
        return "refused"
    if code != 2:
        return f"exit status {code}"
    sentence = printed[printed.rfind("hfrecipes: ") :]
    if len(sentence) > LONGEST:
        return "too long"
    if (folder / "out").exists() and str(folder / "out") not in before:
        return "written"
    return "refused"


def try_all(inputs: Iterable[Input], folder: Path, *, prints_all: bool = False) -> dict[str, Counter[str]]:
    """Counts of answers by group; each bad one is printed, or all."""
    import hfrecipes.cli
    import hfrecipes.predictor
    import hfrecipes.runner  # noqa: F401, before the forks, which then need not

    base = folder / "base"
    make_base(base)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for number, tried in enumerate(inputs):
        place = folder / f"{number}"
        verdict, printed = answer(tried, base, place)
        counts[tried.group][verdict] += 1
        if prints_all or verdict not in GOOD:
            print(f"{tried.group}: {tried.name}: {verdict}\n    {' '.join(printed.split())[-300:]}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
    return counts


def main() -> int:
    """Print each bad answer and a table of counts; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--every", type=int, default=1, help="try one of so many")
    parser.add_argument("--names", nargs="+", help="try those with these names alone, and print all answers")
    given = parser.parse_args()
    inputs = [tried for tried in [*every_input(), *situations()] if tried.group in given.groups][:: given.every]
    if given.names:
        inputs = [tried for tried in inputs if tried.name in given.names]
    with tempfile.TemporaryDirectory() as folder:
        counts = try_all(inputs, Path(folder), prints_all=bool(given.names))
    for group, answers in counts.items():
        numbers = [f"{answer} {answers[answer]}" for answer in sorted(answers)]
        print(f"{group}: {answers.total()} inputs, {', '.join(numbers)}", flush=True)
    return int(any(answer not in GOOD for answers in counts.values() for answer in answers))


if __name__ == "__main__":
    sys.exit(main())
