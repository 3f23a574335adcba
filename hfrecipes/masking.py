"""Secrets, replaced by `***` wherever settings are written down and sentences are printed.

A secret is known by where it stands (before the host of a URL, in its query, under a key such as `password`), by its
form (tokens of the Hub, of GitHub, of clouds), or by its value, where a variable such as HF_TOKEN has the same.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

MASK = "***"
# Blocks of settings that may hold secrets under a key; in the others a key is the name of a column or of an option.
_BLOCKS = ("model", "dataset", "tests", "hub", "training", "lora")
# Blocks inside them whose texts are all secrets, or as good as that.
_SECRET_BLOCKS = ("storage_options", "proxies", "headers", "client_kwargs")
_NAME = (
    r"(?:(?:hf|hub|auth|use_auth|access|api|session|aws_session|refresh|sas|bearer)_)?token"
    r"|(?:x_)?api_?key|passw(?:or)?d|pwd|passphrase|(?:client_)?secret|(?:aws_)?(?:secret_)?access_key(?:_id)?"
    r"|(?:secret|account|private)_key|connection_string|authorization|credentials?"
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_VARIABLE = re.compile(r"(?:.*_)?(?:TOKEN|API_?KEY|SECRET|PASSWORD|PASSPHRASE|SECRET_KEY|ACCESS_KEY|CREDENTIALS?)")
_SHORTEST = 8  # characters of the value of a variable: a shorter one stands in many words

# What follows: to the closing quote where there is an opening one.
_VALUE = r"(?:(?<=')[^']+|(?<=\")[^\"]+|[^\s,;'\"}\])]+)"

# What stands before a secret is kept, as group 1.
_PATTERNS = (
    # user:password@host, or a token alone before the host; a path has only one slash left after its name.
    re.compile(r"([a-z][\w+.-]{1,30}:/{1,2})[^\s/?#\"'<>]+(?=@)", re.IGNORECASE),
    # A password with a slash in it; `host:8080/file@v1` is a port.
    re.compile(r"([a-z][\w+.-]{1,30}:/{1,2})[^\s/?#:@]{1,300}:(?!\d+[/?#])[^\s@]{1,500}(?=@)", re.IGNORECASE),
    # A secret in a query, or after the # that ends it; `pkg://package/model#sha256=…` has none.
    re.compile(
        r"([?&#;](?:[\w.%~-]{0,80}(?:token|secret|signature|credential|passw|authorization|jwt)[\w.%~-]{0,80}"
        r"|(?:[\w.%~-]{0,80}[._-])?(?:(?:api|access|account|auth|user)?key|sig|pwd|pass|auth|session|sas))=)"
        r"[^&#;\s\"'<>]+",
        re.IGNORECASE,
    ),
    # password=…, and the same as YAML, JSON and Python write it inside a block.
    re.compile(rf"((?<![\w.-])(?:--)?(?:\w+\.)*(?:{_NAME})=['\"]?)(?![<…*]){_VALUE}", re.IGNORECASE),
    re.compile(rf"([{{,]\s*['\"]?(?:{_NAME})['\"]?: ['\"]?)(?![<…*]){_VALUE}", re.IGNORECASE),
    re.compile(rf"((?:{'|'.join(_SECRET_BLOCKS)})['\"]?(?:=|: )['\"]?\{{)[^}}]+", re.IGNORECASE),
    re.compile(r"(\b(?:Bearer|Basic) )[\w.~+/=-]{8,}"),
    re.compile(r"(\b)hf_(?=[A-Za-z0-9]*[A-Z0-9])[A-Za-z0-9]{8,}"),
    re.compile(r"(\b)(?:gh[opsu]_|github_pat_|glpat-|sk-|xox[abp]-|AKIA|ASIA|eyJ[\w-]+\.eyJ)[\w.-]{12,}"),
)


def mask_text(text: str) -> str:
    """The text with its secrets replaced.

    Example:
        >>> mask_text("cannot read https://me:pass@host/x.csv?token=abc&page=2")
        'cannot read https://***@host/x.csv?token=***&page=2'
    """
    for value in _values():
        text = text.replace(value, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


def _values() -> Iterator[str]:
    """Values of the variables that hold secrets."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _holds_secret(name):
            yield value


# The environment is searched for each text that is masked, and its names are nearly always the same.
@cache
def _holds_secret(variable: str) -> bool:
    return _VARIABLE.fullmatch(variable) is not None


def mask(value: Any, key: str = "") -> Any:
    """The value with the secrets in all its texts replaced, however deep it is nested.

    Args:
        value: Text, list, mapping, or anything else, which is returned as it is.
        key: Where it stands; what stands under a key such as `password` is a secret as a whole.

    Example:
        >>> mask({"storage_options": {"key": "abc", "anon": False}, "token": "abc", "path": "s3://rows"})
        {'storage_options': {'key': '***', 'anon': False}, 'token': '***', 'path': 's3://rows'}
    """
    is_secret = key in _SECRET_BLOCKS or _SECRET_NAME.fullmatch(key)
    if isinstance(value, str):
        return MASK if is_secret else mask_text(value)
    if isinstance(value, list | tuple):
        return [mask(entry, key) for entry in value]
    if not isinstance(value, Mapping):
        return value
    masked = {}
    for inner, entry in value.items():
        masked[inner] = mask(entry, key if is_secret else str(inner))
    return masked


def mask_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run as they are written down and compared."""
    masked = dict(settings)
    for block in (*_BLOCKS, "task", "metrics", "output_dir"):
        if block in masked:
            masked[block] = mask(masked[block])
    return masked


def cause(error: BaseException) -> BaseException | None:
    """The error as the cause of another one; None where its traceback would show a secret."""
    text = "".join(traceback.format_exception(error))
    return error if mask_text(text) == text else None
