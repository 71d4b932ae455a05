"""Augmentation: what it changes, what it never does, and that the generator decides everything."""

import pytest
import torch

KNOBS = {"rotate": 10.0, "shift": 0.1, "scale": 0.2, "crop": 0.3, "brightness": 0.2, "contrast": 0.3,
         "blur": 0.05, "noise": 0.1, "erase": 0.3}  # fmt: skip
STILL = dict.fromkeys(KNOBS, 0.0)
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
    one, again, other = (augment(films, WHOLE.expand(2, 4), seed, **KNOBS)[0] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_changes_films_by_the_seed_alone(knob):
    films = torch.randint(0, 256, (8, 32, 32), dtype=torch.uint8)
    found = [augment(films, WHOLE.expand(8, 4), seed, **{knob: KNOBS[knob]})[0] for seed in (1, 1, 2)]
    assert not torch.equal(found[0], films)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_no_knob_is_without_a_test():
    import dataclasses

    from mmil_cli.data.transforms import Augment

    assert {field.name for field in dataclasses.fields(Augment)} == set(KNOBS)


def test_a_film_is_changed_alike_in_a_large_batch(monkeypatch):
    from mmil_cli.data import transforms

    films = torch.randint(0, 256, (9, 16, 16), dtype=torch.uint8)
    whole = augment(films, WHOLE.expand(9, 4), **KNOBS)
    monkeypatch.setattr(transforms, "FILMS_AT_ONCE", 2)
    for found, expected in zip(augment(films, WHOLE.expand(9, 4), **KNOBS), whole, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_crop_shows_a_window_of_the_film_for_film_and_cover(seed):
    corners = torch.tensor([[0.3, 0.2, 0.8, 0.7]])
    film = torch.full((1, 100, 100), 250, dtype=torch.uint8)
    film[:, 20:70, 30:80] = 20
    changed, cover = augment(film, corners, seed, crop=0.4)
    dark = changed[0] < 130
    found = [dark.any(dim=0).nonzero(), dark.any(dim=1).nonzero()]
    edges = torch.tensor([[found[0].min(), found[1].min(), found[0].max() + 1, found[1].max() + 1]]) / 100
    torch.testing.assert_close(cover, edges, atol=0.021, rtol=0)
    assert cover[0, 2] - cover[0, 0] > 0.5  # nearer than it was
    assert changed.min() > 0  # nothing from outside the film


def test_a_crop_is_at_most_what_is_asked():
    _, cover = augment(
        torch.zeros(2000, 4, 4, dtype=torch.uint8),
        torch.tensor([[0.45, 0.45, 0.55, 0.55]]).expand(2000, 4),
        crop=0.5,
    )
    inside = (cover > 0).all(dim=1) & (cover < 1).all(dim=1)
    zoom = (cover[inside, 2] - cover[inside, 0]) / 0.1
    assert zoom.min() > 0.999
    assert zoom.max() <= 2.001
    assert zoom.max() > 1.8


def test_a_blur_is_the_gaussian_of_its_deviation():
    from scipy.ndimage import gaussian_filter

    from mmil_cli.data.transforms import blurred

    films = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.0, 1.2, 2.0])
    found = blurred(films, sigma, most=0.05)
    assert torch.equal(found[0], films[0])
    for film, deviation, result in zip(films[1:], sigma[1:], found[1:], strict=True):
        expected = gaussian_filter(film.double().numpy(), deviation.item(), mode="nearest", radius=6)
        torch.testing.assert_close(result.double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_noise_has_its_deviation_and_differs_between_films():
    films = torch.full((400, 32, 32), 128, dtype=torch.uint8)
    changed, _ = augment(films, WHOLE.expand(400, 4), noise=0.2)
    deviations = (changed.float() - 128).std(dim=(1, 2)) / 255
    assert deviations.max() == pytest.approx(0.2, abs=0.02)
    assert deviations.mean() == pytest.approx(0.1, abs=0.01)  # from none to that
    alike = torch.corrcoef(changed[deviations > 0.1].float().flatten(1)).fill_diagonal_(0).abs() > 0.5
    assert alike.float().mean() < 0.01  # one sheet, rolled to one of 1,024 places for each film


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
    change = Augment(**KNOBS)
    whole = change(films, cover, torch.Generator().manual_seed(3))
    part = Part(first=2, last=5, num_rows=7)
    found = change(films[2:5], cover[2:5], torch.Generator().manual_seed(3), part=part)
    assert (found[0] == whole[0][2:5]).all()
    assert (found[1] == whole[1][2:5]).all()
