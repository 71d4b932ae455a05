"""Films of bytes to the numbers an encoder reads, with random changes while training, on the device."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mmil_cli.data.batches import FilmPlaces, Part, whole_batch


def normalise(films: Tensor, *, mean: float, std: float) -> Tensor:
    """uint8 [B, H, W] to float32 [B, 1, H, W]: pixels in [0, 1], less `mean`, over `std`."""
    return ((films.float() / 255 - mean) / std).unsqueeze(1)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random rotation, shift, zoom, brightness, contrast and a hidden square; never a flip: sides have names.

    Attributes:
        rotate: degrees either way.
        shift: share of the side, either way.
        scale: zoom, share either way.
        brightness: added to pixels in [0, 1], either way.
        contrast: factor about the film's mean, share either way.
        erase: side of a square that is greyed out in half of the films, share of the film's side; 0 for
            none. What one region tells, another must learn to tell too, so that maps cover a finding and not
            its easiest part (hide and seek, Singh and Lee 2017).
    """

    rotate: float
    shift: float
    scale: float
    brightness: float
    contrast: float
    erase: float

    def __call__(
        self,
        films: Tensor,
        cover: Tensor,
        generator: torch.Generator,
        *,
        part: Part | FilmPlaces | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Changed films [B, H, W] uint8 and where they now lie in their squares [B, 4].

        Every random number comes from the generator (on the CPU, so that devices agree), and is drawn for the
        whole batch, so that a film is changed alike however many processes share it; `part` says which of its
        films these are, all by default.
        """
        part = part or whole_batch(films.shape[0])
        draws = 2 * torch.rand(9, part.num_rows, generator=generator) - 1  # [9, films], in -1..1
        own = draws[:, part.rows].to(films.device)  # [9, B]
        angle, x, y, zoom, brightness, contrast, across, down, hide = own
        moved = self._move(films, angle=angle, x=x, y=y, zoom=zoom)
        moved = self._expose(moved, brightness=brightness, contrast=contrast)
        moved = self._hide(moved, hide > 0, across=across, down=down)
        return moved.round().clamp(0, 255).byte(), self._cover(cover, x=x, y=y, zoom=zoom)

    def _move(self, films: Tensor, *, angle: Tensor, x: Tensor, y: Tensor, zoom: Tensor) -> Tensor:
        """Samples each film through the inverse map, in grid_sample's coordinates of -1..1."""
        radians = angle * math.radians(self.rotate)
        inverse = 1 / (1 + self.scale * zoom)
        cos, sin = radians.cos() * inverse, radians.sin() * inverse
        dx, dy = 2 * self.shift * x, 2 * self.shift * y
        theta = torch.stack(
            [
                torch.stack([cos, -sin, -(cos * dx - sin * dy)], dim=1),
                torch.stack([sin, cos, -(sin * dx + cos * dy)], dim=1),
            ],
            dim=1,
        )  # [B, 2, 3]
        grid = F.affine_grid(theta, [films.shape[0], 1, *films.shape[1:]], align_corners=False)
        return F.grid_sample(films.unsqueeze(1).float(), grid, align_corners=False)[:, 0]

    def _expose(self, films: Tensor, *, brightness: Tensor, contrast: Tensor) -> Tensor:
        mean = films.mean(dim=(1, 2), keepdim=True)
        factor = (1 + self.contrast * contrast)[:, None, None]
        added = (255 * self.brightness * brightness)[:, None, None]
        return (films - mean) * factor + mean + added

    def _hide(self, films: Tensor, chosen: Tensor, *, across: Tensor, down: Tensor) -> Tensor:
        """The chosen films with a square of their mean grey, whose centre may lie anywhere in them."""
        if self.erase == 0:
            return films
        rows, columns = (_within(centre, self.erase, films.shape[-1]) for centre in (down, across))
        hidden = rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]
        return torch.where(hidden, films.mean(dim=(1, 2), keepdim=True), films)

    def _cover(self, cover: Tensor, *, x: Tensor, y: Tensor, zoom: Tensor) -> Tensor:
        """Zoom about the centre, then shift; the rotation, being small, is left out of the cover."""
        shift = self.shift * torch.stack([x, y, x, y], dim=1)
        zoomed = (cover - 0.5) * (1 + self.scale * zoom)[:, None] + 0.5
        return (zoomed + shift).clamp(0, 1)


def _within(centre: Tensor, width: float, num_pixels: int) -> Tensor:
    """Whether each pixel [B, pixels] lies within a span; centres in -1..1, the width a share of the side."""
    places = (torch.arange(num_pixels, device=centre.device) + 0.5) / num_pixels
    return (places - (centre[:, None] + 1) / 2).abs() < width / 2
