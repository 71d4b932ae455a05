"""Real films and real words, where they lie beside the checkout, go the whole way through the commands."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

TINY = (
    "data.batch_size=16",
    "data.workers=0",
    "image.size=64",
    "image.widths=[8, 16]",
    "text.width=16",
    "text.layers=1",
    "text.heads=2",
    "projection.dim=16",
    "optim.epochs=2",
)
LABEL_MATCHED_ROWS = {"train": 60, "val": 25, "dev_boxes": 15}


def mmil(*arguments):
    """Runs a command; its standard output."""
    from mmil_cli.cli.app import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.stdout


def pretrain(dataset, run, *overrides):
    options = [part for override in (*TINY, *overrides) for part in ("--set", override)]
    mmil("pretrain", dataset, *options, "--out", run, "--device", "cpu")
    return run


def open_dataset(folder):
    from mmil_cli.data.dataset import StudyDataset

    return StudyDataset.open(folder)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def notes(shared_data, tmp_path_factory):
    """Dataset of a fifth of the films with notes, and a run on it."""
    source = shared_data / "covid_cxr" / "pairs.csv"
    folder = tmp_path_factory.mktemp("notes")
    table = write_csv(folder / "pairs.csv", read_csv(source)[::5])
    columns = ("--column", "report=note_radiographic", "--column", "patient_id=group")
    mmil("preprocess", table, "--root", source.parent, *columns, "--side", 128, "--workers", 1, "--out",
         folder / "data")  # fmt: skip
    return folder / "data", pretrain(folder / "data", folder / "run")


class TestNotes:
    def test_films_without_a_radiographic_note_are_left_out_and_counted(self, notes, shared_data):
        dataset = open_dataset(notes[0])
        rows = read_csv(shared_data / "covid_cxr" / "pairs.csv")[::5]
        silent = [row["image_id"] for row in rows if not row["note_radiographic"].strip()]
        assert dataset.info.rejected == {"empty-report": len(silent)}
        listed = read_csv(notes[0] / "rejected.csv")
        assert [row["image_id"] for row in listed] == silent
        assert {row["detail"] for row in listed} == {"the report is empty"}
        assert set(dataset.column("patient_id")) <= {row["group"] for row in rows}

    def test_retrieval_measures_and_answers(self, notes, shared_data, tmp_path):
        data, run = notes
        mmil("retrieve", data, "--checkpoint", run, "--split", "validate", "--out", tmp_path)
        figures = json.loads((tmp_path / "retrieve.json").read_text())
        assert figures["image_to_text"]["num_gallery"] == len(open_dataset(data).indices("validate"))
        film = shared_data / "covid_cxr" / "images" / "000001-12.jpg"
        for query in (("--text", "bilateral consolidations"), ("--image", film)):
            found = json.loads(mmil("retrieve", data, "--checkpoint", run, *query, "--top", 2, "--json"))
            (answer,) = found["texts"] or found["images"]
            best = answer.get("films") or answer.get("reports")
            assert len(best) == 2
            assert best[0]["score"] >= best[1]["score"]

    def test_a_phrase_is_looked_for_in_a_large_compressed_dicom(self, notes, shared_data, tmp_path):
        film = shared_data / "dicom" / "chest_real" / "RG1_J2KI.dcm"
        mmil("ground", film, "pleural effusion", "--checkpoint", notes[1], "--out", tmp_path)
        record = json.loads((tmp_path / "RG1_J2KI.json").read_text())
        (finding,) = record["phrases"]
        assert (record["film"]["width"], record["film"]["height"]) == (1841, 1955)
        assert 0 < finding["peak"]["x"] < 1841
        assert 0 < finding["peak"]["y"] < 1955
        assert finding["boxes"]
        assert (tmp_path / "RG1_J2KI.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def radiographs(shared_data, tmp_path_factory):
    """Every DICOM there is, in one table, with a made-up report each."""
    folder = tmp_path_factory.mktemp("radiographs")
    files = sorted(path.relative_to(shared_data / "dicom") for path in shared_data.glob("dicom/*/*.dcm"))
    rows = [
        {"image": path, "image_id": path.stem, "report": f"Film {number}: the heart is normal in size."}
        for number, path in enumerate(files)
    ]
    table = write_csv(folder / "films.csv", rows)
    mmil("preprocess", table, "--root", shared_data / "dicom", "--workers", 1, "--out", folder / "data")
    dataset = open_dataset(folder / "data")
    places = {row.image_id: index for index in range(len(dataset)) if (row := dataset.row(index))}
    return dataset, places


class TestRadiographs:
    def test_each_decodes_as_the_manifest_says_or_is_left_out_with_one_sentence(
        self, radiographs, shared_data
    ):
        dataset, places = radiographs
        for row in read_csv(shared_data / "dicom" / "manifest.csv"):
            stem = row["file"].rpartition("/")[2].removesuffix(".dcm")
            assert (stem in places) == (row["decoded"] == "1"), stem
            if stem in places:
                film = dataset.row(places[stem])
                assert (film.source_height, film.source_width) == (int(row["rows"]), int(row["cols"]))
                assert np.ptp(dataset.pixels(places[stem])) > 100, stem
        listed = {row["image_id"]: row for row in read_csv(dataset.folder / "rejected.csv")}
        assert {name: row["reason"] for name, row in listed.items()} == {
            "RG3_JPLY": "unsupported-syntax",
            "bad_not_dicom": "not-an-image",
            "bad_truncated_pixels": "truncated",
        }
        assert all(row["detail"].startswith(f"{name}.dcm ") for name, row in listed.items())

    @pytest.mark.parametrize(
        ("one", "other", "tolerance"),
        [
            ("nih_mono1_8bit", "nih_mono2_8bit", 0),
            ("nih_signed12_rescale", "nih_mono2_8bit", 1),
            ("rg1d_rle", "rg1d_explicit_le", 0),
            ("rg1d_jpegls", "rg1d_explicit_le", 0),
            ("rg1d_j2k_lossless", "rg1d_explicit_le", 0),
            ("rg1d_jpeg_lossless_sv1", "rg1d_implicit_le", 0),
            ("RG1_J2KI", "RG1_JLSN", 1),
            ("RG2_JPLL", "RG2_RLE", 0),
            ("RG3_J2KR", "RG3_JLSL", 0),
        ],
    )
    def test_the_same_picture_stored_otherwise_is_the_same_picture(self, radiographs, one, other, tolerance):
        dataset, places = radiographs
        first, second = (dataset.pixels(places[name]).astype(int) for name in (one, other))
        assert np.abs(first - second).max() <= tolerance

    def test_a_header_that_says_monochrome1_inverts(self, radiographs):
        dataset, places = radiographs
        film, inverted = (
            dataset.pixels(places[name]).astype(int) for name in ("rsna_pa_jpeg_baseline", "rsna_fake_mono1")
        )
        assert np.abs(film + inverted - 255).max() <= 1


@pytest.fixture(scope="module")
def label_matched(shared_data, tmp_path_factory):
    """Folder with a dataset of real films with real sentences, 100 of them, and the table of all."""
    folder = tmp_path_factory.mktemp("label-matched")
    script = shared_data / "make_label_matched.py"
    subprocess.run(
        [sys.executable, str(script), str(folder / "all.csv")],
        check=True,
        capture_output=True,
        env=os.environ,
    )
    rows = read_csv(folder / "all.csv")
    chosen = [
        row
        for split, count in LABEL_MATCHED_ROWS.items()
        for row in [row for row in rows if row["split"] == split][:count]
    ]
    table = write_csv(folder / "table.csv", chosen)
    mmil("preprocess", table, "--side", 128, "--workers", 1, "--out", folder / "data")
    return folder


class TestLabelMatched:
    def test_splits_and_labels_are_those_of_the_table(self, label_matched):
        dataset = open_dataset(label_matched / "data")
        assert {name: counts.images for name, counts in dataset.info.counts.items()} == {
            "train": 60,
            "validate": 25,
            "dev_boxes": 15,
        }
        assert len(dataset.label_names) == 14
        positives = sum(row["Effusion"] == "1" for row in read_csv(label_matched / "table.csv"))
        assert dataset.labels(["Effusion"]).sum() == positives > 0

    def test_pretrained_mobilenet_goes_the_whole_way(self, label_matched, shared_data, tmp_path):
        data = label_matched / "data"
        weights = shared_data / "weights" / "mobilenet_v2_imagenet.safetensors"
        run = pretrain(
            data,
            tmp_path / "run",
            "image.encoder=mobilenet_v2",
            f"image.weights={weights}",
            "image.mean=0.5",
            "image.std=0.5",
            "optim.epochs=1",
        )
        where = ("--checkpoint", run, "--out", tmp_path)
        mmil("probe", data, *where, "--split", "validate")
        probe = json.loads((tmp_path / "probe.json").read_text())["methods"]
        assert 0 < probe["linear"]["mean"]["auroc"]["value"] < 1
        assert "Cardiomegaly" in probe["zero-shot"]["findings"]
        mmil("retrieve", data, *where, "--split", "validate")
        phrases = write_csv(tmp_path / "boxes.csv", phrase_rows(shared_data / "nih_cxr14"))
        mmil("ground", "--phrases", phrases, "--data", data, *where, "--split", "dev_boxes")
        ground = json.loads((tmp_path / "ground.json").read_text())
        assert ground["num_films"] == LABEL_MATCHED_ROWS["dev_boxes"]
        assert ground["num_unknown"] > 0
        assert np.isfinite(ground["systems"]["model"]["micro"]["pointing"]["value"])


def phrase_rows(folder):
    """The boxes of the films, normalised, as a table of phrases."""
    films = {row["image_id"]: row for row in read_csv(folder / "labels.csv")}
    for_film = []
    for row in read_csv(folder / "boxes.csv"):
        width, height = (int(films[row["image_id"]][name]) for name in ("w", "h"))
        left, top, right, bottom = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
        finding = row["cls"].replace("_", " ")
        for_film.append(
            {
                "dicom_id": row["image_id"],
                "category_name": finding,
                "label_text": finding.lower(),
                "x": left * width,
                "y": top * height,
                "w": (right - left) * width,
                "h": (bottom - top) * height,
                "image_width": width,
                "image_height": height,
            }
        )
    return for_film
