"""The likelihood ratio attack (LiRA; Carlini et al. 2022): is a row easier for this model than for others?"""

from __future__ import annotations

import numpy as np

FEW = 8  # shadow models below which what they say of rows that they were trained on is not used
_LEAST_LOSS = 1e-7  # float32 has no smaller difference from a probability of 1


def confidences(losses: np.ndarray) -> np.ndarray:
    """Logit of the probability exp(-loss), which is about normally distributed over models; same shape.

    Example:
        >>> confidences(np.log([2.0, 4.0])).round(3).tolist()  # probabilities 1/2 and 1/4
        [0.0, -1.099]
    """
    losses = np.maximum(losses, _LEAST_LOSS)
    # -log(expm1(loss)), which does not overflow.
    return np.asarray(-losses - np.log(-np.expm1(-losses)))


def memberships(units: np.ndarray, shadows: int, seed: int) -> np.ndarray:
    """Whether each shadow model is trained on each row, (shadows, rows): half of the units, drawn with the seed.

    Every second model is trained on the rows that the one before leaves out, so that each row has as many models with
    it as without it. More models begin with the same halves.

    Args:
        units: Number of what rows share, from 0 on, (rows,); such rows stay together.
        shadows: Number of the models, which is even.
        seed: Of the draw.

    Example:
        >>> memberships(np.array([0, 1, 2, 2]), 2, seed=0).sum(axis=0).tolist()
        [1, 1, 1, 1]
    """
    number, halves = int(units.max()) + 1, []
    for pair in range(shadows // 2):
        drawn = (np.random.default_rng([seed, pair]).permutation(number) < number // 2)[units]
        halves += [drawn, ~drawn]
    return np.array(halves)


def ratios(target: np.ndarray, shadows: np.ndarray, is_in: np.ndarray) -> np.ndarray:
    """Log likelihood ratio of each row being in train or not, (rows,), up to an increasing function.

    Means of each row, and standard deviations of all rows together, as Carlini et al. advise for fewer than 64 models.
    With few models the offline variant: how far a row is above its mean in the models without it.

    Args:
        target: Confidences of the audited model, (rows,).
        shadows: Those of the shadow models, (models, rows).
        is_in: Whether each shadow model was trained on each row, (models, rows).
    """
    outside, without = _mean_and_variance(shadows, ~is_in)
    if len(shadows) < FEW:
        return np.asarray(target - outside)
    inside, within = _mean_and_variance(shadows, is_in)
    return np.asarray((target - outside) ** 2 / (2 * without) - (target - inside) ** 2 / (2 * within))


def _mean_and_variance(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean of each row over some of the models, (rows,), and the variance around it over all rows."""
    number = counts.sum(axis=0)
    means = (values * counts).sum(axis=0) / number
    squares = ((values - means) ** 2 * counts).sum()
    return means, float(max(squares / max(1, (number - 1).sum()), 1e-12))
