"""Where the panels of an overlay stand, in inches."""

from dataclasses import dataclass

Rectangle = tuple[float, float, float, float]
"""Left, bottom, width, height as shares of the figure."""

_MOST_COLUMNS = 4
_PANEL_WIDTHS = {1: 5.2, 2: 5.2, 3: 4.2}


@dataclass(frozen=True)
class Layout:
    """Panels row by row, a title above, legend and colour bar below."""

    num_panels: int
    panel_width: float
    panel_height: float
    margin: float = 0.3
    gap: float = 0.2
    header: float = 0.62
    caption: float = 0.6
    footer: float = 0.75

    @property
    def num_columns(self) -> int:
        """Panels side by side."""
        return min(self.num_panels, _MOST_COLUMNS)

    @property
    def width(self) -> float:
        """Of the figure."""
        return 2 * self.margin + self.num_columns * (self.panel_width + self.gap) - self.gap

    @property
    def height(self) -> float:
        """Of the figure."""
        num_rows = -(-self.num_panels // self.num_columns)
        return self.header + num_rows * (self.panel_height + self.caption) + self.footer

    def panel(self, index: int) -> Rectangle:
        """The place of a panel."""
        row, column = divmod(index, self.num_columns)
        left = self.margin + column * (self.panel_width + self.gap)
        top = self.header + row * (self.panel_height + self.caption)
        return self.shares(left, self.height - top - self.panel_height, self.panel_width, self.panel_height)

    def shares(self, left: float, bottom: float, width: float, height: float) -> Rectangle:
        """Inches from the lower left corner as shares of the figure."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def layout_for(num_panels: int, *, aspect: float) -> Layout:
    """A layout whose panels fit films of this height over width; very long films get a frame to stand in."""
    width = _PANEL_WIDTHS.get(num_panels, 3.5)
    return Layout(num_panels, width, width * min(max(aspect, 0.5), 1.5))
