"""What findings do to the lungs: how much of the air along the beam gives way to water."""

from dataclasses import dataclass

import numpy as np

from mmil_cli.phantom.anatomy import Anatomy, lung_outline, wall_at, zone_centre
from mmil_cli.phantom.canvas import Canvas, Field, Points, smooth_noise
from mmil_cli.phantom.findings import Finding, Zone
from mmil_cli.phantom.vessels import hilum


@dataclass(frozen=True)
class Chest:
    """The coarse grid over one patient, shared by all findings of a film."""

    canvas: Canvas
    anatomy: Anatomy
    x: Field
    y: Field

    @classmethod
    def over(cls, canvas: Canvas, *, anatomy: Anatomy) -> "Chest":
        """The coarse grid of a canvas over a patient."""
        x, y = canvas.coarse_grid
        return cls(canvas, anatomy, x, y)


def effusion(chest: Chest, *, finding: Finding, sign: int) -> Field:
    """Fluid with a meniscus that climbs along the chest wall, as a fraction of the air [coarse grid]."""
    low = chest.anatomy.angle(sign)
    height = effusion_height(finding.severity)
    lateral = np.clip(sign * chest.x / wall_at(chest.anatomy, chest.y, sign=sign), 0, 1)
    top = low - height * (0.34 + 0.66 * lateral**3)
    inside = sign * chest.x > -6
    fraction = _rise((chest.y - top) / np.float32(3.0 + 0.05 * height))
    return (0.97 * fraction * inside).astype(np.float32)


def effusion_height(severity: float) -> float:
    """Height of the fluid along the chest wall above the costophrenic angle, mm."""
    return 26 + 128 * severity**1.2


def consolidation(chest: Chest, *, finding: Finding, sign: int) -> Field:
    """A fluffy dense zone [coarse grid]."""
    centre = zone_centre(chest.anatomy, sign=sign, zone=finding.zone, place=finding.place)
    rng = np.random.default_rng(finding.seed)
    reach = consolidation_reach(finding)
    stretch = rng.uniform(0.85, 1.25)
    distance = np.hypot((chest.x - centre[0]) / (reach * stretch), (chest.y - centre[1]) * stretch / reach)
    cloud = smooth_noise(rng, shape=chest.x.shape, cells=(9, 20, 44), weights=(0.16, 0.13, 0.08))
    inside = sign * chest.x > 4
    shape = _rise((0.86 - distance + cloud) / np.float32(0.13))
    return ((0.5 + 0.4 * finding.severity) * shape * inside).astype(np.float32)


def consolidation_reach(finding: Finding) -> float:
    """Radius of a consolidation, mm."""
    narrow = 0.62 if finding.zone is Zone.RETROCARDIAC else 1.0
    return narrow * (24 + 26 * finding.severity)


def edema(chest: Chest, *, finding: Finding, sign: int) -> Field:
    """Perihilar haze that spreads with severity [coarse grid]."""
    rng = np.random.default_rng([finding.seed, sign + 1])
    centre = hilum(chest.anatomy, sign=sign) + np.array([sign * 26.0, 14.0])
    spread = 38 + 22 * finding.severity
    distance = np.hypot((chest.x - centre[0]) / spread, (chest.y - centre[1]) / (1.45 * spread))
    cloud = smooth_noise(rng, shape=chest.x.shape, cells=(14, 34, 70), weights=(0.16, 0.16, 0.12))
    inside = sign * chest.x > 0
    haze = np.exp(-(distance**2.4)) * (1 + cloud)
    return (np.clip((0.2 + 0.5 * finding.severity) * haze, 0, 0.92) * inside).astype(np.float32)


def bands(finding: Finding, *, anatomy: Anatomy, sign: int) -> list[Points]:
    """Plate-like atelectases: the centre lines of one to three bands."""
    rng = np.random.default_rng(finding.seed)
    centre = zone_centre(anatomy, sign=sign, zone=finding.zone, place=finding.place)
    half = 18 + 16 * finding.severity
    half = min(half, 20.0) if finding.zone is Zone.RETROCARDIAC else half
    lines = []
    for index in range(1 + int(finding.severity * 2.4)):
        tilt = sign * rng.uniform(0.05, 0.4)
        middle = centre + np.array([rng.normal(0, 4), -11.0 * index + rng.normal(0, 1.5)])
        t = np.linspace(-1, 1, 14)[:, None]
        sag = np.array([0.0, rng.uniform(-4, 4)]) * (1 - t**2)
        lines.append(middle + t * half * np.array([np.cos(tilt), np.sin(tilt)]) + sag)
    return lines


def nodule_chord(canvas: Canvas, *, anatomy: Anatomy, finding: Finding, sign: int) -> Field:
    """Millimetres of tissue through a slightly lobulated sphere, on the whole film."""
    centre = zone_centre(anatomy, sign=sign, zone=finding.zone, place=finding.place)
    column, row = canvas.to_pixels(centre[None, :])[0]
    radius = finding.diameter_mm / 2 / canvas.spacing_mm
    chord = np.zeros((canvas.height, canvas.width), dtype=np.float32)
    reach = int(radius * 1.4) + 2
    top, left = max(0, int(row) - reach), max(0, int(column) - reach)
    window = chord[top : int(row) + reach, left : int(column) + reach]
    down = np.arange(top, top + window.shape[0])[:, None] + 0.5 - row
    across = np.arange(left, left + window.shape[1])[None, :] + 0.5 - column
    rng = np.random.default_rng(finding.seed)
    angle = np.arctan2(down, across)
    lobes = 1 + 0.07 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.04 * np.sin(5 * angle + rng.uniform(0, 6))
    inside = np.maximum(0, 1 - (down**2 + across**2) / (radius * lobes) ** 2)
    window[:] = finding.diameter_mm * np.sqrt(inside)
    return chord


def collapsed_outline(anatomy: Anatomy, *, finding: Finding, sign: int) -> Points:
    """The outline of a lung that has come away from the chest wall."""
    outline = lung_outline(anatomy, sign=sign).copy()
    span = anatomy.angle(sign) - anatomy.apex
    height = np.clip((outline[:, 1] - anatomy.apex) / span, 0, 1)  # 0 apex, 1 base
    lateral = np.clip(sign * outline[:, 0] / anatomy.half_width, 0, 1)
    gap = (9 + 52 * finding.severity) * (0.25 + 0.75 * (1 - height)) * lateral
    drop = (16 + 62 * finding.severity) * np.clip(1 - 1.6 * height, 0, 1) ** 1.2
    outline[:, 0] -= sign * gap
    outline[:, 1] += drop
    return outline


def _rise(value: Field) -> Field:
    """A smooth step from 0 to 1."""
    return (1 / (1 + np.exp(-np.clip(value, -20, 20)))).astype(np.float32)
