"""Settings, versions, machine, time and energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.yaml12 import format_value
from ..page import Block, Section, Table
from ..run_data import RunData


def section(run: RunData) -> Section | None:
    """A table of what the run was, and one of its settings as others may see them."""
    facts = _facts(run)
    blocks: list[Block] = [Table(["fact", "value"], facts)] if facts else []
    settings = [[name, _shown(value)] for name, value in _flat(run.info.shared) if value not in (None, {}, [])]
    if settings:
        blocks.append(Table(["setting", "value"], settings, "Settings"))
    return Section("Settings and machine", blocks) if blocks else None


def _facts(run: RunData) -> list[list[str]]:
    info, facts = run.info, []
    if info.steps:
        facts.append(["steps", f"{info.steps:,}"])
    if info.seconds:
        facts.append(["time, with evaluation", f"{info.seconds:.0f} s"])
    if info.machine:
        facts.append(["machine", info.machine])
    if info.parameters:
        total, trained = info.parameters.get("total", 0), info.parameters.get("trained", 0)
        facts.append(["parameters", f"{total:,}, {trained:,} of them trained"])
    if info.energy:
        facts.append(["energy", f"{info.energy.get('kwh')} kWh, {info.energy.get('co2eq_kg')} kg CO2eq (codecarbon)"])
    versions = {"hfrecipes": info.hfrecipes, **info.versions}
    return [*facts, *([name, version] for name, version in versions.items() if version)]


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Settings by their names on the command line, blocks taken apart."""
    flat: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat += _flat(value, f"{before}{name}.")
        else:
            flat.append((f"{before}{name}", value))
    return flat


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else format_value(value)
