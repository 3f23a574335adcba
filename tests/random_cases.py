"""Tests of random cases, where the implementation that they compare with is the slow side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy


def random_cases(number: int, *strategies: SearchStrategy) -> Callable[[Callable], Callable]:
    """Test with a third of this number of cases in `make test`, and with all of them in `make test-long`.

    Args:
        number: How many cases are all of them.
        strategies: How to draw the arguments of the test.
    """

    def decorate(test: Callable) -> Callable:
        @pytest.mark.parametrize("cases", [number // 3, pytest.param(number, marks=pytest.mark.long)])
        def compare(cases: int) -> None:
            # Settings can be given once to what `given` makes, so it is made anew.
            settings(max_examples=cases, deadline=None)(given(*strategies)(test))()

        # Not functools.wraps: pytest would take the arguments of the test for fixtures.
        compare.__name__, compare.__doc__ = test.__name__, test.__doc__
        return compare

    return decorate
