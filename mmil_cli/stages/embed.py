"""Embed: the features of every film and report of a dataset as one file, for other programs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.checkpoint import WEIGHTS, Checkpoint
from mmil_cli.core.means import mean_regions, mean_sentences
from mmil_cli.core.model import ImageFeatures
from mmil_cli.data.batches import as_texts, number_sentences
from mmil_cli.data.dataset import Row
from mmil_cli.errors import UsageError
from mmil_cli.files import make_folder, write_atomic
from mmil_cli.inference import Embedder
from mmil_cli.stages.embed_files import FORMATS, IDS, Block
from mmil_cli.stages.evaluation import Evaluation, OnProgress, open_evaluation


@dataclass(frozen=True, kw_only=True)
class EmbedResult:
    """What was written.

    Attributes:
        path: the file.
        num_films: rows of it.
        num_texts: sentences (or reports, where the model reads them whole) of all films, repeated ones too.
        dim: D of the joint embedding.
        channels: C of the encoder's own features.
        grid: rows and columns of the regions.
        notes: what the reader must know.
    """

    path: Path
    num_films: int
    num_texts: int
    dim: int
    channels: int
    grid: tuple[int, int]
    notes: tuple[str, ...]


def run(
    data: Path,
    out: Path,
    *,
    checkpoint: Path,
    split: str | None = None,
    regions: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> EmbedResult:
    """Features of films, reports and sentences, float32, with ids, split and provenance.

    Memory is that of some hundred films, however many there are. The file is written aside and renamed.

    Args:
        data: dataset folder.
        out: file to write; its ending says how: `.parquet` or `.npz`.
        checkpoint: checkpoint or run folder.
        split: whose films; None for all.
        regions: keep every region of each film too, N times as much.
        device: auto, cpu or cuda.
        on_progress: told of films.

    Raises:
        UsageError: another ending, or no such split.
    """
    if out.suffix not in FORMATS:
        raise UsageError(f"--out {out} must end in {' or '.join(FORMATS)}, which says how it is written")
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    rows = evaluation.dataset.indices(split)
    make_folder(out.parent)
    provenance = _provenance(evaluation, split, regions=regions)
    num_texts, last = 0, None

    def write(partial: Path) -> None:
        nonlocal num_texts, last
        with FORMATS[out.suffix](partial, provenance=provenance) as file:
            for part, films in evaluation.blocks(rows, on_progress=on_progress):
                block = _block(evaluation, rows[part], films, regions=regions)
                file.write(block)
                num_texts, last = num_texts + sum(map(len, block.texts)), films

    write_atomic(out, write)
    assert last is not None  # a split has films
    return EmbedResult(
        path=out,
        num_films=len(rows),
        num_texts=num_texts,
        dim=last.regions.features.shape[2],
        channels=last.pooled.shape[1],
        grid=last.regions.grid,
        notes=evaluation.notes(None),
    )


def weights_hash(checkpoint: Checkpoint) -> str:
    """SHA-256 of a checkpoint's weights: what a feature of it rests on."""
    with (checkpoint.folder / WEIGHTS).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _block(evaluation: Evaluation, rows: np.ndarray, films: ImageFeatures, *, regions: bool) -> Block:
    read = [evaluation.dataset.row(int(row)) for row in rows]
    texts = [as_texts(row.sentences, unit=evaluation.embedder.unit) for row in read]
    distinct, sentences, report = _features_of_texts(evaluation.embedder, texts)
    return Block(
        ids={name: [_id(row, name) for row in read] for name in IDS},
        pooled=films.pooled.numpy(),
        image=mean_regions(films.regions).numpy(),
        report=report,
        texts=texts,
        distinct=distinct,
        sentences=sentences,
        regions=films.regions.features.numpy() if regions else None,
        mask=films.regions.mask.numpy() if regions else None,
    )


def _id(row: Row, name: str) -> str:
    return str(getattr(row, name))


def _features_of_texts(
    embedder: Embedder, texts: Sequence[Sequence[str]]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The distinct texts with their features [U, D], and the reports' means [B, D], NaN for none."""
    distinct, index = number_sentences(texts)
    report = np.full((len(texts), embedder.model.score.critic.dim), np.nan, np.float32)
    if not distinct:
        return [], report[:0], report
    bag = embedder.reports(texts)
    told = (index >= 0).any(axis=1)
    report[told] = mean_sentences(bag).numpy()[told]
    return distinct, bag.sentences.features.numpy(), report


def _provenance(evaluation: Evaluation, split: str | None, *, regions: bool) -> dict[str, Any]:
    found = evaluation.provenance(split=split, seed=None, options={"regions": regions})
    found["checkpoint"]["weights_sha256"] = weights_hash(evaluation.checkpoint)
    return found
