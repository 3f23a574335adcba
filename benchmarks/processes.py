"""Processes whose time and memory are measured from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 2000  # last characters of what a failed process printed


def run(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of a measurement, with the seconds of its whole process and its peak of memory.

    Args:
        spec: What `benchmarks.child` is to do.
        folder: Empty folder for its files; what it prints is kept there too.

    Returns:
        Its figures, with `seconds`, `cpu_seconds` (of all threads, user and system) and `peak_mib`; or an `error`.
    """
    folder.mkdir(parents=True)
    files = [folder / "spec.json", folder / "result.json"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": _path(), "HF_DATASETS_CACHE": str(folder / "hf")}
    files[0].write_text(json.dumps({**spec, "started": time.time(), "scratch": str(folder)}), encoding="utf-8")
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", *map(str, files)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        # Waited for by hand, as the usage of one process among others is told only so.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"error": (folder / "output.txt").read_text(encoding="utf-8")[-SHOWN:]}
    figures = json.loads(files[1].read_text(encoding="utf-8"))
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    whole = {"seconds": round(seconds, 2), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2)}
    return {**figures, **whole, "peak_mib": round(usage.ru_maxrss / per_mib)}


def _path() -> str:
    """Where Python finds this checkout, whatever folder the process runs in."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
