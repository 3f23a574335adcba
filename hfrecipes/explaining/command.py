"""What the command line shows of explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..characters import visible_line
from ..errors import require_packages
from ..output import json_line, say
from ..saved.run import find_run, settings_of
from .contract import explainable
from .explanation import AGAINST, FOR, Attribution, Explanation, described, opacity

if TYPE_CHECKING:
    from rich.text import Text


def check_task(path: str, trust: bool) -> None:
    """Refuse a run whose predictions cannot be explained, before its model is loaded.

    Raises:
        ConfigError: The task has no explanations.
        MissingPackageError: Captum is not installed.
    """
    _, recipe = settings_of(*find_run(path), trust)
    explainable(recipe)
    require_packages("explanations", "captum")


def print_explanation(explanation: Explanation | None) -> None:
    """Print a prediction, and the words with their attributions: coloured in a terminal, else one a line."""
    from rich.console import Console

    if explanation is None:
        say("null")
        return
    console = Console()
    say(json_line(explanation.prediction))
    for target in explanation.targets:
        say(f"\n{described(target)}")
        if console.is_terminal:
            for line in _coloured(explanation, target):
                console.print(line)
        else:
            _print_values(explanation, target)
    for note in explanation.notes:
        say(note)


def _coloured(explanation: Explanation, target: Attribution) -> list[Text]:
    """The text of each column, blue where a word speaks for the target, orange where against it."""
    from rich.text import Text

    lines: dict[str, Text] = {}
    for column, text, value in explanation.pieces(target):
        line = lines.setdefault(column, Text("" if len(explanation.texts) == 1 else f"{column}: "))
        style = "" if value is None else _style(value, target)
        line.append(visible_line(text), style)
    return list(lines.values())


def _style(value: float, target: Attribution) -> str:
    """Black on a colour between white and blue or orange; weak words stay as they are."""
    strength = opacity(value, target)
    if strength < 0.1:
        return ""
    shades = [round(255 + (shade - 255) * strength) for shade in (FOR if value > 0 else AGAINST)]
    return f"black on rgb({','.join(map(str, shades))})"


def _print_values(explanation: Explanation, target: Attribution) -> None:
    for word, value in zip(explanation.words, target.values, strict=True):
        say(f"{value:+8.3f}  {visible_line(word.text)}")
