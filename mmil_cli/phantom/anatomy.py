"""One patient's chest: what stays the same over all studies of a patient, and its outlines."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmil_cli.phantom.canvas import Field, Points, smooth_curve


@dataclass(frozen=True)
class Anatomy:
    """Measures in millimetres about the carina; x is towards the patient's left, y downward.

    Attributes:
        half_width: of the thorax, inside the ribs, where it is widest.
        apex, domes, angles: y of the lung apex, the diaphragm domes (right, left), the costophrenic angles.
        heart_ratio: cardiothoracic ratio, heart width over the inner width of the thorax.
        depth: front to back, of soft tissue and lung together.
        fat: thickness of the chest wall beyond the ribs.
        breast: size of the breast shadows, 0 for none.
        seed: of all that is the patient's own (vessels, gas, ribs).
    """

    half_width: float
    apex: float
    domes: tuple[float, float]
    angles: tuple[float, float]
    heart_ratio: float
    heart_shift: float
    knob: float
    depth: float
    fat: float
    breast: float
    clavicle: float
    bone: float
    curve: float
    female: bool
    age: int
    seed: int

    def dome(self, sign: int) -> float:
        """y of the diaphragm on a side."""
        return self.domes[0 if sign < 0 else 1]

    def angle(self, sign: int) -> float:
        """y of the costophrenic angle on a side."""
        return self.angles[0 if sign < 0 else 1]


def sample_anatomy(rng: np.random.Generator, *, seed: int) -> Anatomy:
    """A patient."""
    female = bool(rng.random() < 0.48)
    size = rng.normal(0.95 if female else 1.03, 0.04)
    habitus = float(np.clip(rng.gamma(3.0, 0.33), 0.3, 2.6))
    dome = float(rng.normal(98, 9) * size)
    left_dome = dome + float(rng.uniform(4, 13))
    return Anatomy(
        half_width=float(rng.normal(133, 5) * size),
        apex=float(rng.normal(-106, 5) * size),
        domes=(dome, left_dome),
        angles=(dome + float(rng.uniform(24, 36)), left_dome + float(rng.uniform(22, 32))),
        heart_ratio=float(rng.uniform(0.40, 0.475)),
        heart_shift=0.0,
        knob=float(rng.uniform(11, 18)),
        depth=float(190 + 45 * habitus),
        fat=float(7 + 15 * habitus),
        breast=float(rng.uniform(0.5, 1.0) * habitus) if female else 0.0,
        clavicle=float(rng.uniform(-14, 8)),
        bone=float(rng.uniform(0.75, 1.15)),
        curve=float(rng.normal(0, 4)),
        female=female,
        age=int(np.clip(rng.normal(60, 17), 19, 91)),
        seed=seed,
    )


def wall_points(anatomy: Anatomy, *, sign: int) -> Points:
    """The inner chest wall of one side, from the apex of the lung to the costophrenic angle."""
    width, top = anatomy.half_width, anatomy.apex
    widest = anatomy.angle(sign) - 45
    phi = np.linspace(0, np.pi / 2, 24)
    tip = 0.33 * width
    x = tip + (width - tip) * np.sin(phi) ** 0.88
    y = widest - (widest - top) * np.cos(phi) ** 0.92
    below = np.array([[width * 0.997, widest + 22], [width * 0.975, anatomy.angle(sign)]])
    points = np.concatenate([np.stack([x, y], axis=1), below])
    return points * np.array([sign, 1.0])


def diaphragm_points(anatomy: Anatomy, *, sign: int) -> Points:
    """The dome of one side, from the costophrenic angle to the midline."""
    width, top, low = 0.975 * anatomy.half_width, anatomy.dome(sign), anatomy.angle(sign)
    peak = 0.47 * width
    x = np.linspace(width, 0.0, 28)
    outward = np.clip((x - peak) / (width - peak), 0, 1)
    inward = np.clip((peak - x) / peak, 0, 1)
    y = top + (low - top) * outward**2.3 + 17 * inward**2
    return np.stack([sign * x, y], axis=1)


def lung_outline(anatomy: Anatomy, *, sign: int) -> Points:
    """The closed outline of a lung, reaching under the mediastinum to the midline."""
    width, top = anatomy.half_width, anatomy.apex
    tip = [(sign * 0.02 * width, top + 70), (sign * 0.15 * width, top + 26), (sign * 0.23 * width, top + 6)]
    medial = smooth_curve([*tip, (sign * 0.33 * width, top)], steps=5)[:-1]
    return np.concatenate([medial, wall_points(anatomy, sign=sign), diaphragm_points(anatomy, sign=sign)])


def wall_at(anatomy: Anatomy, y: Field, *, sign: int) -> Field:
    """Half width of the inner chest at heights y."""
    points = wall_points(anatomy, sign=sign)
    return np.interp(y, points[:, 1], np.abs(points[:, 0]), left=1.0).astype(np.float32)


def diaphragm_at(anatomy: Anatomy, x: Field, *, sign: int) -> Field:
    """y of the diaphragm at distances x."""
    points = diaphragm_points(anatomy, sign=sign)[::-1]
    return np.interp(sign * x, sign * points[:, 0], points[:, 1]).astype(np.float32)


def heart_borders(anatomy: Anatomy) -> tuple[float, float]:
    """x of the right and of the left border of the heart."""
    width = 2 * anatomy.half_width * anatomy.heart_ratio
    right = -(28 + 0.20 * (width - 80)) + anatomy.heart_shift
    return right, right + width


def heart_outline(anatomy: Anatomy) -> Points:
    """The closed outline of the heart."""
    right, left = heart_borders(anatomy)
    floor = max(anatomy.domes) + 14
    shift = anatomy.heart_shift
    low = floor - 24
    control = [
        (-20 + shift, -4),
        (right * 0.80, 22),
        (right, 0.58 * low),
        (right * 0.86, low + 2),
        (right * 0.30, floor + 10),
        (left * 0.62, floor + 12),
        (left * 0.93, low + 12),
        (left * 0.995, low - 10),
        (left * 0.93, 0.62 * low),
        (left * 0.74, 0.34 * low),
        (left * 0.50 + 4, 14),
        (32 + shift, -2),
    ]
    return smooth_curve(control, steps=8, closed=True)


def mediastinum_outline(anatomy: Anatomy) -> Points:
    """The closed outline above the heart: vena cava, aortic knob, pulmonary artery."""
    knob, shift = anatomy.knob, anatomy.heart_shift
    bottom = max(anatomy.domes) + 60
    right = [
        (-34, anatomy.apex - 60),
        (-27, anatomy.apex + 8),
        (-24, -55),
        (-25 + shift, -20),
        (-23 + shift, 20),
    ]
    spine = [(-20, bottom * 0.6), (-21, bottom), (21, bottom), (21, bottom * 0.6)]
    left = [
        (30 + shift, 22),
        (33 + shift, 4),
        (25 + shift, -10),
        (19 + knob + shift, -24),
        (20 + knob + shift, -38),
        (23 + shift, -50),
        (25, anatomy.apex + 12),
        (34, anatomy.apex - 60),
    ]
    return smooth_curve([*right, *spine, *left], steps=6, closed=True)


def torso_outlines(anatomy: Anatomy) -> list[Points]:
    """Trunk with neck and shoulders, and the two arms."""
    wall, top = anatomy.half_width + 14 + anatomy.fat, anatomy.apex
    shoulder = anatomy.half_width + 48 + 0.3 * anatomy.fat
    half = [
        (52, top - 120),
        (50, top - 58),
        (66 + 0.4 * anatomy.fat, top - 32),
        (shoulder - 22, top - 4),
        (shoulder + 8, top + 26),
        (shoulder + 2, top + 70),
        (wall + 5, top + 108),
        (wall, top + 150),
        (wall + 2, 80),
        (wall + 0.25 * anatomy.fat, 330),
    ]
    trunk = smooth_curve([*half, *[(-x, y) for x, y in half[::-1]]], steps=6, closed=True)
    return [trunk, *(arm_outline(anatomy, sign=sign) for sign in (-1, 1))]


def arm_outline(anatomy: Anatomy, *, sign: int) -> Points:
    """The upper arm of one side."""
    shoulder = anatomy.half_width + 44 + 0.3 * anatomy.fat
    breadth = 34 + 0.35 * anatomy.fat
    inner = [(shoulder - 8, anatomy.apex + 40), (shoulder + 12, 0), (shoulder + 26 + 0.4 * anatomy.fat, 190)]
    outer = [(x + 2 * breadth * f, y) for (x, y), f in zip(inner[::-1], (0.9, 1.0, 0.62), strict=True)]
    curve = smooth_curve([*inner, *outer], steps=6, closed=True)
    return curve * np.array([sign, 1.0])


def zone_centre(anatomy: Anatomy, *, sign: int, zone: str, place: tuple[float, float]) -> NDArray[np.float64]:
    """A point within a zone of a lung, clear of the mediastinum where the zone is not behind the heart."""
    top, low = anatomy.apex, anatomy.dome(sign)
    spans = {"apical": (0.10, 0.20), "upper": (0.20, 0.34), "mid": (0.46, 0.62), "lower": (0.74, 0.88)}
    spans |= {"basal": (0.86, 0.93), "retrocardiac": (0.70, 0.86), "perihilar": (0.48, 0.6)}
    first, last = spans[zone]
    y = top + (low - top) * (first + (last - first) * place[1])
    wall = float(wall_at(anatomy, np.array(y, dtype=np.float32), sign=sign))
    inner = _inner_border(anatomy, sign=sign, y=y)
    if zone == "retrocardiac":
        return np.array([sign * (26 + 0.35 * (inner - 26) * (0.4 + place[0])), y])
    x = inner + (wall - inner) * (0.28 + 0.42 * place[0])
    return np.array([sign * x, y])


def _inner_border(anatomy: Anatomy, *, sign: int, y: float) -> float:
    if y < 10:
        return 30.0
    outline = heart_outline(anatomy)
    near = outline[np.abs(outline[:, 1] - y) < 14]
    return float(max(30.0, (near[:, 0] * sign).max(initial=30.0)))
