"""Losses: the published formulas, however a batch is split, and options against rare labels."""

from __future__ import annotations

from collections import Counter

import datasets
import numpy as np
import pytest
import torch
from conftest import opinions
from torch.nn import functional

import hfrecipes
from hfrecipes import losses
from hfrecipes.data.checks import with_references
from hfrecipes.data.prepare import _count_labels
from hfrecipes.data.rows import Data
from hfrecipes.errors import ConfigError
from hfrecipes.registry import find
from hfrecipes.tasks.text_classification import TextClassification
from hfrecipes.tasks.token_classification import TokenClassification

SKEWED = ["a"] * 70 + ["b"] * 25 + ["c"] * 5


def recipe_for(labels: list, kind=TextClassification, column: str = "label", **options):
    recipe = kind(**options)
    rows = datasets.Dataset.from_dict({column: labels})
    sentences = recipe.infer_labels(rows)
    return recipe, [*sentences, *_count_labels(with_references(Data({"train": rows}, {}, {}), recipe), recipe)]


def logits_and_labels(rows: int = 30, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, classes, requires_grad=True), torch.arange(rows) % classes


def mean_loss(recipe, logits, labels, smoothing: float = 0.0) -> float:
    return float(recipe.loss(smoothing)({"logits": logits}, labels, num_items_in_batch=labels.numel()))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_options_it_is_the_loss_of_the_model_itself(smoothing):
    logits, labels = logits_and_labels()
    assert mean_loss(recipe_for(SKEWED)[0], logits, labels, smoothing) == pytest.approx(
        float(functional.cross_entropy(logits, labels, label_smoothing=smoothing))
    )
    numbers = torch.linspace(0, 5, 30)
    result = mean_loss(recipe_for([0.5, 1.5, 4.0])[0], logits[:, :1], numbers)
    assert result == pytest.approx(float(functional.mse_loss(logits[:, 0], numbers)))
    indicators = (torch.rand(30, 3) > 0.5).float()
    targets = indicators * (1 - smoothing) + smoothing / 2
    result = mean_loss(recipe_for([["a"], ["b", "c"]])[0], logits, indicators, smoothing)
    assert result == pytest.approx(float(functional.binary_cross_entropy_with_logits(logits, targets)))


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    recipe, messages = recipe_for(SKEWED, class_weights="balanced")
    expected = compute_class_weight("balanced", classes=np.array(recipe.labels), y=np.array(SKEWED))
    logits, labels = logits_and_labels()
    each = functional.cross_entropy(
        logits, labels, weight=torch.tensor(expected, dtype=torch.float32), reduction="none"
    )
    assert mean_loss(recipe, logits, labels) == pytest.approx(float(each.mean()))
    assert messages[1] == "class weights: a 0.476, b 1.33, c 6.67"
    assert sum(expected[recipe.labels.index(name)] for name in SKEWED) / len(SKEWED) == pytest.approx(1)


def test_weights_may_be_given_by_name_and_are_one_for_the_others():
    recipe, messages = recipe_for([3, 3, 1, 2], class_weights={1: 5})
    assert messages[1] == "class weights: 2 1, 3 1, 1 5"
    assert recipe.class_weights == {"1": 5}
    with pytest.raises(ConfigError, match=r"no label bb \(did you mean b\?\); the labels are a, b, c"):
        recipe_for([*SKEWED, "b"], class_weights={"bb": 2})


def test_focal_loss_and_logit_adjustment_are_the_published_ones():
    logits, labels = logits_and_labels()
    plain = functional.cross_entropy(logits, labels, reduction="none")
    focal = mean_loss(recipe_for(SKEWED, focal_gamma=2.0)[0], logits, labels)
    assert focal == pytest.approx(float(((1 - torch.exp(-plain)) ** 2 * plain).mean()))
    shares = torch.tensor([0.7, 0.25, 0.05])
    adjusted = mean_loss(recipe_for(SKEWED, logit_adjustment=1.0)[0], logits, labels)
    assert adjusted == pytest.approx(float(functional.cross_entropy(logits + shares.log(), labels)))


def test_multiple_labels_are_weighted_column_by_column():
    rows = [["a"]] * 80 + [["a", "b"]] * 15 + [[]] * 5
    logits, _ = logits_and_labels(20, 2)
    indicators = (torch.rand(20, 2) > 0.5).float()
    recipe, _ = recipe_for(rows, class_weights="balanced")
    weights = torch.where(indicators > 0, torch.tensor([100 / 190, 100 / 30]), torch.tensor([100 / 10, 100 / 170]))
    expected = functional.binary_cross_entropy_with_logits(logits, indicators, weight=weights)
    assert mean_loss(recipe, logits, indicators) == pytest.approx(float(expected))
    given, _ = recipe_for(rows, class_weights={"b": 3.0})
    expected = functional.binary_cross_entropy_with_logits(logits, indicators, pos_weight=torch.tensor([1.0, 3.0]))
    assert mean_loss(given, logits, indicators) == pytest.approx(float(expected))
    focal, _ = recipe_for(rows, focal_gamma=2.0)
    plain = functional.binary_cross_entropy_with_logits(logits, indicators, reduction="none")
    assert mean_loss(focal, logits, indicators) == pytest.approx(float(((1 - torch.exp(-plain)) ** 2 * plain).mean()))


def test_tags_are_weighted_word_by_word():
    tags = [["O", "O", "B-x"], ["O", "O", "O", "O"]]
    recipe, messages = recipe_for(tags, TokenClassification, "tags", class_weights="balanced", focal_gamma=1.0)
    assert messages[1] == "class weights: O 0.583, B-x 3.5"
    logits = torch.randn(2, 4, 2, requires_grad=True)
    labels = torch.tensor([[-100, 0, 1, -100], [0, 0, 1, 0]])
    known = labels >= 0
    weight = torch.tensor([7 / 12, 3.5])
    plain = functional.cross_entropy(logits[known], labels[known], reduction="none")
    expected = (weight[labels[known]] * (1 - torch.exp(-plain)) * plain).mean()
    result = recipe.loss()({"logits": logits}, labels, num_items_in_batch=torch.tensor(6))
    assert float(result) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (SKEWED, {"focal_gamma": -1.0}, "focal_gamma: -1.0, expected 0 or more"),
        (SKEWED, {"class_weights": {"a": 0}}, "class_weights: found a 0, expected numbers above 0"),
        (SKEWED, {"class_weights": "balanced", "logit_adjustment": 1.0}, "correct the same imbalance: use only one"),
        ([0.5, 1.5], {"class_weights": "balanced"}, "class_weights: leave it out, the labels are numbers"),
        ([0.5, 1.5], {"temperature_scaling": True}, "temperature_scaling: leave it out, the labels are numbers"),
        ([["a"], ["b"]], {"logit_adjustment": 1.0}, "it is for texts that have one label"),
        (SKEWED, {"threshold": 0.3}, "it is for two labels, or for texts that may have several"),
        ([["a"], ["b"]], {"threshold": 1.5}, "expected a probability between 0 and 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(labels, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        recipe_for(labels, **options)


def test_numbers_take_no_label_smoothing():
    with pytest.raises(ConfigError, match="the labels are numbers"):
        recipe_for([0.5, 1.5])[0].loss(0.1)


def test_smoothing_spreads_only_over_the_classes_that_can_be_chosen():
    logits, labels = logits_and_labels(4, 3)
    among = torch.ones(4, 3, dtype=torch.bool)
    same = losses.cross_entropy(logits, labels, 0.2, among)
    assert torch.allclose(same, functional.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none"))
    among[:, 2] = False
    masked = logits.masked_fill(~among, -torch.inf)
    two = losses.cross_entropy(masked[:2], labels[:2], 0.2, among[:2])
    assert torch.allclose(
        two, functional.cross_entropy(logits[:2, :2], labels[:2], label_smoothing=0.2, reduction="none"), atol=1e-6
    )


# --- losses that get what they need by name ---------------------------------------------------------------------------


def windows(generator: torch.Generator, tokens: int = 24, rows: int = 7) -> dict[str, torch.Tensor]:
    """Bounds of the context of each window, and first and last token of its answer: known, none (0) or unknown (-1)."""
    opens, closes, positions = [], [], []
    for row in range(rows):
        first = int(torch.randint(2, tokens // 2, (), generator=generator))
        last = int(torch.randint(first, tokens - 2, (), generator=generator))
        answer = torch.randint(first, last + 1, (2,), generator=generator).sort().values.tolist()
        bounds = [(first, last)] * 3 + [(0, -1)]  # the last kind has no context
        answers = [answer, [0, 0], [-1, -1], [0, 0]]
        kind = row % 4
        opens.append(bounds[kind][0])
        closes.append(bounds[kind][1])
        positions.append(answers[kind])
    return {"opens": torch.tensor(opens), "closes": torch.tensor(closes), "positions": torch.tensor(positions)}


def loss_of_bounds(logits, positions, opens, closes, whole, smoothing, tokens_after):
    """The loss of spans from the first and last token of the context, written down once more."""
    known = positions[:, 0] >= 0
    opens, closes = opens[known][:, None], closes[known][:, None]
    indexes = torch.arange(logits[0].shape[1])
    padding = (indexes > closes + tokens_after) & (indexes > 0)
    among = ((indexes >= opens) & (indexes <= closes)) | (indexes == 0)
    total = 0.0
    for side, target in zip(logits, positions[known].T, strict=True):
        masked = side[known].float().masked_fill(padding, -torch.inf)
        total = total + losses.cross_entropy(masked, target, smoothing, among).sum() / 2
    return losses.mean_over_batch(total, known.sum().clamp(min=1), whole)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tokens_after", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_of_spans_knows_the_context_by_its_mask(smoothing, tokens_after, dtype):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        case = windows(generator)
        logits = torch.randn(2, 7, 24, generator=generator).to(dtype)
        indexes = torch.arange(24)
        readable = (indexes >= case["opens"][:, None]) & (indexes <= case["closes"][:, None])
        for whole in (None, torch.tensor(9)):
            expected = loss_of_bounds(logits, **case, whole=whole, smoothing=smoothing, tokens_after=tokens_after)
            result = losses.span_loss(
                *logits,
                case["positions"],
                readable,
                windows_in_batch=whole,
                tokens_after=tokens_after,
                label_smoothing=smoothing,
            )
            torch.testing.assert_close(result, expected)
            assert torch.isfinite(result)


def test_the_loss_of_spans_does_not_depend_on_padding():
    generator = torch.Generator().manual_seed(0)
    logits, positions = torch.randn(2, 3, 12, generator=generator), torch.tensor([[4, 5], [0, 0], [3, 7]])
    readable = torch.zeros(3, 12, dtype=torch.bool)
    readable[:, 3:8] = True
    padded = torch.cat([logits, torch.full((2, 3, 6), 9.0)], dim=-1)
    wide = torch.cat([readable, torch.zeros(3, 6, dtype=torch.bool)], dim=-1)
    assert torch.equal(
        losses.span_loss(*padded, positions, wide, label_smoothing=0.1),
        losses.span_loss(*logits, positions, readable, label_smoothing=0.1),
    )


def test_a_part_of_a_batch_without_a_known_answer_has_a_loss_of_zero():
    unknown, readable = torch.full((2, 2), -1), torch.ones(2, 6, dtype=torch.bool)
    assert float(losses.span_loss(torch.randn(2, 6), torch.randn(2, 6), unknown, readable)) == 0
    assert float(losses.choice_loss(torch.randn(2, 6), torch.tensor([-100, -1]), readable)) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_choices_is_that_over_the_choices_that_a_row_has(smoothing):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        sizes = torch.randint(2, 6, (8,), generator=generator)
        logits, labels = torch.randn(8, 5, generator=generator), torch.arange(8) % sizes
        labels[seed % 8] = -100
        is_choice = torch.arange(5) < sizes[:, None]
        result = losses.choice_loss(logits, labels, is_choice, label_smoothing=smoothing)
        alone = []
        for row, size in enumerate(sizes.tolist()):
            if labels[row] >= 0:
                choices = logits[row : row + 1, :size]
                alone.append(functional.cross_entropy(choices, labels[row : row + 1], label_smoothing=smoothing))
        assert float(result) == pytest.approx(float(torch.stack(alone).mean()), abs=1e-6)
        whole = losses.choice_loss(
            logits, labels, is_choice, num_items_in_batch=torch.tensor(14), label_smoothing=smoothing
        )
        assert float(whole) == pytest.approx(float(result) * 7 / 14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_choices_equals_that_of_labels_which_carry_the_number_of_choices(smoothing):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        sizes = torch.randint(2, 6, (8,), generator=generator)
        logits, labels = torch.randn(8, 5, generator=generator), torch.arange(8) % sizes
        labels[seed % 8] = -100
        packed = torch.full((8, 5), -100)
        for row in range(8):
            if labels[row] >= 0:
                packed[row, labels[row]] = sizes[row]
        known = packed.amax(dim=1) >= 0
        most, right = packed[known].max(dim=1)
        is_choice = torch.arange(5) < most[:, None]
        each = losses.cross_entropy(logits[known].masked_fill(~is_choice, -torch.inf), right, smoothing, is_choice)
        for whole in (None, torch.tensor(9)):
            expected = losses.mean_over_batch(each.sum(), max(int(known.sum()), 1), whole)
            result = losses.choice_loss(
                logits,
                labels,
                torch.arange(5) < sizes[:, None],
                num_items_in_batch=whole,
                label_smoothing=smoothing,
            )
            torch.testing.assert_close(result, expected)


GRADIENT = {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "warmup_steps": 0, "max_grad_norm": 0.0}
OPTIONS = [
    ("text-classification", {"class_weights": "balanced", "label_smoothing_factor": 0.1}),
    ("text-classification", {"focal_gamma": 2.0, "class_weights": {"c": 9.0}}),
    ("text-classification", {"logit_adjustment": 1.0}),
    ("token-classification", {"class_weights": "balanced", "focal_gamma": 1.0}),
]


@pytest.mark.parametrize(("task", "options"), OPTIONS)
def test_the_gradient_of_sixteen_rows_is_that_of_four_times_four(task, options, tiny_bert, tmp_path):
    """SGD with a rate of 1 and no momentum moves the weights by the gradient itself."""
    rows = [dict(find(task).samples[index % 4]) for index in range(16)]
    if task == "text-classification":
        rows = [
            {"text": f"the film {index} was great", "label": label} for index, label in enumerate("aaaaaaaaabbbbbcc")
        ]
    model = {"path": tiny_bert, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    moved = {}
    for size, steps in ((16, 1), (4, 4)):
        about = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
        trainer = hfrecipes.build(
            task,
            model=model,
            dataset={"train": rows},
            splits={"validation": None},
            output_dir=tmp_path / str(size),
            train_sampling_strategy="sequential",
            save_strategy="no",
            bf16=False,
            **GRADIENT,
            **about,
            **options,
        )
        before = [weights.detach().clone() for weights in trainer.model.parameters()]
        trainer.train()
        pairs = zip(before, trainer.model.parameters(), strict=True)
        moved[size] = torch.cat([(start - end).detach().flatten() for start, end in pairs])
    assert float(moved[16].abs().max()) > 1e-3
    assert torch.allclose(moved[16], moved[4], atol=1e-5)


def test_weights_follow_the_labels_into_the_order_of_the_checkpoint(tiny_bert, tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    names = {0: "good", 1: "bad"}
    AutoModelForSequenceClassification.from_pretrained(tiny_bert, id2label=names).save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "model")
    rows = [{"text": f"film {index}", "label": "bad" if index < 10 else "good"} for index in range(110)]
    settings = {"dataset": {"train": rows}, "splits": {"validation": None}, "class_weights": "balanced"}
    trainer = hfrecipes.build(
        "text-classification", model=str(tmp_path / "model"), output_dir=tmp_path / "a", **settings
    )
    assert trainer.model.config.id2label == names
    loss = trainer.compute_loss_func
    each = [float(loss({"logits": torch.zeros(1, 2)}, torch.tensor([label]), num_items_in_batch=1)) for label in (0, 1)]
    assert each[1] / each[0] == pytest.approx(10), "bad is ten times as rare"


def test_weights_count_only_the_rows_that_are_trained_on(tmp_path):
    from hfrecipes.data.prepare import load_data
    from hfrecipes.training.configuration import configure

    rows = [{"text": f"film {index}", "label": "bad" if index % 2 else "good"} for index in range(400)]
    about = {"dataset": {"train": rows}, "limit": {"train": 24}}
    config, recipe = configure("text-classification", about)
    data, _ = load_data(config, recipe)
    assert sum(recipe.label_counts.values()) == len(data.splits["train"]) < 24


@pytest.mark.long
def test_weights_find_the_rare_label(quick, tmp_path):
    """One row in twenty is bad: without weights hardly any is found; weights and logit adjustment each find more."""

    rows = opinions(1200)
    good = [row for row in rows if row["label"] == "good"]
    bad = [row for row in rows if row["label"] == "bad"]
    rows = {"train": [*good[:380], *bad[:20]], "validation": [*good[380:400], *bad[20:40]], "test": bad[40:140]}
    recall = {}
    for name, options in {
        "plain": {},
        "weights": {"class_weights": "balanced"},
        "adjusted": {"logit_adjustment": 1.0},
    }.items():
        settings = {**quick, **options, "num_train_epochs": 8, "early_stopping": False}
        result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / name, **settings)
        recall[name] = result.metrics["test"]["accuracy"]
    assert Counter(row["label"] for row in rows["train"]) == {"good": 380, "bad": 20}
    assert min(recall["weights"], recall["adjusted"]) > recall["plain"] + 0.2, recall


def test_in_evaluation_the_loss_does_not_grow_with_the_number_of_processes(monkeypatch):
    """The Trainer multiplies it by their number, as in training, where it counts the items of all of them."""
    logits, labels = logits_and_labels()
    recipe, _ = recipe_for(list("abc"))
    with torch.no_grad():
        alone = mean_loss(recipe, logits, labels)
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        assert 2 * mean_loss(recipe, logits, labels) == pytest.approx(alone)
    assert mean_loss(recipe, logits, labels) == pytest.approx(alone)


def test_a_batch_that_each_process_counts_by_itself_is_refused(quick, tmp_path):
    settings = {**quick, "average_tokens_across_devices": False, "output_dir": tmp_path / "run"}
    with pytest.raises(ConfigError, match="average_tokens_across_devices: leave it out"):
        hfrecipes.build("text-classification", dataset=opinions(40), **settings)
