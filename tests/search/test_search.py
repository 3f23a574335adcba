"""A search: trials are ordinary runs, validation chooses, test is looked at once, and no trial is ever lost."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.comparing.comparison import Compared, Comparison
from hfrecipes.config.search_space import Choices, Range, SearchSettings
from hfrecipes.errors import ConfigError, DivergedError, OutputError
from hfrecipes.evaluation.scoring import Score
from hfrecipes.recipe import HIGHER, LOWER
from hfrecipes.search import searching, study, trials
from hfrecipes.search.outcome import best_of, sentences_of, trial_cells
from hfrecipes.search.page import draw
from hfrecipes.search.study import Costs, Trial

ROWS = {"train": opinions(40), "validation": opinions(20, 1), "test": opinions(30, 2)}
SETTINGS = {"dataset": ROWS, "num_train_epochs": 1, "bf16": False, "report_to": "none"}
SPACE = {"learning_rate": "loguniform(1e-4, 1e-2)", "weight_decay": [0.0, 0.1]}


def run(model: str, folder: Path, search: dict, **settings):
    return hfrecipes.run("text-classification", model=model, output_dir=folder, search=search, **SETTINGS, **settings)


def saved(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())


def of_trials(path: Path) -> list[dict]:
    """What the journal knows of all trials, without what differs from time to time."""
    entries = json.loads((path / "search.json").read_text())["trials"]
    return [{key: value for key, value in entry.items() if key != "costs"} for entry in entries]


@pytest.fixture(scope="module")
def searched(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> hfrecipes.Search:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfrecipes.flow.single.rehearse", lambda *_: None)
        return run(tiny_bert, tmp_path_factory.mktemp("searched") / "run", {**SPACE, "trials": 3})


def test_validation_chooses_and_test_is_looked_at_for_the_chosen_run_alone(searched):
    folders = [searched.path / f"trial-{number}" for number in range(4)]
    values = [saved(folder)["validation"]["accuracy"]["value"] for folder in folders]
    assert searched.best.path == folders[values.index(max(values))]
    for folder in folders:
        assert ("test" in saved(folder)) == (folder in (folders[0], searched.best.path)), folder
    assert searched.metrics == searched.best.metrics
    assert searched.predict("the film was great")["label"] in ("good", "bad")


def test_each_trial_is_the_run_of_its_settings(searched, tiny_bert, tmp_path):
    trial = searched.trials[2]
    settings = {**SETTINGS, **trial.values}
    alone = hfrecipes.run("text-classification", model=tiny_bert, output_dir=tmp_path / "alone", **settings)
    assert alone.metrics["validation"]["accuracy"] == trial.score
    assert (alone.path / "model.safetensors").read_bytes() == (
        searched.path / "trial-2" / "model.safetensors"
    ).read_bytes()


def test_the_result_shows_all_trials_and_writes_them_down(searched):
    assert list(searched.frame.index) == ["default", "trial-1", "trial-2", "trial-3"]
    assert set(searched.frame.columns) >= {"learning_rate", "validation accuracy", "state", "seconds", "kwh"}
    assert "<table>" in searched._repr_html_()
    assert repr(searched).startswith(f"Search({searched.best.path.name} of 4 trials, Result(")
    page = (searched.path / "report.html").read_text()
    assert page.count("<svg") == 1
    assert "learning_rate" in page
    written = json.loads((searched.path / "search.json").read_text())
    assert written["best"] == searched.best.path.name
    assert len(written["trials"]) == 4
    assert all(1e-4 <= entry["values"]["learning_rate"] <= 1e-2 for entry in written["trials"][1:])


def test_the_same_command_trains_nothing_again_and_more_trials_go_on(searched, tiny_bert, tmp_path, monkeypatch):
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", searched.path, copy], check=True)
    before = of_trials(copy)
    trained = []
    carry_out = trials.carried_out

    def counted(base, values, number, callbacks=()):
        trained.extend([] if (base.folder(number) / "metrics.json").exists() else [number])
        return carry_out(base, values, number, callbacks)

    monkeypatch.setattr(searching, "carried_out", counted)
    assert run(tiny_bert, copy, {**SPACE, "trials": 3}).metrics == searched.metrics
    assert trained == []
    more = run(tiny_bert, copy, {**SPACE, "trials": 5})
    assert trained == [4, 5]
    assert of_trials(copy)[:4] == before
    assert len(more.trials) == 6
    with pytest.raises(OutputError, match="contains another run"):
        run(tiny_bert, copy, {"learning_rate": "loguniform(1e-5, 1e-2)", "trials": 5})


@pytest.mark.long
def test_a_search_that_was_killed_ends_as_if_it_had_not_been(searched, tiny_bert, tmp_path, monkeypatch):
    finish = hfrecipes.flow.single.finish_run
    killed = []

    def die(job, *given, **more):
        folder = job.plan.path
        if folder.name in ("trial-0", "trial-2") and folder not in killed:
            killed.append(folder)
            raise KeyboardInterrupt
        return finish(job, *given, **more)

    monkeypatch.setattr("hfrecipes.flow.single.finish_run", die)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 3})
    assert not (tmp_path / "run" / "search.json").exists()
    # The disk was full, or the power went, in the middle of a line.
    with open(tmp_path / "run" / study.JOURNAL, "a") as journal:
        journal.write('{"op_code": 4, "trial_')
    again = run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 3})
    assert [folder.name for folder in killed] == ["trial-0", "trial-2"]
    assert of_trials(again.path) == of_trials(searched.path)
    assert again.metrics == searched.metrics


def test_settings_that_cannot_be_trained_with_cost_their_trial_alone(tiny_bert, tmp_path, monkeypatch, caplog):
    carry_out = trials.carried_out

    def diverge(base, values, number, callbacks=()):
        if number == 1:
            raise DivergedError("the loss became NaN at step 3")
        return carry_out(base, values, number, callbacks)

    monkeypatch.setattr(searching, "carried_out", diverge)
    result = run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 2})
    assert [trial.state for trial in result.trials] == ["complete", "failed", "complete"]
    assert "trial 1 failed: the loss became NaN at step 3" in caplog.text
    assert "2 trials (1 failed, 1 complete)" in result.sentences[0]


def test_a_trial_that_does_badly_is_ended_after_an_epoch(tiny_bert, tmp_path, monkeypatch, caplog):
    import optuna
    from transformers.utils import logging

    # No accuracy is above 2: all trials are ended, and the default settings stay.
    monkeypatch.setattr(study, "_pruner", lambda name: optuna.pruners.ThresholdPruner(lower=2))
    result = run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 1})
    assert [trial.state for trial in result.trials] == ["complete", "pruned"]
    assert result.trials[1].score is not None
    assert "trial 1: ended early" in caplog.text
    assert not list((tmp_path / "run" / "trial-1").glob("checkpoint-*"))
    assert result.best.path.name == "trial-0"
    assert result.comparison is None
    assert "none has a better validation accuracy than the default settings, which stay" in result.sentences[0]
    gc.collect()
    assert logging.set_tqdm_hook(None) is None, "bars that the trial has hidden are shown again"


def test_models_are_settings_too_and_parameters_may_be_weighed_against_quality(tiny_bert, tmp_path, tmp_path_factory):
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    larger = str(tmp_path / "larger")
    config = AutoConfig.from_pretrained(tiny_bert)
    config.num_hidden_layers = 3
    AutoModel.from_config(config).save_pretrained(larger)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(larger)
    search = {"model": [tiny_bert, larger], "cost": "parameters", "trials": 3}
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "run", search=search, **SETTINGS)
    sizes = {trial.values["model"]: trial.costs.parameters for trial in result.trials[1:]}
    assert result.trials[0].costs.parameters == sizes.get(tiny_bert, result.trials[0].costs.parameters)
    assert result.pareto("parameters")
    best = max(trial.score for trial in result.trials)
    assert any(trial.score == best for trial in result.trials if trial.name in result.pareto("parameters"))
    heads, rows = trial_cells(result)
    assert heads[3:] == ["training s", "parameters", "front (parameters)"]
    assert {row[0] for row in rows if row[-1] == "yes"} == set(result.pareto("parameters"))


def test_energy_that_was_measured_stands_beside_quality(searched):
    assert "kWh" not in trial_cells(searched)[0]
    costs = [Costs(seconds=9 - trial.number, parameters=10, kwh=trial.number / 1000) for trial in searched.trials]
    measured = []
    for trial, cost in zip(searched.trials, costs, strict=True):
        measured.append(replace(trial, score=0.5, costs=cost))
    search = replace(searched, trials=[replace(measured[0], costs=Costs()), *measured[1:]])
    heads, rows = trial_cells(search)
    assert heads[3:] == ["training s", "kWh", "front (seconds)"]
    assert [row[4] for row in rows] == ["–", "0.001", "0.002", "0.003"]
    assert search.pareto("kwh") == ["trial-1"]
    assert search.pareto("seconds") == ["trial-3"]
    assert search.as_json()["pareto"]["kwh"] == ["trial-1"]
    axes = [axis.get_xlabel() for axis in draw(search).axes]
    assert axes[-2:] == ["training s", "kWh"]


def test_a_loss_that_is_not_among_the_saved_scores_does_not_choose(tiny_bert, tmp_path):
    settings = {"metric_for_best_model": "loss"}
    result = run(tiny_bert, tmp_path / "run", {"learning_rate": [1e-3, 1e-2], "trials": 1}, **settings)
    assert result.metric == "validation accuracy"


def test_lists_alone_end_with_their_last_combination(tiny_bert, tmp_path):
    result = run(tiny_bert, tmp_path / "run", {"weight_decay": [0.0, 0.1], "learning_rate": [1e-3, 1e-2]})
    tried = [tuple(trial.values.values()) for trial in result.trials[1:]]
    assert sorted(tried) == [(0.0, 1e-3), (0.0, 1e-2), (0.1, 1e-3), (0.1, 1e-2)]


def test_a_number_and_a_truth_value_are_two_choices():
    assert study._plain_choices(Choices((1, True, "a"))) == {"1": 1, "true": True, "a": "a"}
    assert study._plain_choices(Choices((4, 8.5, "a"))) == {4: 4, 8.5: 8.5, "a": "a"}


def test_a_setting_may_be_given_in_its_block_and_searched_without_it(tiny_bert, tmp_path):
    base = trials.Base(
        "text-classification", {**SETTINGS, "model": tiny_bert, "training": {"learning_rate": 1e-4}}, True, tmp_path
    )
    assert base.configured({})[0].training["learning_rate"] == 1e-4
    assert base.configured({"learning_rate": 1e-3})[0].training["learning_rate"] == 1e-3


def test_a_model_of_the_search_takes_nothing_from_the_usual_one(tmp_path):
    settings = {**SETTINGS, "model": {"path": "me/a", "revision": "v1"}, "lora": {"r": 2}}
    base = trials.Base("text-classification", settings, True, tmp_path)
    assert base.configured({"model": {"path": "me/b"}})[0].model == {"path": "me/b"}
    assert base.configured({"lora": True})[0].lora is True
    assert base.configured({"lora.lora_alpha": 8})[0].lora == {"r": 2, "lora_alpha": 8}


def test_a_trial_that_was_killed_before_it_had_values_draws_those_that_it_would_have_had(tmp_path):
    import optuna

    settings = SearchSettings.of({"learning_rate": "loguniform(1e-5, 1e-3)"})
    values = []
    for is_killed in (False, True):
        folder = tmp_path / str(is_killed)
        folder.mkdir()
        opened = study.Study(folder, settings, 1, greater_is_better=True)
        if is_killed:
            opened._study.ask()
        with opened.next_trial() as trial:
            assert isinstance(trial, optuna.Trial)
            values.append(opened.values_of(trial)["learning_rate"])
    assert values[0] == values[1]


def test_a_trial_that_ends_while_another_process_looks_for_one_is_not_taken_up(tmp_path, monkeypatch):
    settings = SearchSettings.of({"learning_rate": "loguniform(1e-5, 1e-3)", "trials": 2})
    here, there = (study.Study(tmp_path, settings, 1, greater_is_better=True) for _ in range(2))
    is_free = here._is_free
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(there.next_trial())

        def ends_first(number, locks):
            if number == running.number:
                there.complete(running, 0.5, study.Costs())
                stack.close()
            return is_free(number, locks)

        monkeypatch.setattr(here, "_is_free", ends_first)
        with here.next_trial() as trial:
            assert trial.number == running.number + 1


def test_another_space_in_a_folder_without_work_begins_anew(tmp_path):
    first = study.Study(tmp_path, SearchSettings.of({"learning_rate": [1e-3, 1e-2]}), 1, greater_is_better=True)
    with first.next_trial() as trial:
        first.fail(trial, "killed")
    other = SearchSettings.of({"learning_rate": [1e-3, 1e-2], "cost": "seconds"})
    assert study.Study(tmp_path, other, 1, greater_is_better=True).trials == []


def test_a_default_run_without_a_score_does_not_win(tiny_bert, tmp_path, monkeypatch):
    carry_out = trials.carried_out

    def undefined(base, values, number, callbacks=()):
        scores, costs = carry_out(base, values, number, callbacks)
        return ({**scores, "accuracy": Score(math.nan)} if number == 0 else scores), costs

    monkeypatch.setattr(searching, "carried_out", undefined)
    result = run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 1})
    assert result.best.path.name == "trial-1"
    assert not any("gain over" in sentence for sentence in result.sentences)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), ConfigError("no such layer")])
def test_an_error_of_a_library_costs_its_trial_alone(error, tiny_bert, tmp_path, monkeypatch):
    carry_out = trials.carried_out

    def fail(base, values, number, callbacks=()):
        if number == 1:
            raise error
        return carry_out(base, values, number, callbacks)

    monkeypatch.setattr(searching, "carried_out", fail)
    result = run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 1})
    assert result.trials[1].state == "failed"
    assert type(error).__name__ in result.trials[1].error


def test_a_connection_that_is_lost_does_not_cost_the_trial(tiny_bert, tmp_path, monkeypatch):
    from hfrecipes.errors import ModelError

    carry_out = trials.carried_out

    def lose(base, values, number, callbacks=()):
        if number == 1:
            raise ModelError("me/a could not be fetched") from ConnectionError("no route")
        return carry_out(base, values, number, callbacks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "carried_out", lose)
        with pytest.raises(ModelError, match="could not be fetched"):
            run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 1})
    result = run(tiny_bert, tmp_path / "run", {**SPACE, "trials": 1})
    assert [trial.state for trial in result.trials] == ["complete", "complete"]


def test_check_finds_what_a_search_refuses(tiny_bert):
    with pytest.raises(ConfigError, match=r"search\.learning_rat: with learning_rat=1"):
        hfrecipes.check("text-classification", model=tiny_bert, search={"learning_rat": [1, 2]}, **SETTINGS)
    found = hfrecipes.check("text-classification", search={"model": [tiny_bert, tiny_bert + "/."]}, **SETTINGS)
    assert found["config"].model == tiny_bert


@pytest.mark.long
def test_a_search_over_folds_trains_the_chosen_settings_on_all_rows(tiny_bert, tmp_path):
    result = run(tiny_bert, tmp_path / "run", {"learning_rate": [1e-3, 1e-2], "trials": 1}, folds=2)
    folds = json.loads((result.path / "trial-1" / "metrics.json").read_text())["out_of_fold"]
    assert result.trials[1].score == pytest.approx(folds["accuracy"]["value"])
    assert result.default.path.name == "all-rows-0"
    assert "test" in result.default.metrics
    assert "out-of-fold accuracy" in result.sentences[0]
    again = run(tiny_bert, tmp_path / "run", {"learning_rate": [1e-3, 1e-2], "trials": 1}, folds=2)
    assert of_trials(again.path) == of_trials(result.path)


def test_the_command_prints_trials_scores_and_what_they_are_worth(searched, tiny_bert, tmp_path):
    for split, rows in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"model={tiny_bert}", f"dataset={tmp_path}", f"output_dir={tmp_path / 'run'}", "num_train_epochs=1"]
    words += ["bf16=false", "search.learning_rate=loguniform(1e-4, 1e-2)", "search.weight_decay=[0.0, 0.1]"]
    made = CliRunner().invoke(main, ["search", "text-classification", *words, "search.trials=3"])
    assert made.exit_code == 0, made.output
    assert "default settings" in made.output
    assert "3 trials (3 complete)" in made.output
    assert f"all trials: {tmp_path / 'run' / 'search.json'}" in made.output
    assert of_trials(tmp_path / "run") == of_trials(searched.path)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"trials": 3}, "search: found nothing to try, expected settings such as search.learning_rate="),
        ({"learning_rate": 3}, "search.learning_rate: found 3, expected loguniform"),
        ({"learning_rate": "loguniform(1e-5)"}, "search.learning_rate: found loguniform"),
        ({"learning_rate": "loguniform(0, 1)"}, "for loguniform both above 0"),
        ({"learning_rate": "uniform(2, 1)"}, "the lower one first"),
        ({"learning_rate": "uniform(a, 1)"}, "two numbers"),
        ({"learning_rate": "uniform(0, inf)"}, "two numbers"),
        ({"num_train_epochs": "int(1, 2.5)"}, "for int whole numbers"),
        ({"learning_rate": [1e-5]}, "a list of two values or more"),
        ({"learning_rate": [1e-5, 1e-5]}, "none of them twice"),
        ({"learning_rate": [1e-5, 1e-4], "trials": 0}, "search.trials: found 0, expected 1 or more"),
        ({"learning_rate": [1e-5, 1e-4], "trials": True}, "search.trials: found true"),
        ({"learning_rate": [1e-5, 1e-4], "pruner": "medain"}, "did you mean median"),
        ({"learning_rate": [1e-5, 1e-4], "cost": ["seconds"]}, "expected one of seconds, parameters"),
        ({"dataset": ["a.csv", "b.csv"]}, "all trials have the same dataset"),
        ({"seed": [1, 2]}, "all trials have the same seed"),
        ({"training": {"seed": [1, 2]}}, "all trials have the same seed"),
        ({"metric_for_best_model": ["loss", "accuracy"]}, "all trials have the same metric_for_best_model"),
        ({"learning_rat": [1e-5, 1e-4]}, "search.learning_rat: with learning_rat=1e-05: unknown setting"),
        ({"learning_rate": ["a", "b"]}, "search.learning_rate: with learning_rate=a"),
        ({"lora.s": [1, 2]}, "lora"),
        ({"problem_type": ["regression", "nonsense"]}, "problem_type"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_trained(search, said, tiny_bert, tmp_path):
    with pytest.raises(ConfigError, match=said):
        run(tiny_bert, tmp_path / "run", search)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": [1, 2]}, "search and seeds: leave seeds out"),
        ({"curve": 3}, "search and curve: leave curve out"),
        ({"hub": "me/model"}, "hub: leave it out, a search gives several runs"),
        ({"splits": {"validation": None}}, "search: found no validation split to choose by"),
        ({"folds": {"n_splits": 3, "fold": 1}}, "search and folds.fold: leave fold out"),
    ],
)
def test_what_a_search_cannot_be_combined_with_is_refused(settings, said, tiny_bert, tmp_path):
    with pytest.raises(ConfigError, match=said):
        run(tiny_bert, tmp_path / "run", SPACE, **settings)
    assert not list(tmp_path.glob("run/trial-*/metrics.json"))


def test_a_list_of_models_belongs_into_the_search(tiny_bert, tmp_path):
    with pytest.raises(ConfigError, match=r"write search\.model"):
        hfrecipes.run("text-classification", model=[tiny_bert, "me/b"], search=SPACE, **SETTINGS)


def test_one_trainer_cannot_search():
    with pytest.raises(ConfigError, match="a search asks for several Trainers"):
        hfrecipes.build("text-classification", model="me/a", search=SPACE, **SETTINGS)


def test_processes_of_one_training_are_refused(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="start the same command once for each GPU"):
        run(tiny_bert, tmp_path / "run", SPACE)


def test_the_trainer_that_build_returns_can_be_searched_by_its_own_method(tiny_bert, tmp_path):
    trainer = hfrecipes.build("text-classification", model=tiny_bert, output_dir=tmp_path / "run", **SETTINGS)
    losses = []

    def space(trial):
        return {"learning_rate": trial.suggest_categorical("learning_rate", [1e-3, 1e-3])}

    def objective(metrics):
        losses.append(metrics["eval_loss"])
        return metrics["eval_accuracy"]

    best = trainer.hyperparameter_search(space, objective, n_trials=2, direction="maximize")
    assert losses[0] == losses[1], "each trial starts from the same weights"
    for name, value in best.hyperparameters.items():
        setattr(trainer.args, name, value)
    trainer.train()
    assert hfrecipes.finish(trainer).path == tmp_path / "run"


def test_without_optuna_the_error_says_what_to_install(tiny_bert, monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    words = ["text-classification", f"model={tiny_bert}", "dataset=rows.csv", "search.weight_decay=[0.0, 0.1]"]
    made = CliRunner().invoke(main, ["search", *words])
    assert made.exit_code == 2
    assert "a search needs optuna: pip install optuna" in made.stderr


def test_the_command_needs_something_to_try(tiny_bert):
    made = CliRunner().invoke(main, ["search", "text-classification", f"model={tiny_bert}", "dataset=rows.csv"])
    assert made.exit_code == 2
    assert "found nothing to try: add settings such as  search.learning_rate=" in made.output


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_space_is_read_as_it_is_written():
    block = {"learning_rate": "loguniform(1e-5, 5e-4)", "dropout": "uniform(0, .3)", "num_train_epochs": "int( 1,5 )"}
    block |= {"lora": {"r": [4, 8], "lora_alpha": None}, "trials": 7, "pruner": "none", "cost": "seconds"}
    settings = SearchSettings.of(block)
    assert settings.space == {
        "learning_rate": Range(1e-5, 5e-4, is_log=True),
        "dropout": Range(0.0, 0.3),
        "num_train_epochs": Range(1, 5, is_integer=True),
        "lora.r": Choices((4, 8)),
    }
    assert (settings.trials, settings.pruner, settings.cost) == (7, "none", "seconds")


def comparison(difference: Score) -> Comparison:
    runs = [
        Compared("default", Path(), {}, {}, differences={"accuracy": difference}),
        Compared("trial-1", Path(), {}, {}),
    ]
    return Comparison(runs, "trial-1", {"accuracy": HIGHER}, "test", 100)


@pytest.mark.parametrize(
    ("difference", "metric", "scores", "said"),
    [
        (
            Score(-0.01, -0.03, 0.01),
            HIGHER,
            (0.8, 0.85),
            r"0.050 in .*, \+0.010 .* on test: 80% of it",
        ),
        (
            Score(-0.06, -0.08, -0.04),
            HIGHER,
            (0.8, 0.85),
            r"\+0.060 \(.*\) on test, which shows it too",
        ),
        (
            Score(-0.02, -0.06, 0.02),
            HIGHER,
            (0.8, 0.85),
            r"\+0.020 \(.*\) on test, whose rows are too few",
        ),
        (Score(0.02, 0.0, 0.04), HIGHER, (0.8, 0.85), r"-0.020 \(-0.040 to \+0.000\) on test, which shows none of it"),
        (Score(0.1, 0.05, 0.15), LOWER, (1.0, 0.6), r"0.400 in .*, \+0.100 \(\+0.050 to \+0.150\) on test: 75% of it"),
    ],
)
def test_the_gain_on_validation_is_compared_with_that_on_test(difference, metric, scores, said):
    default, best = Trial(0, {}, "complete", scores[0]), Trial(1, {"seed": 1}, "complete", scores[1])
    sentences = sentences_of(
        [default, best], best, "validation accuracy", "accuracy", metric, comparison(difference), {}, has_test=True
    )
    assert any(re.search(said, sentence) for sentence in sentences), sentences


def test_without_a_test_split_nothing_tells_the_optimism():
    default, best = Trial(0, {}, "complete", 0.8), Trial(1, {"seed": 1}, "complete", 0.9)
    sentences = sentences_of(
        [default, best], best, "validation accuracy", "accuracy", HIGHER, None, {"seed": 1.0}, has_test=False
    )
    assert "no test split: validation chose among all trials" in sentences[1]
    assert sentences[2] == "importance of the settings for validation accuracy: seed 1.00"


def test_a_tie_leaves_the_default_settings_and_pruned_trials_are_not_chosen():
    default = Trial(0, {}, "complete", 0.8, Costs(seconds=1.0))
    others = [Trial(1, {}, "complete", 0.8), Trial(2, {}, "pruned", 0.9), Trial(3, {}, "failed")]
    assert best_of([default, *others], HIGHER) is default
    assert best_of([default, replace(others[0], score=0.7)], LOWER).number == 1


@pytest.mark.long
def test_two_processes_share_a_search(tiny_bert, tmp_path):
    for split, rows in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"model={tiny_bert}", f"dataset={tmp_path}", f"output_dir={tmp_path / 'run'}", "num_train_epochs=1"]
    words += ["bf16=false", "search.learning_rate=loguniform(1e-4, 1e-2)", "search.trials=6"]
    command = [sys.executable, "-m", "hfrecipes", "search", "text-classification", *words]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    outputs = [process.communicate()[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    carried_out = [output.count(" of 6 (learning_rate=") for output in outputs]
    assert sum(carried_out) == 6
    assert min(carried_out) > 0, "one of them did it all"
    entries = of_trials(tmp_path / "run")
    assert [entry["number"] for entry in entries] == list(range(7))
    assert all(math.isfinite(entry["score"]) for entry in entries)
    assert len({entry["values"]["learning_rate"] for entry in entries[1:]}) == 6
