from dataclasses import astuple, replace

import numpy as np
import pytest

from mmil_cli.metrics.grounding import METRICS, GroundingScores
from mmil_cli.metrics.grounding_table import grounding_table, paired_table, score_matrix

NAN = float("nan")


def scores_of(values: list[float]) -> list[GroundingScores]:
    firsts = [(abs(v), v, v / 2, v / 3, float(v > 0), v + 1) for v in values]
    others = range(len(METRICS) - 6)
    return [
        GroundingScores(*first, *(v / 2**i for i in others)) for v, first in zip(values, firsts, strict=True)
    ]


def many(seed: int, size: int) -> list[GroundingScores]:
    return scores_of(np.random.default_rng(seed).normal(0.4, 1.0, size).tolist())


def test_columns_follow_the_metrics() -> None:
    matrix = score_matrix(scores_of([1.0, -2.0]))
    assert matrix[:, METRICS.index("cnr_signed")].tolist() == [1.0, -2.0]
    assert matrix[:, METRICS.index("cnr")].tolist() == [1.0, 2.0]
    assert score_matrix([]).shape == (0, len(METRICS))


def test_micro_is_over_samples_and_macro_over_findings() -> None:
    table = grounding_table(
        scores_of([1.0, 2.0, 3.0, 10.0]), groups=range(4), names=["nodule", "edema", "edema", "edema"]
    )
    assert table.micro.metrics["cnr"].value == pytest.approx(4.0)
    assert table.macro.metrics["cnr"].value == pytest.approx((1 + 5) / 2)
    assert [row.name for row in table.findings] == ["edema", "nodule"]
    assert [row.num_samples for row in table.findings] == [3, 1]
    assert table.findings[0].metrics["miou"].value == pytest.approx(2.5)


def test_one_finding_makes_micro_and_macro_equal() -> None:
    table = grounding_table(many(0, 30), groups=range(30), names=["edema"] * 30, samples=100)
    for metric, value in table.micro.metrics.items():
        for other in (table.macro.metrics[metric], table.findings[0].metrics[metric]):
            assert astuple(other) == pytest.approx(astuple(value), rel=1e-12)
    measured = table.micro.metrics["cnr_signed"]
    assert measured.low < measured.value < measured.high


def test_intervals_equal_the_slow_bootstrap() -> None:
    from mmil_cli.metrics.intervals import patient_weights

    scores, groups, names = many(1, 12), np.arange(12) // 2, np.array(["a", "b", "c"] * 4)
    table = grounding_table(scores, groups=groups, names=names.tolist(), samples=40, seed=5)
    values = score_matrix(scores)[:, METRICS.index("miou")]
    macro = []
    for weights in patient_weights(groups, samples=40, seed=5):
        drawn = [np.repeat(values[names == name], weights[names == name]) for name in "abc"]
        macro.append(np.mean([part.mean() for part in drawn if part.size]))
    measured = table.macro.metrics["miou"]
    assert (measured.low, measured.high) == pytest.approx(tuple(np.quantile(macro, [0.025, 0.975])))


def test_undefined_samples_are_left_out_and_counted() -> None:
    scores = scores_of([1.0, 2.0, 3.0])
    scores[1] = replace(scores[1], pixel_auroc=NAN)
    table = grounding_table(scores, groups=range(3), names=["a", "a", "b"])
    assert table.micro.num_undefined["pixel_auroc"] == 1
    assert table.micro.num_undefined["cnr"] == 0
    assert table.micro.metrics["pixel_auroc"].value == pytest.approx((2.0 + 4.0) / 2)
    assert table.findings[1].metrics["cnr"].num_undefined > 0  # resamples without this patient


def test_no_samples_give_no_numbers() -> None:
    table = grounding_table([], groups=[], names=[], samples=10)
    assert table.findings == ()
    assert np.isnan(table.micro.metrics["cnr"].value)
    assert np.isnan(table.macro.metrics["cnr"].value)


def _with_cnr(values: np.ndarray) -> list[GroundingScores]:
    return [GroundingScores(value, value, *[0.5] * (len(METRICS) - 2)) for value in values]


def test_pairing_removes_what_both_sides_share() -> None:
    generator = np.random.default_rng(0)
    control = generator.normal(0, 5, 80)
    values = control + 0.5 + generator.normal(0, 0.1, 80)
    options = {"groups": list(range(80)), "names": ["a"] * 60 + ["b"] * 20}
    table = paired_table(_with_cnr(values), _with_cnr(control), **options)
    paired, gaps = table.micro.metrics["cnr"], values - control
    assert paired.value == pytest.approx(gaps.mean())
    assert 0.4 < paired.low < paired.value < paired.high < 0.6
    assert table.macro.metrics["cnr"].value == pytest.approx((gaps[:60].mean() + gaps[60:].mean()) / 2)
    reverse = paired_table(_with_cnr(control), _with_cnr(values), **options).micro.metrics["cnr"]
    assert (reverse.low, reverse.high) == pytest.approx((-paired.high, -paired.low))


def test_pairs_with_an_undefined_side_are_left_out() -> None:
    values, control = np.array([1.0, 2.0, NAN]), np.array([0.0, NAN, 5.0])
    table = paired_table(_with_cnr(values), _with_cnr(control), groups=[0, 1, 2], names=["a"] * 3)
    assert table.micro.metrics["cnr"].value == 1.0
    assert table.micro.num_undefined["cnr"] == 2
