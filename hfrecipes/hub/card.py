"""The model card: what the model does, how to use it, what it scored."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import SPLITS, RunConfig, to_yaml
from ..evaluation.scoring import GAP, LOW, interval, number
from ..models.adapters import PROMPTS, method_of
from ..recipe import Recipe
from ..run_folder import CARD
from .names import model_path, portable
from .settings import keywords

TEMPLATE = Path(__file__).with_name("card.md")
FEW, SHOWN = 20, 12  # rows of a label that are few; labels that are listed


def write_card(
    path: Path, config: RunConfig, recipe: Recipe, scores: dict[str, dict[str, dict[str, Any]]], about: dict[str, Any]
) -> None:
    """Write README.md beside the model.

    Args:
        path: Folder of the run.
        config: Resolved settings.
        recipe: The task.
        scores: Split -> metric -> value, interval and baseline.
        about: What the run says of itself: versions, rows, limits, steps, seconds.
    """
    from huggingface_hub import ModelCard, ModelCardData

    reads = [name for name in recipe.inputs() if name in (config.columns or recipe.samples[0])]
    example = recipe.example(reads)
    origin = about["origin"]
    results = _results(config, recipe, scores, origin["dataset"])
    card = ModelCard.from_template(
        ModelCardData(model_name=path.name, eval_results=results, **facts(config, recipe, origin)),
        template_path=str(TEMPLATE),
        name=path.name,
        what=recipe.purpose(),
        version=about["hfrecipes"],
        base=origin["model"],
        place=str(model_path(portable(config))).partition("#")[0],
        labels=_some(recipe.labels),
        usage=_usage(recipe, path.name, example) if (path / "config.json").exists() else "",
        path=json.dumps(path.name, ensure_ascii=False),
        example=example,
        tuned=_tuned(recipe),
        baseline=_said(recipe.baseline).rstrip("."),
        units=_said(recipe.measure if type(recipe).score is Recipe.score else recipe.score),
        rows=_score_rows(scores),
        low=", ".join(name for name in LOW if any(name in found for found in scores.values())),
        dataset=origin["dataset"] or dataset_name(config),
        data={split: text.partition(",")[0] for split, text in about["data"].items()},
        limits=about.get("limits", []),
        about=about,
        versions=", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        recipe=to_yaml(portable(config)),
    )
    card.save(path / CARD)


def facts(config: RunConfig, recipe: Recipe, origin: Mapping[str, str | None]) -> dict[str, Any]:
    """Front matter of the card as far as it is known before training: keywords of `ModelCardData`.

    Args:
        config: Settings of the run.
        recipe: The task.
        origin: Hub ids of `model` and `dataset`, None where they have none.
    """
    method = method_of(config.lora) if config.lora else ""
    alone = method in PROMPTS or keywords(config.hub).get("model") == "adapter"
    known: dict[str, Any] = {
        "base_model": origin["model"],
        "base_model_relation": ("adapter" if alone else "finetune") if origin["model"] else None,
        "datasets": [origin["dataset"]] if origin["dataset"] else None,
        "language": recipe.languages or None,
        "library_name": "peft" if alone else "transformers",
        "pipeline_tag": recipe.pipeline_tag or recipe.task,
        "tags": ["hfrecipes", *([method.lower()] if method else [])],
    }
    known = {name: value for name, value in known.items() if value is not None}
    given = dict(keywords(config.hub).get("card", {}))
    more = given.pop("tags", [])
    return {**known, **given, "tags": [*known["tags"], *(more if isinstance(more, list) else [more])]}


def dataset_name(config: RunConfig) -> str:
    """What the dataset may be called where it is none of the Hub's."""
    given = portable(config).dataset
    name = given.get("path", "") if isinstance(given, Mapping) else given
    return str(name or "local files")


def _some(names: list[str]) -> str:
    plain = [" ".join(name.replace("`", "'").split()) for name in names]
    return ", ".join(plain[:SHOWN]) + (f", and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _said(method: Any) -> str:
    """First paragraph of what a recipe says of its own method."""
    return " ".join((method.__doc__ or "").partition("\n\n")[0].split())


def _tuned(recipe: Recipe) -> str:
    """What validation decided, which other libraries know nothing of."""
    return _some([f"{name} {value:.3g}" for name, value in recipe.tuned.items()])


def few_examples(recipe: Recipe) -> list[str]:
    """A sentence on labels that train has few rows of; none where there are enough, or no labels."""
    few = sorted((times, name) for name, times in recipe.counts.items() if times < FEW)
    shown = ", ".join(f"{_some([name])} ({times})" for times, name in few[:SHOWN]) + (", …" if len(few) > SHOWN else "")
    return [f"labels that train has fewer than {FEW} examples of: {shown}"] if few else []


def _usage(recipe: Recipe, path: str, example: dict[str, Any]) -> str:
    """The task's snippet with the model's name and a sample row in it; `{text}` is what the model reads first."""
    first = next(iter(example.values()))
    options = {name: getattr(recipe, name) or "" for name in recipe.option_types()}
    cells = {**options, **dict.fromkeys(recipe.inputs(), ""), **example, "path": path}
    cells["text"] = first if isinstance(first, str) else " ".join(map(str, first))
    written = {name: json.dumps(str(value), ensure_ascii=False)[1:-1] for name, value in cells.items()}
    return re.sub(r"\{(\w+)\}", lambda found: written.get(found[1], found[0]), recipe.usage)


def _results(
    config: RunConfig, recipe: Recipe, scores: dict[str, dict[str, dict[str, Any]]], dataset: str | None
) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=recipe.pipeline_tag or recipe.task,
            dataset_type=dataset or "custom",
            dataset_name=dataset or dataset_name(config),
            dataset_split=config.splits.get(split) or split,
            metric_type=name,
            metric_name=f"{name} (95 % interval {interval(entry.get('ci95'))})",
            metric_value=round(entry["value"], 4),
        )
        for split, found in _by_weight(scores)
        if split in SPLITS
        for name, entry in found.items()
        if math.isfinite(entry["value"]) and "[" not in name
    ]


def _by_weight(scores: Mapping[str, dict[str, dict[str, Any]]]) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """Splits and their scores, those that count most first."""
    return [(split, scores[split]) for split in (*reversed(SPLITS), GAP) if split in scores]


def _score_rows(scores: Mapping[str, dict[str, dict[str, Any]]]) -> list[list[str]]:
    """Cells of a table: split, metric, value, interval, baseline."""
    return [
        [split, name, number(entry["value"]), interval(entry.get("ci95")), number(entry.get("baseline"))]
        for split, found in _by_weight(scores)
        for name, entry in found.items()
        if "[" not in name
    ]
