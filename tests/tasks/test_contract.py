"""What every task owes, checked over every task found: a new file in tasks/ is tested by being there.

The rules are those of `hfrecipes check my_task.py`; runs that several of them look at are made once for a task.
"""

from __future__ import annotations

import inspect

import pytest

from hfrecipes.contract import checks
from hfrecipes.contract.checks import CHECKS
from hfrecipes.recipe import Recipe, trainer_name
from hfrecipes.registry import find, list_tasks

pytestmark = pytest.mark.rehearsed

TASKS = list(list_tasks())


def test_tasks_were_found():
    assert "text-classification" in TASKS


# The task is the outer parameter: its checks follow each other, and can share runs.
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_keeps_the_rules(task, check, trial_of):
    assert not list(check(trial_of(task)))


@pytest.mark.parametrize("task", TASKS)
def test_a_task_of_the_package_is_a_file_of_its_name_with_enough_samples(task):
    import transformers

    kind = find(task)
    assert kind.task == task
    assert kind.__mro__[1] is Recipe, "one level of inheritance"
    assert len(kind.samples) >= 4
    assert hasattr(transformers, trainer_name(kind))


def test_every_check_is_run_and_says_its_rule_in_its_first_line():
    public = [value for name, value in vars(checks).items() if inspect.isfunction(value) and not name.startswith("_")]
    written = [function for function in public if list(inspect.signature(function).parameters) == ["trial"]]
    assert tuple(written) == CHECKS
    for check in CHECKS:
        assert check.__doc__.partition("\n")[0].endswith(".")
