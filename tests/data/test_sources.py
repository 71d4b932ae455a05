"""What holds for every source, from its archive to the dataset."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from archives import ARCHIVES, write_chexpert, write_nih, write_openi_csv

from mmil_cli.config.recipe import Recipe
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.manifest import check_manifest
from mmil_cli.data.sources.find import SOURCES, find_records
from mmil_cli.data.sources.options import FLAGS, SourceOptions
from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.gallery import study_reports
from mmil_cli.stages.preprocess import run
from mmil_cli.stages.pretrain_data import plan_batches

Writer = Callable[[Path], Path]
CASES = [(name, write) for name in SOURCES for write in ARCHIVES[name]]
EVERY_ARCHIVE = pytest.mark.parametrize(("name", "write"), CASES)
GIVEN = {"columns": {"report": "x"}, "labels": ("A",), "root": Path(), "tables": Path(), "reports": Path()}


def options_of(name: str, **more: object) -> SourceOptions:
    return SourceOptions(labels_only=not SOURCES[name].has_reports, **more)  # type: ignore[arg-type]


@EVERY_ARCHIVE
def test_an_archive_becomes_a_dataset_that_accounts_for_all_of_it(
    tmp_path: Path, name: str, write: Writer
) -> None:
    path = write(tmp_path / "archive")
    manifest = find_records(path, options_of(name))
    check_manifest(manifest)
    result = run(path, tmp_path / "data", source_options=options_of(name), max_rejected=0.5)
    assert manifest.kind == name
    assert result.info.num_rows + sum(result.info.rejected.values()) == len(manifest.records)
    dataset = StudyDataset.open(tmp_path / "data")
    assert set(dataset.label_names) == set(manifest.label_names)
    has_text = [bool(dataset.row(index).sentences) for index in range(len(dataset))]
    assert set(has_text) == {SOURCES[name].has_reports}
    assert all(dataset.pixels(index).std() > 0 for index in range(len(dataset)))


@EVERY_ARCHIVE
def test_a_named_source_is_what_its_files_tell(tmp_path: Path, name: str, write: Writer) -> None:
    path = write(tmp_path)
    assert find_records(path, options_of(name, source=name)) == find_records(path, options_of(name))


@EVERY_ARCHIVE
def test_an_archive_is_like_no_other_source(tmp_path: Path, name: str, write: Writer) -> None:
    path = write(tmp_path)
    alike = {other.name for other in SOURCES.values() if other.recognises(path)}
    assert alike - {"dicoms"} == {name} - {"dicoms"}


@pytest.mark.parametrize("name", list(SOURCES))
def test_another_folder_is_told_what_the_source_needs(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.md").write_text("nothing of the kind")
    with pytest.raises(UsageError) as raised:
        find_records(tmp_path, SourceOptions(source=name))
    assert SOURCES[name].needs in str(raised.value)


@EVERY_ARCHIVE
def test_options_of_other_sources_are_refused(tmp_path: Path, name: str, write: Writer) -> None:
    path, source = write(tmp_path), SOURCES[name]
    for option in GIVEN.keys() - source.takes:
        with pytest.raises(UsageError, match=f"{FLAGS[option]} is no option of .*it belongs to:"):
            find_records(path, options_of(name, **{option: GIVEN[option]}))


@EVERY_ARCHIVE
def test_films_and_labels_alone(tmp_path: Path, name: str, write: Writer) -> None:
    path, alone = write(tmp_path / "archive"), SourceOptions(labels_only=True)
    if not SOURCES[name].has_labels:
        with pytest.raises(UsageError, match="--labels-only needs labels"):
            find_records(path, alone)
        return
    result = run(path, tmp_path / "data", source_options=alone, max_rejected=0.5)
    dataset = StudyDataset.open(tmp_path / "data")
    assert result.info.options["labels_only"] == "yes"
    assert all(dataset.row(index).sections == () for index in range(len(dataset)))
    with pytest.raises(UsageError, match=r"no reports.*--labels-only"):
        study_reports(dataset, dataset.indices(None))
    with pytest.raises(UsageError, match=r"no reports.*--labels-only"):
        plan_batches(dataset, Recipe.model_construct())


def test_films_without_a_label_or_report_are_left_out(tmp_path: Path) -> None:
    path = write_openi_csv(tmp_path / "archive")
    result = run(path, tmp_path / "data", source_options=SourceOptions(labels_only=True))
    assert result.info.rejected == {"no-labels": 1}


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if not source.has_reports])
def test_sources_without_reports_say_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="labels but no reports; --labels-only"):
        find_records(ARCHIVES[name][0](tmp_path), SourceOptions())


def test_an_unknown_source_and_a_folder_of_two(tmp_path: Path) -> None:
    write_nih(tmp_path)
    with pytest.raises(
        UsageError, match=r"--source openl is not known; did you mean 'openi'\?; known: table,"
    ):
        find_records(tmp_path, SourceOptions(source="openl"))
    with pytest.raises(
        UsageError, match=r"is not RSNA Pneumonia.*looks like NIH ChestX-ray14 \(--source nih\)"
    ):
        find_records(tmp_path, SourceOptions(source="rsna"))
    write_chexpert(tmp_path)
    with pytest.raises(UsageError, match="say which with --source chexpert or --source nih"):
        find_records(tmp_path, SourceOptions(labels_only=True))
    assert find_records(tmp_path, SourceOptions(source="nih", labels_only=True)).kind == "nih"


def test_labels_only_of_a_table_without_labels(tmp_path: Path) -> None:
    path = ARCHIVES["table"][0](tmp_path)
    with pytest.raises(DataError, match="gives no label"):
        find_records(path, SourceOptions(labels_only=True, labels=()))


@EVERY_ARCHIVE
def test_a_film_that_is_not_on_disk_is_counted(tmp_path: Path, name: str, write: Writer) -> None:
    """A tree is listed from its films, so that one without a film has one record less."""
    path = write(tmp_path / "archive")
    before = find_records(path, options_of(name))
    usable = [record for record in before.records if record.image and not record.fault]
    film = usable[0].image
    assert film is not None
    film.unlink()
    after = find_records(path, options_of(name))
    if len(after.records) < len(before.records):
        assert name in ("mimic", "dicoms")
        return
    assert [replace(record, image=None) for record in after.records] == [
        replace(record, image=None) for record in before.records
    ]
    result = run(path, tmp_path / "data", source_options=options_of(name), max_rejected=0.9)
    assert result.info.rejected["missing-file"] == 1


def test_the_command_names_every_source() -> None:
    from mmil_cli.cli import preprocess

    assert preprocess._SOURCES.split(", ") == list(SOURCES)
