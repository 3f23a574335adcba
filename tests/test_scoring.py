"""What is said of scores beside the scores: the gap between train and validation, and what tuning did."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import opinions

import hfrecipes
from hfrecipes import scoring
from hfrecipes.registry import find


def entries(train: float, held: float, baseline: float, half: float = 0.02, name: str = "accuracy") -> dict:
    found = {
        "train": {name: {"value": train, "ci95": [train - half, train + half], "baseline": baseline}},
        "validation": {name: {"value": held, "ci95": [held - half, held + half]}},
    }
    return {**found, scoring.GAP: scoring.gap(found["train"], found["validation"])}


def test_the_gap_has_the_interval_of_a_difference():
    """Its width is that of independent errors, as resampling both scores shows."""
    generator = np.random.default_rng(0)
    one, other = generator.random(400) < 0.9, generator.random(300) < 0.7
    draws = [np.array([generator.choice(rows, len(rows)).mean() for _ in range(2000)]) for rows in (one, other)]
    found = scoring.gap(
        *(
            {"a": {"value": rows.mean(), "ci95": list(np.percentile(draw, [2.5, 97.5]))}}
            for rows, draw in zip((one, other), draws, strict=True)
        )
    )["a"]
    assert found["value"] == pytest.approx(one.mean() - other.mean())
    assert found["ci95"] == pytest.approx(np.percentile(draws[0] - draws[1], [2.5, 97.5]), abs=0.01)


@pytest.mark.parametrize(
    ("train", "held", "baseline", "half", "said"),
    [
        (1.0, 0.8, 0.1, 0.02, True),
        (0.95, 0.9, 0.5, 0.02, False),
        (1.0, 0.8, 0.1, 0.2, False),
        (0.5, 0.5, 0.5, 0.01, False),
        (0.4, 0.3, 0.5, 0.01, False),
        (0.8, 0.9, 0.1, 0.01, False),
    ],
)
def test_overfitting_is_named_where_much_of_what_was_learnt_is_lost(train, held, baseline, half, said):
    recipe = find("text-classification")()
    sentences = scoring.overfitting(recipe, entries(train, held, baseline, half), lora=False)
    assert bool(sentences) == said
    if said:
        assert "accuracy is 1.000 on train and 0.800 on validation" in sentences[0]
        assert "lora=true" in sentences[0]
        assert "lora=true" not in scoring.overfitting(recipe, entries(train, held, baseline, half), lora=True)[0]


def test_scores_that_fall_go_by_ratios():
    recipe = find("text-generation")()
    assert not scoring.overfitting(recipe, entries(10.0, 11.0, 100.0, 0.1, "perplexity"), lora=False)
    assert scoring.overfitting(recipe, entries(5.0, 20.0, 100.0, 0.1, "perplexity"), lora=False)
    assert not scoring.overfitting(recipe, entries(5.0, 4.0, 100.0, 0.1, "perplexity"), lora=False)


def test_table_report_and_file_show_the_gap(quick, tmp_path):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    rows = {"train": opinions(40), "validation": opinions(40, 1), "test": opinions(20, 2)}
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **quick)
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    entry = written["gap"]["accuracy"]
    assert entry["value"] == pytest.approx(
        result.metrics["train"]["accuracy"] - result.metrics["validation"]["accuracy"]
    )
    assert "gap" in (tmp_path / "run" / "README.md").read_text()
    assert "gap" not in repr(result)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(60)))
    words = [f"model={quick['model']}", "dataset=train.jsonl", "bf16=false", "max_steps=2", "save_strategy=no"]
    made = CliRunner().invoke(main, ["run", "text-classification", *words])
    assert made.exit_code == 0, made.output
    assert "gap" in made.output


TRACKER = """
from types import SimpleNamespace

class EmissionsTracker:
    def __init__(self, output_dir):
        pass

    def start(self):
        pass

    def stop(self):
        self.final_emissions_data = SimpleNamespace(energy_consumed=0.0012345, emissions=0.00045678)
"""


def test_energy_that_codecarbon_measured_is_on_the_card(quick, tmp_path, monkeypatch):
    from transformers.integrations import integration_utils

    (tmp_path / "codecarbon.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(integration_utils, "is_codecarbon_available", lambda: True)
    quick |= {"report_to": "codecarbon"}
    hfrecipes.run("text-classification", dataset=opinions(40), output_dir=tmp_path / "run", **quick)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["energy"] == {"kwh": 0.00123, "co2eq_kg": 0.000457}
    assert "0.00123 kWh, 0.000457 kg CO2eq" in (tmp_path / "run" / "README.md").read_text()
