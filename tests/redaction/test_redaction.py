"""Names and numbers replaced in rows: what is recognised, what stays right, and that nothing else sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import opinions, plan_of, rows_of

import hfrecipes
from hfrecipes.contract.tiny_models import save_encoder, word_tokenizer
from hfrecipes.data.features import encode
from hfrecipes.errors import ConfigError, MissingPackageError, NotFoundError
from hfrecipes.models.binding import bind_tokenizer
from hfrecipes.recipe import Recipe, text_columns
from hfrecipes.redaction import names
from hfrecipes.redaction.kinds import KINDS
from hfrecipes.redaction.redactor import Redactor, moved, moved_back, replaced
from hfrecipes.redaction.settings import RedactSettings
from hfrecipes.registry import find, tasks

SECRET = "zoe.quill@post.example"
TASKS = list(tasks())


def redact(text: str, *kinds: str) -> str:
    redactor = Redactor(RedactSettings.of(kinds or list(KINDS)))
    return replaced(text, redactor.edits(text))


# --- what is recognised --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.o'neil@mail.example.co.uk, or a@b", "write to [EMAIL], or a@b"),
        ("邮箱abc@qq.example谢谢", "邮箱[EMAIL]谢谢"),
        ("IBAN DE89 3704 0044 0532 0130 00 from me", "IBAN [IBAN] from me"),
        ("IBAN DE89 3704 0044 0532 0130 01", "IBAN DE89 3704 0044 0532 0130 01"),
        ("card 4111 1111 1111 1111 thanks", "card [CREDIT_CARD] thanks"),
        ("on +44 20 7946 0958 or (212) 555-0175", "on [PHONE] or [PHONE]"),
        ("手机13812345678谢谢", "手机[PHONE]谢谢"),
        ("证11010519491231002X。", "证[RESIDENT_ID]。"),
        ("see https://a.example/c?d=1, then", "see [URL], then"),
        ("from 192.168.0.1, version 1.2.3.4.5, 999.1.1.1", "from [IP], version 1.2.3.4.5, 999.1.1.1"),
        ("on 31.12.2020, not 99/99/2020, 2021年3月4日", "on [DATE], not 99/99/2020, [DATE]"),
        ("@ann_b wrote to b@", "[HANDLE] wrote to b@"),
        ("order 48213377, pi 3.14159265, in 2008 2009", "order [NUMBER], pi 3.14159265, in 2008 2009"),
    ],
)
def test_patterns_recognise_what_checks_confirm_and_leave_what_they_do_not(text, expected):
    assert redact(text) == expected


def test_a_redacted_text_has_nothing_more_to_redact():
    text = "a@b.example 13812345678 https://x.example/?q=a@b.example 4111 1111 1111 1111 @ann 2020-01-02 48213377"
    assert redact(redact(text)) == redact(text)


def test_only_the_kinds_that_are_named_are_replaced():
    assert redact("a@b.example 48213377", "email") == "[EMAIL] 48213377"


def test_spans_move_with_the_text_and_back():
    redactor = Redactor(RedactSettings.of(["email", "number"]))
    text = "ann: a@b.example, order 48213377 of May"
    edits = redactor.edits(text)
    changed = replaced(text, edits)
    for word in ("ann", "order", "May"):
        start, end = text.index(word), text.index(word) + len(word)
        there = moved(edits, start, end)
        assert changed[slice(*there)] == word
        assert moved_back(edits, *there) == (start, end)
    inside = text.index("4821")
    assert changed[slice(*moved(edits, inside, inside + 4))] == "[NUMBER]"


# --- every task ----------------------------------------------------------------------------------------------------


def planted(cell):
    """A cell with the secret at the end of each of its texts."""
    if isinstance(cell, str):
        return f"{cell} {SECRET}"
    if isinstance(cell, list):
        return [planted(item) for item in cell]
    if isinstance(cell, dict):
        return {key: item if key == "role" else planted(item) for key, item in cell.items()}
    return cell


def planted_rows(recipe: Recipe, number: int = 24) -> list[dict]:
    rows = []
    for row in rows_of(type(recipe), number):
        for name in text_columns(recipe):
            if name in row:
                # Words stay as many as their tags.
                secret = [f"{word}/{SECRET}" for word in row[name]] if name == "tokens" else planted(row[name])
                row[name] = secret
        rows.append({**row, "mailbox": SECRET, "customer_id": SECRET})
    return rows


def assert_nowhere(folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("task", TASKS)
def test_no_task_shows_its_model_what_is_redacted_nor_keeps_it(task, model_for, tmp_path):
    kind = find(task)
    rows = planted_rows(kind())
    given = {"train": rows, "validation": rows[:8], "test": rows[8:16]}
    settings = {"model": model_for(kind), "dataset": given, "output_dir": str(tmp_path / "run"), "redact": ["email"]}
    plan = plan_of(task, {**settings, "training": {"bf16": False}})
    assert SECRET not in str([plan.data.splits[split][:] for split in given])
    bind_tokenizer(plan.recipe, plan.config)
    ids = encode(plan.recipe, plan.data.splits["train"], training=True)["input_ids"]
    texts = plan.recipe.tokenizer.batch_decode(
        [token for row in ids for token in (row if isinstance(row[0], list) else [row])]
    )
    assert not any("quill" in text.replace(" ", "").lower() for text in texts)
    assert any("[email]" in text.replace(" ", "").lower() for text in texts)
    options = {"generated_rows": 2} if hasattr(kind, "generated_rows") else {}
    result = hfrecipes.run(task, **settings, options=options, training={"bf16": False, "max_steps": 1})
    assert_nowhere(tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert info["redacted"]["train"]["email"]["rows"] == 24
    inputs = {name: rows[0][name] for name in result.predictor.reads if name in rows[0]}
    read = hfrecipes.load(tmp_path / "run").read([inputs]).rows
    assert SECRET not in str(read[:])
