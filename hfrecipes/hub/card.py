"""The model card: what the model does, how to use it, what it scored; and the same card as it is pushed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..characters import visible
from ..config.blocks import AdapterSettings, PushSettings
from ..config.recipe_files import to_yaml
from ..config.run_config import SPLITS, RunConfig, named_sets, own_splits
from ..evaluation.breakdown import Breakdown, listed_classes, sentences
from ..evaluation.scoring import CLEAN, GAP, Score, Scores, interval, number
from ..evaluation.tables import change, split_of_changes
from ..masking import mask_text
from ..models.directory import ADAPTER
from ..recipe import DISTANCE, Recipe, Row, input_columns, metric_named, option_types
from ..recipe import example as example_of
from ..run_folder.contents import CARD, RunInfo
from ..run_folder.writing import write_text
from ..trust import code_in
from .audited import section
from .markdown import plain_text
from .names import model_path, shareable

TEMPLATE = Path(__file__).with_name("card.md")
LISTED = 12  # labels that are listed by name; of the others only the number is given
# Python calls on a card that contain the name of the model.
_NAMED = re.compile(r'(from_pretrained\(|hfrecipes\.load\(|pipeline\("[\w-]+", )"((?:[^"\\]|\\.)*)"')
# The snippet for transformers, which the template puts before the sentence that begins with "With".
_USAGE = re.compile(r"```python\n(?:(?!```).)*?```\n\n(?=With)", re.DOTALL)
_SIGNATURE = re.compile(r"\n<!-- hfrecipes ([0-9a-f]{16}) -->\n?$")


# --- the card of a run -------------------------------------------------------------------------------------------


def write_card(
    path: Path,
    config: RunConfig,
    recipe: Recipe,
    scores: Mapping[str, Scores],
    info: RunInfo,
    reports: Mapping[str, Breakdown] | None = None,
    pictures: Mapping[str, str] | None = None,
) -> None:
    """Write README.md next to the model.

    Args:
        path: Folder of the run.
        config: Resolved settings.
        recipe: The task.
        scores: Split -> metric -> score.
        info: Facts about the run: versions, rows, limits, steps, seconds.
        reports: Split -> scores by label.
        pictures: Name of a file below the folder -> what it shows.
    """
    from huggingface_hub import ModelCard, ModelCardData

    texts, origin, example, shared = recipe.card, info.origin, _example(config, recipe), shareable(config)
    metadata = front_matter(recipe, origin, adapter=config.adapter, push=config.push)
    recipe_text = visible(to_yaml(shared))
    dataset = origin["dataset"] or _name_of(shared.dataset)
    results = _results(config, recipe, scores, dataset_type=origin["dataset"] or "custom", dataset_name=dataset)
    # Without config.json there is an adapter alone, which transformers does not load by this snippet.
    is_adapter = not (path / "config.json").exists()
    card = ModelCard.from_template(
        ModelCardData(model_name=path.name, eval_results=results, **metadata),
        template_path=str(TEMPLATE),
        name=plain_text(path.name),
        purpose=texts.purpose.replace("{labels}", str(len(recipe.labels))),
        version=info.hfrecipes,
        base=origin["model"],
        folder=_in_code(str(model_path(shared)).partition("#")[0]),
        labels=_listed(recipe.labels),
        usage="" if is_adapter else _usage(recipe, texts.usage, path.name, example),
        path=json.dumps(path.name, ensure_ascii=False),
        trusted=", trust=True" if code_in(vars(config)) else "",
        example=example,
        calibration=_listed([f"{name} {value:.3g}" for name, value in recipe.calibration.items()]),
        measured=recipe.learned.get(DISTANCE),
        baseline=_sentence(texts.baseline),
        ranges=_sentence(texts.scores),
        **_tables(recipe, scores, info, reports or {}),
        pictures=pictures or {},
        dataset=plain_text(dataset),
        audited=section(path),
        limits=list(map(plain_text, info.limits)),
        info=info,
        versions=", ".join(f"{name} {version}" for name, version in info.versions.items()),
        recipe=recipe_text,
        fence=_fence_for(recipe_text),
    )
    write_text(path / CARD, mask_text(str(card)))


def _tables(
    recipe: Recipe, scores: Mapping[str, Scores], info: RunInfo, reports: Mapping[str, Breakdown]
) -> dict[str, Any]:
    """What the template shows of scores and numbers of rows; arguments as for `write_card`."""
    row_counts = _row_counts(info.data)
    return {
        "rows": _score_rows(scores),
        "lower_is_better": _lower_is_better(recipe, scores),
        "has_gap": bool(scores.get(GAP)),
        "distilled": _distilled(info),
        "classes": _classes(reports),
        "data": own_splits(row_counts),
        "sets": _sets(scores, row_counts),
    }


def front_matter(
    recipe: Recipe,
    origin: Mapping[str, str | None],
    *,
    adapter: AdapterSettings | None,
    push: PushSettings | None,
) -> dict[str, Any]:
    """Front matter of the card as far as it is known before training: keywords of `ModelCardData`.

    Args:
        recipe: The task.
        origin: Hub ids of `model` and `dataset`, None where they have none.
        adapter: The adapters that are trained.
        push: Settings of the push, if there is one; the keys of its `card` replace the ones here, tags are added.
    """
    metadata: dict[str, Any] = {"pipeline_tag": recipe.card.pipeline_tag or recipe.task, "library_name": "transformers"}
    tags = ["hfrecipes"]
    relation = "finetune"
    if adapter is not None:
        tags.append(adapter.method.lower())
    is_adapter_alone = adapter is not None and adapter.is_prompt_learning
    if is_adapter_alone or (push is not None and push.model == "adapter"):
        metadata["library_name"] = "peft"
        relation = "adapter"
    if origin["model"]:
        # With the relation, the Hub lists the model among the adapters or the fine-tuned models of its base.
        metadata |= {"base_model": origin["model"], "base_model_relation": relation}
    if origin["dataset"]:
        metadata["datasets"] = [origin["dataset"]]
    if recipe.writer is not None and recipe.writer.languages:
        metadata["language"] = list(recipe.writer.languages)
    if push is not None:
        metadata |= push.card
        tags += _as_list(push.card.get("tags", []))
    return {**metadata, "tags": tags}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name_of(dataset: Any) -> str:
    """Name of a dataset that is not on the Hub, from the setting as others may see it."""
    name = dataset.get("path") if isinstance(dataset, Mapping) else dataset
    return str(name or "local files")


# --- its parts ---------------------------------------------------------------------------------------------------


def _example(config: RunConfig, recipe: Recipe) -> Row:
    """A row to predict, with the columns that this model was trained on."""
    used = config.columns or recipe.samples[0]
    return example_of(recipe, [name for name in input_columns(recipe) if name in used])


def _usage(recipe: Recipe, snippet: str, path: str, example: Row) -> str:
    """The task's snippet, filled in with the model's name and a sample row.

    `{text}` is the first column of the row, other names in braces are columns or options.
    """
    values: dict[str, Any] = {name: getattr(recipe, name) or "" for name in option_types(type(recipe))}
    values |= {**dict.fromkeys(input_columns(recipe), ""), **example, "path": path}
    first = next(iter(example.values()))
    values["text"] = first if isinstance(first, str) else " ".join(map(str, first))

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:  # braces of the Python code
            return match[0]
        # The value goes between the quotes of a Python string, so its quotes and line breaks are escaped.
        return json.dumps(str(values[match[1]]), ensure_ascii=False)[1:-1]

    return re.sub(r"\{(\w+)\}", fill, snippet)


def _listed(names: list[str]) -> str:
    """The first names, and the number of the others."""
    more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(plain_text, names[:LISTED])) + more


def _in_code(text: str) -> str:
    """A text from data between single backticks, where Markdown reads nothing but another backtick."""
    return visible(" ".join(text.split())).replace("`", "'")


def _fence_for(text: str) -> str:
    """The line around a block of code, longer than any such line in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(3, longest + 1)


def _sentence(text: str) -> str:
    """The text with one full stop at its end; empty if it is."""
    return f"{text.rstrip('.')}." if text else ""


def _row_counts(data: Mapping[str, str]) -> dict[str, str]:
    """Number of rows by split, without the fingerprint that follows it."""
    counts = {}
    for split, rows_and_fingerprint in data.items():
        counts[split] = rows_and_fingerprint.partition(",")[0]
    return counts


def _results(
    config: RunConfig, recipe: Recipe, scores: Mapping[str, Scores], *, dataset_type: str, dataset_name: str
) -> list[Any]:
    """The scores for the front matter, from which the Hub makes its table of results."""
    from huggingface_hub import EvalResult

    results = []
    for split, metric, entry in _overall(scores):
        # The gap is of no split, and the Hub refuses a value that is not a number.
        if split not in SPLITS or not math.isfinite(entry.value):
            continue
        result = EvalResult(
            task_type=recipe.card.pipeline_tag or recipe.task,
            dataset_type=dataset_type,
            dataset_name=dataset_name,
            dataset_split=name if isinstance(name := config.splits.get(split), str) else split,
            metric_type=metric,
            metric_name=f"{metric} (95 % interval {interval(entry.low, entry.high)})",
            metric_value=round(entry.value, 4),
        )
        results.append(result)
    return results


def _score_rows(scores: Mapping[str, Scores]) -> list[list[str]]:
    """Rows of the table: split, metric, value, interval, baseline."""
    rows = []
    for split, metric, entry in _overall(scores):
        around = interval(entry.low, entry.high)
        rows.append([split, plain_text(metric), number(entry.value), around, number(entry.baseline)])
    return rows


def _sets(scores: Mapping[str, Scores], row_counts: Mapping[str, str]) -> dict[str, Any]:
    """Scores of the sets under `tests`: rows of a table, and the split that they are compared with; empty for none."""
    rows = []
    for split, of_set in named_sets(scores).items():
        name = f"{plain_text(split)} ({row_counts[split]})" if split in row_counts else plain_text(split)
        for metric, entry in of_set.items():
            if "[" not in metric:
                around, baseline = interval(entry.low, entry.high), number(entry.baseline)
                rows.append([name, plain_text(metric), number(entry.value), around, baseline, change(entry.change)])
    return {"rows": rows, "compared_with": split_of_changes(scores)} if rows else {}


def _distilled(info: RunInfo) -> dict[str, Any]:
    """Quality against cost: rows of a table, the heads first, and sentences below it; empty without a teacher."""
    known = info.distillation
    if known is None:
        return {}
    rows = [list(map(plain_text, row)) for row in known["table"]]
    return {"rows": rows, "sentences": list(map(plain_text, known["sentences"]))}


def _classes(reports: Mapping[str, Breakdown]) -> dict[str, Any]:
    """Scores by label of the last split: a table, and sentences below it; empty where the task has no labels."""
    of_splits = own_splits(reports)
    if not of_splits:
        return {}
    split = "test" if "test" in of_splits else next(reversed(of_splits))
    report = of_splits[split]
    rows = []
    for name, entry in listed_classes(report).items():
        scores = [number(value) for value in (entry.precision, entry.recall, entry.f1)]
        rows.append([plain_text(name), *scores, str(entry.support)])
    return {"split": split, "by": report.by, "rows": rows, "sentences": list(map(plain_text, sentences(split, report)))}


def _overall(scores: Mapping[str, Scores]) -> Iterator[tuple[str, str, Score]]:
    """Split, metric and entry of each score, the test split first, without the scores of single labels."""
    for split in ("test", CLEAN, "validation", "train", GAP):
        for metric, entry in scores.get(split, {}).items():
            if "[" not in metric:
                yield split, metric, entry


def _lower_is_better(recipe: Recipe, scores: Mapping[str, Scores]) -> str:
    """Metrics of the table of which lower values are better."""
    names = []
    for _, name, _ in _overall(scores):
        known = metric_named(recipe, name)
        if known is not None and not known.greater_is_better and name not in names:
            names.append(name)
    return ", ".join(names)


# --- the card as it is pushed ------------------------------------------------------------------------------------


def card_for_hub(file: Path, name: str, what: str, metadata: Mapping[str, Any]) -> str:
    """Text of a run's card with the name that the model has on the Hub, signed.

    Args:
        file: Card of the run.
        name: Full name of the repository.
        what: What is pushed: `merged`, `adapter` or `both`.
        metadata: Front matter that the push asks for.
    """
    from huggingface_hub import ModelCard, ModelCardData

    card = ModelCard.load(file)
    known = card.data.to_dict()
    title = name.rpartition("/")[2]
    # The Hub shows results only under the name of the model itself.
    for entry in known.get("model-index", []):
        entry["name"] = title
    head = ModelCardData(**{**known, **metadata})
    text = re.sub(r"^# .*$", lambda _: f"# {title}", card.text, count=1, flags=re.MULTILINE)
    if what == "adapter":  # transformers alone does not load it
        text = _USAGE.sub("", text, count=1)
    text = _NAMED.sub(lambda call: f'{call[1]}"{name}"', text)
    if what == "both":
        adapter = f'To load the adapter and merge it into its base model: `hfrecipes.load("{name}/{ADAPTER}")`.'
        text = text.replace("\n## Training data\n", f"\n{adapter}\n\n## Training data\n", 1)
    return _signed(f"---\n{head}\n---\n{text}")


def was_edited(text: str) -> bool:
    """Whether somebody wrote the card, or changed it after the push."""
    signature = _SIGNATURE.search(text)
    return signature is None or signature[1] != _digest(_SIGNATURE.sub("", text))


def _signed(text: str) -> str:
    """The text with its digest in a comment, so that a later push notices edits."""
    text = _SIGNATURE.sub("", text).rstrip("\n")
    return f"{text}\n\n<!-- hfrecipes {_digest(text)} -->\n"


def _digest(text: str) -> str:
    # The Hub's editor may add or remove a line break at the end.
    return hashlib.sha256(text.rstrip("\n").encode()).hexdigest()[:16]
