"""The engine of studies: cells, failures, resuming, and verdicts, on cells of arithmetic."""

import csv
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

ARMS = [
    {"name": "base"},
    {"name": "better", "set": {"mean": 0.5}},
    {"name": "worse", "set": {"mean": -0.5}},
    {"name": "alike", "set": {"noise": 2.0}},
]
CLAIMS = [
    {"text": "<b>better</b> beats base & all", "source": "ours", "metric": "fake/good", "better": "better",
     "than": ["base", "worse"]},
    {"text": "worse beats base", "source": "ours", "metric": "fake/good", "better": "worse", "than": "base"},
    {"text": "noise beats base", "source": "ours", "metric": "fake/good", "better": "alike", "than": "base"},
    {"text": "less bad", "source": "ours", "metric": "fake/bad", "better": "better", "than": "base"},
    {"text": "above a quarter", "source": "ours", "metric": "fake/good", "better": "better", "margin": 5.0},
]  # fmt: skip


@pytest.fixture(autouse=True)
def fake_kind(monkeypatch):
    from mmil_cli.stages.study.kinds import CELL_KINDS

    monkeypatch.setitem(CELL_KINDS, "fake", "fake_cells")


def planned(**sections):
    from mmil_cli.config.study import check_study
    from mmil_cli.stages.study.cells import plan_study

    tree = {
        "name": "fake",
        "title": "A <study> & more",
        "purpose": "To try.",
        "kind": "fake",
        "arms": ARMS,
        "seeds": 4,
        "metrics": ["fake/good", "fake/seconds"],
        "baseline": "base",
        "claims": CLAIMS,
        "forms": {"short": {"minutes": 1}},
        **sections,
    }
    return plan_study(check_study(tree, where="the study"), form="short")


def worked(out, plan):
    """The study run in this process."""
    from mmil_cli.stages.study.folder import begin, held, read_cell
    from mmil_cli.stages.study.run import conclude
    from mmil_cli.stages.study.work import run_cells
    from mmil_cli.stages.workers import Inline

    with held(out):
        begin(out, plan, threads=1)
        left = [cell for cell in plan.cells if read_cell(out, cell) is None]
        told = []
        run_cells(out, left, data={}, workers=Inline(), threads=1, device="cpu", on_cell=told.append)
        assert len(told) == len(left)
        return conclude(plan, out, data={}, device="cpu")


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_claims_hold_fail_or_stay_open_and_all_are_told_alike(tmp_path):
    result = worked(tmp_path / "s", planned())
    verdicts = {found.claim.text: str(found.verdict) for found in result.verdicts}
    assert list(verdicts.values()) == ["holds", "does not hold", "undecided", "holds", "does not hold"]
    page = result.page.read_text()
    headings = re.findall(r"<h3[^>]*>(.*?)</h3>", page)
    assert [text.split(":")[0] for text in headings[:5]] == [word.capitalize() for word in verdicts.values()]
    assert "5 claims: 2 holds, 2 does not hold, 1 undecided" in page
    told = rows_of(tmp_path / "s" / "claims.csv")
    assert [row["verdict"] for row in told] == ["holds", "holds", *list(verdicts.values())[1:]]
    for row in told:  # the deciding interval leaves out the margin exactly where the claim is decided
        low, high, margin = (float(row[name]) for name in ("deciding_low", "deciding_high", "margin"))
        assert (low <= margin <= high) == (row["of_this_difference"] == "undecided")


def test_the_page_is_escaped_and_fetches_nothing(tmp_path):
    page = worked(tmp_path / "s", planned()).page.read_text()
    assert "<b>better</b>" not in page
    assert "&lt;b&gt;better&lt;/b&gt; beats base &amp; all" in page
    assert "A &lt;study&gt; &amp; more" in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    for words in ("chance", "mmil bench mi --seed 3", "good &lt; &amp; &gt;", "Satterthwaite"):
        assert words in page


def test_tables_hold_every_cell_and_keep_times_apart(tmp_path):
    import pyarrow.parquet as pq

    worked(tmp_path / "s", planned())
    rows = rows_of(tmp_path / "s" / "results.csv")
    assert {row["metric"] for row in rows} == {"fake/good", "fake/bad"}
    assert len(rows) == 2 * (4 * 4 + 4)
    assert pq.read_table(tmp_path / "s" / "results.parquet").num_rows == len(rows)
    mean = next(
        row for row in rows if (row["arm"], row["seed"], row["metric"]) == ("base", "all", "fake/good")
    )
    own = [
        float(row["value"])
        for row in rows
        if (row["arm"], row["metric"]) == ("base", "fake/good") and row["seed"] != "all"
    ]
    assert float(mean["value"]) == pytest.approx(np.mean(own))
    assert float(mean["low"]) < float(mean["value"]) < float(mean["high"])
    assert mean["chance"] == "0"
    times = rows_of(tmp_path / "s" / "times.csv")
    assert {row["metric"] for row in times} == {"fake/seconds", "cell/seconds"}
    assert {row["arm"] for row in rows_of(tmp_path / "s" / "differences.csv")} == {"better", "worse", "alike"}


def test_a_cell_that_fails_is_told_and_stops_no_other_and_is_tried_again(tmp_path):
    arms = [
        *ARMS,
        {"name": "gone", "set": {"fails": "error"}},
        {"name": "bug", "set": {"fails": "bug"}},
        {"name": "after", "set": {"of": "gone"}},
        {"name": "once", "set": {"fails": "once"}},
    ]
    plan = planned(arms=arms, seeds=1)
    result = worked(tmp_path / "s", plan)
    assert set(result.failures) == {"gone, seed 0", "bug, seed 0", "after, seed 0", "once, seed 0"}
    assert result.failures["gone, seed 0"] == "the films are gone"
    assert result.failures["after, seed 0"] == "it needs the cell of gone, which failed"
    assert "ZeroDivisionError: a bug" in result.failures["bug, seed 0"]
    assert "the films are gone" in result.page.read_text()
    assert {str(found.verdict) for found in result.verdicts} == {"undecided"}  # one seed decides nothing
    again = worked(tmp_path / "s", plan)
    assert set(again.failures) == {"gone, seed 0", "bug, seed 0", "after, seed 0"}


def test_only_what_is_not_finished_is_run_and_the_tables_are_the_same(tmp_path):
    plan = planned()
    worked(tmp_path / "whole", plan)
    worked(tmp_path / "parts", plan)
    cells = sorted((tmp_path / "parts" / "cells").iterdir())
    for folder in cells[::3]:
        (folder / "cell.json").unlink()
    kept = {
        folder: (folder / "cell.json").stat().st_mtime_ns
        for folder in cells
        if (folder / "cell.json").exists()
    }
    worked(tmp_path / "parts", plan)
    assert all((folder / "cell.json").stat().st_mtime_ns == time for folder, time in kept.items())
    for name in ("results.csv", "claims.csv", "differences.csv", "results.parquet"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_folder_of_something_else_is_refused(tmp_path):
    from mmil_cli.errors import DataError, UsageError

    out = tmp_path / "s"
    worked(out, planned())
    others = {
        r"another recipe \(claims differ\)": {"claims": CLAIMS[:1]},
        r"another recipe \(arms, claims differ\)": {"arms": ARMS[:3], "claims": CLAIMS[:2]},
        "another study, 'fake'": {"name": "other"},
    }
    for told, sections in others.items():
        with pytest.raises(UsageError, match=told):
            worked(out, planned(**sections))
    from mmil_cli.stages.study.folder import begin, held

    with held(out), pytest.raises(UsageError, match="this study with threads 1, not 2"):
        begin(out, planned(), threads=2)
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.doc").touch()
    with pytest.raises(UsageError, match=r"holds something else \(thesis.doc\)"), held(strange):
        pass
    (out / "study.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        worked(out, planned())


def test_two_runs_into_one_folder_are_refused(tmp_path):
    from mmil_cli.errors import UsageError
    from mmil_cli.stages.study.folder import held

    with (
        held(tmp_path / "s"),
        pytest.raises(UsageError, match="another run is at work"),
        held(tmp_path / "s"),
    ):
        pass
    with held(tmp_path / "s"):
        pass


def test_data_that_changed_since_the_study_began_is_refused(tmp_path):
    import dataclasses

    from mmil_cli.errors import DataError
    from mmil_cli.stages.study.folder import begin, held, keep_data
    from mmil_cli.stages.study.kinds import StudyData

    data = StudyData(
        name="films", title="films", offers=frozenset(), folder=tmp_path, phrases=None, content_hash="a" * 64
    )
    with held(tmp_path / "s"):
        begin(tmp_path / "s", planned(), threads=1)
        keep_data(tmp_path / "s", data)
        keep_data(tmp_path / "s", data)
        with pytest.raises(DataError, match=r"data films .* has changed since this study began"):
            keep_data(tmp_path / "s", dataclasses.replace(data, content_hash="b" * 64))


def test_a_damaged_cell_is_told(tmp_path):
    from mmil_cli.errors import DataError

    plan = planned()
    worked(tmp_path / "s", plan)
    folder = next((tmp_path / "s" / "cells").iterdir())
    (folder / "draws.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is damaged; remove it"):
        worked(tmp_path / "s", plan)
    content = json.loads((folder / "cell.json").read_text())
    assert content["settings"] is not None


def figure(values, groups):
    from mmil_cli.stages.study.figures import mean_figure

    return mean_figure("fake/good", np.asarray(values, float), groups=np.asarray(groups))


def test_a_paired_difference_is_that_of_the_same_seeds_and_patients():
    """Against the two-sample form by hand: the t interval of paired seeds plus the patients' variance."""
    from mmil_cli.stages.study.comparisons import Side, estimate_difference

    generator = np.random.default_rng(0)
    patients = np.arange(50)
    shared = generator.normal(0, 5, 50)  # common to both sides, so it cancels where patients are paired
    first = [shared + generator.normal(0.4, 1, 50) for _ in range(3)]
    second = [shared + generator.normal(0.0, 1, 50) for _ in range(3)]
    results = {}
    for seed in range(3):
        results |= {("", "", "a", seed): cell_of(figure(first[seed], patients))}
        # the same patients in another order
        results |= {("", "", "b", seed): cell_of(figure(second[seed][::-1], patients[::-1]))}
    found = estimate_difference(
        results, Side(row="a", metric="fake/good"), Side(row="b", metric="fake/good"),
        data="", conditions=("",), seeds=(0, 1, 2),
    )  # fmt: skip
    gaps = np.array(first) - np.array(second)
    assert found.value == pytest.approx(gaps.mean())
    of_seeds = gaps.mean(axis=1).var(ddof=1) / 3
    of_patients = gaps.mean(axis=0).var(ddof=1) / 50
    assert found.error == pytest.approx(math.sqrt(of_seeds + of_patients), rel=0.06)
    freedom = (of_seeds + of_patients) ** 2 / (of_seeds**2 / 2 + of_patients**2 / 49)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(of_seeds + of_patients)
    assert found.interval(0.95).high == pytest.approx(gaps.mean() + half, rel=0.06)
    flipped = estimate_difference(
        results, Side(row="a", metric="fake/good"), Side(row="b", metric="fake/good"),
        data="", conditions=("",), seeds=(0, 1, 2), higher_is_better=False,
    )  # fmt: skip
    assert flipped.value == pytest.approx(-found.value)
    assert flipped.error == pytest.approx(found.error)


def test_seeds_that_lack_a_side_are_left_out_and_conditions_are_averaged():
    from mmil_cli.stages.study.comparisons import Side, estimate_row

    patients = np.arange(4)
    results = {
        ("", "one", "a", 0): cell_of(figure([1, 1, 1, 1], patients)),
        ("", "two", "a", 0): cell_of(figure([3, 3, 3, 3], patients)),
        ("", "one", "a", 1): cell_of(figure([5, 5, 5, 5], patients)),
    }
    side = Side(row="a", metric="fake/good")
    found = estimate_row(results, side, data="", conditions=("one", "two"), seeds=(0, 1))
    assert (found.value, found.num_seeds) == (2.0, 1)
    assert estimate_row(results, side, data="", conditions=("one",), seeds=(0, 1)).value == 3.0
    assert estimate_row(results, side, data="x", conditions=("one",), seeds=(0, 1)).num_seeds == 0


def cell_of(found):
    from mmil_cli.stages.study.folder import CellResult

    return CellResult(cell=None, figures=(found,), ends=((math.nan, math.nan),), seconds=0.0)


def test_patients_of_each_seed_are_not_counted_twice(tmp_path):
    """Where each seed has cases of its own, the spread of the seeds holds their variance already."""
    shared = worked(tmp_path / "a", planned())
    own = worked(
        tmp_path / "b",
        planned(arms=[{**arm, "set": {**arm.get("set", {}), "own_cases": True}} for arm in ARMS]),
    )
    wide, narrow = (next(s for s in r.summaries if s.row == "alike").estimate for r in (shared, own))
    assert narrow.value == pytest.approx(wide.value)
    assert narrow.error < wide.error


def test_figures_draw_patients_whole_and_alike_for_all(tmp_path):
    from sklearn.metrics import roc_auc_score

    from mmil_cli.stages.study.figures import auroc_figure, mean_figure, mean_of_figures, resamples

    generator = np.random.default_rng(1)
    groups = np.array([f"p{number // 2}" for number in range(60)])
    labels = generator.integers(0, 2, 60)
    scores = generator.normal(labels, 1.0)
    found = auroc_figure("m", labels, scores, groups=groups)
    drawn = resamples(groups)
    for sample in range(5):
        repeated = np.repeat(np.arange(60), drawn.weights[sample])
        assert found.draws[sample] == pytest.approx(roc_auc_score(labels[repeated], scores[repeated]))
        assert (np.bincount(repeated, minlength=60)[::2] == np.bincount(repeated, minlength=60)[1::2]).all()
    part = mean_figure("m", scores[:10], groups=groups[:10], among=groups)
    assert part.cases == found.cases
    assert part.draws[3] == pytest.approx(np.average(scores[:10], weights=drawn.weights[3][:10]))
    both = mean_of_figures("m", [found, part])
    assert both.value == pytest.approx((found.value + part.value) / 2)
    assert both.draws[7] == pytest.approx((found.draws[7] + part.draws[7]) / 2)
    nothing = mean_figure("m", np.full(3, math.nan), groups=np.arange(3))
    assert math.isnan(nothing.value)
    assert mean_of_figures("m", [found, nothing]).value == found.value


def slow_gradients(film):
    """Votes pixel by pixel, blocks one after another."""
    light = np.sqrt(film.astype(float))
    height, width = film.shape
    cells = np.zeros((height // 8, width // 8, 9))
    for y in range(height):
        for x in range(width):
            down = light[y + 1, x] - light[y - 1, x] if 0 < y < height - 1 else 0.0
            across = light[y, x + 1] - light[y, x - 1] if 0 < x < width - 1 else 0.0
            place = (math.atan2(down, across) % math.pi) / (math.pi / 9) - 0.5
            lower = math.floor(place)
            size = math.hypot(down, across)
            cells[y // 8, x // 8, lower % 9] += size * (1 - place + lower)
            cells[y // 8, x // 8, (lower + 1) % 9] += size * (place - lower)
    found = []
    for i in range(height // 8 - 1):
        for j in range(width // 8 - 1):
            block = np.concatenate([cells[i, j], cells[i, j + 1], cells[i + 1, j], cells[i + 1, j + 1]])
            block = np.minimum(block / math.sqrt((block**2).sum() + 1e-10), 0.2)
            found.append(block / math.sqrt((block**2).sum() + 1e-10))
    return np.concatenate(found)


def test_oriented_gradients_equal_a_slow_loop():
    from mmil_cli.stages.study.hog import oriented_gradients

    film = np.random.default_rng(0).integers(0, 256, (24, 32)).astype(np.uint8)
    np.testing.assert_allclose(oriented_gradients(film), slow_gradients(film), atol=1e-9)
    assert not oriented_gradients(np.full((16, 16), 7, np.uint8)).any()
