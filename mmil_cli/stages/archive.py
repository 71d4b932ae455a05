"""An index of one's own archive: films and sentences of a dataset encoded once, to be asked many times."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmil_cli.core.bags import SentenceBag, Sentences, Words
from mmil_cli.errors import CheckpointError, DataError, UsageError
from mmil_cli.files import recover_folder, replace_folder, write_json
from mmil_cli.runtime import versions
from mmil_cli.stages.evaluation import Evaluation, OnProgress, open_evaluation
from mmil_cli.stages.gallery import Gallery, ReportScorer, distinct_texts
from mmil_cli.stages.neighbours import NEIGHBOURS_FILE, build_neighbours
from mmil_cli.stages.region_store import RegionStore, fill_store, new_array, open_store

INDEX_FILE, FORMAT = "index.json", 1
COARSE, COARSE_MASK = "coarse.npy", "coarse_mask.npy"
SENTENCES, WORDS, WORDS_MASK, REPORTS = "sentences.npy", "words.npy", "words_mask.npy", "reports.npy"
POOLED_CELLS = 2
"""Cells of a side that one coarse region stands for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Archive:
    """An index with the model and the dataset it was made of, all three checked to belong together.

    Attributes:
        folder: of the index.
        evaluation: model and dataset; the rows of the dataset are the films of the index, in its order.
        store: regions of all films.
        coarse: the same films with fewer regions, on disk too, for the first of two stages.
        gallery: distinct reports; None of a dataset without reports.
        scorer: scores films against them; None likewise.
    """

    folder: Path
    evaluation: Evaluation
    store: RegionStore
    coarse: RegionStore
    gallery: Gallery | None
    scorer: ReportScorer | None


def build_archive(
    data: Path,
    out: Path,
    *,
    checkpoint: Path,
    neighbours: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> int:
    """Writes the index folder of all films of a dataset, aside and renamed; the number of films.

    Args:
        data: dataset folder.
        out: the index folder; an older index there is replaced when this one is complete.
        checkpoint: checkpoint or run folder.
        neighbours: also make FAISS's graph of film vectors.
        device: auto, cpu or cuda.
        on_progress: told of films.

    Raises:
        UsageError: something else than an index lies at `out`, or FAISS is asked for and not installed.
    """
    _check_place(out)
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    rows = evaluation.dataset.indices(None)

    def fill(folder: Path) -> None:
        store = fill_store(folder, evaluation, rows, on_progress=on_progress)
        _write_coarse(folder, store)
        if has_reports(evaluation):
            reports = distinct_texts(evaluation.dataset, rows).reports
            _write_bag(folder, evaluation.embedder.reports(reports))
        if neighbours:
            build_neighbours(store.vectors, folder / NEIGHBOURS_FILE)
        write_json(folder / INDEX_FILE, _card(evaluation, out, data))

    replace_folder(out, fill)
    return len(rows)


def open_archive(
    folder: Path, *, data: Path | None = None, checkpoint: Path | None = None, device: str = "auto"
) -> Archive:
    """Opens an index with its model and dataset; regions stay on disk.

    Args:
        folder: index folder.
        data: dataset folder, if it was moved.
        checkpoint: checkpoint or run folder, if it was moved.
        device: auto, cpu or cuda.

    Raises:
        DataError: no index, a damaged one, or one of another dataset.
        CheckpointError: the index was made by another checkpoint.
    """
    recover_folder(folder)
    card = _read_card(folder)
    data = data or _beside(folder, card["paths"]["dataset"], "--data", "dataset")
    checkpoint = checkpoint or _beside(folder, card["paths"]["checkpoint"], "--checkpoint", "checkpoint")
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    _check_belongs(folder, card, evaluation, data, checkpoint)
    try:
        store = open_store(folder)
        coarse = _coarse_store(folder, store)
        bag = _read_bag(folder) if has_reports(evaluation) else None
        if len(store) != len(evaluation.dataset):
            raise ValueError("it has other films than its dataset")
    except (OSError, ValueError, KeyError, EOFError) as fault:
        raise DataError(
            f"{folder} is a damaged index ({fault}); {_again(folder, data, checkpoint)}"
        ) from fault
    gallery = distinct_texts(evaluation.dataset, evaluation.dataset.indices(None)) if bag else None
    return Archive(
        folder=folder,
        evaluation=evaluation,
        store=store,
        coarse=coarse,
        gallery=gallery,
        scorer=ReportScorer(evaluation.embedder, bag) if bag else None,
    )


def has_reports(evaluation: Evaluation) -> bool:
    """Whether the dataset has reports beside its films."""
    return not evaluation.dataset.info.options.get("labels_only")


def coarse_regions(store: RegionStore, films: slice) -> tuple[np.ndarray, np.ndarray]:
    """Regions [b, C, D] of a grid of half as many rows and columns, and which are real [b, C].

    Each is the mean of its up to 2 x 2 real regions at unit length: a bag that the model's own score can be
    asked about, at a quarter of the cost [ours].
    """
    rows, columns = store.grid
    real = store.mask[films].reshape(-1, rows, columns)
    features = store.features[films].reshape(*real.shape, -1) * real[..., None]
    down, across = np.arange(0, rows, POOLED_CELLS), np.arange(0, columns, POOLED_CELLS)
    total = np.add.reduceat(np.add.reduceat(features, down, axis=1), across, axis=2)
    kept = np.logical_or.reduceat(np.logical_or.reduceat(real, down, axis=1), across, axis=2)
    length = np.linalg.norm(total, axis=-1, keepdims=True)
    unit = np.divide(total, length, out=np.zeros_like(total), where=length > 0)
    return unit.reshape(len(unit), -1, unit.shape[-1]), kept.reshape(len(kept), -1)


def _write_coarse(folder: Path, store: RegionStore) -> None:
    cells = math.prod(-(-side // POOLED_CELLS) for side in store.grid)
    shape = (len(store), cells, store.features.shape[2])
    features = new_array(folder / COARSE, shape, "float32")
    mask = new_array(folder / COARSE_MASK, shape[:2], "bool")
    for start in range(0, len(store), 512):
        part = slice(start, start + 512)
        features[part], mask[part] = coarse_regions(store, part)
    features.flush()
    mask.flush()


def _coarse_store(folder: Path, store: RegionStore) -> RegionStore:
    features, mask = (np.load(folder / name, mmap_mode="r") for name in (COARSE, COARSE_MASK))
    if len(features) != len(store) or mask.shape != features.shape[:2]:
        raise ValueError("its coarse regions are of other films")
    return RegionStore(features, mask, store.vectors, (1, features.shape[1]), store.cell_centre)


def _write_bag(folder: Path, bag: SentenceBag) -> None:
    np.save(folder / SENTENCES, bag.sentences.features.float().numpy())
    np.save(folder / REPORTS, bag.index.numpy())
    if bag.sentences.words is not None:
        np.save(folder / WORDS, bag.sentences.words.features.float().numpy())
        np.save(folder / WORDS_MASK, bag.sentences.words.mask.numpy())


def _read_bag(folder: Path) -> SentenceBag:
    words = None
    if (folder / WORDS).exists():
        words = Words(features=_tensor(folder / WORDS), mask=_tensor(folder / WORDS_MASK))
    sentences = Sentences(features=_tensor(folder / SENTENCES), words=words)
    return SentenceBag(sentences=sentences, index=_tensor(folder / REPORTS))


def _tensor(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(path))


def _card(evaluation: Evaluation, out: Path, data: Path) -> dict[str, Any]:
    """What the index was made of; paths are relative to it, so that all three can move together."""
    checkpoint = evaluation.checkpoint
    return {
        "format": FORMAT,
        "weights": weights_hash(checkpoint.folder),
        "checkpoint": "/".join(checkpoint.folder.resolve().parts[-2:]),
        "score": evaluation.recipe.score.expression,
        "dataset_hash": evaluation.dataset.info.content_hash,
        "num_films": len(evaluation.dataset),
        "paths": {
            "dataset": os.path.relpath(data.resolve(), out.resolve()),
            "checkpoint": os.path.relpath(checkpoint.folder.resolve(), out.resolve()),
        },
        "versions": versions(),
    }


def weights_hash(checkpoint: Path) -> str:
    """SHA-256 of the weights, which tells models apart whatever their folder is called."""
    with (checkpoint / "model.safetensors").open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_FILE
    if not path.is_file():
        raise DataError(
            f"{folder} is no index (it has no {INDEX_FILE}); make one with: "
            f"mmil retrieve index DATASET --out {folder}"
        )
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if card["format"] != FORMAT or not {"weights", "dataset_hash", "paths"} <= card.keys():
            raise ValueError
    except (ValueError, KeyError, TypeError) as fault:
        raise DataError(
            f"{path} is damaged or of another version of mmil; make the index again with mmil retrieve index"
        ) from fault
    return card


def _beside(folder: Path, path: str, option: str, what: str) -> Path:
    found = Path(os.path.normpath(folder.resolve() / path))
    if not found.is_dir():
        raise UsageError(f"the {what} of {folder} is no longer at {found}; say where it is with {option}")
    return found


def _check_belongs(
    folder: Path, card: dict[str, Any], evaluation: Evaluation, data: Path, checkpoint: Path
) -> None:
    if card["weights"] != weights_hash(evaluation.checkpoint.folder):
        raise CheckpointError(
            f"{folder} was made by another checkpoint ({card.get('checkpoint')}) than {checkpoint}; "
            f"give that one with --checkpoint, or {_again(folder, data, checkpoint)}"
        )
    if card["dataset_hash"] != evaluation.dataset.info.content_hash:
        raise DataError(
            f"{folder} was made of another dataset than {data} holds now; give that one with --data, "
            f"or {_again(folder, data, checkpoint)}"
        )


def _again(folder: Path, data: Path, checkpoint: Path) -> str:
    return f"make the index again: mmil retrieve index {data} --checkpoint {checkpoint} --out {folder}"


def _check_place(out: Path) -> None:
    if out.exists() and not (out / INDEX_FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is no index; choose another --out")
