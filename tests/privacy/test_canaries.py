"""Canaries: secrets that are planted in train, what an audit tells of them, and that nothing else has them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import transformers
from conftest import make_letters, opinions
from processes import TWO_PROCESSES, run_python

import hfrecipes
from hfrecipes.auditing import canaries as exposure
from hfrecipes.errors import ConfigError
from hfrecipes.evaluation.scoring import Score
from hfrecipes.hub.audited import section
from hfrecipes.privacy import canaries
from hfrecipes.privacy.canaries import Canary
from hfrecipes.registry import find
from hfrecipes.reports.run_data import RunData
from hfrecipes.reports.sections.audit import section as report_section
from hfrecipes.run_folder.contents import RunInfo
from hfrecipes.runner import run_settings
from hfrecipes.training.configuration import configure

FEW = 64  # candidates of an audit, in place of 256, so that one takes a second


def texts(number: int, seed: int = 0) -> list[dict]:
    """Rows of text generation, all different."""
    return [{"text": row["text"]} for row in opinions(number, seed)]


def rows_for(task: str, number: int, seed: int = 0) -> list[dict]:
    """Rows of a task that writes."""
    rows = []
    for row in texts(number, seed):
        text = row["text"]
        if task == "chat":
            turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text[:12]}]
            rows.append({"messages": turns})
        elif task == "text-generation":
            rows.append(row)
        else:
            source, target, *_ = find(task).columns
            rows.append({source: text, target: text[:12]})
    return rows


SPLITS = {"train": texts(24), "validation": texts(8, seed=1), "test": texts(24, seed=2)}
LAST_WEIGHTS = {"load_best_model_at_end": False, "eval_strategy": "no", "save_strategy": "no"}


def settings_of(model: str, tmp_path: Path, **more) -> dict:
    """Settings of a run of text generation with secrets in its train."""
    return {
        "model": model,
        "dataset": SPLITS,
        "output_dir": str(tmp_path / "run"),
        "privacy": {"canaries": 9},
        "bf16": False,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 4,
        "across_documents": False,
        "generated_rows": 0,
        "early_stopping": False,
        **more,
    }


@pytest.fixture
def few_candidates(monkeypatch):
    """Audits that try few other secrets."""
    monkeypatch.setattr(exposure, "CANDIDATES", FEW)
    monkeypatch.setattr(exposure, "MOST", float(np.log2(FEW)))


# --- drawing and planting ------------------------------------------------------------------------------------------


def test_a_seed_draws_the_same_secrets_each_time_and_another_seed_others():
    drawn = canaries.drawn(30, seed=1)
    assert drawn == canaries.drawn(30, seed=1)
    assert not {canary.code for canary in drawn} & {canary.code for canary in canaries.drawn(30, seed=2)}
    assert len({canary.prefix for canary in drawn}) == len({canary.code for canary in drawn}) == 30
    assert [sum(canary.rows == rows for canary in drawn) for rows in canaries.TIMES] == [10, 10, 10]


@pytest.mark.parametrize("task", canaries.TASKS)
def test_the_trainer_has_secrets_in_rows_of_train_and_nothing_else_has_them(task, model_for, tmp_path, caplog):
    caplog.set_level("INFO")
    rows = rows_for(task, 20)
    trainer = hfrecipes.build(
        task,
        model=model_for(find(task)),
        dataset={"train": rows, "validation": rows[:4]},
        output_dir=str(tmp_path / "run"),
        privacy={"canaries": 9},
        bf16=False,
    )
    plan, planted = trainer.hfrecipes_job.plan, canaries.drawn(9, 42)
    assert len(plan.data.splits["train"]) == 20
    assert plan.info.data["train"].startswith("20 rows")
    assert canaries.read(plan.info.canaries) == planted
    assert "9 random secrets are planted in train, 3 in 1 row each, 3 in 4 rows each, 3 in 16 rows each" in caplog.text
    assert any("63 rows beside the 20 of the data (76 % " in sentence for sentence in plan.info.limits)
    trained_on, scored = _learnt(trainer.train_dataset, plan.recipe), _learnt(trainer.eval_dataset, plan.recipe)
    for canary in planted:
        assert trained_on.count(canary.code.replace(" ", "")) == canary.rows, canary
        assert canary.code.replace(" ", "") not in scored


def _learnt(features, recipe) -> str:
    """What is learnt of all features, without spaces; a text may go on in the next feature."""
    ids = [label for row in features for label in row["labels"] if label >= 0]
    return recipe.tokenizer.decode(ids, skip_special_tokens=False).replace(" ", "")


def test_secrets_stand_among_the_rows_of_the_data_which_keep_their_order(tiny_llama, tmp_path):
    trainer = hfrecipes.build("text-generation", **settings_of(tiny_llama, tmp_path))
    plan = trainer.hfrecipes_job.plan
    mixed = canaries.planted(plan.data.splits["train"], plan.recipe, canaries.drawn(9, 42), 42)
    kept = [text for text in mixed["text"] if not text.startswith("The code of")]
    assert kept == [row["text"] for row in SPLITS["train"]]
    places = [index for index, text in enumerate(mixed["text"]) if text.startswith("The code of")]
    assert len(places) == 63
    assert np.ptp(places) > 63, "they do not follow each other"
    again = canaries.planted(plan.data.splits["train"], plan.recipe, canaries.drawn(9, 42), 42)
    assert again._fingerprint == mixed._fingerprint, "features of the same secrets are found in the cache"
    others = canaries.planted(plan.data.splits["train"], plan.recipe, canaries.drawn(9, 43), 43)
    assert others._fingerprint != mixed._fingerprint, "and those of other secrets are not taken for them"


def test_a_model_that_cannot_hold_a_secret_is_refused_before_training(tiny_llama, tiny_t5, tmp_path):
    with pytest.raises(ConfigError, match=r"privacy.canaries: found max_length=24, expected \d+ or more"):
        hfrecipes.build("text-generation", **settings_of(tiny_llama, tmp_path, max_length=24))
    rows = rows_for("text2text-generation", 20)
    with pytest.raises(ConfigError, match="found max_target_length=4, which truncates rows with a secret"):
        hfrecipes.build(
            "text2text-generation",
            model=tiny_t5,
            dataset={"train": rows, "validation": rows[:4]},
            output_dir=str(tmp_path / "run"),
            privacy={"canaries": 9},
            max_target_length=4,
        )


@pytest.mark.parametrize(
    ("task", "privacy", "sentence"),
    [
        (
            "text-classification",
            {"canaries": 9},
            "text-classification writes no text that could tell a secret; text",
        ),
        ("text-generation", {"canaries": 4}, "found 4, expected 9 to 300"),
        ("text-generation", {"canaries": 9.5}, "privacy.canaries: found 9.5"),
        ("text-generation", {"canary": 9}, "unknown setting privacy.canary (did you mean canaries?)"),
        ("text-generation", {"canaries": 9, "delta": 1e-5}, "give one of privacy.epsilon=8"),
    ],
)
def test_settings_without_a_meaning_are_refused_before_a_row_is_read(task, privacy, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        hfrecipes.run(task, model="no/such-model", dataset="no-such-file.csv", privacy=privacy)


def test_parts_of_train_that_would_all_have_as_many_secrets_are_refused():
    with pytest.raises(ConfigError, match="curve: leave it out with"):
        hfrecipes.run("text-generation", model="no/such-model", dataset="no.csv", privacy={"canaries": 9}, curve=5)


def test_a_check_counts_the_secrets_that_a_run_would_train_on(tiny_llama, tmp_path, caplog):
    given = settings_of(tiny_llama, tmp_path, num_train_epochs=1)
    hfrecipes.check("text-generation", **{**given, "privacy": None})
    hfrecipes.check("text-generation", **given)
    few, many = map(int, re.findall(r"epochs? of (\d+) examples", caplog.text))
    assert many > 2 * few, "blocks of 63 rows beside those of 24"
    with pytest.raises(ConfigError, match=r"privacy.canaries: found max_length=24"):
        hfrecipes.check("text-generation", **{**given, "max_length": 24})


def test_secrets_alone_make_no_training_private_and_null_takes_them_back():
    config, _ = configure("text-generation", {"privacy": {"canaries": 9}})
    assert config.private is None
    assert config.canaries == 9
    assert config.training["train_sampling_strategy"] == "group_by_length"
    low = {"task": "text-generation", "privacy": {"canaries": 9}}
    config, _ = configure(low, {"privacy": {"canaries": None}})
    assert (config.privacy, config.canaries) == (None, 0)


# --- audits --------------------------------------------------------------------------------------------------------


def test_a_model_that_was_trained_for_long_tells_secrets_and_card_and_report_say_so(
    tiny_llama, tmp_path, few_candidates
):
    given = settings_of(tiny_llama, tmp_path, num_train_epochs=40, training=LAST_WEIGHTS)
    path = hfrecipes.run("text-generation", **given).path
    result = hfrecipes.audit(path, dataset=SPLITS)
    *_, often, never = result.canaries
    assert (often.rows, often.secrets, never.rows, never.secrets) == (16, 3, 0, 9)
    assert often.exposure.value == 6.0
    assert often.extracted.value == 1.0
    assert often.exposure.low > exposure.guessing(FEW)
    assert never.extracted.value == 0.0
    assert never.exposure.low < exposure.guessing(FEW) < never.exposure.high
    assert any("of 3 secrets in 16 rows of train the model remembers some, and writes 3" in s for s in result.sentences)
    written = json.loads((path / "audit.json").read_text())["canaries"]
    assert written["groups"][2] == {
        "rows": 16,
        "secrets": 3,
        "exposure": {"value": 6.0, "ci95": often.exposure.ci95, "baseline": exposure.guessing(FEW)},
        "extracted": {"value": 1.0, "ci95": often.extracted.ci95, "baseline": 0.0},
    }
    for row in ("| in 16 rows of train | 3 | 6.000 (", "| never planted | 9 | ", "| loss | "):
        assert row in section(path)
        assert row in (path / "README.md").read_text()
    blocks = report_section(RunData(path, None, None, {}, None)).blocks
    assert [blocks[0].heads[0], blocks[1].heads[0]] == ["attack", "secrets"]
    assert "The code of" not in (path / "predictions.jsonl").read_text() + (path / "report.html").read_text()


def test_a_private_training_is_not_seen_to_remember_secrets(tiny_llama, tmp_path, few_candidates):
    privacy = {"canaries": 9, "noise_multiplier": 1.0}
    given = settings_of(tiny_llama, tmp_path, num_train_epochs=1, training=LAST_WEIGHTS, privacy=privacy)
    path = hfrecipes.run("text-generation", **given).path
    assert RunInfo.read(path).privacy["epsilon"] > 0
    result = hfrecipes.audit(path, dataset=SPLITS)
    # The noise has no seed, and three secrets of a group may lie above the mean by chance; far above they do not.
    groups = [group for group in result.canaries[:-1] if not group.extracted.value]
    unseen = [group for group in groups if group.exposure.low <= exposure.guessing(FEW)]
    for group in result.canaries[:-1]:
        assert group.extracted.value < 1
        assert group.exposure.value < exposure.guessing(FEW) + 3
    told = sum("the model cannot be seen to remember any" in sentence for sentence in result.sentences)
    assert told == len(unseen)
    assert any("for a secret in k rows it is k times as large" in sentence for sentence in result.sentences)


def test_a_run_that_is_killed_and_resumed_has_the_same_secrets(tiny_llama, tmp_path, caplog):
    caplog.set_level("INFO")
    given = settings_of(tiny_llama, tmp_path, num_train_epochs=2, privacy={"canaries": 12})
    trained = []

    class Kill(transformers.TrainerCallback):
        def on_train_begin(self, args, state, control, train_dataloader=None, **_):
            trained.append([list(rows["input_ids"]) for rows in train_dataloader.dataset])

        def on_epoch_begin(self, args, state, control, **_):
            if len(trained) == 1 and state.epoch:
                raise InterruptedError

    with pytest.raises(InterruptedError):
        run_settings("text-generation", given, callbacks=[Kill()])
    kept = RunInfo.read(tmp_path / "run").canaries
    assert canaries.read(kept) == canaries.drawn(12, 42), "as they were drawn: nothing of them is masked"
    run_settings("text-generation", given, callbacks=[Kill()])
    assert "resuming from" in caplog.text
    assert trained[0] == trained[1]
    assert RunInfo.read(tmp_path / "run").canaries == kept


@pytest.mark.long
def test_two_processes_train_on_the_same_rows(tiny_llama, tmp_path):
    given = {**settings_of(tiny_llama, tmp_path), "across_documents": True, "max_steps": 2}
    (tmp_path / "script.py").write_text(
        "import hfrecipes\n"
        f"result = hfrecipes.run('text-generation', **{given!r})\n"
        "from hfrecipes.data.checks import fingerprint\n"
        "print('rows', fingerprint(result.predictor.trainer.train_dataset))\n"
    )
    made = run_python(*TWO_PROCESSES, "script.py", cwd=tmp_path)
    lines = [line for line in made.stdout.splitlines() if line.startswith("rows ")]
    assert len(lines) == 2
    assert len(set(lines)) == 1
    assert len(RunInfo.read(tmp_path / "run").canaries) == 9


# --- figures -------------------------------------------------------------------------------------------------------


def test_secrets_of_random_ranks_have_the_exposure_of_guessing():
    losses = np.random.default_rng(0).normal(size=(4000, 256))
    assert exposure.exposures_of(losses).mean() == pytest.approx(exposure.guessing(256), abs=0.08)
    assert exposure.guessing(256) == pytest.approx(np.mean(8 - np.log2(np.arange(1, 257))))


def test_equal_losses_and_losses_that_are_no_numbers_expose_nothing():
    assert exposure.exposures_of(np.ones((1, 8))).tolist() == [0.0]
    assert exposure.exposures_of(np.full((1, 8), np.nan)).tolist() == [0.0]


def test_losses_are_sums_so_that_secrets_of_more_tokens_are_compared_with_others(tiny_t5, tmp_path):
    rows = rows_for("text2text-generation", 20)
    trainer = hfrecipes.build(
        "text2text-generation",
        model=tiny_t5,
        dataset={"train": rows, "validation": rows[:4]},
        output_dir=str(tmp_path / "run"),
        bf16=False,
    )
    job = trainer.hfrecipes_job
    inference = hfrecipes.predictor.Predictor(job.plan.recipe, trainer.model, job.plan.config).inference
    few = job.plan.data.splits["train"].select(range(3))
    lengths = [len(labels) for labels in job.encoded["train"]["labels"][:3]]
    means, sums = exposure.losses_of(inference, few), exposure.losses_of(inference, few, summed=True)
    assert sums == pytest.approx(means * lengths, rel=1e-5)
    assert lengths == [len(make_letters()(row["output"])["input_ids"]) for row in rows[:3]]


def test_the_verdict_does_not_call_chance_a_memory():
    never = exposure.Remembered(0, 9, Score(1.4, 0.7, 2.2), Score(0.0, 0.0, 0.3))
    little = exposure.Remembered(1, 9, Score(2.0, 1.2, 3.0), Score(0.0, 0.0, 0.3))
    much = exposure.Remembered(4, 9, Score(7.0, 5.0, 7.9), Score(0.0, 0.0, 0.3))
    lines = exposure.sentences([little, much, never], is_private=False)
    assert "in 1 row of train the model cannot be seen to remember any (exposure 2.000" in lines[0]
    assert "in 4 rows of train the model remembers some, and writes 0 by itself (exposure 7.000" in lines[1]
    assert not exposure.sentences([], is_private=False)


def test_secrets_that_were_never_planted_are_none_of_those_that_were():
    planted = canaries.drawn(50, 3)
    others = canaries.new_prefixes(50, np.random.default_rng([3]), {canary.prefix for canary in planted})
    assert not set(others) & {canary.prefix for canary in planted}
    assert Canary(**canaries.as_json(planted)[0]) == planted[0]
