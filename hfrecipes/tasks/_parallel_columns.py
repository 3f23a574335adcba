"""Columns of parallel texts: which one is the source and which one the target, by their names or languages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ..errors import ConfigError
from ..metrics._languages import is_name, language
from ..recipe import Batch
from ._language_codes import is_language_code, matching_code


def normalizer(recipe: Any, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
    """Function that makes source and target of texts by language; None where the columns are named so already.

    Args:
        recipe: The task; its `source_lang` and `target_lang` are filled in if they are inferred.
        columns: Columns of the rows, with their types of `datasets`.

    Raises:
        ConfigError: The data does not have the languages of the options, or has too many to guess.
    """
    # Either one column of dicts with a text for each language, or one column for each language.
    nested = columns.get("translation")
    inside: dict[str, Any] = nested if isinstance(nested, dict) else {}
    named, named_inside = _source_and_target(recipe, columns), _source_and_target(recipe, inside)
    if all(named_inside) and not all(named):
        return partial(_by_language, source=named_inside[0], target=named_inside[1], nested=True)
    options = (recipe.source_lang, recipe.target_lang)
    keys = list(inside) or _language_columns(columns, options)
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
    return partial(_by_language, source=source, target=target, nested=bool(inside))


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


def _language_columns(names: Iterable[str], options: tuple[str | None, str | None]) -> list[str]:
    """The names that are codes or English names of languages."""
    languages = []
    for name in names:
        # `id` is Indonesian only where an option asks for it.
        if is_language_code(name) or is_name(name) or name in options:
            languages.append(name)
    return languages


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


def _by_language(batch: Batch, source: str | None, target: str | None, nested: bool) -> Batch:
    """Source and target from columns that are named like languages, or from keys of a column of dicts."""
    texts, columns = batch, dict(batch)
    if nested:
        texts = {}
        for key in (source, target):
            if key:
                texts[key] = [(cell or {}).get(key) for cell in batch["translation"]]
    for name in (source, target, "translation"):
        if name is not None:
            columns.pop(name, None)
    if source is not None:
        columns["source"] = texts[source]
    # Rows to predict may have the source alone.
    if target is not None and target in texts:
        columns["target"] = texts[target]
    return columns
