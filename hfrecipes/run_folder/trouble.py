"""What a failure to write means, in a sentence: the disk is full, the folder has gone, or it may not be written to."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import HFRecipesError, OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
_LITTLE = 1 << 20  # bytes: what is left of a disk that is full


@contextlib.contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """Turn failures to write into an OutputError; libraries raise them as errors of many kinds.

    Args:
        path: Folder that is written to.
    """
    try:
        yield
    except HFRecipesError:
        raise
    except Exception as error:
        sentence = _sentence(path, error)
        if sentence is None:
            raise
        raise OutputError(sentence) from error


def _sentence(path: Path, error: Exception) -> str | None:
    """What happened; None where the error is about something else."""
    number = _number_of(error)
    if number in _FORBIDDEN:
        return f"{path} cannot be written to any more ({error}): repeat the command when it can"
    if number == errno.EFBIG:
        return (
            f"{path} needs a larger file than this system allows: raise the limit (ulimit -f), or choose another "
            "output_dir"
        )
    if number in _WITHOUT_LOCKS:
        return (
            f"the disk of {path} does not support file locks, which keep other processes out: choose an output_dir "
            "on another disk"
        )
    if not path.exists():
        return f"{path} was deleted or moved while the run was writing to it: repeat the command"
    # safetensors and torch raise errors of their own, which do not always say why.
    if number in _FULL or shutil.disk_usage(path).free < _LITTLE:
        return f"no space left on the disk of {path}: free some, then repeat the command"
    return None


def _number_of(error: Exception) -> int | None:
    """Error number of the system; safetensors has it only in its message."""
    if isinstance(error, OSError):
        return error.errno
    number = re.search(r"\(os error (\d+)\)", str(error))
    return None if number is None else int(number[1])
