"""Which settings name code, and whose word they are: code that only a file names is not run, unless the user trusts it.

What stands on the command line, or in a call from Python, is the word of the user. A recipe file and the folder of a
run may come from anybody. docs/security.md says what follows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from . import metrics
from .errors import UntrustedError, nearest
from .registry import is_task_file

HOW = "read it, then add --trust to the command, or trust=True in Python"
# Keywords of `from_pretrained` that run code: of the model's repository, or compiled code from the Hub.
_CODE = ("trust_remote_code", "use_kernels", "allow_all_kernels", "kernel_config")


def require(settings: Mapping[str, Any], *, source: str | Path, trust: bool, said: Mapping[str, Any]) -> None:
    """Refuse settings that would run code, unless the user names that code, or trusts the file that does.

    Args:
        settings: All settings, merged.
        source: Where those that the user did not give come from, as a sentence names it.
        trust: Whether the user trusts it.
        said: Settings that the user gave.

    Raises:
        UntrustedError: It names code that the user did not.
    """
    # A text such as "no" is no yes.
    if trust is True:
        return
    by_user = code_in(said)
    problems = []
    for setting, code in code_in(settings).items():
        if setting not in by_user:
            problems.append(f"{source} has {setting}, which would run {code}: {HOW}")
        # A name is no file that the user knows, so even a typing error would run what somebody published under it.
        elif setting.startswith("metrics: ") and not _is_file(setting):
            problems.append(_unknown_metric(setting.removeprefix("metrics: ")))
    if problems:
        raise UntrustedError("\n- ".join(problems))


def code_in(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that name code, each with what it would run.

    Example:
        >>> code_in({"task": "chat", "metrics": ["f1"], "model": {"path": "me/model", "trust_remote_code": True}})
        {'model.trust_remote_code: True': 'the code that comes with the model me/model'}
    """
    code: dict[str, str] = {}
    task = settings.get("task")
    if isinstance(task, str) and is_task_file(task):
        code[f"task: {task}"] = f"the file {_absolute(task)}"
    for name in _texts(settings.get("metrics")):
        if name in metrics.names():
            continue
        code[f"metrics: {name}"] = (
            f"the file {_absolute(name)}" if _is_file(name) else "a script of that name from the Hub"
        )
    return {**code, **_code_of_model(settings.get("model"))}


def _code_of_model(model: Any) -> dict[str, str]:
    if not isinstance(model, Mapping):
        return {}
    code = {}
    for key in _CODE:
        if model.get(key):
            code[f"model.{key}: {model[key]}"] = f"the code that comes with the model {model.get('path')}"
    # Anything but true lets a pickle run what it likes.
    if not model.get("weights_only", True):
        code["model.weights_only: False"] = f"what the weights of the model {model.get('path')} say, which are a pickle"
    # `sdpa` is a way to compute attention, `kernels-community/flash-attn` a repository with compiled code.
    attention = model.get("attn_implementation")
    if "/" in str(attention):
        code[f"model.attn_implementation: {attention}"] = "compiled code from the Hub"
    return code


def _texts(value: Any) -> Collection[str]:
    """The texts in a list; values of the wrong type are reported where types are checked."""
    if isinstance(value, str):
        return [value]
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list | tuple) else []


def _is_file(name: str) -> bool:
    """Whether a name means a file of Python on this machine."""
    return is_task_file(name) and "://" not in name


def _absolute(name: str) -> str:
    return str(Path(name).absolute())


def _unknown_metric(name: str) -> str:
    known = metrics.names()
    return (
        f"metrics: {name}{nearest(name, known)} is not one of {', '.join(known)}: add --trust, or trust=True in "
        "Python, to download a script of that name from the Hub and run it"
    )
