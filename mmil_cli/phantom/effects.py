"""All findings of a film together: what they add, and the mask of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mmil_cli.phantom.anatomy import zone_centre
from mmil_cli.phantom.canvas import Canvas, Field, Stroke, ribbon
from mmil_cli.phantom.devices import device_attenuation
from mmil_cli.phantom.difficulty import Settings
from mmil_cli.phantom.findings import DEVICES, Finding, Kind, Side
from mmil_cli.phantom.opacities import (
    Chest,
    bands,
    collapsed_outline,
    consolidation,
    edema,
    effusion,
    nodule_chord,
)
from mmil_cli.phantom.vessels import bronchograms, hilum

PLEURA = 0.09  # attenuation of the visceral line, log units


@dataclass(frozen=True)
class Part:
    """The mask of one finding on one side; `index` is the finding's place in the study."""

    index: int
    side: Side
    mask: NDArray[np.bool_]


@dataclass
class Effects:
    """What the findings of a film change, gathered one finding at a time; all fields are [H, W].

    Attributes:
        water: share of the air in the lung that gives way to water.
        free: share of the chest that holds free air and no lung.
        tissue_mm: tissue added within the lung.
        added: attenuation of devices and lines, log units.
        upper_vessels: factor on the width of the upper vessels.
    """

    water: Field
    free: Field
    tissue_mm: Field
    added: Field
    upper_vessels: float
    parts: list[Part]

    def fill(self, fraction: Field) -> None:
        """Water takes a fraction of the air that is left."""
        self.water = 1 - (1 - self.water) * (1 - fraction)


@dataclass(frozen=True)
class Scene:
    """What every finding is drawn into."""

    chest: Chest
    lungs: dict[int, Field]
    visible: Field
    contrast: float

    @property
    def canvas(self) -> Canvas:
        """The film's geometry."""
        return self.chest.canvas


def effects_of(
    chest: Chest, *, findings: Sequence[Finding], lungs: dict[int, Field], visible: Field, settings: Settings
) -> Effects:
    """Draw all findings but those of the heart, which the anatomy carries."""
    scene = Scene(chest, lungs, visible, settings.contrast)
    zeros = np.zeros_like(visible)
    effects = Effects(zeros, zeros, zeros.copy(), zeros.copy(), 1.0, [])
    for index, finding in enumerate(findings):
        if finding.kind in DEVICES:
            _device(scene, effects, finding=finding, index=index)
        elif finding.kind is not Kind.CARDIOMEGALY:
            for side in finding.side.parts:
                mask = DRAW[finding.kind](scene, effects, finding, side.sign)
                effects.parts.append(Part(index, side, mask))
    return effects


def _device(scene: Scene, effects: Effects, *, finding: Finding, index: int) -> None:
    drawn = device_attenuation(scene.canvas, anatomy=scene.chest.anatomy, finding=finding)
    effects.added += drawn * np.float32(0.5 + 0.5 * scene.contrast)
    effects.parts.append(Part(index, finding.side, drawn > 0.12))


def _draw_effusion(scene: Scene, effects: Effects, finding: Finding, sign: int) -> NDArray[np.bool_]:
    fraction = scene.canvas.enlarge(effusion(scene.chest, finding=finding, sign=sign))
    effects.fill(fraction * np.float32(scene.contrast))
    return (fraction > 0.4) & (scene.lungs[sign] * scene.visible > 0.5)


def _draw_consolidation(scene: Scene, effects: Effects, finding: Finding, sign: int) -> NDArray[np.bool_]:
    anatomy = scene.chest.anatomy
    fraction = scene.canvas.enlarge(consolidation(scene.chest, finding=finding, sign=sign))
    rng = np.random.default_rng([finding.seed, 5])
    centre = zone_centre(anatomy, sign=sign, zone=finding.zone, place=finding.place)
    start = centre + 0.45 * (hilum(anatomy, sign=sign) - centre)
    air = scene.canvas.lines(bronchograms(rng, start=start, towards=centre))
    effects.fill(fraction * np.float32(scene.contrast) * (1 - 0.4 * air))
    mask: NDArray[np.bool_] = (fraction > 0.5 * fraction.max()) & (scene.lungs[sign] > 0.5)
    return mask & (scene.visible > 0.5)


def _draw_edema(scene: Scene, effects: Effects, finding: Finding, sign: int) -> NDArray[np.bool_]:
    fraction = scene.canvas.enlarge(edema(scene.chest, finding=finding, sign=sign))
    effects.fill(fraction * np.float32(scene.contrast))
    effects.tissue_mm += scene.canvas.lines(_septal_lines(scene, finding, sign)) * np.float32(
        5 * scene.contrast
    )
    effects.upper_vessels = max(effects.upper_vessels, 1.25 + 0.5 * finding.severity * scene.contrast)
    return (fraction > 0.35 * fraction.max()) & (scene.lungs[sign] * scene.visible > 0.5)


def _septal_lines(scene: Scene, finding: Finding, sign: int) -> list[Stroke]:
    """Kerley B lines: short, horizontal, at the side of the bases."""
    anatomy = scene.chest.anatomy
    rng = np.random.default_rng([finding.seed, 7, sign + 1])
    strokes = []
    for _ in range(int(4 + 14 * finding.severity)):
        y = anatomy.dome(sign) - rng.uniform(-8, 48)
        outer = 0.97 * anatomy.half_width
        ends = np.array([[outer - rng.uniform(9, 17), y + rng.uniform(-1, 1)], [outer, y]]) * [sign, 1]
        strokes.append(Stroke(ends, 0.9, 200))
    return strokes


def _draw_atelectasis(scene: Scene, effects: Effects, finding: Finding, sign: int) -> NDArray[np.bool_]:
    lines = bands(finding, anatomy=scene.chest.anatomy, sign=sign)
    taper = np.sqrt(np.linspace(0.02, 1, len(lines[0])) * np.linspace(1.6, 0.3, len(lines[0])))
    half = (3.2 + 3.4 * finding.severity) * taper
    sharp = scene.canvas.fill([ribbon(line, half_width=half) for line in lines])
    drawn = ndimage.gaussian_filter(sharp, 1.6 / scene.canvas.spacing_mm, truncate=2.5)
    effects.tissue_mm += drawn * np.float32((30 + 26 * finding.severity) * scene.contrast)
    return (drawn > 0.25) & (scene.lungs[sign] > 0.5)


def _draw_nodule(scene: Scene, effects: Effects, finding: Finding, sign: int) -> NDArray[np.bool_]:
    chord = nodule_chord(scene.canvas, anatomy=scene.chest.anatomy, finding=finding, sign=sign)
    effects.tissue_mm += chord * np.float32(2.1 * scene.contrast)
    return chord > 0


def _draw_pneumothorax(scene: Scene, effects: Effects, finding: Finding, sign: int) -> NDArray[np.bool_]:
    outline = collapsed_outline(scene.chest.anatomy, finding=finding, sign=sign)
    lung = scene.canvas.fill([outline])
    free = np.maximum(scene.lungs[sign] - lung, 0)
    edge = scene.canvas.lines([Stroke(np.concatenate([outline, outline[:1]]), 1.5, 255)])
    effects.free = np.maximum(effects.free, free * np.float32(0.55 + 0.45 * scene.contrast))
    near = scene.canvas.enlarge(ndimage.maximum_filter(scene.canvas.reduce(free), 3)) > 0.2
    effects.added += edge * near * scene.lungs[sign] * scene.visible * np.float32(PLEURA * scene.contrast)
    effects.fill(lung * np.float32(0.22 * finding.severity * scene.contrast))
    return (free > 0.5) & (scene.visible > 0.5)


DRAW = {
    Kind.EFFUSION: _draw_effusion,
    Kind.CONSOLIDATION: _draw_consolidation,
    Kind.EDEMA: _draw_edema,
    Kind.ATELECTASIS: _draw_atelectasis,
    Kind.NODULE: _draw_nodule,
    Kind.PNEUMOTHORAX: _draw_pneumothorax,
}
