"""Cells and files as public datasets have them: values that Python printed, labels in lines, texts by language."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

import hfrecipes
from hfrecipes.data.prepare import load_data
from hfrecipes.data.raw_cells import plain_cells
from hfrecipes.data.shapes.cells import parse_list
from hfrecipes.data.shapes.python_cells import printed_list, printed_value
from hfrecipes.data.sources import read_source
from hfrecipes.errors import DataError
from hfrecipes.training.configuration import configure


def train_of(task: str, dataset: object, **settings) -> list[dict]:
    """The training rows under the names of the task; a validation split is drawn from the same data."""
    if not isinstance(dataset, dict):
        dataset = {"train": dataset, "validation": dataset}
    config, recipe = configure(task, {"dataset": dataset, **settings})
    return load_data(config, recipe)[0].splits["train"].to_list()


def lines_of(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


# --- values that Python printed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("b'it\\'s fine'", "it's fine"),
        ('b"it\'s fine"', "it's fine"),
        ("b'caf\\xc3\\xa9'", "café"),
        ("np.bytes_(b'a')", "a"),
        ("np.str_('a')", "a"),
        ("u'a'", "a"),
        ("np.int64(3)", "3"),
        ("np.float32(0.5)", "0.5"),
        ("tensor(1, device='cuda:0')", "1"),
        ("np.True_", "True"),
    ],
)
def test_values_that_python_printed_are_what_they_stand_for(cell, value):
    assert printed_value(cell) == value


@pytest.mark.parametrize("text", ["b'a' and b'b'", "b'a' is a literal", "bob", "int(3)", "b'\\xff'", "'quoted'", ""])
def test_texts_about_code_stay_texts(text):
    assert printed_value(text) is None


def test_texts_in_the_spelling_of_bytes_are_decoded_and_the_reading_is_printed(tmp_path, caplog):
    rows = [f"b'the soup {row} isn\\'t hot'\tb\"it's {row} degrees\"\t{row % 2}" for row in range(12)]
    file = lines_of(tmp_path / "pairs.tsv", "sentence1\tsentence2\tlabel", *rows)
    assert train_of("text-classification", file)[0]["text"] == "the soup 0 isn't hot"
    assert "column 'sentence2' holds values as Python prints them" in caplog.text


def test_labels_that_torch_printed_are_their_numbers(tmp_path):
    file = lines_of(tmp_path / "rows.csv", "text,label", *[f"note {row},tensor({row % 2})" for row in range(12)])
    assert hfrecipes.check("text-classification", dataset=file)["labels"] == ["0", "1"]


def test_a_few_literals_among_texts_stay_as_they_are():
    rows = datasets.Dataset.from_dict({"text": ["b'a'", "some prose", "more prose"]})
    assert plain_cells(rows, {})["text"][:] == ["b'a'", "some prose", "more prose"]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("['a' 'b']", ["a", "b"]),
        ("['a, b'\n 'c']", ["a, b", "c"]),
        ("[0 1 1]", [0, 1, 1]),
        ("[ 0.5  1. ]", [0.5, 1.0]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("tensor([0, 1])", [0, 1]),
        ("[np.str_('a'), np.str_('b')]", ["a", "b"]),
        ("['a', nan]", ["a", None]),
    ],
)
def test_lists_that_numpy_printed_are_read(text, items):
    assert parse_list(text) == items


@pytest.mark.parametrize("text", ["[0 0 ... 1]", "['a' 'b', 'c']", "[I, saw]", "array(a b)"])
def test_lists_that_were_shortened_or_are_none_are_not_guessed(text):
    assert printed_list(text) is None
    with pytest.raises(DataError, match="save the rows as jsonl or parquet"):
        parse_list(text)


def test_words_for_a_missing_text_are_named(caplog):
    rows = [{"document": f"a long note {row}", "summary": f"note {row}"} for row in range(12)]
    rows[3]["summary"], rows[5]["summary"] = "nan", "<NA>"
    hfrecipes.check("summarization", dataset=rows)
    assert (
        "summary is 'nan', read as a text (delete these rows if it means that there is none), in 1 row (3"
        in caplog.text
    )
    assert "summary is '<NA>'" in caplog.text


# --- languages ---------------------------------------------------------------------------------------------------


def test_the_language_before_each_word_is_left_out(caplog):
    rows = [
        {"tokens": ["en:Ana", "en:rows", "en::", f"en:{row}"], "tags": ["B-PER", "O", "O", "O"]} for row in range(6)
    ]
    assert train_of("token-classification", rows)[0]["tokens"] == ["Ana", "rows", ":", "0"]
    assert "the language before each word, such as 'en:', is left out" in caplog.text


@pytest.mark.parametrize("words", [["en:Ana", "rows"], ["re:", "en:a"], ["10:30", "11:00"], ["http://a", "b:c"]])
def test_words_with_colons_stay_whole(words):
    rows = [{"tokens": words, "tags": ["O", "B-PER"]} for _ in range(6)]
    assert train_of("token-classification", rows)[0]["tokens"] == words


def texts_by_language(*, as_lists: bool) -> list[dict]:
    rows = []
    for row in range(12):
        texts = {"en": f"a note {row}", "de": f"ein Zettel {row}"}
        pair = {"language": list(texts), "translation": list(texts.values())} if as_lists else texts
        rows.append({"premise": texts, "hypothesis": pair, "label": row % 2})
    return rows


@pytest.mark.parametrize("as_lists", [False, True])
def test_the_edit_for_texts_by_language_reads_them(as_lists):
    rows = texts_by_language(as_lists=as_lists)
    with pytest.raises(DataError, match=r"such as columns\.text=premise\.de columns\.text_pair=hypothesis\.de"):
        hfrecipes.check("text-classification", dataset=rows)
    columns = {"text": "premise.de", "text_pair": "hypothesis.de"}
    assert train_of("text-classification", rows, columns=columns)[1]["text_pair"] == "ein Zettel 1"


def test_a_part_that_no_row_has_is_no_column():
    with pytest.raises(DataError, match=r"there is no column 'premise\.fr'"):
        hfrecipes.check(
            "text-classification", dataset=texts_by_language(as_lists=False), columns={"text": "premise.fr"}
        )


@pytest.mark.parametrize("kind", ["Translation", "TranslationVariableLanguages"])
def test_the_features_of_datasets_for_translations_are_read(kind, tmp_path):
    feature = getattr(datasets, kind)(languages=["de", "en"])
    cells = [{"de": f"Zettel {row}", "en": f"note {row}"} for row in range(12)]
    rows = datasets.Dataset.from_dict({"translation": cells}, features=datasets.Features({"translation": feature}))
    settings = {"source_lang": "de", "target_lang": "en"}
    assert train_of("translation", rows, **settings)[2]["source"] == "Zettel 2"
    # A file of the Hub names its features in its metadata.
    rows.to_parquet(str(tmp_path / "rows.parquet"))
    assert train_of("translation", str(tmp_path / "rows.parquet"), **settings)[2]["target"] == "note 2"


def test_talks_in_many_languages_are_read_in_two_of_them():
    pairs = {"language": ["de", "en", "fr"], "translation": ["Zettel", "note", "mot"]}
    rows = [{"translations": pairs, "talk_name": str(row)} for row in range(12)]
    found = train_of("translation", rows, source_lang="en", target_lang="fr")
    assert (found[0]["source"], found[0]["target"]) == ("note", "mot")


# --- labels in lines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("__label__{} a note {}", "good"),
        ("__label__{}\ta note {}", "good"),
        ("__label__{} , a note {}", "good"),
        ("a note {1} __label__{0}", "good"),
    ],
)
@pytest.mark.parametrize("name", ["train.txt", "train.csv"])
def test_lines_of_fasttext_are_labels_and_texts(line, label, name, tmp_path, caplog):
    lines = [line.format((label, "bad")[row % 2], row) for row in range(12)]
    rows = train_of("text-classification", lines_of(tmp_path / name, *lines))
    assert rows[0] == {"text": "a note 0", "label": "good"}
    assert "each line is read as a label and a text, such as 'good' and 'a note 0'" in caplog.text


def test_several_labels_on_a_line_are_a_list(tmp_path):
    lines = [f"__label__a __label__b note {row}" if row % 2 else f"__label__a note {row}" for row in range(12)]
    rows = train_of("text-classification", lines_of(tmp_path / "train.txt", *lines))
    assert [row["label"] for row in rows[:2]] == [["a"], ["a", "b"]]


@pytest.mark.parametrize("labels", [("DESC:manner", "HUM:ind"), ("0", "1"), ("-1", "1")])
def test_a_label_before_each_question_is_read(labels, tmp_path):
    lines = [f"{labels[row % 2]} how is note {row} ?" for row in range(12)]
    rows = train_of("text-classification", lines_of(tmp_path / "train.label", *lines))
    assert rows[1] == {"text": "how is note 1 ?", "label": labels[1]}


def test_lines_that_are_numbered_stay_texts(tmp_path):
    file = lines_of(tmp_path / "train.txt", *[f"{row} steps to the door" for row in range(9)])
    assert read_source(file)["train"].column_names == ["text"]


# --- tables without header, and choices --------------------------------------------------------------------------


def test_a_first_line_that_is_a_row_is_answered_with_positions(tmp_path):
    rows = [f"{row}.json\t{('false', 'true')[row % 2]}\tthe note says {row}\t0\t0" for row in range(12)]
    file = lines_of(tmp_path / "train.tsv", *rows)
    with pytest.raises(DataError, match=r"two columns named '0': .* positions from 0, such as columns\.text=2$"):
        hfrecipes.check("text-classification", dataset=file)
    found = hfrecipes.check("text-classification", dataset=file, columns={"text": 2, "label": 1})
    assert found["labels"] == ["false", "true"]


@pytest.mark.parametrize("header", ["", "ask,x,y,z,right"])
def test_choices_are_several_columns_by_position_or_name(header, tmp_path):
    rows = [f"which note {row}?,red {row},blue,{'' if row % 2 else 'green'},{row % 2}" for row in range(12)]
    file = lines_of(tmp_path / "train.csv", *filter(None, [header]), *rows)
    columns = {"question": 0, "choices": [1, 2, 3], "label": 4}
    if header:
        columns = {"question": "ask", "choices": ["x", "y", "z"], "label": "right"}
    found = train_of("multiple-choice", file, columns=columns)
    assert found[0]["choices"] == ["red 0", "blue", "green"]
    assert found[1]["choices"] == ["red 1", "blue"], "an empty cell at the end is no choice"


@pytest.mark.parametrize(
    "answers",
    [
        {"correct_answer": "oak", "distractor1": "ash", "distractor2": "zinc"},
        {"Correct Answer": "oak", "Incorrect Answer 1": "ash", "Incorrect Answer 2": "zinc"},
        {"correct_answer": "oak", "incorrect_answers": ["ash", "zinc"]},
        {"best_answer": "oak", "incorrect_answers": "['ash' 'zinc']"},
        {"mc1_targets": {"choices": ["oak", "zinc", "ash"], "labels": [1, 0, 0]}},
    ],
)
def test_a_right_answer_beside_wrong_ones_becomes_choices_in_the_order_of_the_alphabet(answers, caplog):
    rows = [{"question": f"which wood is {row}?", **answers} for row in range(12)]
    found = train_of("multiple-choice", rows)
    assert found[0]["choices"] == ["ash", "oak", "zinc"]
    assert found[0]["label"] == "oak"
    assert "in the order of the alphabet, since the right one is always first there" in caplog.text


# --- words and spans of words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"tokenized_text": ["Ana", "Lee", "rows"], "ner": [[0, 1, "PER"]]},
        {"tokens": ["Ana", "Lee", "rows"], "entities": [{"type": "PER", "start": 0, "end": 2}]},
    ],
)
def test_spans_of_words_become_tags(row):
    found = train_of("token-classification", [row] * 6)
    assert found[0]["tags"] == ["B-PER", "I-PER", "O"]
    assert found[0]["entities"] == [{"start": 0, "end": 7, "label": "PER"}]


@pytest.mark.parametrize(
    ("spans", "sentence"),
    [([[0, 1, "PER"], [1, 1, "LOC"]], "spans overlap"), ([[1, 7, "PER"]], "a span is empty or outside of its text")],
)
def test_spans_of_words_that_tags_cannot_represent_are_named(spans, sentence):
    rows = [{"tokenized_text": ["Ana", "Lee", "rows"], "ner": [[0, 1, "PER"]]} for _ in range(8)]
    rows[2]["ner"] = spans
    with pytest.raises(DataError, match=f"{sentence}.* in 1 row \\(2"):
        hfrecipes.check("token-classification", dataset=rows)


# --- markup ------------------------------------------------------------------------------------------------------


def test_segments_are_refused_with_the_command_that_makes_lines_of_them(tmp_path, caplog):
    segments = ['<?xml version="1.0"?>', "<mteval>", '<seg id="1"> a note </seg>', "</mteval>"]
    file = lines_of(tmp_path / "talks.tst2013.de-en.en.xml", *segments)
    with pytest.raises(DataError, match=r"a text per line: sed -n .*talks\.tst2013\.de-en\.en$"):
        hfrecipes.check("translation", dataset=file)
    for language in ("de", "en"):
        about = ["<url>http://a.example</url>", "<keywords>notes</keywords>"]
        lines_of(tmp_path / f"train.de-en.{language}", *about, *[f"{language} {row}" for row in range(12)])
    found = hfrecipes.check("translation", dataset=str(tmp_path))
    assert sum(found["rows"].values()) == 12, "lines about a talk are none of it"
    assert "talks.tst2013.de-en.en.xml is not read" in caplog.text
    assert "2 lines with tags such as <url> and <title> left out" in caplog.text


def test_a_header_of_mrqa_is_no_row(tmp_path):
    context = "The oars are in the shed."
    spans = [{"text": "in the shed", "char_spans": [[13, 23]]}]
    rows = [
        {"context": context, "qas": [{"qid": str(row), "question": f"where {row}?", "detected_answers": spans}]}
        for row in range(6)
    ]
    file = lines_of(tmp_path / "train.jsonl", json.dumps({"header": {"split": "train"}}), *map(json.dumps, rows))
    found = train_of("question-answering", file)
    assert len(found) == 6
    assert found[0]["answers"] == {"text": ["in the shed"], "answer_start": [13]}


# --- words with tags, records, files side by side ----------------------------------------------------------------


@pytest.mark.parametrize("separator", ["/", "_"])
def test_a_tag_behind_each_word_is_its_tag(separator, tmp_path):
    words = [("The", "DT"), ("1/2", "CD"), ("tea_cup", "NN"), (".", ".")]
    line = " ".join(f"{word}{separator}{tag}" for word, tag in words)
    rows = train_of("token-classification", lines_of(tmp_path / "train.txt", *[line, ""] * 6))
    assert len(rows) == 6
    assert list(zip(rows[0]["tokens"], rows[0]["tags"], strict=True)) == words


def test_slashes_in_prose_are_no_tags(tmp_path):
    path = lines_of(tmp_path / "train.txt", *["see a/b or c/d"] * 6)
    with pytest.raises(DataError, match="no column for tags"):
        train_of("token-classification", path)
    broken = lines_of(tmp_path / "broken.txt", *["tea/NN is/VB hot/JJ"] * 1500, "tea is/VB")
    with pytest.raises(DataError, match=r'broken.txt line 1501 has "tea", expected a word, / and its tag'):
        train_of("token-classification", broken)


def test_characters_with_numbers_are_named(tmp_path, caplog):
    path = lines_of(tmp_path / "train.txt", *["科0\tO", "技1\tO", "张0\tB-PER", "三1\tI-PER", ""] * 6)
    hfrecipes.check("token-classification", dataset=path)
    assert "characters have numbers, as in '科0', which are trained on too: remove them" in caplog.text
    caplog.clear()
    hfrecipes.check("token-classification", dataset=lines_of(tmp_path / "b.txt", *["B1\tO", "x2\tB-PER", ""] * 6))
    assert "have numbers" not in caplog.text


def test_records_between_tags_are_rows(tmp_path):
    record = "<doc id=0>\n    <summary>\n        Tea is hot\n    </summary>\n    <short_text>\n        It is <3 tea.\n"
    path = lines_of(tmp_path / "PART_I.txt", *[record + "    </short_text>\n</doc>"] * 6)
    assert train_of("summarization", path) == [{"document": "It is <3 tea.", "summary": "Tea is hot"}] * 6


@pytest.mark.parametrize("names", [("source", "target"), ("src", "tgt"), ("src.txt", "tgt.txt")])
@pytest.mark.parametrize(
    ("task", "columns"),
    [("summarization", ("document", "summary")), ("text2text-generation", ("input", "output"))],
)
def test_texts_and_their_outputs_may_be_in_files_side_by_side(names, task, columns, tmp_path):
    for name, column in zip(names, columns, strict=True):
        lines_of(tmp_path / f"train.{name}", *[f"{column} {row}" for row in range(12)])
    config, recipe = configure(task, {"dataset": str(tmp_path)})
    rows = load_data(config, recipe)[0].splits["train"]
    assert all(row[columns[1]] == row[columns[0]].replace(*columns) for row in rows)


def test_a_file_for_each_text_of_race_is_read(tmp_path):
    (tmp_path / "race").mkdir()
    for row in range(4):
        text = {"article": f"Tea {row}.", "id": f"{row}.txt", "questions": ["What?", "When?"]}
        text |= {"options": [["a", "b"], ["c", "d"]], "answers": ["B", "A"]}
        (tmp_path / "race" / f"{row}.txt").write_text(json.dumps(text), encoding="utf-8")
    rows = train_of("multiple-choice", str(tmp_path / "race"))
    assert len(rows) == 8
    assert rows[1] == {**rows[1], "context": "Tea 0.", "question": "When?", "choices": ["c", "d"], "label": "A"}


# --- what is named or refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "sentence"),
    [
        ("'{}'", "text is between single quotes, which are trained on as part of it, in most rows"),
        (r"caf\u00e9 {}", r"text has escapes such as \u00e9 in place of characters in most rows"),
    ],
)
def test_marks_of_a_format_in_most_texts_are_named(mark, sentence, caplog):
    rows = [{"text": mark.format(f"cake {row}"), "label": str(row % 2)} for row in range(20)]
    hfrecipes.check("text-classification", dataset=rows)
    assert f"train: {sentence}: convert the file if that is not wanted" in caplog.text
    caplog.clear()
    others = [{"text": f"cake {row}", "label": str(row % 2)} for row in range(20)]
    hfrecipes.check("text-classification", dataset=[*rows[:5], *others])
    assert "in most rows" not in caplog.text


def test_thousands_of_columns_are_refused_at_once(tmp_path):
    row = {"text": "tea", "label": "a", **{f"c{number}": 1 for number in range(2000)}}
    sentence = "has 2,002 columns, expected 1,000 at most: keep those that the task uses"
    table = lines_of(tmp_path / "train.csv", ",".join(row), *[",".join(map(str, row.values()))] * 4)
    sources = [table, lines_of(tmp_path / "train.jsonl", *[json.dumps(row)] * 4), [row] * 4]
    for source in [*sources, datasets.Dataset.from_list([row] * 2)]:
        with pytest.raises(DataError, match=sentence):
            read_source(source)


def test_one_of_two_validation_files_is_asked_for_with_the_files_of_the_other_splits(tmp_path):
    for name in ("train", "dev_matched", "dev_mismatched"):
        lines_of(tmp_path / f"{name}.tsv", "text\tlabel", *[f"{name} {row}\t{row % 2}" for row in range(12)])
    with pytest.raises(DataError, match=r"name one of them: .*dataset\.validation=<file>") as error:
        read_source(str(tmp_path))
    assert f"dataset.train={tmp_path}/train.tsv" in str(error.value)
    given = {"train": str(tmp_path / "train.tsv"), "validation": str(tmp_path / "dev_matched.tsv")}
    assert {row["text"].split()[0] for row in train_of("text-classification", given)} == {"train"}


def test_a_test_split_of_other_columns_may_be_left_out(tmp_path):
    for split in ("train", "dev"):
        lines_of(tmp_path / f"{split}.tsv", *[f"gj04\t{row % 2}\t*\tTea is {split} {row}." for row in range(12)])
    lines_of(tmp_path / "test.tsv", "index\tsentence", *[f"{row}\tTea {row}." for row in range(4)])
    settings = {"columns": {"text": 3, "label": 1}}
    with pytest.raises(DataError, match=r"use the same names in all splits, or leave this split out: splits.test=null"):
        hfrecipes.check("text-classification", dataset=str(tmp_path), **settings)
    hfrecipes.check("text-classification", dataset=str(tmp_path), splits={"test": None}, **settings)


# --- columns and folders of well-known datasets ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "known"),
    [
        (  # SICK
            {"sentence_A": "A dog runs.", "sentence_B": "A dog sleeps.", "relatedness_score": 3.1},
            {"text": "A dog runs.", "text_pair": "A dog sleeps.", "label": "entailment_judgment"},
        ),
        (  # BoolQ
            {"question": "is tea hot", "title": "Tea", "passage": "Tea is made of leaves."},
            {"text": "is tea hot", "text_pair": "Tea is made of leaves.", "label": "answer"},
        ),
        (  # CSL
            {"id": 4, "abst": "我们研究茶叶。", "keyword": ["茶叶", "水"]},
            {"text": "我们研究茶叶。", "text_pair": "茶叶\n水", "label": "label"},
        ),
    ],
    ids=["SICK", "BoolQ", "CSL"],
)
def test_texts_and_labels_of_known_datasets_are_found(row, known):
    name = known["label"]
    values = [True, False] if name == "answer" else ["0", "1"]
    rows = [{**row, name: values[number % 2]} for number in range(12)]
    assert train_of("text-classification", rows)[1] == {**known, "label": values[1]}


def test_a_text_answer_beside_a_label_is_not_the_label():
    rows = [{"question": "hot?", "passage": "Tea.", "answer": f"yes {row}", "label": row % 2} for row in range(12)]
    assert train_of("text-classification", rows)[1]["label"] == 1


def test_one_of_two_sets_of_labels_is_asked_for_and_the_edit_works():
    rows = [
        {"originalText": f"茶好吗{row}", "label_4class": ["其他"], "label_36class": ["ab"[row % 2]]}
        for row in range(12)
    ]
    with pytest.raises(DataError, match=r"choose with columns\.label=label_4class"):
        hfrecipes.check("text-classification", dataset=rows)
    report = hfrecipes.check("text-classification", dataset=rows, columns={"label": "label_36class"})
    assert report["labels"] == ["a", "b"]


def test_an_answer_with_its_other_names_is_learnt_and_all_are_references():
    answer = {"value": "Tea", "aliases": ["Tea", "The tea"], "normalized_value": "tea", "type": "WikipediaEntity"}
    rows = [{"question": f"What is hot {row}?", "question_id": str(row), "answer": answer} for row in range(12)]
    read = train_of("text2text-generation", rows)[0]
    assert (read["output"], read["references"]) == ("Tea", ["Tea", "The tea"])
    with_context = [{**row, "context": "Tea is hot."} for row in rows]
    assert train_of("question-answering", with_context)[0]["answers"]["text"] == ["Tea", "The tea"]


def test_contents_and_summaries_are_inputs_and_outputs():
    rows = [{"content": f"colour red {row}", "summary": f"A red coat {row}"} for row in range(12)]
    assert train_of("text2text-generation", rows)[0] == {"input": "colour red 0", "output": "A red coat 0"}


@pytest.mark.parametrize("task", ["question-answering", "text2text-generation"])
@pytest.mark.parametrize("question", ["Who?", {"input_text": "Who?", "turn_id": 1}])
def test_several_questions_in_a_row_are_refused_with_the_form_to_write(task, question):
    answers = {"input_text": ["Ana"], "answer_start": [0], "answer_end": [3]}
    row = {"source": "books", "story": "Ana came.", "questions": [question, question], "answers": answers}
    with pytest.raises(DataError, match=r'questions holds several questions .*\{"question": …, "context": …'):
        hfrecipes.check(task, dataset=[row] * 12)


def reviews_in(folder: Path, *labels: str) -> None:
    for label in labels:
        (folder / label).mkdir(parents=True)
        for number in range(8):
            (folder / label / f"{number}.txt").write_text(f"{label} tea {number}.\n\nThe end.\n", encoding="utf-8")


def test_folders_of_texts_are_labels(tmp_path, caplog):
    reviews_in(tmp_path / "reviews" / "train", "pos", "neg", "unsup")
    reviews_in(tmp_path / "reviews" / "test", "pos", "neg")
    (tmp_path / "reviews" / "train" / "urls_pos.txt").write_text("http://a\nhttp://b\n", encoding="utf-8")
    splits = read_source(str(tmp_path / "reviews"))
    assert [len(splits[split]) for split in ("train", "test")] == [16, 16]
    assert splits["train"][8] == {"text": "pos tea 0.\n\nThe end.", "label": "pos"}
    assert "train: each file is read as a text, with its folder as the label; 9 files without" in caplog.text
    with_globs = train_of("text-classification", str(tmp_path / "reviews" / "test" / "*" / "*.txt"))
    assert {row["label"] for row in with_globs} == {"neg", "pos"}


def test_folders_of_tables_and_folders_for_tasks_without_labels_are_read_as_before(tmp_path):
    reviews_in(tmp_path / "reviews", "pos", "neg")
    assert read_source(str(tmp_path / "reviews"), formats=("line",))["train"].column_names == ["text"]
    for file in (tmp_path / "reviews").rglob("*.txt"):
        file.write_text("text\tlabel\nTea.\tgood\nMud.\tbad\n", encoding="utf-8")
    tables = read_source(str(tmp_path / "reviews"))["train"]
    assert (len(tables), set(tables["label"])) == (32, {"good", "bad"})


def test_where_no_column_is_left_the_error_names_the_columns_that_rows_need():
    with pytest.raises(DataError, match=r"among 'text': the rows need more columns, such as label$"):
        hfrecipes.check("text-classification", dataset=[{"text": "tea"}] * 12)


def test_the_edit_for_requests_and_replies_under_other_names_reads_them():
    rows = [{"content": f"A red coat {row}?", "summary": "Yes."} for row in range(12)]
    with pytest.raises(DataError, match=r"columns\.prompt=<one of them> columns\.completion=<one of them>"):
        hfrecipes.check("chat", dataset=rows)
    settings = {"columns": {"prompt": "content", "completion": "summary"}}
    assert [turn["content"] for turn in train_of("chat", rows, **settings)[0]["messages"]] == ["A red coat 0?", "Yes."]


def test_a_reading_that_all_splits_share_is_printed_once(caplog):
    rows = [{"text": ["tea", "coats"], "context": ["unused"], "label": "ab"[row % 2]} for row in range(12)]
    assert train_of("text-classification", {"train": rows, "validation": rows, "test": rows})[0]["text"] == "tea\ncoats"
    assert caplog.text.count("holds lists: each is read as one text, with a line for each entry") == 1
