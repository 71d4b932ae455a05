"""Intervals over seeds and patients, against closed forms and their coverage, and Holm's correction."""

import math

import numpy as np
import pytest
from scipy import stats


def drawn(means: np.ndarray, *, samples: int = 4000, seed: int = 0) -> np.ndarray:
    """Means over patients of [n, R] under resamples of the patients, one patient after another."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        chosen = generator.integers(0, len(means), len(means))
        found.append([float(np.mean(means[chosen, seed])) for seed in range(means.shape[1])])
    return np.array(found).T


def test_seeds_alone_give_students_interval():
    from mmil_cli.metrics.replicates import over_seeds

    values = np.array([0.70, 0.74, 0.71, 0.78])
    found = over_seeds(values)
    wanted = stats.ttest_1samp(values, 0.7)
    low, high = wanted.confidence_interval(0.9)
    assert found.p_value(0.7) == pytest.approx(wanted.pvalue)
    interval = found.interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_patients_alone_give_the_error_of_the_mean():
    from mmil_cli.metrics.replicates import over_seeds

    patients = np.random.default_rng(3).normal(0.2, 1, (40, 1))
    found = over_seeds(patients.mean(axis=0), drawn(patients), num_groups=40)
    wanted = stats.ttest_1samp(patients[:, 0], 0.0)
    assert found.error == pytest.approx(patients.std(ddof=1) / math.sqrt(40), rel=0.05)
    assert found.freedom == pytest.approx(39)
    assert found.p_value() == pytest.approx(wanted.pvalue, rel=0.1)


def test_both_add_and_freedom_is_satterthwaites():
    from mmil_cli.metrics.replicates import over_seeds

    table = np.random.default_rng(1).normal(0, 1, (50, 1)) + np.array([[0.0, 0.3, 0.5]])
    found = over_seeds(table.mean(axis=0), drawn(table), num_groups=50)
    seeds = np.var([0.0, 0.3, 0.5], ddof=1) / 3
    patients = table[:, 0].var(ddof=1) / 50
    assert found.error**2 == pytest.approx(seeds + patients, rel=0.05)
    assert found.freedom == pytest.approx(
        (seeds + patients) ** 2 / (seeds**2 / 2 + patients**2 / 49), rel=0.1
    )


def test_patients_of_each_seed_are_in_the_seeds_variance_already():
    from mmil_cli.metrics.replicates import over_seeds

    values = np.array([0.5, 0.6, 0.9])
    draws = np.random.default_rng(0).normal(values[:, None], 0.2, (3, 1000))
    assert over_seeds(values, draws, shared=False) == over_seeds(values)
    assert over_seeds(values, draws, shared=True).error > over_seeds(values).error


def test_undefined_seeds_are_left_out_and_nothing_is_invented():
    from mmil_cli.metrics.replicates import over_seeds

    values = np.array([0.5, math.nan, 0.7])
    found = over_seeds(values)
    assert (found.num_seeds, found.value) == (2, pytest.approx(0.6))
    nothing = over_seeds(np.array([math.nan]))
    assert nothing.num_seeds == 0
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.p_value())
    one = over_seeds(np.array([0.5]))
    assert one.value == 0.5
    assert math.isnan(one.interval(0.95).low)
    assert math.isnan(one.p_value(0.4))
    same = over_seeds(np.array([0.5, 0.5, 0.5]))
    assert (same.interval(0.95).low, same.p_value(0.5), same.p_value(0.4)) == (0.5, 1.0, 0.0)


def coverage(*, patients: float, seeds: float, both: float, num_seeds: int, trials: int = 1500) -> float:
    """How often the interval of 60 patients and some seeds holds the truth."""
    from mmil_cli.metrics.replicates import over_seeds

    generator, held = np.random.default_rng(7), 0
    for _ in range(trials):
        table = (
            patients * generator.standard_normal((60, 1))
            + seeds * generator.standard_normal((1, num_seeds))
            + both * generator.standard_normal((60, num_seeds))
        )
        weights = generator.multinomial(60, [1 / 60] * 60, 100) / 60
        found = over_seeds(table.mean(axis=0), (weights @ table).T, num_groups=60).interval(0.95)
        held += found.low <= 0 <= found.high
    return held / trials


@pytest.mark.parametrize(
    ("patients", "seeds", "both"), [(1.0, 0.0, 0.0), (0.0, 0.3, 0.0), (1.0, 0.3, 1.0), (0.3, 0.0, 3.0)]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(patients, seeds, both):
    share = coverage(patients=patients, seeds=seeds, both=both, num_seeds=3)
    assert share >= 0.92
    if not both:
        assert share <= 0.97


def slow_holm(p_values: list[float], alpha: float) -> list[bool]:
    """The step-down procedure as it is told: reject the smallest, go on with one test less."""
    left, rejected = dict(enumerate(p_values)), [False] * len(p_values)
    while left:
        place = min(left, key=lambda number: left[number])
        if left[place] >= alpha / len(left):
            break
        rejected[place] = True
        del left[place]
    return rejected


def test_holm_decides_as_the_step_down_procedure():
    from mmil_cli.metrics.replicates import holm, holm_levels

    generator = np.random.default_rng(0)
    for _ in range(200):
        p_values = (generator.random(6) ** 4).tolist()
        wanted = slow_holm(p_values, 0.05)
        assert [p < 0.05 for p in holm(p_values)] == wanted
        levels = holm_levels(p_values, 0.95)
        assert [p < 1 - level for p, level in zip(p_values, levels, strict=True)] == wanted


def test_holm_of_a_worked_example_and_of_what_is_no_test():
    from mmil_cli.metrics.replicates import holm, holm_levels

    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = holm([0.02, math.nan, 0.03])
    assert found[0] == pytest.approx(0.04)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.04)
    assert holm_levels([0.01, math.nan], 0.95) == pytest.approx([0.95, 0.95])
