"""What a model of a size costs in training: CPU seconds for 1,000 rows, peak memory; each in a process of its own.

    python -m benchmarks.sizes
    python -m benchmarks.sizes minilm-l6 --rows 200

Models have random weights, made from a config of the size of a known model: the time of a step does not depend on the
values of the weights. Rows are made up, as long as those of SST-2 (21 words on average). `hfrecipes.run` trains on them
for one epoch in batches of 16. CPU seconds, which other work on the machine changes less than those of a clock, are
those of the steps after the first three; memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import models, processes, rows, suite
from .__main__ import FIRST

# Layers, width, width of the feed-forward layers, token types.
SIZES = {
    "minilm-l6": (6, 384, 1536, 30522),
    "distilbert-base": (6, 768, 3072, 30522),
    "bert-base": (12, 768, 3072, 30522),
}
HELD_OUT = 16  # rows of validation, and of test


def measure(name: str, scratch: Path, number: int) -> dict[str, Any]:
    """Train a model of a size in a process of its own.

    Args:
        name: One of `SIZES`.
        scratch: Folder for the model, the rows and the run.
        number: Rows of train.

    Returns:
        `name`, `cpu_seconds_per_1000_rows` and `peak_mib`; or an `error`.
    """
    layers, width, inner, token_types = SIZES[name]
    words = rows.made_up_words(2000)
    folder = models.bert(
        scratch / name,
        words,
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=12,
        vocab_size=token_types,
    )
    training = replace(suite.TRAININGS["classification"], train=number, held_out=HELD_OUT)
    data = suite.write_rows(training, scratch / f"{name}-rows", words, 1.0)
    spec = {key: getattr(training, key) for key in ("task", "batch", "longest", "epochs", "learning_rate")}
    spec |= {"kind": "train", "way": "ours", "first": FIRST, "seed": 42, "folder": str(data), "model": folder}
    figures = processes.run(spec, scratch / f"{name}-run")
    if "error" in figures:
        return {"name": name, "error": figures["error"]}
    seconds = round(1000 / figures["rows_per_cpu_second"], 1)
    return {"name": name, "cpu_seconds_per_1000_rows": seconds, "peak_mib": figures["peak_mib"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*SIZES], help=f"some of {', '.join(SIZES)}")
    parser.add_argument("--rows", type=int, default=320, help="rows of train")
    options = parser.parse_args()
    for name in options.names:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(measure(name, Path(scratch), options.rows)), flush=True)


if __name__ == "__main__":
    main()
