"""Whether rows of train can be told from the others by their texts, without any model of the run.

If they can, the rows are of different kinds, and an attack may find that in place of what the model remembers (Das et
al. 2024, "Blind baselines beat membership inference attacks for foundation models").
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from ..recipe import Recipe
from .attacks import Audited

if TYPE_CHECKING:
    from datasets import Dataset

_FOLDS = 5


def signal_of_texts(rows: Audited, texts: list[str]) -> np.ndarray:
    """How much the words of each row look like those of train, (rows,), by a model that has not seen the row.

    Args:
        rows: The rows.
        texts: One per row.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    # Characters, so that texts without spaces have words too.
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True, max_features=50_000)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=rows.seed)
    model = make_pipeline(words, LogisticRegression(max_iter=200))
    signal: np.ndarray = cross_val_predict(
        model, texts, rows.is_member, groups=rows.units, cv=folds, method="decision_function"
    )
    return signal


def texts_of(rows: Dataset, recipe: Recipe) -> list[str]:
    """All that an attacker has of each row, as one text: its references too, which the loss depends on."""
    names = [name for name, column in recipe.columns.items() if name in rows.column_names and not column.passthrough]
    texts = []
    for row in rows.select_columns(names):
        cells = [cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False) for cell in row.values()]
        texts.append("\n".join(cells))
    return texts
