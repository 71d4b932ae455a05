"""Bags of the films of a study: which rows they hold, and which of them a step looks at."""

import numpy as np
import pytest


def bags(limit=None):
    from mmil_cli.data.studies import Bags

    return Bags(rows=np.array([0, 3, 4, 9]), several={0: (0, 1, 2), 4: (4, 5, 6, 7, 8)}, limit=limit)


@pytest.mark.parametrize(("limit", "most", "total"), [(None, 5, 10), (2, 2, 6), (1, 1, 4), (9, 5, 10)])
def test_bags_count_the_films_they_are_to_show(limit, most, total):
    found = bags(limit)
    assert (found.most, found.num_films) == (most, total)
    assert [len(found.films(row)) for row in found.rows] == [
        len(found.drawn(int(row), seed=0, step=3)) for row in found.rows
    ]


def test_films_of_a_large_bag_are_drawn_by_seed_step_and_row():
    found = bags(2)
    draws = [found.drawn(4, seed=1, step=step) for step in range(40)]
    assert draws == [found.drawn(4, seed=1, step=step) for step in range(40)]
    assert {film for draw in draws for film in draw} == {4, 5, 6, 7, 8}
    assert all(first < second for first, second in draws)
    assert draws != [found.drawn(4, seed=2, step=step) for step in range(40)]
    assert found.drawn(3, seed=1, step=0) == (3,)


def test_a_sample_of_bags_has_no_more_films_than_asked_for():
    thinned = bags().thinned(5)
    assert thinned.rows.tolist() == [0, 4]
    assert thinned.several.keys() == {0, 4}
    assert bags().thinned(10).num_films == 10


def test_a_bag_is_the_films_of_one_study_with_one_report(tmp_path):
    from PIL import Image

    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.data.studies import one_film_bags, study_bags
    from mmil_cli.stages import preprocess

    generator = np.random.default_rng(0)
    rows = ["image,report,patient_id,study_id,split"]
    studies = ("a", "b", "a", "c", "c", "a")
    reports = ("Lungs clear.", "Lungs clear.", "Lungs clear.", "Effusion.", "Large mass.", "Lungs clear.")
    for number, (study, report) in enumerate(zip(studies, reports, strict=True)):
        Image.fromarray(generator.integers(0, 255, (40, 40), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,FINDINGS: {report},p,{study},train")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    preprocess.run(tmp_path / "table.csv", tmp_path / "data", side=40)
    dataset = StudyDataset.open(tmp_path / "data")
    every = np.arange(len(dataset))
    found = study_bags(dataset, every)
    films = [found.films(int(row)) for row in found.rows]
    kept = [{(dataset.row(film).study_id, dataset.row(film).sentences) for film in bag} for bag in films]
    assert all(len(bag) == 1 for bag in kept)  # study c has two reports, so it is two bags
    assert sorted(len(bag) for bag in films) == [1, 1, 1, 3]
    assert sorted(film for bag in films for film in bag) == every.tolist()
    assert one_film_bags(every).num_films == len(study_bags(dataset, every[:0]).rows) + len(every)
