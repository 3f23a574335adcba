"""Ways to predict: the pipeline of transformers, generation by hand, and hfrecipes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from .ways import synchronize

BATCH = 64  # texts of a batch of the pipeline
Figures = dict[str, float]


def with_pipeline(folder: str, task: str, *, precision: str = "", **settings: Any) -> Callable[[Any], Any]:
    """What predicts texts by the pipeline of transformers."""
    import torch
    from transformers import pipeline

    kind = {"dtype": getattr(torch, precision)} if precision else {}
    predict = pipeline(task, folder, device=0 if torch.cuda.is_available() else -1, **kind)
    if predict.tokenizer.padding_side != "left" and task == "text-generation":
        predict.tokenizer.padding_side = "left"
    return lambda texts: predict(texts, **settings)


def with_ours(folder: str) -> Callable[[Any], Any]:
    """What predicts texts by hfrecipes."""
    import hfrecipes

    return hfrecipes.load(folder).predict


def by_hand(folder: str, new_tokens: int, batch: int) -> Callable[[Any], Any]:
    """What continues texts by `generate`, in batches of similar length."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")

    def predict(texts: Any) -> list[str]:
        given = [texts] if isinstance(texts, str) else texts
        order = sorted(range(len(given)), key=lambda index: len(given[index]))
        results = [""] * len(given)
        for start in range(0, len(order), batch):
            indices = order[start : start + batch]
            inputs = tokenizer([given[index] for index in indices], return_tensors="pt", padding=True).to(device)
            inputs.pop("token_type_ids", None)
            with torch.inference_mode():
                ids = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False)
            new = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for index, text in zip(indices, new, strict=True):
                results[index] = text
        return results

    return predict


# --- measuring -------------------------------------------------------------------------------------------------------


def many(predict: Callable[[Any], Any], texts: list[str]) -> Figures:
    """Rows per second of many texts at once, after some of them."""
    predict(texts[: max(2, len(texts) // 20)])
    synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    number = len(predict(texts))
    synchronize()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"rows_per_second": round(number / wall, 1), "rows_per_cpu_second": round(number / cpu, 2)}


def single(predict: Callable[[Any], Any], text: str, times: int) -> Figures:
    """Milliseconds of one text, the median of several times."""
    for _ in range(3):
        predict(text)
    wall, cpu = medians(lambda: predict(text), times)
    return {"milliseconds": round(1000 * wall, 2), "cpu_milliseconds": round(1000 * cpu, 2)}


def medians(action: Callable[[], Any], times: int) -> tuple[float, float]:
    """Seconds, and seconds of all threads, of an action; the medians of several times."""
    walls, cpus = [], []
    for _ in range(times):
        synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        synchronize()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def gemm(kind: str, size: int, times: int = 10) -> tuple[float, float]:
    """Floating-point operations of a matrix product per second, and per second of all threads; medians."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.randn(size, size, device=device, dtype=getattr(torch, kind))
    _ = matrix @ matrix
    wall, cpu = medians(lambda: matrix @ matrix, times)
    return 2.0 * size**3 / wall, 2.0 * size**3 / cpu
