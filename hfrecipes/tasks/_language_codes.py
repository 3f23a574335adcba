"""Language codes of models and of columns: which one of them a code or name means, in any usual spelling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError
from ..metrics._languages import language, parse

# Distances of langcodes: between languages, 0 for zh and cmn, 1 for no and nb, 8 for hr and bs, 20 for uk and ru.
SAME_LANGUAGE = 1
# Between languages as written, 0 for zh-CN and zho_Hans, 5 for pt-BR and pt-PT, 54 for zh-CN and zh-TW.
SIMILAR = 10
# Usual names of columns that look like codes.
_NO_CODES = ("id", "src", "tgt", "key")


def language_codes(tokenizer: Any) -> list[str]:
    """Codes of a model that needs those of source and target; empty for a model of one direction."""
    if not hasattr(tokenizer, "src_lang"):
        return []
    tokens = getattr(tokenizer, "lang_code_to_id", None) or tokenizer.all_special_tokens
    return sorted(str(token) for token in tokens if is_language_code(str(token)))


def is_language_code(name: str) -> bool:
    """Whether a name has the form of a code, whether or not such a language exists.

    Example:
        >>> [is_language_code(name) for name in ("en", "zh-CN", "de_DE", "eng_Latn", "id", "text")]
        [True, True, True, True, False, False]
    """
    return name not in _NO_CODES and re.fullmatch(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?", name) is not None


def matching_code(code: str | None, known: Sequence[str], *, any_script: bool = False) -> str | None:
    """The known code that means the same language as `code`, in whatever spelling; None where there is none.

    Args:
        code: Code or name of a language.
        known: Codes or names to choose from.
        any_script: Whether the language may be written in another script than `code` asks for, as zh_CN for zh-TW.

    Example:
        >>> matching_code("German", ["eng_Latn", "deu_Latn"])
        'deu_Latn'
    """
    if code is None or code in known:
        return code
    import langcodes

    requested = parse(code)
    if requested is None:
        return None
    candidates: dict[str, str] = {}
    for name in known:
        parsed = parse(name)
        if parsed is None or langcodes.tag_distance(requested.language, parsed.language) > SAME_LANGUAGE:
            continue
        if any_script or _same_script(requested, parsed):
            candidates.setdefault(parsed.to_tag(), name)
    nearest, _ = langcodes.closest_match(requested.to_tag(), list(candidates), max_distance=SIMILAR)
    if nearest in candidates:
        return candidates[nearest]
    # A single candidate is meant even where it is of a remote country or in another script.
    return next(iter(candidates.values())) if len(candidates) == 1 else None


def _same_script(requested: Any, other: Any) -> bool:
    """Whether both languages are written in one script; `requested` accepts any where it leaves the script open."""
    is_open = requested.script is None and requested.territory is None
    return is_open or requested.maximize().script == other.maximize().script


def code_of_model(option: str, code: str | None, known: Sequence[str]) -> str:
    """The code of the model for a language.

    Args:
        option: Name of the option, for the error.
        code: Code or name of the language.
        known: Codes of the model.

    Raises:
        ConfigError: The model has no code for it.
    """
    matching = matching_code(code, known)
    if matching is None:
        other = matching_code(code, known, any_script=True)
        edit = f", which it knows in another script only ({option}={other} takes that)" if other else ""
        raise ConfigError(f"{option}: the model needs a language code, found {code}{edit}; it has {_listed(known)}")
    return matching


def _listed(codes: Sequence[str]) -> str:
    """The codes of a model; languages with their scripts, such as zho_Hans, by script, or they would fill a page."""
    scripts: dict[str, list[str]] = {}
    for code in codes:
        language, _, script = code.partition("_")
        scripts.setdefault(script, []).append(language)
    if not all(len(script) == 4 for script in scripts):
        return ", ".join(codes)
    parts = []
    for script, languages in sorted(scripts.items()):
        parts.append(f"with _{script}: {', '.join(languages)}")
    return "; ".join(parts)


def check_language(side: str, code: str, texts: list[str]) -> list[str]:
    """What is odd about a language and its texts.

    Args:
        side: `source` or `target`.
        code: Code or name of its language.
        texts: Texts of that side.

    Raises:
        ConfigError: It is no known language, and the texts do not show which one it is.
    """
    from ..metrics._text import bleu_tokenizer, language_of

    shown = language_of(texts)
    if not language(code) and not shown:
        raise ConfigError(f"{side}_lang: {code} is not a known language: give its code, as {side}_lang=de for German")
    # BLEU must not split such texts at spaces, as it would by the code alone.
    if shown and bleu_tokenizer(code, []) == "13a":
        return [f"{side}_lang: {code}, but its texts look like {shown}, so BLEU splits them as {shown}"]
    return []


def use_codes(recipe: Any, codes: list[str]) -> list[str]:
    """Replace the languages of the options by codes of the model, and set them in its tokenizer; a sentence about it.

    Raises:
        ConfigError: There is no code for a language.
    """
    recipe.source_lang = code_of_model("source_lang", recipe.source_lang, codes)
    recipe.target_lang = code_of_model("target_lang", recipe.target_lang, codes)
    recipe.tokenizer.src_lang, recipe.tokenizer.tgt_lang = recipe.source_lang, recipe.target_lang
    return [f"language codes of the model: {recipe.source_lang} to {recipe.target_lang}"]
