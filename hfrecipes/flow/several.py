"""Several runs and what they say together: over folds, seeds or parts of train, or of a list of models."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import repeats
from ..comparing import selection
from ..comparing.selection import Selection
from ..config.run_config import RunConfig
from ..curve.learning_curve import LearningCurve, read_curve
from ..evaluation import scoring
from ..evaluation.breakdown import Breakdown
from ..evaluation.slices import Slices
from ..log import is_main, log, once
from ..recipe import table_metrics
from ..registry import find
from ..reports.plots import are_available
from ..reports.writing import write_page
from ..results import Result, Results
from ..run_folder import claim, contents, lock
from ..run_folder.contents import RunInfo
from ..run_folder.trouble import as_output_error
from ..run_folder.writing import write_json
from ..training.configuration import configure
from ..training.folder_names import folder_of
from ..training.plan import Plan, make_plan
from ..training.trainer import wait_for_all
from . import candidates
from .finishing import as_reported, not_costing_the_run
from .single import carry_out, reload


def run_each(config: RunConfig, path: Path) -> Result | Results | LearningCurve:
    """The runs that `folds`, `seeds` or `curve` ask for, without those that are complete, and their summary."""
    is_new = False
    for name, of_part in repeats.parts(config).items():
        log(f"{name}: {path / name}")
        recipe = find(config.task)(**config.options)
        plan = make_plan(of_part, recipe, path / name)
        if is_main():
            together = repeats.whole(config, plan.config)
            whole = replace(plan.info, data={})
            claim.claim(path, together, whole)
            contents.write_start(path, together, whole)
        is_new |= _carry_out_unless_complete(plan)
    paths = [path / name for name in repeats.names(config)]
    waiting = [part.name for part in paths if not contents.is_complete(part)]
    if waiting:
        log(f"{path.name}: {', '.join(waiting)} have not been run yet")
        return reload(plan)
    if config.curve is not None:
        return _curve(path, paths, plan, seeds=len(config.seeds) or 1)
    if is_main():
        _summarize(path, paths, plan, config, is_new=is_new)
    wait_for_all()
    scores = scoring.from_json(contents.read_scores(path))
    return Results(path, scores, paths, contents.read_notes(path), tuple(table_metrics(plan.recipe)))


def _carry_out_unless_complete(plan: Plan) -> bool:
    """One of several runs; False if it was complete, with its report."""
    has_all = contents.is_complete(plan.path) and (plan.path / contents.REPORT_PAGE).exists()
    is_new = not has_all or bool(contents.deleted(plan.path))
    if is_new:
        carry_out(plan)
        gc.collect()  # a Trainer refers to itself, and the next one needs its memory
    elif is_main():
        with lock.hold(plan.path), as_output_error(plan.path):
            contents.clear(plan.path)  # it may have been killed after its last score
    wait_for_all()
    return is_new


def _summarize(path: Path, paths: list[Path], plan: Plan, config: RunConfig, *, is_new: bool) -> None:
    """Write the scores over all runs, and their report unless no run is new and it is there."""
    reports: dict[str, Breakdown] = {}
    together: repeats.OutOfFold | None = None
    scores = repeats.summary([scoring.from_json(contents.read_scores(part)) for part in paths])
    if config.folds is not None:
        contents.write_predictions(path, repeats.out_of_fold(paths))
        together = repeats.score_out_of_fold(path, plan.recipe, config, plan.data)
        scores[repeats.OUT_OF_FOLD] = together.scores
        if together.report is not None:
            reports = {repeats.OUT_OF_FOLD: together.report}
            write_json(path / contents.REPORT, {repeats.OUT_OF_FOLD: together.report.as_dict()})
    slices = repeats.slices_of_runs([Slices.of(contents.read_slices(part)) for part in paths])
    if together is not None and together.slices:
        # Each row was a test row once; in the folds by themselves, a value may have no row.
        slices = replace(slices, splits={**slices.splits, "test": together.slices})
    contents.write_scores(path, scoring.to_json(scores), plan.data.notes, slices.as_json())
    if is_new or not (path / contents.REPORT_PAGE).exists():
        info = RunInfo.read(path) or plan.info
        with not_costing_the_run(contents.REPORT_PAGE):
            write_page(replace(as_reported(plan, plan.recipe, scores, info, reports), path=path, runs=paths))


def _curve(path: Path, runs: list[Path], plan: Plan, *, seeds: int) -> LearningCurve:
    """Read the scores of all parts of train, and write what they say about more rows, and its picture."""
    parts = [runs[start : start + seeds] for start in range(0, len(runs), seeds)]
    curve = read_curve(path, parts, plan.recipe, plan.config)
    if is_main():
        write_json(path / contents.CURVE, curve.as_json())
        with not_costing_the_run(contents.CURVE_PICTURE):
            if are_available():
                curve.plot().savefig(path / contents.CURVE_PICTURE, dpi=150)
    wait_for_all()
    return curve


def run_models(what: Any, settings: Mapping[str, Any], models: list[Any], *, trust: bool) -> Selection:
    """A run for each model of a list, without those that are complete, and the one that validation chooses.

    All of them are planned before the first one is trained: a model that is not there is found at once.
    """
    candidates.check(models)
    with once():
        configured = [configure(what, settings, trust=trust, index=index) for index in range(len(models))]
        candidates.check_settings(configured[0][0])
        path = folder_of(what, candidates.with_models(configured[0][0], models))
        folders = candidates.folders(path, models)
        plans = []
        for folder, (config, recipe) in zip(folders, configured, strict=True):
            plans.append(make_plan(config, recipe, folder))
            candidates.check_there(plans[-1])
        candidates.check_validation(plans[0])
    log(candidates.described(models))
    if is_main():
        candidates.write_start(path, plans, models)
    for plan in plans:
        log(f"{plan.path.name}: {plan.path}")
        _carry_out_unless_complete(plan)
    comparison = selection.compare_models(folders, candidates.names(models), timing=is_main())
    if is_main():
        write_json(path / candidates.COMPARISON, comparison.as_json())
    wait_for_all()
    return Selection(path, comparison, reload(plans[comparison.best]), folders)
