import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmil_cli.metrics.grounding import (
    METRICS,
    cnr,
    cnr_signed,
    dice_at,
    iou_at,
    pixel_auroc,
    pointing_hit,
    score_map,
)
from mmil_cli.metrics.map_calibration import MapCalibration

NAN = float("nan")


def box(height: int = 8, width: int = 10) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[2:5, 3:7] = True
    return mask


def noisy(seed: int = 0, *, unseen: bool = True) -> tuple[np.ndarray, np.ndarray]:
    mask = box()
    values = np.random.default_rng(seed).normal(0.2, 0.2, mask.shape) + 0.2 * mask
    values = values.round(1)  # ties
    if unseen:
        values[:, :5] = NAN
    return values, mask


def test_cnr_hand_worked_with_population_variances() -> None:
    values = np.array([[1.0, 3.0, 0.0, 1.0]])
    mask = np.array([[True, True, False, False]])
    assert cnr_signed(values, mask) == pytest.approx((2.0 - 0.5) / np.sqrt(1.0 + 0.25))
    assert cnr_signed(-values, mask) == -cnr_signed(values, mask)
    assert cnr(-values, mask) == cnr(values, mask) > 0


def test_cnr_ignores_what_was_not_seen() -> None:
    values, mask = noisy()
    seen = ~np.isnan(values)
    inside, outside = values[seen & mask], values[seen & ~mask]
    slow = (inside.mean() - outside.mean()) / np.sqrt(inside.var() + outside.var())
    assert cnr_signed(values, mask) == pytest.approx(slow)
    assert cnr_signed(3 * values + 1, mask) == pytest.approx(slow)


def test_cnr_in_single_precision_is_computed_in_double() -> None:
    generator = np.random.default_rng(0)
    values = (1000 + generator.normal(size=(600, 600)) * 1e-2).astype(np.float32)
    mask = np.zeros(values.shape, dtype=bool)
    mask[:300] = True
    assert cnr_signed(values, mask) == cnr_signed(values.astype(np.float64), mask)


def test_cnr_edges() -> None:
    mask = box()
    unseen = np.where(mask, NAN, np.random.default_rng(0).random(mask.shape))
    assert cnr_signed(unseen, mask) == 0.0
    assert cnr_signed(np.full(mask.shape, 0.3, np.float32), mask) == 0.0
    assert np.isnan(cnr_signed(np.where(mask, 1.0, 0.0), mask))
    assert np.isnan(cnr_signed(np.where(mask, 1.0, NAN), mask))


def test_iou_and_dice_hand_worked() -> None:
    values = np.array([[0.5, 0.35, 0.2, 0.05], [0.1, NAN, -0.4, 0.3]])
    mask = np.array([[True, True, False, False], [False, True, False, False]])
    # At .1 five are found, two of them inside; the unseen pixel of the box counts as missed.
    assert iou_at(values, mask) == pytest.approx([2 / 6, 2 / 5, 2 / 4, 1 / 3, 1 / 3])
    assert dice_at(values, mask) == pytest.approx([4 / 8, 4 / 7, 4 / 6, 2 / 4, 2 / 4])
    assert score_map(values, mask).miou == pytest.approx(np.mean([2 / 6, 2 / 5, 2 / 4, 1 / 3, 1 / 3]))


@pytest.mark.parametrize("seed", range(4))
def test_dice_and_iou_agree_and_equal_the_slow_count(seed: int) -> None:
    values, mask = noisy(seed)
    iou, dice = iou_at(values, mask), dice_at(values, mask)
    assert dice == pytest.approx(2 * iou / (1 + iou))
    found = {(r, c) for r in range(8) for c in range(10) if values[r, c] >= 0.3}
    truth = {(r, c) for r in range(8) for c in range(10) if mask[r, c]}
    assert iou[2] == pytest.approx(len(found & truth) / len(found | truth))


def test_a_perfect_map_and_a_silent_one() -> None:
    mask = box()
    assert score_map(mask.astype(float), mask).miou == 1.0
    assert score_map(np.zeros(mask.shape), mask).miou == 0.0
    assert score_map(np.zeros(mask.shape), mask).dice == 0.0


def test_pointing_counts_tied_peaks_by_their_share() -> None:
    mask = box()
    values = np.zeros(mask.shape)
    assert pointing_hit(values, mask) == pytest.approx(mask.mean())
    values[3, 4] = values[0, 0] = values[7, 9] = 1.0
    assert pointing_hit(values, mask) == pytest.approx(1 / 3)
    values[0, 0] = values[7, 9] = NAN
    assert pointing_hit(values, mask) == 1.0
    values[0, 1] = 2.0
    assert pointing_hit(values, mask) == 0.0


@pytest.mark.parametrize("unseen", [True, False])
def test_pixel_auroc_equals_sklearn_on_seen_pixels(unseen: bool) -> None:
    values, mask = noisy(unseen=unseen)
    seen = ~np.isnan(values)
    expected = roc_auc_score(mask[seen], values[seen])
    assert pixel_auroc(values, mask) == pytest.approx(expected, abs=1e-12)
    assert pixel_auroc(-values, mask) == pytest.approx(1 - expected, abs=1e-12)


def test_a_box_that_was_not_seen_is_a_miss() -> None:
    mask = box()
    scores = score_map(np.where(mask, NAN, 0.5), mask)
    assert (scores.cnr, scores.cnr_signed, scores.miou, scores.dice, scores.pointing) == (0, 0, 0, 0, 0)
    assert np.isnan(scores.pixel_auroc)


def test_a_film_that_was_not_seen_is_a_miss() -> None:
    scores = score_map(np.full(box().shape, NAN), box())
    assert (scores.cnr, scores.miou, scores.pointing) == (0, 0, 0)


def test_nothing_to_find_is_undefined() -> None:
    values, mask = noisy()
    scores = score_map(values, np.zeros_like(mask))
    assert all(np.isnan(getattr(scores, metric)) for metric in METRICS)


def test_figures_follow_the_map_and_mask_when_both_are_flipped() -> None:
    values, mask = noisy()
    calibration = MapCalibration(slope=5.0, intercept=-2.0)
    flipped = score_map(values[::-1, ::-1], mask[::-1, ::-1], calibration=calibration)
    upright = score_map(values, mask, calibration=calibration)
    for metric in METRICS:
        assert getattr(flipped, metric) == pytest.approx(getattr(upright, metric))
