"""The blocks of the pages, and whether what one of them shows as printed is what was printed.

The language of a block says what the tests do with it:

- bash, python: they run, in tests/test_readme.py from the top of their page to its end
- sh, powershell, py: they need a network, another machine or a reader's own files; they are read, and their settings
  are checked
- csv, json, yaml, toml: files
- text: what is printed
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "benchmarks", "docs", "docs/zh", "examples/data", "examples/notebooks", "hfrecipes/skill", "recipes")
FILES = ("csv", "json", "yaml", "toml")
READ = ("sh", "powershell", "py")
RUN = ("bash", "python")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Of a number only its place counts; digits in a name, such as those of f1_macro, belong to it.
NUMBER = re.compile(r"<?(?<![\w.])[+-]?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")

HERE = "tests/test_outputs.py"
LEARNT = "it depends on what a model has learnt, and two steps of a narrow one teach nothing"
FIGURES = "it was measured on other data: the figures are made up, what is printed of them is not"
# Page and beginning of a block -> the test that compares it, and why it does not where the page runs.
ELSEWHERE = {
    ("README.md", "overfitting: "): (f"{HERE}::test_the_quickstart_ends_as_the_readme_shows", LEARNT),
    ("README.md", '{"label": '): (f"{HERE}::test_the_quickstart_ends_as_the_readme_shows", LEARNT),
    ("docs/report.md", "runs/"): (f"{HERE}::test_a_run_leaves_the_files_that_are_listed", "it is a list of files"),
    ("docs/robustness.md", "  "): (f"{HERE}::test_the_quickstart_is_as_robust_as_is_shown", LEARNT),
    ("docs/serve.md", "$ hfrecipes demo"): (
        f"{HERE}::test_a_server_prints_its_address",
        "nothing but a signal ends it",
    ),
    ("docs/serve.md", "$ hfrecipes serve"): (
        f"{HERE}::test_a_server_prints_its_address",
        "nothing but a signal ends it",
    ),
    ("docs/zh/serve.md", "$ hfrecipes serve"): (
        f"{HERE}::test_a_server_prints_its_address",
        "nothing but a signal ends it",
    ),
    ("docs/check.md", "warning"): (f"{HERE}::test_rows_of_test_in_train_are_found_as_shown", FIGURES),
    ("docs/compare.md", "  "): ("tests/comparing/test_compare.py::test_a_comparison_reads_as_shown", FIGURES),
    ("docs/search.md", "  "): (f"{HERE}::test_a_search_ends_as_shown", LEARNT),
    ("docs/privacy.md", "secrets "): (f"{HERE}::test_planted_secrets_are_listed_as_shown", FIGURES),
    ("docs/overfitting.md", "twice the rows"): (f"{HERE}::test_a_forecast_reads_as_shown", FIGURES),
    ("docs/memory.md", "out of memory"): (
        "tests/training/test_out_of_memory.py::test_it_is_printed_once_with_settings_that_need_as_little",
        "memory has to be too small",
    ),
    ("docs/clusters.md", "SIGTERM: "): (
        "tests/run_folder/test_progress.py::test_a_signal_saves_a_checkpoint_from_which_the_run_ends_alike",
        "a signal has to come in the middle of a training",
    ),
    ("docs/write-a-task.md", "ok "): (
        "tests/test_write_a_task.py::test_the_commands_and_the_python_of_the_page_run",
        "its page runs there",
    ),
    ("CONTRIBUTING.md", "hfrecipes/\n"): (
        "tests/test_readme.py::test_every_file_in_the_tree_exists_and_every_module_is_in_it",
        "it is a list of files",
    ),
}
# Rows in a format of their own are text too; tests/test_data_page.py reads them.
ROWS = ("docs/data.md", "docs/zh/data.md")


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        page: Path of the page in the repository.
        language: Word behind the fence.
        text: What is between the fences.
        before: The block of commands or Python that comes before it on the page; empty where there is none.
    """

    page: str
    language: str
    text: str
    before: str


def pages() -> list[str]:
    """Paths of all pages in the repository."""
    files = set()
    for folder in FOLDERS:
        files |= set((ROOT / folder).glob("*.md"))
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, from top to bottom."""
    blocks, before = [], ""
    for language, text in FENCED.findall((ROOT / page).read_text(encoding="utf-8")):
        blocks.append(Block(page, language, text, before))
        before = text if language in RUN else before
    return blocks


def shown(page: str, beginning: str) -> str:
    """What a page shows as printed: its only block that begins so."""
    (text,) = (block.text for block in blocks_of(page) if block.language == "text" and block.text.startswith(beginning))
    return text


def is_copy(block: Block) -> bool:
    """Whether a block of a Chinese page is also on the English one, where it is compared."""
    english = block.page.replace("docs/zh/", "docs/")
    return english != block.page and block.text in [other.text for other in blocks_of(english)]


def is_elsewhere(block: Block) -> bool:
    """Whether a test compares the block that `ELSEWHERE` names."""
    return any(block.page == page and block.text.startswith(beginning) for page, beginning in ELSEWHERE)


def is_of_check(block: Block) -> bool:
    """Whether `hfrecipes check` prints it, alone in the block of commands before it."""
    return block.before.startswith("hfrecipes check ") and block.before.count("\n") == 1


def is_of_its_page(block: Block) -> bool:
    """Whether the blocks before it on its page print it, and no rule says that it is compared elsewhere."""
    if block.language != "text" or block.page in ROWS or block.text.startswith("$ "):
        return False
    return not (is_copy(block) or is_elsewhere(block) or is_of_check(block))


def unprinted(text: str, printed: str, *, exact: bool = False) -> list[str]:
    """Lines of a block that were not printed in this order.

    Args:
        text: The block; `…` stands for whatever is left out there.
        printed: What was printed, or more.
        exact: Whether numbers have to be equal, and not only in the same places. Spaces may always differ in number.
    """
    rest = [_tidied(line, exact) for line in printed.splitlines()]
    missing = []
    for line in text.splitlines():
        pattern = ".*".join(map(re.escape, _tidied(line, exact).split("…")))
        matching = [index for index, other in enumerate(rest) if re.fullmatch(pattern, other)]
        if matching:
            rest = rest[matching[0] + 1 :]
        elif line.strip():
            missing.append(line)
    return missing


def _tidied(line: str, exact: bool) -> str:
    line = " ".join(line.split())
    return line if exact else NUMBER.sub("#", line)
