"""A film from a file, ready for the model, with the way back to its own pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.data.fit import FittedFilm
from mmil_cli.data.geometry import Affine
from mmil_cli.data.images import Film, read_film, resize_film
from mmil_cli.inference import Embedder


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedFilm:
    """One film of a file.

    Attributes:
        path: the file.
        pixels: uint8 [H, W] as displayed, at the file's own size.
        fitted: what the model is shown, reduced by way of the size that its training films were stored in.
        to_source: maps continuous pixel coordinates of the model's square to those of `pixels`.
        spacing_mm: distance between the centres of rows and of columns, where the file tells it.
        view: "PA", "AP", "LATERAL", ... where the file tells it.
    """

    path: Path
    pixels: NDArray[np.uint8]
    fitted: FittedFilm
    to_source: Affine
    spacing_mm: tuple[float, float] | None
    view: str | None


def open_film(path: Path, embedder: Embedder) -> OpenedFilm:
    """The film of a DICOM, PNG or JPEG file, prepared as the training films of the model were.

    Raises:
        RejectedRecord: the file gives no film.
    """
    return prepare_film(read_film(path), embedder, path=path)


def prepare_film(film: Film, embedder: Embedder, *, path: Path) -> OpenedFilm:
    """A film as displayed, prepared as the training films of the model were; `path` is its name."""
    stored = resize_film(film, side=embedder.contract.stored_side)
    fitted = embedder.fit(stored.pixels)
    return OpenedFilm(
        path=path,
        pixels=np.rint(np.clip(film.pixels, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8),
        fitted=fitted,
        to_source=fitted.to_stored.then(stored.to_source),
        spacing_mm=film.spacing_mm,
        view=film.view,
    )
