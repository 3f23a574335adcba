"""The speed of hfrecipes on a GPU beside other ways: all in one process, within six minutes.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --only classification,predict --profile
    python benchmarks/gpu.py --dry

Models have random weights, and rows are made up, so that nothing is downloaded. Each figure is a line of gpu.jsonl as
soon as it is there, in the folder of the environment variable OUT or the current one; the table comes at the end.
`--dry` measures tiny models on the CPU, to see that the script runs.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

# Python looks for modules beside a script that it is told to run: here they are one folder above.
if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks import models, predicting, rows, ways
from benchmarks.jobs import Job

SECONDS = 330  # after which no further part begins
Figures = dict[str, Any]


class Bench:
    """The parts, their sizes, and where their figures go."""

    def __init__(self, folder: Path, scratch: Path, *, dry: bool, profile: bool) -> None:
        self.file = folder / "gpu.jsonl"
        self.scratch, self.dry, self.profiles = scratch, dry, profile
        self.start = time.perf_counter()
        self.results: list[Figures] = []
        self.words = rows.made_up_words(2000)
        self._bert = ""

    def say(self, **figures: Any) -> None:
        """Write figures down at once."""
        figures = {"at": round(time.perf_counter() - self.start, 1), **figures}
        self.results.append(figures)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(figures) + "\n")
        print(json.dumps(figures), flush=True)

    def size(self, full: int, dry: int) -> int:
        """A number of rows or steps, or a small one for a dry run."""
        return dry if self.dry else full

    @property
    def bert(self) -> str:
        """Folder of BERT-base, made when it is first asked for."""
        if not self._bert:
            tiny = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
            self._bert = models.bert(self.scratch / "bert", self.words, **(tiny if self.dry else {}))
        return self._bert

    # --- parts ---------------------------------------------------------------------------------------------------

    def limit(self) -> Iterator[Figures]:
        """Floating-point operations per second of a large matrix product."""
        yield from self.each("limit", {name: lambda kind=name: self.gemm(kind) for name in ("float32", "bfloat16")})

    def gemm(self, kind: str) -> Figures:
        return {"tflops": round(predicting.gemm(kind, self.size(8192, 256))[0] / 1e12, 3)}

    def classification(self) -> Iterator[Figures]:
        """BERT-base, 6,920 rows of the lengths of SST-2, batches of 32."""
        made = rows.classification(self.words, self.size(6920, 400), 0)
        job = Job("text-classification", self.bert, {"train": made}, self.size(32, 8), 128)
        yield from self.train(job, "classification", ("padded", "dynamic", "grouped", "loop", "ours"))

    def llama(self) -> Iterator[Figures]:
        """A Llama of 124 million weights, blocks of 512 tokens, batches of 16."""
        made = rows.stories(self.words, self.size(4800, 60), 0)
        tiny = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        small = {**tiny, "vocab_size": 4000}
        folder = models.llama(self.scratch / "llama", [row["text"] for row in made], **(small if self.dry else {}))
        job = Job("text-generation", folder, {"train": made}, self.size(16, 4), self.size(512, 64))
        yield from self.train(job, "llama", ("grouped", "loop", "ours"))

    def qa(self) -> Iterator[Figures]:
        """BERT-base, windows of 384 tokens at most, batches of 16."""
        made = rows.questions(self.words, self.size(2000, 60), 0)
        job = Job("question-answering", self.bert, {"train": made}, self.size(16, 4), 384)
        yield from self.train(job, "qa", ("padded", "grouped", "loop", "ours"))

    def predict(self) -> Iterator[Figures]:
        """20,760 texts of the lengths of SST-2, by the pipeline with batches of 64 and by hfrecipes."""
        folder = self.trained()
        texts = [row["text"] for row in rows.classification(self.words, self.size(20760, 300), 1)]
        classify, batches = partial(self.pipeline, folder), {"batch_size": predicting.BATCH}
        yield from self.each(
            "predict",
            {
                "pipeline": lambda: predicting.many(classify(**batches), texts),
                "pipeline bf16": lambda: predicting.many(classify(precision="bfloat16", **batches), texts),
                "ours": lambda: predicting.many(predicting.with_ours(folder), texts),
            },
        )
        if self.profiles:
            yield from self.each("predict", {"ours, profiled": lambda: self.profile_prediction(folder, texts)})

    def one(self) -> Iterator[Figures]:
        """One text after the other."""
        folder, times = self.trained(), self.size(50, 5)
        text = " ".join(self.words[300:320])
        yield from self.each(
            "one",
            {
                "pipeline": lambda: predicting.single(self.pipeline(folder), text, times),
                "ours": lambda: predicting.single(predicting.with_ours(folder), text, times),
            },
        )

    # --- measuring -----------------------------------------------------------------------------------------------

    def each(self, part: str, parts: dict[str, Callable[[], Figures]]) -> Iterator[Figures]:
        """The figures of each way, or what it failed with; the peak of memory beside them."""
        import torch

        for way, measure in parts.items():
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            try:
                figures = measure()
            except Exception as error:
                traceback.print_exc()
                figures = {"error": f"{type(error).__name__}: {error}"[:500]}
            if torch.cuda.is_available():
                figures["peak_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
            yield {"part": part, "way": way, **figures, "seconds": round(time.perf_counter() - start, 1)}

    def train(self, job: Job, part: str, names: tuple[str, ...]) -> Iterator[Figures]:
        """The speed of each way to train; with `--profile`, where the time of ours goes."""
        first = self.size(ways.FIRST, 5)

        def measure(way: str) -> Figures:
            return ways.train(way, job, self.scratch / f"{part}-{way}", first=first).figures()

        yield from self.each(part, {way: lambda way=way: measure(way) for way in names})
        if self.profiles:
            yield from self.each(part, {"ours, profiled": lambda: self.profile(job, part)})

    def profile(self, job: Job, part: str) -> Figures:
        """Print what takes the most time in twenty steps of ours."""
        import torch
        import transformers
        from torch.profiler import ProfilerActivity, profile, schedule

        wait = self.size(30, 5)
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        steps = self.size(20, 5)
        trainer = ways.build(job, self.scratch / f"{part}-profiled", max_steps=wait + steps + 2)
        with profile(activities=activities, schedule=schedule(wait=wait - 2, warmup=2, active=steps)) as profiler:

            class Step(transformers.TrainerCallback):  # type: ignore[misc]
                def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                    profiler.step()

            trainer.add_callback(Step())
            trainer.train()
        averages = profiler.key_averages()
        orders = ["self_cpu_time_total", *(["self_device_time_total"] if torch.cuda.is_available() else [])]
        for order in orders:
            print(averages.table(sort_by=order, row_limit=10, max_name_column_width=60), flush=True)
        return {"steps": steps}

    def profile_prediction(self, folder: str, texts: list[str]) -> Figures:
        """Print the functions of Python that take the most time in many predictions."""
        predict, profiler = predicting.with_ours(folder), cProfile.Profile()
        predict(texts[: predicting.BATCH])
        profiler.runcall(predict, texts)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(15)
        return {"texts": len(texts)}

    def trained(self) -> str:
        """Folder of a run of few steps, whose predictions are as quick as those of a long one."""
        from datasets import Dataset, DatasetDict

        import hfrecipes

        folder = self.scratch / "trained"
        if not folder.exists():
            few = {
                split: Dataset.from_list(rows.classification(self.words, 64, seed))
                for seed, split in enumerate(("train", "validation", "test"))
            }
            hfrecipes.run(
                "text-classification", model=self.bert, dataset=DatasetDict(few), max_steps=2, output_dir=folder
            )
        return str(folder)

    def pipeline(self, folder: str, **settings: Any) -> Callable[[Any], Any]:
        return predicting.with_pipeline(folder, "text-classification", truncation=True, **settings)

    # --- table ---------------------------------------------------------------------------------------------------

    def table(self) -> str:
        """All figures, and those of training and prediction as a share of the loop, or of the pipeline."""
        lines = ["| part | way | figure | beside loop or pipeline | TFLOP/s | peak MiB |", "|---|---|---|---|---|---|"]
        for result in self.results:
            if "way" not in result:
                continue
            name, value = figure_of(result)
            peer = self.peer_of(result["part"])
            ratio = f"{value / peer:.2f}x" if value is not None and peer else ""
            shown = result.get("error", "") if value is None else f"{value:,.10g} {name}"
            cells = [result["part"], result["way"], shown, ratio, result.get("tflops", ""), result.get("peak_mib", "")]
            lines.append(f"| {' | '.join(map(str, cells))} |")
        return "\n".join(lines)

    def peer_of(self, part: str) -> float | None:
        """The figure that those of a part are set beside."""
        for result in self.results:
            if result.get("part") == part and result.get("way") in ("loop", "pipeline"):
                return figure_of(result)[1]
        return None


def figure_of(result: Figures) -> tuple[str, float | None]:
    """Name and value of what a line measured."""
    names = {"rows_per_second": "rows/s", "milliseconds": "ms", "tflops": "TFLOP/s"}
    if result.get("part") == "llama":
        names = {"tokens_per_second": "tokens/s", **names}
    for key, name in names.items():
        if key in result:
            return name, result[key]
    return "", None


PARTS = ("limit", "classification", "llama", "predict", "one", "qa")


def read_options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, with commas between them: {', '.join(PARTS)}")
    parser.add_argument("--dry", action="store_true", help="tiny models, to see that all parts run")
    parser.add_argument("--profile", action="store_true", help="what takes the time in hfrecipes")
    options = parser.parse_args(words)
    options.only = options.only.split(",")
    for part in options.only:
        if part not in PARTS:
            parser.error(f"--only: no {part}, expected some of {','.join(PARTS)}")
    return options


def main() -> None:
    options = read_options()
    import torch
    import transformers

    ways.quiet()
    folder = Path(os.environ.get("OUT", "."))
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(folder, Path(scratch), dry=options.dry, profile=options.profile)
        machine = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        bench.say(machine=machine, torch=torch.__version__, transformers=transformers.__version__, dry=options.dry)
        for part in options.only:
            if time.perf_counter() - bench.start > SECONDS:
                bench.say(part=part, way="all", error=f"left out: {SECONDS} s are over")
                continue
            try:
                for figures in getattr(bench, part)():
                    bench.say(**figures)
            except Exception as error:
                traceback.print_exc()
                bench.say(part=part, way="all", error=f"{type(error).__name__}: {error}"[:500])
        print(bench.table())


if __name__ == "__main__":
    main()
