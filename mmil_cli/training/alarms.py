"""Warnings of a run that goes nowhere, each told once, with what to do about it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

LINES = 3
"""Lines of the log in a row that must agree: one alone may be chance."""
AT_CHANCE = 0.01  # what the loss must lie below chance, as a share of it
COLLAPSED = 1e-3  # spread of features on the sphere
SETTLED_STEPS = 200

NEXT_STEP = {
    "chance": "see whether the reports belong to the films (mmil audit), or try another optim.lr",
    "gradient": "see whether it is frozen without wanting to be, or whether the score leaves it out",
    "collapse": "lower optim.lr, or raise score.temperature",
}


class Alarms:
    """Reads the lines of the log as they come.

    Nothing is told of chance and collapse before a model has had time to learn: a quarter of the run, or its
    warmup and 200 steps where that is less.

    Args:
        num_steps: of the run.
        warmup_steps: of them with rising learning rate.
    """

    def __init__(self, *, num_steps: int, warmup_steps: int) -> None:
        self.settled = min(warmup_steps + SETTLED_STEPS, max(num_steps // 4, warmup_steps))
        self.in_a_row: dict[str, int] = defaultdict(int)
        self.told: set[str] = set()

    def training(self, step: int, values: Mapping[str, float], gradients: Mapping[str, float]) -> list[str]:
        """What a line of training gives cause to tell.

        Args:
            step: of the line.
            values: `loss`, and where known `chance_loss`, `image_spread` and `text_spread`.
            gradients: norm for each tower that is trained.
        """
        causes = [*self._no_gradient(gradients)]
        if step > self.settled:
            causes += [*self._chance(values), *self._collapse(values)]
        return self._due(causes, lines=LINES)

    def validation(self, step: int, values: Mapping[str, float]) -> list[str]:
        """What a validation gives cause to tell: it is an average already, so one is enough."""
        return self._due(self._chance(values), lines=1) if step > self.settled else []

    def _chance(self, values: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        if "chance_loss" in values:
            loss, chance = values["loss"], values["chance_loss"]
            stays = loss > chance - AT_CHANCE * max(1.0, abs(chance))
            told = f"the loss stays at what guessing costs ({loss:.3f}, chance {chance:.3f})"
            yield "chance", f"{told}; {NEXT_STEP['chance']}" if stays else ""

    def _no_gradient(self, gradients: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        for name, norm in gradients.items():
            told = f"the {name} tower gets no gradient; {NEXT_STEP['gradient']}"
            yield f"{name} gradient", told if norm == 0 else ""

    def _collapse(self, values: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        for name, things in (("image", "films"), ("text", "sentences")):
            spread = values.get(f"{name}_spread", 1.0)
            told = (
                f"all {things} have nearly the same embedding (spread {spread:.1e}); {NEXT_STEP['collapse']}"
            )
            yield f"{name} collapse", told if spread < COLLAPSED else ""

    def _due(self, causes: Iterable[tuple[str, str]], *, lines: int) -> list[str]:
        """The warnings whose cause has lasted and that were not told before; no text is no cause."""
        due = []
        for key, text in causes:
            self.in_a_row[key] = self.in_a_row[key] + 1 if text else 0
            if self.in_a_row[key] >= lines and key not in self.told:
                self.told.add(key)
                due.append(text)
        return due
