"""A film as a grid over the patient: millimetres to pixels, filled outlines, strokes, and smooth fields.

Patient coordinates are millimetres from the carina, x towards the patient's left (right of the picture), y
downward. Smooth fields are computed on a grid `COARSE` times coarser and enlarged, edges are drawn by Pillow
at `OVERSAMPLE` times the resolution and averaged down: both are what makes a film cost milliseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Field = NDArray[np.float32]
Points = NDArray[np.float64]

COARSE = 4
OVERSAMPLE = 2


@dataclass(frozen=True)
class Stroke:
    """A line of given width and level (0 to 255); `points` is [n, 2] in millimetres."""

    points: Points
    width_mm: float
    level: int


@dataclass(frozen=True)
class Canvas:
    """The geometry of one film.

    Attributes:
        height, width: in pixels.
        spacing_mm: of a pixel, in the plane of the patient.
        angle: of the patient on the film, radians, clockwise positive.
        centre: where the patient's origin lies, as a fraction of width and height.
    """

    height: int
    width: int
    spacing_mm: float
    angle: float
    centre: tuple[float, float]

    @cached_property
    def coarse_shape(self) -> tuple[int, int]:
        """Rows and columns of the coarse grid."""
        return -(-self.height // COARSE), -(-self.width // COARSE)

    @cached_property
    def coarse_grid(self) -> tuple[Field, Field]:
        """Patient x and y in millimetres at the centres of the coarse grid."""
        rows, columns = self.coarse_shape
        across = (np.arange(columns, dtype=np.float32) + 0.5) * (self.width / columns)
        down = (np.arange(rows, dtype=np.float32) + 0.5) * (self.height / rows)
        column_mm = ((across - self.centre[0] * self.width) * self.spacing_mm)[None, :]
        row_mm = ((down - self.centre[1] * self.height) * self.spacing_mm)[:, None]
        cosine, sine = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return cosine * column_mm + sine * row_mm, cosine * row_mm - sine * column_mm

    def to_pixels(self, points: Points) -> Points:
        """Millimetres [n, 2] to continuous pixel coordinates (x, y)."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turned = points @ np.array([[cosine, sine], [-sine, cosine]]) / self.spacing_mm
        return turned + np.array([self.centre[0] * self.width, self.centre[1] * self.height])

    def enlarge(self, coarse: Field) -> Field:
        """A coarse field at full resolution."""
        image = Image.fromarray(np.ascontiguousarray(coarse, dtype=np.float32))
        return np.asarray(image.resize((self.width, self.height), Image.Resampling.BICUBIC))

    def reduce(self, field: Field) -> Field:
        """A full-resolution field on the coarse grid."""
        rows, columns = self.coarse_shape
        image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
        return np.asarray(image.resize((columns, rows), Image.Resampling.BOX))

    def fill(self, outlines: Iterable[Points]) -> Field:
        """Coverage (0 to 1) of the union of closed outlines."""
        return self.paint([(outline, 255) for outline in outlines])

    def paint(self, shapes: Iterable[tuple[Points, int]]) -> Field:
        """Closed outlines painted over each other in order; levels come back over 255."""
        image, draw = self._sheet()
        for outline, level in shapes:
            draw.polygon(self._corners(outline), fill=level)
        return _averaged(image)

    def lines(self, strokes: Iterable[Stroke]) -> Field:
        """Strokes painted over each other in order; levels come back over 255."""
        image, draw = self._sheet()
        per_mm = OVERSAMPLE / self.spacing_mm
        for stroke in strokes:
            width = max(1, round(stroke.width_mm * per_mm))
            draw.line(self._corners(stroke.points), fill=stroke.level, width=width, joint="curve")
        return _averaged(image)

    def segments(self, ends: Points, *, widths_mm: NDArray[np.float64], levels: NDArray[np.int64]) -> Field:
        """Many straight pieces `ends` [n, 4] (x0, y0, x1, y1) in order; levels come back over 255."""
        image, draw = self._sheet()
        pixels = (
            np.concatenate([self.to_pixels(ends[:, :2]), self.to_pixels(ends[:, 2:])], axis=1) * OVERSAMPLE
        )
        widths = np.maximum(1, np.rint(widths_mm * OVERSAMPLE / self.spacing_mm)).astype(int)
        for corners, width, level in zip(pixels.tolist(), widths.tolist(), levels.tolist(), strict=True):
            draw.line(corners, fill=level, width=width)
        return _averaged(image)

    def _sheet(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        image = Image.new("L", (self.width * OVERSAMPLE, self.height * OVERSAMPLE))
        return image, ImageDraw.Draw(image)

    def _corners(self, points: Points) -> Sequence[float]:
        corners: list[float] = (self.to_pixels(points) * OVERSAMPLE).ravel().tolist()
        return corners


def _averaged(image: Image.Image) -> Field:
    return np.asarray(image.reduce(OVERSAMPLE), dtype=np.float32) * np.float32(1 / 255)


def smooth_curve(control: Sequence[tuple[float, float]], *, steps: int = 8, closed: bool = False) -> Points:
    """A Catmull-Rom curve through control points, [n, 2]."""
    points = np.asarray(control, dtype=np.float64)
    before = points[-1:] if closed else points[:1]
    after = points[:2] if closed else points[-1:]
    padded = np.concatenate([before, points, after])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None, :] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, points[-1:]])


def ribbon(centre: Points, *, half_width: NDArray[np.float64]) -> Points:
    """The closed outline of a band along a curve, [2n, 2]."""
    along = np.gradient(centre, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half_width[:, None]
    return np.concatenate([centre + across, (centre - across)[::-1]])


def smooth_noise(
    rng: np.random.Generator, *, shape: tuple[int, int], cells: Sequence[int], weights: Sequence[float]
) -> Field:
    """Cloudy noise of about unit spread: octaves of `cells` values along the longer side."""
    total = np.zeros(shape, dtype=np.float32)
    for count, weight in zip(cells, weights, strict=True):
        step = max(shape) / count
        rows, columns = max(2, round(shape[0] / step)), max(2, round(shape[1] / step))
        values = rng.standard_normal((rows, columns), dtype=np.float32)
        image = Image.fromarray(values).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
        total += np.float32(weight) * np.asarray(image)
    return total
