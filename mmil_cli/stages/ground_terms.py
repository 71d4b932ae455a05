"""Which regions of a film made the score of a phrase: the critical one, and each term's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmil_cli.core.aggregators.instances import Instances
from mmil_cli.core.bags import RegionBag, Sentences
from mmil_cli.data.maps import Map
from mmil_cli.inference import Embedder

HIGHEST = 5
"""Regions of a term that are listed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TermRegions:
    """What one phrase looked at in one film.

    Attributes:
        critical: row and column of the region with the highest instance score, k = argmax_n h(x_n, y).
        score: h of it.
        weights: by term how much each region counts [rows, columns], summing to 1: of a local term the
            gradient with respect to its instance scores, of `nl` the w_n that average the neighbourhood of
            the critical region.
    """

    critical: tuple[int, int]
    score: float
    weights: dict[str, Map]

    def effective(self, term: str) -> float:
        """e to the entropy of a term's weights: over how many regions it spreads."""
        shares = self.weights[term][self.weights[term] > 0]
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def highest(self, term: str) -> list[tuple[int, int, float]]:
        """Row, column and weight of the regions that count most."""
        weights = self.weights[term]
        order = np.argsort(-weights, axis=None, kind="stable")[:HIGHEST]
        return [(*map(int, np.unravel_index(i, weights.shape)), float(weights.flat[i])) for i in order]  # type: ignore[misc]

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        row, column = self.critical
        return {
            "critical_region": {"row": row, "column": column, "similarity": self.score},
            "weights": {
                term: {
                    "effective_regions": self.effective(term),
                    "highest": [
                        {"row": row, "column": column, "weight": weight}
                        for row, column, weight in self.highest(term)
                    ],
                }
                for term in self.weights
            },
        }


@torch.inference_mode()
def term_regions(embedder: Embedder, regions: RegionBag, sentences: Sentences) -> Sequence[TermRegions]:
    """One a sentence, for the first film of `regions`."""
    score, there = embedder.model.score, regions[:1].to(embedder.device)
    instances = Instances(
        regions=there.features,
        mask=there.mask,
        sentences=sentences.to(embedder.device),
        critic=score.critic,
    )
    critical = instances.critical()[0].tolist()
    weights = {name: w[0].T.float().cpu().numpy() for name, w in score.term_weights(instances).items()}
    rows, columns = regions.grid
    return [
        TermRegions(
            critical=divmod(place, columns),
            score=float(instances.scores[0, place, number]),
            weights={name: of_term[number].reshape(rows, columns) for name, of_term in weights.items()},
        )
        for number, place in enumerate(critical)
    ]
