"""The closed set of findings, and one finding as the plan of a study holds it."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be found on a generated film."""

    EFFUSION = "pleural effusion"
    PNEUMOTHORAX = "pneumothorax"
    CONSOLIDATION = "consolidation"
    EDEMA = "edema"
    CARDIOMEGALY = "cardiomegaly"
    ATELECTASIS = "atelectasis"
    NODULE = "nodule"
    PACEMAKER = "pacemaker"
    CENTRAL_LINE = "central line"
    ENDOTRACHEAL_TUBE = "endotracheal tube"
    NASOGASTRIC_TUBE = "nasogastric tube"


class Side(StrEnum):
    """The patient's side: the patient's right is on the left of the picture."""

    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"
    MIDLINE = "midline"

    @property
    def sign(self) -> int:
        """+1 where the side lies to the right of the picture, -1 to the left, 0 where it has no side."""
        return {Side.LEFT: 1, Side.RIGHT: -1}.get(self, 0)

    @property
    def parts(self) -> tuple["Side", ...]:
        """The sides on which something is drawn."""
        return (Side.RIGHT, Side.LEFT) if self is Side.BILATERAL else (self,)


class Zone(StrEnum):
    """Where in the chest."""

    APICAL = "apical"
    UPPER = "upper"
    MID = "mid"
    LOWER = "lower"
    BASAL = "basal"
    RETROCARDIAC = "retrocardiac"
    PERIHILAR = "perihilar"
    CARDIAC = "cardiac"
    CENTRAL = "central"


DEVICES = frozenset({Kind.PACEMAKER, Kind.CENTRAL_LINE, Kind.ENDOTRACHEAL_TUBE, Kind.NASOGASTRIC_TUBE})

CHEXPERT_COLUMNS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)

CATEGORY = {
    Kind.EFFUSION: "Pleural Effusion",
    Kind.PNEUMOTHORAX: "Pneumothorax",
    Kind.CONSOLIDATION: "Consolidation",
    Kind.EDEMA: "Edema",
    Kind.CARDIOMEGALY: "Cardiomegaly",
    Kind.ATELECTASIS: "Atelectasis",
    Kind.NODULE: "Lung Lesion",
    **dict.fromkeys(DEVICES, "Support Devices"),
}


@dataclass(frozen=True)
class Finding:
    """One finding of a study, the same on all its films.

    Attributes:
        severity: 0 (just visible) to 1.
        diameter_mm: of a nodule; 0 for all others.
        place: where within its zone, each in [0, 1] (lateral, downward).
        seed: of its texture and shape.
    """

    kind: Kind
    side: Side
    zone: Zone
    severity: float
    diameter_mm: float
    place: tuple[float, float]
    seed: int

    @property
    def size(self) -> str:
        """The word, or the measure, that a reader would use; empty for devices."""
        if self.kind in DEVICES:
            return ""
        if self.kind is Kind.NODULE:
            return f"{self.diameter_mm:.0f} mm"
        words = SIZE_WORDS.get(self.kind, ("mild", "moderate", "severe"))
        return words[min(2, int(self.severity * 3))]


SIZE_WORDS = {
    Kind.EFFUSION: ("small", "moderate", "large"),
    Kind.PNEUMOTHORAX: ("small", "moderate", "large"),
    Kind.CONSOLIDATION: ("patchy", "focal", "dense"),
    Kind.ATELECTASIS: ("minimal", "mild", "moderate"),
}
