"""`mmil audit`: every fault planted alone is found and nothing else is; a clean dataset has none."""

import json
import re
import shutil
import signal
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import planted
import pytest

from mmil_cli.errors import DataError, UsageError
from mmil_cli.stages.audit import AuditResult, run
from mmil_cli.stages.audit_checks import CHECKS, Severity


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[planted.Examples, tuple[str, ...]]:
    return planted.clean_examples(tmp_path_factory.mktemp("studies") / "clean")


@pytest.fixture(scope="module")
def clean_folder(clean, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "data"
    planted.write_dataset(folder, *clean)
    return folder


@pytest.fixture
def copy(clean_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(clean_folder, tmp_path / "data")
    return tmp_path / "data"


def names(result: AuditResult) -> list[str]:
    return [item.name for item in result.found]


def listed(result: AuditResult) -> list[dict]:
    (found,) = json.loads((result.folder / "audit.json").read_text())["found"]
    return found["listed"]


def test_every_check_has_a_fault_that_is_planted_here() -> None:
    assert {*planted.ROWS, *(check for check, _ in planted.FILES.values()), "unknown-tokens"} == set(CHECKS)


def test_a_clean_dataset_has_no_fault(clean_folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in clean_folder.iterdir()}
    result = run(clean_folder, tmp_path)
    assert names(result) == []
    assert not result.has_hard_faults
    assert result.checked == result.info.num_rows > 60
    assert {path.name: path.read_bytes() for path in clean_folder.iterdir()} == before
    written = json.loads((tmp_path / "audit.json").read_text())
    assert (written["hard_faults"], written["found"], len(written["not_found"])) == (False, [], len(CHECKS))


@pytest.mark.parametrize("name", list(planted.ROWS))
def test_a_fault_of_rows_is_found_and_nothing_else(clean, tmp_path: Path, name: str) -> None:
    examples, label_names = clean
    faulty = planted.ROWS[name](examples, label_names)
    planted.write_dataset(tmp_path / "data", faulty, label_names)
    result = run(tmp_path / "data", tmp_path / "out")
    assert names(result) == [name]
    assert result.found[0].count in (1, 2)
    assert result.has_hard_faults == (CHECKS[name].severity is Severity.HARD)
    touched = {e.record.image_id for e, old in zip(faulty, examples, strict=True) if e is not old}
    assert touched
    assert touched <= {image for case in listed(result) for image in case["images"]}


@pytest.mark.parametrize("name", list(planted.FILES))
def test_a_fault_of_a_file_is_found_and_the_others_are_read(copy: Path, tmp_path: Path, name: str) -> None:
    check, spoil = planted.FILES[name]
    spoil(copy)
    result = run(copy, tmp_path / "out")
    assert names(result) == [check]
    assert result.checked == result.info.num_rows - 32
    assert "shard-00001.arrow" in listed(result)[0]["note"]


def test_a_dataset_without_a_whole_shard(copy: Path, tmp_path: Path) -> None:
    for path in copy.glob("*.arrow"):
        path.unlink()
    result = run(copy, tmp_path / "out")
    assert (names(result), result.checked) == (["damaged-shards"], 0)
    assert result.has_hard_faults
    assert "damaged-shards" in (tmp_path / "out/index.html").read_text()


def test_all_faults_at_once_are_told_apart(clean, tmp_path: Path) -> None:
    """Planted one into the other, in different films of a set; none hides another."""
    examples, label_names = clean
    for name in ("lfs-pointers", "blank-films", "inverted-films", "leaked-patients"):
        keep = [e for e in examples if e in clean[0]]  # films that are still clean
        changed = [e for e in examples if e not in clean[0]]
        examples = [*changed, *planted.ROWS[name](keep, label_names)]
    planted.write_dataset(tmp_path / "data", examples, label_names)
    found = names(run(tmp_path / "data", tmp_path / "out"))
    assert found == ["lfs-pointers", "blank-films", "leaked-patients", "inverted-films"]


def test_the_counts_of_labels_are_those_of_the_rows(clean, clean_folder: Path, tmp_path: Path) -> None:
    examples, label_names = clean
    place = label_names.index("Pleural Effusion")
    values = [e.record.labels[place] for e in examples if e.record.split == "train"]
    result = run(clean_folder, tmp_path)
    (counts,) = [c for c in result.labels if (c.finding, c.split) == ("Pleural Effusion", "train")]
    told = (counts.positive, counts.negative, counts.uncertain, counts.missing)
    assert told == tuple(values.count(value) for value in (1, 0, -1, None))
    assert counts.prevalence == pytest.approx(values.count(1) / (values.count(1) + values.count(0)))


def test_words_that_training_never_saw(clean, tmp_path: Path) -> None:
    examples, label_names = clean
    place = planted.first(examples, "test")
    faulty = planted.change(place, lambda e: planted.with_report(e, "Xylophon xylophon."), examples)
    planted.write_dataset(tmp_path / "data", faulty, label_names)
    counts = {c.split: c for c in run(tmp_path / "data", tmp_path / "out").texts}
    assert counts["train"].unseen == 0
    assert counts["test"].unseen >= 2 / counts["test"].words
    assert np.isnan(counts["test"].unknown)


def test_unknown_tokens_are_counted(clean, clean_folder: Path, tmp_path: Path) -> None:
    examples, _ = clean
    letters = sorted(
        {letter for e in examples for s in e.sentences for letter in s.lower() if letter.strip()}
    )
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    result = run(clean_folder, tmp_path / "out", tokenizer=tmp_path / "vocab.txt")
    assert names(result) == []
    assert {counts.unknown for counts in result.texts} == {0}
    vocabulary.remove("e")
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    result = run(clean_folder, tmp_path / "out", tokenizer=tmp_path)
    assert names(result) == ["unknown-tokens"]
    assert result.found[0].count == len(result.texts) == 3
    assert not result.has_hard_faults


def test_films_of_a_study_share_a_report_and_that_is_no_copy(clean, clean_folder: Path) -> None:
    examples, _ = clean
    studies = [e.record.study_id for e in examples]
    assert len(set(studies)) < len(studies)  # and the clean dataset has no duplicate report


def test_the_page_stands_alone_and_shows_the_films(clean, tmp_path: Path) -> None:
    examples, label_names = clean
    planted.write_dataset(tmp_path / "data", planted.copied(examples, "test", planted.flatter), label_names)
    run(tmp_path / "data", tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "leaked-near-films (soft)" in page
    assert not re.search(r"(src|href)=[\"']https?:", page)
    assert "<script" not in page


def test_few_films_of_a_view_are_told_as_not_looked_at(clean, tmp_path: Path) -> None:
    examples, label_names = clean
    planted.write_dataset(tmp_path / "data", examples[:5], label_names)
    result = run(tmp_path / "data", tmp_path / "out")
    assert any("for negatives: fewer than 16" in note for note in result.notes)


def test_pairs_beyond_the_most_that_are_looked_at_are_told(
    clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmil_cli.stages import audit_groups

    examples, label_names = clean
    one, other = (planted.copied(examples, to, planted.flatter) for to in ("train", "test"))
    place = planted.first(examples, "test", skip=1)
    brighter = planted.pixels(other[place]) + np.uint8(9)
    examples = planted.change(place, lambda example: planted.with_pixels(example, brighter), one)
    planted.write_dataset(tmp_path / "data", examples, label_names)
    assert sum(item.count for item in run(tmp_path / "data", tmp_path / "out").found) == 3
    monkeypatch.setattr(audit_groups, "MOST_CANDIDATES", 1)
    result = run(tmp_path / "data", tmp_path / "out")
    assert sum(item.count for item in result.found) == 1
    assert any("pairs of films that are much alike" in note for note in result.notes)


def test_films_are_not_kept_in_memory(tmp_path: Path, clean) -> None:
    """Eight times the films, each of 16 kB of noise: the peak grows by far less than one of them a film."""
    generator, (examples, label_names) = np.random.default_rng(0), clean
    peaks = []
    for number in (64, 512):
        rows = [
            planted.with_pixels(
                planted.with_record(
                    examples[0], image_id=f"i{n}", study_id=f"s{n}", patient_id=f"p{n}", split="train"
                ),
                generator.integers(0, 255, (planted.SIDE, planted.SIDE), dtype=np.uint8),
            )
            for n in range(number)
        ]
        planted.write_dataset(tmp_path / f"{number}", rows, label_names)
        tracemalloc.start()
        run(tmp_path / f"{number}", tmp_path / "out")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 448 * 8_000


@pytest.mark.parametrize(
    ("tokenizer", "message"), [("nothing", "nothing lies at"), ("unk", r"no token \[UNK\]")]
)
def test_tokenizers_that_cannot_be_used(
    clean_folder: Path, tmp_path: Path, tokenizer: str, message: str
) -> None:
    from tokenizers import Tokenizer, models

    (tmp_path / "unk").mkdir()
    Tokenizer(models.BPE()).save(str(tmp_path / "unk/tokenizer.json"))
    with pytest.raises(UsageError, match=message):
        run(clean_folder, tmp_path / "out", tokenizer=tmp_path / tokenizer)
    assert not (tmp_path / "out").exists()


def test_the_results_do_not_go_into_a_dataset(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a dataset folder"):
        run(copy, copy)
    with pytest.raises(DataError, match="no dataset folder"):
        run(tmp_path / "nothing", tmp_path / "out")


@pytest.fixture
def mmil(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command line in this process; gives the exit code and what was printed."""
    from mmil_cli.cli.app import main

    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mmil", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, capsys.readouterr().out

    yield call
    signal.signal(signal.SIGTERM, before)


def test_the_command_guards_a_pipeline(mmil, clean, clean_folder: Path, tmp_path: Path) -> None:
    code, told = mmil("audit", clean_folder, "--out", tmp_path / "out")
    assert (code, "no hard fault" in told) == (0, True)
    examples, label_names = clean
    planted.write_dataset(tmp_path / "hard", planted.patient_in_two_splits(examples), label_names)
    code, told = mmil("audit", tmp_path / "hard", "--out", tmp_path / "out")
    assert (code, "hard: leaked-patients: 1 patients" in told) == (1, True)
    planted.write_dataset(tmp_path / "soft", planted.same_report(examples, "test"), label_names)
    code, told = mmil("audit", tmp_path / "soft", "--out", tmp_path / "out")
    assert (code, "soft: leaked-reports: 1 texts" in told) == (0, True)
