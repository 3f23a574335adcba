"""A guard against becoming slower: hfrecipes beside other ways, by ratios of one process, in less than three minutes.

    make bench-check

All ways take turns in one process, and the seconds are those of its threads, so that a busy machine changes little. A
ratio below its bar ends with exit status 1. Bars leave room for noise: raise them where hfrecipes has become quicker.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import models, predicting, rows, suite, tables, ways
from .jobs import Job

ROUNDS = 3
SIZES = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 768}
Figures = dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """How many times the figure of another way that of hfrecipes must be, at least."""

    job: str
    peer: str
    figure: str
    least: float

    def problem(self, summary: Sequence[Figures]) -> str:
        """What is wrong; empty if nothing is."""
        found = tables.ratio(summary, self.job, "ours", self.peer, self.figure)
        if found is None:
            return f"{self.job}: {self.figure} of ours or {self.peer} was not measured"
        if found < self.least:
            return f"{self.job}: {found:.2f} times {self.peer} in {self.figure}, expected {self.least} or more"
        return ""


# Found on 2 cores of a CPU with bf16: 10.9, 0.98, 4.4 and 0.50.
BARS = (
    Bar("train", "padded", "rows_per_cpu_second", 4.0),
    Bar("train", "loop", "rows_per_cpu_second", 0.8),
    Bar("predict", "pipeline", "rows_per_cpu_second", 1.3),
    Bar("one text", "pipeline", "texts_per_cpu_second", 0.35),
)


def problems(summary: Sequence[Figures], bars: Sequence[Bar] = BARS) -> list[str]:
    """A sentence for each bar that is not reached."""
    return [problem for problem in (bar.problem(summary) for bar in bars) if problem]


def measure(scratch: Path, rounds: int = ROUNDS) -> list[Figures]:
    """Figures of all ways, several times, one way after the other."""
    words = rows.made_up_words(1000)
    model = models.bert(scratch / "model", words, vocab_size=0, **SIZES)
    made = {split: rows.classification(words, 240, seed) for seed, split in enumerate(suite.SPLITS)}
    job = Job("text-classification", model, made, 16, 128)
    predictors = predictors_of(scratch, job)
    texts = suite.texts_to_predict(words, 400)
    results: list[Figures] = []
    for number in range(rounds):
        for way in ("padded", "loop", "ours"):
            trained = ways.train(way, job, scratch / f"{way}-{number}", first=3)
            results.append({"job": "train", "way": way, **trained.figures()})
        for way, predict in predictors.items():
            results.append({"job": "predict", "way": way, **predicting.many(predict, texts)})
            single = predicting.single(predict, texts[0], 15)
            results.append({"job": "one text", "way": way, "texts_per_cpu_second": 1000 / single["cpu_milliseconds"]})
        for result in results[-7:]:
            print(json.dumps(result), flush=True)
    return results


def predictors_of(scratch: Path, job: Job) -> dict[str, Callable[[Any], Any]]:
    """The pipeline and hfrecipes with the same model, of a run of two steps."""
    from datasets import Dataset, DatasetDict

    import hfrecipes

    few = DatasetDict({split: Dataset.from_list(made[:64]) for split, made in job.rows.items()})
    run = scratch / "run"
    hfrecipes.run(job.task, model=job.model, dataset=few, max_steps=2, output_dir=run)
    pipeline = predicting.with_pipeline(str(run), job.task, truncation=True, batch_size=predicting.BATCH)
    return {"pipeline": pipeline, "ours": predicting.with_ours(str(run))}


def main() -> None:
    ways.quiet()
    with tempfile.TemporaryDirectory() as scratch:
        summary = tables.summarize(measure(Path(scratch)))
    for bar in BARS:
        found = tables.ratio(summary, bar.job, "ours", bar.peer, bar.figure) or 0
        print(f"{bar.job}: {found:.2f} times {bar.peer} in {bar.figure}, at least {bar.least}")
    found = problems(summary)
    if found:
        sys.exit("slower than it was:\n" + "\n".join(found))


if __name__ == "__main__":
    main()
