"""Long lists on disk: what they hold, and that memory does not grow with them."""

import random
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from mmil_cli.data import on_disk
from mmil_cli.data.dates import with_study_days
from mmil_cli.data.exclusion import exclude, keep_only
from mmil_cli.data.manifest import Manifest, Record
from mmil_cli.data.on_disk import CHUNK, OnDisk, sorted_on_disk
from mmil_cli.data.pseudonyms import Pseudonyms, pseudonymised

NAMES = Pseudonyms(b"a key of at least 32 bytes, made up")


@pytest.mark.parametrize("number", [0, 1, CHUNK, 3 * CHUNK + 7])
def test_items_are_sorted_as_in_memory_and_stay_in_order_where_keys_are_equal(number: int) -> None:
    draw = random.Random(number)
    items = [(f"{draw.randrange(200):03x}", place) for place in range(number)]
    found = sorted_on_disk(iter(items), lambda item: item[0], width=3)
    assert list(found) == sorted(items, key=lambda item: item[0])


def records(number: int) -> Iterator[Record]:
    for n in range(number):
        report = f"Film {n}. " + 40 * "Long words of it. "
        day = date(2020, 1, 1 + n % 28)
        yield Record(Path("film.png"), f"i{n}", f"s{n}", f"p{n // 50}", report=report, taken_on=day)


def peak(act: Callable[[Manifest], Manifest], number: int) -> int:
    """Most bytes that are held while the records of a manifest are listed once."""
    manifest = Manifest("table", Path(), OnDisk(records(number)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in act(manifest).records) == number
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", ["pseudonyms", "days", "exclude", "only"])
def test_no_step_holds_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(on_disk, "CHUNK", 16)
    path = tmp_path / "list.txt"
    path.write_text("p0\ni7\n")
    act: Callable[[Manifest], Manifest] = {
        "pseudonyms": lambda manifest: pseudonymised(manifest, NAMES, named=False),
        "days": with_study_days,
        "exclude": lambda manifest: exclude(manifest, path),
        "only": lambda manifest: keep_only(manifest, path, NAMES),
    }[what]
    peak(act, 20)  # what is imported late is not counted
    few, many = peak(act, 500), peak(act, 4500)
    assert many - few < 100 * 4000  # where the ids alone would be 600 bytes each, and records 1,400
