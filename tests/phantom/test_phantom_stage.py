"""The tree as a whole: the same bytes, made whole or not at all, tables that fit the films."""

import csv
import gzip
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from mmil_cli.errors import DataError, UsageError
from mmil_cli.phantom.findings import CHEXPERT_COLUMNS
from mmil_cli.phantom.plan import StudyPlan
from mmil_cli.phantom.tables import BOXES_FILE, CHEXPERT_FILE, METADATA_FILE, SPLIT_FILE
from mmil_cli.stages.phantom import run

LATERALISED = {"pleural effusion", "pneumothorax", "consolidation", "atelectasis", "nodule", "edema"}


def read_table(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return list(csv.DictReader(io.StringIO(text)))


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    run(tmp_path / "one", studies=9, seed=3, side=128, workers=1)
    run(tmp_path / "two", studies=9, seed=3, side=128, workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_another_seed_gives_other_films(tmp_path: Path) -> None:
    run(tmp_path / "a", studies=2, seed=1, side=64, workers=1)
    run(tmp_path / "b", studies=2, seed=2, side=64, workers=1)
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "b").values()) - common_readme()


def common_readme() -> set[str]:
    from mmil_cli.phantom.tables import README

    return {hashlib.sha256(README.encode()).hexdigest()}


def test_gzip_holds_no_time(generated_tree: Path) -> None:
    for name in (SPLIT_FILE, METADATA_FILE, CHEXPERT_FILE):
        assert (generated_tree / name).read_bytes()[4:8] == b"\0\0\0\0"


def test_existing_folders(tmp_path: Path) -> None:
    out = tmp_path / "tree"
    assert run(out, studies=2, seed=1, side=64, workers=1).written
    before = digests(out)
    assert not run(out, studies=2, seed=1, side=64, workers=1).written
    assert digests(out) == before
    with pytest.raises(DataError, match="other options"):
        run(out, studies=3, seed=1, side=64, workers=1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("keep")
    with pytest.raises(DataError, match="choose another --out"):
        run(other, studies=2, seed=1, side=64, workers=1)
    assert (other / "thesis.txt").read_text() == "keep"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "tree", studies=2, seed=1, side=64, workers=1, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(
        tmp_path / "t",
        studies=3,
        side=64,
        workers=1,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def generate(out: Path, *, studies: int = 2, seed: int = 0, side: int = 64, workers: int = 1) -> None:
    run(out, studies=studies, seed=seed, side=side, workers=workers)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"studies": 0}, "--studies"),
        ({"seed": -1}, "--seed"),
        ({"side": 3}, "--side"),
        ({"workers": 0}, "--workers"),
    ],
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        generate(tmp_path / "t", **options)
    assert list(tmp_path.iterdir()) == []


def test_table_columns(generated_tree: Path) -> None:
    assert list(read_table(generated_tree / SPLIT_FILE)[0]) == ["dicom_id", "study_id", "subject_id", "split"]
    labels = read_table(generated_tree / CHEXPERT_FILE)
    assert list(labels[0]) == ["subject_id", "study_id", *CHEXPERT_COLUMNS]
    assert sorted(CHEXPERT_COLUMNS) == list(CHEXPERT_COLUMNS)
    assert {row[name] for row in labels for name in CHEXPERT_COLUMNS} <= {"", "1.0", "0.0", "-1.0"}
    boxes = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height,split"
    assert (generated_tree / BOXES_FILE).read_text().splitlines()[0] == boxes
    truth = "dicom_id,finding,side,zone,size,severity,x,y,w,h"
    assert (generated_tree / "truth/findings.csv").read_text().splitlines()[0] == truth
    assert "generated" in json.loads((generated_tree / "phantom.json").read_text())["what"]


def test_names_and_metadata_fit_the_films(generated_tree: Path) -> None:
    films = {path.stem: path for path in generated_tree.glob("files/p1?/p1???????/s5???????/*.dcm")}
    assert len(films) == len(list(generated_tree.rglob("*.dcm")))
    metadata = read_table(generated_tree / METADATA_FILE)
    assert {row["dicom_id"] for row in metadata} == set(films)
    assert {row["ViewPosition"] for row in metadata} == {"PA", "AP", "LATERAL"}
    for row in metadata:
        path = films[row["dicom_id"]]
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}", path.stem)
        assert path.parent.name == f"s{row['study_id']}"
        assert path.parent.parent.name == f"p{row['subject_id']}"
        assert path.parent.with_suffix(".txt").is_file()
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert (dataset.Rows, dataset.Columns) == (int(row["Rows"]), int(row["Columns"]))
        assert dataset.PatientID == row["subject_id"]
        assert dataset.BurnedInAnnotation == "NO"
        assert "GENERATED" in str(dataset.PatientName)


def test_splits_keep_patients_apart(generated_tree: Path) -> None:
    rows = read_table(generated_tree / SPLIT_FILE)
    patients: dict[str, set[str]] = {}
    for row in rows:
        patients.setdefault(row["split"], set()).add(row["subject_id"])
    assert set(patients) == {"train", "validate", "test"}
    assert not patients["train"] & patients["test"]
    assert not patients["train"] & patients["validate"]
    assert not patients["validate"] & patients["test"]
    assert 0.55 < sum(row["split"] == "train" for row in rows) / len(rows) < 0.85


def test_boxes_are_tight_about_masks(generated_tree: Path) -> None:
    by_film: dict[str, list[dict[str, str]]] = {}
    for row in read_table(generated_tree / "truth/findings.csv"):
        by_film.setdefault(row["dicom_id"], []).append(row)
    assert len(by_film) > 10
    for film, rows in by_film.items():
        bits = np.asarray(Image.open(generated_tree / f"truth/masks/{film}.png"))
        for number, row in enumerate(rows):
            mask = (bits >> number) & 1 == 1
            x, y, w, h = (int(row[name]) for name in "xywh")
            box = mask[y : y + h, x : x + w]
            assert box.sum() == mask.sum() > 0
            assert all(edge.any() for edge in (box[0], box[-1], box[:, 0], box[:, -1]))


def test_left_of_the_patient_is_right_of_the_film(generated_tree: Path) -> None:
    widths = {row["dicom_id"]: int(row["Columns"]) for row in read_table(generated_tree / METADATA_FILE)}
    rows = [r for r in read_table(generated_tree / "truth/findings.csv") if r["finding"] in LATERALISED]
    assert {row["side"] for row in rows} == {"left", "right"}
    for row in rows:
        centre = int(row["x"]) + int(row["w"]) / 2
        assert (centre > widths[row["dicom_id"]] / 2) == (row["side"] == "left"), row


def test_phrases_name_what_was_drawn_there(generated_tree: Path) -> None:
    truth = {
        tuple(row[n] for n in ("dicom_id", *"xywh")): row
        for row in read_table(generated_tree / "truth/findings.csv")
    }
    boxes = read_table(generated_tree / BOXES_FILE)
    assert boxes
    for box in boxes:
        row = truth[tuple(box[n] for n in ("dicom_id", *"xywh"))]
        assert row["finding"] in box["label_text"]
        assert row["size"] in box["label_text"]
        if row["finding"] in LATERALISED - {"edema"}:
            assert row["side"] in box["label_text"] or "bilateral" in box["label_text"]
        assert 0 <= int(box["x"]) <= int(box["image_width"]) - int(box["w"])
        assert 0 <= int(box["y"]) <= int(box["image_height"]) - int(box["h"])


def test_normal_studies_have_no_boxes(generated_tree: Path, generated_plans: list[StudyPlan]) -> None:
    normal = {film.dicom_id for plan in generated_plans if not plan.findings for film in plan.films}
    assert normal
    assert not normal & {row["dicom_id"] for row in read_table(generated_tree / "truth/findings.csv")}
    assert not normal & {row["dicom_id"] for row in read_table(generated_tree / BOXES_FILE)}


def test_every_drawn_finding_of_a_frontal_film_has_a_mask(
    generated_tree: Path, generated_plans: list[StudyPlan]
) -> None:
    rows = read_table(generated_tree / "truth/findings.csv")
    drawn = {(row["dicom_id"], row["finding"]) for row in rows}
    for plan in generated_plans:
        for film in plan.films:
            if film.view != "LATERAL":
                assert all((film.dicom_id, finding.kind.value) in drawn for finding in plan.findings)
