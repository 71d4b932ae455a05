"""How well a similarity map points at the boxes of a phrase: one map, one mask, in numbers.

A map is float [H, W] with NaN where the model saw nothing; a mask is bool [H, W], True inside the boxes.
What was not seen is never a negative finding: means, variances, peak and pixel AUROC use seen pixels only.
A box that was not seen at all is a miss (0), not a missing value. A mask without any pixel gives NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from mmil_cli.metrics.map_calibration import MapCalibration

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class GroundingScores:
    """All figures of one phrase in one film; NaN where undefined. The field names are the metric names."""

    cnr: float
    cnr_signed: float
    miou: float
    dice: float
    pointing: float
    pixel_auroc: float
    miou_calibrated: float
    dice_calibrated: float
    iou_10: float
    iou_20: float
    iou_30: float
    iou_40: float
    iou_50: float
    iou_calibrated_10: float
    iou_calibrated_20: float
    iou_calibrated_30: float
    iou_calibrated_40: float
    iou_calibrated_50: float


METRICS = tuple(field.name for field in fields(GroundingScores))
MAIN_METRICS = tuple(name for name in METRICS if not name.startswith("iou_"))
"""All but the IoU of single thresholds, which `iou_10` (0.1) to `iou_50` name in percent."""


def score_map(
    values: np.ndarray, mask: np.ndarray, *, calibration: MapCalibration | None = None
) -> GroundingScores:
    """Every figure of one map.

    Args:
        values: similarity [H, W], NaN where nothing was seen.
        mask: True inside the boxes [H, W].
        calibration: makes probabilities of similarities, for the figures of calibrated maps; NaN without.
    """
    signed = cnr_signed(values, mask)
    raw = iou_at(values, mask)
    nothing = np.full(len(THRESHOLDS), np.nan)
    probable = calibration.probability(values) if calibration else None
    calibrated = nothing if probable is None else iou_at(probable, mask)
    return GroundingScores(
        cnr=abs(signed),
        cnr_signed=signed,
        miou=float(raw.mean()),
        dice=float(dice_at(values, mask).mean()),
        pointing=pointing_hit(values, mask),
        pixel_auroc=pixel_auroc(values, mask),
        miou_calibrated=float(calibrated.mean()),
        dice_calibrated=float((nothing if probable is None else dice_at(probable, mask)).mean()),
        **_by_threshold("iou", raw),
        **_by_threshold("iou_calibrated", calibrated),
    )


def _by_threshold(name: str, values: np.ndarray) -> dict[str, float]:
    return {f"{name}_{t:02.0f}": float(v) for t, v in zip(100 * np.array(THRESHOLDS), values, strict=True)}


def cnr_signed(values: np.ndarray, mask: np.ndarray) -> float:
    """Contrast to noise `(mean_in - mean_out) / sqrt(var_in + var_out)` with population variances.

    0 where the box lies wholly outside what was seen, and for a constant map. NaN where nothing but box
    was seen, and where both sides are constant at different values: the ratio is infinite there.
    """
    if not mask.any():
        return float("nan")
    inside, outside = _inside_outside(values, mask)
    if inside.size == 0:
        return 0.0
    if outside.size == 0:
        return float("nan")
    contrast = float(inside.mean() - outside.mean())
    noise = float(np.sqrt(inside.var() + outside.var()))
    # Means of equal numbers differ by rounding: noise below it is no noise.
    if noise <= 1e-12 * max(1.0, float(np.abs(inside).max())):
        return 0.0 if abs(contrast) <= 1e-12 else float("nan")
    return contrast / noise


def cnr(values: np.ndarray, mask: np.ndarray) -> float:
    """The absolute contrast to noise, as it is published: it does not see a map turned upside down."""
    return abs(cnr_signed(values, mask))


def iou_at(values: np.ndarray, mask: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Intersection over union of `values >= t` and the mask, one per threshold on the raw similarity.

    The part of a box that was not seen counts as missed.
    """
    found, both = _found(values, mask, thresholds)
    union = found + int(mask.sum()) - both
    return both / union if mask.any() else np.full(len(thresholds), np.nan)


def dice_at(values: np.ndarray, mask: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> np.ndarray:
    """Dice `2 |found and mask| / (|found| + |mask|)`, one per threshold on the raw similarity.

    The table takes the mean over the same thresholds as for mIoU; the best threshold would be chosen by
    looking at the truth.
    """
    found, both = _found(values, mask, thresholds)
    return 2 * both / (found + int(mask.sum())) if mask.any() else np.full(len(thresholds), np.nan)


def pointing_hit(values: np.ndarray, mask: np.ndarray) -> float:
    """1 where the peak of the map lies in the mask; among tied peaks the share that does."""
    if not mask.any():
        return float("nan")
    seen = ~np.isnan(values)
    if not seen.any():
        return 0.0
    peaks = values == values[seen].max()
    return float(mask[peaks].mean())


def pixel_auroc(values: np.ndarray, mask: np.ndarray) -> float:
    """The probability that a seen pixel inside ranks above a seen one outside, ties at one half.

    NaN where only one side was seen.
    """
    inside, outside = (np.sort(side) for side in _inside_outside(values, mask))
    if inside.size == 0 or outside.size == 0:
        return float("nan")
    below = np.searchsorted(outside, inside, side="left").sum(dtype=np.float64)
    not_above = np.searchsorted(outside, inside, side="right").sum(dtype=np.float64)
    return float((below + not_above) / 2 / (inside.size * outside.size))


def _inside_outside(values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The seen values inside and outside the mask, in double precision."""
    seen = ~np.isnan(values)
    return values[seen & mask].astype(np.float64), values[seen & ~mask].astype(np.float64)


def _found(
    values: np.ndarray, mask: np.ndarray, thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels at or above each threshold, and those of them inside the mask. NaN is never above."""
    found = np.array([np.count_nonzero(values >= threshold) for threshold in thresholds])
    inside = values[mask]
    both = np.array([np.count_nonzero(inside >= threshold) for threshold in thresholds])
    return found, both
