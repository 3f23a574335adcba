"""Every architecture with every task that it has a head for, full and LoRA: what is loaded in a fresh process predicts
what the trained model predicted. The table in docs/adapters.md is this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from architectures import (
    GROUPS,
    HALF,
    HOLES,
    LOST,
    NAMES,
    SEES_ALL,
    config_for,
    group_of,
    supported,
    tokenizer_for,
)
from conftest import close
from processes import run_python
from shipped import SHIPPED

import hfrecipes
from hfrecipes.recipe import input_columns, option_types
from hfrecipes.registry import find

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.long
@pytest.mark.parametrize("names", [NAMES[start : start + 3] for start in range(0, len(NAMES), 3)], ids=", ".join)
def test_what_is_loaded_in_a_fresh_process_predicts_what_was_trained(names, tmp_path):
    runs = []
    for name in names:
        folder = tmp_path / name / "model"
        save(name, folder)
        for task in supported(name):
            if (name, task) not in HOLES:
                runs += [run(folder, task, tmp_path / name / f"{task}-{lora}", lora=lora) for lora in (False, True)]
    code = "import json, sys; from hfrecipes import load\n"
    code += "print(json.dumps([load(path).predict(rows) for path, rows in json.load(sys.stdin)]))"
    asked = json.dumps([(str(one["path"]), one["rows"]) for one in runs])
    made = run_python("-c", code, given=asked, cwd=ROOT)
    for one, found in zip(runs, json.loads(made.stdout.splitlines()[-1]), strict=True):
        assert close(one["predictions"], found, 1e-3), one["path"]


def save(name: str, folder: Path) -> None:
    """A base model without a head, or with that of a language model."""
    import torch
    import transformers

    torch.manual_seed(0)
    auto = {"encoders": "AutoModel", "writers": "AutoModelForSeq2SeqLM", "decoders": "AutoModelForCausalLM"}[
        group_of(name)
    ]
    getattr(transformers, auto).from_config(config_for(name)).save_pretrained(folder)
    tokenizer_for(name).save_pretrained(folder)


def run(model: Path, task: str, path: Path, *, lora: bool) -> dict:
    """A step of training, and what the model then predicts."""
    samples = find(task).samples
    if task == "question-answering" and model.parent.name in GROUPS["decoders"]:
        samples = [row for row in samples if row["answers"]["text"]]  # the first token of these sees no context
    rows = [dict(samples[place % len(samples)]) for place in range(16)]
    short = {"max_target_length", "max_new_tokens"} & set(option_types(find(task)))
    result = hfrecipes.run(
        task,
        model=str(model),
        dataset={"train": rows, "validation": rows[:4]},
        output_dir=path,
        lora=lora,
        learning_rate=1e-2,
        max_steps=1,
        max_length=128,
        bf16=False,
        metrics=[],
        **dict.fromkeys(short, 6),
    )
    inputs = [{name: row[name] for name in input_columns(find(task)) if name in row} for row in rows[:4]]
    return {"path": path, "rows": inputs, "predictions": json.loads(json.dumps(result.predict(inputs)))}


@pytest.mark.parametrize(("name", "task"), [hole for hole, reason in HOLES.items() if reason != HALF])
def test_what_the_table_leaves_out_is_refused_with_a_reason(name, task, tmp_path):
    from hfrecipes.errors import ModelError

    save(name, tmp_path / "model")
    if task in supported(name):
        with pytest.raises(ModelError, match=r"sees the tokens that it should predict|does not find the weights"):
            run(tmp_path / "model", task, tmp_path / "run", lora=False)


# Short titles of the first columns, in their order; other tasks that ship follow by their names.
SHORT = {
    "text-classification": "text",
    "token-classification": "token",
    "question-answering": "QA",
    "multiple-choice": "choice",
    "fill-mask": "mask",
    "text-generation": "writing",
    "chat": "chat",
    "summarization": "sum.",
    "translation": "transl.",
    "text2text-generation": "text2text",
}


def table() -> list[str]:
    """A row for each architecture, a column for each task that ships.

    ✓ is tested, a letter stands for a reason, and an empty cell for a task without a head.
    """
    letters = {SEES_ALL: "a", HALF: "b", LOST: "c"}
    titles = {**SHORT, **{task: task for task in SHIPPED if task not in SHORT}}
    lines = ["| | " + " | ".join(titles.values()) + " |", "|---" * (len(titles) + 1) + "|"]
    for name in NAMES:
        known = supported(name)
        cells = [letters[HOLES[name, task]] if (name, task) in HOLES else "✓" for task in titles]
        cells = [cell if task in known else "" for cell, task in zip(cells, titles, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def test_the_table_in_the_docs_is_what_is_tested():
    assert "\n".join(table()) in (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
