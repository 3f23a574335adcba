"""Why the model predicts what it does: words of labels, wrong rows, and whether attributions can be trusted."""

from __future__ import annotations

from importlib.util import find_spec

from ...characters import shortened
from ...errors import HFRecipesError
from ...explaining.contract import Explainable
from ...explaining.explanation import Explanation
from ...explaining.run import RunExplanation, explain_run
from ..page import Block, Section, Table
from ..run_data import RunData

TITLE = "Why it said so"
ROWS, SECONDS = 100, 90.0
_WORDS = 6  # of each row


def section(run: RunData) -> Section | None:
    """Attributions over a sample of rows; only in a full report, since they need the model."""
    if run.load_predictor is None or run.runs or not isinstance(run.recipe, Explainable):
        return None
    if find_spec("captum") is None:
        return Section(TITLE, ["Not computed: captum is missing, pip install captum adds it."])
    try:
        train = run.data.splits.get("train")
        known = explain_run(run.load_predictor(), rows=ROWS, seconds=SECONDS, train=train)
    except HFRecipesError as error:
        return Section(TITLE, [f"Not computed: {error}"])
    blocks: list[Block] = [f"{known.method}. {'; '.join(known.notes)}."]
    blocks += [table for table in (_words(known), _worst(known), _faithfulness(known)) if table.rows]
    return Section(TITLE, blocks)


def _words(known: RunExplanation) -> Table:
    rows = []
    for label, words in known.words.items():
        for word in words:
            rows.append([label, word.word, round(word.mean, 3), word.count])
    return Table(["predicted", "word", "mean attribution", "times"], rows, "The words that speak most for each label")


def _worst(known: RunExplanation) -> Table:
    rows = []
    for row in known.worst:
        text = " | ".join(map(_as_text, row.row.values()))
        near = " | ".join(_as_text(list(line.row.values())) for line in row.nearest)
        cells = [text, _as_text(row.reference), _strongest(row.explanation), near]
        rows.append([row.number, *[shortened(cell, 400) for cell in cells]])
    heads = ["row", "text", "reference", "predicted, and the words that speak most for it", "nearest training rows"]
    return Table(heads, rows, f"{known.split}: the most certain of the wrong predictions")


def _strongest(explanation: Explanation) -> str:
    parts = []
    for target in explanation.targets:
        order = sorted(range(len(target.values)), key=target.values.__getitem__, reverse=True)[:_WORDS]
        words = [f"{explanation.words[index].text} {target.values[index]:+.2f}" for index in order]
        parts.append(f"{target.target}: {', '.join(words)}")
    return "; ".join(parts) or "nothing"


def _faithfulness(known: RunExplanation) -> Table:
    rows = []
    for entry in known.faithfulness:
        without = entry.comprehensiveness, entry.random_comprehensiveness, entry.comprehensiveness_gain
        alone = entry.sufficiency, entry.random_sufficiency, entry.sufficiency_gain
        rows.append([f"{entry.share:.0%}", *map(str, without), *map(str, alone)])
    heads = ["words", "lost without them", "without random ones", "gain", "lost with them alone", "with random ones"]
    return Table([*heads, "gain "], rows, f"{known.split}: by how much the probability of the prediction falls")


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_as_text, value))
    return str(value)
