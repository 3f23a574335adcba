"""Tasks outside the package: what they learned is there after load, and what they forget is named before a run."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import close, opinions
from page_task import FILE, NAME, write_rows, write_task
from processes import run_python

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.contract import checks
from hfrecipes.contract.report import check_task, outcome_of
from hfrecipes.contract.trial import Trial
from hfrecipes.errors import ConfigError

pytestmark = pytest.mark.rehearsed

PRAISE = """
from dataclasses import dataclass

from hfrecipes.tasks.text_classification import TextClassification


@dataclass(kw_only=True)
class Praise(TextClassification):
    task = "praise"

    def infer_labels(self, train):
        sentences = super().infer_labels(train)
        self.learned = {"longest": max(map(len, train["text"]))}
        return sentences

    def decode(self, outputs, rows, encoded):
        predictions = super().decode(outputs, rows, encoded)
        for prediction, text in zip(predictions, rows["text"]):
            prediction["share"] = len(text) / self.learned["longest"]
        return predictions
"""
LOAD = """
import json, sys
import hfrecipes

model = hfrecipes.load(sys.argv[1], trust=True)
known = {"labels": model.recipe.labels, "learned": model.recipe.learned}
print(json.dumps({**known, "predictions": model.predict(["the film was great", "the coat was weak"])}))
"""


def quickly(tiny_bert: str, **settings) -> dict:
    return {"model": tiny_bert, "max_steps": 1, "bf16": False, **settings}


# --- what a task learned -----------------------------------------------------------------------------------------


def test_labels_and_learned_are_there_after_load_in_another_process(tiny_bert, tmp_path):
    (tmp_path / "praise.py").write_text(PRAISE)
    rows = opinions(40)
    result = hfrecipes.run("praise.py", dataset=rows, output_dir=tmp_path / "run", **quickly(tiny_bert))
    (tmp_path / "elsewhere").mkdir()
    made = run_python("-c", LOAD, tmp_path / "run", cwd=tmp_path)
    loaded = json.loads(made.stdout.splitlines()[-1])
    assert loaded["labels"] == ["bad", "good"]
    assert loaded["learned"] == {"longest": max(len(row["text"]) for row in rows)}
    predictions = result.predict(["the film was great", "the coat was weak"])
    assert close(json.loads(json.dumps(predictions)), loaded["predictions"])


# --- what a task forgot ------------------------------------------------------------------------------------------


def without_method(name: str) -> str:
    """The file of the page without one of its methods."""
    tree = ast.parse(FILE)
    (recipe,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    recipe.body = [node for node in recipe.body if getattr(node, "name", "") != name]
    return ast.unparse(tree)


@pytest.mark.parametrize("method", ["reference", "encode", "loss", "decode", "measure", "baseline"])
def test_a_task_without_a_method_is_refused_before_anything_is_loaded(method, tmp_path):
    (tmp_path / NAME).write_text(without_method(method))
    for call in (hfrecipes.run, hfrecipes.build, hfrecipes.check):
        with pytest.raises(
            ConfigError, match=rf"OrdinalRating does not define {method}; docs/write-a-task.md shows how"
        ):
            call(NAME, model="./no-such-model", dataset="no-such-file.csv")
    outcome = CliRunner().invoke(main, ["check", NAME])
    assert outcome.exit_code == 2
    rule = "The facts are complete, and transformers has the classes that they name"
    assert f"wrong  {rule}: OrdinalRating does not define {method}: add it" in outcome.output


@pytest.mark.parametrize("name", ["within_one", "eval_within_one"])
def test_a_metric_without_a_direction_picks_no_checkpoint_until_it_is_said(name, tiny_bert, tmp_path):
    write_task(tmp_path, (', "within_one": HIGHER}', "}"))
    write_rows(tmp_path)
    settings = quickly(tiny_bert, dataset="ratings.csv", output_dir="run", metric_for_best_model=name)
    sentence = "does not say whether a higher or a lower within_one is better: add greater_is_better=true"
    for call in (hfrecipes.check, hfrecipes.build):
        with pytest.raises(ConfigError, match=sentence):
            call(NAME, **settings)
    trainer = hfrecipes.build(NAME, greater_is_better=True, **settings)
    assert trainer.args.greater_is_better is True


def test_lower_is_better_where_the_task_says_so(tiny_bert, tmp_path):
    write_task(tmp_path)
    trainer = hfrecipes.build(NAME, **quickly(tiny_bert, dataset=str(write_rows(tmp_path)), output_dir="run"))
    assert trainer.args.metric_for_best_model == "mae"
    assert trainer.args.greater_is_better is False


def test_card_texts_are_facts_and_need_no_docstring(tiny_bert, tmp_path):
    documented = ast.get_docstring(ast.parse(FILE))
    class_docstring = '    """Text in, rating out; the model has an output for each step of the scale."""\n'
    task = write_task(tmp_path, (f'"""{documented}"""\n', ""), (class_docstring, ""))
    assert hfrecipes.registry.find(str(task)).__doc__.startswith("OrdinalRating("), "dataclasses write a signature"
    settings = quickly(tiny_bert, dataset=str(write_rows(tmp_path)), output_dir="run")
    card = Path(hfrecipes.run(NAME, **settings).path, "README.md").read_text(encoding="utf-8")
    assert "# run\n\nGives each text a rating on the scale of its training rows." in card
    assert "Baseline: The median rating of train." in card
    assert "Mean distance to the rating; shares of equal ratings" in card
    assert "OrdinalRating(" not in card


# --- what the rules find -----------------------------------------------------------------------------------------

LEARNED = ("self.learned", "self.scale")
TUPLE = ('"highest": max(known)}', '"highest": max(known), "both": (min(known), max(known))}')
MEAN = ("mean_over_batch(total, known.sum().clamp(min=1), num_items_in_batch)", "total / known.sum()")
COUNTER = (
    "            known = labels >= 0\n",
    "            known = labels >= 0\n            self.calls = getattr(self, 'calls', 0) + 1\n",
)
USES_COUNTER = ('reduction="sum")', 'reduction="sum") * self.calls')
# What is wrong with the file -> edits, the check that finds it, and what it says.
FAULTS = {
    "no such class": (
        [("auto_model = ", 'auto_model = "AutoModelForSequenceClasification"  # ')],
        checks.facts_are_complete,
        "(did you mean AutoModelForSequenceClassification?)",
    ),
    "unknown default": (
        [('    prediction = "rating"\n', '    prediction = "rating"\n    defaults = {"learning_rat": 1e-4}\n')],
        checks.facts_are_complete,
        "defaults: learning_rat is not a keyword of TrainingArguments (did you mean learning_rate?)",
    ),
    "unknown column in a layout": (
        [('    prediction = "rating"\n', '    prediction = "rating"\n    layouts = ({"texts": "body"},)\n')],
        checks.columns_are_consistent,
        "layouts: texts is not a column (did you mean text?)",
    ),
    "sample without a reference": (
        [(', "rating": 3}', "}")],
        checks.columns_are_consistent,
        "samples: row 1 has no rating: add it, or make the column optional",
    ),
    "option without a sentence": (
        [('    """Probability from which a step counts as reached; null tunes it on validation."""\n', "")],
        checks.options_are_explained,
        "option cut is not explained",
    ),
    "option like a setting": (
        [("    cut: float | None = None\n", '    seed: int = 1\n    """A number."""\n    cut: float | None = None\n')],
        checks.options_are_explained,
        "option seed: a setting has the same name",
    ),
    "no dataclass": (
        [("@dataclass(kw_only=True)\n", "")],
        checks.options_are_explained,
        "put @dataclass(kw_only=True) above the class",
    ),
    "option that YAML changes": (
        [
            (
                "    cut: float | None = None\n",
                '    sizes: tuple = (1, 2)\n    """Two."""\n    cut: float | None = None\n',
            )
        ],
        checks.options_survive_the_recipe_file,
        "option sizes: (1, 2) becomes [1, 2] in recipe.yaml",
    ),
    "empty card text": (
        [('baseline="The median rating of train."', 'baseline=""')],
        checks.card_has_its_texts,
        "card: baseline is empty",
    ),
    "metric without a direction": (
        [(', "within_one": HIGHER}', "}")],
        checks.metrics_have_a_direction,
        'measure returns within_one, whose direction is unknown: add "within_one": HIGHER, or LOWER',
    ),
    "first metric that is not measured": (
        [('metrics = {"mae"', 'metrics = {"mean_error"')],
        checks.metrics_have_a_direction,
        "metrics: the first one, mean_error, picks the checkpoint, but measure does not return it",
    ),
    "weights without effect": (
        [("weights / weights.sum(1, keepdims=True)", "np.ones_like(weights) / weights.shape[1]")],
        checks.weights_count_rows,
        "multiply what each row adds by its weight",
    ),
    "one value for all resamples": (
        [('"mae": share @ distance,', '"mae": (share @ distance).mean(),')],
        checks.weights_count_rows,
        "measure: mae has the shape () for 2 resamples, expected (2,)",
    ),
    "an attribute that is not saved": (
        [LEARNED],
        checks.a_run_reloads,
        "has no attribute 'scale' (ordinal_rating.py, line",
    ),
    "a tuple": ([TUPLE], checks.a_run_reloads, "keep JSON values in it"),
    "another spelling": (
        [('return self.learned["lowest"] + sum(', 'return float(self.learned["lowest"]) + sum(')],
        checks.scores_are_of_written_predictions,
        "decode and reference must write it in the same way",
    ),
    "a snippet that does not run": (
        [(").logits\n", ").logit\n")],
        checks.card_snippets_run,
        "card: usage raises AttributeError",
    ),
    "a mean": ([MEAN], checks.accumulation_changes_nothing, "let the loss be losses.mean_over_batch("),
    "a mean of one row": ([MEAN], checks.eight_rows_are_eight_times_one, "as losses.mean_over_batch does"),
    "a count of steps": (
        [COUNTER, USES_COUNTER],
        checks.resuming_changes_nothing,
        "let random numbers depend only on self.seed, self.epoch and the row",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_rule_is_named_with_the_edit(fault, tmp_path):
    edits, check, sentence = FAULTS[fault]
    outcome = outcome_of(check, Trial(str(write_task(tmp_path, *edits)), tmp_path / "runs"), [])
    assert sentence in "; ".join(outcome.problems)


def test_an_error_that_checks_share_is_explained_once_with_its_line(tmp_path):
    task = write_task(tmp_path, ('features["labels"] = []\n', 'features["labels"] = 1 / 0\n'))
    line = task.read_text().partition("1 / 0")[0].count("\n") + 1
    outcomes = {outcome.rule: outcome.problems for outcome in check_task(str(task))}
    explained = f"ZeroDivisionError: division by zero (ordinal_rating.py, line {line}, in encode)"
    assert next(filter(None, outcomes.values())) == [explained]
    assert ["not checked, because the run failed (see above)"] in outcomes.values()
    assert len(outcomes) == len(checks.CHECKS)


def test_a_dataset_or_a_setting_asks_for_the_check_of_rows(tmp_path):
    write_task(tmp_path)
    outcome = CliRunner().invoke(main, ["check", NAME, f"dataset={write_rows(tmp_path)}"])
    assert outcome.exit_code == 0
    assert "settings that differ from the defaults" in outcome.output
    assert outcome.stdout.splitlines()[-1].startswith("ok")
    outcome = CliRunner().invoke(main, ["check", NAME, "cut=0.5"])
    assert outcome.exit_code == 2
    assert "no dataset: add dataset=" in outcome.output
