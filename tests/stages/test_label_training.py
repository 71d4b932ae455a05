"""Training on labels: the loss by hand, early stopping, seeds, and what few labels come to."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmil_cli.stages import label_training
from mmil_cli.stages.label_sets import ClassLabels, LabelSet
from mmil_cli.stages.label_training import (
    LabelledBatch,
    Split,
    Trained,
    Tuning,
    label_loss,
    predict,
    splits_of,
    train_network,
)
from mmil_cli.stages.probe_inputs import RegionInputs
from mmil_cli.stages.probe_readers import NetworkReader

CPU = torch.device("cpu")


class FirstRegion(nn.Module):
    """A linear map of the first region of a film."""

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, num_outputs)

    def forward(self, regions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.layer(regions[:, 0])


def films(num: int, *, seed: int) -> tuple[RegionInputs, np.ndarray, np.ndarray]:
    """Regions whose first channel tells a finding and whose second one a grade; the finding has gaps."""
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(num, 2, 4, generator=generator)
    labels = (regions[:, 0, :1] > 0).double().numpy()
    labels[::5] = np.nan
    grade = torch.bucketize(regions[:, 0, 1].contiguous(), torch.tensor([-0.5, 0.5])).numpy()
    grade[::7] = -1
    return RegionInputs(regions.half(), torch.ones(num, 2, dtype=torch.bool)), labels, grade


def label_set(num_train: int = 96, num_validate: int = 40) -> tuple[LabelSet, RegionInputs, RegionInputs]:
    train, labels, grade = films(num_train, seed=0)
    validate, held_out, held_grade = films(num_validate, seed=1)
    found = LabelSet(
        names=("first",),
        train=labels,
        validate=held_out,
        classes=(ClassLabels(name="grade", classes=("0", "1", "2"), train=grade, validate=held_grade,
                             scored=held_grade, is_ordinal=True),),
        train_patients=np.arange(num_train),
        validate_patients=np.arange(num_validate),
    )  # fmt: skip
    return found, train, validate


def train(labels: LabelSet, first: RegionInputs, second: RegionInputs, *, seed: int = 0,
          rates: tuple[float, ...] = (0.1,)) -> Trained:  # fmt: skip
    tuning = Tuning(epochs=10, rates=rates, device=CPU)
    splits = splits_of(labels, first, second)
    return train_network(lambda: FirstRegion(4), *splits, sizes=(3,), tuning=tuning, seed=seed)


def test_the_loss_is_the_mean_over_the_labels_there_are() -> None:
    logits = torch.tensor([[0.5, -1.0, 1.0, 0.0, 2.0], [2.0, 0.3, 0.0, 1.0, 1.0]])
    batch = LabelledBatch(
        inputs=(), labels=torch.tensor([[1.0, math.nan], [0.0, 1.0]]), classes=torch.tensor([[2], [-1]])
    )
    known = [F.logsigmoid(torch.tensor(value)) for value in (0.5, -2.0, 0.3)]
    expected = -sum(known) / 3 - F.log_softmax(logits[0, 2:], dim=0)[2]
    torch.testing.assert_close(label_loss(logits, batch, (3,)), expected)
    nothing = LabelledBatch(inputs=(), labels=torch.full((2, 2), math.nan), classes=torch.full((2, 1), -1))
    assert label_loss(logits, nothing, (3,)) == 0


def test_a_network_learns_findings_and_grades_together() -> None:
    labels, first, second = label_set()
    trained = train(labels, first, second)
    assert trained.choices()["chosen_on"] == "validate split"
    logits = predict(trained.model, second, device=CPU)
    known = ~np.isnan(labels.validate[:, 0])
    assert ((logits[known, 0] > 0) == labels.validate[known, 0]).mean() > 0.85
    graded = labels.classes[0].validate >= 0
    assert (logits[graded, 1:].argmax(axis=1) == labels.classes[0].validate[graded]).mean() > 0.7


def test_a_seed_gives_the_same_weights_and_another_one_others() -> None:
    once, again, other = (train(*label_set(), seed=seed).model.layer.weight for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_the_weights_kept_are_those_of_the_best_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0.5, 0.4, 0.3, 0.35, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    seen = []

    def loss(watch) -> float:
        seen.append(watch.model.layer.weight.detach().clone())
        return next(looks)

    monkeypatch.setattr(label_training._Watch, "_loss", loss)
    trained = train(*label_set())
    assert trained.loss == 0.3
    assert torch.equal(trained.model.layer.weight, seen[2])
    assert len(seen) == 3 + label_training.PATIENCE  # and then it stopped
    assert trained.step == 3 * 5  # of 100 steps, a look in every 5


def test_of_several_rates_the_better_one_on_validation_is_taken() -> None:
    assert train(*label_set(), rates=(1e-6, 0.1)).rate == 0.1
    assert train(*label_set(), rates=(0.1, 1e-6)).rate == 0.1


def test_a_new_head_has_a_rate_of_its_own() -> None:
    labels, first, second = label_set()

    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = FirstRegion(4), nn.Linear(4, 4)

        def forward(self, regions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(regions, mask))

    start: dict[str, torch.Tensor] = {}

    def make() -> nn.Module:
        model = WithHead()
        start.update({name: value.clone() for name, value in model.state_dict().items()})
        return model

    tuning = Tuning(epochs=1, rates=(1e-9,), device=CPU, head_rate=0.05)
    splits = splits_of(labels, first, second)
    after = train_network(make, *splits, sizes=(3,), tuning=tuning, seed=0).model.state_dict()
    moved = {name: float((after[name] - start[name]).abs().max()) for name in start}
    assert moved["head.weight"] > 0.05
    assert moved["body.layer.weight"] < 1e-5


def test_without_validation_labels_the_first_rate_and_the_last_step_are_taken() -> None:
    labels, first, _ = label_set()
    empty = RegionInputs(torch.empty(0), torch.empty(0))
    nothing = Split(inputs=empty, labels=np.empty((0, 1)), classes=np.empty((0, 1), np.int64))
    trained = train_network(
        lambda: FirstRegion(4),
        splits_of(labels, first, first)[0],
        nothing,
        sizes=(3,),
        tuning=Tuning(epochs=10, rates=(0.05, 0.1), device=CPU),
        seed=0,
    )
    assert (trained.rate, trained.step) == (0.05, 100)  # more epochs than ten, for those had fewer steps
    assert trained.choices()["chosen_on"].startswith("nothing")


def test_the_reader_splits_outputs_and_skips_what_has_one_class() -> None:
    labels, first, second = label_set()
    one_class = LabelSet(**{**vars(labels), "names": ("first", "never"),
                            "train": np.column_stack([labels.train, np.zeros(96)]),
                            "validate": np.column_stack([labels.validate, np.zeros(40)])})  # fmt: skip
    reader = NetworkReader(
        FirstRegion, train=first, validate=second, scored=second,
        tuning=Tuning(epochs=5, rates=(0.1,), device=CPU),
    )  # fmt: skip
    readings = reader(one_class, seed=0)
    assert readings.skipped == {"never": "the train split has 0 positive and 96 negative films"}
    assert set(readings.scored) == {"first"}
    assert readings.scored["first"].shape == (40,)
    assert readings.classes["grade"].shape == (40, 3)
    np.testing.assert_array_equal(readings.scored["first"], readings.validate["first"])
