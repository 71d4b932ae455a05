"""A critic trained by an objective on pairs without end, and the information that is read off it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.core.critics.critic import Critic
from mmil_cli.core.critics.mlp import MLP
from mmil_cli.core.losses import ESTIMATES, OBJECTIVES
from mmil_cli.core.losses.pairing import Pairing, pair_batch
from mmil_cli.metrics.intervals import Interval

HIDDEN, SECOND = 64, 16  # units of the critic
LEARNING_RATE = 4e-3
WARM_UP = 0.1  # share of the steps
TRAIN_BATCH = 64

Sampler = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
"""Draws so many independent pairs: x [n, dim of x] and y [n, dim of y]."""

MakeCritic = Callable[[int], Critic]
"""Makes an untrained critic of vectors of a dimension."""

Logits = Callable[[np.ndarray, np.ndarray], Tensor]
"""f of every x with every y [n, n]."""


def small_mlp(dim: int) -> Critic:
    """The MLP critic on the vectors themselves."""
    return MLP(dim, hidden=HIDDEN, second=SECOND)


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """Mutual information by a critic trained on batches of 64 pairs and read on fresh ones.

    Attributes:
        objective: trains the critic and is its estimate; a name of those that have one.
        steps: of training, each on pairs never seen before.
        reads: fresh batches of each size.
        read_batches: sizes of the batches that are read.
        make_critic: of the critic.
    """

    objective: str
    steps: int
    reads: int
    read_batches: tuple[int, ...] = (TRAIN_BATCH,)
    make_critic: MakeCritic = small_mlp

    def __call__(self, sample: Sampler, *, seed: tuple[int, ...]) -> dict[int, np.ndarray]:
        """Estimates in nats of a critic of its own, one for each fresh batch, by the size of the batches.

        Args:
            sample: draws pairs.
            seed: of weights and pairs; estimators of the same seed see the same pairs.
        """
        critic = train_critic(
            sample, self.objective, steps=self.steps, seed=seed, make_critic=self.make_critic
        )
        return {
            batch: read_information(
                lambda x, y: score_pairs(critic, x, y),
                sample,
                self.objective,
                batch=batch,
                reads=self.reads,
                seed=seed,
            )
            for batch in self.read_batches
        }


def train_critic(
    sample: Sampler,
    objective: str,
    *,
    steps: int,
    seed: tuple[int, ...],
    make_critic: MakeCritic = small_mlp,
) -> Critic:
    """The critic after so many steps of Adam, with a warm-up and a cosine decay."""
    generator = np.random.default_rng([*seed, 0])
    critic = _new_critic(make_critic, max(part.shape[1] for part in sample(generator, 1)), generator)
    loss = OBJECTIVES[objective]()
    optimiser = torch.optim.Adam([*critic.parameters(), *loss.parameters()], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP
    )
    pairing = pairs_of(TRAIN_BATCH)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(score_pairs(critic, *sample(generator, TRAIN_BATCH)), pairing).total.backward()
        optimiser.step()
        schedule.step()
    return critic


def read_information(
    logits: Logits, sample: Sampler, objective: str, *, batch: int, reads: int, seed: tuple[int, ...]
) -> np.ndarray:
    """The objective's estimates in nats on so many fresh batches, [reads]."""
    generator = np.random.default_rng([*seed, batch])
    pairing = pairs_of(batch)
    with torch.no_grad():
        found = [ESTIMATES[objective](logits(*sample(generator, batch)), pairing) for _ in range(reads)]
    return torch.stack(found).double().numpy()


def score_pairs(critic: Critic, x: np.ndarray, y: np.ndarray) -> Tensor:
    """h of every x with every y [n, n], as images of one region and reports of one sentence.

    Vectors are brought to a length of about 1, which the critic expects, and the shorter ones filled up
    with zeros.
    """
    regions, sentences = (_as_feature(part, critic.dim) for part in (x, y))
    return critic(regions.unsqueeze(1), sentences)[:, 0]


def pairs_of(batch: int) -> Pairing:
    """Each x with its own y; with everybody else's it is a negative."""
    place = torch.arange(batch)
    return pair_batch(place, place)


def over_seeds(values: np.ndarray, *, level: float = 0.95) -> Interval:
    """Mean over seeds [n] with Student's t interval; without one for a single seed."""
    mean, number = float(values.mean()), len(values)
    if number < 2:
        return Interval(mean, math.nan, math.nan)
    half = stats.t.ppf((1 + level) / 2, number - 1) * values.std(ddof=1) / math.sqrt(number)
    return Interval(mean, float(mean - half), float(mean + half))


def _as_feature(part: np.ndarray, dim: int) -> Tensor:
    vectors = torch.from_numpy(part).float() / math.sqrt(dim)
    return F.pad(vectors, (0, dim - part.shape[1]))


def _new_critic(make: MakeCritic, dim: int, generator: np.random.Generator) -> Critic:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**63)))
        return make(dim)
