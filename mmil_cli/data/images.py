"""Reading one film of any kind, and making it small enough to store."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmil_cli.data.checks import read_head, refuse_blank, refuse_large
from mmil_cli.data.dicom import looks_like_dicom, read_dicom
from mmil_cli.data.film import Film, StoredFilm, normalise_view
from mmil_cli.data.geometry import Affine
from mmil_cli.data.jpeg import Colours, decode_jpeg
from mmil_cli.data.png import check_png
from mmil_cli.data.reasons import Reason, rejected
from mmil_cli.data.resampling import shrink
from mmil_cli.data.voi import robust_range, scaled

__all__ = ["Film", "StoredFilm", "normalise_view", "read_film", "resize_film"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_EXIF_ORIENTATION = 0x0112
_COLOURS: dict[str, Colours] = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_FAULTS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error)
"""What Pillow raises on damaged files; its readers have no common exception."""


def read_film(path: Path) -> Film:
    """Read a DICOM, PNG or JPEG file, told apart by its content and not by its name.

    Raises:
        RejectedRecord: the file gives no film; its reason is a `Reason`.
    """
    head = read_head(path)
    if head.startswith((_PNG, _JPEG)):
        return _read_picture(path)
    if looks_like_dicom(head):
        return read_dicom(path)
    raise rejected(Reason.NOT_AN_IMAGE, path, "is neither DICOM nor PNG nor JPEG")


def resize_film(film: Film, *, side: int) -> StoredFilm:
    """Shrink a film until its long side is `side` pixels, never enlarging it, and quantise it to uint8.

    The short side is rounded to a whole pixel; `to_source` is exact all the same, because each axis has its
    own scale. Antialiased with a kernel that does not ring at the edges of markers and collimators. Done on
    float32, so that values are rounded once, to within half a level.
    """
    height, width = film.pixels.shape
    share = min(1.0, side / max(height, width))
    new_height, new_width = max(1, round(height * share)), max(1, round(width * share))
    pixels = film.pixels
    if share < 1.0:
        pixels = shrink(pixels, height=new_height, width=new_width)
    quantised = np.rint(np.clip(pixels, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return StoredFilm(quantised, Affine(scale_x=width / new_width, scale_y=height / new_height))


def _read_picture(path: Path) -> Film:
    """A PNG or JPEG as a film: grey of any depth, colour by its luma, transparency over black.

    8-bit values are taken as they are, 255 being white. Of 16-bit values nobody says which range is meant for
    display, so they are stretched between robust percentiles, as a DICOM film without a window is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF or text chunks, which say nothing about the film
            data = path.read_bytes()
            with Image.open(BytesIO(data), formats=["PNG", "JPEG"]) as image:
                refuse_large(path, width=image.width, height=image.height)
                pixels = _display(_grey(_checked(image, data)))
    except Image.DecompressionBombError as fault:
        raise rejected(Reason.TOO_LARGE, path, "declares more pixels than any film has") from fault
    except _FAULTS as fault:
        reason, what = (
            (Reason.TRUNCATED, "cut off")
            if any(words in str(fault) for words in ("truncated", "Premature end"))
            else (Reason.UNREADABLE, "damaged")
        )
        raise rejected(reason, path, f"is a {what} PNG or JPEG file") from fault
    refuse_blank(pixels, path)
    return Film(pixels)


def _checked(image: Image.Image, data: bytes) -> Image.Image:
    """The picture, if its bytes are whole: Pillow skips the check sums of PNG, and paints over a torn JPEG.

    Grey and RGB JPEG is decoded once, to the values that Pillow has; CMYK, where Pillow knows how Adobe means
    it, is decoded for its faults alone.
    """
    if image.format == "PNG":
        check_png(data)
        return image
    colours = _COLOURS.get(image.mode)
    values = decode_jpeg(data, colours=colours) if colours else None
    if values is None:
        return image
    if values.shape[:2] != (image.height, image.width):
        raise ValueError("another size")
    if colours == "CMYK":
        return image
    whole = Image.fromarray(values[..., 0] if colours == "GRAY" else values)
    whole.getexif().update(image.getexif())
    return whole


def _grey(image: Image.Image) -> NDArray[np.generic]:
    """uint8 or uint16 [H, W], upright."""
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return np.array(image).astype(np.uint16)
    if "A" in image.mode or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "black")
        opaque.alpha_composite(image.convert("RGBA"))
        image = opaque
    elif image.mode == "P":
        image = image.convert("RGB")
    return np.array(image.convert("L"))


def _display(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """float32 [H, W] in [0, 1] of uint8 or uint16 values."""
    if values.dtype == np.uint8:
        return np.multiply(values, np.float32(1.0 / 255.0), dtype=np.float32)
    counts = np.bincount(values.ravel(), minlength=1)
    levels = np.arange(counts.size, dtype=np.float64)
    return scaled(levels, *robust_range(levels, counts)).astype(np.float32)[values]
