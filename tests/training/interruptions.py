"""Runs that end in the middle, as by a kill."""

from __future__ import annotations

import pytest

import hfrecipes
from hfrecipes.flow import finishing, single


def run_until_trained(task: str, **settings: object) -> None:
    """A run that ends after its last step, before the model is saved."""

    def fail(*_, **__):
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finishing.adapters, "is_adapted", fail)
        patch.setattr(single, "rehearse", lambda *_: None)
        with pytest.raises(InterruptedError):
            hfrecipes.run(task, **settings)
