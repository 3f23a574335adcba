"""The most memory that this process, or its GPU, used in a while."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Meter:
    """Measures the peak of a block of work, from its start to each call of `peak`.

    On a GPU it counts what torch holds there, the weights included. On a CPU, it counts how much the process has grown.
    """

    def __init__(self, device: str) -> None:
        self.is_cuda = device == "cuda"
        if self.is_cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
            self.before = 0
            return
        self.can_reset = _reset_peak()
        self.before = _in_status("VmRSS") if self.can_reset else _largest()

    def peak(self) -> int:
        """Bytes; 0 where the system does not tell."""
        if self.is_cuda:
            import torch

            return int(torch.cuda.max_memory_allocated())
        peak = _in_status("VmHWM") if self.can_reset else _largest()
        return max(0, peak - self.before)


def peak_so_far() -> int:
    """The most memory that torch has held on the GPU, or this process has had; 0 where the system does not tell."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else _largest()


def free_bytes(device: str) -> int:
    """Memory that is free on the GPU, or in the machine; 0 where the system does not tell."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):  # as outside Linux
        pass
    return 0


def bytes_of(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes that tensors take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def in_words(number: float) -> str:
    """Bytes in megabytes or gigabytes.

    Example:
        >>> in_words(133_000_000), in_words(2_340_000_000)
        ('133 MB', '2.3 GB')
    """
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def _reset_peak() -> bool:
    """Make the kernel forget the peak of this process; False where it cannot, as outside Linux."""
    try:
        _RESET.write_text("5", encoding="ascii")
        return _in_status("VmHWM") > 0
    except OSError:
        return False


def _in_status(name: str) -> int:
    """A number of bytes that the kernel reports of this process; 0 where it does not."""
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    return 0


def _largest() -> int:
    """The largest size that this process has had, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # as on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux kilobytes.
    return peak if sys.platform == "darwin" else 1024 * peak
