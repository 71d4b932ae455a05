"""Bone along the beam, in millimetres: ribs, clavicles, scapulae, spine and arms."""

import numpy as np

from mmil_cli.phantom.anatomy import Anatomy, wall_at
from mmil_cli.phantom.canvas import Canvas, Field, Points, ribbon, smooth_curve

NUM_POSTERIOR = 11
NUM_ANTERIOR = 6
POSTERIOR_MM = 7.5
ANTERIOR_MM = 4.0
GIRDLE_MM = 13.0
SPINE_MM = 9.0

Shape = tuple[Points, int]


def bone_thickness(canvas: Canvas, *, anatomy: Anatomy, turn_mm: float) -> Field:
    """Thickness of bone over the film; `turn_mm` moves front and back apart as a turned patient does."""
    rng = np.random.default_rng([anatomy.seed, 11])
    spine = canvas.paint(_vertebrae(anatomy, turn_mm=turn_mm, rng=rng)) * np.float32(SPINE_MM)
    posterior = canvas.paint(_posterior_ribs(anatomy, rng=rng)) * np.float32(POSTERIOR_MM)
    anterior = canvas.paint(_anterior_ribs(anatomy, rng=rng)) * np.float32(ANTERIOR_MM)
    girdle = canvas.paint(_girdle(anatomy, turn_mm=turn_mm)) * np.float32(GIRDLE_MM)
    return (posterior + anterior + girdle + spine) * np.float32(anatomy.bone)


def _shell(
    centre: Points, *, half_width: float, taper: float = 1.0, levels: tuple[int, int] = (235, 160)
) -> list[Shape]:
    """A tube as the beam sees it: a bright rim about a paler marrow."""
    widths = half_width * np.linspace(1.0, taper, len(centre))
    rim = ribbon(centre, half_width=widths)
    marrow = ribbon(centre, half_width=np.maximum(widths - 1.3, 0.3))
    return [(rim, levels[0]), (marrow, levels[1])]


def _rib_start(anatomy: Anatomy, index: int) -> float:
    step = (max(anatomy.domes) + 14 - anatomy.apex) / (NUM_POSTERIOR - 1)
    return anatomy.apex + 4 + step * index


def _lateral(anatomy: Anatomy, index: int, *, sign: int) -> tuple[float, float]:
    """Where a rib passes the side of the chest."""
    y = _rib_start(anatomy, index) + 16 + 38 * min(1.0, (index + 1) / 4)
    return float(wall_at(anatomy, np.array(y, dtype=np.float32), sign=sign)) + 3.0, y


def _posterior_ribs(anatomy: Anatomy, *, rng: np.random.Generator) -> list[Shape]:
    shapes: list[Shape] = []
    for sign in (-1, 1):
        for index in range(NUM_POSTERIOR):
            start = _rib_start(anatomy, index) + rng.normal(0, 1.2)
            side, y = _lateral(anatomy, index, sign=sign)
            control = [
                (19.0, start),
                (0.38 * side, start - 3 - 0.4 * index),
                (0.74 * side, start + 0.34 * (y - start)),
            ]
            control += [(0.95 * side, start + 0.72 * (y - start)), (side, y + 4)]
            whole = index < NUM_POSTERIOR - 2
            curve = smooth_curve(control if whole else control[:-2], steps=6) * np.array([sign, 1.0])
            shapes += _shell(curve, half_width=rng.normal(5.6, 0.3), taper=1.12 if whole else 0.5)
    return shapes


def _anterior_ribs(anatomy: Anatomy, *, rng: np.random.Generator) -> list[Shape]:
    shapes: list[Shape] = []
    for sign in (-1, 1):
        for index in range(NUM_ANTERIOR):
            side, y = _lateral(anatomy, index, sign=sign)
            drop = 12 + 7.0 * index + rng.normal(0, 1.5)
            end = 0.36 + 0.03 * index
            control = [
                (side, y),
                (0.9 * side, y + 0.4 * drop),
                (0.66 * side, y + 0.86 * drop),
                (end * side, y + drop),
            ]
            curve = smooth_curve(control, steps=6) * np.array([sign, 1.0])
            shapes += _shell(curve, half_width=rng.normal(6.3, 0.4), taper=1.15, levels=(210, 140))
    return shapes


def _girdle(anatomy: Anatomy, *, turn_mm: float) -> list[Shape]:
    shapes: list[Shape] = []
    width, top = anatomy.half_width, anatomy.apex
    shoulder = width + 44 + 0.3 * anatomy.fat
    for sign in (-1, 1):
        mirror = np.array([sign, 1.0])
        blade = [
            (width * 0.93, top + 22),
            (width * 0.97, top + 70),
            (width + 8, top + 128),
            (width + 18, top + 128),
        ]
        blade += [(width + 22, top + 80), (shoulder - 20, top + 34), (shoulder - 28, top + 14)]
        shapes.append((smooth_curve(blade, closed=True) * mirror, 52))
        shapes.append((ribbon(smooth_curve(blade[:3]) * mirror, half_width=np.full(17, 1.2)), 95))
        arm = smooth_curve(
            [(shoulder + 4, top + 36), (shoulder + 26, 20), (shoulder + 40 + 0.6 * anatomy.fat, 190)]
        )
        shapes += _shell(arm * mirror, half_width=12.0, levels=(215, 130))
        shapes.append((_disc((shoulder - 2, top + 28), radius=22.0) * mirror, 150))
        shapes.append((_disc((shoulder - 2, top + 28), radius=20.0) * mirror, 118))
        medial = top + 42 + anatomy.clavicle
        collar = [
            (9.0, medial + 3),
            (38.0, medial - 3),
            (0.58 * width, medial - 18),
            (0.9 * width, medial - 27),
        ]
        collar += [(shoulder - 14, medial - 24)]
        shift = np.array([turn_mm, 0.0])
        shapes += _shell(smooth_curve(collar) * mirror + shift, half_width=6.6, taper=0.85, levels=(225, 150))
    return shapes


def _disc(centre: tuple[float, float], *, radius: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.array(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _vertebrae(anatomy: Anatomy, *, turn_mm: float, rng: np.random.Generator) -> list[Shape]:
    shapes: list[Shape] = []
    y = anatomy.apex - 70.0
    while y < max(anatomy.domes) + 170:
        scale = 1 + 0.0012 * (y - anatomy.apex)
        tall, half = 20.5 * scale * rng.uniform(0.95, 1.04), 16.0 * scale * rng.uniform(0.96, 1.04)
        x = anatomy.curve * np.sin(y / 120) - 0.4 * turn_mm
        body = [
            (-half, 0),
            (-half * 0.88, tall * 0.45),
            (-half, tall * 0.9),
            (half, tall * 0.9),
            (half * 0.88, tall * 0.45),
        ]
        outline = np.array([*body, (half, 0.0)]) + np.array([x, y])
        shapes += [(outline, 165), ((outline - [x, y + tall * 0.45]) * 0.9 + [x, y + tall * 0.45], 140)]
        shapes += [(_disc((x + side * half * 0.55, y + tall * 0.36), radius=3.2), 185) for side in (-1, 1)]
        spinous = smooth_curve([(x - turn_mm, y + tall * 0.5), (x - 1.3 * turn_mm, y + tall * 0.95)])
        shapes.append((ribbon(spinous, half_width=np.linspace(1.6, 3.0, len(spinous))), 205))
        y += tall * 1.04
    return shapes
