"""Audits: the loss of rows, attacks and their intervals, shadow models, the card, and what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import THINGS, opinions, rows_of
from sklearn.metrics import roc_auc_score

import hfrecipes
from hfrecipes.auditing import attacks, likelihood, outcome, shadows
from hfrecipes.auditing.attacks import Audited
from hfrecipes.auditing.row_losses import losses_of
from hfrecipes.auditing.text_alone import signal_of_texts
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, DataError, ModelError
from hfrecipes.evaluation.scoring import Score
from hfrecipes.flow.single import carry_out
from hfrecipes.registry import find, list_tasks
from hfrecipes.reports.run_data import RunData
from hfrecipes.reports.sections.audit import section as report_section


def alone(number: int) -> Audited:
    """So many members and as many others that share nothing."""
    return Audited(np.arange(2 * number) < number, np.arange(2 * number), seed=0)


# --- losses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", list_tasks())
def test_the_loss_of_a_row_does_not_depend_on_the_rows_beside_it(task, model_for, tmp_path):
    kind = find(task)
    rows = rows_of(kind, 12)
    trainer = hfrecipes.build(
        task,
        model=model_for(kind),
        dataset={"train": rows, "validation": rows[:4]},
        output_dir=str(tmp_path / "run"),
        bf16=False,
    )
    job = trainer.hfrecipes_job
    predictor = hfrecipes.predictor.Predictor(job.plan.recipe, trainer.model, job.plan.config)
    dataset = job.plan.data.splits["train"].select(range(4))
    together = losses_of(predictor.inference, dataset)
    one_by_one = [losses_of(predictor.inference, dataset.select([index]))[0] for index in range(4)]
    assert np.isfinite(together).all()
    assert (together > 0).all()
    assert together == pytest.approx(one_by_one, rel=1e-3)


# --- attacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_area_under_the_curve_is_that_of_scikit_learn_with_ties_too(seed):
    rows, generator = alone(60), np.random.default_rng(seed)
    signal = generator.integers(0, 9, 120) + 2.0 * rows.is_member
    score = attacks.attack(rows, signal)["auc"]
    assert score.value == pytest.approx(roc_auc_score(rows.is_member, signal))
    assert score.low < score.value < score.high
    weights = next(attacks.resamples(rows))[0]
    drawn = np.repeat(np.arange(120), weights.astype(int))
    assert rows.is_member[drawn].sum() == 60, "each resample has as many members"
    expected = roc_auc_score(rows.is_member[drawn], signal[drawn])
    assert attacks.ranking(signal, rows.is_member)(weights[None])["roc_auc"][0] == pytest.approx(expected)


def test_no_threshold_is_chosen_on_the_rows_that_it_is_reported_on():
    rows, generator = alone(40), np.random.default_rng(1)
    signal = generator.normal(size=80)
    is_first, called = attacks.first_half(rows), attacks.decisions(rows, signal, attacks.best_threshold)
    changed = np.where(is_first, generator.normal(size=80), signal)
    again = attacks.decisions(rows, changed, attacks.best_threshold)
    threshold = attacks.best_threshold(signal[~is_first], rows.is_member[~is_first])
    assert (again[is_first] == (changed[is_first] >= threshold)).all(), "the first half uses that of the second"
    threshold = attacks.best_threshold(signal[is_first], rows.is_member[is_first])
    assert (called[~is_first] == (signal[~is_first] >= threshold)).all()
    assert is_first[rows.is_member].sum() == is_first[~rows.is_member].sum() == 20


def test_signals_that_say_nothing_have_no_advantage_on_average():
    """The largest difference of the rates, taken on the rows that chose it, would be far above 0."""
    rows, generator = alone(40), np.random.default_rng(0)
    values, above = [], 0
    for _ in range(40):
        advantage = attacks.attack(rows, generator.normal(size=80))["advantage"]
        values.append(advantage.value)
        above += advantage.low > 0
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(40)
    assert above <= 4


def test_rows_of_a_unit_are_in_one_half_and_widen_the_interval():
    units = np.repeat(np.arange(40), 5)
    rows = Audited(np.arange(200) < 100, units, seed=0)
    signal = np.repeat(np.random.default_rng(0).normal(size=40), 5) + rows.is_member
    halves = attacks.first_half(rows).reshape(40, 5)
    assert (halves == halves[:, :1]).all()
    shared, independent = attacks.area(rows, signal), attacks.area(alone(100), signal)
    assert shared.high - shared.low > 1.5 * (independent.high - independent.low)


def test_few_false_alarms_are_reported_with_enough_rows_alone():
    generator = np.random.default_rng(0)
    assert "tpr" not in attacks.attack(alone(100), generator.normal(size=200))
    many = alone(600)
    figures = attacks.attack(many, generator.normal(size=1200) + 2 * many.is_member)
    assert 0.2 < figures["tpr"].low < figures["tpr"].value < 0.6
    assert figures["fpr"].value < 0.03
    assert figures["tpr"].baseline == 0.01


def test_a_perfect_attack_still_has_an_interval():
    rows = alone(20)
    figures = attacks.attack(rows, rows.is_member.astype(float))
    assert figures["advantage"].value == figures["auc"].value == 1
    assert figures["auc"].low < 0.95
    assert figures["advantage"].low < 0.9


def test_the_kind_of_rows_with_fewer_texts_decides_how_sure_a_perfect_attack_is():
    is_member = np.arange(400) < 200
    units = np.where(is_member, np.arange(400), 200 + np.arange(400) % 12)
    figures = attacks.attack(Audited(is_member, units, seed=0), is_member.astype(float))
    assert figures["auc"].low < 0.9
    assert figures["advantage"].low < 0.8


# --- likelihood ratios -------------------------------------------------------------------------------------------


def test_each_row_has_as_many_shadow_models_with_it_as_without_it():
    is_in = likelihood.memberships(np.arange(31), 6, seed=5)
    assert (is_in.sum(axis=0) == 3).all()
    assert (likelihood.memberships(np.arange(31), 4, seed=5) == is_in[:4]).all(), (
        "more models begin with the same halves"
    )
    assert not (is_in[0] == is_in[2]).all()


def test_equal_rows_are_in_the_same_shadow_models():
    units = np.repeat(np.arange(20), 3)
    is_in = likelihood.memberships(units, 4, seed=1).reshape(4, 20, 3)
    assert (is_in == is_in[:, :, :1]).all()


@pytest.mark.parametrize("models", [2, 4, 16])
def test_ratios_find_members_that_are_hidden_by_how_hard_rows_are(models):
    rows, generator = alone(100), np.random.default_rng(0)
    hardness = generator.normal(size=200, scale=5)
    target = hardness + rows.is_member + generator.normal(size=200, scale=0.3)
    is_in = likelihood.memberships(np.arange(200), models, seed=0)
    of_shadows = hardness + is_in + generator.normal(size=(models, 200), scale=0.3)
    plain = attacks.area(rows, target)
    ratio = attacks.area(rows, likelihood.ratios(target, of_shadows, is_in))
    assert plain.value < 0.65
    assert ratio.low > 0.9


def test_confidences_neither_overflow_nor_become_infinite():
    values = likelihood.confidences(np.array([0.0, 1e-9, 0.5, 800.0]))
    assert np.isfinite(values).all()
    assert values[-1] == pytest.approx(-800)
    assert (np.diff(values) <= 0).all()


@pytest.mark.parametrize("number", [1, 3, -2, 2000, 1.5])
def test_a_number_of_shadow_models_that_rows_cannot_be_shared_out_to_is_refused(number):
    with pytest.raises(ConfigError, match="expected an even number"):
        shadows.check_number(number)


# --- words -------------------------------------------------------------------------------------------------------


def test_the_bound_of_epsilon_is_that_of_the_error_rates():
    assert outcome.advantage_bound(1.0, 0.0) == pytest.approx((np.e - 1) / (np.e + 1))
    assert outcome.advantage_bound(1.0, 0.01) == pytest.approx((np.e - 1 + 0.02) / (np.e + 1))
    assert outcome.advantage_bound(2000.0, 1e-5) == 1.0


def test_the_verdict_says_guessing_where_the_interval_has_zero():
    assert "cannot be told from guessing" in outcome.verdict(Score(0.1, -0.02, 0.2), 0)
    told = outcome.verdict(Score(0.3, 0.2, 0.4), 4)
    assert "4 shadow models and a row tells in 65 of 100 cases" in told
    assert "15 more than by guessing" in told


# --- runs --------------------------------------------------------------------------------------------------------


def written(folder: Path, **splits: list[dict]) -> str:
    """A folder with a file of rows for each split."""
    folder.mkdir()
    for name, rows in splits.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def noise(number: int, seed: int) -> list[dict]:
    """Rows of which nothing can be learnt but each row by itself."""
    generator = random.Random(seed)
    rows = []
    for index in range(number):
        words = generator.choices(THINGS, k=4) + generator.choices("abcdefghij", k=4)
        rows.append({"text": " ".join(words), "label": ("good", "bad")[index % 2]})
    return rows


def run(quick: dict, tmp_path: Path, rows: dict, **settings) -> Path:
    """A run in a folder."""
    given = {**quick, "dataset": rows, "output_dir": str(tmp_path / "run"), "early_stopping": False, **settings}
    return hfrecipes.run("text-classification", **given).path


SPLITS = {"train": opinions(40), "test": opinions(40, seed=1), "validation": opinions(8, seed=2)}


def section_of(path: Path) -> str:
    """What the card says about the audit."""
    _, _, after = (path / "README.md").read_text().partition("## What the model tells about its training rows\n")
    return after.partition("## Limits")[0]


def test_an_overfitted_model_is_told_and_its_card_and_report_say_so(quick, tmp_path):
    data = written(tmp_path / "data", train=noise(40, 0), test=noise(40, 1), validation=noise(8, 2))
    training = {"load_best_model_at_end": False, "eval_strategy": "no", "save_strategy": "no"}
    path = run(quick, tmp_path, data, num_train_epochs=40, training=training)
    result = hfrecipes.audit(path)
    assert result.advantage.low > 0.1
    assert result.attacks["loss"]["auc"].low > 0.5
    assert "of 100 cases whether it was trained on" in result.sentences[0]
    written_down = json.loads((path / "audit.json").read_text())
    assert written_down["attacks"]["loss"]["auc"]["value"] == result.attacks["loss"]["auc"].value
    assert written_down["rows"] == {"members": 40, "others": 40, "split": "test", "left_out": 0}
    assert "of 100 cases whether it was trained on" in section_of(path)
    assert "| guessing | 0.500 | 0.000 |" in section_of(path)
    hfrecipes.audit(path, rows=30)
    card = (path / "README.md").read_text()
    assert card.count("## What the model tells") == 1, "another audit takes the place of the first"
    assert "30 rows of train against 30 of test" in section_of(path)
    section = report_section(RunData(path, None, None, {}, None))
    assert section.blocks[0].heads[0] == "attack"
    (path / "README.md").unlink()
    run(quick, tmp_path, data, num_train_epochs=40, training=training)
    assert "30 rows of train against 30 of test" in section_of(path), "a card that is written again still has it"


def test_a_model_that_generalizes_is_not_told_from_guessing(quick, tmp_path):
    data = written(tmp_path / "data", **{**SPLITS, "test": opinions(40, seed=1) + opinions(3)})
    path = run(quick, tmp_path, data)
    shown = CliRunner().invoke(main, ["audit", str(path)])
    assert shown.exit_code == 0, shown.output
    result = json.loads((path / "audit.json").read_text())
    assert "the attack cannot be told from guessing (advantage" in shown.output
    assert "3 rows of test with the input of one of train left out" in shown.output
    low, high = result["attacks"]["loss"]["advantage"]["ci95"]
    assert low <= 0 < high
    printed = CliRunner().invoke(main, ["audit", str(path), "--json", "--rows", "25"])
    assert json.loads(printed.stdout)["rows"]["members"] == 25


def test_rows_from_python_are_given_again_and_must_be_the_same(quick, tmp_path):
    path = run(quick, tmp_path, SPLITS)
    with pytest.raises(DataError, match=r"cannot be read again: the rows of this run came from Python"):
        hfrecipes.audit(path)
    with pytest.raises(DataError, match=r"the rows of train are not those that .*: put the data back"):
        hfrecipes.audit(path, dataset={**SPLITS, "train": opinions(40, seed=7)})
    assert not (path / "audit.json").exists()
    assert hfrecipes.audit(path, dataset=SPLITS).members == 40


def test_without_test_rows_validation_serves_and_shadow_models_are_refused(quick, tmp_path):
    splits = {"train": opinions(40), "validation": opinions(30, seed=2)}
    path = run(quick, tmp_path, splits)
    result = hfrecipes.audit(path, dataset=splits)
    assert (result.split, result.members, result.others) == ("validation", 30, 30)
    assert any("validation chose the checkpoint" in sentence for sentence in result.sentences)
    with pytest.raises(DataError, match="shadows: found no test rows"):
        hfrecipes.audit(path, dataset=splits, shadows=2)


def test_too_few_rows_and_folders_that_are_no_runs_are_refused(quick, tmp_path):
    splits = {**SPLITS, "test": opinions(10, seed=1)}
    path = run(quick, tmp_path, splits)
    with pytest.raises(DataError, match=r"found 40 rows of train and 10 of test .*, expected 20 of each or more"):
        hfrecipes.audit(path, dataset=splits)
    with pytest.raises(ConfigError, match="rows: found 5, expected 20 or more"):
        hfrecipes.audit(path, rows=5)
    with pytest.raises(ModelError, match="expected the folder of a run"):
        hfrecipes.audit(tmp_path)
    (path / "model.onnx").touch()
    (path / "export.json").touch()
    with pytest.raises(ModelError, match="is a model in ONNX, which cannot be audited"):
        hfrecipes.audit(path)


def test_a_killed_audit_trains_no_finished_shadow_model_again(quick, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    data = written(tmp_path / "data", **SPLITS)
    path = run(quick, tmp_path, data)
    trained = []

    def killed(plan):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(plan)
        return carry_out(plan)

    monkeypatch.setattr(shadows, "carry_out", killed)
    with pytest.raises(KeyboardInterrupt):
        hfrecipes.audit(path, rows=20, shadows=2)
    assert not (path / "audit.json").exists()
    monkeypatch.setattr(shadows, "carry_out", lambda plan: (trained.append(plan), carry_out(plan))[1])
    result = hfrecipes.audit(path, rows=20, shadows=2)
    assert len(trained) == 2
    assert "shadows: 2 trainings of about" in caplog.text
    assert list(result.attacks) == ["loss", "likelihood ratio"]
    assert result.sentences[0].startswith("loss: ")
    assert result.sentences[1].startswith("likelihood ratio: ")
    rows = [[row["text"] for row in plan.data.splits["train"]] for plan in trained]
    assert [len(texts) for texts in rows] == [40, 40], "as many rows as the run was trained on"
    assert all("test" not in plan.data.splits for plan in trained)
    tested = {row["text"] for row in SPLITS["test"]}
    assert sum(len(tested & set(texts)) for texts in rows) == 20, "each test row is in one of both"
    left = sorted(file.name for file in (path / "shadows").rglob("*") if file.is_file())
    assert left == ["shadow-1.json", "shadow-2.json"], "the models themselves are deleted"
    assert hfrecipes.load(path).predict("the film was great"), "the run is still one run"
    hfrecipes.audit(path, rows=20, shadows=2)
    assert len(trained) == 2


def test_the_bound_of_a_private_run_stands_beside_what_was_measured(tmp_path):
    figures = {"loss": {"auc": Score(0.6, 0.5, 0.7), "advantage": Score(0.2, 0.1, 0.3)}}
    spent = {"epsilon": 2.0, "delta": 1e-5}
    result = outcome.Audit(tmp_path, 100, 100, "test", 0, figures, Score(0.5, 0.4, 0.6), spent=spent)
    assert "privacy: epsilon 2 allows no attack an advantage above 0.762; this one has 0.200" in result.sentences
    assert result.as_json()["privacy"]["advantage_at_most"] == pytest.approx(0.7616, abs=1e-3)


def test_rows_that_are_told_apart_by_their_texts_alone_are_warned_of(tmp_path):
    rows = alone(40)
    texts = [f"{'a film' if index < 40 else 'the phone'} number {index}" for index in range(80)]
    found = attacks.area(rows, signal_of_texts(rows, texts))
    assert found.low > 0.9
    figures = {"loss": {"auc": Score(0.6, 0.5, 0.7), "advantage": Score(0.2, 0.1, 0.3)}}
    result = outcome.Audit(tmp_path, 40, 40, "test", 0, figures, found)
    assert any("can be told apart by their texts alone" in sentence for sentence in result.sentences)
    same = attacks.area(rows, signal_of_texts(rows, [f"the film number {index % 40}" for index in range(80)]))
    assert same.low < 0.5


def test_a_model_that_has_learnt_nothing_is_not_told_by_shadow_models_either(quick, tmp_path):
    path = run(quick, tmp_path, SPLITS, learning_rate=1e-12, num_train_epochs=1)
    result = hfrecipes.audit(path, dataset=SPLITS, shadows=2)
    for name, figures in result.attacks.items():
        assert figures["advantage"].low <= 0, name
        assert figures["auc"].low <= 0.5, name
