"""Tubes, lines and pacemakers: what is drawn, in patient millimetres."""

import numpy as np

from mmil_cli.phantom.anatomy import Anatomy, heart_borders
from mmil_cli.phantom.canvas import Canvas, Field, Points, Stroke, smooth_curve
from mmil_cli.phantom.findings import Finding, Kind

DENSEST = 2.2  # attenuation (log units) of the densest metal


def device_attenuation(canvas: Canvas, *, anatomy: Anatomy, finding: Finding) -> Field:
    """Attenuation that a device adds, in log units."""
    draw = {
        Kind.PACEMAKER: _pacemaker,
        Kind.CENTRAL_LINE: _central_line,
        Kind.ENDOTRACHEAL_TUBE: _endotracheal_tube,
        Kind.NASOGASTRIC_TUBE: _nasogastric_tube,
    }[finding.kind]
    shapes, strokes = draw(anatomy, finding)
    drawn = canvas.lines(strokes)
    if shapes:
        drawn = np.maximum(drawn, canvas.paint(shapes))
    return drawn * np.float32(DENSEST)


Drawing = tuple[list[tuple[Points, int]], list[Stroke]]


def _pacemaker(anatomy: Anatomy, finding: Finding) -> Drawing:
    sign = finding.side.sign
    rng = np.random.default_rng(finding.seed)
    centre = np.array(
        [
            sign * (0.64 + 0.14 * finding.place[0]) * anatomy.half_width,
            anatomy.apex + 38 + 16 * finding.place[1],
        ]
    )
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    disc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    case = np.sign(disc) * np.abs(disc) ** 0.7 * np.array([22.0, 24.0])
    header = np.array([[-15.0, -23.0], [15.0, -23.0], [12.0, -33.0], [-12.0, -33.0]])
    shapes = [(header + centre, 90), (case + centre, 190), (case * 0.72 + centre + [0, 4], 255)]
    port = centre + np.array([0.0, -29.0])
    strokes = [Stroke(_lead(anatomy, start=port, sign=sign, tip=_ventricle(anatomy)), 1.7, 150)]
    if rng.random() < 0.6:
        atrium = np.array([heart_borders(anatomy)[0] * 0.55, 30.0])
        beside = port + np.array([4.0, 0.0])
        strokes.append(Stroke(_lead(anatomy, start=beside, sign=sign, tip=atrium), 1.7, 150))
    return shapes, strokes


def _ventricle(anatomy: Anatomy) -> Points:
    return np.array([0.52 * heart_borders(anatomy)[1], max(anatomy.domes) - 2.0])


def _lead(anatomy: Anatomy, *, start: Points, sign: int, tip: Points) -> Points:
    """From the generator by the subclavian vein and the superior vena cava to the heart."""
    shift = anatomy.heart_shift
    path = [tuple(start), (sign * 62.0, anatomy.apex + 22), (sign * 26.0, anatomy.apex + 36)]
    path += [(-17.0 + shift, -34.0), (-19.0 + shift, 8.0), (-16.0 + shift, 0.45 * tip[1] + 14), tuple(tip)]
    return smooth_curve(path)


def _central_line(anatomy: Anatomy, finding: Finding) -> Drawing:
    """From the neck (apical) or, as a peripherally inserted line, from the arm."""
    sign, shift = finding.side.sign, anatomy.heart_shift
    tip = [(-18.0 + shift, -25.0), (-19.0 + shift, 4.0 + 22 * finding.place[1])]
    if is_peripheral(finding):
        shoulder = anatomy.half_width + 44 + 0.3 * anatomy.fat
        path = [
            (sign * (shoulder + 32), 60.0),
            (sign * (shoulder + 10), -20.0),
            (sign * (shoulder - 22), anatomy.apex + 36),
        ]
        path += [(sign * 0.55 * anatomy.half_width, anatomy.apex + 20), (sign * 26.0, anatomy.apex + 36)]
        return [], [Stroke(smooth_curve([*path, *tip]), 1.3, 120)]
    neck = [
        (sign * 40.0, anatomy.apex - 70),
        (sign * 33.0, anatomy.apex - 6),
        (sign * 24.0, anatomy.apex + 34),
    ]
    return [], [Stroke(smooth_curve([*neck, *tip]), 2.2, 125)]


def is_peripheral(finding: Finding) -> bool:
    """Whether a central line comes from the arm."""
    return finding.place[0] > 0.5


def _endotracheal_tube(anatomy: Anatomy, finding: Finding) -> Drawing:
    tip = tube_tip(finding)
    path = smooth_curve([(1.0, anatomy.apex - 90), (2.5, -80), (1.0, tip)])
    wall = np.array([4.6, 0.0])
    return [], [Stroke(path, 9.4, 34), Stroke(path - wall, 1.0, 105), Stroke(path + wall, 1.6, 165)]


def tube_tip(finding: Finding) -> float:
    """Height of the tip of an endotracheal tube: 28 to 62 mm above the carina, as a negative y."""
    return -28.0 - 34.0 * finding.place[1]


def _nasogastric_tube(anatomy: Anatomy, finding: Finding) -> Drawing:
    low = anatomy.dome(1)
    path = [(-3.0, anatomy.apex - 90), (4.0, -60.0), (5.0, 10.0), (9.0, low - 25), (24.0, low + 22)]
    path += [(56.0 + 10 * finding.place[0], low + 52), (40.0, low + 84)]
    curve = smooth_curve(path)
    return [], [Stroke(curve, 4.4, 38), Stroke(curve, 1.4, 150)]
