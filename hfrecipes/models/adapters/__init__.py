"""LoRA and the other methods of PEFT: a small part of the model is trained, and saved so that it predicts the same.

`settings` says which method is trained, `adding` puts it into a model, `saving` merges, saves, loads and compares.
"""

from .adding import add
from .saving import (
    ADAPTER_FILES,
    BASE,
    check_saved,
    file_names,
    is_adapted,
    load,
    logits,
    merge,
    merge_trained,
    save,
    tolerance,
)
from .settings import problems

__all__ = [
    "ADAPTER_FILES",
    "BASE",
    "add",
    "check_saved",
    "file_names",
    "is_adapted",
    "load",
    "logits",
    "merge",
    "merge_trained",
    "problems",
    "save",
    "tolerance",
]
