"""Every estimator on correlated Gaussians: bias and variance, of trained critics and of the best one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmil_cli.core.losses import ESTIMATES
from mmil_cli.metrics.intervals import Interval
from mmil_cli.phantom.information import CorrelatedGaussians
from mmil_cli.stages.mi_critic import Estimator, over_seeds, pairs_of, read_information

DIM = 4

BEST_SHIFT = {"nwj": 1.0}
"""What an objective's best critic has beyond log p(x, y) / (p(x) p(y)), where that is not nothing."""


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """One estimator on one source, in nats.

    Attributes:
        batch: pairs of a batch that is read.
        truth: the mutual information.
        objective: what the critic was trained by and is read by.
        estimate: mean over seeds, each the mean over fresh batches; 95 % interval over seeds.
        deviation: standard deviation of the estimate of one batch, critic fixed.
        ceiling: what no estimate exceeds, log B for InfoNCE; None if there is no such number.
        best: mean over fresh batches with the best critic there is: the error of the estimator alone.
        best_deviation: standard deviation of the same over batches.
    """

    batch: int
    truth: float
    objective: str
    estimate: Interval
    deviation: float
    ceiling: float | None
    best: float
    best_deviation: float

    @property
    def bias(self) -> float:
        """Estimate minus truth."""
        return self.estimate.value - self.truth


def estimate_pairs(
    estimators: Sequence[Estimator],
    *,
    truths: Sequence[float],
    num_seeds: int,
    best_reads: int,
    seed: int,
    on_critic: Callable[[], None],
) -> tuple[PairRow, ...]:
    """A row for every size of batch, truth and estimator; all estimators see the same pairs.

    Args:
        estimators: one an objective.
        truths: nats.
        num_seeds: critics of each estimator and truth.
        best_reads: fresh batches of each size that the best critic is read on.
        seed: of everything.
        on_critic: called after each critic.
    """
    rows: list[PairRow] = []
    for truth in truths:
        source = CorrelatedGaussians.of_information(truth, dim=DIM)
        for estimator in estimators:
            trained = []
            for replicate in range(num_seeds):
                trained.append(estimator(source.sample, seed=(seed, replicate)))
                on_critic()
            rows += [
                _row(
                    source,
                    estimator.objective,
                    np.stack([found[batch] for found in trained]),
                    _read_best(source, estimator.objective, batch=batch, reads=best_reads, seed=seed),
                    batch=batch,
                )
                for batch in estimator.read_batches
            ]
    return tuple(sorted(rows, key=lambda row: (row.batch, row.truth)))


def best_logits(source: CorrelatedGaussians, objective: str, x: np.ndarray, y: np.ndarray) -> Tensor:
    """The logits of the critic that no other can better."""
    return torch.from_numpy(source.log_ratio(x, y) + BEST_SHIFT.get(objective, 0.0))


def ceiling_of(objective: str, batch: int) -> float | None:
    """Where estimates end as never wrong logits get ever more certain; None if they go on growing."""
    certain = 2 * torch.eye(batch, dtype=torch.float64) - 1
    pairing = pairs_of(batch)
    high, higher = (float(ESTIMATES[objective](scale * certain, pairing)) for scale in (1e2, 1e3))
    return higher if math.isclose(high, higher) else None


def _read_best(
    source: CorrelatedGaussians, objective: str, *, batch: int, reads: int, seed: int
) -> np.ndarray:
    return read_information(
        lambda x, y: best_logits(source, objective, x, y),
        source.sample,
        objective,
        batch=batch,
        reads=reads,
        seed=(seed,),
    )


def _row(
    source: CorrelatedGaussians, objective: str, trained: np.ndarray, best: np.ndarray, *, batch: int
) -> PairRow:
    """The row of the estimates of trained critics [seed, read] and of the best one [read]."""
    return PairRow(
        batch=batch,
        truth=source.information,
        objective=objective,
        estimate=over_seeds(trained.mean(axis=1)),
        deviation=float(np.sqrt(trained.var(axis=1, ddof=1).mean())),
        ceiling=ceiling_of(objective, batch),
        best=float(best.mean()),
        best_deviation=float(best.std(ddof=1)),
    )
