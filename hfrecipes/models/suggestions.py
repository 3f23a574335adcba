"""Models to start from, for users who do not know one yet: three for each kind of task and language.

docs/settings.md shows the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

_SAMPLE = 200  # rows that tell the language
# A third of the words of English texts are among these, and few of any other language.
_ENGLISH = frozenset(
    ("the", "of", "and", "to", "is", "are", "was", "were", "with", "for", "that", "this", "it", "you", "not", "have")
)


@dataclass(frozen=True)
class Suggestion:
    """A model on the Hub, with what its card says."""

    name: str
    """Hub id."""
    language: str
    """`en`, `zh`, or `many`."""
    millions: int
    """Parameters, in millions."""
    license: str
    learning_rate: float
    """A usual one to fine-tune all weights with; with LoRA ten times as much is usual."""

    @property
    def size(self) -> str:
        """Number of parameters, such as 67M or 1.5B."""
        return f"{self.millions}M" if self.millions < 1000 else f"{self.millions / 1000:.1f}B"

    def __str__(self) -> str:
        return f"model={self.name} learning_rate={self.learning_rate:g} ({self.size} parameters, {self.license})"


_CLASSIFIERS = (
    Suggestion("distilbert/distilbert-base-uncased", "en", 67, "apache-2.0", 5e-5),
    Suggestion("answerdotai/ModernBERT-base", "en", 149, "apache-2.0", 5e-5),
    Suggestion("FacebookAI/roberta-base", "en", 125, "mit", 2e-5),
    Suggestion("google-bert/bert-base-chinese", "zh", 103, "apache-2.0", 3e-5),
    Suggestion("hfl/chinese-roberta-wwm-ext", "zh", 102, "apache-2.0", 3e-5),
    Suggestion("FacebookAI/xlm-roberta-base", "many", 278, "mit", 2e-5),
    Suggestion("distilbert/distilbert-base-multilingual-cased", "many", 135, "apache-2.0", 5e-5),
    Suggestion("google-bert/bert-base-multilingual-cased", "many", 178, "apache-2.0", 3e-5),
)
_WRITERS = (
    Suggestion("google-t5/t5-small", "en", 60, "apache-2.0", 3e-4),
    Suggestion("google/flan-t5-small", "en", 77, "apache-2.0", 3e-4),
    Suggestion("facebook/bart-base", "en", 139, "apache-2.0", 5e-5),
    Suggestion("google/mt5-small", "many", 300, "apache-2.0", 5e-4),
    Suggestion("google/mt5-base", "many", 580, "apache-2.0", 5e-4),
    Suggestion("facebook/mbart-large-50", "many", 611, "mit", 3e-5),
)
_TRANSLATORS = (
    Suggestion("google/mt5-small", "many", 300, "apache-2.0", 5e-4),
    Suggestion("facebook/m2m100_418M", "many", 418, "mit", 3e-5),
    Suggestion("facebook/mbart-large-50-many-to-many-mmt", "many", 611, "mit", 3e-5),
)
_CONTINUERS = (
    Suggestion("HuggingFaceTB/SmolLM2-135M", "en", 135, "apache-2.0", 5e-5),
    Suggestion("HuggingFaceTB/SmolLM2-360M", "en", 362, "apache-2.0", 5e-5),
    Suggestion("Qwen/Qwen2.5-0.5B", "many", 494, "apache-2.0", 2e-5),
    Suggestion("Qwen/Qwen3-0.6B-Base", "many", 596, "apache-2.0", 2e-5),
    Suggestion("Qwen/Qwen2.5-1.5B", "many", 1544, "apache-2.0", 2e-5),
)
_ASSISTANTS = (
    Suggestion("HuggingFaceTB/SmolLM2-135M-Instruct", "en", 135, "apache-2.0", 5e-5),
    Suggestion("HuggingFaceTB/SmolLM2-360M-Instruct", "en", 362, "apache-2.0", 5e-5),
    Suggestion("Qwen/Qwen2.5-0.5B-Instruct", "many", 494, "apache-2.0", 2e-5),
    Suggestion("Qwen/Qwen3-0.6B", "many", 596, "apache-2.0", 2e-5),
    Suggestion("Qwen/Qwen2.5-1.5B-Instruct", "many", 1544, "apache-2.0", 2e-5),
)
KINDS: Mapping[str, tuple[Suggestion, ...]] = {
    "classification, tags, answers in a text, fill-mask": _CLASSIFIERS,
    "summarization, text2text": _WRITERS,
    "translation": _TRANSLATORS,
    "text generation": _CONTINUERS,
    "chat": _ASSISTANTS,
}
"""Models by what they are for."""
_NAMES = {"en": "English", "zh": "Chinese", "many": "many languages"}
SHOWN = 3


def suggestions(task: str, auto_model: str, language: str) -> list[Suggestion]:
    """Three models for a task; those of many languages fill up where there are fewer for its own.

    Args:
        task: Name of the task.
        auto_model: Name of the class in transformers that loads its models.
        language: As `language_of` gives it.
    """
    if task == "translation" or task == "chat":
        models = KINDS[task]
    elif auto_model == "AutoModelForSeq2SeqLM":
        models = _WRITERS
    else:
        models = _CONTINUERS if auto_model == "AutoModelForCausalLM" else _CLASSIFIERS
    fitting = [model for model in models if model.language == language]
    fitting += [model for model in models if model.language == "many" and model not in fitting]
    return fitting[:SHOWN]


def sentence(task: str, auto_model: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """What to add to the settings where no model is given, for the language of the rows."""
    models = suggestions(task, auto_model, language_of(rows))
    lines = [f"\n- {model}" for model in models]
    return f"for {_NAMES[models[0].language]}, one of these is a start:{''.join(lines)}"


def language_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """`en` or `zh` if the texts of the first rows are in that language, else `many`.

    Example:
        >>> language_of([{"text": "Where is the key?"}]), language_of([{"text": "Wo ist der Schlüssel?"}])
        ('en', 'many')
        >>> language_of([{"text": "钥匙在哪里？"}]), language_of([{"text": "鍵はどこですか"}])
        ('zh', 'many')
    """
    chinese = japanese = letters = words = english = 0
    for text in _texts(list(islice(rows, _SAMPLE))):
        for word in text.lower().split():
            words += 1
            english += word.strip(".,;:!?\"'()") in _ENGLISH
        for character in text:
            letters += character.isalpha()
            chinese += "\u4e00" <= character <= "\u9fff"
            japanese += "\u3040" <= character <= "\u30ff"
    if chinese > letters / 2 and japanese < letters / 20:
        return "zh"
    return "en" if english > words / 10 else "many"


def _texts(value: Any) -> Iterator[str]:
    """All texts in rows, lists and blocks."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry)


def table() -> str:
    """The models as a table in Markdown."""
    lines = ["| for | model | language | parameters | license | learning rate |", "|---|---|---|---|---|---|"]
    for kind, models in KINDS.items():
        for model in models:
            rate = f"{model.learning_rate:g}"
            cells = (kind, f"`{model.name}`", _NAMES[model.language], model.size, model.license, rate)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
