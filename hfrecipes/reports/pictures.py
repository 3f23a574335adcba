"""The pictures of the model card, as files beside it: without any text of rows, since they are pushed with the card."""

from __future__ import annotations

from ..recipe import best_metric
from ..run_folder.contents import PICTURES
from ..run_folder.writing import write_text
from . import plots
from .page import Matrix, Plot
from .probabilities import probabilities_of
from .run_data import RunData
from .sections import classes, curves, reliability, scores

_LARGEST = 25  # labels of a matrix on the card


def write_pictures(run: RunData) -> dict[str, str]:
    """Draw learning curves, confusions, and reliability or scores; nothing where matplotlib is missing.

    Returns:
        Name of each file below the folder of the run -> what it shows.
    """
    if not plots.are_available():
        return {}
    (run.path / PICTURES).mkdir(exist_ok=True)
    written = {}
    for name, plot in chosen(run).items():
        file = f"{PICTURES}/{name}.svg"
        write_text(run.path / file, plots.svg_file(plot, name))
        written[file] = plot.title
    return written


def chosen(run: RunData) -> dict[str, Plot]:
    """The plots that say the most, by the names of their files."""
    plots_by_name: dict[str, Plot | None] = {}
    histories = {name: history for name, history in run.histories.items() if history.log}
    if histories:
        plots_by_name["learning_curves"] = curves.plots(histories, best_metric(run.recipe))[0]
    split = next(reversed(list(run.breakdowns)), None)
    if split is not None and run.breakdowns[split].confusions:
        matrix = classes.matrix(split, run.breakdowns[split])
        if isinstance(matrix, Matrix) and len(matrix.labels) <= _LARGEST:
            plots_by_name["confusions"] = matrix
    last = next(reversed(run.rows), None)
    known = None if last is None else probabilities_of(run, last)
    if last is not None and known is not None:
        plots_by_name["reliability"] = reliability.diagram(last, known)
    elif scores.headline(run):
        plots_by_name["scores"] = scores.bars(run, scores.headline(run)[0])
    return {name: plot for name, plot in plots_by_name.items() if plot is not None}
