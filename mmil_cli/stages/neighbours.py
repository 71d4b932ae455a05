"""Films like a film, found through FAISS's graph of film vectors: approximate, for very large archives."""

from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.errors import DataError, UsageError

NEIGHBOURS_FILE = "films.faiss"
LINKS = 32
"""Of each film in the graph; FAISS's usual number."""
DEPTH = 128
"""Films held ready while the graph is built and searched, at least."""


def build_neighbours(vectors: np.ndarray, path: Path) -> None:
    """Writes the graph (HNSW) of film vectors [F, D].

    Raises:
        UsageError: FAISS is not installed.
    """
    faiss = _faiss()
    graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = DEPTH
    graph.add(np.ascontiguousarray(vectors, np.float32))
    faiss.write_index(graph, str(path))


def near_films(path: Path, vector: np.ndarray, *, top: int, allowed: np.ndarray) -> np.ndarray:
    """Numbers of up to `top` films whose vectors have the highest products with one [D], best first.

    Args:
        path: of the graph.
        vector: of the film to compare with.
        top: films to find.
        allowed: numbers of the films to look among.

    Raises:
        UsageError: FAISS is not installed, or the index was made without it.
        DataError: the file is damaged.
    """
    faiss = _faiss()
    if not path.is_file():
        raise UsageError(
            f"{path.parent} was made without --faiss; ask without it, or make the index again with it"
        )
    try:
        graph = faiss.read_index(str(path))
    except RuntimeError as fault:
        raise DataError(
            f"{path} is damaged; make the index again with mmil retrieve index --faiss"
        ) from fault
    search = faiss.SearchParametersHNSW(sel=faiss.IDSelectorBatch(allowed), efSearch=max(DEPTH, 2 * top))
    _, found = graph.search(vector[None].astype(np.float32), min(top, len(allowed)), params=search)
    return np.asarray(found[0][found[0] >= 0])


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as fault:
        raise UsageError('--faiss needs the extra: pip install "mmil[faiss]"') from fault
    return faiss
