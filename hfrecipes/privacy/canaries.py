"""Random secrets that are planted in train, so that an audit can tell how well the model remembers them.

Canaries, after Carlini et al. (2019), "The Secret Sharer". They are rows of train for the Trainer alone: scores,
predictions, fingerprints and reports are of the rows of the user.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.features import OVER, encode, rows_with
from ..errors import ConfigError, counted
from ..recipe import Recipe, Row, Writer

if TYPE_CHECKING:
    from datasets import Dataset

    from ..config.run_config import RunConfig

TASKS = ("text-generation", "chat", "summarization", "translation", "text2text-generation")
TIMES = (1, 4, 16)  # rows that a secret stands in
LEAST, MOST = 9, 300  # canaries
NUMBERS = 1_000_000  # that a secret may be
_STREAM = 22  # that no other draw with the seed of a run has
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Canary:
    """A secret, what stands before it, and in how many rows of train both stand.

    Example:
        >>> Canary("The code of Bakimo is", "493 201", rows=4).code
        '493 201'
    """

    prefix: str
    code: str
    rows: int


def drawn(number: int, seed: int) -> list[Canary]:
    """Canaries of a run, the same each time it is started; as many for each number of rows, the fewest rows first.

    Args:
        number: How many secrets.
        seed: Seed of the run.

    Example:
        >>> [canary.rows for canary in drawn(9, seed=42)]
        [1, 1, 1, 4, 4, 4, 16, 16, 16]
    """
    generator = np.random.default_rng([seed, _STREAM])
    prefixes, secrets = new_prefixes(number, generator), new_secrets(number, generator)
    rows = sorted(TIMES[index % len(TIMES)] for index in range(number))
    return [Canary(*parts) for parts in zip(prefixes, secrets, rows, strict=True)]


def new_prefixes(number: int, generator: np.random.Generator, others: Collection[str] = ()) -> list[str]:
    """So many different beginnings, each with an invented name, none of them among the others."""
    prefixes: list[str] = []
    while len(prefixes) < number:
        prefix = f"The code of {''.join(generator.choice(_SYLLABLES, 3)).capitalize()} is"
        if prefix not in others and prefix not in prefixes:
            prefixes.append(prefix)
    return prefixes


def new_secrets(number: int, generator: np.random.Generator) -> list[str]:
    """So many different numbers of six digits."""
    numbers = generator.choice(NUMBERS, number, replace=False).tolist()
    return [f"{value // 1000:03d} {value % 1000:03d}" for value in numbers]


def as_json(canaries: Sequence[Canary]) -> list[dict[str, Any]]:
    """What run.json holds."""
    return [asdict(canary) for canary in canaries]


def read(entries: Sequence[Mapping[str, Any]]) -> list[Canary]:
    """The canaries that run.json holds."""
    return [Canary(**entry) for entry in entries]


# --- rows --------------------------------------------------------------------------------------------------------


def of_run(config: RunConfig) -> list[Canary]:
    """The secrets to plant, the same after a resume; none where the settings ask for none."""
    return drawn(config.canaries, config.training["seed"]) if config.canaries else []


def with_canaries(
    config: RunConfig, recipe: Recipe, train: Dataset, encoded: Mapping[str, Dataset]
) -> Mapping[str, Dataset]:
    """The features with secrets among those of train, which are for the Trainer alone.

    They are planted as late as this, in whole rows: no part of the data is drawn, redacted, checked or scored with
    them, and where features hold several rows, a secret stands among texts of the data as any text does.

    Args:
        config: All settings, resolved.
        recipe: The task, with its tokenizer.
        train: Rows of train.
        encoded: Features of each split.

    Raises:
        ConfigError: A secret does not fit into the rows of this task and model.
    """
    canaries = of_run(config)
    if not canaries:
        return encoded
    rows = planted(train, recipe, canaries, config.training["seed"])
    return {**encoded, "train": encode(recipe, rows, training=True)}


def planted(train: Dataset, recipe: Recipe, canaries: Sequence[Canary], seed: int) -> Dataset:
    """Rows of train with those of the canaries among them, at places drawn with the seed; other rows keep their order.

    Args:
        train: Rows under the column names of the task.
        recipe: The task, with its tokenizer.
        canaries: What is planted.
        seed: Seed of the run.

    Raises:
        ConfigError: A canary does not fit into the rows of this task and model.
    """
    from datasets import concatenate_datasets

    writer = writer_of(recipe)
    _check_fit(rows_like(train, [writer.canary(canary.prefix, canary.code) for canary in canaries]), recipe)
    rows = []
    for canary in canaries:
        rows += [writer.canary(canary.prefix, canary.code)] * canary.rows
    generator = np.random.default_rng([seed, _STREAM, len(rows)])
    total = len(train) + len(rows)
    order = np.empty(total, dtype=np.int64)
    is_canary = np.isin(np.arange(total), generator.choice(total, len(rows), replace=False))
    order[~is_canary] = np.arange(len(train))
    order[is_canary] = len(train) + generator.permutation(len(rows))
    return concatenate_datasets([train, rows_like(train, rows)]).select(order)


def writer_of(recipe: Recipe) -> Writer:
    """What writes the texts of a task, where it knows rows with a secret.

    Raises:
        ConfigError: It does not.
    """
    writer = recipe.writer
    if writer is None or type(writer).canary is Writer.canary:
        raise ConfigError(
            f"privacy.canaries: leave it out, the writer of {recipe.task} does not define canary, which makes a row "
            "with a secret"
        )
    return writer


def rows_like(rows: Dataset, made: Sequence[Row]) -> Dataset:
    """Rows that were made here, with the columns and types of others; what they do not have is None."""
    from datasets import Dataset

    cells: dict[str, list[Any]] = {}
    for name in rows.column_names:
        cells[name] = [row.get(name) for row in made]
    # Named by its content, as `datasets` does: features of the same canaries are found in the cache again.
    return Dataset.from_dict(cells, features=rows.features)


def _check_fit(rows: Dataset, recipe: Recipe) -> None:
    """Refuse rows that this model would see in part, or after whose beginning it could not write the secret.

    Raises:
        ConfigError: There are such rows.
    """
    features = encode(recipe, rows)
    longest = max(features["length"][:], default=0)
    # A prompt may leave half of the tokens to what is written after it.
    if 2 * longest > recipe.max_length:
        raise ConfigError(
            f"privacy.canaries: found max_length={recipe.max_length}, expected {2 * longest} or more: a row with a "
            f"secret has {longest} tokens"
        )
    for name in features.column_names:
        if name.startswith(OVER) and rows_with(features, name):
            option = name.removeprefix(OVER)
            raise ConfigError(
                f"privacy.canaries: found {option}={getattr(recipe, option)}, which truncates rows with a secret: "
                f"increase {option}"
            )


# --- in words ----------------------------------------------------------------------------------------------------


def sentences(canaries: Sequence[Canary], rows: int) -> list[str]:
    """What was planted, for the log and the card; nothing for no canaries.

    Args:
        canaries: What was planted.
        rows: Number of rows of train without them.
    """
    if not canaries:
        return []
    number = sum(canary.rows for canary in canaries)
    shares = []
    for times in TIMES:
        shares.append(f"{sum(canary.rows == times for canary in canaries)} in {counted(times, 'row')} each")
    return [
        f"canaries: {len(canaries)} random secrets are planted in train, {', '.join(shares)}: {number} rows beside the "
        f"{rows} of the data ({100 * number / (rows + number):.0f} % of what is trained on); no score and no report "
        "has them, and the model may write them"
    ]
