"""A film of one patient: thicknesses along the beam, attenuation, exposure, display, and masks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mmil_cli.phantom.anatomy import (
    Anatomy,
    diaphragm_at,
    heart_outline,
    lung_outline,
    mediastinum_outline,
    torso_outlines,
    wall_at,
)
from mmil_cli.phantom.bones import bone_thickness
from mmil_cli.phantom.canvas import COARSE, Canvas, Field, smooth_noise
from mmil_cli.phantom.difficulty import Settings
from mmil_cli.phantom.distractors import distractor_attenuation, markers
from mmil_cli.phantom.effects import Effects, Part, effects_of
from mmil_cli.phantom.findings import Finding, Kind
from mmil_cli.phantom.lateral import lateral_attenuation
from mmil_cli.phantom.nuisance import Technique, develop, expose, make_canvas
from mmil_cli.phantom.opacities import Chest
from mmil_cli.phantom.vessels import airways, vessel_thickness

WATER = 0.0185  # attenuation per mm at chest energies
BONE = 0.034  # what bone adds to that
AERATED = 0.76  # share of a normal lung that is air


@dataclass(frozen=True)
class Rendered:
    """A film and its truth: `film` is float [H, W], 0 black to 1 white, with some values outside."""

    film: Field
    parts: tuple[Part, ...]
    spacing_mm: float


@dataclass(frozen=True)
class Masks:
    """Coverage of the organs on the whole film."""

    lungs: dict[int, Field]
    heart: Field
    mediastinum: Field
    body: Field


def adapted(anatomy: Anatomy, *, findings: Sequence[Finding], technique: Technique) -> Anatomy:
    """The anatomy as findings and technique change it: heart size, domes, shift of the mediastinum."""
    ratio, shift, domes = anatomy.heart_ratio, 0.0, list(anatomy.domes)
    for finding in findings:
        if finding.kind is Kind.CARDIOMEGALY:
            ratio = 0.545 + 0.125 * finding.severity
        if finding.kind is Kind.ATELECTASIS and finding.side.sign:
            domes[0 if finding.side.sign < 0 else 1] -= 4 + 12 * finding.severity
        if finding.kind in (Kind.PNEUMOTHORAX, Kind.EFFUSION) and finding.severity > 0.75:
            shift -= 14 * (finding.severity - 0.6) * finding.side.sign
    ratio *= technique.magnification if ratio < 0.5 else 1.0
    return replace(anatomy, heart_ratio=ratio, heart_shift=shift, domes=(domes[0], domes[1]))


def render_frontal(
    anatomy: Anatomy, *, findings: Sequence[Finding], technique: Technique, settings: Settings, side: int
) -> Rendered:
    """One frontal film; the same arguments give the same bytes."""
    canvas = make_canvas(technique, side=side)
    anatomy = adapted(anatomy, findings=findings, technique=technique)
    chest = Chest.over(canvas, anatomy=anatomy)
    masks = organ_masks(canvas, anatomy=anatomy)
    effects = effects_of(
        chest, findings=findings, lungs=masks.lungs, visible=visible_lung(masks), settings=settings
    )
    attenuation = _attenuation(chest, masks=masks, effects=effects, turn_mm=technique.turn_mm)
    parts = [*effects.parts, *_heart_parts(findings, masks=masks)]
    attenuation += distractor_attenuation(canvas, anatomy=anatomy, settings=settings, seed=technique.seed)
    signal = expose(canvas, attenuation=attenuation, technique=technique)
    film = develop(canvas, signal=signal, body=masks.body, technique=technique)
    film = markers(canvas, film=film, technique=technique)
    return Rendered(film, tuple(part for part in parts if part.mask.any()), canvas.spacing_mm)


def render_lateral(
    anatomy: Anatomy, *, findings: Sequence[Finding], technique: Technique, settings: Settings, side: int
) -> Rendered:
    """One lateral film; its truth has no masks."""
    canvas = make_canvas(replace(technique, field_mm=0.9 * technique.field_mm), side=side)
    anatomy = adapted(anatomy, findings=findings, technique=technique)
    attenuation, body = lateral_attenuation(canvas, anatomy=anatomy, findings=findings, settings=settings)
    signal = expose(canvas, attenuation=attenuation, technique=technique)
    film = develop(canvas, signal=signal, body=body, technique=technique)
    return Rendered(markers(canvas, film=film, technique=technique), (), canvas.spacing_mm)


def organ_masks(canvas: Canvas, *, anatomy: Anatomy) -> Masks:
    """Coverage of lungs, heart, mediastinum and body."""
    return Masks(
        lungs={sign: canvas.fill([lung_outline(anatomy, sign=sign)]) for sign in (-1, 1)},
        heart=canvas.fill([heart_outline(anatomy)]),
        mediastinum=canvas.fill([mediastinum_outline(anatomy)]),
        body=canvas.fill(torso_outlines(anatomy)),
    )


def visible_lung(masks: Masks) -> Field:
    """Lung that no mediastinum lies over."""
    return (masks.lungs[-1] + masks.lungs[1]) * (1 - masks.mediastinum)


def _attenuation(chest: Chest, *, masks: Masks, effects: Effects, turn_mm: float) -> Field:
    canvas, anatomy = chest.canvas, chest.anatomy
    space = _chest_space(chest, masks=masks)
    solid = 1 - (1 - effects.water) * np.float32(AERATED) * (1 - effects.free) - effects.free
    air = space * (1 - solid)
    vessels = vessel_thickness(canvas, anatomy=anatomy, upper_factor=effects.upper_vessels)
    room = np.minimum(air / 26, 1) * (1 - effects.free)
    water = _tissue(chest, masks=masks) - air + np.float32(1.9) * vessels * room
    water += effects.tissue_mm * np.minimum(space / 30, 1)
    water -= _air_ways_and_gut(chest)
    bone = bone_thickness(canvas, anatomy=anatomy, turn_mm=turn_mm)
    total = np.float32(WATER) * np.maximum(water, 0) + np.float32(BONE) * bone * np.minimum(
        masks.body + 0.1, 1
    )
    return total + effects.added


def _tissue(chest: Chest, *, masks: Masks) -> Field:
    """Body along the beam as if it held no air, mm."""
    anatomy, x, y = chest.anatomy, chest.x, chest.y
    half = anatomy.half_width + 20 + anatomy.fat
    trunk = anatomy.depth * np.sqrt(np.clip(1 - (np.abs(x) / (half * 1.08)) ** 2.6, 0.16, 1))
    neck = np.clip((y - anatomy.apex + 50) / 90, 0.0, 1.0)
    trunk = trunk * (0.62 + 0.38 * neck * neck * (3 - 2 * neck))
    trunk = trunk * (1 + 0.0009 * np.clip(y - 60, 0, 160))
    return chest.canvas.enlarge((trunk + _breasts(chest)).astype(np.float32)) * masks.body


def _breasts(chest: Chest) -> Field:
    anatomy = chest.anatomy
    total = np.zeros_like(chest.x)
    if not anatomy.breast:
        return total
    wide, tall = 52 + 12 * anatomy.breast, 44 + 16 * anatomy.breast
    for sign in (-1, 1):
        across = (sign * chest.x - 0.64 * anatomy.half_width) / wide
        down = (chest.y - anatomy.dome(sign) + 30 - 12 * anatomy.breast) / np.where(
            chest.y > anatomy.dome(sign) - 30, tall, 70
        )
        total += 34 * anatomy.breast**0.7 * np.clip(1 - across**2 - down**2, 0, 1) ** 0.75
    return total


def _chest_space(chest: Chest, *, masks: Masks) -> Field:
    """Lung along the beam, mm: what heart, mediastinum and diaphragm leave."""
    anatomy, canvas = chest.anatomy, chest.canvas
    total = np.zeros((canvas.height, canvas.width), dtype=np.float32)
    for sign in (-1, 1):
        total += canvas.enlarge(_depth(chest, sign=sign)) * masks.lungs[sign]
        total += canvas.enlarge(_recess(chest, sign=sign)) * (1 - masks.lungs[sign])
    heart = masks.heart * (0.34 + 0.42 * _interior(canvas, masks.heart, reach_mm=15))
    centre = masks.mediastinum * (0.42 + 0.55 * _interior(canvas, masks.mediastinum, reach_mm=7))
    hila = canvas.enlarge(_hila(chest))
    return total * (1 - heart) * (1 - centre) * (1 - hila) * (0.62 * min(anatomy.depth, 250) / 230 + 0.3)


def _depth(chest: Chest, *, sign: int) -> Field:
    anatomy = chest.anatomy
    wall = wall_at(anatomy, chest.y, sign=sign) + 4
    across = np.clip(np.abs(chest.x) / wall, 0, 1)
    height = np.clip((chest.y - anatomy.apex + 8) / 90, 0, 1)
    return (158 * np.sqrt(1 - across**2.6) * (0.25 + 0.75 * height**0.7)).astype(np.float32)


def _recess(chest: Chest, *, sign: int) -> Field:
    """Lung behind the dome of the diaphragm, seen faintly through the abdomen."""
    below = chest.y - diaphragm_at(chest.anatomy, chest.x, sign=sign)
    inside = (np.abs(chest.x) < chest.anatomy.half_width * 0.93) & (sign * chest.x > 12) & (below > -12)
    return (34 * np.exp(-np.maximum(below, 0) / 13) * inside).astype(np.float32)


def _hila(chest: Chest) -> Field:
    total = np.zeros_like(chest.x)
    for sign, y in ((-1, 14.0), (1, 3.0)):
        distance = np.hypot((chest.x - sign * 36 - chest.anatomy.heart_shift) / 13, (chest.y - y) / 24)
        total += 0.22 * np.exp(-(distance**2))
    return total.astype(np.float32)


def _interior(canvas: Canvas, mask: Field, *, reach_mm: float) -> Field:
    """0 at the edge of a mask to 1 inside it."""
    soft = ndimage.gaussian_filter(canvas.reduce(mask), reach_mm / canvas.spacing_mm / COARSE, truncate=2.5)
    return canvas.enlarge(np.clip(2 * soft - 1, 0, 1).astype(np.float32))


def _air_ways_and_gut(chest: Chest) -> Field:
    anatomy = chest.anatomy
    rng = np.random.default_rng([anatomy.seed, 31])
    tubes = chest.canvas.lines(airways(anatomy)) * np.float32(22)
    x, y = 58 + rng.uniform(-12, 14), anatomy.dome(1) + rng.uniform(19, 27)
    wide, tall = rng.uniform(16, 36), rng.uniform(7, 14)
    bubble = 52 * np.sqrt(np.clip(1 - ((chest.x - x) / wide) ** 2 - ((chest.y - y) / tall) ** 2, 0, 1))
    gas = smooth_noise(rng, shape=chest.x.shape, cells=(12, 26), weights=(9.0, 6.0))
    bowel = np.clip(gas - 8, 0, None) * np.clip((chest.y - max(anatomy.domes) - 45) / 40, 0, 1)
    return tubes + chest.canvas.enlarge((bubble + bowel).astype(np.float32))


def _heart_parts(findings: Sequence[Finding], *, masks: Masks) -> list[Part]:
    mask: NDArray[np.bool_] = masks.heart > 0.5
    return [Part(index, f.side, mask) for index, f in enumerate(findings) if f.kind is Kind.CARDIOMEGALY]
