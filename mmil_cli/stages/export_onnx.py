"""The image tower as an ONNX file, checked against PyTorch with onnxruntime."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.model import DualEncoder
from mmil_cli.data.transforms import normalise
from mmil_cli.errors import MmilError, UsageError
from mmil_cli.inference import ImageContract

FILE_NAME = "image.onnx"
INPUTS, OUTPUTS = ("films", "cover"), ("regions", "mask", "pooled", "embedding")
NEEDED = ("onnx", "onnxscript", "onnxruntime")
BATCHES = (1, 3)  # checked; the file takes any
LARGEST = 1e-3  # difference from PyTorch, of vectors of length 1
EXAMPLES = 2  # films that the network is traced with


class ImageTower(nn.Module):
    """From bytes to features: what `Embedder.films` does, as one graph.

    Args:
        model: the trained model.
        contract: how films are prepared.
    """

    def __init__(self, model: DualEncoder, contract: ImageContract) -> None:
        super().__init__()
        self.model = model
        self.mean, self.std = contract.mean, contract.std

    def forward(self, films: Tensor, cover: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Regions [B, N, D], their mask [B, N], the encoder's mean [B, C] and the regions' [B, D].

        Args:
            films: fitted into the model's square, uint8 [B, size, size].
            cover: where the film lies in its square: left, top, right, bottom in [0, 1], float32 [B, 4].
        """
        found = self.model.encode_images(normalise(films, mean=self.mean, std=self.std), cover)
        weights = found.regions.mask.to(found.regions.features.dtype).unsqueeze(-1)
        embedding = F.normalize((found.regions.features * weights).sum(dim=1), dim=-1)
        return found.regions.features, found.regions.mask, found.pooled, embedding


@dataclass(frozen=True, kw_only=True)
class CheckedOnnx:
    """What was written, and how near it comes to PyTorch.

    Attributes:
        difference: the largest of any number of any region, embedding or (relative to the largest) pooled
            feature.
        grid: rows and columns of the regions.
        opset: of ONNX.
    """

    difference: float
    grid: tuple[int, int]
    opset: int


def require_onnx() -> None:
    """Refuses to start where a package is missing.

    Raises:
        UsageError: says which, and how to have it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--to onnx needs {', '.join(missing)}; install the extra: pip install 'mmil[export]'"
        )


def write_onnx(model: DualEncoder, contract: ImageContract, folder: Path) -> CheckedOnnx:
    """Writes the tower, runs it with onnxruntime, and holds it against PyTorch.

    Raises:
        MmilError: a layer has no form in ONNX, or the file computes something else.
    """
    tower = ImageTower(model.cpu().float(), contract).eval()
    path = folder / FILE_NAME
    opset = _write(tower, contract, path)
    films, cover = next(_examples(contract, (1,)))
    with torch.inference_mode():
        grid = model.encode_images(normalise(films, mean=tower.mean, std=tower.std), cover).regions.grid
    return CheckedOnnx(difference=_compare(tower, contract, path), grid=grid, opset=opset)


def _write(tower: ImageTower, contract: ImageContract, path: Path) -> int:
    batch = torch.export.Dim("batch", min=1, max=2**16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        try:
            program = torch.onnx.export(
                tower,
                next(_examples(contract, (EXAMPLES,))),
                input_names=INPUTS,
                output_names=OUTPUTS,
                dynamic_shapes={"films": {0: batch}, "cover": {0: batch}},
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise MmilError(
                f"the image tower cannot be written as ONNX: {str(error).strip().splitlines()[0]}; "
                "an encoder of torchvision's, or small, can"
            ) from error
        assert program is not None
        program.save(path, external_data=False)
        return int(program.model.opset_imports[""])


def _examples(contract: ImageContract, batches: tuple[int, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    """Films of noise, some of which do not fill their square."""
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        films = torch.randint(
            0, 256, (batch, contract.size, contract.size), dtype=torch.uint8, generator=generator
        )
        cover = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.2, 0.0, 0.8, 1.0], [0.0, 0.3, 1.0, 0.7]])
        yield films, cover[torch.arange(batch) % len(cover)]


def _compare(tower: ImageTower, contract: ImageContract, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for films, cover in _examples(contract, BATCHES):
        with torch.inference_mode():
            expected = dict(zip(OUTPUTS, (part.numpy() for part in tower(films, cover)), strict=True))
        given = dict(zip(INPUTS, (films.numpy(), cover.numpy()), strict=True))
        found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), given), strict=True))
        largest = float(np.maximum(largest, difference(found, expected)))  # NaN stays NaN
    return checked(largest)


def checked(largest: float) -> float:
    """The largest difference, if it is small enough.

    Raises:
        MmilError: it is not, or is no number.
    """
    if not largest <= LARGEST:
        raise MmilError(
            f"the ONNX file differs from PyTorch by {largest:.2g}, more than {LARGEST:g}; it was not kept"
        )
    return largest


def difference(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest difference between outputs; infinite where masks differ or shapes do."""
    same = all(found[name].shape == expected[name].shape for name in OUTPUTS)
    if not same or not np.array_equal(found["mask"], expected["mask"]):
        return float("inf")
    parts = [np.abs(found[name] - expected[name]).max() for name in ("regions", "embedding")]
    pooled = np.abs(found["pooled"] - expected["pooled"]).max() / np.abs(expected["pooled"]).max()
    return float(np.max([*parts, pooled]))
