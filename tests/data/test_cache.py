"""What is cached is used again as long as all that it was made from is the same, and never afterwards."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import datasets
import pytest
from conftest import make_tokenizer
from processes import run_python

from hfrecipes.data import cache
from hfrecipes.data.features import encode
from hfrecipes.data.sources import read_source
from hfrecipes.errors import DataError
from hfrecipes.registry import find, list_tasks

TASK = """\
from dataclasses import dataclass
{top}
from hfrecipes.tasks.text_classification import TextClassification

@dataclass(kw_only=True)
class Shout(TextClassification):
    def encode(self, batch):
        {inside}
        return super().encode({{**batch, "text": [{call}(text) for text in batch["text"]]}})
"""
UPPER = "def change(text):\n    return text.upper()\n"
REVERSED = "def change(text):\n    return text[::-1]\n"


@pytest.fixture(autouse=True)
def _nothing_was_logged() -> None:
    cache._log_once.cache_clear()


@pytest.fixture
def rows(tmp_path: Path) -> datasets.Dataset:
    """Rows of a file, which are cached beside it."""
    (tmp_path / "rows.csv").write_text("text,label\nabc,x\nxyz,y\n")
    return read_source(str(tmp_path / "rows.csv"))["train"]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes modules of a user; none is left imported from before."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        forget()

    yield write
    forget()


def recipe_of(task: str = "text-classification"):
    recipe = find(task)()
    recipe.tokenizer, recipe.labels = make_tokenizer("ABCXYZ"), ["x", "y"]
    recipe.problem_type = "single_label_classification"
    return recipe


def key_of(rows: datasets.Dataset, recipe) -> str:
    with cache.cache_fingerprint(rows, recipe, "encode") as key:
        return key


def is_cached(rows: datasets.Dataset, recipe) -> bool:
    return key_of(rows, recipe) == key_of(rows, recipe)


# --- code --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top", "inside", "call"),
    [("import helper", "", "helper.change"), ("", "import helper", "helper.change")],
    ids=["at the top", "inside a function"],
)
def test_rows_are_encoded_anew_once_a_module_that_a_task_imports_has_changed(rows, modules, caplog, top, inside, call):
    task = TASK.format(top=top, inside=inside or "pass", call=call)
    modules({"my_task.py": task, "helper.py": UPPER})
    first = encode(recipe_of("my_task.py"), rows)["input_ids"][:]
    assert "rows are encoded again in each run" in caplog.text
    modules({"my_task.py": task, "helper.py": REVERSED})
    second = encode(recipe_of("my_task.py"), rows)["input_ids"][:]
    assert second == recipe_of("my_task.py").encode(rows[:])["input_ids"] != first


def test_tasks_of_the_same_name_in_two_folders_are_told_apart(rows, modules, tmp_path):
    texts = [TASK.format(top=text, inside="pass", call="change") for text in (UPPER, REVERSED)]
    modules({"one/my_task.py": texts[0], "two/my_task.py": texts[1]})
    recipes = [recipe_of(str(tmp_path / name / "my_task.py")) for name in ("one", "two")]
    encoded = [encode(recipe, rows)["input_ids"][:] for recipe in recipes]
    assert encoded[0] != encoded[1]
    assert [sys.modules[type(recipe).__module__].__file__ for recipe in recipes] == [
        str(tmp_path / name / "my_task.py") for name in ("one", "two")
    ]


def test_options_and_labels_count(rows):
    recipe = recipe_of()
    keys = {key_of(rows, recipe)}
    for name, value in [("labels", ["y", "x"]), ("max_length", 16)]:
        setattr(recipe, name, value)
        keys.add(key_of(rows, recipe))
    assert len(keys) == 3
    assert is_cached(rows, recipe)


@pytest.mark.parametrize(
    "change",
    [
        lambda tokenizer: setattr(tokenizer, "split_special_tokens", True),
        lambda tokenizer: setattr(tokenizer, "truncation_side", "left"),
        lambda tokenizer: setattr(tokenizer, "model_input_names", ["input_ids"]),
        lambda tokenizer: setattr(tokenizer, "chat_template", "{{ messages }}"),
        lambda tokenizer: setattr(tokenizer, "clean_up_tokenization_spaces", True),
        lambda tokenizer: tokenizer.add_tokens(["new"]),
        lambda tokenizer: tokenizer.add_special_tokens({"sep_token": "[CLS]"}),
    ],
)
def test_the_whole_state_of_a_tokenizer_counts(rows, change):
    recipe = recipe_of()
    first = key_of(rows, recipe)
    change(recipe.tokenizer)
    assert key_of(rows, recipe) != first
    assert is_cached(rows, recipe)


def bertweet(folder: Path, merges: str = "", **flags):
    from transformers import BertweetTokenizer

    folder.mkdir()
    characters = "abcdefgh@"
    # "@@" marks a piece that another one of the same word follows.
    pieces = [*characters, *(f"{character}@@" for character in characters)]
    (folder / "vocab.txt").write_text("".join(f"{piece} 1\n" for piece in pieces))
    (folder / "bpe.codes").write_text(f"#version: 0.2\n{merges}")
    return BertweetTokenizer(str(folder / "vocab.txt"), str(folder / "bpe.codes"), **flags)


def test_flags_and_files_of_a_slow_tokenizer_count_and_its_folder_does_not(rows, tmp_path):
    recipe, keys = recipe_of(), []
    same = bertweet(tmp_path / "a"), bertweet(tmp_path / "b")
    for tokenizer in (*same, bertweet(tmp_path / "c", normalization=True), bertweet(tmp_path / "d", "a b 9\n")):
        recipe.tokenizer = tokenizer
        keys.append(key_of(rows, recipe))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_template_with_the_date_is_not_cached(rows, caplog):
    recipe = recipe_of()
    recipe.tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}{{ messages }}"
    assert not is_cached(rows, recipe)
    assert "the chat template of the tokenizer shows the date" in caplog.text


@pytest.mark.parametrize("task", list_tasks())
def test_every_task_is_cached_and_its_use_changes_no_key(rows, task, model_for):
    from transformers import AutoConfig, AutoTokenizer

    kind = find(task)
    recipe, model = kind(), model_for(kind)
    recipe.tokenizer = AutoTokenizer.from_pretrained(model)
    samples = datasets.Dataset.from_list([dict(row) for row in kind.samples])
    recipe.infer_labels(samples)
    recipe.adapt_to_model(AutoConfig.from_pretrained(model))
    first = key_of(rows, recipe)
    recipe.encode_for_training(samples[:])
    recipe.encode(samples[:])
    assert key_of(rows, recipe) == first


def test_a_large_vocabulary_counts_whatever_the_order_of_its_entries(rows):
    recipe, keys = recipe_of(), []
    words = {f"word{number}": number for number in range(2000)}
    for vocabulary in (words, dict(reversed(words.items())), {**words, "word7": 8}):
        recipe.tokenizer.words = vocabulary
        keys.append(key_of(rows, recipe))
    assert keys[0] == keys[1] != keys[2]


CHECKS = """\
import json, sys
import hfrecipes

for task, model, file in json.loads(sys.argv[1]):
    hfrecipes.check(task, model=model, dataset=file)
"""


@pytest.mark.long
def test_another_process_reads_what_was_encoded_of_files_of_each_kind_and_for_every_task(tmp_path, model_for):
    wanted = []
    for task in list_tasks():
        kind = find(task)
        samples = [dict(row) for row in kind.samples] * 6
        rows, cells = datasets.Dataset.from_list(samples), []
        for row in samples:
            cells.append({name: cell if isinstance(cell, str) else json.dumps(cell) for name, cell in row.items()})
        forms = {"csv": datasets.Dataset.from_list(cells).to_csv, "jsonl": rows.to_json, "parquet": rows.to_parquet}
        for form, write in forms.items():
            write(tmp_path / f"{task}.{form}")
            wanted.append((task, model_for(kind), f"{task}.{form}"))
    written = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
        run_python("-c", CHECKS, json.dumps(wanted), env=env, cwd=tmp_path)
        files = (tmp_path / "cache").rglob("*.arrow")
        written.append({file: file.stat().st_mtime_ns for file in files})
    assert len(written[0]) >= 2 * len(wanted), "train and validation"
    assert written[0] == written[1]


# --- files -------------------------------------------------------------------------------------------------------


def rewrite(path: Path, content: bytes) -> None:
    """As `rsync -t` or `tar -x` may do: the size and the time of the last modification stay."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize("small", [2**26, 0], ids=["hashed", "by its times"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"text,label\nabc,x\n"), ("a.jsonl", b'{"text": "abc", "label": "x"}\n'), ("a.txt", b"abc\nefg\n")],
)
def test_a_file_rewritten_with_the_same_size_and_time_is_read_anew(tmp_path, monkeypatch, name, content, small):
    monkeypatch.setattr(cache, "SMALL", small)
    path = tmp_path / name
    path.write_bytes(content)
    assert read_source(str(path))["train"]["text"][0] == "abc"
    rewrite(path, content.replace(b"abc", b"xyz"))
    assert read_source(str(path))["train"]["text"][0] == "xyz"


def test_files_named_in_keywords_of_load_dataset_are_read_anew_too(tmp_path):
    path = tmp_path / "folder" / "train.csv"
    path.parent.mkdir()
    folder = str(path.parent)
    sources = [
        {"path": "csv", "data_files": str(path)},
        {"path": "csv", "data_files": {"train": [f"{folder}/*.csv"]}},
        {"path": "csv", "data_dir": folder},
        {"path": folder, "data_files": "train.csv"},
    ]
    path.write_bytes(b"text\nabc\n")
    assert {read_source(source)["train"]["text"][0] for source in sources} == {"abc"}
    rewrite(path, b"text\nxyz\n")
    assert {read_source(source)["train"]["text"][0] for source in sources} == {"xyz"}


def test_an_unchanged_file_is_read_from_the_cache(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nabc,x\n")
    first = read_source(str(path))["train"].cache_files
    os.utime(path)  # only touched
    assert read_source(str(path))["train"].cache_files == first


# --- damage ------------------------------------------------------------------------------------------------------


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGE = {
    "cut short": cut,
    "without its end": lambda content: content[:-8],
    "ends with zeros": lambda content: cut(content) + bytes(len(content) - len(cut(content))),
    "empty": lambda content: b"",
    "another start": lambda content: b"x" * 64 + content[64:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_in_the_cache_is_made_again_and_printed(damage, tmp_path, caplog):
    caplog.set_level("INFO", logger="hfrecipes")
    texts = [f"text {number}" for number in range(3000)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"{text},x\n" for text in texts))
    recipe = find("text-classification")()
    recipe.tokenizer, recipe.labels = make_tokenizer(), ["x", "y"]

    def lengths() -> list[int]:
        rows = read_source("rows.csv")["train"]
        assert rows["text"][:] == texts
        return encode(recipe, rows)["length"][:]

    expected = lengths()
    caplog.clear()
    assert lengths() == expected
    assert "damaged" not in caplog.text
    files = list((tmp_path / "datasets-cache").rglob("*.arrow"))
    assert len(files) == 2, "the rows, and their features"
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
        caplog.clear()
        assert lengths() == expected
        assert f"the file {file} of the cache is damaged: it is deleted, and made again" in caplog.text


@pytest.mark.parametrize("content", [None, "", "[", "\0\0"])
def test_sentences_of_the_cache_that_are_damaged_are_made_again(content, rows, tmp_path):
    (file,) = (tmp_path / "datasets-cache").rglob("*.json")
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert read_source("rows.csv")["train"].to_list() == rows.to_list()
    assert json.loads(file.read_text()) == []


def test_a_cache_that_cannot_be_made_is_named(rows, tmp_path, monkeypatch):
    (tmp_path / "a-file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "a-file"))
    with pytest.raises(DataError, match=r"cannot be made .* set HF_DATASETS_CACHE to another folder"):
        read_source("rows.csv")
