"""Benchmarks drawn from a dataset: so many films of one finding alone; the same seed, the same films."""

import csv
from pathlib import Path

import pytest
import typer
from source_files import table_rows, write_table
from typer.testing import CliRunner

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import UsageError
from mmil_cli.stages import preprocess
from mmil_cli.stages.subset import run

FINDINGS = ("Edema", "Fracture", "Nodule")


def labelled_rows() -> list[dict[str, object]]:
    """Sixty films of thirty studies; a third of the studies have one finding each, some several or unsure."""
    rows = []
    for number, row in enumerate(table_rows(60)):
        study = number // 2
        labels = {name: int(study % 3 == place) for place, name in enumerate(FINDINGS)}
        if study % 10 == 8:
            labels = dict.fromkeys(FINDINGS, 1)
        if study % 10 == 9:
            labels[FINDINGS[(study + 1) % 3]] = -1
        shown = {name: value or "" for name, value in labels.items()} if study % 2 else labels
        rows.append({**row, "study_id": f"s{study}", **shown, "split": "train" if study < 6 else "test"})
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("subset")
    return preprocess.run(write_table(place, labelled_rows()), place / "data", side=48).folder


def drawn(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {name: [row["image_id"] for row in rows if row["finding"] == name] for name in FINDINGS}


def test_films_have_their_finding_alone_and_are_of_different_studies(data: Path, tmp_path: Path) -> None:
    result = run(data, tmp_path / "list.csv", findings=FINDINGS, each=4)
    rows = {str(row["image_id"]): row for row in labelled_rows()}
    for name, images in drawn(tmp_path / "list.csv").items():
        assert tuple(images) == result.images[name]
        assert len({rows[image]["study_id"] for image in images}) == 4
        for image in images:
            assert rows[image]["split"] == "test"
            assert [other for other in FINDINGS if rows[image][other] not in (0, "")] == [name]
            assert rows[image][name] == 1


def test_every_study_that_can_be_drawn_is_a_candidate(data: Path, tmp_path: Path) -> None:
    fit = {
        (name, str(row["study_id"]))
        for row in labelled_rows()
        for name in FINDINGS
        if row["split"] == "test" and row[name] == 1
        and all(row[other] in (0, "") for other in FINDINGS if other != name)
    }  # fmt: skip
    result = run(data, tmp_path / "list.csv", findings=FINDINGS, each=1)
    assert result.candidates == {name: sum(n == name for n, _ in fit) for name in FINDINGS}


def test_the_seed_decides(data: Path, tmp_path: Path) -> None:
    for number, seed in enumerate((0, 0, 1)):
        run(data, tmp_path / f"{number}.csv", findings=FINDINGS, each=3, seed=seed)
    texts = [(tmp_path / f"{number}.csv").read_bytes() for number in range(3)]
    assert texts[0] == texts[1] != texts[2]


def test_the_order_of_the_rows_does_not_matter(data: Path, tmp_path: Path) -> None:
    turned = preprocess.run(write_table(tmp_path, labelled_rows()[::-1]), tmp_path / "data", side=48).folder
    lists = []
    for folder in (data, turned):
        lists.append(run(folder, tmp_path / "list.csv", findings=FINDINGS, each=3).images)
    assert lists[0] == lists[1]


def test_the_list_makes_a_dataset_and_one_without_it(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "list.csv", findings=FINDINGS, each=3)
    source = write_table(tmp_path / "source", labelled_rows())
    preprocess.run(source, tmp_path / "only", only=tmp_path / "list.csv")
    preprocess.run(source, tmp_path / "rest", exclusions=tmp_path / "list.csv")
    only, rest = (set(StudyDataset.open(tmp_path / name).column("image_id")) for name in ("only", "rest"))
    assert only == {image for images in drawn(tmp_path / "list.csv").values() for image in images}
    assert (len(only), len(rest), only & rest) == (9, 51, set())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"each": 0}, "--each is 0"),
        ({"each": 500}, r"fewer studies with only that finding: Edema \d"),
        ({"findings": ("Edema",)}, "two or more"),
        ({"findings": ("Edema", "Oedema")}, "no labels of 'Oedema'; did you mean 'Edema'"),
        ({"split": "own"}, "no split 'own'"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_what_cannot_be_drawn(data: Path, tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(data, tmp_path / "list.csv", **{"findings": FINDINGS, "each": 2, **options})
    assert not (tmp_path / "list.csv").exists()


def test_the_command(data: Path, tmp_path: Path) -> None:
    from mmil_cli.cli.subset import subset

    app = typer.Typer()
    app.command()(subset)
    arguments = [str(data), "--findings", "Edema, nodule", "--each", "2", "--out", str(tmp_path / "list.csv")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "Edema: 2 of" in result.stdout
    assert "Nodule: 2 of" in result.stdout
