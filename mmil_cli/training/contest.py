"""Which validation of a run was the best, and whether it has gone on for too long without a better one."""

import math
from dataclasses import dataclass


@dataclass(kw_only=True)
class Contest:
    """Validations compared by one metric.

    Attributes:
        metric: its name among the metrics; lower is better for `loss`, higher for all others.
        patience: validations without a better one after which a run ends; 0 for any number.
        best: the best value so far; None before the first.
        since: validations since then.
    """

    metric: str
    patience: int = 0
    best: float | None = None
    since: int = 0

    def enter(self, metrics: dict[str, float]) -> bool:
        """Takes part with a validation, and says whether it is the best; one that is undefined never is."""
        value = metrics.get(self.metric, math.nan)
        if not math.isnan(value) and (self.best is None or self._is_better(value)):
            self.best, self.since = value, 0
            return True
        self.since += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether the patience is used up."""
        return 0 < self.patience <= self.since

    def _is_better(self, value: float) -> bool:
        assert self.best is not None
        return value < self.best if self.metric == "loss" else value > self.best
