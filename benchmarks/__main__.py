"""hfrecipes beside other ways, each in a process of its own, one after the other in each round.

    python -m benchmarks
    python -m benchmarks --jobs classification,predict --repeats 5 --json results.json
    python -m benchmarks --data FOLDER --task token-classification --repeats 1

Rows are made up, the same each time; --data takes a folder of yours instead, with train, validation and test as csv,
json, jsonl or parquet, in the columns of the task. README.md in this folder explains ways, jobs and figures.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from . import jobs, processes, suite, tables, ways

FIRST = 3  # steps of a training that are not measured
Spec = dict[str, Any]


class Suite:
    """Rows and models in a scratch folder, and what the processes are told to do with them."""

    def __init__(self, scratch: Path, options: argparse.Namespace) -> None:
        self.scratch, self.options = scratch, options
        self.words = suite.words()
        self.number = 0

    def run(self, spec: Spec) -> dict[str, Any]:
        """The figures of one process."""
        self.number += 1
        return processes.run(spec, self.scratch / f"{self.number:03d}-{spec['kind']}")

    def rounds(self) -> Iterator[dict[str, Any]]:
        """The figures of all ways of all jobs, round after round."""
        specs = {job: self.specs(job) for job in self.options.jobs}
        for number in range(self.options.repeats):
            trained: list[tuple[str, str, Spec]] = []
            yield {"job": "limit", "way": "matrix product", **self.run({"kind": "limit", "size": 2048})}
            for job, by_way in specs.items():
                for way, spec in by_way.items():
                    figures = self.run({**spec, "way": way, "seed": 42 + number})
                    if "model" in figures:
                        trained.append((job, way, {**spec, "seed": 42 + number, "trained": figures.pop("model")}))
                    yield {"job": job, "way": way, "round": number, **figures}
            yield from self.scores(trained)

    def scores(self, trained: list[tuple[str, str, Spec]]) -> Iterator[dict[str, Any]]:
        """The scores of models on test, computed for all of them in one process that is not measured."""
        figures = self.run({"kind": "score", "specs": [spec for _, _, spec in trained]}) if trained else {}
        for (job, way, _), score in zip(trained, figures.get("scores", []), strict=False):
            yield {"job": job, "way": way, "score": score}
        if "error" in figures:
            yield {"job": "scores", "way": "all", **figures}

    def specs(self, job: str) -> dict[str, Spec]:
        """What to do for each way of a job."""
        if job == "generate":
            specs = self.generating()
        elif job in suite.TRAININGS:
            specs = self.training(job)
        else:
            specs = self.predicting("tiny" if job == "predict-tiny" else "encoder")
        return {way: spec for way, spec in specs.items() if way in self.options.ways}

    def training(self, job: str) -> dict[str, Spec]:
        """The same rows, model and settings for all ways to train."""
        training = suite.TRAININGS[job]
        if self.options.task:
            training = replace(training, task=self.options.task)
        folder = self.options.data or suite.write_rows(training, self.scratch / job, self.words, self.options.scale)
        texts = [row["text"] for row in suite.read_rows(folder)["train"]] if training.model == "llama" else []
        names = ("task", "batch", "longest", "epochs", "learning_rate")
        spec = {
            "kind": "train",
            "folder": str(folder),
            "model": suite.make_model(training.model, self.scratch / f"{job}-model", self.words, texts),
            "first": FIRST,
            **{name: getattr(training, name) for name in names},
        }
        return dict.fromkeys(training.ways, spec)

    def predicting(self, model: str) -> dict[str, Spec]:
        """A classifier for texts of the lengths of SST-2."""
        training = suite.TRAININGS["classification"]
        folder = suite.write_rows(training, self.scratch / f"predict-{model}", self.words, 0.1)
        base = suite.make_model(model, self.scratch / f"{model}-model", self.words)
        number = round((3000 if model == "tiny" else 500) * self.options.scale)
        texts = suite.texts_to_predict(self.words, number)
        settings = {"truncation": True, "batch_size": 64}
        spec = self.prepared("text-classification", base, folder, texts, {}, settings)
        return dict.fromkeys(suite.PREDICTING, spec)

    def generating(self) -> dict[str, Spec]:
        """A small Llama that continues the beginnings of texts by 32 tokens."""
        training = suite.TRAININGS["causal-lm"]
        folder = suite.write_rows(training, self.scratch / "generate", self.words, 0.2)
        stories = [row["text"] for row in suite.read_rows(folder)["train"]]
        base = suite.make_model("llama", self.scratch / "generate-model", self.words, stories)
        texts = [row["text"] for row in training.make(self.words, round(64 * self.options.scale), 3, mean=30)]
        new = {"max_new_tokens": suite.NEW_TOKENS}
        settings = {**new, "do_sample": False, "return_full_text": False, "batch_size": suite.PROMPTS_AT_ONCE}
        own = {**new, "max_length": 256, "per_device_eval_batch_size": suite.PROMPTS_AT_ONCE}
        spec = self.prepared("text-generation", base, folder, texts, own, settings)
        spec |= {"new_tokens": suite.NEW_TOKENS, "batch": suite.PROMPTS_AT_ONCE}
        return dict.fromkeys(suite.WRITING, spec)

    def prepared(self, task: str, model: str, folder: Path, texts: list[str], own: Spec, settings: Spec) -> Spec:
        """A run of hfrecipes, and what to predict with it.

        Raises:
            SystemExit: The run failed.
        """
        trained, file = folder / "run", folder / "texts.json"
        file.write_text(json.dumps(texts), encoding="utf-8")
        run = {"kind": "prepare", "task": task, "model": model, "folder": str(folder), "trained": str(trained)}
        failed = self.run({**run, "settings": own}).get("error")
        if failed:
            raise SystemExit(failed)
        predict = {"kind": "predict", "task": task, "trained": str(trained), "texts": str(file), "times": 20}
        return {**predict, "settings": settings}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch
    import transformers

    import hfrecipes
    from hfrecipes.models.hardware import describe_machine

    return {
        "machine": describe_machine(),
        "is_gpu": torch.cuda.is_available(),
        "threads": torch.get_num_threads(),
        "precision": ways.best_precision() or "float32",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "hfrecipes": hfrecipes.__version__,
        "date": date.today().isoformat(),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }


def _names(known: tuple[str, ...]) -> Any:
    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {name}, expected some of {','.join(known)}")
        return names

    return read


def read_options(words: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line, checked."""
    every_way = tuple(dict.fromkeys((*ways.WAYS, *suite.PREDICTING, *suite.WRITING)))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=_names(suite.JOBS), default=list(suite.JOBS), help=", ".join(suite.JOBS))
    parser.add_argument("--ways", type=_names(every_way), default=list(every_way), help=", ".join(every_way))
    parser.add_argument("--repeats", type=int, default=3, help="rounds, each with a seed of its own (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many rows (1)")
    parser.add_argument("--data", type=Path, help="folder of your own rows")
    parser.add_argument("--task", choices=sorted(jobs.KINDS), help="task of your own rows (text-classification)")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args(words)
    if options.data is not None:
        options.task = options.task or "text-classification"
        options.jobs = [next(job for job, training in suite.TRAININGS.items() if training.task == options.task)]
        options.data = options.data.resolve()
    elif options.task:
        parser.error("--task is for --data: choose a job with --jobs")
    return options


def main() -> None:
    options = read_options()
    ways.quiet()
    about, results = machine(), []
    print(json.dumps(about), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for figures in Suite(Path(scratch), options).rounds():
            results.append(figures)
            print(json.dumps(figures), file=sys.stderr, flush=True)
    summary = tables.summarize(results)
    figure = "tflops" if about["is_gpu"] else "cpu_tflops"
    tables.add_shares(summary, figure)
    limit = tables.median(summary, "limit", "matrix product", figure)
    print(f"\nlimit: {1000 * (limit or 0):,.0f} GFLOP/s{'' if about['is_gpu'] else ' of a CPU second'}")
    for job in options.jobs:
        print("\n" + tables.table(summary, job))
    if options.json is not None:
        everything = {**about, "summary": summary, "results": results}
        options.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")
    if any("error" in result for result in results):
        sys.exit("some ways failed: the figures above name the error")


if __name__ == "__main__":
    main()
