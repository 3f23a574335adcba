"""Distances are those of the formula, in models with heads of all kinds, and leave the models as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from architectures import NAMES, config_for, supported
from safetensors.numpy import save_file
from scipy.spatial.distance import cdist
from sklearn.covariance import LedoitWolf

from hfrecipes.errors import ConfigError, ModelError
from hfrecipes.models import distances


def clusters(rows: int = 60, hidden: int = 8, labels: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around a point of their own for each label, with more variance in some directions."""
    generator = np.random.default_rng(seed)
    ids = np.arange(rows) % labels
    points = generator.normal(size=(labels, hidden)) * 3
    return points[ids] + generator.normal(size=(rows, hidden)) * np.linspace(0.1, 2, hidden), ids


def expected_distances(inputs: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The Mahalanobis distance to the nearest mean, by scikit-learn and SciPy."""
    means = np.stack([inputs[ids == label].mean(0) for label in np.unique(ids)])
    covariance = LedoitWolf(assume_centered=True).fit(inputs - means[ids])
    return cdist(rows, means, "mahalanobis", VI=covariance.precision_).min(1)


def model_of(name: str, labels: int = 3):
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = config_for(name)
    config.num_labels = labels
    return AutoModelForSequenceClassification.from_config(config).eval()


def batch_of(rows: int = 6) -> dict[str, torch.Tensor]:
    """Token ids of two lengths; the last token of the longer rows ends texts of encoders with a decoder."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 30, (rows, 7), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("name", [name for name in NAMES if "text-classification" in supported(name)])
def test_a_model_gives_the_distance_of_the_formula_and_the_logits_of_before(name):
    model = model_of(name)
    batch, weights = batch_of(), sorted(model.state_dict())
    if model.config.is_encoder_decoder:
        batch["input_ids"][:, -1] = model.config.eos_token_id
    with torch.no_grad():
        before = model(**batch).logits
        stop = distances.collect_inputs(model)
        outputs = model(**batch)
        stop()
    inputs = outputs["head_inputs"].numpy()
    assert torch.equal(outputs.logits, before)
    distances.check_inputs(model, before.numpy(), inputs)
    train, ids = clusters(hidden=inputs.shape[1])
    distances.attach(model, distances.fit(train, ids))
    with torch.no_grad():
        outputs = model(**batch)
    assert outputs["distance"][:, 0].numpy() == pytest.approx(expected_distances(train, ids, inputs), rel=1e-4)
    assert torch.equal(outputs.logits, before)
    assert sorted(model.state_dict()) == weights
    assert "distance" not in model(**batch, labels=torch.zeros(6, dtype=torch.long)), "the loss is of the labels"


def test_distances_do_not_lose_digits_far_from_all_labels():
    inputs, ids = clusters()
    nearest = distances._Nearest(distances.fit(inputs, ids))
    far = (inputs[:5] + 1e5).astype(np.float32)
    measured = nearest(torch.from_numpy(far))[:, 0].numpy()
    assert measured == pytest.approx(expected_distances(inputs, ids, far.astype(np.float64)), rel=1e-4)


def test_fewer_rows_than_dimensions_have_finite_distances():
    inputs, ids = clusters(rows=9, hidden=40)
    measured = distances._Nearest(distances.fit(inputs, ids))(torch.from_numpy(inputs))
    assert torch.isfinite(measured).all()
    assert float(measured.max()) < 40


def test_with_one_row_for_each_label_distances_are_euclidean():
    inputs = np.array([[0.0, 0.0], [3.0, 4.0]])
    measured = distances._Nearest(distances.fit(inputs, np.array([0, 1])))(torch.tensor([[0.0, 2.0]]))
    assert float(measured) == pytest.approx(2)


def test_a_rare_label_of_a_large_train_has_rows_among_those_that_are_drawn():
    labels = np.zeros(3 * distances.MOST_ROWS, dtype=np.int64)
    labels[7], labels[8], labels[9] = 1, 2, -100
    chosen = distances.rows_to_fit(labels, seed=1)
    assert len(chosen) == distances.MOST_ROWS
    assert {7, 8} < set(chosen.tolist())
    assert 9 not in chosen, "it has no label"
    assert np.array_equal(chosen, distances.rows_to_fit(labels, seed=1))
    assert not np.array_equal(chosen, distances.rows_to_fit(labels, seed=2))
    assert distances.rows_to_fit(labels[:10], seed=1).tolist() == list(range(9))


def test_what_is_written_is_read(tmp_path):
    measured = distances.fit(*clusters())
    distances.write(tmp_path, measured)
    again = distances.read(tmp_path)
    assert np.array_equal(again.means, measured.means)
    assert np.array_equal(again.whitening, measured.whitening)
    assert [file.name for file in tmp_path.iterdir()] == [distances.FILE], "and no draft"


@pytest.mark.parametrize("damage", ["missing", "cut short", "another size", "not a number", "another tensor"])
def test_a_file_that_is_damaged_is_one_sentence(damage, tmp_path):
    file = tmp_path / distances.FILE
    means, whitening = np.ones((2, 4), dtype=np.float32), np.eye(4, dtype=np.float32)
    if damage == "cut short":
        file.write_bytes(b"{")
    elif damage == "another size":
        save_file({"means": means, "whitening": np.eye(3, dtype=np.float32)}, file)
    elif damage == "not a number":
        save_file({"means": means * np.nan, "whitening": whitening}, file)
    elif damage == "another tensor":
        save_file({"means": means}, file)
    with pytest.raises(ModelError, match=r"distance.safetensors cannot be read .*put the file back from a copy"):
        distances.read(tmp_path)


def test_the_file_of_another_model_is_refused():
    with pytest.raises(ModelError, match="has means of 8 values, and is of another model"):
        distances.attach(model_of("bert"), distances.fit(*clusters(hidden=8)))


def test_a_head_that_changes_what_its_last_layer_returns_is_refused():
    model = model_of("bert")
    inputs = np.ones((4, 32), dtype=np.float32)
    logits = model.classifier(torch.from_numpy(inputs)).detach().numpy()
    distances.check_inputs(model, logits, inputs)
    with pytest.raises(ModelError, match="the logits of a model of type bert are not what its last layer returns"):
        distances.check_inputs(model, np.tanh(logits) + 1, inputs)


def test_a_model_without_such_a_layer_is_refused():
    model = model_of("bert")
    distances.check_head(model, 3)
    with pytest.raises(ConfigError, match=r"bert has no linear layer .*use out_of_scope_by=probability"):
        distances.check_head(model, 4)
