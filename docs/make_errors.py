"""Write docs/errors.md, the page of every error sentence, from the code; `make settings` runs it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from error_code import PACKAGE, read_package
from error_sentences import FILLED, Reader, words

PAGE = Path(__file__).with_name("errors.md")
_HEAD = """\
# Every error sentence

All commands run in a checkout of this repository after `make quickstart`, with `.venv/bin` on the `PATH`.

This page is made from the code: all sentences by which hfrecipes refuses something, each with a link of its own. …
stands for what is filled in; a sentence that only hands on what a library says begins with the setting. Search for a
few words of yours that come from no file and no setting of your own. [Troubleshooting](troubleshooting.md) explains
those that come first. Most are found before anything is trained or downloaded, by the same command with `check`:

```bash
hfrecipes check text-classification dataset=examples/data/support
```

In Python each is an exception, whose class says what is wrong; all of them derive from `HFRecipesError`:

```python
import hfrecipes

try:
    hfrecipes.load("runs/nowhere")
except hfrecipes.HFRecipesError as error:
    print(type(error).__name__, error)
```

Sentences on rows end with their number and the first of them: `label is missing in 3 rows of train (4, 9, 17, counted
from 0)`. Several wrong settings are listed together.
"""
_NEXT = "Next: [questions](faq.md)\n"
# Heading -> modules, by the start of their names; the longest start decides.
GROUPS = {
    "Commands": ("commands",),
    "Settings and recipe files": ("config", "recipe", "registry", "training.configuration", "training.setting_checks"),
    "Arguments of the Trainer": (
        "config.trainer_keywords",
        "training.arguments",
        "training.intervals",
        "training.optimization",
        "training.plan",
        "training.trackers",
        "training.trainer",
    ),
    "Losses, metrics, regularization": ("losses", "evaluation.scoring", "metrics", "models.regularization"),
    "Folds, seeds, learning curves, searches, lists of models": (
        "config.search_space",
        "data.parts",
        "data.rows",
        "flow.candidates",
        "repeats",
        "search",
    ),
    "Files of data": (
        "data.arrow_types",
        "data.conll",
        "data.encodings",
        "data.files",
        "data.folders",
        "data.input_names",
        "data.json_rows",
        "data.label_files",
        "data.markup",
        "data.opening",
        "data.plain",
        "data.prepare",
        "data.sources",
        "data.standard_input",
        "data.tables",
    ),
    "Columns, rows and splits": ("data",),
    "Labels": (
        "data.shapes.label_cells",
        "data.shapes.numbers",
        "tasks._abstention",
        "tasks._label_reading",
        "tasks._label_sets",
        "tasks._named_labels",
        "tasks._number_labels",
        "tasks._out_of_scope",
        "tasks._several_labels",
        "tasks._two_labels",
    ),
    "Tags, answers, choices": (
        "data.shapes.answers",
        "data.shapes.choices",
        "data.shapes.tags",
        "tasks._answer_checks",
        "tasks._choice_texts",
        "tasks._tag",
        "tasks._windows",
    ),
    "Texts that are generated, dialogues, masks": (
        "data.shapes.dialogues",
        "data.shapes.texts",
        "evaluation",
        "tasks",
    ),
    "Decision": ("data.shapes.questions", "tasks._decision"),
    "Models and adapters": ("models",),
    "Memory, and training that diverges": ("memory", "training.divergence", "training.survival"),
    "Folders of runs": ("flow", "reports", "run_folder", "runner", "saved"),
    "Predictions": ("predictions", "predictor"),
    "Comparisons, explanations, changed texts": ("comparing", "explaining", "robustness"),
    "Distillation": ("config.distillation", "distilling"),
    "Privacy, attacks, redaction": ("auditing", "data.redacting", "privacy", "redaction"),
    "The Hub, and code of others": ("hub", "trust"),
    "Serving and export": ("exporting", "models.int8", "models.onnx", "serving"),
    "Python, and tasks of your own": ("_upstream", "contract", "errors", "tasks._time_limit"),
}
# Sentences that no setting mends: they ask for a report.
FAULTS = "What asks for a report"
# Words of an anchor: so many at least, if the sentence has them, and at most.
ENOUGH, MOST = 5, 12
# What to do where the sentence itself does not say it, by the anchor.
EDITS: dict[str, str] = {
    "a-span-has-no-label": "give it one, or leave the span out",
    "a-span-has-several-labels-and-a-word-can-have-only-one": "keep one of them",
    "a-span-holds-only-blanks": "leave it out",
    "a-span-is-empty-or-outside-of-its-text": "count characters from 0, the end exclusive",
    "a-system-message-comes-after-the-first-turn": "put it first",
    "a-token-has-no-tag": "give it one, `O` where it is none",
    "a-tool-follows-the-user-or-the-user-follows-a-tool": "put the call of the assistant before, or its answer between",
    "a-turn-is-blank": "write its text, or take the turn out",
    "all-replies-are-marked-as-not-to-be-learnt": "leave the row out, or mark one reply to be learnt",
    "an-answer-has-no-text": "write it, or leave the answer out",
    "an-option-is-empty": "write it, or take it out",
    "answer-is-none-of-the-options": "write the answer as the option is written",
    "cannot-be-imported": "fix the error in that file",
    "cannot-read": "check that it exists and that you may read it",
    "cannot-read-the-folder": "check that it exists and that you may read it",
    "cannot-read-the-recipe-file": "check the path; `hfrecipes list` shows the recipe files that come with the package",
    "column-holds-in-row-expected": "write that cell anew, or leave the column out",
    "dataset-unknown-key": "the keys are keywords of `load_dataset`, or splits with a file each",
    "dropout-a-model-of-type-has": "one of the names after it, or a single number for all of them",
    "generation": "what transformers says about the settings of generation",
    "has-an-empty-entry": "fill in that entry of the list, or take it out",
    "hub-cannot-push-to": "the reason of the Hub follows; the push goes on where it stopped",
    "is-being-written-by-another-run": "wait for it, or choose another output_dir",
    "is-empty": "fill in the cells, or `drop_invalid=true`",
    "is-missing": "fill in the cells, or `drop_invalid=true`",
    "its-is": "a search goes on without that trial; another range of learning rates, where it happens often",
    "label-does-not-occur-in-train": "look for another spelling, or add rows with it to train",
    "label-is-missing": "fill in the cells, or `drop_invalid=true`",
    "label-is-none-of-the-choices": "write the label as the choice is written, or as its number",
    "label-is-not-a-number": "write a number, or `problem_type=single_label_classification` for names",
    "lora": "what PEFT says about these keys",
    "lr_scheduler_type": "what transformers says about it",
    "metrics-cannot-score-this-task": "leave that metric out",
    "model-quantization_config": "what bitsandbytes or transformers say about its keys",
    "no-row-of-can-be-used-fix-these-rows": "the sentence before it says why; often `columns.` names a wrong column",
    "none-of-the-labels-occurs-in-train-which-has": "give rows with the labels of the run",
    "one-of-several-answers-has-no-text": "write it, or leave that answer out",
    "optim": "what transformers or the package of that optimizer say",
    "redact-model": "the reason why that run cannot be loaded",
    "report_to": "what transformers says about that tracker",
    "spans-overlap-which-tags-cannot-represent": "leave one of them out",
    "tag-does-not-occur-in-train": "look for another spelling, or add rows with it to train",
    "the-answer-is-in-the-context-but-answer_start-does-not-say-where": "correct `answer_start`, or leave it out",
    "the-answer-is-not-in-the-context": "copy the answer from the context, or `drop_invalid=true`",
    "the-assistant-says-nothing": "leave the row out, or add a reply",
    "the-assistant-speaks-first": "put what the user said before it, or begin with the user",
    "the-chat-template-refuses-the-dialogue": "the template gives the reason; change the row, or choose another model",
    "the-in-cannot-be-loaded": "the reason of transformers follows; copy the files of the model again",
    "the-speaks-twice-in-a-row": "join the two turns, or put the other speaker between",
    "there-are-descriptions-for-options": "give each option one",
    "there-are-not-as-many-tags-as-tokens": "give each token one tag",
    "there-is-no-file-or-folder-looked-from": "the path is relative to that folder; quote one with spaces",
    "training": "what transformers says about these arguments",
    "trial-is-running": "a search in another process has it, and this one takes the next",
    "two-options-are-equal": "keep one of them",
    "two-spans-share-a-word-which-can-have-only-one-tag": "leave one of them out",
    "unknown-setting": "look for the name in [every setting](all-settings.md)",
}


def anchor(sentence: str) -> str:
    """The anchor of a sentence, from its own words: no other sentence and no order changes it.

    It ends where the edit begins, after a colon or semicolon, if five words come before that.

    Example:
        >>> anchor("there is no file or folder … (looked from …)")
        'there-is-no-file-or-folder-looked-from'
        >>> anchor("… contains several runs, and no single model: push one of …")
        'contains-several-runs-and-no-single-model'
    """
    names: list[str] = []
    for part in re.split(r"[:;](?=\s|$)", sentence):
        names += re.findall(r"[a-z0-9_]+", part.lower())
        if len(names) >= ENOUGH:
            break
    return "-".join(names[:MOST])


def group_of(module: str, sentence: str) -> str:
    """Heading of a sentence.

    Args:
        module: Name of the module that it is written in.
        sentence: The sentence.
    """
    if "please report" in sentence:
        return FAULTS
    name = module.removeprefix(f"{PACKAGE}.")
    starts = {}
    for heading, modules in GROUPS.items():
        starts |= {start: heading for start in modules if name.startswith(start)}
    return starts[max(starts, key=len)]


@cache
def sentences() -> dict[str, str]:
    """Sentence -> heading, in the order of the page; of several with the same words, one."""
    found: dict[str, tuple[str, str]] = {}
    for _, _, texts in Reader(read_package()).sentences():
        for text in texts:
            shown = text.text if len(text.text) <= 300 else f"{text.text[:300].rpartition(' ')[0]} {FILLED}"
            found.setdefault(" ".join(re.findall(r"\w+", shown)), (shown, group_of(text.module, shown)))
    headings = [*GROUPS, FAULTS]
    whole = {shown for shown, _ in found.values() if len(words(shown)) > 2}
    # One that goes on after another is the same to somebody who looks for it.
    kept = [
        pair for pair in found.values() if not any(pair[0].startswith((f"{start}: ", f"{start}; ")) for start in whole)
    ]
    ordered = sorted(kept, key=lambda pair: (headings.index(pair[1]), anchor(pair[0])))
    return dict(ordered)


def page() -> str:
    """The page in Markdown."""
    parts = [_HEAD]
    heading = ""
    for sentence, group in sentences().items():
        if group != heading:
            heading = group
            parts.append(f"\n## {heading}\n\n")
        # Two backticks and a space around a sentence that has one itself.
        quoted = f"`` {sentence} ``" if "`" in sentence else f"`{sentence}`"
        name = anchor(sentence)
        edit = f": {EDITS[name]}" if name in EDITS else ""
        parts.append(f'- <a id="{name}"></a>{quoted}{edit}\n')
    return "".join([*parts, "\n", _NEXT])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
