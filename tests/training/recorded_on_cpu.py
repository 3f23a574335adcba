"""CUDA graphs on a CPU: operations are written down while they run, and run again at a replay, in the same memory."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Graph:
    """What `torch.cuda.CUDAGraph` is, as far as the package uses it."""

    def __init__(self):
        self.operations = []

    def replay(self):
        """Run all operations again; what they gave before is written over."""
        with torch.no_grad():
            for operation, arguments, keywords, before in self.operations:
                after = torch.utils._pytree.tree_leaves(operation(*arguments, **keywords))
                for old, new in zip(before, after, strict=True):
                    if (
                        isinstance(old, torch.Tensor)
                        and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr()
                    ):
                        old.copy_(new)


class Record(TorchDispatchMode):
    def __init__(self, graph, **_):
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        result = operation(*arguments, **(keywords or {}))
        self.graph.operations.append((operation, arguments, keywords or {}, torch.utils._pytree.tree_leaves(result)))
        return result


def emulate(monkeypatch):
    """Let the package record and replay on the CPU."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, value in {
        "CUDAGraph": Graph,
        "graph": Record,
        "graph_pool_handle": lambda: None,
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda _: contextlib.nullcontext(),
        "get_rng_state": torch.get_rng_state,
        "set_rng_state": torch.set_rng_state,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
