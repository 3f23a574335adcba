"""Bad inputs: settings, recipe files, files of rows, folders of models and runs, commands, and calls from Python."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

TEXT = "text-classification"
MARK = "code-was-run"  # a file that hostile code makes
HOSTILE_CODE = f"open('{MARK}', 'w').write('x')\n"
RUN = (TEXT, "model=m", "max_steps=1", "bf16=false", "output_dir=out")


@dataclass(frozen=True)
class Input:
    """One bad input, and the command that reads it in a folder with the model `m`, `d.jsonl` and the run `run`."""

    group: str
    name: str
    words: tuple[str, ...] = ()
    """Words after `hfrecipes`."""
    prepare: Callable[[], None] | None = None
    """Makes or damages files in the working folder."""
    call: str = ""
    """Python instead of a command, with `hfrecipes`, `np` and `Path` known."""
    given: bytes = b""
    """Standard input."""
    may_pass: bool = True
    """Whether it may be read as it stands; otherwise it must be refused."""


def run_with(*words: str, without: str = "") -> tuple[str, ...]:
    """The command of a short run; a setting in words stands in place of the same one of that run."""
    given = {*(word.partition("=")[0] for word in words), without}
    usual = [word for word in (*RUN[1:], "dataset=d.jsonl") if word.partition("=")[0] not in given]
    return ("run", TEXT, *usual, *words)


def every_input() -> list[Input]:
    """All of them, in one order."""
    return [*settings(), *recipes(), *data(), *commands(), *models(), *tampered(), *calls()]


def write(name: str, content: str | bytes) -> Callable[[], None]:
    """What writes a file, in folders that are made for it."""

    def prepare() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    return prepare


# --- settings ----------------------------------------------------------------------------------------------------

VALUES = ("-1", "-0.5", ".nan", ".inf", "1e999", "99999999999999999999", "evil", "[1, x]", "{a: 1}", "/nope", "''")
REFUSED_SETTINGS = """
learning_rate=1e999 | learning_rate=.nan | learning_rate=-1 | weight_decay=-1 | weight_decay=.nan | max_grad_norm=-1
logging_strategy=steps logging_steps=-3 | eval_strategy=steps eval_steps=-1 | early_stopping.early_stopping_patience=-1
seed=4294967296 | seed=-1 | seeds=[1,2,2] | seeds=[1,4294967296] | data_seed=99999999999999999999 | folds=1 | folds=-2
adam_beta1=2 | adam_epsilon=-1 | dataloader_num_workers=-1 | train_sampling_strategy=evil | report_to=evil
report_to=[none,evil] | optim=evil | lr_scheduler_type=evil | torch_compile_backend=evil | lora.lora_dropout=-0.5
lora.r=0 | lora.r=-1 | lora.target_modules='*' | lora.peft_type=EVIL
lora.peft_type=PROMPT_TUNING lora.num_virtual_tokens=0
lora.lora_alpha=.nan | hub.repo_id=5 | hub={1: 2} | columns={1: 2} | dropout={1: 0.1} | early_stopping={1: 2}
dropout=2 | dropout=-1 | max_length=0 | max_length=-1 | max_length=!!int x | options.problem_type=evil
accelerator_config=/nope | deepspeed=/nope.json | fsdp=full_shard | optim_target_modules=[x] | metrics=[evil]
metrics=5
gradient_checkpointing=true gradient_checkpointing_kwargs={x: 1} | per_device_train_batch_size=0 | num_train_epochs=.inf
per_device_eval_batch_size=-3 | gradient_accumulation_steps=0 | warmup_steps=-4 | label_smoothing_factor=2
max_steps=2 max_steps=3 | lora.r=1 lora={r: 2} | learning_rate= | nonsense=1 | nonsense= | model=/nope | dataset=/nope
model=pkg://.x/y | dataset=pkg://../x | dataset= | dataset=[] | dataset={} | dataset=5 | model=5 | model=[a] | model={}
limit=-1 | limit=0 | columns.text=nope | columns.nope=text | columns=text | options=5 | options.nope=1 | training=5
metric_for_best_model=evil | save_total_limit=-1 | output_dir=d.jsonl | output_dir=m
""".replace("\n", "|")


def settings() -> Iterator[Input]:
    """Values that no run can have; of those that each field can have, many are refused by the libraries alone."""
    from hfrecipes.config.trainer_keywords import training_types

    for line in filter(None, map(str.strip, REFUSED_SETTINGS.split("|"))):
        words = _words(line)
        yield Input("settings", line, run_with(*words), may_pass=False)
    for name in sorted(training_types()):
        if name not in ("output_dir", "max_steps"):
            for value in VALUES:
                yield Input("settings", f"{name}={value}", run_with(f"{name}={value}"))
    for name, letter in (("max_length", "["), ("columns", "{"), ("options", "{a: "), ("seeds", "[")):
        for number in (100, 5000, 100_000):
            words = run_with(f"{name}={letter * number}")
            yield Input("settings", f"{name}={letter} {number} times", words, may_pass=False)
    for name in ("seed", "max_length", "model", "dataset", "output_dir", "columns.text", "task", "nonsense"):
        for value in ("9" * 5000, "x" * 6000, "x/" * 3000, "\udcff", "\x1b[31m", "../../etc"):
            words = run_with(f"{name}={value}", without="output_dir")
            yield Input("settings", f"{name}={value[:12]!r} of {len(value)}", words)


def _words(line: str) -> list[str]:
    """The settings in a line; a value in brackets may hold blanks."""
    words: list[str] = []
    for word in line.split(" "):
        if words and (words[-1].count("{") > words[-1].count("}") or words[-1].endswith("!!int")):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


# --- recipe files ------------------------------------------------------------------------------------------------

START = f"task: {TEXT}\nmodel: m\ndataset: d.jsonl\ntraining: {{max_steps: 1, bf16: false}}\noutput_dir: out\n"
BLOCKS = ("training", "options", "columns", "hub", "early_stopping", "dropout", "lora", "dataset", "model")
KEYS = ("5", "~", "true", "1.5", "[a]", "{a: 1}", "? [a, b]\n ", "2024-01-01", "!!int 3", "!!binary x", "''")
ALIASES = "\n".join(
    [f"a0: &a0 [{', '.join(['x'] * 9)}]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
)
BLOCK_ALIASES = "\n".join(
    ["a0: &a0 {k: x}", *(f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}" for i in range(1, 10))]
)
TAGS = ("!!int x", "!!int ''", "!!int [1]", "!!float x", "!!bool maybe", "!!timestamp x", "!!timestamp 2024-99-99")
MORE_TAGS = ("!!python/object/apply:os.system ['touch " + MARK + "']", "!!map x", "!!seq x", "!!binary x", "!evil x")
TEXTS = {
    "nothing": "",
    "a word": "evil",
    "a list": "- a\n- b",
    "a number": "5",
    "NUL": "task: \0",
    "bytes": b"\xff\xfe\x00evil",
    "UTF-16": START.encode("utf-16"),
    "tabs": "\ttask: x",
    "unclosed": "task: [a",
    "key twice": START + "model: m\n",
    "two documents": START + "---\n" + START,
    "anchors of nothing": START + "seed: *nope",
    "aliases": ALIASES + "\n" + START,
    "aliases of blocks": BLOCK_ALIASES + "\n" + START + "options: *a9\n",
    "alias of itself": START + "options: &a [*a]",
    "block of itself": START + "options: &a {x: *a}",
    "deep lists": START + "seed: " + "[" * 20_000,
    "deep blocks": START + "options: " + "{a: " * 20_000,
    "deep indentation": "\n".join(" " * i + "a:" for i in range(3000)),
    "many digits": START + "seed: " + "9" * 5000,
    "hex digits": START + "seed: 0x" + "f" * 5000,
    "many keys": START + "\n".join(f"k{i}: 1" for i in range(20_000)),
    "many columns": START + "columns:\n" + "\n".join(f"  k{i}: x" for i in range(20_000)),
    "a long line": START + "model_: " + "x" * 1_000_000,
    "a task of code": "task: evil.py\nmodel: m\ndataset: d.jsonl\noutput_dir: out\n",
    "a task of code by path": "task: ./evil.py\nmodel: m\ndataset: d.jsonl\noutput_dir: out\n",
    "a metric of code": START + "metrics: [evil.py]",
    "a metric of code by path": START + "metrics: [./evil.py]",
    "code of a model": START.replace("model: m", "model: {path: m, trust_remote_code: true}"),
    "a module as task": "task: ../cli\nmodel: m\ndataset: d.jsonl\n",
    "a dotted task": "task: os.path\nmodel: m\ndataset: d.jsonl\n",
}
READABLE = {"UTF-16", "code of a model"}


def recipes() -> Iterator[Input]:
    """Recipe files that are no recipes, or more than one should be."""
    for name, text in TEXTS.items():
        yield _recipe(name, text, may_pass=name in READABLE)
    for tag in (*TAGS, *MORE_TAGS):
        for key in ("seed", "model", "training", "options", "columns"):
            kept = "\n".join(line for line in START.splitlines() if not line.startswith(f"{key}:"))
            yield _recipe(f"{key}: {tag[:30]}", f"{kept}\n{key}: {tag}\n")
    for key in KEYS:
        yield _recipe(f"key {key}", f"{START}{key}: 1\n", may_pass=False)
        for block in BLOCKS:
            kept = "\n".join(line for line in START.splitlines() if not line.startswith(f"{block}:"))
            yield _recipe(f"key {key} in {block}", f"{kept}\n{block}:\n  {key}: 1\n", may_pass=False)
    for value in ("x", "5", "[]", "[x]", "null", "1.5", "true", "{}", "2024-01-01", "-"):
        for key in (*BLOCKS, "seeds", "folds", "metrics", "output_dir", "limit"):
            kept = "\n".join(line for line in START.splitlines() if not line.startswith(f"{key}:"))
            yield _recipe(f"{key}: {value}", f"{kept}\n{key}: {value}\n")


def _recipe(name: str, text: str | bytes, *, may_pass: bool = True) -> Input:
    def prepare() -> None:
        write("r.yaml", text)()
        write("evil.py", HOSTILE_CODE)()

    return Input("recipes", name, ("run", "r.yaml"), prepare, may_pass=may_pass)


# --- files of rows -----------------------------------------------------------------------------------------------

ROWS = [{"text": f"the {word} was {label}", "label": label} for word in "abcdefgh" for label in ("good", "bad")]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)
CONLL = "".join(f"the O\n{word} B-X\n\n" for word in "abcdefgh")
LINE = '{"text": "a", "label": "good"}\n'
ODD_ROWS = {
    "5000 digits first": '{"text": "a", "label": "good", "n": ' + "9" * 5000 + "}\n" + JSONL,
    "5000 digits later": JSONL + '{"text": "a", "label": "good", "n": ' + "9" * 5000 + "}\n",
    "a deep list first": '{"text": "a", "label": "good", "n": ' + "[" * 100_000 + "]" * 100_000 + "}\n" + JSONL,
    "a deep list later": JSONL + '{"text": "a", "label": "good", "n": ' + "[" * 100_000 + "]" * 100_000 + "}\n",
    "an open list": JSONL + "[",
    "a broken line": JSONL + '{"text": \n' + JSONL,
    "a number as row": JSONL + "5\n",
    "a list as row": JSONL + "[1, 2]\n",
    "a text as row": JSONL + '"x"\n',
    "null as row": JSONL + "null\n",
    "NaN as label": JSONL + '{"text": "a", "label": NaN}\n',
    "a list as label": JSONL + '{"text": "a", "label": [[1]]}\n',
    "an object as text": JSONL + '{"text": {"a": 1}, "label": "good"}\n',
    "a lone surrogate": JSONL + '{"text": "\\ud800", "label": "good"}\n',
    "NUL in a text": JSONL + '{"text": "\\u0000", "label": "good"}\n',
    "control characters": JSONL + '{"text": "a", "label": "\\u001b[31mgood"}\n',
    "a key twice": JSONL + '{"text": "a", "text": "b", "label": "good"}\n',
    "no keys": "{}\n" * 8,
    "null in all cells": '{"text": null, "label": null}\n' * 8,
    "an empty key": '{"": "a", "text": "a", "label": "good"}\n' * 8,
    "10,000 columns": ("{" + ", ".join(f'"k{i}": 1' for i in range(10_000)) + "}\n") * 3,
    "a cell of 10 MB": json.dumps({"text": "w" * 10_000_000, "label": "good"}) + "\n" + JSONL,
    "70,000 blank lines": "\n" * 70_000 + JSONL,
    "blanks alone": " \n" * 100,
    "a mark alone": "\ufeff",
    "one row": LINE,
    "two rows": LINE * 2,
    "one label": LINE * 20,
}
ODD_TABLES = {
    "a header of 10 MB": "w" * 10_000_000 + ",text\na,b\n1,2,3\n",
    "ragged rows": CSV + "a,b,c,d\n",
    "an open quote": CSV + '"a,b\n',
    "a header alone": "text,label\n",
    "a column twice": "text,text,label\na,b,good\n" * 4,
    "an empty header": ",\n" + CSV,
    "NUL": CSV.replace("the", "\0"),
    "70,000 blank lines": "\n" * 70_000 + CSV,
    "quotes alone": '"' * 1001,
    "separators alone": "," * 1000 + "\n",
    "a formula": CSV + "=1+1,@SUM(A1)\n",
}


def data() -> Iterator[Input]:
    """Files of rows: damaged, odd, or no files at all."""
    check = ("check", TEXT, "model=m")
    for name, text in ODD_ROWS.items():
        for suffix in ("jsonl", "json"):
            yield Input("data", f"{name} ({suffix})", (*check, f"dataset=x.{suffix}"), write(f"x.{suffix}", text))
    for name, text in ODD_TABLES.items():
        for suffix in ("csv", "tsv"):
            yield Input("data", f"{name} ({suffix})", (*check, f"dataset=x.{suffix}"), write(f"x.{suffix}", text))
    for suffix, content in _files().items():
        command = ("check", "token-classification" if suffix == "conll" else TEXT, "model=m", f"dataset=x.{suffix}")
        for damage, change in DAMAGES.items():
            yield Input("data", f"{damage} ({suffix})", command, write(f"x.{suffix}", change(content)))
    for name, prepare in ODD_PATHS.items():
        yield Input("data", name, (*check, "dataset=f"), prepare)
    for name in ("a::b", "a[1]", "a*b", "a b", "é", "\udcff", "x" * 240, "a?b", "-a", "a#b", "a%20b", "名"):
        words = (*check, f"dataset={name}.jsonl")
        yield Input("data", f"file name {name[:10]!r}", words, write(f"{name}.jsonl", JSONL))


def _files() -> dict[str, bytes]:
    """A whole file of each format."""
    import io

    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as parquet

    packed, table = io.BytesIO(), pa.Table.from_pylist(ROWS)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.jsonl", JSONL)
    columns, arrow = io.BytesIO(), io.BytesIO()
    parquet.write_table(table, columns)
    feather.write_feather(table, arrow)
    plain = {"jsonl": JSONL, "csv": CSV, "tsv": CSV.replace(",", "\t"), "conll": CONLL, "json": json.dumps(ROWS)}
    return {
        **{suffix: text.encode() for suffix, text in plain.items()},
        "jsonl.gz": gzip.compress(JSONL.encode()),
        "jsonl.bz2": bz2.compress(JSONL.encode()),
        "zip": packed.getvalue(),
        "parquet": columns.getvalue(),
        "arrow": arrow.getvalue(),
        "xlsx": packed.getvalue(),
    }


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "cut by one": lambda content: content[:-1],
    "end alone": lambda content: content[len(content) // 2 :],
    "bits turned": lambda content: bytes(byte ^ 0x55 for byte in content),
    "a byte changed": lambda content: content[:40] + b"\xff" + content[41:],
    "zeros": lambda content: bytes(len(content)),
    "twice": lambda content: content * 2,
    "zeros behind it": lambda content: content + bytes(1000),
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "UTF-16 without mark": lambda content: content.decode("latin-1").encode("utf-16-be"),
    "UTF-32": lambda content: content.decode("latin-1").encode("utf-32"),
}


def _fifo(name: str) -> Callable[[], None]:
    def prepare() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(name)

    return prepare


def _link(name: str, target: str) -> Callable[[], None]:
    def prepare() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).symlink_to(target)

    return prepare


def _all(*steps: Callable[[], None]) -> Callable[[], None]:
    def prepare() -> None:
        for step in steps:
            step()

    return prepare


def _saved(damage: str) -> Callable[[], None]:
    """A dataset of `save_to_disk` with one file that is damaged."""

    def prepare() -> None:
        import datasets

        datasets.Dataset.from_list(ROWS).save_to_disk("f")
        if damage == "state.json is a folder":
            Path("f/state.json").unlink()
            Path("f/state.json").mkdir()
        elif damage == "state.json is broken":
            Path("f/state.json").write_text("{x")
        elif damage == "state.json is gone":
            Path("f/state.json").unlink()
        elif damage == "the info is broken":
            Path("f/dataset_info.json").write_text("[]")
        else:
            file = next(Path("f").glob("*.arrow"))
            file.write_bytes(file.read_bytes()[:500])

    return prepare


ODD_PATHS: dict[str, Callable[[], None]] = {
    "a fifo": _fifo("f"),
    "a fifo in a folder": _fifo("f/train.csv"),
    "a device": _link("f", "/dev/zero"),
    "a device in a folder": _link("f/train.csv", "/dev/zero"),
    "a link to nothing": _link("f", "nothing"),
    "a link to itself": _link("f", "f"),
    "a link to nothing in a folder": _link("f/train.csv", "nothing"),
    "a folder that links to itself": _link("f/f", "."),
    "an empty folder": lambda: Path("f").mkdir(),
    "a folder of folders": lambda: Path("f/train").mkdir(parents=True),
    "a folder named as a file": lambda: Path("f/train.csv").mkdir(parents=True),
    "a script": _all(write("f/f.py", HOSTILE_CODE), write("f/train.csv", CSV)),
    "a script alone": write("f/f.py", HOSTILE_CODE),
    "dataset_info.json beside csv": _all(write("f/dataset_info.json", "{}"), write("f/train.csv", CSV)),
    "a pickle": write("f/train.pkl", b"\x80\x04\x95."),
    **{damage: _saved(damage) for damage in ("state.json is a folder", "state.json is broken", "state.json is gone")},
    **{damage: _saved(damage) for damage in ("the info is broken", "the rows are cut")},
}


# --- commands ----------------------------------------------------------------------------------------------------


def commands() -> Iterator[Input]:
    """Commands with names that are none, and rows on standard input that are none."""
    names = ("", " ", "nope", "../cli", "x" * 5000, "x/" * 2000, "\udcff", ".", "/", "/dev/zero", "-", "~")
    for command in ("run", "check", "show", "predict", "evaluate", "chat", "merge", "copy", "push"):
        for name in names:
            more = {"predict": ("d.jsonl",), "evaluate": ("dataset=d.jsonl",), "push": ("me/x",)}.get(command, ())
            more = ("out",) if command in ("merge", "copy") else more
            yield Input("commands", f"{command} {name[:12]!r}", (command, name, *more), may_pass=name == ".")
    for name, rows in STANDARD_INPUT.items():
        yield Input("commands", f"predict run - with {name}", ("predict", "run", "-"), given=rows)
        words = ("predict", "run", "x", "-o", "p.jsonl")
        yield Input("commands", f"predict a file with {name}", words, write("x", rows))
    for output in ("nope/p.jsonl", "run", "/dev/full", "x" * 300, "p.nope", ""):
        yield Input("commands", f"predict -o {output[:12]}", ("predict", "run", "d.jsonl", "-o", output))


STANDARD_INPUT = {
    "nothing": b"",
    "blanks": b" \n\n ",
    "bytes": b"\xff\xfe\xfa",
    "NUL": b"a\0b\n",
    "a broken line": b'{"text": "a"}\n{"text": \n',
    "a broken line first": b'{"text": \n{"text": "a"}\n',
    "another key": b'{"nope": "a"}\n',
    "a number as text": b'{"text": 5}\n',
    "a list as text": b'{"text": ["a"]}\n',
    "null as text": b'{"text": null}\n',
    "a deep list": b'{"text": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "5000 digits": b'{"text": "a", "x": ' + b"9" * 5000 + b"}\n",
    "a mark": b"\xef\xbb\xbf",
    "blank lines": b"\n" * 70_000 + b"a\n",
    "a long text": b"w " * 500_000,
    "a list of rows": b'[{"text": "a"}]\n',
    "mixed rows": b'{"text": "a"}\nb\n5\n',
}


# --- models and runs -----------------------------------------------------------------------------------------------

CONFIG_VALUES: dict[str, tuple[Any, ...]] = {
    "hidden_size": (0, -1, "x", None, 10**9, 33),
    "num_hidden_layers": (0, 100_000, "x", -1),
    "num_attention_heads": (0, 7, "x"),
    "intermediate_size": (0, 5, "x"),
    "vocab_size": (0, 3, "x", 10**12),
    "max_position_embeddings": (0, 1, "x"),
    "type_vocab_size": (0, "x"),
    "hidden_act": ("evil", 5, None),
    "dtype": ("evil", 5, []),
    "model_type": ("evil", 5, None, "t5", "../x"),
    "id2label": ("x", 5, {"x": "a"}, {"0": 5}),
    "architectures": ("x", 5, ["Evil"]),
    "pad_token_id": (10**9, -5, "x"),
    "auto_map": ({"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"},),
    "layer_norm_eps": ("x", float("nan")),
    "hidden_dropout_prob": (5, -1, "x"),
}


def _config_with(folder: str, key: str, value: Any) -> Callable[[], None]:
    def prepare() -> None:
        file = Path(folder, "config.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
        write(f"{folder}/evil.py", HOSTILE_CODE)()

    return prepare


def _change(file: str, damage: str) -> Callable[[], None]:
    """What damages a file."""

    def prepare() -> None:
        path = Path(file)
        if damage == "gone":
            path.unlink()
        elif damage == "a folder":
            path.unlink()
            path.mkdir()
        elif damage in DAMAGES:
            path.write_bytes(DAMAGES[damage](path.read_bytes()))
        else:
            path.write_text(damage)

    return prepare


def _weights(file: str, kind: str) -> Callable[[], None]:
    """What changes the weights in a file of safetensors, which stays whole."""

    def prepare() -> None:
        import torch
        from safetensors.torch import load_file, save_file

        weights = load_file(file)
        names = sorted(weights)
        if kind == "NaN":
            weights[names[0]] = torch.full_like(weights[names[0]], float("nan"))
        elif kind == "one is gone":
            del weights[names[-1]]
        elif kind == "all are gone":
            weights = {"x": torch.zeros(1)}
        elif kind == "other shapes":
            weights = {name: weight[:1].clone() for name, weight in weights.items()}
        elif kind == "no head":
            weights = {name: weight for name, weight in weights.items() if not name.startswith("classifier")}
        save_file(weights, file, metadata={"format": "pt"})

    return prepare


def _as_pickle() -> None:
    """A model whose weights stand in a pickle that runs code."""
    Path("m/model.safetensors").unlink()
    write("m/pytorch_model.bin", f"cbuiltins\nexec\n(V{HOSTILE_CODE.strip()}\ntR.".encode())()


DAMAGED = ("gone", "a folder", "empty", "half", "bits turned", "zeros", "{}", "[]", "5", "null", '"x"', "{x")
WEIGHTS = ("NaN", "one is gone", "all are gone", "other shapes", "no head")
# Without these files, or with other content, a model can still be what it was.
UNNEEDED = {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"}


def models() -> Iterator[Input]:
    """Folders of base models that are damaged."""
    run = ("run", *RUN, "dataset=d.jsonl")
    for key, values in CONFIG_VALUES.items():
        for value in values:
            yield Input("models", f"{key}: {value}", run, _config_with("m", key, value))
    for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        for damage in DAMAGED:
            may_pass = file in UNNEEDED or (file == "config.json" and damage == "{}")
            yield Input("models", f"{file} {damage}", run, _change(f"m/{file}", damage), may_pass=may_pass)
    for kind in WEIGHTS:
        # A head that is not there is what a pretrained model looks like.
        may_pass = kind in ("no head", "one is gone")
        yield Input("models", f"weights: {kind}", run, _weights("m/model.safetensors", kind), may_pass=may_pass)
    yield Input("models", "a pickle", run, _as_pickle, may_pass=False)


FILES_OF_A_RUN = ("recipe.yaml", "run.json", "metrics.json", "baseline.json", "predictions.jsonl", "trained_on.npy")
FILES_OF_ITS_MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
AGAIN = run_with("output_dir=run")


def tampered() -> Iterator[Input]:
    """Folders of runs whose files were damaged or changed, also by somebody who deletes what is known of the files."""
    for tried in _tampered():
        yield tried
        # What is not the rows' or the model's may then be read as it stands.
        yield replace(tried, name=f"{tried.name}, no manifest", prepare=_all(tried.prepare, _no_manifest))


def _no_manifest() -> None:
    for path in Path("run").rglob("manifest.json"):
        path.unlink()


def _tampered() -> Iterator[Input]:
    uses = {"predict": ("predict", "run", "-"), "evaluate": ("evaluate", "run", "dataset=d.jsonl"), "again": AGAIN}
    for use, words in uses.items():
        for file in (*FILES_OF_A_RUN, *FILES_OF_ITS_MODEL):
            for damage in DAMAGED:
                # Whether it is refused depends on the file; that of the weights decides all.
                may_pass = file != "model.safetensors"
                name = f"{use}: {file} {damage}"
                yield Input("tamper", name, words, _change(f"run/{file}", damage), given=b"a text\n", may_pass=may_pass)
        for kind in WEIGHTS:
            prepare = _weights("run/model.safetensors", kind)
            yield Input("tamper", f"{use}: weights {kind}", words, prepare, given=b"a text\n", may_pass=False)
        for name, text in HOSTILE_RECIPES.items():
            # A recipe file with a task that is none is damaged; the model keeps the settings too.
            may_pass = name == "a module as task" and use != "again"
            yield Input("tamper", f"{use}: {name}", words, _hostile_run(text), given=b"a text\n", may_pass=may_pass)


HOSTILE_RECIPES = {
    "a task of code": ("text-classification", "evil.py"),
    "a task of code in the run": ("text-classification", "run/evil.py"),
    "a module as task": ("text-classification", "../cli"),
    "a metric of code": ("metrics: []", "metrics: [evil.py]"),
    "code of a model": ("model: m", "model: {path: m, trust_remote_code: true}"),
}


def _hostile_run(change: tuple[str, str]) -> Callable[[], None]:
    def prepare() -> None:
        write("evil.py", HOSTILE_CODE)()
        write("run/evil.py", HOSTILE_CODE)()
        file = Path("run/recipe.yaml")
        text = file.read_text()
        changed = text.replace(*change)
        if changed == text:
            changed += f"\n{change[1]}\n"
        file.write_text(changed)
        _config_with("run", "auto_map", {"AutoModelForSequenceClassification": "evil.M"})()

    return prepare


# --- Python ------------------------------------------------------------------------------------------------------

WHATS = (
    "None",
    "5",
    "1.5",
    "b'x'",
    "[]",
    "{}",
    "object()",
    "Path('nope.yaml')",
    "Path('.')",
    "''",
    "'\\0'",
    "np.int64(3)",
)
KEYWORDS = (
    "learning_rate=float('inf')",
    "learning_rate=float('nan')",
    "learning_rate=np.float32('nan')",
    "learning_rate=object()",
    "num_train_epochs=float('inf')",
    "seed=np.array([1, 2])",
    "seed=object()",
    "seed=-1",
    "lora={'lora_alpha': float('nan')}",
    "lora=object()",
    "weight_decay=float('nan')",
    "columns={1: 2}",
    "columns=object()",
    "options={None: 1}",
    "metrics=[5]",
    "metrics=[None]",
    "metrics=lambda x: x",
    "model=5",
    "model=object()",
    "dataset=5",
    "dataset=object()",
    "dataset=[5]",
    "dataset=[{}]",
    "dataset=iter([])",
    "dataset={'train': 5}",
    "dataset={5: []}",
    "dataset=np.zeros(3)",
    "output_dir=5",
    "output_dir=object()",
    "output_dir=b'x'",
    "training=5",
    "nonsense=1",
    "seeds=[1, 'x']",
    "folds='x'",
    "max_length=object()",
    "hub=object()",
    "early_stopping=object()",
)
PREDICTED = ("None", "5", "b'x'", "[None]", "[5]", "[{}]", "{}", "[[]]", "object()", "Path('nope')", "[b'x']", "[1.5]")


def calls() -> Iterator[Input]:
    """Calls from Python with values of other types."""
    for what in WHATS:
        for function in ("run", "check", "load", "build"):
            yield Input("python", f"{function}({what})", call=f"hfrecipes.{function}({what})", may_pass=False)
    rest = "model='m', dataset='d.jsonl', max_steps=1, bf16=False, output_dir='out'"
    for keyword in KEYWORDS:
        name = keyword.partition("=")[0]
        others = ", ".join(part for part in rest.split(", ") if not part.startswith(f"{name}="))
        call = f"hfrecipes.run('{TEXT}', {others}, {keyword})"
        yield Input("python", keyword, call=call, may_pass=False)
    for rows in PREDICTED:
        yield Input("python", f"predict({rows})", call=f"hfrecipes.load('run').predict({rows})", may_pass=False)
        yield Input("python", f"evaluate({rows})", call=f"hfrecipes.load('run').evaluate({rows})", may_pass=False)
