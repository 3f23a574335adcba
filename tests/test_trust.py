"""Code that only a file names is not run: a task, a metric or a model of a recipe file, of a run, of a model folder."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import opinions, plan_of
from processes import run_python

import hfrecipes
from hfrecipes import metrics, trust
from hfrecipes.cli import main
from hfrecipes.config.blocks import local_path
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.config.yaml12 import dump
from hfrecipes.errors import DataError, ModelError, NotFoundError, UntrustedError
from hfrecipes.predictor import merge
from hfrecipes.registry import find
from hfrecipes.run_folder import contents
from hfrecipes.run_folder.progress import write_manifest

pytestmark = pytest.mark.rehearsed

# Each leaves a file when it is imported, and would then be of use.
TASK = """
from pathlib import Path

Path("it-ran").touch()
from hfrecipes.tasks.text_classification import TextClassification


class Mine(TextClassification):
    task = "mine"
"""
METRIC = """
from pathlib import Path

Path("it-ran").touch()
import datasets
import evaluate


class Always(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {"always": 1.0}
"""
MODEL = """
from pathlib import Path

Path("it-ran").touch()
from transformers import BertConfig, BertForSequenceClassification


class OddConfig(BertConfig):
    model_type = "odd"


class OddModel(BertForSequenceClassification):
    config_class = OddConfig
"""


class Touch:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("it-ran"),)


@pytest.fixture
def folder(tiny_bert, tmp_path, monkeypatch) -> Path:
    """The working directory, with files of code that somebody else wrote."""
    monkeypatch.chdir(tmp_path)
    # Libraries import a module once for each content, so that a copy from another test would leave no trace.
    task, metric, model = (f"{code}\nNAME = {str(tmp_path)!r}\n" for code in (TASK, METRIC, MODEL))
    for place in (".", "sub", "metric"):
        Path(place).mkdir(exist_ok=True)
        Path(place, "task.py").write_text(task)
        Path(place, "metric.py").write_text(metric)
    rows = "".join(json.dumps(row) + "\n" for row in opinions(40))
    Path("rows.jsonl").write_text(rows)
    shutil.copytree(tiny_bert, "plain")
    shutil.copytree(tiny_bert, "odd")
    Path("odd", "odd.py").write_text(model)
    edit(
        "odd/config.json",
        model_type="odd",
        auto_map={"AutoConfig": "odd.OddConfig", "AutoModelForSequenceClassification": "odd.OddModel"},
    )
    shutil.copytree(tiny_bert, "pickled")
    Path("pickled", "model.safetensors").unlink()
    Path("pickled", "pytorch_model.bin").write_bytes(pickle.dumps(Touch(), protocol=2))
    return tmp_path


def edit(file: str, **changes) -> None:
    """Change keys of a JSON file."""
    Path(file).write_text(json.dumps({**json.loads(Path(file).read_text()), **changes}))


def settings(**changes) -> dict:
    """Settings of a short run; None leaves one out."""
    given = {
        "task": "text-classification",
        "model": "plain",
        "dataset": "rows.jsonl",
        "output_dir": "out",
        "training": {"max_steps": 1, "bf16": False},
        **changes,
    }
    return {key: value for key, value in given.items() if value is not None}


def recipe(**changes) -> str:
    """A recipe file with these settings."""
    Path("r.yaml").write_text(dump(settings(**changes)))
    return "r.yaml"


def answers(*words: str, text: str = "y\ny\nyes\n") -> str:
    """What a command prints that is refused, whatever is written on its standard input."""
    outcome = CliRunner().invoke(main, list(words), input=text)
    assert outcome.exit_code == 2, outcome.output
    assert "unexpected" not in outcome.output
    return " ".join(outcome.output.split())


# Settings that would run code -> what the refusal names.
CODE = {
    "a task": ({"task": "task.py"}, "r.yaml has task: task.py, which would run the file "),
    "a task beside it": ({"task": "./task.py"}, "r.yaml has task: ./task.py, which would run the file "),
    "a task in a folder": ({"task": "sub/task.py"}, "r.yaml has task: sub/task.py, which would run the file "),
    "a metric": ({"metrics": ["accuracy", "metric.py"]}, "r.yaml has metrics: metric.py, which would run the file "),
    "a metric in a folder": ({"metrics": ["./sub/metric.py"]}, "metrics: ./sub/metric.py, which would run the file "),
    "a folder with a metric": ({"metrics": ["metric"]}, "metrics: metric, which would run a script of that name"),
    "a metric at an address": (
        {"metrics": ["http://127.0.0.1:9/metric.py"]},
        "metrics: http://127.0.0.1:9/metric.py, which would run a script of that name",
    ),
    "a metric on the Hub": ({"metrics": ["me/metric"]}, "metrics: me/metric, which would run a script of that name"),
    "code of a model": (
        {"model": {"path": "odd", "trust_remote_code": True}},
        "r.yaml has model.trust_remote_code: True, which would run the code that comes with the model odd",
    ),
    "a word for true": (
        {"model": {"path": "odd", "trust_remote_code": "yes"}},
        "r.yaml has model.trust_remote_code: yes, which would run the code that comes with the model odd",
    ),
    "pickled weights": (
        {"model": {"path": "pickled", "weights_only": False}},
        "r.yaml has model.weights_only: False, which would run what the weights of the model pickled say",
    ),
    "kernels": (
        {"model": {"path": "plain", "use_kernels": True}},
        "r.yaml has model.use_kernels: True, which would run the code that comes with the model plain",
    ),
    "attention from the Hub": (
        {"model": {"path": "plain", "attn_implementation": "someone/attention"}},
        "r.yaml has model.attn_implementation: someone/attention, which would run compiled code from the Hub",
    ),
}


# --- recipe files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODE)
def test_code_that_a_recipe_file_names_is_refused_before_anything_is_written(code, folder):
    changes, sentence = CODE[code]
    file = recipe(**changes)
    for command in ("run", "check"):
        said = answers(command, file)
        assert sentence in said
        assert "read it, then add --trust to the command, or trust=True in Python" in said
    for call in (hfrecipes.run, hfrecipes.build, hfrecipes.check):
        with pytest.raises(UntrustedError, match="which would run"):
            call(file)
        with pytest.raises(UntrustedError, match="which would run"):
            call(file, trust="no")
    assert not Path("it-ran").exists()
    assert not Path("out").exists()


def test_the_refusal_names_each_of_several_and_the_whole_path(folder):
    with pytest.raises(UntrustedError) as caught:
        hfrecipes.run(recipe(task="sub/task.py", metrics=["metric.py"]))
    assert str(caught.value).count("which would run the file") == 2
    assert f"would run the file {folder / 'sub' / 'task.py'}: read it" in str(caught.value)


@pytest.mark.parametrize("changes", [{"task": "task.py"}, {"metrics": ["metric.py"]}], ids=str)
def test_a_recipe_file_that_is_trusted_runs_its_code(changes, folder):
    outcome = CliRunner().invoke(main, ["check", recipe(**changes), "--trust"])
    assert outcome.exit_code == 0, outcome.output
    assert Path("it-ran").exists()
    Path("it-ran").unlink()
    hfrecipes.check(recipe(**changes), trust=True)


def test_only_the_command_line_and_python_can_trust(folder):
    said = answers("check", recipe(task="text-classification", trust=True))
    assert "trust is not a setting; leave it out: --trust on the command line" in said
    assert "trust is not a setting" in answers("check", "text-classification", "dataset=rows.jsonl", "trust=true")


@pytest.mark.parametrize("words", [("task=task.py",), ("metrics=[metric.py]",)], ids=str)
def test_what_the_command_line_names_is_run(words, folder):
    outcome = CliRunner().invoke(main, ["check", recipe(), *words])
    assert outcome.exit_code == 0, outcome.output
    assert Path("it-ran").exists()


def test_what_the_command_line_replaces_is_not_asked_about(folder):
    """The same code, named by the user too; or another one in its place."""
    for words in (["task=text-classification"], ["task=task.py"]):
        outcome = CliRunner().invoke(main, ["check", recipe(task="task.py"), *words])
        assert outcome.exit_code == 0, outcome.output
    file = recipe(model={"path": "odd", "trust_remote_code": True})
    assert CliRunner().invoke(main, ["check", file, "model=plain"]).exit_code == 0
    assert "model.trust_remote_code: True" in answers("check", file, "model.path=odd")


def test_a_call_from_python_is_the_word_of_the_user(folder):
    hfrecipes.check({"task": "task.py", "dataset": "rows.jsonl"})
    hfrecipes.check("task.py", dataset="rows.jsonl", metrics=["metric.py"])
    assert Path("it-ran").exists()


@pytest.mark.parametrize("name", ["metric", "acuracy", "someone/metric"])
def test_a_metric_that_is_neither_shipped_nor_a_file_is_not_downloaded_unless_it_is_trusted(name, folder):
    said = answers("check", "text-classification", "dataset=rows.jsonl", f"metrics=[{name}]")
    assert f"metrics: {name}" in said
    assert "is not one of accuracy, f1," in said
    assert "add --trust, or trust=True in Python, to download a script of that name" in said
    assert ("(did you mean accuracy?)" in said) == (name == "acuracy")
    assert not Path("it-ran").exists()


# --- runs --------------------------------------------------------------------------------------------------------


def saved(**changes) -> Path:
    """A run whose settings somebody changed afterwards."""
    hfrecipes.run(settings(output_dir="run"))
    file = Path("run", "recipe.yaml")
    file.write_text(dump({**read_recipe_file(file), **changes}))
    return file


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "task.py"},
        {"task": "run/task.py"},
        {"metrics": ["metric.py"]},
        {"model": {"path": "plain", "trust_remote_code": True}},
        {"model": {"path": "plain", "weights_only": False}},
    ],
    ids=str,
)
def test_code_that_a_run_names_is_refused_by_everything_that_reads_it(changes, folder):
    file = saved(**changes)
    shutil.copy("task.py", "run/task.py")
    Path("in.txt").write_text("the film was great\n")
    commands = [["predict", "run", "in.txt"], ["evaluate", "run", "dataset=rows.jsonl"]]
    for words in commands:
        assert f"{file} has " in answers(*words)
    for call in (hfrecipes.load, lambda path: hfrecipes.load(path, trust=False)):
        with pytest.raises(UntrustedError, match="read it, then add --trust"):
            call("run")
    if "task" in changes:
        assert f"{file} has task: " in answers("push", "run", "me/model")
        with pytest.raises(UntrustedError, match="which would run the file"):
            hfrecipes.push("run", "me/model")
    assert "which would run" in answers("run", str(file), "output_dir=another")
    assert not Path("it-ran").exists()


def test_an_adapter_is_not_merged_by_code_that_its_run_names(folder):
    hfrecipes.run(settings(output_dir="run", lora=True))
    file = Path("run", "adapter", "recipe.yaml")
    file.write_text(dump({**read_recipe_file(file), "task": "task.py"}))
    assert "has task: task.py" in answers("merge", "run", "merged")
    with pytest.raises(UntrustedError, match=r"has task: task\.py"):
        merge("run", Path("merged"))
    assert not Path("it-ran").exists()
    merge("run", Path("merged"), trust=True)
    assert Path("it-ran").exists()


def test_a_run_of_ones_own_task_resumes_without_a_flag_and_is_loaded_with_one(folder):
    words = ["run", "task.py", "model=plain", "dataset=rows.jsonl", "output_dir=out", "max_steps=1", "bf16=false"]
    for _ in range(2):
        outcome = CliRunner().invoke(main, [*words, "metrics=[metric.py]"])
        assert outcome.exit_code == 0, outcome.output
    assert "this run is complete" in outcome.output
    assert "hfrecipes predict out - --trust" in outcome.output, "the command that tries the model works as it is"
    assert "out/recipe.yaml has task: task.py" in answers("predict", "out", "-", text="the film was great\n")
    outcome = CliRunner().invoke(main, ["predict", "out", "-", "--trust"], input="the film was great\n")
    assert outcome.exit_code == 0, outcome.output
    assert hfrecipes.load("out", trust=True).evaluate("rows.jsonl").metrics["always"] == 1


# --- models ------------------------------------------------------------------------------------------------------


def test_a_model_with_code_is_refused_in_a_sentence_and_never_asked_about(folder):
    """Nor in a process of its own, where a question would wait for the standard input."""
    words = ["text-classification", "model=odd", "dataset=rows.jsonl", "output_dir=out", "max_steps=1", "bf16=false"]
    checked = CliRunner().invoke(main, ["check", *words], input="y\n" * 50)
    assert checked.exit_code == 2
    run = run_python("-m", "hfrecipes", "run", *words, given="y\n" * 50, status=2)
    for printed in (checked.output, run.stdout + run.stderr):
        assert "[y/N]" not in printed
        assert "the model in odd comes with code of its own, which is not run" in printed
        assert "model.trust_remote_code=true" in printed
        assert "unexpected" not in printed
    assert not Path("it-ran").exists()
    assert not Path("out").exists()


def test_code_of_a_tokenizer_that_transformers_knows_is_left_alone(folder):
    shutil.copytree("plain", "words")
    shutil.copy("odd/odd.py", "words/odd.py")
    edit("words/tokenizer_config.json", tokenizer_class="Odd", auto_map={"AutoTokenizer": ["odd.Odd", "odd.Odd"]})
    words = ["check", "text-classification", "model=words", "dataset=rows.jsonl"]
    outcome = CliRunner().invoke(main, words, input="y\n" * 50)
    assert outcome.exit_code == 0
    assert "[y/N]" not in outcome.output
    assert not Path("it-ran").exists()


def test_the_code_of_a_model_runs_where_the_command_line_says_so(folder):
    words = ["text-classification", "model=odd", "model.trust_remote_code=true", "dataset=rows.jsonl", "output_dir=out"]
    for _ in range(2):
        outcome = CliRunner().invoke(main, ["run", *words, "max_steps=1", "bf16=false"])
        assert outcome.exit_code == 0, outcome.output
    assert Path("it-ran").exists()
    assert "out/recipe.yaml has model.trust_remote_code: True" in answers("predict", "out", "-", text="the film\n")
    assert hfrecipes.load("out", trust=True).predict("the film was great")["label"] in ("good", "bad")


def test_weights_that_are_a_pickle_with_code_are_refused(folder):
    said = answers("run", "text-classification", "model=pickled", "dataset=rows.jsonl", "output_dir=out", "max_steps=1")
    assert "pickled/pytorch_model.bin holds pickled weights, which can hide code" in said
    assert not Path("it-ran").exists()


# --- pickles of a run --------------------------------------------------------------------------------------------


def interrupted(**changes) -> Path:
    """The checkpoint of a run that was stopped after its first step."""
    plan = plan_of("text-classification", settings(**changes))
    trainer = hfrecipes.build(settings(**changes))
    contents.write_start(plan.path, plan.config, plan.info)
    trainer.train()
    shutil.rmtree("out/checkpoint-2")
    return Path("out", "checkpoint-1")


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_no_pickle_of_a_checkpoint_runs_code(name, folder):
    training = {"max_steps": 2, "bf16": False, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    checkpoint = interrupted(training=training)
    assert (checkpoint / name).exists()
    (checkpoint / name).write_bytes(pickle.dumps(Touch(), protocol=2))
    write_manifest(checkpoint)
    outcome = CliRunner().invoke(main, ["run", recipe(training=training)])
    assert "resuming from out/checkpoint-1" in outcome.output
    assert not Path("it-ran").exists()
    if name == "training_args.bin":  # nothing reads it
        assert outcome.exit_code == 0, outcome.output
    else:
        assert outcome.exit_code == 2
        sentence = f"{checkpoint} holds more than numbers in its pickles, and could run code: delete it"
        assert sentence in " ".join(outcome.output.split())


def test_a_pickle_does_not_take_the_place_of_the_weights_of_an_adapter(folder):
    hfrecipes.run(settings(output_dir="run", lora=True))
    Path("run/adapter/adapter_model.safetensors").unlink()
    Path("run/adapter/manifest.json").unlink()
    Path("run/adapter/adapter_model.bin").write_bytes(pickle.dumps(Touch(), protocol=2))
    said = answers("predict", "run/adapter", "-", text="the film was great\n")
    assert "run/adapter/adapter_model.safetensors is missing" in said, "the pickle is not read in its place"
    assert not Path("it-ran").exists()


def test_numbers_of_the_training_rows_that_are_a_pickle_are_not_read(folder):
    hfrecipes.run(settings(output_dir="run"))
    np.save("run/trained_on.npy", np.array([Touch()], dtype=object), allow_pickle=True)
    outcome = CliRunner().invoke(main, ["evaluate", "run", "dataset=rows.jsonl"])
    assert outcome.exit_code == 0, outcome.output
    assert "run/trained_on.npy" in outcome.output
    Path("run", "manifest.json").unlink(missing_ok=True)
    outcome = CliRunner().invoke(main, ["evaluate", "run", "dataset=rows.jsonl"])
    assert "run/trained_on.npy is damaged" in outcome.output
    assert not Path("it-ran").exists()


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../cli", "./chat", "tasks.chat", "_seq2seq", "__init__", "pkg://../x", "os", "chat.", "..", "", "a\0b"]
)
def test_only_listed_tasks_are_imported(name, folder):
    with pytest.raises(NotFoundError, match=r"^unknown task"):
        find(name)
    assert "unknown task" in answers("check", recipe(task=name))


@pytest.mark.parametrize("path", ["sub/task.py", "task.py", "./nowhere.py"])
def test_a_dataset_that_is_a_script_is_not_run(path, folder):
    with pytest.raises(DataError, match=r"is a script that loads a dataset, and such scripts are not run"):
        hfrecipes.check("text-classification", dataset={"path": path, "name": "x"})
    with pytest.raises(NotFoundError, match=r"no data file in sub|No .* data files found in sub"):
        hfrecipes.check("text-classification", dataset={"path": "sub", "name": "x"})
    assert not Path("it-ran").exists()


def test_a_name_inside_a_package_does_not_import_that_package(tmp_path, monkeypatch):
    package = tmp_path / "parcel"
    (package / "inner" / "model").mkdir(parents=True)
    for part in (package, package / "inner"):
        (part / "__init__.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert local_path("pkg://parcel.inner/model") == str(package / "inner" / "model")
    assert local_path("pkg://parcel/inner/model") == str(package / "inner" / "model")


def test_shipped_metrics_are_not_hidden_by_files_of_their_name(folder):
    Path("accuracy").mkdir()
    for file in (Path("accuracy.py"), Path("accuracy", "accuracy.py")):
        shutil.copy("metric.py", file)
    assert metrics.load("accuracy").compute(predictions=[0], references=[0]) == {"accuracy": 1.0}
    assert not Path("it-ran").exists()


def test_settings_of_wrong_types_name_no_code():
    for task, names, model in ((5, "x", []), (None, [5, None], "x"), ([], {}, None)):
        code = trust.code_in({"task": task, "metrics": names, "model": model})
        assert list(code) == (["metrics: x"] if names == "x" else [])


# --- chat templates ----------------------------------------------------------------------------------------------

DIALOGUES = [
    {"messages": [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": "yes"}]}
    for number in range(20)
]


def with_template(model: str, template: str) -> str:
    """The model in another folder, with this chat template."""
    shutil.copytree(model, "templated")
    Path("templated", "chat_template.jinja").write_text(template)
    return "templated"


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}{% endfor %}{% endfor %}",
        "{% if messages %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}",
    ],
    ids=["always", "where there are messages"],
)
def test_a_chat_template_without_end_is_one_sentence(template, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hfrecipes.tasks._time_limit.SECONDS", 1.0)
    with pytest.raises(ModelError, match=r"^the model's chat template does not come to an end within 1 seconds"):
        hfrecipes.check("chat", model=with_template(tiny_llama, template), dataset=DIALOGUES)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('touch it-ran') }}",
        "{{ raise_exception('no') }}",
        "{% for x in range(10 ** 9) %}x{% endfor %}",
        "{% include 'x' %}",
        "{% if %}",
    ],
)
def test_a_chat_template_that_reaches_for_python_or_raises_is_one_sentence(template, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in DIALOGUES))
    said = answers("check", "chat", f"model={with_template(tiny_llama, template)}", "dataset=rows.jsonl")
    assert "chat template" in said
    assert not Path("it-ran").exists()
