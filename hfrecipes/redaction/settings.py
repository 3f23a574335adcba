"""What `redact` asks for: kinds that patterns recognise, and names that another run recognises."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..errors import ConfigError, nearest, require_packages
from .kinds import KINDS, REGIONS

_KEYS = ("kinds", "regions", "model", "labels")
# Modules with the numbering plans and check digits that confirm what a pattern matches.
_PACKAGES = ("phonenumbers", "stdnum")


@dataclass(frozen=True)
class RedactSettings:
    """What is replaced in texts."""

    kinds: tuple[str, ...] = ()
    """Kinds that patterns recognise, such as email and phone."""
    regions: tuple[str, ...] = REGIONS
    """Countries, by ISO 3166, whose phone numbers are read without a country code."""
    model: str | None = None
    """Folder of a finished run of token classification, which recognises names."""
    labels: tuple[str, ...] = ()
    """Its types of entities that are replaced."""

    @classmethod
    def of(cls, redact: Sequence[str] | Mapping[str, Any] | None) -> RedactSettings | None:
        """The settings as the user writes them; None for none.

        Raises:
            ConfigError: With everything that is wrong.
            MissingPackageError: The packages of patterns are not installed.

        Example:
            >>> RedactSettings.of(["email"]).kinds
            ('email',)
        """
        if redact is None:
            return None
        given: dict[str, Any] = dict(redact) if isinstance(redact, Mapping) else {"kinds": redact}
        given = {key: value for key, value in given.items() if value is not None}
        wrong = _problems(given)
        if wrong:
            raise ConfigError(wrong)
        lists = {key: tuple(given[key]) for key in ("kinds", "regions", "labels") if key in given}
        settings = cls(**lists, model=given.get("model"))
        if settings.kinds:
            require_packages("redact", *_PACKAGES)
        return settings


def pattern_versions() -> list[str]:
    """Versions of the packages that confirm what patterns match, as far as they are installed."""
    versions = []
    for name in ("phonenumbers", "python-stdnum"):
        with contextlib.suppress(PackageNotFoundError):
            versions.append(version(name))
    return versions


def _problems(given: Mapping[str, Any]) -> list[str]:
    """Sentences on unknown keys and values."""
    sentences = []
    for key in given:
        if key not in _KEYS:
            hint = nearest(key, _KEYS) or f"; it takes {', '.join(_KEYS)}"
            sentences.append(f"unknown setting redact.{key}{hint}")
    for key in ("kinds", "regions", "labels"):
        value = given.get(key, [])
        if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
            sentences.append(f"redact.{key}: found {value!r}, expected a list of texts")
    if sentences:
        return sentences
    for kind in given.get("kinds", ()):
        if kind not in KINDS:
            sentences.append(f"redact: unknown kind {kind}{nearest(kind, KINDS)}; there are {', '.join(KINDS)}")
    for region in given.get("regions", ()):
        if len(region) != 2 or not region.isupper():
            sentences.append(f"redact.regions: found {region}, expected two letters such as GB")
    if ("model" in given) != bool(given.get("labels")):
        sentences.append(
            'redact: redact.model and redact.labels belong together: redact.model=runs/ner redact.labels="[PER]"'
        )
    if not given.get("kinds") and "model" not in given:
        sentences.append('redact: found nothing to replace, expected kinds such as redact="[email, phone]"')
    return sentences
