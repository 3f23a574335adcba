"""Audit a run: try attacks that tell its training rows from others, and write down how well they do."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config.run_config import RunConfig
from ..errors import ConfigError, DataError, ModelError, counted
from ..hub.audited import put_on_card
from ..log import log
from ..models.directory import refuse_exported
from ..predictor import Predictor, load
from ..privacy import canaries
from ..run_folder import contents
from ..run_folder.contents import RunInfo
from ..run_folder.trouble import as_output_error
from ..run_folder.writing import write_json
from ..saved.run import find_run, settings_of
from .attacks import Audited, area, attack
from .canaries import Remembered, remembered
from .likelihood import confidences, ratios
from .outcome import LOSS, Audit
from .row_losses import losses_of
from .rows import LEAST, LEAST_UNITS, Pool, pool_of, read_again
from .shadows import Shadows, check_number
from .text_alone import signal_of_texts, texts_of

ROWS = 1000  # of each kind, unless the user wants others
RATIO = "likelihood ratio"


def audit(
    run: str | os.PathLike[str],
    *,
    shadows: int = 0,
    rows: int = ROWS,
    dataset: Any = None,
    trust: bool = False,
) -> Audit:
    """Measure how well an attacker can tell whether a row was in train: membership inference, with intervals.

    Where `privacy.canaries` planted secrets in train, what the model remembers of them is measured too.

    Writes `audit.json` into the folder of the run, and a section on its card.

    Args:
        run: Folder of a complete run.
        shadows: Even number of shadow models for the likelihood ratio attack (Carlini et al. 2022), each a training
            like that of the run. The losses of each are kept, so that the same call again goes on.
        rows: Number of rows of train, and of others, at most.
        dataset: What the run was trained on, where its settings do not name it, as for rows from Python.
        trust: As for `load`.

    Returns:
        The figures of each attack, and what they mean.

    Raises:
        ConfigError: Rows of the task have no loss of their own, or a number is out of range.
        DataError: The rows of the run cannot be read any more, have changed, or are too few.
        ModelError: The folder holds no complete run, or an exported model.
        NotFoundError: There is no such folder.

    Example:
        >>> hfrecipes.audit("runs/quickstart").advantage.value  # doctest: +SKIP
        0.172
    """
    check_number(shadows)
    if not isinstance(rows, int) or rows < LEAST:
        raise ConfigError(f"rows: found {rows}, expected {LEAST} or more")
    folder, info = _run_in(os.fspath(run))
    config, _ = settings_of(folder, False, trust)
    config = config if dataset is None else replace(config, dataset=dataset)
    work = _Work(folder, info, config, load(folder, trust=trust), trust)
    with as_output_error(folder):
        result = work.carry_out(rows, shadows, dataset)
        write_json(result.path, result.as_json())
        put_on_card(folder)
    return result


def _run_in(name: str) -> tuple[Path, RunInfo]:
    """Folder of a complete run on this machine, and what is known of it.

    Raises:
        ModelError: It holds something else, or an exported model.
    """
    folder, is_foreign = find_run(name)
    if is_foreign:
        raise ModelError(f"{name} is on the Hub, without what tells its rows: audit the folder where it was trained")
    refuse_exported(folder, "audited")
    info = RunInfo.read(folder)
    if info is None or not info.data:
        raise ModelError(f"{folder} has no {contents.RUN} that knows the rows of a run: audit the folder of a run")
    if not contents.is_complete(folder):
        raise ModelError(f"{folder} has no {contents.METRICS}: run the command that started it again, to finish it")
    return folder, info


@dataclass(frozen=True)
class _Work:
    """A run to audit, loaded."""

    folder: Path
    info: RunInfo
    config: RunConfig
    predictor: Predictor
    trust: bool

    @property
    def seed(self) -> int:
        return int(self.config.training.get("seed", 42))

    def carry_out(self, most: int, shadows: int, dataset: Any) -> Audit:
        """All attacks."""
        recipe = self.predictor.recipe
        pool = self._pool(most, shadows)
        losses = np.concatenate([losses_of(self.predictor.inference, rows) for rows in (pool.members, pool.others)])
        known = np.isfinite(losses)
        units = pool.groups(recipe)
        rows = _audited(pool, known, units, self.seed)
        texts = texts_of(pool.members, recipe) + texts_of(pool.others, recipe)
        words = signal_of_texts(rows, list(itertools.compress(texts, known)))
        attacks = {LOSS: attack(rows, -losses[known])}
        if shadows:
            models = Shadows(self.folder, self.info, pool, units, self.seed, self.trust, dataset)
            of_shadows, is_in = models.losses(shadows)
            signal = ratios(confidences(losses[known]), confidences(of_shadows[:, known]), is_in[:, known])
            attacks[RATIO] = attack(rows, signal)
        members = int(rows.is_member.sum())
        return Audit(
            self.folder / contents.AUDIT,
            members,
            len(rows.is_member) - members,
            pool.split,
            pool.seen,
            attacks,
            area(rows, words),
            shadows,
            _spent(self.info),
            self._canaries(pool),
        )

    def _canaries(self, pool: Pool) -> list[Remembered]:
        """What is remembered of the secrets that were planted; nothing where none were."""
        planted = canaries.read(self.info.canaries)
        return remembered(self.predictor.inference, pool.members, planted, self.seed) if planted else []

    def _pool(self, most: int, shadows: int) -> Pool:
        """The rows to try attacks on."""
        log("the rows of the run are read again")
        data = read_again(self.config, self.predictor.recipe, self.info, str(self.folder))
        pool = pool_of(data, self.predictor.recipe, most, self.seed)
        if shadows and pool.split != "test":
            raise DataError(
                "shadows: found no test rows, expected some: shadow models are trained on half of them, and those of "
                "validation choose the checkpoint"
            )
        log(f"audit: {len(pool.members)} rows of train and as many of {pool.split}")
        return pool


def _spent(info: RunInfo) -> dict[str, float] | None:
    """Epsilon and delta of a private training; None for another one."""
    if info.privacy is None:
        return None
    return {name: float(info.privacy[name]) for name in ("epsilon", "delta")}


def _audited(pool: Pool, known: np.ndarray, units: np.ndarray, seed: int) -> Audited:
    """The rows that have a loss.

    Raises:
        DataError: They are too few.
    """
    is_member = np.arange(len(units)) < len(pool.members)
    kinds = [known & is_member, known & ~is_member]
    few = min(int(kind.sum()) for kind in kinds)
    if few < LEAST:
        raise DataError(
            f"found {counted(few, 'row')} with a loss among those of train or those never seen, expected {LEAST} or "
            "more of each: use more rows, or a larger max_length"
        )
    separate = min(len(np.unique(units[kind])) for kind in kinds)
    if separate < LEAST_UNITS:
        raise DataError(
            f"found {counted(separate, 'text')} among the rows of train or those never seen, expected {LEAST_UNITS} or "
            "more of each (rows that share a text count as one): use more rows"
        )
    return Audited(is_member[known], units[known], seed)
