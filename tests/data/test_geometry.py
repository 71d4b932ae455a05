"""Coordinates survive every chain of resizes, crops and mirrorings."""

import numpy as np
import pytest

from mmil_cli.data.geometry import Affine

POINTS = [(0.0, 0.0), (0.5, 0.5), (13.25, 2.0), (-4.0, 1e4)]


def affines(count: int) -> list[Affine]:
    generator = np.random.default_rng(3)
    scales = generator.uniform(0.05, 20.0, (count, 2)) * generator.choice([-1.0, 1.0], (count, 2))
    offsets = generator.uniform(-500.0, 500.0, (count, 2))
    return [Affine(*scale, *offset) for scale, offset in zip(scales.tolist(), offsets.tolist(), strict=True)]


def test_a_resize_maps_corners_to_corners_and_centres_to_centres() -> None:
    to_source = Affine(scale_x=4.0, scale_y=2.0)
    assert to_source.point(0, 0) == (0, 0)
    assert to_source.point(0.5, 0.5) == (2.0, 1.0)  # the middle of 4 x 2 source pixels
    assert to_source.box((1, 2, 3, 4)) == (4, 4, 12, 8)


def test_a_crop_shifts() -> None:
    assert Affine(offset_x=10.0, offset_y=20.0).box((1, 2, 3, 4)) == (11, 22, 3, 4)


@pytest.mark.parametrize("affine", affines(20))
def test_inverse_undoes(affine: Affine) -> None:
    for point in POINTS:
        assert affine.inverse().point(*affine.point(*point)) == pytest.approx(point, abs=1e-7)
    assert affine.inverse().inverse().point(3.0, 7.0) == pytest.approx(affine.point(3.0, 7.0))
    assert affine.then(affine.inverse()).point(3.0, 7.0) == pytest.approx((3.0, 7.0), abs=1e-7)


@pytest.mark.parametrize(("first", "second", "third"), list(zip(*[iter(affines(30))] * 3, strict=True)))
def test_then_is_composition_and_associates(first: Affine, second: Affine, third: Affine) -> None:
    for point in POINTS:
        in_steps = third.point(*second.point(*first.point(*point)))
        assert first.then(second).then(third).point(*point) == pytest.approx(in_steps)
        assert first.then(second.then(third)).point(*point) == pytest.approx(in_steps)


def test_order_matters() -> None:
    shrink, shift = Affine(scale_x=0.5, scale_y=0.5), Affine(offset_x=10.0)
    assert shrink.then(shift).point(4, 4) == (12, 2)
    assert shift.then(shrink).point(4, 4) == (7, 2)


@pytest.mark.parametrize("affine", affines(20))
def test_boxes_keep_a_positive_size_and_come_back(affine: Affine) -> None:
    box = (3.0, -5.0, 40.0, 8.0)
    mapped = affine.box(box)
    assert mapped[2:] == pytest.approx((40.0 * abs(affine.scale_x), 8.0 * abs(affine.scale_y)))
    assert affine.inverse().box(mapped) == pytest.approx(box)


def test_a_mirrored_box() -> None:
    assert Affine(scale_x=-1.0, offset_x=100.0).box((10, 0, 20, 5)) == (70, 0, 20, 5)
