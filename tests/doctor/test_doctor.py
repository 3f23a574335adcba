"""check names everything that is odd about rows at once: graded, with the rows, the reason and the edit."""

from __future__ import annotations

import json
import random
import re
import shlex
import string
from pathlib import Path

import pytest
from click.testing import CliRunner

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.doctor.diagnosis import Diagnosis
from hfrecipes.doctor.lengths import histogram
from hfrecipes.doctor.parts import normalized
from hfrecipes.doctor.printing import findings, label_lines
from hfrecipes.doctor.similar import SIMILAR, similar_pairs, similarity

TASK = "text-classification"


def invented(number: int, seed: int = 0, words: int = 14) -> list[str]:
    """Different texts of invented words."""
    generator = random.Random(seed)
    known = ["".join(generator.choices(string.ascii_lowercase, k=generator.randint(3, 8))) for _ in range(600)]
    return [" ".join(generator.choices(known, k=words)) for _ in range(number)]


def labelled(number: int, seed: int = 0) -> list[dict]:
    return [{"text": text, "label": "ab"[index % 2]} for index, text in enumerate(invented(number, seed))]


def splits(**changes: list[dict]) -> dict[str, list[dict]]:
    """Rows in which nothing is odd, but for what is given."""
    return {"train": labelled(60), "validation": labelled(20, 1), "test": labelled(20, 2), **changes}


def write(rows: dict[str, list[dict]]) -> str:
    Path("rows").mkdir(exist_ok=True)
    for split, lines in rows.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        Path("rows", f"{split}.jsonl").write_text(text, encoding="utf-8")
    return "dataset=rows"


def call(*words: str):
    return CliRunner().invoke(main, ["check", TASK, *words])


def found(rows: dict[str, list[dict]], *words: str) -> dict[tuple[str, str | None], dict]:
    """The findings of the command, by name and split."""
    made = call(write(rows), "--json", *words)
    report = json.loads(made.stdout)
    return {(finding["name"], finding["split"]): finding for finding in report["findings"]}


def names_of(task: str, rows: list[dict]) -> set[str]:
    """Names of the findings about rows of train alone."""
    report = hfrecipes.check(task, dataset=rows, splits={"validation": None})
    return {finding["name"] for finding in report["findings"]}


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_ends_with_ok_where_nothing_is_odd(tiny_bert):
    rows = {}
    for seed, split in enumerate(("train", "validation", "test")):
        texts = invented(40, seed, words=6)
        rows[split] = [{"text": text, "label": "ab"[index % 2]} for index, text in enumerate(texts)]
    made = call(write(rows), f"model={tiny_bert}")
    assert made.exit_code == 0, made.output
    assert made.stdout.splitlines()[-1] == "ok"
    assert len(made.stdout.splitlines()) < 45, "it fits on a screen"


def test_all_findings_are_named_at_once_and_errors_come_first():
    rows = splits()
    rows["train"][3]["text"] = ""
    rows["train"][5]["label"] = None
    rows["test"][0] = rows["train"][0]
    made = call(write(rows))
    assert made.exit_code == 1
    lines = made.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("error", "warning", "note"))][:3] == [
        "error",
        "warning",
        "note",
    ]
    assert "train: text is empty in 1 row (3, counted from 0)" in made.stdout
    assert "train: label is missing in 1 row (5, counted from 0)" in made.stdout
    assert "options.drop_invalid=true" in made.stdout
    assert "test: 1 of 20 inputs (5 %) also occur in train (row 0, counted from 0)" in made.stdout
    assert lines[-1] == "1 error, 1 warning, 1 note"


def test_warnings_are_an_error_where_they_are_asked_to_be():
    rows = splits()
    rows["test"][0] = rows["train"][0]
    assert call(write(rows)).exit_code == 0
    assert call(write(rows), "--strict").exit_code == 1
    assert call(write(splits()), "--strict").exit_code == 0


def test_settings_that_are_wrong_end_the_check_with_another_code():
    made = call(write(splits()), "learning_rat=1")
    assert made.exit_code == 2
    assert "did you mean learning_rate" in made.output


def test_what_was_found_is_printed_before_what_ends_the_check():
    rows = splits(train=[{**row, "label": 0.5 if index else "a"} for index, row in enumerate(labelled(60))])
    rows["train"][1]["text"] = "schÃ¶n"
    made = call(write(rows), "problem_type=regression")
    assert made.exit_code in (1, 2)
    assert "'Ã¶' for 'ö'" in made.output


def test_programs_read_one_object_with_all_rows():
    rows = splits()
    for index in range(7):
        rows["test"][index] = rows["train"][index]
    report = json.loads(call(write(rows), "--json").stdout)
    assert report["ok"] is True
    assert (report["errors"], report["warnings"]) == (0, 1)
    (overlap,) = [finding for finding in report["findings"] if finding["name"] == "train-overlap"]
    assert overlap["rows"] == list(range(7))
    assert overlap["count"] == 7
    assert overlap["edit"]
    assert report["label_counts"]["a"] == {"train": 30, "validation": 10, "test": 10}
    assert report["config"]["task"] == TASK


def test_python_gets_the_findings_too_and_rows_that_cannot_be_used_are_raised():
    rows = splits()
    rows["test"][0] = rows["train"][0]
    report = hfrecipes.check(TASK, dataset=rows)
    assert ("train-overlap", [0]) in [(finding["name"], finding["rows"]) for finding in report["findings"]]
    rows["train"][3]["text"] = ""
    with pytest.raises(hfrecipes.HFRecipesError, match="text is empty"):
        hfrecipes.check(TASK, dataset=rows)


def test_no_model_is_a_finding_with_models_to_start_from():
    finding = found(splits())["no-model", None]
    assert finding["grade"] == "note"
    assert "model=" in finding["edit"]


def test_what_several_splits_share_is_explained_once():
    alike = [
        Diagnosis("note", "html", "text has HTML", split, [1], "which is odd", "remove it") for split in ("a", "b")
    ]
    assert list(findings(alike, None)) == [
        "note     a: text has HTML (row 1, counted from 0)",
        "         b: text has HTML (row 1, counted from 0)",
        "         which is odd: remove it",
    ]


def test_a_terminal_gets_lines_of_its_width():
    long = Diagnosis("note", "long", "word " * 60, None, (), "as it is", "")
    assert max(map(len, findings([long], 80))) <= 80
    assert len(list(findings([long], None))) == 2


# --- labels ----------------------------------------------------------------------------------------------------------


def test_labels_are_counted_and_few_of_many_are_listed():
    lines = list(label_lines({f"label {number}": {"train": 100 - number, "test": 2} for number in range(40)}))
    assert lines[0].split() == ["labels", "train", "test"]
    assert len(lines) == 14
    assert "  … 28 more" in lines


def test_rare_labels_placeholders_and_variants_are_named():
    rows = splits()
    for index, label in enumerate(["n/a", "n/a", "A", "a ", "ａ"]):
        rows["train"][index]["label"] = label
    named = found(rows)
    assert "n/a (2)" in named["rare-labels", "train"]["sentence"]
    assert named["placeholder-labels", "train"]["rows"] == [0, 1]
    variants = named["label-variants", "train"]
    assert set(variants["rows"]) >= {2, 4}
    assert "'A'" in variants["sentence"]
    assert "'a' (" in variants["sentence"].partition(",")[0], "the most frequent spelling is the first"
    assert variants["edit"] == "use one spelling everywhere, such as the first of each line"


@pytest.mark.parametrize("placeholder", ["-", "?", "--", "null", "None", "NaN", "n/a", "#N/A", "no label", "-1"])
def test_every_edit_for_a_label_that_looks_like_a_placeholder_works_as_it_is_typed(placeholder):
    rows = [{**row, "label": ["a", "b", placeholder][index % 3]} for index, row in enumerate(labelled(60))]
    printed = call(write({"train": rows})).stdout
    edits = re.findall(r'options\.ignore_labels=(?:"[^"]*"|[^\s)]+)', printed)
    assert edits, printed
    for edit in edits:
        checked = call(write({"train": rows}), *shlex.split(edit))
        assert "2 labels: a, b" in checked.output, (edit, checked.output)


def test_labels_that_differ_are_no_variants():
    names = ["C", "C#", "C++", "not ok", "ok", "1", "10", "résumé", "resume"]
    texts = invented(180)
    rows = [{"text": text, "label": names[index % 9]} for index, text in enumerate(texts)]
    assert not [name for name, _ in found(splits(train=rows, test=rows[:9], validation=rows[:9])) if "variants" in name]


def test_a_label_of_most_rows_is_named():
    rows = [{**row, "label": "b" if index < 6 else "a"} for index, row in enumerate(labelled(60))]
    finding = found(splits(train=rows))["skewed-labels", "train"]
    assert finding["grade"] == "warning"
    assert "90 % of the rows have the label 'a'" in finding["sentence"]
    assert "class_weights" in finding["edit"]


# --- duplicates ------------------------------------------------------------------------------------------------------


def edited(text: str, kind: str) -> str:
    words = text.split()
    changes = {
        "case": text.upper() + " !",
        "one word": " ".join([*words[:6], "banana", *words[7:]]),
        "one word less": " ".join(words[1:]),
        "one word more": " ".join([*words, "indeed"]),
        "two letters": text[:10] + "x" + text[11:40] + "x" + text[41:],
    }
    return changes[kind]


@pytest.mark.parametrize("kind", ["case", "one word", "one word less", "one word more", "two letters"])
def test_planted_near_duplicates_are_found_and_nothing_else_is(kind):
    texts = invented(300, words=24)
    planted = [edited(text, kind) for text in texts[:40]]
    keys = list(dict.fromkeys(map(normalized, [*texts, *planted])))
    expected = set()
    for text, other in zip(texts, planted, strict=False):
        first, second = keys.index(normalized(text)), keys.index(normalized(other))
        if first != second and similarity(keys[first], keys[second]) >= SIMILAR:
            expected.add((first, second))
    assert set(similar_pairs(keys)) == expected
    assert kind == "case" or len(expected) >= 35, "an edit of a word leaves texts nearly equal"


def test_texts_without_blanks_are_compared_too():
    generator = random.Random(0)
    signs = [chr(code) for code in range(0x4E00, 0x4F00)]
    texts = ["".join(generator.choices(signs, k=60)) for _ in range(100)]
    changed = [text[:30] + "好" + text[31:] for text in texts[:20]]
    assert similar_pairs([*texts, *changed]) == [(index, 100 + index) for index in range(20)]


def test_near_duplicates_are_named_within_and_across_splits():
    rows = splits()
    rows["test"][4] = {"text": rows["train"][0]["text"].upper() + "!", "label": "a"}
    rows["test"][5] = {"text": rows["validation"][0]["text"] + ".", "label": "a"}
    rows["train"][9] = {"text": rows["train"][8]["text"] + " ?", "label": "a"}
    named = found(rows)
    assert named["train-near-overlap", "test"]["rows"] == [4]
    assert named["validation-near-overlap", "test"]["rows"] == [5]
    assert named["near-duplicates", "train"]["rows"] == [9]
    assert "train-overlap" not in [name for name, _ in named], "equal inputs are counted apart"


def test_rows_that_share_one_of_two_texts_are_no_near_duplicates():
    story = invented(1, words=80)[0]
    questions = invented(40, seed=4, words=6)
    rows = [{"text": story, "text_pair": text, "label": "ab"[index % 2]} for index, text in enumerate(questions)]
    named = found({"train": rows[:20], "validation": rows[20:30], "test": rows[30:]})
    assert not [name for name, _ in named if "duplicate" in name or "overlap" in name]


def test_one_text_with_two_labels_is_named_with_both():
    rows = splits()
    rows["train"][2] = {"text": rows["train"][0]["text"].title(), "label": "b"}
    finding = found(rows)["contradictions", "train"]
    assert finding["rows"] == [0, 2]
    assert "'a' and 'b'" in finding["why"]


def test_answers_that_have_one_in_common_and_numbers_that_are_close_agree():
    text = "the tower of London and the bridge"
    answers = [["London"], ["London", "of London"], ["the bridge"]]
    rows = []
    for texts in answers[:2]:
        cell = {"text": texts, "answer_start": [text.index(answer) for answer in texts]}
        rows.append({"question": "where?", "context": text, "answers": cell})
    names = names_of("question-answering", rows)
    assert "contradictions" not in names
    other = {"text": answers[2], "answer_start": [text.index("the bridge")]}
    rows.append({"question": "where?", "context": text, "answers": other})
    names = names_of("question-answering", rows)
    assert "contradictions" in names
    numbers = [{"text": words, "label": index % 6 + 0.5} for index, words in enumerate(invented(60))]
    numbers.append({**numbers[0], "label": 0.6})
    assert "contradictions" not in {
        name for name, _ in found(splits(train=numbers, validation=numbers[:9], test=numbers[:9]))
    }
    numbers.append({**numbers[0], "label": 5.5})
    assert ("contradictions", "train") in found(splits(train=numbers, validation=numbers[:9], test=numbers[:9]))


def test_tags_of_other_words_are_no_contradiction():
    rows = []
    for words in invented(40):
        tokens = words.split()[:5]
        rows.append({"tokens": tokens, "tags": ["B-x", *["O"] * 4]})
    rows.append({"tokens": [*rows[0]["tokens"], "!"], "tags": ["O"] * 6})
    names = names_of("token-classification", rows)
    assert "contradictions" not in names
    rows.append({"tokens": rows[1]["tokens"], "tags": ["O"] * 5})
    (finding,) = [
        finding
        for finding in hfrecipes.check("token-classification", dataset=rows, splits={"validation": None})["findings"]
        if finding["name"] == "contradictions" and finding["split"] == "train"
    ]
    assert "'B-x' and 'O'" in finding["why"]


def test_several_translations_of_a_sentence_are_no_contradiction(caplog):
    rows = [{"source": text, "target": text[::-1]} for text in invented(40)]
    rows[1]["source"] = rows[0]["source"]
    report = hfrecipes.check(
        "translation", dataset=rows, source_lang="en", target_lang="de", splits={"validation": None}
    )
    grades = {finding["name"]: finding["grade"] for finding in report["findings"]}
    assert grades["contradictions"] == "note"


def test_questions_about_texts_of_train_are_named():
    texts = invented(12, words=30)

    def question(text: str, number: int) -> dict:
        word = text.split()[number]
        return {
            "question": f"which {number}?",
            "context": text,
            "answers": {"text": [word], "answer_start": [text.index(word)]},
        }

    rows = {
        "train": [question(text, number) for text in texts[:8] for number in range(3)],
        "validation": [question(text, 5) for text in texts[7:]],
    }
    report = hfrecipes.check("question-answering", dataset=rows)
    (finding,) = [finding for finding in report["findings"] if finding["name"] == "shared-context"]
    assert finding["rows"] == [0]


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Das ist schÃ¶n", "donâ€™t", "ä¸­æ–‡", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "ðŸ˜€ fun", "100 Â°C"])
def test_texts_that_were_read_in_a_wrong_encoding_are_named(text):
    rows = splits()
    rows["train"][7]["text"] = text
    assert found(rows)["wrong-encoding", "train"]["rows"] == [7]


@pytest.mark.parametrize(
    "text", ["Das ist schön", "CAFÉ” sagte er", "naïve Ångström", "ÄÖÜ – ß", "São Paulo", "中文", "Â la carte"]
)
def test_texts_with_accents_and_quotes_are_not_damaged(text):
    rows = splits()
    rows["train"][7]["text"] = text
    assert ("wrong-encoding", "train") not in found(rows)


def test_lost_characters_html_and_placeholders_are_named():
    rows = splits()
    for index, text in enumerate(["a \ufffd b", "Q&amp;A of it", "first<br/>second", "AT&T; 3 < 4", "n/a"]):
        rows["train"][index]["text"] = text
    named = found(rows)
    assert named["lost-characters", "train"]["rows"] == [0]
    assert named["html", "train"]["rows"] == [1, 2]
    assert named["html", "train"]["grade"] == "note"
    assert named["placeholder-texts", "train"]["rows"] == [4]


def test_html_in_most_rows_is_one_warning():
    rows = splits()
    for row in rows["train"]:
        row["text"] += " &amp; more"
    about = [key for key, finding in found(rows).items() if "HTML" in finding["sentence"]]
    assert about == [("html", "train")]
    assert found(rows)["html", "train"]["grade"] == "warning"


# --- with a model ----------------------------------------------------------------------------------------------------


def test_truncated_rows_are_numbered_and_lengths_are_drawn(tiny_bert):
    rows = splits()
    rows["train"][2]["text"] = " ".join(invented(30))
    made = call(write(rows), f"model={tiny_bert}", "max_length=64")
    assert "lengths of train in tokens" in made.stdout
    assert "█" in made.stdout
    assert "truncated at max_length=64" in made.stdout


def test_a_tokenizer_of_another_language_is_named_with_models_that_know_it(tiny_bert):
    signs = [chr(code) for code in range(0x4E00, 0x4F00)]
    generator = random.Random(3)
    rows = [{"text": "".join(generator.choices(signs, k=20)), "label": "ab"[index % 2]} for index in range(60)]
    finding = found(splits(train=rows), f"model={tiny_bert}")["unknown-tokens", "train"]
    assert "does not know this language" in finding["why"]
    assert "chinese" in finding["edit"]


def test_bins_hold_all_lengths():
    for lengths in ([1], [0, 0], [5, 5, 5], list(range(3000)), [10**6, 3]):
        counted = [int(line.split()[-1]) for line in histogram(lengths)]
        assert sum(counted) == len(lengths)
        assert len(counted) <= 7


def test_steps_are_projected_from_batches_and_epochs():
    made = call(
        write(splits()), "num_train_epochs=2", "gradient_accumulation_steps=2", "per_device_train_batch_size=16"
    )
    assert "training: 4 steps, 2 epochs of 60 examples in batches of 16" in made.stdout


@pytest.mark.rehearsed
def test_a_rehearsal_trains_evaluates_saves_and_loads_and_leaves_nothing(tiny_bert, tmp_path):
    words = [write(splits()), f"model={tiny_bert}", "bf16=false"]
    before = sorted(tmp_path.rglob("*"))
    made = call(*words, "--rehearse")
    assert made.exit_code == 0, made.output
    assert "s a step, so about" in made.stdout
    after = [path for path in sorted(tmp_path.rglob("*")) if "datasets-cache" not in path.parts]
    assert after == [path for path in before if "datasets-cache" not in path.parts]


@pytest.mark.rehearsed
def test_a_rehearsal_draws_no_splits_from_its_few_rows(tiny_bert, tmp_path):
    # Each row has a label of its own among the few of a rehearsal, so that none can be spared.
    rows = [{"text": f"text {number}", "label": f"label {number % 60}"} for number in range(240)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = (f"dataset={tmp_path / 'rows.jsonl'}", f"model={tiny_bert}", "splits.test=0.2", "splits.validation=0.1")
    made = call(*words, "per_device_train_batch_size=2", "--rehearse")
    assert "the rehearsal failed" not in made.output
    assert "in the rehearsal" in made.output


def test_a_rehearsal_that_fails_is_an_error(tiny_bert):
    made = call(write(splits()), f"model={tiny_bert}", "--rehearse", "optim=adamw_8bit_that_is_not")
    assert made.exit_code == 2
    made = call(write(splits()), "--rehearse")
    assert "it needs model=" in made.stdout


# --- a run -----------------------------------------------------------------------------------------------------------


def test_rows_that_the_model_to_start_from_was_trained_on_are_found_in_the_splits_that_score(tiny_bert, caplog):
    """As where `splits.test=0.2` draws others in a run that goes on from another one."""
    rows = splits()["train"]
    settings = {"max_steps": 2, "bf16": False}
    first = hfrecipes.run(TASK, model=tiny_bert, dataset={"train": rows[:30]}, output_dir="first", **settings)
    again = {"train": rows[10:], "validation": splits()["validation"], "test": rows[:10]}
    sentence = r"test: \d+ of 10 inputs \(.* %\) are in the training rows of the model to start from"
    report = hfrecipes.check(TASK, model=str(first.path), dataset=again)
    assert ("model-overlap", "test") in [(finding["name"], finding["split"]) for finding in report["findings"]]
    caplog.clear()
    hfrecipes.run(TASK, model=str(first.path), dataset=again, output_dir="second", **settings)
    assert re.search(sentence, caplog.text)
    caplog.clear()
    other = [{**row, "text": f"{row['text']} again"} for row in rows[:10]]
    hfrecipes.run(TASK, model=str(first.path), dataset={**again, "test": other}, output_dir="third", **settings)
    assert "the model to start from" not in caplog.text


def test_a_run_prints_the_warnings_and_scores_the_clean_part_of_test(tiny_bert, caplog):
    rows = splits()
    for index in range(6):
        rows["test"][index] = rows["train"][index]
    settings = {"max_steps": 2, "bf16": False, "output_dir": "run"}
    result = hfrecipes.run(TASK, model=tiny_bert, dataset=rows, **settings)
    assert "test: 6 of 20 inputs (30 %) also occur in train" in caplog.text
    assert "6 of 20 inputs of test also occur, or nearly occur, in train" in caplog.text
    predictions = [json.loads(line) for line in Path("run/predictions.jsonl").read_text().splitlines()]
    clean = [line for line in predictions if line["split"] == "test" and line["row"] >= 6]
    right = sum(line["label"] == line["prediction"]["label"] for line in clean)
    assert result.metrics["test_clean"]["accuracy"] == pytest.approx(right / 14)
    assert json.loads(Path("run/metrics.json").read_text())["test_clean"]["accuracy"]["value"] == right / 14
    assert "| test_clean | accuracy |" in Path("run/README.md").read_text()


def test_a_run_on_clean_rows_has_no_such_score(tiny_bert):
    result = hfrecipes.run(TASK, model=tiny_bert, dataset=splits(), max_steps=1, bf16=False, output_dir="run")
    assert "test_clean" not in result.metrics
