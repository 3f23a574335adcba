"""One measurement, in a process of its own: `python -m benchmarks.child SPEC RESULT`, both JSON files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
Figures = dict[str, Any]


def train(spec: Spec) -> Figures:
    """Train and save in one way; the speed of its steps."""
    from .suite import job_of
    from .ways import train_and_save

    job = job_of(spec)
    trained, folder = train_and_save(spec["way"], job, Path(spec["scratch"]), first=spec["first"])
    return {**trained.figures(), "model": str(folder)}


def score(spec: Spec) -> Figures:
    """Score saved models."""
    from . import scoring
    from .suite import job_of

    scores = []
    for trained in spec["specs"]:
        scores.append(round(scoring.score(job_of(trained), Path(trained["trained"])), 4))
    return {"scores": scores}


def predict(spec: Spec) -> Figures:
    """Seconds to the first prediction, milliseconds of one text, and rows per second of many."""
    from . import predicting

    maker = {
        "pipeline": lambda: predicting.with_pipeline(spec["trained"], spec["task"], **spec["settings"]),
        "loop": lambda: predicting.by_hand(spec["trained"], spec["new_tokens"], spec["batch"]),
        "ours": lambda: predicting.with_ours(spec["trained"]),
    }
    model, texts = maker[spec["way"]](), json.loads(Path(spec["texts"]).read_text(encoding="utf-8"))
    model(texts[0])
    figures = {"first_seconds": round(time.time() - spec["started"], 2)}
    figures |= predicting.single(model, texts[0], spec["times"])
    return figures | predicting.many(model, texts)


def limit(spec: Spec) -> Figures:
    """Operations per second of a large matrix product, in the precision that hfrecipes trains in here."""
    from . import predicting
    from .ways import best_precision

    kind = {"bf16": "bfloat16", "fp16": "float16"}.get(str(best_precision()), "float32")
    tflops, cpu_tflops = (value / 1e12 for value in predicting.gemm(kind, spec["size"]))
    return {"tflops": round(tflops, 4), "cpu_tflops": round(cpu_tflops, 4), "precision": kind}


def prepare(spec: Spec) -> Figures:
    """A run of hfrecipes of two steps, to predict with."""
    import hfrecipes

    hfrecipes.run(
        spec["task"],
        model=spec["model"],
        dataset=spec["folder"],
        output_dir=spec["trained"],
        max_steps=2,
        **spec["settings"],
    )
    return {}


KINDS: dict[str, Callable[[Spec], Figures]] = {
    "train": train,
    "score": score,
    "predict": predict,
    "limit": limit,
    "prepare": prepare,
}


def main(spec_file: str, result_file: str) -> None:
    spec = json.loads(Path(spec_file).read_text(encoding="utf-8"))
    figures = KINDS[spec["kind"]](spec)
    Path(result_file).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
