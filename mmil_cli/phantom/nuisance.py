"""Everything about a film that is not the patient: position, exposure, scatter, blur, noise, display."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mmil_cli.phantom.canvas import COARSE, Canvas, Field
from mmil_cli.phantom.difficulty import Settings


@dataclass(frozen=True)
class Technique:
    """How one film was taken.

    Attributes:
        angle: tilt of the patient on the film, radians.
        turn_mm: how far front and back are apart in a turned patient.
        exposure: photons at the detector, relative.
        scatter: share of scattered radiation.
        enhancement: how much of the local mean is taken away, as detectors' processing does.
        latitude: width of the display window, in units of what the film spans.
        blur: of detector and motion, pixels.
        collimation: fraction of each edge (left, top, right, bottom) that is shuttered.
    """

    view: str
    angle: float
    turn_mm: float
    centre: tuple[float, float]
    aspect: float
    field_mm: float
    exposure: float
    scatter: float
    enhancement: float
    latitude: float
    offset: float
    blur: float
    collimation: tuple[float, float, float, float]
    magnification: float
    seed: int


def sample_technique(rng: np.random.Generator, *, view: str, settings: Settings) -> Technique:
    """How a film of this view is taken; portable (AP) films are worse in all."""
    portable = view == "AP"
    sway = settings.pose * (1.5 if portable else 1.0)
    edges = np.where(rng.random(4) < (0.22 if portable else 0.1), rng.uniform(0.01, 0.045, 4), 0.0)
    return Technique(
        view=view,
        angle=float(np.radians(np.clip(rng.normal(0, 1.5), -4, 4) * sway)),
        turn_mm=float(np.clip(rng.normal(0, 2.5), -6, 6) * sway),
        centre=(
            0.5 + float(np.clip(rng.normal(0, 0.012), -0.03, 0.03) * sway),
            float(rng.normal(0.43, 0.016)),
        ),
        aspect=float(
            rng.choice([1.0, 1.0, 0.83, 0.85, 0.9, 1.18] if portable else [1.0, 1.0, 0.83, 0.85, 0.9])
        ),
        field_mm=float(rng.normal(356, 12 * settings.pose)),
        exposure=float(np.exp(rng.normal(-0.4 if portable else 0.1, 0.3))) / settings.noise**2,
        scatter=float(rng.uniform(0.10, 0.22) if portable else rng.uniform(0.04, 0.11)),
        enhancement=float(rng.uniform(0.15, 0.5)),
        latitude=float(1 + np.clip(rng.normal(0.04, 0.07 * settings.noise), -0.12, 0.3)),
        offset=float(np.clip(rng.normal(0, 0.05 * settings.noise), -0.12, 0.12)),
        blur=float(rng.uniform(0.45, 1.0) * (1.2 if portable else 1.0)),
        collimation=(float(edges[0]), float(edges[1]), float(edges[2]), float(edges[3])),
        magnification=float(rng.uniform(1.05, 1.13) if portable else 1.0),
        seed=int(rng.integers(2**31)),
    )


def make_canvas(technique: Technique, *, side: int) -> Canvas:
    """The film's geometry: the longer side has `side` pixels."""
    width = side if technique.aspect >= 1 else round(side * technique.aspect)
    height = side if technique.aspect <= 1 else round(side / technique.aspect)
    spacing = technique.field_mm / min(width, height)
    return Canvas(height, width, spacing, technique.angle, technique.centre)


def expose(canvas: Canvas, *, attenuation: Field, technique: Technique) -> Field:
    """Attenuation (log units) as a detector sees it: scatter, blur, quantum noise, again in log units."""
    rng = np.random.default_rng(technique.seed)
    photons = np.exp(-attenuation)
    coarse = canvas.reduce(np.minimum(photons, np.float32(0.35)))
    spread = ndimage.gaussian_filter(coarse, 34 / canvas.spacing_mm / COARSE, mode="nearest", truncate=2.5)
    photons += canvas.enlarge(np.float32(technique.scatter) * spread)
    photons = ndimage.gaussian_filter(
        photons, technique.blur * max(canvas.height, canvas.width) / 512, truncate=2.5
    )
    quanta = np.float32(42000 * technique.exposure) * photons
    noise = rng.standard_normal(photons.shape, dtype=np.float32)
    quanta += np.sqrt(quanta) * noise
    return -np.log(np.maximum(quanta, np.float32(1.0)) / np.float32(42000 * technique.exposure))


def develop(canvas: Canvas, *, signal: Field, body: Field, technique: Technique) -> Field:
    """The film as it is displayed: 0 black, 1 white; a little outside that range where the window clips."""
    coarse = canvas.reduce(signal)
    inside = canvas.reduce(body) > 0.5
    coarse = np.where(inside, coarse, coarse[inside].mean())
    local = ndimage.gaussian_filter(coarse, 26 / canvas.spacing_mm / COARSE, mode="nearest", truncate=2.5)
    signal = signal - canvas.enlarge(np.float32(technique.enhancement) * (local - local.mean()))
    low, high = np.percentile(canvas.reduce(signal)[inside], [1.0, 99.4])
    middle, half = (low + high) / 2, (high - low) / 2 * technique.latitude
    film = (signal - (middle - 1.08 * half)) / (2.1 * half) + technique.offset
    return _shuttered(film.astype(np.float32), technique=technique)


def _shuttered(film: Field, *, technique: Technique) -> Field:
    height, width = film.shape
    left, top, right, bottom = technique.collimation
    film[:, : int(left * width)] = 0
    film[: int(top * height)] = 0
    film[:, width - int(right * width) :] = 0
    film[height - int(bottom * height) :] = 0
    return film
