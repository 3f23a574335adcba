"""Outputs of a model with further fields beside those that transformers knows."""

from __future__ import annotations

from dataclasses import make_dataclass
from functools import cache
from typing import Any


@cache
def with_fields(kind: type, names: tuple[str, ...]) -> type:
    """Outputs of a model with these fields too, which several processes take apart and build again by their names."""
    return make_dataclass(kind.__name__, [(name, Any, None) for name in names], bases=(kind,))
