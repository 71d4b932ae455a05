"""How hard the generated studies are: one knob, and everything that it turns."""

from dataclasses import dataclass
from enum import StrEnum


class Difficulty(StrEnum):
    """How hard findings are to see and reports are to read."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


@dataclass(frozen=True)
class Settings:
    """What a difficulty sets.

    Attributes:
        contrast: factor on the attenuation that a finding adds or takes away.
        noise: factor on quantum noise, and on how much exposure and contrast vary.
        pose: factor on rotation, shift and scale of the patient on the film.
        severity: range from which the severity (0 to 1) of a finding is drawn.
        nodule_mm: range of nodule diameters.
        distractors: expected number of markers, leads and wires on a film.
        uncertainty: probability that a finding is worded with doubt.
        plain: probability that the plainest wording of a finding is taken.
        negations: probability that an absent finding is named as absent.
    """

    contrast: float
    noise: float
    pose: float
    severity: tuple[float, float]
    nodule_mm: tuple[float, float]
    distractors: float
    uncertainty: float
    plain: float
    negations: float


SETTINGS = {
    Difficulty.EASY: Settings(1.0, 0.6, 0.6, (0.35, 1.0), (20.0, 30.0), 0.8, 0.06, 0.6, 0.45),
    Difficulty.MEDIUM: Settings(0.8, 1.0, 1.0, (0.15, 0.95), (12.0, 28.0), 1.6, 0.14, 0.3, 0.55),
    Difficulty.HARD: Settings(0.6, 1.7, 1.4, (0.0, 0.8), (6.0, 20.0), 2.6, 0.24, 0.1, 0.65),
}
