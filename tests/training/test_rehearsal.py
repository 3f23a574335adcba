"""Whatever can fail after training is tried before it on two rows, and leaves nothing behind."""

from __future__ import annotations

import tempfile
from functools import partial

import numpy as np
import pytest
import torch
from conftest import opinions, plan_of, rows_of

import hfrecipes
from hfrecipes import predictor
from hfrecipes.errors import ModelError
from hfrecipes.evaluation import inference, scoring
from hfrecipes.flow import finishing, single
from hfrecipes.models import adapters, directory
from hfrecipes.registry import find, list_tasks
from hfrecipes.run_folder import contents, progress
from hfrecipes.training import rehearsal

pytestmark = pytest.mark.rehearsed

ROWS = {"train": opinions(40), "validation": opinions(12, 1), "test": opinions(12, 2)}


def weights_of(result) -> torch.Tensor:
    return torch.cat([weights.detach().flatten() for weights in result.trainer.model.parameters()])


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_weights_are_those_of_a_run_without_it(lora, quick, tmp_path, monkeypatch):
    with_it = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "a", lora=lora, **quick)
    monkeypatch.setattr(single, "rehearse", lambda *given: None)
    without = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "b", lora=lora, **quick)
    assert torch.equal(weights_of(with_it), weights_of(without))
    assert with_it.scores == without.scores


def fail(*given, **keywords):
    raise KeyError("something")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (inference, "in_row_order"),
        (directory, "save"),
        (finishing, "write_card"),
        (contents, "write_predictions"),
        (contents, "mark_complete"),
        (scoring, "gap"),
        (predictor, "load"),
    ],
    ids=["predict", "save", "card", "write", "finish", "score", "reload"],
)
def test_what_fails_after_training_is_known_before_it(module, name, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(module, name, fail)
    trained = []
    monkeypatch.setattr(single, "_train", trained.append)
    with pytest.raises(ModelError, match=r"tried on 2 rows before training.*KeyError: 'something'"):
        hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)
    assert not trained
    assert not (tmp_path / "run").exists(), "nothing was written"


def test_a_model_that_predicts_otherwise_once_loaded_is_refused(quick, tmp_path, monkeypatch):
    save = directory.save

    def forgetful(network, recipe, path):
        network = type(network)(network.config)  # new weights
        return save(network, recipe, path)

    monkeypatch.setattr(directory, "save", forgetful)
    with pytest.raises(ModelError, match="a model of type bert predicts differently after it is saved and loaded"):
        hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)


def test_adapters_that_reload_otherwise_after_training_are_kept_with_a_warning(quick, tmp_path, monkeypatch, caplog):
    check = adapters.check_saved

    def later(expected, batch, config, recipe, path):
        is_over = path == tmp_path / "run"
        check(expected + 10.0 * is_over, batch, config, recipe, path)

    monkeypatch.setattr(adapters, "check_saved", later)
    result = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", lora=True, **quick)
    assert "warning: the merged model saved in" in caplog.text
    assert "Everything is kept; compare:  hfrecipes evaluate" in caplog.text
    assert contents.is_complete(tmp_path / "run")
    assert result.predict("the film was great")["label"] in ("good", "bad")


@pytest.mark.parametrize("task", list_tasks())
def test_it_writes_nothing_that_stays_and_prints_nothing(task, quick, model_for, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    kind = find(task)
    job = job_of(task, {**quick, "model": model_for(kind)}, tmp_path / "run")
    before = dict(vars(job.plan.recipe)), torch.get_rng_state(), np.random.get_state()[1].tolist()
    weights = [one.detach().clone() for one in job.trainer.model.parameters()]
    caplog.clear()
    capsys.readouterr()
    rehearsal.rehearse(job, partial(single.finish_run, start=0.0))
    assert not caplog.text
    assert capsys.readouterr() == ("", "")
    assert vars(job.plan.recipe) == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.random.get_state()[1].tolist() == before[2]
    assert all(map(torch.equal, weights, job.trainer.model.parameters()))
    assert not list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "run").iterdir())


def job_of(task: str, settings: dict, path):
    from hfrecipes.training.trainer import make_job

    kind = find(task)
    dataset = {"train": rows_of(kind), "validation": rows_of(kind, 8), "test": rows_of(kind, 8)}
    return make_job(plan_of(task, {**settings, "dataset": dataset, "output_dir": path}))


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_large_model_is_neither_copied_nor_saved(lora, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "LARGE", 1)
    monkeypatch.setattr(rehearsal, "_copy_of", fail)
    monkeypatch.setattr(finishing, "_save", fail)
    monkeypatch.setattr(predictor, "load", fail)
    job = job_of("text-classification", {**quick, "lora": lora}, tmp_path / "run")
    weights = [one.detach().clone() for one in job.trainer.model.parameters()]
    rehearsal.rehearse(job, partial(single.finish_run, start=0.0))
    assert all(map(torch.equal, weights, job.trainer.model.parameters()))


def test_a_full_temporary_folder_stops_no_run(quick, tmp_path, monkeypatch, caplog):
    def full(*given, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rehearsal.tempfile, "TemporaryDirectory", full)
    job = job_of("text-classification", quick, tmp_path / "run")
    rehearsal.rehearse(job, fail)
    assert "rehearsal skipped: no space left in" in caplog.text


def test_a_resumed_run_is_not_rehearsed_again(quick, tmp_path, monkeypatch):
    settings = {**quick, "dataset": ROWS, "output_dir": tmp_path / "run", "save_total_limit": 2}
    times, rehearse, finish = [], single.rehearse, single.finish_run

    def broken(job, *given, **keywords):
        return fail() if job.plan.path == tmp_path / "run" else finish(job, *given, **keywords)

    monkeypatch.setattr(single, "rehearse", lambda *given: (times.append(1), rehearse(*given)))
    with monkeypatch.context() as patch:
        patch.setattr(single, "finish_run", broken)
        with pytest.raises(KeyError):
            hfrecipes.run("text-classification", **settings)
    assert progress.last_checkpoint(tmp_path / "run")
    hfrecipes.run("text-classification", **settings)
    assert len(times) == 1


def test_a_mixture_of_experts_that_returns_its_router_too_is_evaluated(tmp_path, caplog):
    from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

    from hfrecipes.contract.tiny_models import byte_tokenizer

    texts = [f"note {row} of a guest" for row in range(24)]
    byte_tokenizer(texts).save_pretrained(tmp_path / "model")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    vocabulary = len(AutoTokenizer.from_pretrained(tmp_path / "model"))
    config = MixtralConfig(vocab_size=vocabulary, num_key_value_heads=1, num_local_experts=2, **sizes)
    config.output_router_logits = True
    MixtralForCausalLM(config).save_pretrained(tmp_path / "model")
    trainer = hfrecipes.build(
        "text-generation",
        dataset=[{"text": text} for text in texts],
        model=str(tmp_path / "model"),
        output_dir=tmp_path / "build",
        max_length=16,
        use_cpu=True,
    )
    assert trainer.evaluate()["eval_loss"] > 0
    assert "experts: the loss that balances them is not added" in caplog.text


@pytest.mark.pictures
def test_pictures_are_drawn_once_the_model_is_trained(quick, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(finishing, "write_pictures", lambda run: drawn.append(run.path) or {})
    result = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)
    assert drawn == [result.path]
