"""Errors of the libraries that say that memory is used up."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from ..errors import OutOfMemoryError

# Words of the allocators of CUDA, ROCm and XPU; of Apple's GPUs; of CPUs on Unix and on Windows; and of cuBLAS.
_WORDS = (
    "out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
EDITS = (
    "lower max_length or per_device_train_batch_size, add activation_checkpointing=true or lora=true, or take a "
    "smaller model"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the device, or of the machine, is used up.

    Example:
        >>> is_out_of_memory(RuntimeError("MPS backend out of memory")), is_out_of_memory(RuntimeError("shapes differ"))
        (True, False)
    """
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def release() -> None:
    """Give back what a computation that failed has left; to be called once its error is no longer referred to."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@contextlib.contextmanager
def as_memory_error(doing: str, edits: str = EDITS) -> Iterator[None]:
    """Raise an error that says what to change, where memory is used up in the block.

    Args:
        doing: What the block does.
        edits: What makes it need less.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise OutOfMemoryError(f"out of memory while {doing} ({reason}): {edits}") from error
