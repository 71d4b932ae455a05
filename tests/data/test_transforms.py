"""Augmentation: what it changes, what it never does, and that the generator decides everything."""

import pytest
import torch

STILL = {"rotate": 0.0, "shift": 0.0, "scale": 0.0, "brightness": 0.0, "contrast": 0.0, "erase": 0.0}
WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


def augment(films, cover, seed=0, **changes):
    from mmil_cli.data.transforms import Augment

    return Augment(**{**STILL, **changes})(films, cover, torch.Generator().manual_seed(seed))


def spotted(num_films=1, side=64, row=20, column=40):
    films = torch.full((num_films, side, side), 40, dtype=torch.uint8)
    films[:, row - 3 : row + 3, column - 3 : column + 3] = 240
    return films


def centre_of_spot(film):
    weights = (film.float() - 45).clamp(min=0)
    places = torch.arange(film.shape[-1]) + 0.5
    return [float((weights.sum(dim=axis) * places).sum() / weights.sum()) for axis in (1, 0)]


def test_nothing_asked_changes_nothing():
    films = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    changed, cover = augment(films, WHOLE.expand(3, 4))
    assert torch.equal(changed, films)
    assert torch.equal(cover, WHOLE.expand(3, 4))


def test_normalise_takes_bytes_to_units_of_std():
    from mmil_cli.data.transforms import normalise

    films = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(normalise(films, mean=0.5, std=0.25), torch.tensor([[[[-2.0, 2.0]]]]))


def test_the_generator_decides_everything():
    films = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    options = {"rotate": 10.0, "shift": 0.1, "scale": 0.2, "brightness": 0.2, "contrast": 0.3, "erase": 0.3}
    one, again, other = (augment(films, WHOLE.expand(2, 4), seed, **options)[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_moves_film_and_cover_alike(seed):
    changed, cover = augment(spotted(), torch.tensor([[0.3, 0.2, 0.8, 0.7]]), seed, shift=0.1)
    row, column = centre_of_spot(changed[0])
    moved_x, moved_y = (column - 40) / 64, (row - 20) / 64
    assert abs(moved_x) + abs(moved_y) > 0.005
    expected = torch.tensor([[0.3 + moved_x, 0.2 + moved_y, 0.8 + moved_x, 0.7 + moved_y]])
    torch.testing.assert_close(cover, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_a_zoom_is_about_the_centre_for_film_and_cover(seed):
    changed, cover = augment(spotted(), torch.tensor([[0.25, 0.25, 0.75, 0.75]]), seed, scale=0.3)
    row, column = centre_of_spot(changed[0])
    zoom = (column - 32) / (40 - 32)
    assert (row - 32) / (20 - 32) == pytest.approx(zoom, abs=0.03)
    torch.testing.assert_close(
        cover, 0.5 + zoom * torch.tensor([[-0.25, -0.25, 0.25, 0.25]]), atol=0.01, rtol=0
    )


def test_left_stays_left():
    changed, _ = augment(spotted(50), WHOLE.expand(50, 4), rotate=20.0, shift=0.05, scale=0.2)
    assert all(centre_of_spot(film)[1] > 32 for film in changed)


def test_a_hidden_square_has_its_size_and_the_films_grey():
    films = torch.arange(64 * 64).reshape(1, 64, 64).remainder(251).byte().expand(40, 64, 64)
    changed, _ = augment(films, WHOLE.expand(40, 4), erase=0.25)
    differs = (changed != films).flatten(1).sum(dim=1)
    assert differs.max() <= 16 * 16 + 16
    assert differs.max() > 0.9 * 16 * 16
    assert 8 < (differs == 0).sum() < 32  # about half of the films
    grey = changed[changed != films].unique()
    assert len(grey) == 1
    assert grey.item() == pytest.approx(films[0].float().mean().item(), abs=1)


def test_hidden_squares_lie_everywhere():
    films = torch.randint(0, 250, (2000, 32, 32), dtype=torch.uint8)
    changed, _ = augment(films, WHOLE.expand(2000, 4), erase=0.3)
    share = (changed != films).float().mean(dim=0)
    assert share.min() > 0
    assert share[16, 16] == pytest.approx(0.045, abs=0.03)


def test_a_part_of_a_batch_is_changed_as_in_the_whole():
    from mmil_cli.data.batches import Part
    from mmil_cli.data.transforms import Augment

    films = torch.randint(0, 256, (7, 32, 32), dtype=torch.uint8)
    cover = torch.tensor([0.1, 0.2, 0.8, 0.9]).expand(7, 4)
    change = Augment(rotate=20.0, shift=0.1, scale=0.3, brightness=0.4, contrast=0.5, erase=0.3)
    whole = change(films, cover, torch.Generator().manual_seed(3))
    part = Part(first=2, last=5, num_rows=7)
    found = change(films[2:5], cover[2:5], torch.Generator().manual_seed(3), part=part)
    assert (found[0] == whole[0][2:5]).all()
    assert (found[1] == whole[1][2:5]).all()
