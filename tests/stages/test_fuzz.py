"""A slice of the damaged cases, and that the strict reading sees what it should."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmil_cli.data import voi
from mmil_cli.errors import UsageError
from mmil_cli.stages import bench_fuzz
from mmil_cli.stages.fuzz import films, texts
from mmil_cli.stages.fuzz.cases import KINDS, make_case
from mmil_cli.stages.fuzz.elements import Refused
from mmil_cli.stages.fuzz.jpegs import BrokenJpeg, strict_jpeg
from mmil_cli.stages.fuzz.pictures import strict_picture
from mmil_cli.stages.fuzz.tables import strict_rows
from mmil_cli.stages.fuzz.trial import REFUSED, REJECTED, TAKEN, WRONG, try_here


@pytest.fixture(autouse=True)
def _any_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests has held what other tests needed."""
    monkeypatch.setattr("mmil_cli.stages.fuzz.trial.MOST_MIB", float("inf"))


def trial(folder: Path, number: int, *, seed: int = 1):
    (folder / str(number) / "source").mkdir(parents=True)
    case = make_case(number, seed=seed, folder=folder / str(number) / "source")
    return try_here(case, folder / str(number) / "out")


def test_a_slice_of_the_cases_goes_right(tmp_path: Path) -> None:
    found = [trial(tmp_path, number) for number in range(80)]
    assert [one for one in found if one.outcome == WRONG] == []
    assert {one.kind for one in found} == set(KINDS)
    assert {one.outcome for one in found} == {TAKEN, REJECTED, REFUSED}


def test_a_case_is_made_of_its_number_alone(tmp_path: Path) -> None:
    first, second = (trial(tmp_path / name, 7) for name in "ab")
    assert (first.kind, first.damage, first.outcome) == (second.kind, second.damage, second.outcome)


@pytest.mark.parametrize("syntax", films.SYNTAXES, ids=lambda syntax: syntax.name)
def test_the_strict_reading_knows_every_whole_film(tmp_path: Path, syntax) -> None:
    for window in range(4):
        path = tmp_path / "film.dcm"
        path.write_bytes(films.dicom(3, syntax, window, inverted=window % 2 == 0))
        assert strict_picture(path).std() > 0.1
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(Refused):
            strict_picture(path)


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_the_strict_reading_knows_pictures(tmp_path: Path, form: str) -> None:
    (tmp_path / "film").write_bytes(films.picture(3, form))
    expected = (films.film(3) >> 4) / 255
    np.testing.assert_allclose(strict_picture(tmp_path / "film"), expected, atol=0 if form == "png" else 0.1)


def test_the_strict_reading_of_jpeg_is_strict() -> None:
    data = films.picture(3, "jpeg")
    scan = data.index(b"\xff\xda")
    broken = {
        "bytes between segments": data[:20] + b"\0" + data[20:],
        "premature end": data[:-40] + b"\xff\xd9",
        "bytes before the end": data[:-2] + b"\1\2\xff\xd9",
        "a table that is not there": data.replace(b"\xff\xdb", b"\xff\xfe"),
        "no scan": data[:scan],
        "frame": data.replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"),
    }
    for message, content in broken.items():
        with pytest.raises(BrokenJpeg, match=message):
            strict_jpeg(content)
    loud = bytearray(data)
    start = data.index(b"\xff\xdb") + 5
    loud[start : start + 64] = b"\xff" * 64
    assert np.isnan(strict_jpeg(bytes(loud))).all()


@pytest.mark.parametrize("form", texts.FORMS)
def test_the_strict_reading_knows_tables(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"films.{form}"
    path.write_bytes(texts.table(texts.rows(3), form))
    assert [row["image_id"] for row in strict_rows(path)] == ["i0", "i1", "i2"]
    assert strict_rows(path)[2]["report"] == texts.rows(3)[2]["report"]


@pytest.mark.parametrize("text", ['a,b\n1,"2\n', 'a,b\n1,"2"3\n', "a,b\n1,2,3\n", "a,a\n1,2\n", ""])
def test_the_strict_reading_refuses_broken_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Refused):
        strict_rows(tmp_path / "t.csv")


def test_a_fault_of_ours_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Films shown inverted, reports lost, a crash of any kind."""
    monkeypatch.setattr(voi, "is_inverted", lambda header: header.PhotometricInterpretation != "MONOCHROME1")
    outcomes = [trial(tmp_path / "inverted", number) for number in range(30)]
    told = [fault for one in outcomes for fault in one.faults]
    assert any("other pixels than a strict reading" in fault for fault in told)
    monkeypatch.undo()
    monkeypatch.setattr("mmil_cli.data.convert.report_sentences", lambda sections: ["Something else."])
    told = [fault for number in range(30) for fault in trial(tmp_path / "words", number).faults]
    assert any("other sentences" in fault for fault in told)
    monkeypatch.undo()

    def crash(*_: object) -> None:
        raise KeyError("plain")

    monkeypatch.setattr("mmil_cli.data.convert.read_film", crash)
    assert any("KeyError" in fault for n in range(3) for fault in trial(tmp_path / "crash", n).faults)


def test_the_command_counts_every_case(tmp_path: Path) -> None:
    result = bench_fuzz.run(tmp_path, cases=5, seed=2)
    record = json.loads(result.record.read_text())
    assert sum(sum(found.values()) for found in record["counts"].values()) == 5
    assert sum(row["cases"] for row in record["damages"]) == 5
    assert record["command"] == "mmil bench fuzz --cases 5 --seed 2"
    assert result.wrong == ()
    with pytest.raises(UsageError, match="--cases is 0"):
        bench_fuzz.run(tmp_path, cases=0)
