"""How much noise a promise needs, and what a number of steps has spent: by the RDP accountant of Opacus."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config.blocks import PrivacySettings
from ..errors import ConfigError

LARGEST = 100  # epsilon that is still accepted; from about 10 on, it says little
ACCOUNTANT = "rdp"  # an upper bound for any number of steps and any noise (Mironov et al. 2019)
# Noise multiplier, probability of a row, and number of steps, as the accountants of Opacus keep them.
History = Sequence[tuple[float, float, int]]


@dataclass(frozen=True)
class Mechanism:
    """What each step of a private training does, and what is promised for all of them."""

    noise_multiplier: float
    """Standard deviation of the noise, in units of `max_grad_norm`."""
    max_grad_norm: float
    """Length of the gradient of a row at most."""
    sample_rate: float
    """Probability of each row to be in the batch of a step."""
    delta: float
    steps: int
    """Number of steps of the whole training."""
    rows: int
    """Number of rows of train."""

    @property
    def batch(self) -> float:
        """Number of rows in a batch on average, by which the sum of the gradients is divided."""
        return self.sample_rate * self.rows

    def history(self, steps: int) -> list[tuple[float, float, int]]:
        """So many steps, as the accountant takes them."""
        return [(self.noise_multiplier, self.sample_rate, steps)] if steps else []

    def spent(self, history: History) -> dict[str, Any]:
        """Epsilon of steps that were taken, and the numbers that it follows from, for run.json."""
        values = asdict(self)
        values["steps"] = sum(steps for _, _, steps in history)
        spent = epsilon(history, self.delta)
        if spent < math.inf:
            spent = math.ceil(spent * 1e4) / 1e4  # never less than was spent
        return {"epsilon": spent, **values, "accountant": ACCOUNTANT}


def mechanism(settings: PrivacySettings, *, rows: int, batch: int, steps: int) -> Mechanism:
    """Noise and sampling for what the settings promise.

    Args:
        settings: The block `privacy`.
        rows: Number of rows of train.
        batch: Number of rows that a step learns from on average.
        steps: Number of steps of the whole training.

    Raises:
        ConfigError: No noise is enough for such an epsilon.
    """
    rate = min(batch / rows, 1.0)
    delta = settings.delta if settings.delta is not None else 1 / (10 * rows)
    if delta >= 1 / rows:
        # With such a delta, publishing one row that is drawn at random would be private too.
        raise ConfigError(f"privacy.delta: found {delta:g}, expected less than 1/{rows}, one over the rows of train")
    noise = settings.noise_multiplier
    if noise is None:
        noise = _noise_for(float(settings.epsilon or 0), delta, rate, steps)
    planned = Mechanism(noise, settings.max_grad_norm, rate, delta, steps, rows)
    promised = epsilon(planned.history(steps), delta)
    if promised > LARGEST:
        raise ConfigError(
            f"privacy.noise_multiplier: found {noise:g}, with which epsilon would be {promised:.3g}, expected one with "
            f"{LARGEST} at most: a larger one promises nothing"
        )
    return planned


def _noise_for(target: float, delta: float, rate: float, steps: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with _without_warnings():
            noise = get_noise_multiplier(
                target_epsilon=target,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant=ACCOUNTANT,
                epsilon_tolerance=min(0.01, target / 100),
            )
    except ValueError as error:
        raise ConfigError(
            f"privacy.epsilon: found {target:g}, which no noise reaches with delta={delta:.3g}: raise epsilon or delta"
        ) from error
    return float(noise)


def epsilon(history: History, delta: float) -> float:
    """Epsilon of all steps together; 0 for none, infinite without noise.

    Args:
        history: Noise multiplier, probability of a row, and number of steps; several for steps that differ.
        delta: Probability that the promise does not hold.

    Example:
        >>> epsilon([], 1e-5), epsilon([(0.0, 0.1, 1)], 1e-5)
        (0.0, inf)
    """
    from opacus.accountants import create_accountant

    if not history:
        return 0.0
    if not all(noise for noise, _, _ in history):
        return math.inf
    accountant = create_accountant(mechanism=ACCOUNTANT)
    accountant.history = list(history)
    with _without_warnings():
        return float(accountant.get_epsilon(delta=delta))


def _without_warnings() -> warnings.catch_warnings[Any]:
    """Silence the advice on the orders of the accountant: with any orders, its bound holds."""
    return warnings.catch_warnings(action="ignore")
