"""`mmil bench preprocess`: what is compared makes the same film, and the record says what was run."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    from mmil_cli.stages.bench_films import write_film

    folder = tmp_path_factory.mktemp("films")
    return [
        write_film(folder / f"{number}.dcm", height=1200, width=1000, syntax=syntax)
        for number, syntax in enumerate((ExplicitVRLittleEndian, JPEG2000Lossless))
    ]


def test_the_usual_recipe_and_ours_make_nearly_the_same_film(films):
    from mmil_cli.stages.bench_films import usual_recipe
    from mmil_cli.stages.bench_preprocess import stored

    ours, usual = (
        np.asarray(Image.open(io.BytesIO(data))).astype(int)
        for data in (stored(films[0]), usual_recipe(films[0], side=512))
    )
    assert ours.shape == usual.shape == (512, 427)
    # The usual recipe stretches the window over its values' range, and resizes with another filter.
    assert np.corrcoef(ours.ravel(), usual.ravel())[0, 1] > 0.99


def test_both_syntaxes_hold_the_same_film(films):
    from mmil_cli.stages.bench_preprocess import stored

    assert stored(films[0]) == stored(films[1])


def test_the_peaks_of_processes_are_read(films, tmp_path):
    from mmil_cli.stages.bench_preprocess import _peak, _write_table

    table = _write_table(tmp_path / "films.csv", films[0], 3)
    of_films, of_run = _peak("films", tmp_path, *films), _peak("run", table, tmp_path / "data")
    assert 30 < of_films < 1000
    assert 30 < of_run < 1000
    assert json.loads((tmp_path / "data/dataset.json").read_text())["counts"]


def test_figures_hold_or_do_not():
    from mmil_cli.stages.bench_preprocess import Figure

    def holds(value, wanted, *, is_limit=False):
        return Figure(
            name="", value=value, low=0.0, high=0.0, unit="", wanted=wanted, is_limit=is_limit
        ).holds

    assert [holds(4.0, 4.0), holds(3.9, 4.0)] == [True, False]
    assert [holds(1.1, 1.1, is_limit=True), holds(1.2, 1.1, is_limit=True)] == [True, False]
    assert holds(1.0, None) is None
