"""Names and numbers replaced in rows: what is recognised, what stays right, and that nothing else sees them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import opinions, plan_of, rows_of

import hfrecipes
from hfrecipes.data.features import encode
from hfrecipes.errors import ConfigError, DataError, MissingPackageError, NotFoundError
from hfrecipes.models.binding import bind_tokenizer
from hfrecipes.recipe import Recipe, text_columns
from hfrecipes.redaction.kinds import KINDS
from hfrecipes.redaction.redactor import Edit, Redactor, moved, moved_back, replaced
from hfrecipes.redaction.rows import redacted
from hfrecipes.redaction.settings import RedactSettings
from hfrecipes.registry import find, list_tasks
from hfrecipes.serving import batches
from hfrecipes.tasks._redacted_words import redacted_words

SECRET = "zoe.quill@post.example"
TASKS = list(list_tasks())


def redactor(*kinds: str) -> Redactor:
    return Redactor(RedactSettings.of(kinds or list(KINDS)))


def redact(text: str, *kinds: str) -> str:
    return replaced(text, redactor(*kinds).edits(text))


# --- what is recognised --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.o'neil@mail.example.co.uk, or a@b", "write to [EMAIL], or a@b"),
        ("邮箱abc@qq.example谢谢", "邮箱[EMAIL]谢谢"),
        ("IBAN DE89 3704 0044 0532 0130 00 from me", "IBAN [IBAN] from me"),
        ("card 4111 1111 1111 1112, IBAN GB82 WEST 1234 5698 7654 31", None),
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
    assert redact(text) == (expected or text)


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


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("IP:192.168.0.1", "IP:[IP]"),
        ("_alice@example.com_", "_[EMAIL]_"),
        ("write to:-alice@example.com", "write to:-[EMAIL]"),
        ("josé.garcía@correo.es", "[EMAIL]"),
        ("alice@münchen.de", "[EMAIL]"),
        ("Order,5,123456", "Order,5,[NUMBER]"),
        ("pi is 3.141592, or 3,141592", "pi is 3.141592, or 3,141592"),
    ],
)
def test_what_stands_before_an_address_does_not_hide_it(text, changed):
    assert redact(text, "ip", "email", "number") == changed


def test_rows_that_were_redacted_before_stay_as_they_are():
    settings = RedactSettings.of({"kinds": ["number"], "model": "runs/ner", "labels": ["PER"]})

    def find_names(texts):
        return [[Edit(text.index("PER"), text.index("PER") + 3, "PER")] for text in texts]

    words = Redactor(settings, find_names)
    assert words.edits("[PER] called [NUMBER]") == []
    assert words.edits("PER called") == [Edit(0, 3, "PER")]


def test_arguments_and_objects_in_texts_are_redacted_whatever_their_keys():
    edits = redactor("email", "number").edits
    given = {"role": "user", "name": "alice@example.com", "content": '{"name": "alice@example.com", "id": "48213377"}'}
    changed = redacted(given, edits, reads_json=True)
    assert changed["role"] == "user"
    assert changed["name"] == "[EMAIL]"
    assert json.loads(changed["content"]) == {"name": "[EMAIL]", "id": "[NUMBER]"}
    call = {"id": "call_48213377", "function": {"name": "send", "arguments": {"id": 48213377, "a@example.com": "x"}}}
    assert redacted(call, edits, reads_json=True) == {
        "id": "call_48213377",
        "function": {"name": "send", "arguments": {"id": "[NUMBER]", "[EMAIL]": "x"}},
    }


def test_what_a_text_has_beside_its_words_is_redacted_too():
    row = {"tokens": ["Call", "me"], "text": "Call me at alice@example.com"}
    assert redacted_words(row, redactor("email").edits)["text"] == "Call me at [EMAIL]"


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
        options = row.get("options")
        for name in text_columns(recipe):
            if name in row and name != "question_type":
                # Words stay as many as their tags.
                secret = [f"{word}/{SECRET}" for word in row[name]] if name == "tokens" else planted(row[name])
                row[name] = secret
        if options and row["answer"] in options:
            row["answer"] = planted(row["answer"])
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


def test_without_the_setting_rows_stay_as_they_are(tiny_bert, tmp_path):
    recipe = find("text-classification")()
    settings = {"model": tiny_bert, "dataset": planted_rows(recipe), "output_dir": str(tmp_path / "run")}
    plan = plan_of("text-classification", settings)
    assert SECRET in str(plan.data.splits["train"][:])
    assert plan.info.redacted is None


# --- rows whose parts refer to each other --------------------------------------------------------------------------


def edits_of(*kinds: str):
    return Redactor(RedactSettings.of(kinds)).edits


def test_answers_stay_spans_of_their_context_and_predicted_ones_those_of_the_text_that_was_given():
    recipe = find("question-answering")()
    context = "Mail a@b.example or ring 13812345678, says Ann."
    answers = {"text": ["13812345678", "Ann", "ring 138"], "answer_start": [25, 43, 20]}
    row = {"question": "Who is a@b.example?", "context": context, "answers": answers}
    edits = edits_of("email", "phone")
    changed = recipe.redacted(row, edits)
    assert changed["question"] == "Who is [EMAIL]?"
    assert changed["context"] == "Mail [EMAIL] or ring [PHONE], says Ann."
    assert changed["answers"]["text"] == ["[PHONE]", "Ann", "ring [PHONE]"]
    for text, start in zip(changed["answers"]["text"], changed["answers"]["answer_start"], strict=True):
        assert changed["context"][start : start + len(text)] == text
    for text, start, given in zip(
        *changed["answers"].values(), ["13812345678", "Ann", "ring 13812345678"], strict=True
    ):
        prediction = {"answer": text, "start": start, "end": start + len(text), "score": 0.5}
        restored = recipe.restored(row, prediction, edits)
        assert restored["answer"] == context[restored["start"] : restored["end"]] == given
    assert recipe.restored(row, {"answer": "", "start": None, "end": None}, edits)["start"] is None


def test_words_stay_as_many_as_their_tags():
    recipe = find("token-classification")()
    words = ["Ask", "(a@b.example),", "ring", "212", "555", "0175", "."]
    changed = recipe.redacted({"tokens": words, "tags": ["O"] * 7}, edits_of("email", "phone"))
    assert changed["tokens"] == ["Ask", "([EMAIL]),", "ring", "[PHONE]", "[PHONE]", "[PHONE]", "."]
    characters = list("手机13812345678")
    changed = recipe.redacted({"tokens": characters, "tags": ["O"] * 13}, edits_of("phone"))
    assert changed["tokens"] == ["手", "机", *["[PHONE]"] * 11]


def test_entities_of_a_text_move_with_it_and_predicted_ones_are_those_of_the_text_that_was_given():
    recipe = find("token-classification")()
    recipe.scheme = "BIO"
    row = {
        "text": "a@b.example is Ann",
        "tokens": ["a@b.example", "is", "Ann"],
        "tags": ["O", "O", "B-person"],
        "entities": [{"start": 15, "end": 18, "label": "person"}],
    }
    edits = edits_of("email")
    changed = recipe.redacted(row, edits)
    assert changed["text"] == "[EMAIL] is Ann"
    assert changed["entities"] == [{"start": 11, "end": 14, "label": "person"}]
    (entity,) = recipe.restored(row, {"tags": row["tags"], "scores": [1.0] * 3, "entities": []}, edits)["entities"]
    assert (entity["text"], entity["start"], entity["end"]) == ("Ann", 15, 18)


def test_arguments_of_calls_stay_json_and_roles_stay():
    recipe = find("chat")()
    call = {"function": {"name": "ring_13812345678", "arguments": '{"phone": 13812345678, "times": 2}'}}
    turns = [{"role": "user", "content": "ring 13812345678"}, {"role": "assistant", "tool_calls": [call]}]
    changed = recipe.redacted({"messages": turns}, edits_of("phone"))["messages"]
    assert changed[0] == {"role": "user", "content": "ring [PHONE]"}
    function = changed[1]["tool_calls"][0]["function"]
    assert function["name"] == "ring_13812345678"
    assert json.loads(function["arguments"]) == {"phone": "[PHONE]", "times": 2}


def test_labels_are_never_replaced(tiny_bert, tmp_path):
    rows = [{"text": f"a {number}", "label": f"{number % 2}@b.example"} for number in range(12)]
    settings = {"model": tiny_bert, "dataset": rows, "output_dir": str(tmp_path / "run"), "redact": ["email"]}
    assert plan_of("text-classification", settings).recipe.labels == ["0@b.example", "1@b.example"]


# --- counts, evaluation, settings ----------------------------------------------------------------------------------


def test_what_is_replaced_is_counted_in_the_rows_that_are_used(tiny_bert, tmp_path, caplog):
    caplog.set_level("INFO")
    rows = [{**row, "text": f"{row['text']} a@b.example c@d.example"} for row in opinions(20)] + opinions(20, seed=1)
    given = {"train": rows, "test": opinions(8, seed=2)}
    settings = {"model": tiny_bert, "dataset": given, "output_dir": str(tmp_path / "run"), "redact": ["email", "phone"]}
    plan = plan_of("text-classification", {**settings, "limit": {"train": 30}})
    counts = plan.info.redacted
    in_rows = counts["train"]["email"]["rows"] + counts.get("validation", {}).get("email", {}).get("rows", 0)
    with_one = sum(
        "[EMAIL]" in text for split in ("train", "validation") for text in plan.data.splits[split]["text"][:]
    )
    assert 0 < in_rows == with_one < 20
    assert counts["train"]["email"]["matches"] == 2 * counts["train"]["email"]["rows"]
    assert counts["test"] == {}
    rows_of_train = len(plan.data.splits["train"])
    assert (
        f"redacted in train, of {rows_of_train} rows: {counts['train']['email']['matches']} e-mail addr" in caplog.text
    )
    assert "redacted in test, of 8 rows: nothing" in caplog.text


def test_rows_to_predict_and_to_evaluate_are_read_as_in_training(quick, tmp_path):
    plain = [{**row, "text": f"{row['text']} [EMAIL]"} for row in opinions(40)]
    given = [{**row, "text": f"{row['text']} {SECRET}"} for row in opinions(40)]
    hfrecipes.run("text-classification", dataset=given, output_dir=str(tmp_path / "run"), redact=["email"], **quick)
    model = hfrecipes.load(tmp_path / "run")
    assert model.predict(given[0]["text"]) == model.predict(plain[0]["text"])
    assert model.evaluate(given).scores["accuracy"] == model.evaluate(plain).scores["accuracy"]
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "redacted in train, of" in card
    assert "plain transformers does not" in card


@pytest.mark.parametrize(
    ("redact", "message"),
    [
        (["emial"], "did you mean email"),
        ([], "found nothing to replace"),
        ({"kind": ["email"]}, "did you mean kinds"),
        ({"kinds": "email"}, "expected a list"),
        ({"kinds": ["phone"], "regions": ["uk"]}, "two letters"),
        ({"model": "runs/ner"}, "belong together"),
        ({"kinds": ["email"], "labels": ["PER"]}, "belong together"),
    ],
)
def test_wrong_settings_are_refused_with_the_edit(redact, message):
    with pytest.raises(ConfigError, match=message):
        find("chat")(redact=redact)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install phonenumbers python-stdnum"):
        find("chat")(redact=["email"])


# --- names by another run ------------------------------------------------------------------------------------------


PEOPLE = [("Amina", "B-PER"), ("Otis", "B-PER")]


@pytest.fixture(scope="module")
def ner(tiny_bert, tmp_path_factory):
    """A run that has learnt two names, and reads e-mail addresses as placeholders."""
    rows = []
    for number in range(40):
        name, tag = PEOPLE[number % 2]
        rows.append({"tokens": [name, "was", "the", "chair"], "tags": [tag, "O", "O", "O"]})
    path = tmp_path_factory.mktemp("ner") / "run"
    training = {"learning_rate": 1e-2, "num_train_epochs": 4, "bf16": False, "per_device_train_batch_size": 8}
    hfrecipes.run(
        "token-classification", model=tiny_bert, dataset=rows, output_dir=str(path), training=training, redact=["email"]
    )
    return str(path)


def test_predicted_entities_are_those_of_the_text_that_was_given_also_where_a_server_joins_requests(ner):
    model = hfrecipes.load(ner)
    text = "a@b.example was Otis was the chair"
    given = model.read([text], needs_text=False)
    # A text is split at punctuation: the address has five words, and stays five.
    assert given.rows[0]["text"] == f"{'[EMAIL]' * 5} was Otis was the chair"
    joined = batches._joined([given, batches._part(model.read([text, text]), 1, 2)])
    for prediction in [model.predict(text), *model.predicted(joined)]:
        names = [entity for entity in prediction["entities"] if entity["text"] == "Otis"]
        assert [(entity["start"], entity["end"]) for entity in names] == [(16, 20)]


def test_names_are_replaced_by_a_run_of_ones_own(ner, quick, tmp_path):
    rows = [{**row, "text": f"{PEOPLE[number % 2][0]} was {row['text']}"} for number, row in enumerate(opinions(40))]
    redact = {"model": ner, "labels": ["PER"], "kinds": ["email"]}
    hfrecipes.run("text-classification", dataset=rows, output_dir=str(tmp_path / "run"), redact=redact, **quick)
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or b"Amina" not in file.read_bytes(), file
    info = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert info["redacted"]["train"]["PER"]["rows"] > 30
    assert info["shared"]["options"]["redact"]["model"] == "run", "the folder is no affair of others"
    loaded = hfrecipes.load(tmp_path / "run")
    assert loaded.read(["Otis was the chair"]).rows[0]["text"] == "[PER] was the chair"


def test_what_is_no_run_of_names_is_refused_before_rows_are_read(ner, quick, tmp_path):
    settings = {"dataset": "missing.csv", "output_dir": str(tmp_path / "run"), **quick}
    with pytest.raises(NotFoundError, match="there is no folder"):
        hfrecipes.run("text-classification", redact={"model": "runs/none", "labels": ["PER"]}, **settings)
    with pytest.raises(ConfigError, match="has no PERS"):
        hfrecipes.run("text-classification", redact={"model": ner, "labels": ["PERS"]}, **settings)
    with pytest.raises(ConfigError, match="expected the folder of a run"):
        hfrecipes.run("text-classification", redact={"model": str(tmp_path), "labels": ["PER"]}, **settings)


def test_a_run_of_names_that_was_trained_again_is_loaded_again(tmp_path):
    from types import SimpleNamespace

    from hfrecipes.redaction.names import name_finder

    folder, loaded = tmp_path / "ner", []
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")

    def load(path):
        loaded.append(path)
        return SimpleNamespace(recipe=SimpleNamespace(task="token-classification", entity_types=["PER"]))

    redact = {"model": str(folder), "labels": ["PER"]}
    first = name_finder(redact, load)
    assert name_finder(redact, load) is first
    stat = (folder / "manifest.json").stat()
    os.utime(folder / "manifest.json", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    again = name_finder(redact, load)
    assert again is not first
    assert again.identity != first.identity
    assert len(loaded) == 2


def test_a_number_among_numbers_is_one_sentence():
    rows = [{"document": f"a text {index}", "summary": "short", "references": [48213377, 1]} for index in range(20)]
    with pytest.raises(DataError, match=r"redact: a number in a list .* \(references\): write these numbers as texts"):
        hfrecipes.check("summarization", dataset={"train": rows}, redact=["number"])


def test_rows_are_redacted_again_with_another_release_of_the_patterns(tmp_path, monkeypatch):
    from hfrecipes.data import redacting

    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"call 48213377 {index},{index % 2}\n" for index in range(20)))
    rows = plan_of("text-classification", {"model": "none", "dataset": str(file), "output_dir": str(tmp_path / "run")})
    recipe = find("text-classification")(redact=["number"])
    train = rows.data.splits["train"]
    first = redacting.redact_rows(train, recipe)._fingerprint
    assert redacting.redact_rows(train, recipe)._fingerprint == first
    monkeypatch.setattr(redacting, "pattern_versions", lambda: ["another"])
    assert redacting.redact_rows(train, recipe)._fingerprint != first
