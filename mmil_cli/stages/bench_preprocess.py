"""Speed and memory of preprocess: ratios within one run, and what reading a dataset back comes to."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.decoding import decode_frame
from mmil_cli.data.dicom import read_header
from mmil_cli.data.images import read_film, resize_film
from mmil_cli.data.pixels import DEFAULT_ENCODING, Encoding, encode
from mmil_cli.files import make_folder, write_json
from mmil_cli.runtime import commit, processor, versions
from mmil_cli.stages import phantom, preprocess
from mmil_cli.stages.bench_films import usual_recipe, write_film
from mmil_cli.stages.measure import Comparison, compare

FILE_NAME = "bench_preprocess.json"
SIDE = 512
SIDE_READ = 256
CPU = torch.device("cpu")

OnProgress = Callable[[int, int], None]
"""Told how many figures are measured, of how many."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done.

    Attributes:
        height, width: of the large films, pixels.
        rounds: of each comparison; the median is told.
        films: large films read by one worker and by two.
        few_rows, many_rows: of the tables whose memory is compared.
        studies: generated ones, read back in each encoding.
        seconds: of reading.
    """

    height: int
    width: int
    rounds: int
    films: int
    few_rows: int
    many_rows: int
    studies: int
    seconds: float


FULL = Size(
    height=3000, width=2500, rounds=9, films=160, few_rows=100, many_rows=100_000, studies=40, seconds=2.0
)
QUICK = Size(height=300, width=250, rounds=2, films=24, few_rows=10, many_rows=200, studies=2, seconds=0.05)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        name: what was measured.
        value: the median over rounds.
        low, high: smallest and largest of them.
        unit: of the value.
        wanted: the least, or the most if `is_limit`; None where nothing is asked.
        is_limit: less is better.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    wanted: float | None = None
    is_limit: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the figure is as wanted; None where nothing is asked."""
        if self.wanted is None:
            return None
        return self.value <= self.wanted if self.is_limit else self.value >= self.wanted


@dataclass(frozen=True, kw_only=True)
class BenchPreprocessResult:
    """All figures of a run.

    Attributes:
        rows: the figures.
        provenance: what they depend on, the processor too.
        record: the JSON file that holds all of this.
    """

    rows: tuple[Figure, ...]
    provenance: Mapping[str, Any]
    record: Path


def run(out: Path, *, quick: bool = False, on_progress: OnProgress | None = None) -> BenchPreprocessResult:
    """Measure every figure, on films and tables that are generated in a folder for temporary files.

    Args:
        out: folder for `bench_preprocess.json`.
        quick: small inputs, to see that all of it works; the figures say nothing.
        on_progress: told of figures.
    """
    make_folder(out)
    size = QUICK if quick else FULL
    rows: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mmil-bench-") as folder:
        for figure in figures(Path(folder), size):
            rows.append(figure)
            if on_progress:
                on_progress(len(rows), NUM_FIGURES)
    provenance = {
        "command": f"mmil bench preprocess{' --quick' if quick else ''}",
        "processor": processor(CPU),
        "size": asdict(size),
        "versions": versions(),
        "commit": commit(),
    }
    result = BenchPreprocessResult(rows=tuple(rows), provenance=provenance, record=out / FILE_NAME)
    told = [{**asdict(row), "holds": row.holds} for row in rows]
    write_json(result.record, {"provenance": provenance, "rows": told})
    return result


NUM_FIGURES = 6 + 2 * len(Encoding)


def figures(folder: Path, size: Size) -> Iterator[Figure]:
    """All figures in order."""
    paths = {
        syntax: write_film(folder / f"{name}.dcm", height=size.height, width=size.width, syntax=syntax)
        for name, syntax in (("plain", ExplicitVRLittleEndian), ("jpeg2000", JPEG2000Lossless))
    }
    plain, packed = paths[ExplicitVRLittleEndian], paths[JPEG2000Lossless]
    yield _ratio(
        "a core, uncompressed: films/s over the usual recipe's",
        compare(
            lambda: usual_recipe(plain, side=SIDE), lambda: stored(plain), rounds=size.rounds, device=CPU
        ),
        wanted=4.0,
    )
    header = read_header(packed)
    yield _ratio(
        "a core, JPEG 2000: films/s over the decoder's alone",
        compare(lambda: decode_frame(header, packed), lambda: stored(packed), rounds=size.rounds, device=CPU),
        wanted=0.85,
    )
    yield _two_workers(folder, plain, size)
    yield _largest_worker(folder, (plain, packed))
    yield _flat_memory(folder, size)
    yield from _reading(folder, size)


def stored(path: Path) -> bytes:
    """A film as preprocess stores it."""
    return encode(resize_film(read_film(path), side=SIDE).pixels, DEFAULT_ENCODING)


def _ratio(name: str, found: Comparison, *, wanted: float) -> Figure:
    return Figure(
        name=name, value=found.time_ratio, low=found.time_low, high=found.time_high, unit="x", wanted=wanted
    )


def _two_workers(folder: Path, film: Path, size: Size) -> Figure:
    table = _write_table(folder / "films.csv", film, size.films)
    ratios = []
    for _ in range(max(2, size.rounds // 2)):
        one, two = (_rate(table, folder / "dataset", workers) for workers in (1, 2))
        ratios.append(two / one)
    return _of_rounds("two workers, uncompressed: films/s over one worker's", ratios, unit="x", wanted=1.8)


def _rate(table: Path, out: Path, workers: int) -> float:
    """Films/s of a whole run, from when the processes are at work."""
    times: list[float] = []
    preprocess.run(
        table, out, workers=workers, overwrite=True, on_progress=lambda *_: times.append(time.perf_counter())
    )
    begun = len(times) // 4
    return (len(times) - 1 - begun) / (times[-1] - times[begun])


def _write_table(path: Path, film: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("image,image_id,patient_id,report,Edema\n")
        for number in range(rows):
            report = f"FINDINGS: Film {number} shows a small effusion. The heart is normal in size."
            file.write(f"{film},image-{number:08d},patient-{number // 2:08d},{report},{number % 2}\n")
    return path


_PEAK = """
import json, sys
from pathlib import Path
from mmil_cli.stages.peaks import peak_of_films, peak_of_run
work = {"films": peak_of_films, "run": peak_of_run}[sys.argv[1]]
print(json.dumps(work(*map(Path, sys.argv[2:]))))
"""


def _peak(what: str, *paths: Path) -> float:
    """MB at the peak of a fresh process; NaN where it cannot be read."""
    call = [sys.executable, "-c", _PEAK, what, *map(str, paths)]
    found = json.loads(subprocess.run(call, capture_output=True, check=True, text=True).stdout)
    return float("nan") if found is None else found / 1e6


def _largest_worker(folder: Path, films: tuple[Path, ...]) -> Figure:
    peak = _peak("films", folder, *films)
    return _of_rounds(
        "a worker's memory on these films, at its peak", [peak], unit="MB", wanted=600.0, is_limit=True
    )


def _flat_memory(folder: Path, size: Size) -> Figure:
    small = folder / "small.png"
    Image.fromarray(np.arange(48 * 40, dtype=np.uint16).reshape(48, 40).astype(np.uint8)).save(small)
    few, many = (
        _peak("run", _write_table(folder / f"{rows}.csv", small, rows), folder / f"of {rows}")
        for rows in (size.few_rows, size.many_rows)
    )
    name = (
        f"memory of a run: the peak of {size.many_rows:,} rows ({many:.0f} MB) over that of {size.few_rows}"
    )
    return _of_rounds(name, [many / few], unit="x", wanted=1.1, is_limit=True)


def _of_rounds(
    name: str, values: list[float], *, unit: str, wanted: float | None = None, is_limit: bool = False
) -> Figure:
    return Figure(
        name=name,
        value=statistics.median(values),
        low=min(values),
        high=max(values),
        unit=unit,
        wanted=wanted,
        is_limit=is_limit,
    )


def _reading(folder: Path, size: Size) -> Iterator[Figure]:
    """Random rows of generated studies, in each encoding."""
    source = folder / "studies"
    phantom.run(source, studies=size.studies, workers=1)
    for encoding in Encoding:
        out = folder / encoding
        preprocess.run(source, out, side=SIDE_READ, encoding=encoding)
        dataset = StudyDataset.open(out)
        if encoding is DEFAULT_ENCODING:
            rates = [_random_rate(dataset, dataset.image_bytes, size, seed) for seed in range(3)]
            yield _of_rounds("random rows read back, as bytes", rates, unit="rows/s", wanted=5000.0)
        rates = [_random_rate(dataset, dataset.pixels, size, seed) for seed in range(3)]
        yield _of_rounds(f"random films of {SIDE_READ} px decoded from {encoding}", rates, unit="films/s")
        held = np.mean([len(dataset.image_bytes(index)) for index in range(len(dataset))])
        yield _of_rounds(f"a film of {SIDE_READ} px as {encoding}", [float(held) / 1024], unit="KiB")


def _random_rate(dataset: StudyDataset, read: Callable[[int], object], size: Size, seed: int) -> float:
    """Rows/s of one reader in random order."""
    order = np.random.default_rng(seed).integers(len(dataset), size=20_000).tolist()
    done, started = 0, time.perf_counter()
    for done, index in enumerate(cycle(order), start=1):
        read(index)
        if done % 20 == 0 and time.perf_counter() - started >= size.seconds:
            break
    return done / (time.perf_counter() - started)
