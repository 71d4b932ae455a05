"""Where a pixel of a resized or cropped film lies in the film it was made from."""

from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""(x, y, width, height) in pixels; x, y is the top-left corner."""


@dataclass(frozen=True)
class Affine:
    """A scaling and shift of each axis, mapping continuous pixel coordinates of one film to another's.

    `x_to = scale_x * x + offset_x`, in the corner convention: the film spans [0, width] x [0, height] and the
    centre of the pixel in row r and column c lies at (c + 0.5, r + 0.5), so that resizing has no offset.
    A negative scale is a mirrored axis; a scale of zero has no inverse and is a bug of the caller.
    """

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Map one point."""
        return self.scale_x * x + self.offset_x, self.scale_y * y + self.offset_y

    def box(self, box: Box) -> Box:
        """Map a box; width and height stay positive when an axis is mirrored."""
        x, y, width, height = box
        left, top = self.point(x, y)
        right, bottom = self.point(x + width, y + height)
        return min(left, right), min(top, bottom), abs(right - left), abs(bottom - top)

    def inverse(self) -> "Affine":
        """The map back."""
        return Affine(
            scale_x=1.0 / self.scale_x,
            scale_y=1.0 / self.scale_y,
            offset_x=-self.offset_x / self.scale_x,
            offset_y=-self.offset_y / self.scale_y,
        )

    def then(self, other: "Affine") -> "Affine":
        """This map followed by `other`."""
        offset_x, offset_y = other.point(self.offset_x, self.offset_y)
        return Affine(self.scale_x * other.scale_x, self.scale_y * other.scale_y, offset_x, offset_y)
