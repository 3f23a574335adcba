"""Bad inputs that need more than a value: settings that clash, folders in use, and files of another task."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hostile.inputs import CSV, JSONL, ROWS, START, TEXT, Input, run_with, write

LONG = "x" * 300
OPTIMIZATION = """
lr_scheduler_type=cosine_with_min_lr | lr_scheduler_type=polynomial lr_scheduler_kwargs={x: 1}
lr_scheduler_type=polynomial lr_scheduler_kwargs={lr_end: 1} | lr_scheduler_type=warmup_stable_decay
lr_scheduler_type=warmup_stable_decay lr_scheduler_kwargs={num_decay_steps: -5}
lr_scheduler_type=polynomial lr_scheduler_kwargs={power: .nan}
lr_scheduler_type=cosine lr_scheduler_kwargs={num_cycles: .inf}
lr_scheduler_type=reduce_lr_on_plateau lr_scheduler_kwargs={factor: 2} | lr_scheduler_kwargs=5
lr_scheduler_type=warmup_stable_decay lr_scheduler_kwargs={num_decay_steps: 5, min_lr_ratio: 2}
lr_scheduler_type=cosine_with_min_lr lr_scheduler_kwargs={min_lr: 1}
lr_scheduler_type=cosine_with_min_lr lr_scheduler_kwargs={min_lr: -1}
lr_scheduler_type=cosine_with_restarts lr_scheduler_kwargs={num_cycles: -3}
lr_scheduler_kwargs={num_warmup_steps: 3} | lr_scheduler_type=inverse_sqrt lr_scheduler_kwargs={timescale: 0}
optim=adafactor optim_args=evil | optim=adamw_torch optim_args=x=1 | optim=sgd optim_args=momentum=-1
optim=sgd optim_args=momentum=.nan | optim=rmsprop optim_args=alpha=x | optim=adamw_8bit | optim=galore_adamw
optim=lomo | optim=sgd adam_beta1=0.5 | adam_beta2=1 | adam_beta1=-0.1 | adam_epsilon=.nan | optim_args=lr=5
layerwise_lr_decay=0 | layerwise_lr_decay=1.5 | layerwise_lr_decay=.nan | neftune_noise_alpha=-1
neftune_noise_alpha=.nan | load_best_model_at_end=true eval_strategy=no | save_strategy=steps save_steps=0
eval_strategy=steps eval_steps=0 | metric_for_best_model=accuracy greater_is_better=evil | eval_delay=-1
dataloader_drop_last=true per_device_train_batch_size=1000 | bf16=!!bool maybe | training={5: 1} | training={~: 1}
hub={repo_id: me/x, 1: 2} | seeds=[99999999999999999999,1] | task=../cli
early_stopping.early_stopping_threshold=.nan | bf16=true fp16=true | freeze=backbone lora=true | freeze=-1
freeze=.nan | options.threshold=.nan | options.focal_gamma=-1 | options.logit_adjustment=.nan
options.class_weights=[1] | options.label_names=[good] | options.label_names=[good,good] | label_smoothing_factor=.nan
warmup_steps=.nan
""".replace("\n", "|")
ADAPTERS = """
lora.r=1.5 | lora.lora_alpha=-1 | lora.lora_alpha=0 | lora.lora_dropout=1 | lora.bias=evil
lora.init_lora_weights=evil | lora.target_modules=[] | lora.target_modules=[nope] | lora.target_modules='['
lora.modules_to_save=[nope] | lora.layers_to_transform=[99] | lora.layers_to_transform=-1
lora.rank_pattern={query: 0} | lora.alpha_pattern={query: .nan} | lora.use_dora=evil | lora.exclude_modules=.*
lora.task_type=EVIL | lora.layer_replication=[[0,9]] | lora.loftq_config={x: 1} | lora.eva_config={rho: 2}
lora.corda_config={x: 1} | lora.init_lora_weights=eva | lora.init_lora_weights=loftq | lora.init_lora_weights=corda
lora.peft_type=IA3 lora.feedforward_modules=[nope] | lora.peft_type=PREFIX_TUNING lora.num_virtual_tokens=-3
lora.r=2 lora.peft_type=PREFIX_TUNING | lora.target_parameters=[nope] | lora.nope=1 | lora={1: 2} | lora.peft_type=5
lora.use_rslora=5 | lora.r=999999999
lora.peft_type=PROMPT_TUNING lora.prompt_tuning_init=EVIL lora.num_virtual_tokens=2
lora.trainable_token_indices=[9999] | lora.peft_type=ADALORA lora.total_step=-1
""".replace("\n", "|")
ROWS_SETTINGS = f"""
columns={{text: label, label: text}} | columns.text=label | columns={{text: text, label: text}}
columns.text=[text,text] | columns.text=[] | columns.text='' | columns.text={LONG} | columns.label=5
splits.validation=nope | splits={{train: train, validation: train}} | splits={{train: test}}
splits={{validation: train}} | splits={{train: ''}} | splits=train | splits.train=[train,train]
dataset={{train: d.jsonl, validation: d.jsonl}} | dataset={{train: d.jsonl, test: ./d.jsonl}}
dataset={{train: d.jsonl, test: linked.jsonl}} | dataset={{train: d.jsonl, test: copied.jsonl}}
dataset={{test: d.jsonl}} | dataset={{'': d.jsonl}} | dataset={{train: [d.jsonl, d.jsonl]}}
dataset={{train: ['*.jsonl', d.jsonl]}} | dataset={{path: json, data_files: 5}}
dataset={{path: json, data_files: [5]}} | dataset={{path: json, data_files: {{train: ~}}}} | dataset={{' ': d.jsonl}}
columns.label=[] | dataset={{train: []}} | dataset={{train: 5}} | dataset={{path: .}}
dataset={{path: ., data_files: 5}} | dataset={LONG}.jsonl | model={LONG} | metrics=[{LONG}]
metric_for_best_model={LONG} | run_name={LONG} | document={LONG}
""".replace("\n", "|")
# Rows of train in another split are read, and printed as such.
READABLE = {
    f"run_name={LONG}",
    "splits={train: train, validation: train}",
    "dataset={train: d.jsonl, validation: d.jsonl}",
    "dataset={train: d.jsonl, test: ./d.jsonl}",
    "dataset={train: d.jsonl, test: linked.jsonl}",
    "dataset={train: d.jsonl, test: copied.jsonl}",
}


def situations() -> Iterator[Input]:
    """All of them."""
    yield from settings()
    yield from files()
    yield from folders()
    yield from saved()
    yield from hub()


def settings() -> Iterator[Input]:
    """Settings that are refused together, or that only a library would refuse."""
    for line in filter(None, map(str.strip, (OPTIMIZATION + ADAPTERS).split("|"))):
        yield Input("settings", line, run_with(*_words(line)), may_pass=line in READABLE)
    for line in filter(None, map(str.strip, ROWS_SETTINGS.split("|"))):
        yield Input("settings", line[:90], run_with(*_words(line)), _same_files, may_pass=line in READABLE)
    for name in ("list key twice", "inf"):
        text = {"list key twice": "? [a]\n: 1\n? [a]\n: 2\n", "inf": "learning_rate: .inf\n"}[name]
        yield Input("recipes", name, ("run", "r.yaml"), write("r.yaml", START + text), may_pass=False)


def _words(line: str) -> list[str]:
    """The settings in a line; what follows a blank and has no `=` goes on with the value."""
    words: list[str] = []
    for word in line.split(" "):
        if words and ("=" not in word or words[-1].count("{") > words[-1].count("}")):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def _same_files() -> None:
    """The rows again, under two more names."""
    Path("linked.jsonl").symlink_to("d.jsonl")
    Path("copied.jsonl").write_bytes(Path("d.jsonl").read_bytes())


# --- files of rows -----------------------------------------------------------------------------------------------


def files() -> Iterator[Input]:
    """Files and folders that cannot be read, or whose names are hard to handle."""
    long, odd = "x" * 240 + ".jsonl", "\udcff.jsonl"
    yield Input(
        "commands", "run of a long file name", run_with(f"dataset={long}", without="output_dir"), write(long, JSONL)
    )
    yield Input(
        "commands",
        "run of a name that is no UTF-8",
        run_with(f"dataset={odd}", without="output_dir"),
        write(odd, JSONL),
    )
    yield Input("commands", "show a file of bytes", ("show", "x"), write("x", b"\xff"), may_pass=False)
    check = ("check", TEXT, "model=m", "dataset=f")
    yield Input("data", "a folder without permission", check, _forbidden, may_pass=False)
    yield Input("data", "lists of lists as labels (parquet)", (*check[:-1], "dataset=x.parquet"), _nested_labels)
    for word in ("--json", "--strict", "--rehearse"):
        for name, wrong in WRONG.items():
            yield Input("commands", f"check {word} with {name}", ("check", TEXT, *wrong, word), may_pass=False)


WRONG = {
    "no rows": ("model=m", "dataset=/nope"),
    "an unknown setting": ("model=m", "dataset=d.jsonl", "nonsense=1"),
    "no model": ("model=/nope", "dataset=d.jsonl"),
    "rows of a table": ("model=m", "dataset=m/config.json"),
    "a split that is not there": ("model=m", "dataset=d.jsonl", "splits.test=nope"),
    "two models": ("model=m", "model=m", "dataset=d.jsonl"),
    "a letter that is none": ("model=m", "dataset=\udcff.jsonl"),
}


def _forbidden() -> None:
    """A folder that this process may not list."""
    write("f/train.csv", CSV)()
    Path("f").chmod(0)
    if os.geteuid() == 0:  # which may list all folders
        from transformers import Trainer  # noqa: F401, which others may not read where root has installed it

        for path in (Path(), Path("..")):
            path.chmod(0o777)
        os.seteuid(65534)


def _nested_labels() -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.Table.from_pylist([{**row, "label": [[row["label"]]]} for row in ROWS]), "x.parquet")


# --- folders -----------------------------------------------------------------------------------------------------


def folders() -> Iterator[Input]:
    """Folders to write to that are something else, are gone, or are in use."""
    for name, (output, prepare) in OUTPUTS.items():
        # A run inside of another, or behind a link, is where the user wants it.
        may_pass = name in ("a link to a folder", "inside of a run", "inside of a model")
        yield Input("commands", f"output_dir is {name}", run_with(f"output_dir={output}"), prepare, may_pass=may_pass)
    for words in (run_with(), ("check", TEXT, "dataset=d.jsonl"), ("list",), ("show", TEXT), BUSY["predict"]):
        yield Input("commands", f"{words[0]} in a folder that is gone", words, _gone, given=b"a\n", may_pass=False)
    for command in ("merge", "copy"):
        name = "run" if command == "merge" else f"{TEXT}/quickstart"
        words = (command, name, "o")
        yield Input("commands", f"{command} to a link to nothing", words, _links("o", "nothing/at/all"))
    yield Input(
        "commands",
        "predict -o a link to nothing",
        ("predict", "run", "d.jsonl", "-o", "o.jsonl"),
        _links("o.jsonl", "nothing/at/all"),
    )
    for name, words in BUSY.items():
        # Checkpoints can be compared with what was saved before the run is complete.
        may_pass = name == "verify"
        yield Input("tamper", f"{name} while it trains", words, _training, given=b"a text\n", may_pass=may_pass)


def _gone() -> None:
    Path("gone").mkdir()
    os.chdir("gone")
    Path("../gone").resolve().rmdir()


def _links(name: str, target: str) -> Callable[[], None]:
    return lambda: Path(name).symlink_to(target)


OUTPUTS: dict[str, tuple[str, Callable[[], None] | None]] = {
    "a link to a file": ("o", _links("o", "d.jsonl")),
    "a link to nothing": ("o", _links("o", "nothing/at/all")),
    "a link to itself": ("o", _links("o", "o")),
    "in a link to nothing": ("o/x", _links("o", "nothing")),
    "blanks": ("'  '", None),
    "a link to a folder": ("o", lambda: (Path("there").mkdir(), Path("o").symlink_to("there"))[1]),
    "a link to a run": ("o", _links("o", "m")),
    "a fifo": ("o", lambda: os.mkfifo("o")),
    "inside of a run": ("run/again", None),
    "inside of a model": ("m/again", None),
    "inside of a file": ("run/config.json/x", None),
    "the working folder": (".", None),
    "in a folder of the system": ("/proc/x", None),
    "a device": ("/dev/null", None),
    "300 letters": (LONG, None),
    "nothing": ("''", None),
    "a name with NUL": ('"a\\0b"', None),
}
BUSY = {
    "predict": ("predict", "busy", "-"),
    "evaluate": ("evaluate", "busy", "dataset=d.jsonl"),
    "chat": ("chat", "busy"),
    "merge": ("merge", "busy", "out"),
    "push": ("push", "busy", "me/x"),
    "verify": ("verify", "busy"),
    "again": run_with("max_steps=100000", "output_dir=busy"),
}


def _training() -> None:
    """A run that trains in a process of its own, for half a minute at most."""
    if os.fork() == 0:
        signal.alarm(30)
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            import hfrecipes

            settings: dict[str, Any] = {
                "max_steps": 100_000,
                "bf16": False,
                "save_strategy": "epoch",
                "early_stopping": False,
            }
            hfrecipes.run(TEXT, model="m", dataset="d.jsonl", output_dir="busy", disable_tqdm=True, **settings)
        os._exit(0)
    end = time.monotonic() + 25
    while time.monotonic() < end and not list(Path().glob("busy/checkpoint-*")):
        time.sleep(0.05)


# --- saved runs --------------------------------------------------------------------------------------------------


def saved() -> Iterator[Input]:
    """Complete runs: rows of other tasks, and files that were changed."""
    for name, text in OTHER_ROWS.items():
        suffix = "conll" if name == "tokens" else "jsonl"
        for use in ("evaluate", "predict"):
            words = (use, "run", f"dataset=x.{suffix}" if use == "evaluate" else f"x.{suffix}")
            yield Input("tamper", f"{use} {name}", words, write(f"x.{suffix}", text), may_pass=name in HAVE_TEXTS)
    for name, change in CHANGES.items():
        for use, words in USES.items():
            # What a file says of scores or rows is not needed to predict.
            yield Input("tamper", f"{use}: {name}", words, _unnoticed(change), given=b"a text\n")
    words = USES["predict"]
    yield Input("tamper", "predict: an adapter of no kind", words, _unnoticed(_adapter), given=b"a\n", may_pass=False)
    yield Input("commands", "predict an open deep list", ("predict", "run", "-"), given=b"[" * 100_000)
    yield Input("models", "model_max_length: x", run_with(), _in_tokenizer("m"))
    for words in (("dataset=d.jsonl", "columns=5"), ("dataset=d.jsonl", "splits=[a]"), ("dataset=d.jsonl", "by=nope")):
        yield Input("tamper", f"evaluate {words[1]}", ("evaluate", "run", *words), may_pass=False)


OTHER_ROWS = {
    "questions": '{"question": "who", "context": "it was me", "answers": {"text": ["me"], "answer_start": [7]}}\n' * 4,
    "dialogues": '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 4,
    "pairs of texts": '{"source": "a", "target": "b"}\n' * 4,
    "tokens": "the O\na B-X\n\n" * 4,
    "texts without labels": '{"text": "a"}\n' * 4,
    "other labels": '{"text": "a", "label": "evil"}\n' * 4,
    "numbers as labels": '{"text": "a", "label": 0.5}\n' * 4,
    "lists of labels": '{"text": "a", "label": ["good", "bad"]}\n' * 4,
    "predictions": '{"text": "a", "prediction": {"label": "good"}}\n' * 4,
}
HAVE_TEXTS = {"tokens", "texts without labels", "other labels", "numbers as labels", "lists of labels", "predictions"}
USES = {
    "predict": ("predict", "run", "-"),
    "evaluate": ("evaluate", "run", "dataset=d.jsonl"),
    "again": run_with("output_dir=run"),
}


def _unnoticed(change: Callable[[], None]) -> Callable[[], None]:
    """A change of a run, by somebody who also deletes what is known of its files."""

    def prepare() -> None:
        change()
        for path in Path("run").rglob("manifest.json"):
            path.unlink()

    return prepare


def _put(file: str, **values: Any) -> Callable[[], None]:
    """What sets keys of a JSON file."""

    def prepare() -> None:
        path = Path("run", file)
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return prepare


def _put_learned(**values: Any) -> Callable[[], None]:
    """What changes what the config says of the run."""

    def prepare() -> None:
        path = Path("run/config.json")
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "hfrecipes": {**config["hfrecipes"], **values}}))

    return prepare


def _in_recipe(block: str, value: str) -> Callable[[], None]:
    """What gives a block of the recipe file of the run another value."""

    def prepare() -> None:
        path = Path("run/recipe.yaml")
        lines: list[str] = []
        for line in path.read_text().splitlines():
            inside = bool(lines) and line.startswith(" ") and lines[-1].startswith(f"{block}:")
            if not inside:
                lines.append(f"{block}: {value}" if line.startswith(f"{block}:") else line)
        if f"{block}: {value}" not in lines:
            lines.append(f"{block}: {value}")
        path.write_text("\n".join(lines) + "\n")

    return prepare


def _in_tokenizer(folder: str) -> Callable[[], None]:
    def prepare() -> None:
        path = Path(folder, "tokenizer_config.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": "x"}))

    return prepare


def _without_unknown() -> None:
    """A tokenizer of another model, without the token for unknown words."""
    path = Path("run/tokenizer.json")
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"] = []
    tokenizer["model"] = {**tokenizer["model"], "vocab": {"zzz": 0}}
    tokenizer["post_processor"] = None
    path.write_text(json.dumps(tokenizer))


def _adapter() -> None:
    """A run with an adapter whose kind is none."""
    import shutil

    import hfrecipes

    shutil.rmtree("run")
    settings: dict[str, Any] = {"max_steps": 1, "bf16": False, "disable_tqdm": True, "output_dir": "run"}
    hfrecipes.run(TEXT, model="m", dataset="d.jsonl", lora={"peft_type": "IA3"}, **settings)
    for path in Path("run").rglob("adapter_config.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": "EVIL"}))
    Path("run/config.json").unlink(missing_ok=True)
    Path("run/model.safetensors").unlink(missing_ok=True)


CHANGES: dict[str, Callable[[], None]] = {
    "metrics are a number": _put("metrics.json", train=5),
    "a metric is a text": _put("metrics.json", train={"accuracy": {"value": "x", "ci95": ["y"], "baseline": None}}),
    "a calibration is a text": _put_learned(calibration="x"),
    "what is learned is a text": _put_learned(learned="x"),
    "a temperature is a text": _put_learned(calibration={"temperature": "x"}),
    "a temperature is 0": _put_learned(calibration={"temperature": 0}),
    "a threshold is NaN": _put_learned(calibration={"threshold": float("nan")}),
    "labels are a number": _put_learned(labels=5),
    "the block of the run is a text": _put("config.json", hfrecipes="x"),
    "tuned is a text": _put("metrics.json", tuned="x"),
    "versions are a list": _put("run.json", versions=[1]),
    "data is a number": _put("run.json", data=5),
    "labels of the config are others": _put("config.json", id2label={"0": "evil", "1": "worse"}),
    "columns are a number": _in_recipe("columns", "5"),
    "splits are a list": _in_recipe("splits", "[a]"),
    "a seed of 20 digits": _in_recipe("training", "{seed: 99999999999999999999}"),
    "options of another task": _in_recipe("options", "{doc_stride: 5}"),
    "the task is another": _in_recipe("task", "token-classification"),
    "the tokenizer is another": _without_unknown,
    "a length that is a text": _in_tokenizer("run"),
}


# --- the Hub -----------------------------------------------------------------------------------------------------


def hub() -> Iterator[Input]:
    """Names of repositories that are none, and pushing without a token."""
    for word in (
        "hub=me/x",
        "hub.repo_id=me/x",
        "push_to_hub=true",
        "hub={repo_id: me/x, private: evil}",
        "hub.repo_id=../x",
        "hub.repo_id=me//x",
        "hub.repo_id='me/x y'",
        f"hub.repo_id=me/{LONG}",
        "hub={private: true}",
        "hub_token=hf_x",
        "hub={repo_id: me/x, token: hf_x}",
        "hub_model_id=me/x",
    ):
        yield Input("settings", word[:90], run_with(word), _no_token, may_pass=False)
    for name in ("me/x", "../x", "", "a/b/c", LONG, "me/x@evil", "https://huggingface.co/me/x"):
        yield Input("commands", f"push to {name[:30]!r}", ("push", "run", name), _no_token, may_pass=False)
    yield Input("settings", "hub without a token", run_with("hub=me/x"), _online, may_pass=False)
    yield Input("commands", "push without a token", ("push", "run", "me/x"), _online, may_pass=False)
    yield Input("settings", "hub with a token of two lines", run_with("hub=me/x"), _broken_token, may_pass=False)
    yield Input("commands", "push with a token of two lines", ("push", "run", "me/x"), _broken_token, may_pass=False)


def _no_token() -> None:
    os.environ.pop("HF_TOKEN", None)
    os.environ["HF_HOME"] = os.path.abspath("hf")


def _online() -> None:
    """Nothing answers, and there is no token."""
    from huggingface_hub import constants

    _no_token()
    constants.HF_HUB_OFFLINE = False
    constants.ENDPOINT = os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"


def _broken_token() -> None:
    _online()
    os.environ["HF_TOKEN"] = "hf_x\nevil: 1"
