"""A command imports and makes what it needs, and no more: the first prediction does not wait for a training."""

from __future__ import annotations

import gc

import pytest
import transformers
from processes import run_python
from rows import opinions

import hfrecipes
from hfrecipes import garbage
from hfrecipes.errors import ModelError

# The two commands in one process, as imports take most of its time.
COMMANDS = """\
import sys
from hfrecipes.cli import main

main(["predict", sys.argv[1], "-"], standalone_mode=False)
unused = ("transformers.trainer", "transformers.training_args", "peft", "sklearn", "evaluate", "matplotlib")
print([name for name in unused if name in sys.modules])
"""


@pytest.fixture
def run(quick, tmp_path):
    return hfrecipes.run("text-classification", dataset=opinions(40), output_dir=tmp_path / "run", **quick).path


def test_a_prediction_imports_nothing_of_a_training(run):
    made = run_python("-c", COMMANDS, run, given="a good film\n")
    assert made.stdout.splitlines()[-1] == "[]"
    assert '"label"' in made.stdout


def test_a_loaded_run_makes_a_plain_trainer_once_it_is_asked_for_one(run, monkeypatch):
    made = []
    init = transformers.Trainer.__init__
    monkeypatch.setattr(
        transformers.Trainer,
        "__init__",
        lambda self, *given, **named: (made.append(self), init(self, *given, **named))[1],
    )
    predictor = hfrecipes.load(run)
    before = predictor.predict("a good film")
    assert made == []
    trainer = predictor.trainer
    assert type(trainer) is transformers.Trainer
    assert [trainer] == made
    assert predictor.trainer is trainer
    assert trainer.model is predictor.model
    assert predictor.predict("a good film") == before


def test_settings_that_were_edited_after_a_run_are_checked(run):
    file = run / "recipe.yaml"
    file.write_text(file.read_text().replace("seed: 42", "seed: often"))
    (run / "run.json").unlink()
    with pytest.raises(ModelError, match=r"seed: found often \(str\), expected whole number"):
        hfrecipes.load(run)


def test_garbage_is_looked_for_again_after_rows_are_predicted():
    @garbage.not_collected()
    def fail():
        with garbage.not_collected():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.isenabled()


def test_who_looks_for_no_garbage_at_all_goes_on_so():
    gc.disable()
    try:
        with garbage.not_collected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_blocks_of_two_threads_end_with_garbage_looked_for():
    first, second = garbage.not_collected(), garbage.not_collected()
    for block in (first, second):
        block.__enter__()
    for block in (first, second):
        block.__exit__(None, None, None)
    assert gc.isenabled()


def test_a_command_looks_for_garbage_as_usual_once_it_has_a_model(monkeypatch):
    frozen = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    monkeypatch.setattr(garbage, "_usual", None)
    monkeypatch.setattr("atexit.register", lambda function: None)
    usual = gc.get_threshold()
    garbage.collect_as_usual()
    assert gc.get_threshold() == usual, "a process of somebody else stays as it is"
    try:
        garbage.collect_rarely()
        assert gc.get_threshold()[0] > 100 * usual[0]
        garbage.collect_as_usual()
        garbage.collect_as_usual()
        assert gc.get_threshold() == usual
    finally:
        gc.set_threshold(*usual)
    assert frozen == [True]
