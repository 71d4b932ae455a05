"""Mosaics of digits as data of a study."""

import csv
from pathlib import Path


def test_a_study_makes_its_mosaics_and_evaluates_on_them(tmp_path: Path) -> None:
    from mmil_cli.config.study import check_study
    from mmil_cli.stages.study.cells import plan_study
    from mmil_cli.stages.study.run import run

    study = {
        "name": "little", "title": "A little study", "purpose": "Mosaics.", "kind": "floor",
        "data": {"digits": {"kind": "digits", "title": "mosaics, no films", "set": {"mosaics": 60}}},
        "arms": [{"name": "centre", "set": {"floor": "centre"}},
                 {"name": "prior", "set": {"floor": "location prior"}}],
        "seeds": 1, "metrics": ["ground/pointing"], "baseline": "centre", "forms": {"short": {"minutes": 1}},
    }  # fmt: skip
    result = run(
        plan_study(check_study(study, where="here"), form="short"), tmp_path / "out", workers=1, device="cpu"
    )
    assert not result.failures
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "ground/pointing" and row["value"]]
    assert {row["arm"] for row in rows} == {"centre", "prior"}
    assert {"place", "relation"} < {row["finding"] for row in rows}
    # Every cell of a mosaic is alike, so where boxes lie tells little: a quarter would be the right cell.
    pooled = [float(row["value"]) for row in rows if row["seed"] == "all"]
    assert all(value < 0.5 for value in pooled)
    assert "mosaics, no films" in result.page.read_text()
