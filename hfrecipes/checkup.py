"""check(): the settings and every row, without training and without writing anything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import predictor, runner
from .config.recipe_files import to_yaml
from .config.run_config import RunConfig
from .contract.report import nothing_printed
from .data.checks import Collected, not_scored
from .data.features import average_lengths, describe_lengths, encode_splits, truncated_share, written_special_tokens
from .data.packing import count_rows
from .data.prepare import check_again, load_data, no_test_split
from .data.rows import Data
from .distilling import teacher
from .doctor import cost, printing
from .doctor.diagnosis import GRADES, Diagnosis, tally
from .doctor.lengths import cut_texts, no_model, unknown_tokens
from .doctor.parts import Part, parts_of
from .doctor.rows import examine_rows, examine_texts
from .errors import HFRecipesError, counted
from .flow import candidates
from .log import log, once
from .masking import mask_settings
from .models.binding import bind_tokenizer
from .models.directory import check_start, check_weights
from .models.tokenizing import show_labels
from .privacy import settings as privacy_settings
from .privacy.canaries import with_canaries
from .recipe import Recipe
from .run_folder import contents
from .search.trials import checked_base
from .training.arguments import make_arguments, try_arguments
from .training.configuration import configure, models_of, without_defaults
from .training.memory_check import memory_lines
from .training.plan import check_metrics, check_tuning

if TYPE_CHECKING:
    from datasets import Dataset


STEPS, REHEARSED = 2, 8  # steps of a rehearsal, and rows that it evaluates


@dataclass
class Report:
    """What a check found, filled step by step."""

    config: RunConfig
    """The settings; with every guess filled in where the rows could be read."""
    recipe: Recipe
    rows: dict[str, int] = field(default_factory=dict)
    """Split -> number of rows that can be used."""
    columns: dict[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Label -> split -> how often it occurs."""
    lengths: list[int] = field(default_factory=list)
    """Length of each text of train, in tokens where there is a model, else in characters."""
    length_unit: str = "characters"
    features: int = 0
    """Number of training examples after encoding: more than rows if long texts are split, fewer if texts are packed."""
    costs: list[str] = field(default_factory=list)
    """Sentences on steps, time and memory."""
    diagnoses: list[Diagnosis] = field(default_factory=list)
    seen_by_model: dict[str, Any] = field(default_factory=dict)
    stopped: HFRecipesError | None = None
    """The error that ended the check early; None for a complete check."""


def check(what: str | os.PathLike[str] | Mapping[str, Any], *, trust: bool = False, **settings: Any) -> dict[str, Any]:
    """Resolve the settings and read every row, without training, and without writing anything.

    Args:
        what: As for `run`.
        trust: As for `run`.
        **settings: As for `run`; the model may be left out.

    Returns:
        Task, rows by split, labels, columns, `findings`, and the resolved settings; with a model also the share of
        `truncated` rows by split, from 0 to 1, and an encoded row as `example`. Findings have a grade (`warning` or
        `note`), a name, the split, a sentence, the numbers of the rows and the edit. With a list of models, this for
        each of them under `models`, by its name.

    Raises:
        HFRecipesError: As for `run`.

    Example:
        >>> hfrecipes.check("text-classification", dataset="texts.csv")["labels"]  # doctest: +SKIP
    """
    return check_settings(what, settings, trust=trust)


def check_settings(what: Any, settings: Mapping[str, Any], *, trust: bool = False) -> dict[str, Any]:
    """As `check`, with all settings in one mapping."""
    if models_of(what, settings) is None:
        return _checked(examine(what, settings, trust=trust, raises=True))
    reports = examine_models(what, settings, trust=trust, raises=True)
    return {"models": {name: _checked(report) for name, report in reports.items()}}


def _checked(report: Report) -> dict[str, Any]:
    for sentence in [*(diagnosis.line for diagnosis in report.diagnoses), *report.costs]:
        log(sentence)
    return as_dict(report)


def as_dict(report: Report) -> dict[str, Any]:
    """The report as `check` returns it."""
    return {
        "task": report.config.task,
        "rows": report.rows,
        "labels": report.recipe.labels,
        "columns": report.columns,
        "findings": [diagnosis.as_json() for diagnosis in report.diagnoses],
        "config": report.config,
        **report.seen_by_model,
    }


def examine_models(
    what: Any, settings: Mapping[str, Any], *, trust: bool = False, raises: bool = False
) -> dict[str, Report]:
    """As `examine`, for each of a list of models, by its name.

    Raises:
        HFRecipesError: As for `examine`; or the list names no models to choose from.
    """
    models = models_of(what, settings) or []
    candidates.check(models)
    reports = {}
    for index, name in enumerate(candidates.names(models)):
        with once():
            reports[name] = examine(what, settings, trust=trust, raises=raises, index=index)
        candidates.check_settings(reports[name].config)
    return reports


def examine(
    what: Any, settings: Mapping[str, Any], *, trust: bool = False, raises: bool = False, index: int | None = None
) -> Report:
    """Find everything that is odd about settings and rows, and go on after each problem.

    Args:
        what: As for `run`.
        settings: As for `run`.
        trust: As for `run`.
        raises: Whether rows that cannot be used are raised as an error, as a run does.
        index: As for `configure`.

    Raises:
        HFRecipesError: The settings are wrong, or the data cannot be read.
    """
    config, recipe = configure(what, settings, trust=trust, index=index)
    if config.search:
        config, recipe = checked_base(what, settings, config, Path(), trust=trust).configured({})
    try_arguments(config, recipe)
    report = Report(config, recipe)
    collected = Collected(raises)
    try:
        data, report.config = load_data(config, recipe, collected)
        check_metrics(report.config, recipe, data.splits["train"])
        check_tuning(recipe, data.splits)
        teacher.check_labels(report.config, recipe)
        privacy_settings.check_rows(report.config, recipe)
        train = _examine_rows(report, data, collected)
        if report.config.model:
            _examine_with_model(report, data, collected)
        else:
            _without_model(report, train)
    except HFRecipesError as error:
        if raises or collected.data is None:
            raise
        report.stopped = error
        if not report.rows:
            report.diagnoses = [*_of_task(collected), *_of_unread(collected.data, recipe)]
    return report


def lines(report: Report, width: int | None = None) -> Iterator[str]:
    """The report as people read it; the last line says whether all is well.

    Args:
        report: What was found.
        width: Characters of a line; None for a terminal of any width.
    """
    if report.seen_by_model.get("example"):
        yield f"{report.seen_by_model['example']}\n"
    yield "settings that differ from the defaults"
    for line in to_yaml(without_defaults(report.config)).splitlines():
        yield f"  {line}"
    if report.rows:
        yield f"rows  {', '.join(f'{split} {number}' for split, number in report.rows.items())}"
    yield from printing.label_lines(report.labels)
    yield from printing.length_lines(report.lengths, report.length_unit)
    yield from report.costs
    yield ""
    yield from printing.findings(report.diagnoses, width)
    if report.stopped is None:
        yield tally(report.diagnoses)


def as_json(report: Report) -> dict[str, Any]:
    """The report as programs read it; `ok` is false if a run would refuse the rows, or if an error ended the check."""
    content = as_dict(report)
    content.pop("example", None)
    grades: list[str] = [diagnosis.grade for diagnosis in report.diagnoses]
    return {
        "ok": report.stopped is None and "error" not in grades,
        **{f"{grade}s": grades.count(grade) for grade in GRADES},
        **content,
        "label_counts": report.labels,
        "costs": report.costs,
        "stopped": None if report.stopped is None else str(report.stopped),
        "config": mask_settings(asdict(report.config)),
    }


def all_as_json(reports: Mapping[str, Report]) -> dict[str, Any]:
    """One report as programs read it, or those of a list of models by their names."""
    contents = {name: as_json(report) for name, report in reports.items()}
    if "" in contents:
        return contents[""]
    return {"ok": all(content["ok"] for content in contents.values()), "models": contents}


def exit_code(report: Report, *, strict: bool) -> int:
    """1 with errors, and with warnings where those count as errors; else 0."""
    grades = {diagnosis.grade for diagnosis in report.diagnoses}
    return int("error" in grades or (strict and "warning" in grades))


# --- rows --------------------------------------------------------------------------------------------------------


def _examine_rows(report: Report, data: Data, collected: Collected) -> Part:
    """What rows alone can tell; the rows of train."""
    examined = examine_rows(data, report.recipe, contents.seen_by_start(report.config))
    report.rows = {split: len(rows) for split, rows in data.splits.items()}
    report.columns = dict(data.columns)
    report.labels = examined.labels
    report.lengths = _characters(examined.parts["train"])
    report.diagnoses = [*_of_task(collected), *_of_splits(data, report.recipe), *examined.diagnoses]
    return examined.parts["train"]


def _of_task(collected: Collected) -> Iterator[Diagnosis]:
    """What the checks of the task found."""
    for split, finding in collected.findings:
        sentence = finding.sentence
        if finding.rows:
            rows = set(finding.rows)
            times = f" {len(finding.rows)} times" if len(finding.rows) > len(rows) else ""
            sentence = f"{sentence}{times} in {counted(len(rows), 'row')}"
        if finding.level == "note":
            yield Diagnosis("note", "odd-rows", sentence, split, finding.rows)
        else:
            edit = "fix these rows"
            if not _are_all(collected, split, finding.rows):
                edit = "fix these rows, or drop them with options.drop_invalid=true"
            yield Diagnosis("error", "unusable-rows", sentence, split, finding.rows, "", edit)


def _are_all(collected: Collected, split: str, rows: Sequence[int]) -> bool:
    """Whether dropping these rows would leave none of the split."""
    return collected.data is not None and len(set(rows)) == len(collected.data.splits[split])


def _of_splits(data: Data, recipe: Recipe) -> Iterator[Diagnosis]:
    """Rows that are not scored, or count as wrong, and splits that are missing."""
    for sentence in data.notes.values():
        yield Diagnosis("warning", "count-as-wrong", sentence)
    for sentence in not_scored(data, recipe):
        yield Diagnosis("note", "not-scored", sentence)
    for sentence in no_test_split(data):
        yield Diagnosis("note", "no-test-split", sentence)


def _of_unread(data: Data, recipe: Recipe) -> list[Diagnosis]:
    """Findings in the texts of rows that the task cannot use."""
    try:
        return examine_texts(data, recipe)
    except (HFRecipesError, TypeError, ValueError):  # what ended the check says what is wrong with them
        return []


def _characters(part: Part) -> list[int]:
    """Number of input characters of each row."""
    lengths = [0] * len(part.numbers)
    for texts in part.inputs.values():
        for index, text in enumerate(texts):
            lengths[index] += len(text)
    return lengths


# --- with a model, and without -----------------------------------------------------------------------------------


def _without_model(report: Report, train: Part) -> None:
    """Models to start from, and what a run costs in steps."""
    report.diagnoses += no_model(report.recipe, train)
    report.features = len(train.numbers)
    report.costs = cost.projected(report.config, report.features)


def _examine_with_model(report: Report, data: Data, collected: Collected) -> None:
    """What the tokenizer of the model makes of the rows, and what a run costs."""
    recipe, config = report.recipe, report.config
    check_start(config.base)
    check_weights(config.base.path)
    bind_tokenizer(recipe, config)
    data = _check_with_tokenizer(report, data, collected)
    report.rows = {split: len(rows) for split, rows in data.splits.items()}
    encoded = encode_splits(recipe, data)
    report.lengths, report.length_unit = encoded["train"]["length"][:], "tokens"
    report.diagnoses += _of_features(data, recipe, encoded)
    trained_on = with_canaries(config, recipe, data.splits["train"], encoded)["train"]
    report.features = count_rows(trained_on, recipe.max_length)
    report.costs = [*cost.projected(config, report.features), *_memory(report, trained_on)]
    report.seen_by_model = {
        "truncated": {split: truncated_share(features, len(data.splits[split])) for split, features in encoded.items()},
        "example": show_labels(recipe, encoded["train"][0]),
    }


def _memory(report: Report, features: Dataset) -> list[str]:
    """Sentences on the memory of a training; a model that cannot be loaded is none of this check's business."""
    with nothing_printed():
        try:
            arguments = make_arguments(report.config, report.recipe, Path(), has_validation="validation" in report.rows)
            return list(memory_lines(report.config, report.recipe, arguments, features))
        except Exception as error:  # of a model or a task that nobody knows here
            return [f"memory: not estimated ({' '.join(str(error).split())[:200]})"]


def _check_with_tokenizer(report: Report, data: Data, collected: Collected) -> Data:
    """The rows that can be used with the tokenizer; what is wrong with the others is reported even if none is left."""
    before = len(collected.findings)
    try:
        return check_again(data, report.recipe, collected)
    finally:
        # The second check reports the findings of the first one again.
        known = collected.findings[:before]
        new = [entry for entry in collected.findings[before:] if entry not in known]
        report.diagnoses += _of_task(replace(collected, findings=new, data=data))


def _of_features(data: Data, recipe: Recipe, encoded: Mapping[str, Dataset]) -> Iterator[Diagnosis]:
    """Texts that the limits of model and options truncate, and tokens that the tokenizer does not know."""
    for split, part in parts_of(data, recipe).items():
        features, rows = encoded[split], len(part.numbers)
        # What is truncated is a finding, which names the rows too.
        is_cut = truncated_share(features, rows) > 0
        log(average_lengths(split, features, rows) if is_cut else describe_lengths(split, features, rows, recipe))
        yield from cut_texts(part, features)
        special = written_special_tokens(part.rows, recipe)
        if special:
            yield Diagnosis("note", "special-tokens", special, split)
        if split == "train":
            yield from unknown_tokens(recipe, part, encoded[split])


# --- a rehearsal -------------------------------------------------------------------------------------------------


def rehearse(report: Report, *, trust: bool = False) -> None:
    """Train two steps on a few rows in a temporary folder, then evaluate, save and load, and report time and memory.

    Args:
        report: A report that is complete; the findings and the costs of the rehearsal are added to it.
        trust: As for `run`.
    """
    if report.stopped is not None:
        return
    if not report.config.model:
        report.costs.append("rehearsal: skipped, because it needs model=<hub id or folder>")
        return
    try:
        with nothing_printed(), tempfile.TemporaryDirectory() as folder:
            small = _rehearsed(report.config, Path(folder, "run"))
            timer = cost.step_timer()
            runner.run_settings(small, {}, trust=trust, callbacks=[timer])
            predictor.load(small["output_dir"], trust=True)
            report.costs += cost.measured(report.config, timer.seconds, report.features)
    except Exception as error:
        reason = " ".join(str(error).split())
        if not isinstance(error, HFRecipesError):
            reason = f"{type(error).__name__}: {reason}"
        sentence = f"the rehearsal failed: {reason}"
        report.diagnoses.append(Diagnosis("error", "rehearsal", sentence, None, (), "so the run would fail too"))


def _rehearsed(config: RunConfig, path: Path) -> dict[str, Any]:
    """The settings of a run of two whole batches, which is neither repeated nor pushed."""
    training = dict(config.training)
    batch = training["per_device_train_batch_size"] * (training.get("gradient_accumulation_steps") or 1)
    rows = {"train": max(REHEARSED, STEPS * batch), "validation": REHEARSED, "test": REHEARSED}
    training |= {"max_steps": STEPS, "report_to": "none"}
    # Too few rows are left to draw splits from; a rehearsal may as well validate on training rows.
    named = {split: name for split, name in config.splits.items() if not isinstance(name, float)}
    splits = {"validation": config.splits.get("train"), **named}
    small = replace(
        config,
        output_dir=str(path),
        splits=splits,
        limit=rows,
        training=training,
        tests={},
        by=None,
        folds=None,
        curve=None,
        search={},
        seeds=[],
        hub=None,
    )
    settings = asdict(small)
    return {name: value for name, value in settings.items() if value is not None}
