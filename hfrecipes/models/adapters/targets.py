"""Whether each name, pattern and number that the user gave for adapters is about a layer of the model.

PEFT asks for one match among all names; a misspelt one beside it would be left out silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...errors import ConfigError, nearest
from ..loading import input_embeddings

_SHOWN = 10  # names in a sentence
_PREFIX = "base_model.model."  # in front of the model's own names, once adapters are added


def check_targets(adapted: Any, given: Mapping[str, Any]) -> None:
    """Refuse names and numbers that no layer has.

    Args:
        adapted: The model with its adapters.
        given: Keywords of the user.

    Raises:
        ConfigError: There are some.
    """
    layers, modules = _adapted_layers(adapted), _names(adapted.named_modules())
    problems: list[str] = []
    for key in ("target_modules", "exclude_modules"):
        known = layers if key == "target_modules" else modules
        problems += _unmatched(key, given.get(key), known, _ends_with)
    for key in ("rank_pattern", "alpha_pattern"):
        problems += _unmatched(key, given.get(key), layers, _matches_end)
    problems += _unmatched("target_parameters", given.get("target_parameters"), _parameters(adapted), _ends_with)
    problems += _unknown_numbers(given.get("layers_to_transform"), layers)
    if problems:
        raise ConfigError(problems)


def check_sizes(model: Any, given: Mapping[str, Any]) -> None:
    """Refuse ranks that are larger than every layer, and numbers that are those of no token.

    Args:
        model: The model without adapters.
        given: Keywords of the user.

    Raises:
        ConfigError: There are some.
    """
    widest = max((min(weights.shape) for weights in model.parameters() if weights.ndim > 1), default=0)
    ranks = {"r": given.get("r"), **(given.get("rank_pattern") or {})}
    problems = []
    for name, rank in ranks.items():
        if isinstance(rank, int) and rank > widest:
            key = "r" if name == "r" else f"rank_pattern.{name}"
            problems.append(f"lora.{key}: found {rank}, expected {widest} at most, the size of the largest layer")
    table = input_embeddings(model)
    rows = 0 if table is None else table.weight.shape[0]
    for number in _flat(given.get("trainable_token_indices")):
        if isinstance(number, int) and not 0 <= number < rows:
            problems.append(f"lora.trainable_token_indices: found {number}, expected the numbers 0 to {rows - 1}")
    if problems:
        raise ConfigError(problems)


def _adapted_layers(adapted: Any) -> list[str]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return _names((name, layer) for name, layer in adapted.named_modules() if isinstance(layer, BaseTunerLayer))


def _names(modules: Iterable[tuple[str, Any]]) -> list[str]:
    return [name.removeprefix(_PREFIX) for name, _ in modules if name]


def _parameters(adapted: Any) -> list[str]:
    """Names of the weights as they were before an adapter was put around them."""
    names = []
    for name, _ in adapted.named_parameters():
        names.append(name.removeprefix(_PREFIX).replace(".base_layer", ""))
    return names


def _unmatched(key: str, given: Any, known: list[str], matches: Callable[[str, str], bool]) -> Iterator[str]:
    """A sentence for each entry that is about none of the known names."""
    # The keys of a block are patterns; a text alone is a regular expression for whole names.
    if isinstance(given, str):
        if given != "all-linear" and not any(re.fullmatch(given, name) for name in known):
            yield _sentence(key, given, known)
        return
    for entry in given or ():
        if not any(matches(str(entry), name) for name in known):
            yield _sentence(key, str(entry), known)


def _sentence(key: str, entry: str, known: list[str]) -> str:
    last_names = sorted({name.rpartition(".")[2] for name in known} - set(map(str, range(1000))))
    shown = ", ".join(last_names[:_SHOWN]) + (", …" if len(last_names) > _SHOWN else "")
    what = "adapted layer" if key not in ("exclude_modules", "target_parameters") else "layer of this model"
    return f"lora.{key}: no {what} is called {entry}{nearest(entry, last_names)}; there are {shown}"


def _ends_with(entry: str, name: str) -> bool:
    """Whether PEFT takes an entry of a list for this name."""
    return name == entry or name.endswith(f".{entry}")


def _matches_end(pattern: str, name: str) -> bool:
    """Whether PEFT takes the key of a block for this name."""
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


def _unknown_numbers(given: Any, layers: list[str]) -> Iterator[str]:
    """A sentence on each number of `layers_to_transform` that no adapted layer has."""
    known = set()
    for name in layers:
        known.update(int(part) for part in name.split(".") if part.isdigit())
    for number in _flat(given):
        if number not in known:
            shown = ", ".join(map(str, sorted(known)[:_SHOWN])) or "none"
            yield f"lora.layers_to_transform: no adapted layer has the number {number}; there are {shown}"


def _flat(given: Any) -> list[Any]:
    """The numbers of a setting that takes one, a list, or lists by name."""
    if isinstance(given, Mapping):
        flat: list[Any] = []
        for entry in given.values():
            flat += _flat(entry)
        return flat
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]
