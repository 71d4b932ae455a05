"""Where boxes lie in the films of other patients: what a map has to beat."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmil_cli.data.phrase import Phrase
from mmil_cli.stages.phrase_samples import PRIOR_GRID, Sample, coverage

Key = TypeVar("Key", bound=Hashable)

_ANY = ""
"""In place of a category: phrases of all of them."""


@dataclass(frozen=True, eq=False)
class LocationPriors:
    """Mean coverage of cells of a common grid [64, 64] by the boxes or masks of phrases.

    Made from phrases of other splits where the table has any, the same for every sample. Where it has none,
    each sample has that of the other patients among those evaluated, so that no one's boxes tell of
    themselves.

    Attributes:
        sums: of the coverage, and the number of phrases, by category (`_ANY` for all).
        own: the same of each patient alone, to be taken off; empty for phrases of other splits.
    """

    sums: dict[str, tuple[np.ndarray, int]]
    own: dict[tuple[str, str], tuple[np.ndarray, int]]

    @classmethod
    def of(cls, elsewhere: Sequence[Phrase], samples: Sequence[Sample]) -> "LocationPriors":
        """From phrases of other splits, or else from the samples themselves."""
        if elsewhere:
            return cls(_sums((_keys(phrase), phrase) for phrase in elsewhere), {})
        pairs = [(sample.row.patient_id, sample.phrase) for sample in samples]
        own = _sums(([(patient, key) for key in _keys(phrase)], phrase) for patient, phrase in pairs)
        return cls(_sums((_keys(phrase), phrase) for _, phrase in pairs), own)

    def overall(self, sample: Sample) -> np.ndarray | None:
        """Of phrases of any category; None where there is no other patient."""
        return self._mean(_ANY, sample)

    def of_finding(self, sample: Sample) -> np.ndarray | None:
        """Of phrases of the sample's category; of any where there are none."""
        found = self._mean(sample.phrase.category, sample)
        return self.overall(sample) if found is None else found

    def _mean(self, key: str, sample: Sample) -> np.ndarray | None:
        nothing = (np.zeros(PRIOR_GRID), 0)
        total, number = self.sums.get(key, nothing)
        own, own_number = self.own.get((sample.row.patient_id, key), nothing)
        if number == own_number:
            return None
        return np.round((total - own) / (number - own_number), 9)  # what rounding leaves would break ties


def _keys(phrase: Phrase) -> list[str]:
    return [_ANY, phrase.category]


def _sums(pairs: Iterable[tuple[list[Key], Phrase]]) -> dict[Key, tuple[np.ndarray, int]]:
    """Sum of coverage and number of phrases under each of their keys."""
    found: dict[Key, tuple[np.ndarray, int]] = defaultdict(lambda: (np.zeros(PRIOR_GRID), 0))
    for keys, phrase in pairs:
        covered = coverage(phrase)
        for key in keys:
            total, number = found[key]
            found[key] = total + covered, number + 1
    return dict(found)
