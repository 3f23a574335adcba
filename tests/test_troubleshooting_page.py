"""docs/errors.md has every error sentence of the code, and docs/troubleshooting.md leads to each of them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
sys.path.insert(0, str(DOCS))
try:
    make_errors = importlib.import_module("make_errors")
    error_code = importlib.import_module("error_code")
    error_sentences = importlib.import_module("error_sentences")
finally:
    sys.path.remove(str(DOCS))

# Places that only hand on sentences of other places, or of a library.
HANDED_ON = {"training.trainer": 1, "data.checks": 4, "commands.group": 1}
ROW = re.compile(r'^\| <a id="([^"]+)"></a>(?:\[`([^`]+)`\]\(\S*errors\.md#(\S+)\)|`([^`]+)`) \| ', re.MULTILINE)
SIDES = ("troubleshooting.md", "zh/troubleshooting.md")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def anchors(name: str) -> list[str]:
    return re.findall(r'<a id="([^"]+)"></a>', page(name))


def sentences_of(text: str) -> list[str]:
    """The sentences of a package with one module."""
    module = error_code.read_module("hfrecipes.data.made", text)
    base = error_code.read_module("hfrecipes.errors", "class HFRecipesError(Exception): ...")
    other = error_code.read_module("hfrecipes.made", "class DataError(HFRecipesError): ...")
    reader = error_sentences.Reader({part.name: part for part in (module, base, other)})
    found = []
    for _, _, texts in reader.sentences():
        found += [text.text for text in texts]
    return found


def test_the_page_of_all_sentences_is_that_of_the_code():
    """After a change of a sentence: make settings."""
    assert page("errors.md") == make_errors.page()


def test_every_place_that_makes_an_error_has_a_sentence_on_the_page():
    silent: dict[str, int] = {}
    for module, call, texts in error_sentences.Reader(error_code.read_package()).sentences():
        if not texts:
            name = module.name.removeprefix("hfrecipes.")
            silent[name] = silent.get(name, 0) + 1
            assert name in HANDED_ON, f"{name}, line {call.lineno}: no sentence can be read there"
    assert silent == HANDED_ON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('raise DataError("no rows: add some")', ["no rows: add some"]),
        ('def f(path): raise DataError(f"{path} is empty: expected {3} rows")', ["… is empty: expected … rows"]),
        ('MOST = 5\ndef f(): raise DataError(f"expected {MOST} rows at most")', ["expected 5 rows at most"]),
        (
            'def f(a):\n s = []\n if a: s.append(f"no row {a} here")\n s += g()\n raise DataError(s)\n'
            'def g():\n return ["another row there"] if 1 else []',
            ["no row … here", "another row there"],
        ),
        (
            'def f(): g("wrong order of rows")\ndef g(what): raise DataError(f"{what}: sort them")',
            ["wrong order of rows: sort them"],
        ),
        ('def f(): yield Finding("error", "a cell is blank", [1])', ["a cell is blank"]),
        ('def f(): yield Finding("note", "a cell is odd", [1])', []),
    ],
)
def test_sentences_are_read_directly_and_through_variables_lists_and_functions(text, expected):
    assert sorted(sentences_of(text)) == sorted(expected)


def test_each_sentence_has_an_anchor_of_its_own():
    names = anchors("errors.md")
    assert len(names) == len(set(names)) == len(make_errors.sentences()) > 600
    assert set(make_errors.EDITS) <= set(names), "an edit for a sentence that is no more"


def test_each_sentence_says_what_is_expected_or_what_to_do_or_the_page_does():
    for sentence in make_errors.sentences():
        is_said = "expected" in sentence or re.search(r"[:;] ?[`\w]|: …|^unknown|\(choose|\(options", sentence)
        assert is_said or make_errors.anchor(sentence) in make_errors.EDITS, sentence


def test_an_anchor_depends_on_the_words_of_its_sentence_alone():
    for sentence in make_errors.sentences():
        name = make_errors.anchor(sentence)
        assert f'<a id="{name}"></a>`' in page("errors.md")
        assert re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*", name), sentence


@pytest.mark.parametrize("side", SIDES)
def test_each_quoted_sentence_has_an_anchor_and_leads_to_its_sentence(side):
    rows = ROW.findall(page(side))
    assert len(rows) >= 35
    assert len(rows) == page(side).count("\n| ") - page(side).count("|---|---|"), "each row has this form"
    shown = {make_errors.anchor(sentence): sentence for sentence in make_errors.sentences()}
    for name, linked, target, unlinked in rows:
        assert name == make_errors.anchor(linked or unlinked)
        if linked:
            for fragment in re.split("…", linked):
                assert fragment.strip(" ;,()") in shown[target], (linked, shown[target])
    assert len(rows) == len({name for name, *_ in rows})


def test_both_sides_quote_the_same_sentences():
    english, chinese = (ROW.findall(page(side)) for side in SIDES)
    assert english == chinese


def test_what_is_quoted_and_is_no_error_is_printed_by_the_code():
    texts = "\n".join(file.read_text(encoding="utf-8") for file in (DOCS.parent / "hfrecipes").rglob("*.py"))
    others = [unlinked for *_, unlinked in ROW.findall(page("troubleshooting.md")) if unlinked]
    assert others
    for quote in others:
        for fragment in quote.split("…"):
            assert fragment.strip() in texts, quote


@pytest.mark.parametrize("side", SIDES)
def test_every_group_of_sentences_is_linked(side):
    headings = re.findall(r"^## (.*)$", page("errors.md"), re.MULTILINE)
    assert headings == list(dict.fromkeys(make_errors.sentences().values()))
    for heading in headings:
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        assert f"errors.md#{name})" in page(side), heading
