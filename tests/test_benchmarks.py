"""The benchmarks measure what they say: the same rows and work for all ways, whole processes, a guard that can fail."""

from __future__ import annotations

import json
import re
import shlex
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# They are not installed with the package.
sys.path.append(str(ROOT))

from benchmarks import __main__ as harness  # noqa: E402
from benchmarks import check, gpu, jobs, models, predicting, processes, rows, scoring, sizes, suite, tables, ways  # noqa: E402

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
WORDS = rows.made_up_words(900)


@pytest.fixture(autouse=True)
def as_loud_as_before(monkeypatch):
    """The level of logging is that of the whole process."""
    monkeypatch.setattr(ways, "quiet", lambda: None)


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", suite.TRAININGS)
def test_rows_of_a_seed_are_the_same_each_time(job):
    training = suite.TRAININGS[job]
    assert training.make(WORDS, 5, 1) == training.make(WORDS, 5, 1)
    assert training.make(WORDS, 5, 1) != training.make(WORDS, 5, 2)


def test_texts_are_as_long_as_those_of_the_dataset_that_they_stand_for():
    sizes = [len(row["text"].split()) for row in rows.classification(WORDS, 2000, 0)]
    assert 19 < sum(sizes) / len(sizes) < 23
    assert max(sizes) > 60, "a few of them are long, which is what padding costs"


def test_what_a_text_says_tells_its_label():
    clues = {word: place // 12 for place, word in enumerate(WORDS[:24])}
    right = 0
    for row in rows.classification(WORDS, 200, 0):
        votes = [clues[word] for word in row["text"].split() if word in clues]
        right += (sum(votes) * 2 > len(votes)) == bool(row["label"])
    assert right > 180


def test_an_answer_is_where_it_is_said_to_be():
    for row in rows.questions(WORDS, 20, 0):
        start, text = row["answers"]["answer_start"][0], row["answers"]["text"][0]
        assert row["context"][start:].startswith(text)


def test_rows_of_a_user_are_read_from_a_folder(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\ngood,1\nbad,0\n")
    (tmp_path / "validation.jsonl").write_text('{"text": "good", "label": 1}\n')
    with pytest.raises(FileNotFoundError, match="test"):
        suite.read_rows(tmp_path)
    (tmp_path / "test.json").write_text('{"text": "bad", "label": 0}\n')
    assert suite.read_rows(tmp_path)["train"] == [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]


# --- ways ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    """Folder of a tiny model for a job."""
    folder = tmp_path_factory.mktemp("models")
    stories = [row["text"] for row in rows.stories(WORDS, 30, 0)]
    llama = {"vocab_size": 0, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    made = {
        "encoder": models.bert(folder / "bert", WORDS, vocab_size=0, **TINY),
        "t5": models.t5(folder / "t5", WORDS, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=2),
        "llama": models.llama(folder / "llama", stories, num_attention_heads=2, **llama),
    }
    return lambda job: made[suite.TRAININGS[job].model]


def job_of(name: str, model: str, number: int = 24) -> jobs.Job:
    training = suite.TRAININGS[name]
    made = {split: training.make(WORDS, number, seed, mean=15) for seed, split in enumerate(suite.SPLITS)}
    longest = {"causal-lm": 32, "qa": 384}.get(name, 64)
    return jobs.Job(training.task, model, made, batch=4, longest=longest, learning_rate=1e-3)


@pytest.mark.parametrize("name", ["classification", "ner", "qa", "summarization", "causal-lm"])
def test_all_ways_train_on_the_same_rows(name, model_of, tmp_path):
    job = job_of(name, model_of(name))
    trained = {}
    for way in suite.TRAININGS[name].ways:
        trained[way] = ways.train(way, job, tmp_path / way, first=2)
    # hfrecipes also learns the rest of the stream, which is shorter than a block.
    rest = job.longest if name == "causal-lm" else 0
    for result in trained.values():
        assert result.rows - trained["loop"].rows in {0, bool(rest)}
        assert 0 <= result.tokens - trained["loop"].tokens <= rest
    sizes = {ways.weights_outside_embeddings(result.model) for result in trained.values()}
    assert len(sizes) == 1
    for result in trained.values():
        assert result.clock.epochs == pytest.approx(1 - 2 * 4 / result.rows, abs=0.2)
        assert all(figure > 0 for name, figure in result.figures().items() if "tflops" not in name)


def test_padding_is_no_token(model_of):
    job = job_of("classification", model_of("classification"))
    tokenizer = jobs.load_tokenizer(job)
    features = [job.kind.encode(tokenizer, job, job.rows["train"], padded) for padded in (True, False)]
    assert {len(ids) for ids in features[0]["input_ids"]} == {64}
    assert (
        jobs.tokens_in(job, features[0]) == jobs.tokens_in(job, features[1]) == sum(map(len, features[1]["input_ids"]))
    )


def test_a_training_without_measured_steps_says_so(model_of, tmp_path):
    job = job_of("classification", model_of("classification"))
    with pytest.raises(ValueError, match="first 50 steps: give it more rows"):
        ways.train("loop", job, tmp_path, first=50).figures()


def test_what_happens_between_epochs_is_not_measured():
    clock = ways.Clock(first=1)
    clock.tick(1, 0.5, is_last=False)
    clock.stop(1.0)
    measured = clock.seconds
    clock.stop(1.0)
    assert clock.seconds == measured
    clock.start(1.0)
    clock.tick(4, 2.0, is_last=True)
    assert clock.epochs == 1.5


def answers(batch: dict, *, right: bool) -> types.SimpleNamespace:
    """Outputs that are certain of the references, or of something else."""
    if "start_positions" in batch:
        places = batch["start_positions"] + (not right), batch["end_positions"]
        starts, ends = (one_hot(place, batch["input_ids"].shape[1] + 1) for place in places)
        return types.SimpleNamespace(start_logits=starts, end_logits=ends)
    labels = batch["labels"].clamp(min=0)
    return types.SimpleNamespace(logits=one_hot(labels if right else (labels + 1) % 2, 9), loss=0.5)


def one_hot(numbers, size):
    import torch

    return torch.nn.functional.one_hot(numbers, size).float()


@pytest.mark.parametrize("name", ["classification", "ner", "qa"])
@pytest.mark.parametrize("right", [True, False])
def test_a_model_is_scored_by_what_it_gets_right(name, right, model_of, tmp_path, monkeypatch):
    job, outputs = job_of(name, model_of(name)), ways.outputs

    def give(model, job, tokenizer):
        return [(rows, batch, answers(batch, right=right)) for rows, batch, _ in outputs(model, job, tokenizer)]

    monkeypatch.setattr(ways, "outputs", give)
    jobs.load_model(job).save_pretrained(tmp_path)
    jobs.load_tokenizer(job).save_pretrained(tmp_path)
    assert scoring.score(job, tmp_path) == float(right)


def test_texts_are_scored_by_the_loss_of_their_tokens(model_of):
    import math

    job = job_of("causal-lm", model_of("causal-lm"))
    assert scoring.score(job, Path(job.model)) == pytest.approx(math.log(len(jobs.load_tokenizer(job))), rel=0.05)


def test_hfrecipes_is_measured_from_files_to_scores(model_of, tmp_path):
    training = suite.TRAININGS["classification"]
    folder = suite.write_rows(training, tmp_path / "rows", WORDS, 0.1)
    spec = {"task": training.task, "model": model_of("classification"), "folder": str(folder)}
    job = suite.job_of({**spec, "batch": 8, "longest": 64, "epochs": 2, "learning_rate": 1e-3, "seed": 1})
    trained, saved = ways.train_and_save("ours", job, tmp_path, first=1)
    assert trained.rows == 32
    assert trained.rows_per_second > 0
    assert 0 <= scoring.score(job, saved) <= 1


# --- predictions -----------------------------------------------------------------------------------------------------


def test_many_texts_and_single_ones_are_measured():
    calls = []

    def predict(texts):
        calls.append(texts)
        return [sum(range(20_000)) for _ in texts]

    figures = predicting.many(predict, ["a"] * 100) | predicting.single(predict, "a", 3)
    assert all(value > 0 for value in figures.values())
    assert len(calls[0]) == 5, "some of them come first, and are not measured"
    assert len(calls[1]) == 100


def test_texts_that_are_continued_by_hand_come_back_in_their_order(model_of):
    predict = predicting.by_hand(model_of("causal-lm"), 3, 2)
    texts = [" ".join(WORDS[start : start + length]) for start, length in ((0, 5), (7, 2), (20, 9))]
    assert predict(texts) == [predict(text)[0] for text in texts]


# --- processes -------------------------------------------------------------------------------------------------------


def test_a_process_is_measured_as_a_whole(tmp_path):
    figures = processes.run({"kind": "limit", "size": 64}, tmp_path / "limit")
    assert figures["tflops"] > 0
    assert figures["seconds"] > 0.1
    assert figures["cpu_seconds"] > 0.1
    assert figures["peak_mib"] > 50


def test_a_process_that_fails_says_why(tmp_path):
    assert "KeyError: 'no such kind'" in processes.run({"kind": "no such kind"}, tmp_path / "failed")["error"]


def test_ways_take_turns(tmp_path, monkeypatch):
    started = []

    def run(spec, folder):
        started.append((spec["kind"], spec.get("way"), spec.get("seed")))
        if spec["kind"] == "score":
            return {"scores": [0.5] * len(spec["specs"])}
        return {"rows_per_second": 1.0, "model": "m"} if spec["kind"] == "train" else {}

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setattr(suite, "words", lambda: WORDS)
    monkeypatch.setattr(suite, "make_model", lambda *arguments: "model")
    options = harness.read_options(["--jobs", "ner", "--ways", "loop,ours", "--repeats", "2", "--scale", "0.1"])
    results = list(harness.Suite(tmp_path, options).rounds())
    assert [(way, seed) for kind, way, seed in started if kind == "train"] == [
        ("loop", 42),
        ("ours", 42),
        ("loop", 43),
        ("ours", 43),
    ]
    assert tables.median(tables.summarize(results), "ner", "ours", "score") == 0.5


@pytest.mark.parametrize("words", [["--jobs", "chess"], ["--ways", "walk"], ["--task", "text-classification"]])
def test_options_that_are_no_options_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        harness.read_options(words)
    assert "--" in capsys.readouterr().err


def test_commands_of_the_page_are_accepted():
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    makes = re.findall(r'^make bench BENCH="(.*)"$', page, re.MULTILINE)
    modules = re.findall(r"^python -m benchmarks (.*)$", page, re.MULTILINE)
    assert makes
    assert modules
    for line in [*makes, *modules]:
        harness.read_options(shlex.split(line))
    for way in ways.WAYS:
        assert f"| `{way}` |" in page
    for job in suite.JOBS:
        assert re.search(rf"^\| .*`{job}`.* \|", page, re.MULTILINE), job


@pytest.mark.parametrize("words", [["--only", "limit,one"], ["--dry", "--profile"]])
def test_options_of_the_script_for_a_gpu(words):
    assert set(gpu.read_options(words).only) <= set(gpu.PARTS)
    with pytest.raises(SystemExit):
        gpu.read_options(["--only", "walk"])


# --- tables and the guard --------------------------------------------------------------------------------------------


def results(ours: float, loop: float = 100, padded: float = 15) -> list[dict]:
    made = []
    for way, figure in (("ours", ours), ("loop", loop), ("padded", padded)):
        made += [{"job": "train", "way": way, "rows_per_cpu_second": figure * noise} for noise in (0.9, 1, 1.3)]
    for job, figure in (("predict", "rows_per_cpu_second"), ("one text", "texts_per_cpu_second")):
        made += [{"job": job, "way": "ours", figure: 20}, {"job": job, "way": "pipeline", figure: 10}]
    return made


def test_the_guard_passes_what_is_quick_enough():
    assert check.problems(tables.summarize(results(90))) == []


@pytest.mark.parametrize(("ours", "peers"), [(70, ["loop"]), (10, ["padded", "loop"])])
def test_the_guard_fails_what_is_slower_than_its_bar(ours, peers):
    found = check.problems(tables.summarize(results(ours)))
    assert [problem.split(" times ")[1].split()[0] for problem in found] == peers


def test_the_guard_fails_what_was_not_measured():
    some = [result for result in results(90) if result["way"] != "pipeline"]
    assert len(check.problems(tables.summarize(some))) == 2


def test_the_guard_ends_with_what_became_slower(monkeypatch, capsys):
    monkeypatch.setattr(check, "measure", lambda scratch: results(10))
    with pytest.raises(SystemExit, match=r"train: 0\.10 times loop"):
        check.main()
    monkeypatch.setattr(check, "measure", lambda scratch: results(90))
    check.main()
    assert "train: 0.90 times loop" in capsys.readouterr().out


def test_a_table_has_medians_and_what_is_around_them():
    made = tables.summarize([*results(90), {"job": "limit", "way": "matrix product", "cpu_tflops": 0.2}])
    made[0]["cpu_tflops"] = [0.05, 0.1, 0.1]
    tables.add_shares(made, "cpu_tflops")
    text = tables.table(made, "train")
    assert "| train | rows/CPU s | of the limit |" in text
    assert "| ours | 90 (81–117) | 50 % (25 %–50 %) |" in text


def test_a_way_that_failed_stands_in_the_table_with_its_error():
    made = tables.summarize([{"job": "ner", "way": "ours", "error": "Traceback\nMemoryError: no room"}, *results(1)])
    assert "| ours | failed: Traceback MemoryError: no room" in tables.table(made, "ner")


# --- on a GPU --------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_script_for_a_gpu_runs_dry(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry", "--profile"])
    gpu.main()
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert {line["part"] for line in lines if "part" in line} == set(gpu.PARTS)
    assert not [line for line in lines if "error" in line]
    profiled = {line["part"] for line in lines if line.get("way") == "ours, profiled"}
    assert profiled == {"classification", "llama", "predict", "qa"}
    assert "| classification | ours |" in capsys.readouterr().out


def test_a_part_that_fails_costs_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(gpu.Bench, "llama", lambda bench: 1 / 0)
    monkeypatch.setattr(predicting, "gemm", lambda *arguments: (2e12, 1e12))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry", "--only", "llama,limit"])
    gpu.main()
    out = capsys.readouterr().out
    assert "ZeroDivisionError" in out
    assert "| limit | float32 | 2 TFLOP/s |" in out


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_size_is_measured_in_cpu_seconds_and_memory(tmp_path, monkeypatch):
    monkeypatch.setitem(sizes.SIZES, "tiny", (1, 24, 32, 900))
    figures = sizes.measure("tiny", tmp_path, 96)
    assert figures["name"] == "tiny"
    assert figures["cpu_seconds_per_1000_rows"] > 0
    assert figures["peak_mib"] > 100


def test_the_page_on_models_has_a_line_for_each_size():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    table = page.partition("| size of |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| ([\w-]+) \| \d", table, re.MULTILINE)
    assert len(names) == len(sizes.SIZES)
