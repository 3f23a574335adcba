"""The model card: what the model does, how to use it, what it scored."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from .config import SPLITS, RunConfig, to_yaml
from .folder import CARD
from .recipe import Recipe
from .scoring import interval, number

TEMPLATE = Path(__file__).with_name("card.md")


def write_card(
    path: Path, config: RunConfig, recipe: Recipe, scores: dict[str, dict[str, dict[str, Any]]], about: dict[str, Any]
) -> None:
    """Write README.md beside the model.

    Args:
        path: Folder of the run.
        config: Resolved settings.
        recipe: The task.
        scores: Split -> metric -> value, interval and baseline.
        about: What the run says of itself: versions, rows, steps, seconds.
    """
    from huggingface_hub import ModelCard, ModelCardData

    base = hub_name(config.model["path"] if isinstance(config.model, dict) else config.model)
    data = ModelCardData(
        base_model=base,
        library_name="transformers",
        pipeline_tag=recipe.pipeline_tag or recipe.task,
        tags=["hfrecipes"],
        model_name=path.name,
        eval_results=_results(path, recipe, scores),
    )
    reads = [name for name in recipe.inputs() if name in (config.columns or recipe.samples[0])]
    example = {name: recipe.samples[0].get(name, "…") for name in reads}
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=path.name,
        task=recipe.task,
        version=about["hfrecipes"],
        base=base,
        usage=_usage(recipe, path.name, example) if (path / "config.json").exists() else "",
        path=path.name,
        example=example,
        baseline=" ".join((recipe.baseline.__doc__ or "").partition("\n")[0].rstrip(".").lower().split()),
        rows=score_rows(scores),
        data={split: text.partition(",")[0] for split, text in about["data"].items()},
        steps=about["steps"],
        seconds=about["seconds"],
        versions=", ".join(f"{name} {number}" for name, number in about["versions"].items()),
        recipe=_without_paths(config),
    )
    card.save(path / CARD)


def _usage(recipe: Recipe, path: str, example: dict[str, Any]) -> str:
    """The task's snippet with the model's name and a sample row in it; `{text}` is what the model reads first."""
    first = next(iter(example.values()))
    options = {name: getattr(recipe, name) or "" for name in recipe.option_types()}
    cells = {**options, **dict.fromkeys(recipe.inputs(), ""), **example, "path": path}
    cells["text"] = first if isinstance(first, str) else " ".join(map(str, first))
    written = {name: json.dumps(str(value), ensure_ascii=False)[1:-1] for name, value in cells.items()}
    return re.sub(r"\{(\w+)\}", lambda found: written.get(found[1], found[0]), recipe.usage)


def hub_name(name: str | None) -> str | None:
    """The Hub id that the name is, or None for a folder, which means nothing to others."""
    if not name or name.startswith(("pkg://", ".", "/", "~")) or os.path.exists(name) or name.count("/") > 1:
        return None
    return name


def _without_paths(config: RunConfig) -> str:
    """The settings without the output folder, and with folders reduced to their names."""
    from dataclasses import replace

    dataset = config.dataset
    if isinstance(dataset, str) and os.path.isabs(dataset):
        dataset = os.path.basename(dataset)
    model = config.model
    if isinstance(model, str) and os.path.isabs(model):
        model = os.path.basename(model)
    return to_yaml(replace(config, output_dir=None, dataset=dataset, model=model))


def _results(path: Path, recipe: Recipe, scores: dict[str, dict[str, dict[str, Any]]]) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=recipe.pipeline_tag or recipe.task,
            dataset_type="custom",
            dataset_name=path.name,
            dataset_split=split,
            metric_type=name,
            metric_value=round(entry["value"], 4),
        )
        for split, found in scores.items()
        if split in SPLITS
        for name, entry in found.items()
        if math.isfinite(entry["value"]) and "[" not in name
    ]


def score_rows(scores: dict[str, dict[str, dict[str, Any]]]) -> list[list[str]]:
    """Cells of a table: split, metric, value, interval, baseline."""
    return [
        [split, name, number(entry["value"]), interval(entry.get("ci95")), number(entry.get("baseline"))]
        for split, found in scores.items()
        for name, entry in found.items()
        if "[" not in name
    ]
