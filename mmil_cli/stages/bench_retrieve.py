"""Time and memory of ranking many pairs, and how often two stages find what an exhaustive search finds."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmil_cli.files import make_folder, write_json
from mmil_cli.metrics.matching import Matcher
from mmil_cli.metrics.ranks import vector_ranks
from mmil_cli.metrics.retrieval import RetrievalTable, rank_table
from mmil_cli.runtime import commit, processor, versions
from mmil_cli.stages.archive import Archive, open_archive
from mmil_cli.stages.archive_scores import full_scores, shortlist
from mmil_cli.stages.gallery import ReportScorer, study_reports
from mmil_cli.stages.measure import peak_memory
from mmil_cli.stages.measurement import Measurement
from mmil_cli.stages.retrieve_tables import KS

SHORTLIST_FILE = "bench_shortlist.json"
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
WANTED = 0.99
QUERIES_AT_ONCE = 64

OnProgress = Callable[[int, int], None]
"""Told how many queries are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class PairRanks:
    """Ranking of pairs of vectors, one direction.

    Attributes:
        num_pairs: queries, and items of the gallery.
        dim: of the vectors.
        seconds: ranks, figures and their intervals.
        held_bytes: memory at the peak beyond the vectors; None where it cannot be read.
        matrix_bytes: what the matrix of scores would hold.
        table: the figures.
    """

    num_pairs: int
    dim: int
    seconds: float
    held_bytes: int | None
    matrix_bytes: int
    table: RetrievalTable


def rank_pairs(*, quick: bool = False) -> PairRanks:
    """R@k, ranks and mAP of 50,000 vectors of 128 dimensions among as many noisy copies, exactly."""
    num_pairs, dim = (500, 16) if quick else (50_000, 128)
    generator = np.random.default_rng(0)
    queries = generator.standard_normal((num_pairs, dim), dtype=np.float32)
    gallery = queries + 2.5 * generator.standard_normal((num_pairs, dim), dtype=np.float32)
    number = np.arange(num_pairs)

    def work() -> RetrievalTable:
        ranks = vector_ranks(queries, gallery, Matcher([(number, number)]))
        return rank_table(ranks, groups=number // 2, ks=KS)

    start = time.perf_counter()
    table = work()
    seconds = time.perf_counter() - start
    held = peak_memory(work, torch.device("cpu"))
    return PairRanks(
        num_pairs=num_pairs,
        dim=dim,
        seconds=seconds,
        held_bytes=held,
        matrix_bytes=4 * num_pairs**2,
        table=table,
    )


def ranks_of_pairs(*, quick: bool = False) -> Measurement:
    """As a row of `mmil bench evaluate`."""
    found = rank_pairs(quick=quick)
    recall = found.table.rows[0].measured.value
    held = "" if found.held_bytes is None else f", {found.held_bytes / 2**20:.0f} MiB held"
    return Measurement(
        name="R@k, ranks and mAP of one direction, with intervals",
        size=f"{found.num_pairs:,} x {found.num_pairs:,} pairs, D={found.dim}",
        seconds=found.seconds,
        most_seconds=None if quick else 60.0,
        found=f"R@1 {recall:.2f}{held}; the matrix would hold {found.matrix_bytes / 2**20:.0f}",
    )


@dataclass(frozen=True, kw_only=True)
class ShortlistRow:
    """Of queries of one kind: how often the first film of an exhaustive search is on the shortlist.

    Attributes:
        queries: `sentences` or `reports`.
        first_stage: `coarse grid`, which `--fast` uses, or `one vector a film`.
        share: of the films on the list.
        num_queries: that were asked.
        agreement: share of them whose first film is the same.
    """

    queries: str
    first_stage: str
    share: float
    num_queries: int
    agreement: float

    @property
    def holds(self) -> bool:
        """Whether the first film is the same for at least 99 % of queries."""
        return self.agreement >= WANTED


@dataclass(frozen=True, kw_only=True)
class ShortlistBench:
    """How long a shortlist must be."""

    rows: tuple[ShortlistRow, ...]
    num_films: int
    provenance: Mapping[str, Any]
    record: Path


def run_shortlist(
    index: Path,
    out: Path,
    *,
    split: str = "test",
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> ShortlistBench:
    """Asks an index every distinct sentence and every report of a split, with shortlists of several lengths.

    Args:
        index: made by `mmil retrieve index`.
        out: folder for `bench_shortlist.json`.
        split: whose sentences and reports are the queries; all films are the gallery.
        device: auto, cpu or cuda.
        on_progress: told of queries.
    """
    make_folder(out)
    archive = open_archive(index, device=device)
    dataset = archive.evaluation.dataset
    reports = study_reports(dataset, dataset.indices(split)).reports
    sentences = tuple((text,) for text in dict.fromkeys(s for report in reports for s in report))
    kinds = {"sentences": sentences, "reports": reports}
    total = len(sentences) + len(reports)
    rows: list[ShortlistRow] = []
    for name, queries in kinds.items():
        done = len(rows) and len(sentences)
        told = (lambda n, before=done: on_progress(before + n, total)) if on_progress else None
        rows += _agreements(archive, name, queries, told)
    result = ShortlistBench(
        rows=tuple(rows),
        num_films=len(dataset),
        provenance={
            **archive.evaluation.provenance(split=split, seed=None, options={}),
            "command": "mmil bench shortlist --index INDEX",
            "processor": processor(torch.device("cpu")),
            "versions": versions(),
            "commit": commit(),
        },
        record=out / SHORTLIST_FILE,
    )
    content = [{**asdict(row), "holds": row.holds} for row in result.rows]
    write_json(result.record, {"num_films": result.num_films, "rows": content, **result.provenance})
    return result


def _agreements(
    archive: Archive, name: str, queries: tuple[tuple[str, ...], ...], told: Callable[[int], None] | None
) -> Iterator[ShortlistRow]:
    """By first stage and share, of the film that the full score puts first among all."""
    films = np.arange(len(archive.store))
    found: dict[tuple[str, float], list[bool]] = {}
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        scorer = ReportScorer(archive.evaluation.embedder, queries[start : start + QUERIES_AT_ONCE])
        first = full_scores(archive, scorer, films).argmax(axis=0)
        products = archive.store.vectors @ scorer.vectors().T
        for share in SHARES:
            listed = shortlist(archive, scorer, films, share=share, least=1)
            nearest = np.argsort(-products, axis=0)[: int(np.ceil(share * len(films)))]
            of_grid = found.setdefault(("coarse grid", share), [])
            of_grid += [bool(np.isin(film, some)) for film, some in zip(first, listed, strict=True)]
            of_vector = found.setdefault(("one vector a film", share), [])
            of_vector += (nearest == first).any(axis=0).tolist()
        if told:
            told(min(start + QUERIES_AT_ONCE, len(queries)))
    for (stage, share), hits in found.items():
        yield ShortlistRow(
            queries=name,
            first_stage=stage,
            share=share,
            num_queries=len(hits),
            agreement=float(np.mean(hits)),
        )
