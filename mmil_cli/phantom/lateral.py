"""A lateral film: the patient's left side to the detector, the front to the left of the picture.

Coarser than the frontal film: findings that a lateral film shows at all (fluid, dense zones, a big heart,
edema, devices in front) are drawn at the same height and with the same severity; it carries no boxes.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from mmil_cli.phantom.anatomy import Anatomy, zone_centre
from mmil_cli.phantom.canvas import COARSE, Canvas, Field, Points, Stroke, ribbon, smooth_curve, smooth_noise
from mmil_cli.phantom.difficulty import Settings
from mmil_cli.phantom.findings import Finding, Kind
from mmil_cli.phantom.opacities import consolidation_reach, effusion_height

WATER = 0.0145  # a harder beam than for frontal films
BONE = 0.024


def lateral_attenuation(
    canvas: Canvas, *, anatomy: Anatomy, findings: Sequence[Finding], settings: Settings
) -> tuple[Field, Field]:
    """Attenuation (log units) of a lateral film, and the coverage of the body."""
    body = canvas.fill([_trunk(anatomy)])
    lungs = canvas.fill([_lungs(anatomy)])
    x, y = canvas.coarse_grid
    air = _air(canvas, anatomy=anatomy, lungs=lungs)
    fluid, tissue = _findings(canvas, anatomy=anatomy, findings=findings)
    air = air * (1 - np.minimum(canvas.enlarge(fluid) * np.float32(settings.contrast), 1))
    width = 2 * (anatomy.half_width + anatomy.fat) * np.clip(0.55 + (y - anatomy.apex) / 160, 0.5, 1.05)
    arms = 110 / (1 + np.exp(np.clip((y - anatomy.apex - 14 + 0.3 * x) / 9, -20, 20)))
    water = canvas.enlarge((width + arms + tissue * settings.contrast).astype(np.float32)) * body - air
    water += _vessels(canvas, anatomy=anatomy) * np.minimum(air / 60, 1)
    total = np.float32(WATER) * np.maximum(water, 0)
    total += np.float32(BONE) * _bones(canvas, anatomy=anatomy) * body
    return total + _devices(canvas, anatomy=anatomy, findings=findings), body


def _front(anatomy: Anatomy) -> float:
    return -0.52 * anatomy.depth * 0.9


def _back(anatomy: Anatomy) -> float:
    return 0.46 * anatomy.depth * 0.9


def _trunk(anatomy: Anatomy) -> Points:
    front, back, top = _front(anatomy) - 8, _back(anatomy) + 22, anatomy.apex
    bust = 26 * anatomy.breast
    control = [
        (-128, top - 120),
        (-104, top - 62),
        (front + 22, top - 12),
        (front + 8, top + 44),
        (front - bust, 30),
    ]
    control += [(front - 0.7 * bust, 75), (front - 4, 130), (front - 8, 330), (back - 4, 330), (back, 120)]
    control += [(back + 10, 0), (back + 16, top + 30), (back + 10, top - 40), (92, top - 120)]
    return smooth_curve(control, steps=6, closed=True)


def _lungs(anatomy: Anatomy) -> Points:
    front, back, top = _front(anatomy) + 16, _back(anatomy) - 4, anatomy.apex
    dome, low = float(np.mean(anatomy.domes)), float(np.mean(anatomy.angles)) + 12
    upper = [(-12, top + 4), (-36, top + 38), (front + 12, top + 82), (front, 24), (front + 8, dome + 8)]
    floor = [(front + 46, dome - 6), (4, dome + 4), (back - 34, dome + 26), (back - 8, low)]
    rear = [(back, low - 22), (back + 3, 20), (back - 4, top + 62), (34, top + 14), (8, top)]
    return smooth_curve([*upper, *floor, *rear], steps=6, closed=True)


def _air(canvas: Canvas, *, anatomy: Anatomy, lungs: Field) -> Field:
    """Air of both lungs along the beam, less what heart, arch and spine's soft tissue take."""
    x, y = canvas.coarse_grid
    inside = ndimage.gaussian_filter(canvas.reduce(lungs), 14 / canvas.spacing_mm / COARSE, truncate=2.5)
    depth = 175 * np.clip(2 * inside - 0.85, 0.12, 1)
    heart = canvas.fill([_heart(anatomy)])
    arch = np.exp(-((np.hypot(x - 8, (y + 34) * 1.1) / 30) ** 4))
    middle = np.exp(-(((x - 4) / 26) ** 2)) * np.clip((20 - y) / 120, 0, 1)
    hila = np.exp(-((np.hypot(x - 2, y - 8) / 20) ** 2))
    rest = canvas.enlarge(
        (depth * (1 - 0.3 * arch) * (1 - 0.4 * middle) * (1 - 0.3 * hila)).astype(np.float32)
    )
    return rest * lungs * (1 - heart * (0.16 + 0.36 * _interior(canvas, heart)))


def _interior(canvas: Canvas, mask: Field) -> Field:
    """0 at the edge of a mask to 1 inside it."""
    soft = ndimage.gaussian_filter(canvas.reduce(mask), 14 / canvas.spacing_mm / COARSE, truncate=2.5)
    return canvas.enlarge(np.clip(2 * soft - 1, 0, 1).astype(np.float32))


def _heart(anatomy: Anatomy) -> Points:
    width = 2 * anatomy.half_width * anatomy.heart_ratio
    front, dome = _front(anatomy) + 12, float(np.mean(anatomy.domes))
    back = front + 0.86 * width
    control = [(front + 46, -4), (front + 14, 34), (front + 10, dome + 6), (front + 0.5 * width, dome + 12)]
    control += [(back - 8, dome + 4), (back, dome - 34), (back - 14, 26), (front + 0.52 * width, 0)]
    return smooth_curve(control, closed=True)


def _findings(canvas: Canvas, *, anatomy: Anatomy, findings: Sequence[Finding]) -> tuple[Field, Field]:
    """Share of the air that gives way to water, and tissue in mm [coarse grids]."""
    x, y = canvas.coarse_grid
    fluid, tissue = np.zeros_like(x), np.zeros_like(x)
    for finding in findings:
        share = 0.8 if len(finding.side.parts) > 1 else 0.5
        if finding.kind is Kind.EFFUSION:
            back = np.clip((x - _front(anatomy)) / (_back(anatomy) - _front(anatomy)), 0, 1)
            top = max(anatomy.angles) + 12 - effusion_height(finding.severity) * (0.3 + 0.7 * back**3)
            fluid = np.maximum(fluid, share / (1 + np.exp(-np.clip((y - top) / 4, -20, 20))))
        elif finding.kind is Kind.EDEMA:
            fluid = np.maximum(
                fluid, (0.15 + 0.35 * finding.severity) * np.exp(-((np.hypot(x, y - 20) / 70) ** 2))
            )
        elif finding.kind in (Kind.CONSOLIDATION, Kind.NODULE, Kind.ATELECTASIS):
            fluid, tissue = _dense_zone(canvas, anatomy=anatomy, finding=finding, fluid=fluid, tissue=tissue)
    return fluid.astype(np.float32), tissue.astype(np.float32)


def _dense_zone(
    canvas: Canvas, *, anatomy: Anatomy, finding: Finding, fluid: Field, tissue: Field
) -> tuple[Field, Field]:
    """At the height that the frontal film shows, at a depth of the finding's own."""
    x, y = canvas.coarse_grid
    rng = np.random.default_rng([finding.seed, 9])
    height = zone_centre(anatomy, sign=finding.side.parts[0].sign, zone=finding.zone, place=finding.place)[1]
    depth = rng.uniform(-25, 45)
    if finding.kind is Kind.CONSOLIDATION:
        cloud = smooth_noise(rng, shape=x.shape, cells=(10, 24), weights=(0.16, 0.1))
        distance = np.hypot(x - depth, y - height) / consolidation_reach(finding)
        zone = 1 / (1 + np.exp(-np.clip((0.85 - distance + cloud) / 0.13, -20, 20)))
        return np.maximum(fluid, (0.35 + 0.2 * finding.severity) * zone), tissue
    if finding.kind is Kind.NODULE:
        radius = finding.diameter_mm / 2
        chord = np.sqrt(np.maximum(radius**2 - (x - depth) ** 2 - (y - height) ** 2, 0))
        return fluid, tissue + 3.4 * chord
    band = np.exp(-(((y - height - 0.2 * (x - depth)) / 4) ** 2) - ((x - depth) / 30) ** 2)
    return fluid, tissue + (24 + 20 * finding.severity) * band


def _vessels(canvas: Canvas, *, anatomy: Anatomy) -> Field:
    rng = np.random.default_rng([anatomy.seed, 71])
    strokes = []
    for _ in range(70):
        heading, reach = rng.uniform(0, 2 * np.pi), rng.uniform(35, 105)
        start = np.array([2.0, 8.0]) + rng.normal(0, 9, 2)
        bend = heading + rng.normal(0, 0.3)
        middle = start + 0.5 * reach * np.array([np.cos(heading), np.sin(heading)])
        end = middle + 0.5 * reach * np.array([np.cos(bend), np.sin(bend)])
        curve = smooth_curve([tuple(start), tuple(middle), tuple(end)])
        width = rng.uniform(1.2, 3.4)
        strokes += [
            Stroke(curve, width * 0.7, round(32 * width)),
            Stroke(curve[:9], width, round(42 * width)),
        ]
    return canvas.lines(strokes) * np.float32(22)


def _bones(canvas: Canvas, *, anatomy: Anatomy) -> Field:
    """Spine, sternum, ribs of both sides and the edges of the scapulae, mm."""
    front, back, top = _front(anatomy), _back(anatomy), anatomy.apex
    shapes: list[tuple[Points, int]] = []
    y = top - 80.0
    while y < 320:
        tall = 20 * (1 + 0.0012 * (y - top))
        x = back - 16 - 20 * np.cos((y - 20) / 130) * 0.6 - 24 * float(np.clip((top + 10 - y) / 70, 0, 1))
        corner = np.array(
            [[-15, 0], [15, 0], [14, tall * 0.5], [15, tall * 0.9], [-15, tall * 0.9], [-13, tall * 0.5]]
        )
        shapes += [(corner + np.array([x, y]), 190), (corner * [0.88, 0.84] + [x, y + 0.06 * tall], 145)]
        y += tall * 1.04
    sternum = smooth_curve([(front + 44, top + 20), (front + 16, top + 70), (front + 6, 20), (front + 8, 62)])
    shapes.append((ribbon(sternum, half_width=np.full(len(sternum), 4.5)), 170))
    ribs: list[tuple[Points, int]] = []
    for index in range(10):
        for shift in (0.0, 7.0):
            start = top + 10 + 20 * index + shift
            path = [
                (back + 2, start),
                (0.5 * back, start + 12),
                (0.4 * front, start + 44),
                (0.85 * front, start + 60),
            ]
            curve = smooth_curve(path)
            widths = np.linspace(5.2, 4.4, len(curve))
            ribs += [(ribbon(curve, half_width=widths), 120), (ribbon(curve, half_width=widths - 1.3), 78)]
    return canvas.paint(shapes) * np.float32(26) + canvas.paint(ribs) * np.float32(16)


def _devices(canvas: Canvas, *, anatomy: Anatomy, findings: Sequence[Finding]) -> Field:
    front, top = _front(anatomy), anatomy.apex
    low = max(anatomy.domes)
    strokes: list[Stroke] = []
    for finding in findings:
        if finding.kind is Kind.PACEMAKER:
            case = smooth_curve([(front + 24, top + 34), (front + 12, top + 76)])
            lead = [(front + 24, top + 34), (-6, top + 40), (-4, -20), (-8, 30), (front + 40, low - 4)]
            strokes += [Stroke(case, 9.0, 255), Stroke(smooth_curve(lead), 1.7, 150)]
        elif finding.kind is Kind.CENTRAL_LINE:
            strokes.append(
                Stroke(smooth_curve([(10, top - 60), (-8, top + 30), (-14, -20), (-12, 14)]), 1.8, 115)
            )
    return (
        canvas.lines(strokes) * np.float32(2.0)
        if strokes
        else np.zeros((canvas.height, canvas.width), np.float32)
    )
