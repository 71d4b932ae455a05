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


FILMS_AT_ONCE = 64
"""Changed together, so that memory does not grow with the batch."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random crop, rotation, shift, zoom, brightness, contrast, blur, noise and a hidden square.

    Never a flip, for sides have names; one that turns the words too is part of reading (`data.sides`).

    Attributes:
        rotate: degrees either way.
        shift: share of the side, either way.
        scale: zoom, share either way.
        crop: most of the side that is cut away, share; the window that stays lies anywhere in the film.
        brightness: added to pixels in [0, 1], either way.
        contrast: factor about the film's mean, share either way.
        blur: largest standard deviation of a Gaussian blur, share of the side.
        noise: largest standard deviation of normal noise, on pixels in [0, 1].
        erase: side of a square that is greyed out in half of the films, share of the film's side; 0 for
            none. What one region tells, another must learn to tell too, so that maps cover a finding and not
            its easiest part (hide and seek, Singh and Lee 2017).
    """

    rotate: float
    shift: float
    scale: float
    crop: float
    brightness: float
    contrast: float
    blur: float
    noise: float
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
        draws = 2 * torch.rand(16, part.num_rows, generator=generator) - 1  # [16, films], in -1..1
        own = draws[:, part.rows].to(films.device)  # [16, B]
        sheet = torch.randn(films.shape[1:], generator=generator).to(films.device) if self.noise else None
        changed = [
            self._change(some, where, draw, sheet)
            for some, where, draw in zip(
                films.split(FILMS_AT_ONCE),
                cover.split(FILMS_AT_ONCE),
                own.split(FILMS_AT_ONCE, dim=1),
                strict=True,
            )
        ]
        return torch.cat([some for some, _ in changed]), torch.cat([where for _, where in changed])

    def _change(
        self, films: Tensor, cover: Tensor, draws: Tensor, sheet: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        angle, x, y, zoom, brightness, contrast, across, down, hide = draws[:9]
        cut, left, up, width, grain, rows, columns = draws[9:]
        window = _Window.cut(self.crop * (1 + cut) / 2, across=left, down=up)
        moved = self._move(films, window, angle=angle, x=x, y=y, zoom=zoom)
        moved = self._expose(moved, brightness=brightness, contrast=contrast)
        if self.blur:
            moved = blurred(moved, self.blur * films.shape[-1] * (1 + width) / 2, most=self.blur)
        if sheet is not None:
            moved = moved + 255 * self.noise * ((1 + grain) / 2)[:, None, None] * _rolled(
                sheet, rows, columns
            )
        moved = self._hide(moved, hide > 0, across=across, down=down)
        return moved.round().clamp(0, 255).byte(), self._cover(cover, window, x=x, y=y, zoom=zoom)

    def _move(
        self, films: Tensor, window: "_Window", *, angle: Tensor, x: Tensor, y: Tensor, zoom: Tensor
    ) -> Tensor:
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
        theta = theta * window.share[:, None, None]
        theta[:, :, 2] += window.centre
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

    def _cover(self, cover: Tensor, window: "_Window", *, x: Tensor, y: Tensor, zoom: Tensor) -> Tensor:
        """Crop, zoom about the centre, then shift; the rotation, being small, is left out of the cover."""
        shift = self.shift * torch.stack([x, y, x, y], dim=1)
        middle = ((window.centre + 1) / 2).repeat(1, 2)
        cropped = (cover - middle) / window.share[:, None] + 0.5
        zoomed = (cropped - 0.5) * (1 + self.scale * zoom)[:, None] + 0.5
        return (zoomed + shift).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class _Window:
    """The part of each film that a crop leaves.

    Attributes:
        share: of the side [B].
        centre: column and row of its middle, in -1..1 [B, 2].
    """

    share: Tensor
    centre: Tensor

    @classmethod
    def cut(cls, away: Tensor, *, across: Tensor, down: Tensor) -> "_Window":
        """Windows less a share of the side [B], within the film at places in -1..1."""
        return cls(share=1 - away, centre=away[:, None] * torch.stack([across, down], dim=1))


def blurred(films: Tensor, sigma: Tensor, *, most: float) -> Tensor:
    """Films [B, H, W] under Gaussians of their own standard deviations [B] in pixels; edges are continued.

    Args:
        films: of any range.
        sigma: at most `most` times the side; the Gaussian is cut off at three times that.
        most: largest standard deviation, share of the side.
    """
    radius = min(math.ceil(3 * most * films.shape[-1] - 1e-6), films.shape[-1] - 1)
    places = torch.arange(-radius, radius + 1, device=films.device)
    kernel = (-0.5 * (places / sigma[:, None].clamp(min=1e-3)).square()).exp()
    kernel = (kernel / kernel.sum(dim=1, keepdim=True))[:, None]  # [B, 1, K]
    wide = F.pad(films[None], [radius] * 4, mode="replicate")  # [1, B, ...]
    across = F.conv2d(wide, kernel[:, :, None, :], groups=len(films))
    return F.conv2d(across, kernel[:, :, :, None], groups=len(films))[0]


def _rolled(sheet: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """The sheet [H, W] of noise as it is for each film [B, H, W]: rolled to a place of its own, in -1..1."""
    height, width = sheet.shape
    rows = torch.arange(height, device=sheet.device) + ((1 + down) / 2 * height).long()[:, None]
    columns = torch.arange(width, device=sheet.device) + ((1 + across) / 2 * width).long()[:, None]
    return sheet[(rows % height)[:, :, None], (columns % width)[:, None, :]]


def _within(centre: Tensor, width: float, num_pixels: int) -> Tensor:
    """Whether each pixel [B, pixels] lies within a span; centres in -1..1, the width a share of the side."""
    places = (torch.arange(num_pixels, device=centre.device) + 0.5) / num_pixels
    return (places - (centre[:, None] + 1) / 2).abs() < width / 2
