"""The branching vessels and the airways of the lungs."""

import numpy as np
from numpy.typing import NDArray

from mmil_cli.phantom.anatomy import Anatomy
from mmil_cli.phantom.canvas import Canvas, Field, Points, Stroke, smooth_curve

THICKEST_MM = 15.0
THINNEST_MM = 0.75
GENERATIONS = 9

# First branches of a hilum: angle in degrees from the lateral direction, downward positive; diameter in mm.
BRANCHES = ((-74.0, 6.0), (-46.0, 6.2), (-14.0, 5.4), (16.0, 6.2), (44.0, 7.6), (64.0, 9.0), (82.0, 10.5))


def hilum(anatomy: Anatomy, *, sign: int) -> NDArray[np.float64]:
    """The centre of a hilum: the left one lies higher."""
    return np.array([sign * 33.0 + anatomy.heart_shift, 12.0 if sign < 0 else 2.0])


def vessel_thickness(canvas: Canvas, *, anatomy: Anatomy, upper_factor: float) -> Field:
    """Millimetres of blood along the beam; `upper_factor` widens the vessels above the hila."""
    trees = [_tree(anatomy, sign=sign) for sign in (-1, 1)]
    ends = np.concatenate([tree[0] for tree in trees])
    widths = np.concatenate([tree[1] for tree in trees])
    widths = np.where(ends[:, 3] < 0, widths * upper_factor, widths)
    order = np.argsort(widths, kind="stable")
    ends, widths = ends[order], widths[order]
    levels = np.minimum(255, np.rint(255 * widths / THICKEST_MM)).astype(np.int64)
    doubled = np.repeat(np.arange(len(ends)), 2)
    inner = np.tile([1.0, 0.55], len(ends))
    shade = np.tile([0.62, 1.0], len(ends))
    shades = np.rint(levels[doubled] * shade).astype(np.int64)
    return canvas.segments(ends[doubled], widths_mm=widths[doubled] * inner, levels=shades) * np.float32(
        THICKEST_MM
    )


def _tree(anatomy: Anatomy, *, sign: int) -> tuple[Points, NDArray[np.float64]]:
    """Straight pieces [n, 4] and their diameters [n], grown one generation at a time."""
    rng = np.random.default_rng([anatomy.seed, 23, sign + 1])
    angles = np.radians([angle for angle, _ in BRANCHES]) + rng.normal(0, 0.08, len(BRANCHES))
    widths = np.array([width for _, width in BRANCHES]) * rng.uniform(0.85, 1.1, len(BRANCHES))
    ends, diameters = [], []
    start = np.tile(hilum(anatomy, sign=sign), (len(BRANCHES), 1)) + rng.normal(0, 3.5, (len(BRANCHES), 2))
    for _ in range(GENERATIONS):
        length = (7.5 + 3.4 * widths) * rng.uniform(0.7, 1.3, len(widths))
        bend = rng.normal(0, 0.16, len(widths))
        half = start + _step(angles, length / 2, sign=sign)
        stop = half + _step(angles + bend, length / 2, sign=sign)
        ends += [np.concatenate([start, half], axis=1), np.concatenate([half, stop], axis=1)]
        diameters += [widths, widths * 0.94]
        start, angles, widths = _branch(rng, start=stop, angles=angles + bend, widths=widths)
    return np.concatenate(ends), np.concatenate(diameters)


def _step(angles: NDArray[np.float64], length: NDArray[np.float64], *, sign: int) -> Points:
    return np.stack([sign * np.cos(angles) * length, np.sin(angles) * length], axis=1)


def _branch(
    rng: np.random.Generator, *, start: Points, angles: NDArray[np.float64], widths: NDArray[np.float64]
) -> tuple[Points, NDArray[np.float64], NDArray[np.float64]]:
    """Each end gives a main and a side branch, thinner by Murray's law; the thinnest die out."""
    share = rng.uniform(0.62, 0.92, len(widths))
    turn = rng.choice([-1.0, 1.0], len(widths)) * rng.uniform(0.25, 0.75, len(widths))
    main, side = widths * share ** (1 / 3), widths * (1 - share) ** (1 / 3)
    angle = np.concatenate([angles - 0.3 * turn, angles + turn])
    width = np.concatenate([main, side]) * 0.9
    keep = (width > THINNEST_MM) & (rng.random(len(width)) < 0.93) & (np.abs(angle) < 1.9)
    return np.concatenate([start, start])[keep], angle[keep], width[keep]


def airways(anatomy: Anatomy) -> list[Stroke]:
    """Trachea and main bronchi as strokes of air."""
    shift = 0.5 * anatomy.heart_shift
    trachea = smooth_curve([(0.0, anatomy.apex - 80), (1.5, -60), (shift, -4)])
    right = smooth_curve([(shift, -8), (-14 + shift, 6), (-30 + shift, 20)])
    left = smooth_curve([(shift, -8), (16 + shift, 6), (38 + shift, 16)])
    return [
        Stroke(right, 10.0, 150),
        Stroke(left, 9.0, 120),
        Stroke(trachea, 16.0, 200),
        Stroke(trachea, 11.0, 255),
    ]


def bronchograms(rng: np.random.Generator, *, start: Points, towards: Points) -> list[Stroke]:
    """Air-filled bronchi fanning out through a consolidation."""
    axis = towards - start
    length = max(float(np.hypot(*axis)), 1.0)
    base = np.arctan2(axis[1], axis[0])
    strokes = []
    for turn in rng.normal(0, 0.5, 6):
        reach = length * rng.uniform(0.6, 1.35)
        heading, bent = base + turn * 0.6, base + turn * 1.3
        middle = start + 0.5 * reach * np.array([np.cos(heading), np.sin(heading)])
        end = middle + 0.5 * reach * np.array([np.cos(bent), np.sin(bent)])
        strokes.append(
            Stroke(smooth_curve([tuple(start), tuple(middle), tuple(end)]), rng.uniform(1.0, 2.0), 190)
        )
    return strokes
