"""Makes the report of a run and writes it into the folder of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.blocks import ModelSettings
from ..config.run_config import RunConfig, own_splits
from ..data.prepare import load_again
from ..errors import HFRecipesError, ModelError, NotFoundError
from ..evaluation import scoring
from ..evaluation.breakdown import Breakdown
from ..log import log
from ..masking import mask_text
from ..models.binding import bind_trained_tokenizer
from ..models.directory import ADAPTER, is_adapter, refuse_exported
from ..recipe import Recipe
from ..redaction.names import name_finder
from ..registry import find
from ..run_folder import contents
from ..run_folder.contents import REPORT_PAGE, RunInfo
from ..run_folder.writing import write_text
from ..saved.run import settings_of
from . import plots
from .rendering import render
from .run_data import ReadRows, RunData
from .sections import SECTIONS


def write_page(run: RunData) -> Path:
    """Write report.html with all sections that the run has something for.

    Returns:
        The file.
    """
    sections = []
    for make in SECTIONS:
        section = make(run)
        if section is not None and section.blocks:
            sections.append(section)
    missing = f"Without pictures, which matplotlib draws: {plots.INSTALL}, then hfrecipes report with this folder"
    page = render(run.path.name, [_lead(run), *([] if plots.are_available() else [missing])], _footer(run), sections)
    file = run.path / REPORT_PAGE
    write_text(file, mask_text(page))
    return file


def _lead(run: RunData) -> str:
    several = f", {len(run.runs)} runs" if run.runs else ""
    model = run.info.shared.get("model")
    name = model.get("path") if isinstance(model, Mapping) else model
    return f"{run.recipe.task}{several}, fine-tuned from {str(name).partition('#')[0]}"


def _footer(run: RunData) -> str:
    if run.is_full:
        return f"Written by hfrecipes {run.info.hfrecipes}. This page holds rows of the data, and is never pushed."
    return (
        f"Written by hfrecipes {run.info.hfrecipes} when the run ended; hfrecipes report with this folder adds what "
        "takes longer. This page holds rows of the data, and is never pushed."
    )


# --- a run in a folder -------------------------------------------------------------------------------------------


def folder_of(path: str | Path) -> Path:
    """The folder, after checking that it holds a complete run, or several.

    Raises:
        NotFoundError: There is no such folder.
        ModelError: It holds no complete run.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}: expected the folder of a complete run")
    contents.check_readable(folder)
    if not (folder / contents.RECIPE).exists():
        raise ModelError(f"{folder} has no {contents.RECIPE}: expected the folder of a run of hfrecipes")
    if (folder / contents.CURVE).exists():
        runs = sorted(part.parent.name for part in folder.glob(f"*/{contents.METRICS}"))
        raise ModelError(f"{folder} contains a learning curve: a report is made of one of {', '.join(runs)}")
    refuse_exported(folder, "shown in a report")
    if not contents.is_complete(folder):
        raise ModelError(f"the run in {folder} is not complete: run the command that started it again, to resume it")
    return folder


def read_run(folder: Path, load: Callable[[Path], Any], *, trust: bool = False) -> RunData:
    """A run, or several over folds or seeds, from its folder.

    Args:
        folder: From `folder_of`.
        load: Loads a model from its folder.
        trust: Whether code that the run names may be run.
    """
    parts = sorted(part.parent for part in folder.glob(f"*/{contents.RUN}"))
    model = parts[0] if parts else folder
    config, recipe = settings_of(folder, False, trust)
    bind_trained_tokenizer(recipe, _settings_at(model, config))
    return RunData(
        path=folder,
        config=config,
        recipe=recipe,
        scores=scoring.from_json(contents.read_scores(folder)),
        info=RunInfo.read(folder) or RunInfo(),
        breakdowns=own_splits(read_breakdowns(folder)),
        notes=contents.read_notes(folder),
        runs=parts,
        read_data=lambda: _data_again(config, load),
        load_predictor=lambda: load(model),
    )


def _settings_at(folder: Path, config: RunConfig) -> RunConfig:
    """The settings with the saved model in place of the base."""
    # Some methods of PEFT leave nothing to merge, and so no whole model.
    if is_adapter(folder / ADAPTER) and not (folder / "config.json").exists():
        folder = folder / ADAPTER
    base = config.base if config.model else ModelSettings("", {})
    return replace(config, model={"path": str(folder), "trust_remote_code": base.trust_remote_code})


def read_breakdowns(folder: Path) -> dict[str, Breakdown]:
    """Scores by label of each split."""
    content = contents.read_json(folder / contents.REPORT)
    return {split: Breakdown.of(report) for split, report in content.items()}


def _data_again(config: RunConfig, load: Callable[[Path], Any]) -> ReadRows:
    """The rows by split, read and checked as for the run; empty where they cannot be read any more."""
    recipe: Recipe = find(config.task)(**config.options)
    try:
        recipe.find_names = name_finder(recipe.redact, load)
        data = load_again(config, recipe)
    except HFRecipesError as error:
        log(f"the data is not read again, so train is left out: {error}")
        return ReadRows({}, {})
    return ReadRows(data.splits, recipe.label_counts)
