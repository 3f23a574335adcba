"""How often the 95 % interval of an accuracy holds the true one, in simulated test splits.

    python benchmarks/coverage.py
    python benchmarks/coverage.py 1000

The number is that of the test splits drawn for each cell, 400 where it is left out. Rows are right independently, or
come ten to a text, some texts being harder than others: each has its own chance of a right answer, normally distributed
with a standard deviation of 0.3 and clipped to 0 and 1.
"""

import sys

import numpy as np
from scipy.optimize import brentq

from hfrecipes.evaluation import scoring
from hfrecipes.tasks.multiple_choice import MultipleChoice

ROWS = (20, 50, 200, 2000)
ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
ROWS_PER_TEXT, SPREAD = 10, 0.3


def center(accuracy: float) -> float:
    """Mean of the normal distribution whose values, clipped, have this mean."""
    values = SPREAD * np.random.default_rng(0).normal(size=200_000)
    return float(brentq(lambda mean: np.clip(mean + values, 0, 1).mean() - accuracy, -2, 3))


def coverage(rows: int, accuracy: float, draws: int, *, in_texts: bool) -> float:
    """Share of test splits whose interval holds the accuracy."""
    recipe, covered = MultipleChoice(), 0
    groups = np.arange(rows) // ROWS_PER_TEXT if in_texts else None
    mean = center(accuracy) if in_texts else accuracy
    for seed in range(draws):
        generator = np.random.default_rng([seed, rows, round(1000 * accuracy)])
        chances = np.full(rows, accuracy)
        if groups is not None:
            chances = np.clip(generator.normal(mean, SPREAD, rows // ROWS_PER_TEXT), 0, 1)[groups]
        predictions = [{"label": int(right)} for right in generator.random(rows) < chances]
        found = scoring.scores(recipe, predictions, [1] * rows, seed=seed, groups=groups)
        low, high = found["accuracy"].ci95
        covered += low <= accuracy <= high
    return covered / draws


def main(draws: str = "400") -> None:
    print(f"| rows | {' | '.join(map(str, ACCURACIES))} | mean |")
    print("|---" * (len(ACCURACIES) + 2) + "|")
    for in_texts in (False, True):
        for rows in ROWS:
            shares = [coverage(rows, accuracy, int(draws), in_texts=in_texts) for accuracy in ACCURACIES]
            name = f"{rows:,}, in {rows // ROWS_PER_TEXT} texts" if in_texts else f"{rows:,}"
            print(f"| {name} | {' | '.join(f'{share:.1%}' for share in [*shares, np.mean(shares)])} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
