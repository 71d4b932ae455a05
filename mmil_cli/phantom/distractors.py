"""What lies on a film and means nothing: side markers, leads, wires, buttons. Never reported."""

import numpy as np
from PIL import Image, ImageDraw

from mmil_cli.phantom.anatomy import Anatomy
from mmil_cli.phantom.canvas import OVERSAMPLE, Canvas, Field, Points, Stroke, smooth_curve
from mmil_cli.phantom.difficulty import Settings
from mmil_cli.phantom.nuisance import Technique

DENSEST = 1.6

# Letters as strokes in a unit box, so that no font is needed.
LETTERS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "L": (((0.1, 0.0), (0.1, 1.0), (0.8, 1.0)),),
    "R": (
        ((0.1, 1.0), (0.1, 0.0), (0.6, 0.0), (0.8, 0.15), (0.8, 0.35), (0.6, 0.5), (0.1, 0.5)),
        ((0.45, 0.5), (0.85, 1.0)),
    ),
}


def distractor_attenuation(canvas: Canvas, *, anatomy: Anatomy, settings: Settings, seed: int) -> Field:
    """Attenuation of electrodes, wires and buttons, log units."""
    rng = np.random.default_rng([seed, 41])
    strokes: list[Stroke] = []
    for _ in range(min(4, int(rng.poisson(settings.distractors)))):
        draw = (_electrode, _electrode, _wire, _buttons)[int(rng.integers(4))]
        strokes += draw(anatomy, rng)
    if not strokes:
        return np.zeros((canvas.height, canvas.width), dtype=np.float32)
    return canvas.lines(strokes) * np.float32(DENSEST)


def _ring(centre: Points, *, radius: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 24)
    return centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _electrode(anatomy: Anatomy, rng: np.random.Generator) -> list[Stroke]:
    """A snap electrode with its lead running off the film."""
    sign = rng.choice([-1.0, 1.0])
    low = rng.random() < 0.5
    y = rng.uniform(80, 130) if low else anatomy.apex + rng.uniform(15, 55)
    centre = np.array([sign * rng.uniform(0.55, 1.0) * anatomy.half_width, y])
    out = [tuple(centre), (sign * (anatomy.half_width + rng.uniform(15, 45)), y + rng.uniform(10, 45))]
    out += [(sign * (anatomy.half_width + 110), y + rng.uniform(30, 120))]
    return [
        Stroke(smooth_curve(out), 1.3, 70),
        Stroke(_ring(centre, radius=4.2), 2.4, 120),
        Stroke(_ring(centre, radius=1.2), 2.6, 210),
    ]


def _wire(anatomy: Anatomy, rng: np.random.Generator) -> list[Stroke]:
    """A monitoring cable across the film."""
    sign = rng.choice([-1.0, 1.0])
    x, y = sign * rng.uniform(20, 100), rng.uniform(-40, 60)
    path = [
        (sign * (anatomy.half_width + 80), rng.uniform(-120, 0)),
        (x, y),
        (sign * rng.uniform(60, 150), 130.0),
        (sign * 190, 260.0),
    ]
    return [Stroke(smooth_curve(path), 1.5, 62)]


def _buttons(anatomy: Anatomy, rng: np.random.Generator) -> list[Stroke]:
    """The buttons of a gown along the midline."""
    x, step = rng.uniform(-14, 14), rng.uniform(45, 75)
    centres = [np.array([x, anatomy.apex + 60 + step * i]) for i in range(3)]
    return [Stroke(_ring(centre, radius=3.6), 2.2, 95) for centre in centres]


def markers(canvas: Canvas, *, film: Field, technique: Technique) -> Field:
    """A lead letter on the patient's side (left of the patient is right of the film), or a bare lead dot."""
    rng = np.random.default_rng([technique.seed, 43])
    if rng.random() < 0.1:
        return film
    letter = "L" if rng.random() < 0.6 else "R"
    tall = max(canvas.height, canvas.width) * rng.uniform(0.03, 0.05)
    x = (0.93 if letter == "L" else 0.04) * canvas.width - (0.3 * tall if letter == "L" else 0)
    corner = np.array([x, rng.uniform(0.03, 0.12) * canvas.height])
    ink = _letter(canvas, letter=letter, corner=corner, tall=tall, tilt=rng.normal(0, 0.12))
    if rng.random() < 0.3:
        ink = np.maximum(
            ink,
            _letter(
                canvas, letter=letter, corner=corner + np.array([0, 1.5 * tall]), tall=tall / 3, tilt=0.0
            ),
        )
    return film + ink * np.maximum(np.float32(rng.uniform(0.9, 1.02)) - film, 0)


def _letter(canvas: Canvas, *, letter: str, corner: Points, tall: float, tilt: float) -> Field:
    image = Image.new("L", (canvas.width * OVERSAMPLE, canvas.height * OVERSAMPLE))
    draw = ImageDraw.Draw(image)
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    for line in LETTERS[letter]:
        points = ((np.array(line) * [0.72 * tall, tall]) @ turn + corner) * OVERSAMPLE
        draw.line(
            points.ravel().tolist(), fill=255, width=max(2, round(0.17 * tall * OVERSAMPLE)), joint="curve"
        )
    return np.asarray(image.reduce(OVERSAMPLE), dtype=np.float32) / np.float32(255)
