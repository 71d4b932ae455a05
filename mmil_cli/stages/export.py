"""Export: the towers of a checkpoint in the forms of other programs, each checked before it is kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save
from torch import nn

from mmil_cli.build import LoadedCheckpoint, load_checkpoint
from mmil_cli.errors import MmilError, UsageError
from mmil_cli.files import replace_folder, write_json
from mmil_cli.runtime import commit, versions
from mmil_cli.stages.embed import weights_hash

Form = Literal["huggingface", "onnx"]
Tower = Literal["image", "text", "both"]

RECORD = "mmil.json"
PROJECTION = "projection.safetensors"
LARGEST = 1e-4
"""Difference of any feature that another implementation of the same layers may come to, by rounding."""


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        folder: with `mmil.json`, which says how to use it.
        differences: of each tower, the largest between its features and those of what was written.
    """

    folder: Path
    differences: Mapping[str, float]


def run(checkpoint: Path, out: Path, *, to: Form, tower: Tower) -> ExportResult:
    """Writes towers of a checkpoint for other programs, and opens them again to check them.

    `huggingface`: a folder a tower, `image/` and `text/`, for AutoModel with AutoImageProcessor or
    AutoTokenizer, and the projection into the joint space beside it. `onnx`: the image tower with its
    projection, from bytes to regions.

    Args:
        checkpoint: checkpoint or run folder.
        out: folder to write; an older export there is replaced.
        to: the form.
        tower: which towers; ONNX has the image tower alone.

    Raises:
        UsageError: there is no such form of a tower, a package is missing, or something else lies at `out`.
        MmilError: what was written computes something else; nothing is kept.
    """
    if to == "onnx" and tower != "image":
        raise UsageError("--to onnx writes the image tower alone; for the text tower give --to huggingface")
    _refuse_other_folder(out)
    loaded = load_checkpoint(checkpoint, device="cpu")
    if to == "onnx":
        return _to_onnx(loaded, out)
    return _to_huggingface(loaded, out, ("image", "text") if tower == "both" else (tower,))


def _to_onnx(loaded: LoadedCheckpoint, out: Path) -> ExportResult:
    from mmil_cli.stages.export_onnx import FILE_NAME, require_onnx, write_onnx

    require_onnx()
    differences = {}

    def fill(folder: Path) -> None:
        checked = write_onnx(loaded.embedder.model, loaded.embedder.contract, folder)
        differences["image"] = checked.difference
        record = {
            "file": FILE_NAME,
            "inputs": {
                "films": "uint8 [B, size, size]: fitted into the square as image_contract says, 0 is black",
                "cover": "float32 [B, 4]: where the film lies in it; left, top, right, bottom in [0, 1]",
            },
            "outputs": {
                "regions": "float32 [B, N, D]: projected, of length 1, row by row of the grid",
                "mask": "bool [B, N]: True where the region shows film",
                "pooled": "float32 [B, C]: mean of the encoder's own features over the film",
                "embedding": "float32 [B, D]: mean of the regions, of length 1",
            },
            "grid": {"rows": checked.grid[0], "columns": checked.grid[1]},
            "opset": checked.opset,
            **_origin(loaded, differences),
        }
        write_json(folder / RECORD, record)

    replace_folder(out, fill)
    return ExportResult(folder=out, differences=differences)


def _to_huggingface(loaded: LoadedCheckpoint, out: Path, towers: tuple[str, ...]) -> ExportResult:
    differences: dict[str, float] = {}

    def fill(folder: Path) -> None:
        for tower in towers:
            with _without_bars():
                differences[tower] = _write_tower(loaded, tower, folder / tower)
            if not differences[tower] <= LARGEST:
                raise MmilError(
                    f"the {tower} tower as transformers has it differs by {differences[tower]:.2g}, more "
                    f"than {LARGEST:g}; nothing was kept"
                )
        write_json(folder / RECORD, {**_use(loaded, towers), **_origin(loaded, differences)})

    replace_folder(out, fill)
    return ExportResult(folder=out, differences=differences)


@contextmanager
def _without_bars() -> Iterator[None]:
    """While it lasts, transformers shows no bars for what takes a moment."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _write_tower(loaded: LoadedCheckpoint, tower: str, folder: Path) -> float:
    """One tower with its projection; gives the largest difference."""
    model, embedder = loaded.embedder.model, loaded.embedder
    folder.mkdir()
    if tower == "text":
        from mmil_cli.stages.export_text import write_text_tower

        _write_projection(model.text_projection, folder)
        return write_text_tower(model.text_encoder, embedder.tokenizer, folder)
    from mmil_cli.stages.export_image import write_image_tower

    _write_projection(model.image_projection, folder)
    name = loaded.recipe.image.encoder
    return write_image_tower(model.image_encoder, folder, name=name, contract=embedder.contract)


def _write_projection(projection: nn.Module, folder: Path) -> None:
    tensors = {name: tensor.detach().contiguous() for name, tensor in projection.state_dict().items()}
    (folder / PROJECTION).write_bytes(save(tensors))


def _use(loaded: LoadedCheckpoint, towers: tuple[str, ...]) -> dict[str, Any]:
    """How the folders become vectors of the joint space."""
    layers = "linear, GELU, linear" if loaded.recipe.projection.hidden_dim else "linear"
    text = loaded.recipe.text
    ways = {
        "image": "last_hidden_state is the map; of a transformer, drop the marks before the patches",
        "text": f"last_hidden_state pooled by {text.pool} over the real tokens; one text is one {text.unit}",
    }
    return {
        "towers": {tower: ways[tower] for tower in towers},
        "projection": f"{PROJECTION}: {layers}; then divided by its length",
    }


def _origin(loaded: LoadedCheckpoint, differences: Mapping[str, float]) -> dict[str, Any]:
    card = loaded.checkpoint.card
    return {
        "image_contract": asdict(loaded.embedder.contract),
        "largest_difference": dict(differences),
        "checkpoint": {
            "folder": "/".join(loaded.checkpoint.folder.resolve().parts[-2:]),
            "step": card.step,
            "score": loaded.recipe.score.expression,
            "dataset_hash": card.dataset_hash,
            "weights_sha256": weights_hash(loaded.checkpoint),
        },
        "versions": versions(),
        "commit": commit(),
    }


def _refuse_other_folder(out: Path) -> None:
    """What is not an export is never replaced by one."""
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise UsageError(f"--out {out} holds other files; give a new folder, or that of an older export")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder")
