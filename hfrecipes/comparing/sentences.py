"""What a comparison means, in sentences: differences and ties, the Pareto front, and a cheaper run that is as good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import counted
from ..evaluation.tables import change
from .comparison import Compared, Comparison
from .significance import LEVEL

WORDS = {True: "better", False: "worse"}


def about(comparison: Comparison) -> Iterator[str]:
    """One sentence for each run but the reference, and on the front, the tests and the choice."""
    tested = [run for run in comparison.runs if comparison.metric in run.tests]
    for run in tested:
        yield verdict(comparison, run)
    yield from _of_tests(comparison)
    yield from _of_front(comparison)
    yield from _suggestion(comparison, tested)


def verdict(comparison: Comparison, run: Compared) -> str:
    """Whether the run differs from the reference run in the metric that decides."""
    name = comparison.metric
    test, difference = run.tests[name], run.differences[name]
    shown = f"{name} {change(difference)}, p {_compared_with(str(test))}, {test.method}"
    if not test.is_significant:
        return f"{run.name}: not significantly different from {comparison.reference} ({shown})"
    is_better = (difference.value > 0) == comparison.metrics[name].greater_is_better
    return f"{run.name}: significantly {WORDS[is_better]} than {comparison.reference} ({shown})"


def _compared_with(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _of_tests(comparison: Comparison) -> Iterator[str]:
    number = sum(len(run.tests) for run in comparison.runs)
    if not number:
        return
    yield (
        f"difference: the score minus that of {comparison.reference} on the same rows, with its 95 % interval; p: "
        f"adjusted for {counted(number, 'test')} (Holm), significant below {LEVEL}"
    )


def _of_front(comparison: Comparison) -> Iterator[str]:
    price, prices = comparison.prices
    front = comparison.pareto
    if not front or len(prices) < len(comparison.runs):
        return
    others = [run.name for run in comparison.runs if run.name not in front]
    verb = "is" if len(front) == 1 else "are"
    beaten = f"; a run on it is as good and as cheap as {', '.join(others)}, or better" if others else ""
    yield f"front: {', '.join(front)} {verb} on the Pareto front of {comparison.metric} and {price}{beaten}"


def _suggestion(comparison: Comparison, tested: Sequence[Compared]) -> Iterator[str]:
    """A cheaper run that is not significantly worse, which the user may prefer."""
    price, prices = comparison.prices
    if comparison.reference not in prices or len(prices) < len(comparison.runs):
        return
    cheaper = []
    for run in tested:
        if prices[run.name] < prices[comparison.reference] and not is_worse(comparison, run):
            cheaper.append((prices[run.name], run.name))
    if cheaper:
        value, name = min(cheaper)
        share = value / prices[comparison.reference]
        yield (
            f"suggestion: {name} is not significantly worse than {comparison.reference}, with {share:.2g} times its "
            f"{price}"
        )


def is_worse(comparison: Comparison, run: Compared) -> bool:
    """Whether the run is significantly worse than the reference run in any headline metric."""
    for name, test in run.tests.items():
        is_better = (run.differences[name].value > 0) == comparison.metrics[name].greater_is_better
        if test.is_significant and not is_better:
            return True
    return False
