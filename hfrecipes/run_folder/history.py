"""What was logged during a training, by step: history.json, without times, and complete after a resume too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError
from .contents import read_json
from .writing import write_json

if TYPE_CHECKING:
    import pandas as pd

HISTORY = "history.json"
FIRST = ("step", "epoch", "loss", "learning_rate", "eval_loss")  # columns, then the scores


@dataclass(frozen=True)
class History:
    """Losses, rates and scores of a training, and why it ended."""

    log: Sequence[Mapping[str, Any]]
    """A row for each step at which something was logged, under the names of the Trainer: `loss`, `eval_accuracy`."""
    best_step: int | None = None
    """Step whose weights are kept; None where no score chooses them."""
    best_epoch: float | None = None
    ending: str | None = None
    """Why training ended, and whose weights are kept."""

    def write(self, path: Path) -> None:
        """Write history.json into the folder of a run."""
        facts = {"best_step": self.best_step, "best_epoch": self.best_epoch, "ending": self.ending}
        write_json(path / HISTORY, {**facts, "log": self.log})

    def frame(self) -> pd.DataFrame:
        """A row for each step; `attrs` has `best_step`, `best_epoch` and `ending`."""
        import pandas as pd

        names: dict[str, None] = {}
        for row in self.log:
            names |= dict.fromkeys(row)
        columns = [name for name in FIRST if name in names]
        columns += sorted(names.keys() - set(FIRST))
        frame = pd.DataFrame(list(self.log), columns=columns)
        frame.attrs = {"best_step": self.best_step, "best_epoch": self.best_epoch, "ending": self.ending}
        return frame


def read_history(path: Path) -> History:
    """The history that a run has written.

    Raises:
        NotFoundError: The folder has none, as that of a model from the Hub.
        DamagedError: The file is not what a run wrote.
    """
    if not (path / HISTORY).exists():
        raise NotFoundError(
            f"{path} has no {HISTORY}, which is not pushed: give the folder where the model was trained"
        )
    content = read_json(path / HISTORY)
    log = content.get("log")
    rows = [row for row in log if isinstance(row, dict)] if isinstance(log, list) else []
    return History(rows, content.get("best_step"), content.get("best_epoch"), content.get("ending"))


def frame_of_runs(paths: Iterable[Path]) -> pd.DataFrame:
    """The histories of several runs below each other; the column `run` has the name of the folder."""
    import pandas as pd

    frames = []
    for path in paths:
        frame = read_history(path).frame()
        frame.insert(0, "run", path.name)
        frame.attrs = {}  # which differ between the runs
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
