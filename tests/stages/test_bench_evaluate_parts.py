"""The timings of retrieval and grounding, on small inputs, and the lengths of shortlists."""

import json
from pathlib import Path

import pytest

from mmil_cli.stages.archive import build_archive
from mmil_cli.stages.bench_ground import one_more_phrase
from mmil_cli.stages.bench_retrieve import ranks_of_pairs, run_shortlist


def test_ranks_of_pairs_are_timed_and_found() -> None:
    found = ranks_of_pairs(quick=True)
    assert found.seconds > 0
    assert found.most_seconds is None
    assert found.size == "500 x 500 pairs, D=16"
    assert float(found.found.split()[1].rstrip(";,")) > 0.05  # chance is 1 in 500


def test_one_more_phrase_is_timed_apart_from_its_encoding() -> None:
    found = one_more_phrase(quick=True)
    assert 0 < found.seconds < 60
    assert "10 x 10 regions" in found.size


def test_longer_shortlists_find_more(tiny_dataset: Path, tiny_run: Path, tmp_path: Path) -> None:
    build_archive(tiny_dataset, tmp_path / "index", checkpoint=tiny_run, device="cpu")
    result = run_shortlist(tmp_path / "index", tmp_path, device="cpu")
    assert result.num_films == 176
    for kind in ("sentences", "reports"):
        for stage in ("coarse grid", "one vector a film"):
            found = [r.agreement for r in result.rows if (r.queries, r.first_stage) == (kind, stage)]
            assert found == sorted(found)
            assert found[-1] > 0.5
    record = json.loads(result.record.read_text())
    assert record["rows"][0]["agreement"] == pytest.approx(result.rows[0].agreement)
    assert {row["holds"] for row in record["rows"]} <= {True, False}
