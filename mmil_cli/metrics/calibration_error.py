"""Expected calibration error with an interval that holds for a calibrated model too.

With finite bins ECE is never 0, and resamples of the films lie higher still, so that the usual percentile
interval leaves out the truth of a well calibrated model altogether.
"""

from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.intervals import Interval, mean_of_defined

CERTAIN = 3.0
"""Standard deviations beyond which the error of a bin is taken not to change its sign."""


@dataclass(frozen=True, eq=False)
class CalibrationError:
    """ECE of one finding, or the mean of several, with what its interval is made from.

    Attributes:
        value: ECE = sum_b |e_b|, e_b = sum of (y - p) over the films of bin b / number of films; NaN where it
            is undefined.
        draws: the same of resamples [S]; NaN where one has no films.
        excess: how much at most each resample's value lies above what it is an estimate of [S].
    """

    value: float
    draws: np.ndarray
    excess: np.ndarray

    @classmethod
    def of(cls, errors: np.ndarray, resampled: np.ndarray) -> "CalibrationError":
        """From the errors e_b [B] of a finding and those of its resamples [S, B]; NaN where undefined.

        For each bin |e*| - |e| <= |e* - e|, and it is sign(e) (e* - e) where e does not change its sign.
        """
        if np.isnan(errors).any():
            nothing = np.full(len(resampled), np.nan)
            return cls(float("nan"), nothing, nothing)
        defined = resampled[~np.isnan(resampled).any(axis=1)]
        deviation = resampled - errors
        certain = np.abs(errors) > CERTAIN * (defined.std(axis=0) if len(defined) else np.inf)
        excess = np.where(certain, np.sign(errors) * deviation, np.abs(deviation)).sum(axis=1)
        return cls(float(np.abs(errors).sum()), np.abs(resampled).sum(axis=1), excess)

    @classmethod
    def mean(cls, parts: "list[CalibrationError]") -> "CalibrationError":
        """Over the findings that are defined; NaN without any. All have the same resamples."""
        defined = [part for part in parts if not np.isnan(part.value)]
        if not defined:
            return cls(float("nan"), np.empty(0), np.empty(0))
        return cls(
            float(np.mean([part.value for part in defined])),
            mean_of_defined(np.stack([part.draws for part in defined], axis=1)),
            mean_of_defined(np.stack([part.excess for part in defined], axis=1)),
        )

    def interval(self, *, level: float = 0.95) -> Interval:
        """The value with an interval that covers the error of the binned truth at least so often [ours].

        Below it reaches as far as the value may lie above the truth, down to 0. Above, the value is no
        underestimate on average, and the spread of the resamples about their mean is enough.
        """
        defined = ~np.isnan(self.draws)
        undefined = int((~defined).sum())
        if np.isnan(self.value) or not defined.any():
            return Interval(self.value, float("nan"), float("nan"), undefined)
        share = 1.0 - (1.0 - level) / 2.0
        draws = self.draws[defined]
        low = self.value - float(np.quantile(self.excess[defined], share))
        high = self.value + float(np.quantile(draws - draws.mean(), share))
        return Interval(self.value, max(0.0, low), min(1.0, high), undefined)
