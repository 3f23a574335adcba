"""Names in texts, recognised by a finished run of token classification."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, HFRecipesError, NotFoundError, nearest
from .redactor import Edit, FindNames
from .settings import RedactSettings

Load = Callable[[Path], Any]
TASK = "token-classification"


class NameFinder:
    """Finds entities with a loaded run.

    Args:
        predictor: The run.
        labels: Types of entities that are names.
        identity: What tells this run from another one, for caches.
    """

    def __init__(self, predictor: Any, labels: Sequence[str], identity: str) -> None:
        self.predictor, self.labels, self.identity = predictor, set(labels), identity

    def __call__(self, texts: Sequence[str]) -> list[list[Edit]]:
        """The names in each text, with their characters in it."""
        edits = []
        for prediction in self.predictor.predict(list(texts)) if texts else []:
            entities = [] if prediction is None else prediction["entities"]
            in_text = [entity for entity in entities if entity["label"] in self.labels]
            edits.append([Edit(entity["start"], entity["end"], entity["label"]) for entity in in_text])
        return edits


def name_finder(redact: Any, load: Load) -> FindNames | None:
    """What finds the names that `redact` asks for; None where it asks for none.

    Args:
        redact: The option.
        load: Loads a run from its folder.

    Raises:
        NotFoundError: There is no such folder.
        ConfigError: It is no finished run of token classification, or does not have these labels.
    """
    settings = RedactSettings.of(redact)
    if settings is None or settings.model is None:
        return None
    folder = Path(settings.model).expanduser()
    if not folder.is_dir():
        raise NotFoundError(
            f"redact.model: there is no folder {folder}, expected that of a finished run of {TASK} on this machine, "
            "which predictions need too"
        )
    manifest = folder / "manifest.json"
    written = manifest.stat().st_mtime_ns if manifest.exists() else 0
    return _loaded(folder.absolute(), settings.labels, written, load)


@functools.lru_cache(maxsize=2)
def _loaded(folder: Path, labels: tuple[str, ...], written: int, load: Load) -> NameFinder:
    """The finder of a run, loaded once for all parts of a run, and again where its model was written since."""
    try:
        predictor = load(folder)
    except HFRecipesError as error:
        raise ConfigError(f"redact.model: {error}") from error
    recipe = predictor.recipe
    if recipe.task != TASK:
        raise ConfigError(f"redact.model: {folder} is a run of {recipe.task}, expected one of {TASK}")
    for label in labels:
        if label not in recipe.entity_types:
            known = recipe.entity_types
            raise ConfigError(
                f"redact.labels: {folder} has no {label}{nearest(label, known)}; it has {', '.join(known)}"
            )
    return NameFinder(predictor, labels, str((folder, labels, written)))
