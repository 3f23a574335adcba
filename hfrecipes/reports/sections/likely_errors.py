"""Rows whose label is likely wrong: of validation and test by the run's own predictions, of train by its base model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ...data.checks import iterate, references
from ...errors import counted
from ...log import log
from ...recipe import Row
from ...repeats import OUT_OF_FOLD
from .. import embeddings, label_errors
from ..cells import heads_and_cells
from ..page import Block, Section, Table, score_cell
from ..probabilities import Probabilities, probabilities_of
from ..run_data import PredictedRow, RunData

NUMBER = 100  # rows of each table
MOST = 20_000  # training rows that the base model reads


def section(run: RunData) -> Section | None:
    """A table for each split with one label per row, the likeliest errors first."""
    blocks: list[Block] = []
    for split in reversed(run.rows):
        known = probabilities_of(run, split)
        if known is not None and known.has_labels and not known.has_several:
            blocks += _of_split(run, split, known)
    if blocks and run.is_full and OUT_OF_FOLD not in run.rows:
        blocks += _of_train(run)
    if not blocks:
        return None
    how = (
        "By confident learning: rows that the model, which was not trained on them, gives another label with more "
        "confidence than usual for that label. Look at them before you change any: some are only hard."
    )
    return Section("Likely label errors", [how, *blocks])


def _of_split(run: RunData, split: str, known: Probabilities) -> list[Block]:
    has_label = known.is_reference.any(axis=1)  # others have a label that train does not have
    rows = [known.rows[index] for index in np.flatnonzero(has_label).tolist()]
    return _table(run, split, rows, known.is_reference[has_label].argmax(axis=1), known.shares[has_label], "")


def _table(
    run: RunData, split: str, rows: list[PredictedRow], labels: np.ndarray, shares: np.ndarray, how: str
) -> list[Block]:
    """The rows that are likely wrong, those with the least probable label first."""
    if not len(rows) or shares.shape[1] < 2:
        return []
    is_error = label_errors.likely_errors(labels, shares)
    of_label = label_errors.quality(labels, shares)
    order = np.flatnonzero(is_error)[np.argsort(of_label[is_error], kind="stable")]
    sentence = f"{split}: {len(order)} of {counted(len(rows), 'row')}{how}."
    if not len(order):
        return [sentence]
    chosen = [int(index) for index in order[:NUMBER]]
    heads, cells = heads_and_cells(run, [rows[index] for index in chosen])
    table = []
    for index, line in zip(chosen, cells, strict=True):
        table.append([rows[index].number, score_cell(float(of_label[index])), *line])
    shown = f"{split}: the {counted(len(table), 'row')} whose label is the least probable"
    return [sentence, Table(["row", "probability of label", *heads], table, shown)]


# --- train -------------------------------------------------------------------------------------------------------


def _of_train(run: RunData) -> list[Block]:
    """Training rows, by folds of a regression on what the base model makes of their texts."""
    train = run.data.splits.get("train")
    if train is None:
        return ["train: not read, see what hfrecipes report printed."]
    given = references(run.recipe, train)
    counts = Counter(given)
    ids = {name: number for number, name in enumerate(run.recipe.labels)}
    usable = [index for index, name in enumerate(given) if name in ids and counts[name] >= embeddings.FOLDS]
    seed = run.config.training["seed"]
    if len(usable) > MOST:
        usable = sorted(np.random.default_rng(seed).permutation(usable)[:MOST].tolist())
        log(f"label errors in train are looked for in {counted(MOST, 'row')} drawn with the seed")
    if len({given[index] for index in usable}) < 2:
        return []
    chosen = train.select(usable)
    vectors, what = embeddings.embeddings(run.recipe, run.config, chosen, str(run.runs[0] if run.runs else run.path))
    labels = np.array([ids[given[index]] for index in usable])
    shares = embeddings.out_of_fold_shares(vectors, labels, len(ids), seed)
    rows = []
    for index, row, share in zip(usable, iterate(chosen), shares, strict=True):
        rows.append(_as_predicted(run, index, row, given[index], share))
    how = f", by {embeddings.FOLDS} folds of a logistic regression on embeddings of {what}"
    return _table(run, "train", rows, labels, shares, how)


def _as_predicted(run: RunData, index: int, row: Row, reference: Any, shares: np.ndarray) -> PredictedRow:
    prediction = {str(run.recipe.prediction): run.recipe.labels[int(shares.argmax())]}
    return PredictedRow("train", index, row, prediction, reference)
