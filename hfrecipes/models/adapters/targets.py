"""Check that each name, pattern and number that the user gave for adapters matches a layer of the model.

PEFT requires only one of the names to match; a misspelt one among them would be ignored silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ...errors import ConfigError, nearest
from ..loading import input_embeddings

_SHOWN = 10  # names in a sentence


class Names(NamedTuple):
    """Full names in a model before adapters are added, which put modules of their own beside its layers."""

    modules: list[str]
    linear: list[str]
    parameters: list[str]

    @classmethod
    def of(cls, model: Any) -> Names:
        """The names of a model without adapters."""
        import torch

        modules = [name for name, _ in model.named_modules() if name]
        linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        return cls(modules, linear, [name for name, _ in model.named_parameters()])


def check_targets(adapted: Any, given: Mapping[str, Any], names: Names) -> None:
    """Refuse names and numbers that no layer has.

    Args:
        adapted: The model with its adapters.
        given: Keywords of the user.
        names: Those of the model without them.

    Raises:
        ConfigError: There are some.
    """
    layers = _adapted_layers(adapted)
    problems: list[str] = []
    problems += _unmatched("target_modules", given, layers, names.linear, _ends_with)
    problems += _unmatched("exclude_modules", given, names.modules, names.linear, _ends_with)
    problems += _unmatched("target_parameters", given, names.parameters, names.parameters, _ends_with)
    for key in ("rank_pattern", "alpha_pattern"):
        problems += _unmatched(key, given, layers, layers, _matches_end)
    problems += _unknown_numbers(given.get("layers_to_transform"), layers)
    if problems:
        raise ConfigError(problems)


def check_sizes(model: Any, given: Mapping[str, Any]) -> None:
    """Refuse ranks that are larger than every layer, and token numbers that do not exist.

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
    """Full names of the layers with adapters, as they were in the model without them."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    names = []
    for name, module in adapted.named_modules():
        if isinstance(module, BaseTunerLayer):
            names.append(name.removeprefix("base_model.model."))
    return names


def _unmatched(
    key: str, given: Mapping[str, Any], known: list[str], shown: list[str], matches: Callable[[str, str], bool]
) -> Iterator[str]:
    """A sentence for each entry of a keyword that matches none of the known names."""
    entries = given.get(key) or ()
    if isinstance(entries, str):
        # A text alone is a regular expression for whole names.
        is_known = entries == "all-linear" or any(re.fullmatch(entries, name) for name in known)
        entries = () if is_known else (entries,)
    else:
        unknown = []
        for entry in entries:
            if not any(matches(str(entry), name) for name in known):
                unknown.append(entry)
        entries = unknown
    last_names = sorted({name.rpartition(".")[2] for name in shown})
    some = ", ".join(last_names[:_SHOWN]) + (", …" if len(last_names) > _SHOWN else "")
    for entry in entries:
        yield f"lora.{key}: no layer is called {entry}{nearest(entry, last_names)}; there are {some}"


def _ends_with(entry: str, name: str) -> bool:
    """Whether PEFT takes an entry of a list for this name."""
    return name == entry or name.endswith(f".{entry}")


def _matches_end(pattern: str, name: str) -> bool:
    """Whether PEFT takes the key of a block for this name."""
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


def _unknown_numbers(given: Any, layers: list[str]) -> Iterator[str]:
    """A sentence on each number of `layers_to_transform` that no adapted layer has."""
    known: set[int] = set()
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
