"""Columns of parallel texts: which one is the source and which one the target, by their names or languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.shapes import texts as text_shapes
from ..data.shapes.cells import Change, in_order
from ..errors import ConfigError, DataError
from ..log import log
from ..metrics._languages import is_name, language
from ..recipe import Batch
from ._language_codes import is_language_code, matching_code

_NESTED = ("translation", "translations")  # columns of dicts with a text for each language
# Words beside the code of a language in the name of a column, as in text_en and de-sentence.
_WORD = "(?:texts?|sentences?|sent|source|target|src|tgt)"
_NUMBERED = re.compile(r"([^\W\d_]+)[ ._-]?\d")
_AROUND = re.compile(rf"^{_WORD}[_ -]|[_ -]{_WORD}$")


@dataclass(frozen=True)
class ByLanguage:
    """Function of a batch: source and target from columns named like languages, or from keys of a column of dicts."""

    source: str | None
    """Key of the source in the data; None where the data has none."""
    target: str | None
    """Key of the target."""
    nested: str | None
    """Column of dicts that the texts are in; None for a column per language."""
    further: Sequence[str] = ()
    """Keys of further references, as de1 and de2 beside de0."""

    def __call__(self, batch: Batch) -> Batch:
        """The batch with source and target; rows to predict may have the source alone."""
        texts = batch
        if self.nested:
            texts = {}
            for key in filter(None, (self.source, self.target, *self.further)):
                texts[key] = [(cell or {}).get(key) for cell in batch[self.nested]]
        return self.renamed(batch, texts)

    def renamed(self, columns: Mapping[str, Any], texts: Mapping[str, Any]) -> dict[str, Any]:
        """What stands under the names of the data under those of the task, whether cells or types.

        Args:
            columns: Of all columns.
            texts: Of the languages.
        """
        used = (self.source, self.target, self.nested, *self.further)
        others = {name: column for name, column in columns.items() if name not in used}
        numbered = [(f"target{number}", key) for number, key in enumerate(self.further, 1)]
        for name, key in (("source", self.source), ("target", self.target), *numbered):
            if key is not None and key in texts:
                others[name] = texts[key]
        return others


def normalizer(recipe: Any, columns: Mapping[str, Any]) -> Change | None:
    """Function that makes source and target of texts by language or of lists; None where they are texts already.

    Args:
        recipe: The task; its `source_lang` and `target_lang` are filled in if they are inferred.
        columns: Columns of the rows, with their types of `datasets`.

    Raises:
        ConfigError: The data does not have the languages of the options, or has too many to guess.
        DataError: The sources are lists.
    """
    by_language = _by_language(recipe, columns)
    if by_language is not None:
        columns = by_language.renamed(columns, columns[by_language.nested] if by_language.nested else columns)
        if text_shapes.holds_more_than_text(columns.get("source")):
            raise DataError(
                f"{by_language.source} holds lists or objects, expected a text to translate in each row: give each "
                "text of a list a row of its own"
            )
    target = ["target", *recipe.columns["target"].names]
    # Lists of sources are refused by the checks: they would be translated one by one.
    others = {name: kind for name, kind in columns.items() if name != "source"}
    return in_order(by_language, text_shapes.column_normalizer(others, ["source"], target))


def _by_language(recipe: Any, columns: Mapping[str, Any]) -> ByLanguage | None:
    """What reads texts by language; None where the columns are named source and target already."""
    # Either one column of dicts with a text for each language, or one column for each language.
    nested = next((name for name in _NESTED if isinstance(columns.get(name), dict)), None)
    inside: dict[str, Any] = columns[nested] if nested else {}
    named, named_inside = _source_and_target(recipe, columns), _source_and_target(recipe, inside)
    if all(named_inside) and not all(named):
        return ByLanguage(named_inside[0], named_inside[1], nested)
    options = (recipe.source_lang, recipe.target_lang)
    # Column of each language; in a column of dicts, the keys are the languages.
    several = _numbered_languages(inside or columns, options)
    numbered = {name for names in several.values() for name in names}
    column_of = {key: key for key in inside} or _language_columns(columns, options)
    column_of = {key: name for key, name in column_of.items() if name not in numbered}
    column_of |= {key: names[0] for key, names in several.items()}
    keys = list(column_of)
    chosen: dict[str, str | None] = {}
    for name, code in zip(("source_lang", "target_lang"), options, strict=True):
        chosen[name] = matching_code(code, keys, any_script=True)
    asked_for = any(chosen.values())
    if len(keys) > 2 and not asked_for and not any(named):
        raise ConfigError(f"found the languages {', '.join(keys)}: choose two, source_lang=… target_lang=…")
    # A single column that looks like a language by chance does not make a translation.
    if all(named) or not keys or not (inside or asked_for or len(keys) == 2):
        return None
    source, target = _direction(recipe, keys, chosen)
    further = several.get(target or "", ())[1:]
    if source in several:
        log(
            f"{', '.join(several[source])}: several texts per row to translate, only {several[source][0]} is used; "
            f"target_lang={source} takes them as references"
        )
    return ByLanguage(column_of.get(source or ""), column_of.get(target or ""), nested, further=further)


def _source_and_target(recipe: Any, names: Iterable[str]) -> list[str | None]:
    """The names that mean source and target whatever the language; None for those that are missing."""
    by_lowercase: dict[str, str] = {}
    for name in names:
        by_lowercase[name.strip().lower()] = name
    named: list[str | None] = []
    for column in ("source", "target"):
        named.append(None)
        for usual in (column, *recipe.columns[column].names):
            if usual in by_lowercase:
                named[-1] = by_lowercase[usual]
                break
    return named


def _language_columns(names: Iterable[str], options: tuple[str | None, str | None]) -> dict[str, str]:
    """Language -> the column that is named like it: by a code, an English name, or a code beside a word, as text_en."""
    columns = {}
    for name in names:
        inner = _AROUND.sub("", name.strip().lower())
        # `id` is Indonesian only where an option asks for it.
        if name in options:
            columns[name] = name
        elif inner != name and is_language_code(inner) and language(inner):
            columns[inner] = name
        elif is_language_code(name) or is_name(name):
            columns[name] = name
    return columns


def _numbered_languages(names: Iterable[str], options: tuple[str | None, str | None]) -> dict[str, list[str]]:
    """Language -> the columns with a number after it, as de0 and de1, which hold several translations of a text."""
    columns: dict[str, list[str]] = {}
    for name in sorted(names):
        match = _NUMBERED.fullmatch(name.strip())
        # Three letters before a number are hardly ever a language.
        if match and (match[1] in options or is_name(match[1]) or (len(match[1]) == 2 and is_language_code(match[1]))):
            columns.setdefault(match[1], []).append(name)
    return {key: several for key, several in columns.items() if len(several) > 1 and language(key)}


def _direction(recipe: Any, keys: list[str], chosen: dict[str, str | None]) -> tuple[str | None, str | None]:
    """Keys of source and target in the data.

    Args:
        recipe: The task; its `source_lang` and `target_lang` are filled in if they are inferred.
        keys: Languages, as they are written in the data.
        chosen: Option -> its key in the data, None where the option is not given or the data has no such key.

    Raises:
        ConfigError: The data does not have the languages of the options.
    """
    unknown = [key for key in keys if not language(key) and key not in chosen.values()]
    for name, key in chosen.items():
        code = getattr(recipe, name)
        if code is None or key is not None or len(keys) == 1:
            continue
        if not unknown or len(keys) > 2:
            raise ConfigError(f"{name}: no {code} in the data, which has {', '.join(keys)}")
        chosen[name] = unknown.pop(0)  # of two keys, one that is no known language must be that of the option
    source, target = chosen.values()
    if source is not None and source == target:
        raise ConfigError(f"source_lang and target_lang are both {source}, expected two of {', '.join(keys)}")
    # What the options leave open is guessed: the first language is the source.
    left = [key for key in keys if key not in (source, target)]
    if source is None and left:
        source = left.pop(0)
    if target is None and left:
        target = left.pop(0)
    recipe.source_lang = recipe.source_lang or source
    recipe.target_lang = recipe.target_lang or target
    return source, target
