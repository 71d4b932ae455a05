import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmil_cli.metrics.grounding import score_map
from mmil_cli.metrics.map_calibration import MapCalibration, fit_calibration, sample_pixels

NAN = float("nan")


def maps(seed: int, *, sign: float = 1.0) -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(seed)
    found = []
    for size in (40, 90, 200):
        inside = generator.random(size) < 0.3
        found.append((sign * (0.1 * inside + 0.1 * generator.normal(size=size)), inside))
    return found


def test_it_is_the_logistic_regression_in_which_every_map_weighs_the_same() -> None:
    samples = maps(0)
    found = fit_calibration(samples)
    assert found is not None
    values, inside = (np.concatenate(part) for part in zip(*samples, strict=True))
    weight = np.concatenate([np.full(len(part), 1 / len(part)) for part, _ in samples])
    slow = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000).fit(
        values[:, None], inside, sample_weight=weight
    )
    assert found.slope == pytest.approx(slow.coef_[0, 0], rel=1e-3)
    assert found.intercept == pytest.approx(slow.intercept_[0], rel=1e-3)


def test_a_map_turned_upside_down_becomes_the_share_that_is_boxed() -> None:
    samples = maps(0, sign=-1.0)
    found = fit_calibration(samples)
    assert found is not None
    assert found.slope == pytest.approx(0, abs=1e-6)
    share = np.mean([inside.mean() for _, inside in samples])
    assert found.probability(np.array([5.0]))[0] == pytest.approx(share, rel=1e-3)


def test_without_pixels_of_both_kinds_there_is_none() -> None:
    assert fit_calibration([]) is None
    assert fit_calibration([(np.array([0.1, 0.2]), np.array([True, True]))]) is None
    assert fit_calibration([(np.zeros(0), np.zeros(0, bool))]) is None


def test_pixels_are_sampled_evenly_and_where_something_was_seen() -> None:
    values = np.arange(10_000.0).reshape(100, 100)
    mask = values > 5000
    values[:, :50] = NAN
    sampled, inside = sample_pixels(values, mask)
    assert 200 <= len(sampled) <= 700
    assert inside.mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(inside, sampled > 5000)


def test_calibrated_figures_are_those_of_the_probabilities() -> None:
    values = np.array([[0.9, 0.5], [0.1, NAN]])
    mask = np.array([[True, False], [False, True]])
    calibration = MapCalibration(slope=10.0, intercept=-6.0)  # 0.953, 0.269, 0.007
    scores = score_map(values, mask, calibration=calibration)
    assert scores.iou_calibrated_20 == pytest.approx(1 / 3)
    assert scores.iou_calibrated_30 == pytest.approx(1 / 2)
    assert scores.iou_30 == pytest.approx(1 / 3)
    assert scores.miou_calibrated == pytest.approx(np.mean([1 / 3, 1 / 3, 1 / 2, 1 / 2, 1 / 2]))
    assert np.isnan(score_map(values, mask).miou_calibrated)
