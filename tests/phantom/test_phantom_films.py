"""What findings do to a film: the right sense, the right side, more of it when severe, less when hard."""

from dataclasses import replace

import numpy as np
import pytest

from mmil_cli.phantom.anatomy import Anatomy, heart_borders, sample_anatomy
from mmil_cli.phantom.difficulty import SETTINGS, Difficulty, Settings
from mmil_cli.phantom.findings import DEVICES, Finding, Kind, Side, Zone
from mmil_cli.phantom.nuisance import Technique, sample_technique
from mmil_cli.phantom.render import Rendered, adapted, render_frontal, render_lateral

PLACES = {
    Kind.EFFUSION: (Side.LEFT, Zone.BASAL),
    Kind.PNEUMOTHORAX: (Side.RIGHT, Zone.APICAL),
    Kind.CONSOLIDATION: (Side.RIGHT, Zone.UPPER),
    Kind.EDEMA: (Side.BILATERAL, Zone.PERIHILAR),
    Kind.CARDIOMEGALY: (Side.MIDLINE, Zone.CARDIAC),
    Kind.ATELECTASIS: (Side.LEFT, Zone.LOWER),
    Kind.NODULE: (Side.RIGHT, Zone.MID),
    Kind.PACEMAKER: (Side.LEFT, Zone.UPPER),
    Kind.CENTRAL_LINE: (Side.RIGHT, Zone.CENTRAL),
    Kind.ENDOTRACHEAL_TUBE: (Side.MIDLINE, Zone.CENTRAL),
    Kind.NASOGASTRIC_TUBE: (Side.MIDLINE, Zone.CENTRAL),
}
SIDE = 192


def a_finding(kind: Kind, *, severity: float = 0.7) -> Finding:
    side, zone = PLACES[kind]
    return Finding(kind, side, zone, severity, 24.0 if kind is Kind.NODULE else 0.0, (0.4, 0.5), 77)


def patient(seed: int = 4) -> tuple[Anatomy, Technique]:
    rng = np.random.default_rng(seed)
    anatomy = sample_anatomy(rng, seed=seed)
    return anatomy, sample_technique(rng, view="PA", settings=SETTINGS[Difficulty.EASY])


def quiet(difficulty: Difficulty = Difficulty.EASY) -> Settings:
    return replace(SETTINGS[difficulty], distractors=0.0)


def film_of(*findings: Finding, settings: Settings | None = None, seed: int = 4) -> Rendered:
    anatomy, technique = patient(seed)
    return render_frontal(
        anatomy, findings=findings, technique=technique, settings=settings or quiet(), side=SIDE
    )


def change_within(kind: Kind, *, severity: float = 0.7, settings: Settings | None = None) -> float:
    """Mean change of the film inside the finding's mask, against the same film without it."""
    with_it, without = (
        film_of(a_finding(kind, severity=severity), settings=settings),
        film_of(settings=settings),
    )
    mask = np.logical_or.reduce([part.mask for part in with_it.parts])
    return float((with_it.film - without.film)[mask].mean())


@pytest.mark.parametrize("kind", list(Kind))
def test_every_finding_is_seen_where_its_mask_is(kind: Kind) -> None:
    change = change_within(kind)
    assert change < -0.015 if kind is Kind.PNEUMOTHORAX else change > 0.015, change


@pytest.mark.parametrize("kind", list(Kind))
def test_little_changes_elsewhere(kind: Kind) -> None:
    with_it, without = film_of(a_finding(kind)), film_of()
    mask = np.logical_or.reduce([part.mask for part in with_it.parts])
    change = np.abs(with_it.film - without.film)
    assert change[mask].mean() > 2 * change[~mask].mean()


@pytest.mark.parametrize(
    "kind", [Kind.EFFUSION, Kind.CONSOLIDATION, Kind.EDEMA, Kind.NODULE, Kind.PNEUMOTHORAX, Kind.ATELECTASIS]
)
def test_harder_films_show_less(kind: Kind) -> None:
    strength = [abs(change_within(kind, settings=quiet(level))) for level in Difficulty]
    assert strength[0] > strength[1] > strength[2]


@pytest.mark.parametrize("kind", [Kind.EFFUSION, Kind.PNEUMOTHORAX, Kind.CONSOLIDATION, Kind.CARDIOMEGALY])
def test_severe_findings_are_larger(kind: Kind) -> None:
    areas = [film_of(a_finding(kind, severity=s)).parts[0].mask.sum() for s in (0.2, 0.5, 0.9)]
    assert areas[0] < areas[1] < areas[2]


def test_edema_gains_density_with_severity() -> None:
    assert change_within(Kind.EDEMA, severity=0.9) > change_within(Kind.EDEMA, severity=0.2)


def test_bilateral_findings_have_a_part_on_each_side() -> None:
    parts = film_of(a_finding(Kind.EDEMA)).parts
    assert [part.side for part in parts] == [Side.RIGHT, Side.LEFT]
    columns = [float(np.nonzero(part.mask)[1].mean()) for part in parts]
    assert columns[0] < SIDE / 2 < columns[1]


def test_heart_ratio_is_the_ratio() -> None:
    anatomy, technique = patient()
    big = adapted(anatomy, findings=[a_finding(Kind.CARDIOMEGALY, severity=1.0)], technique=technique)
    right, left = heart_borders(big)
    assert (left - right) / (2 * big.half_width) == pytest.approx(0.67)
    assert anatomy.heart_ratio < 0.5


def test_no_vessels_beyond_a_pneumothorax() -> None:
    """The free air is smoother than the same place of the lung before."""
    finding = a_finding(Kind.PNEUMOTHORAX, severity=0.9)
    ill, well = film_of(finding), film_of()
    mask = ill.parts[0].mask
    assert ill.film[mask].mean() < well.film[mask].mean()
    assert (
        np.abs(np.diff(ill.film, axis=0))[mask[1:]].mean()
        < 1.3 * np.abs(np.diff(well.film, axis=0))[mask[1:]].mean()
    )


def test_same_patient_other_film() -> None:
    """Nuisance differs between the films of one patient, the film of one technique does not."""
    anatomy, technique = patient()
    other = sample_technique(np.random.default_rng(99), view="AP", settings=quiet())
    films = [
        render_frontal(anatomy, findings=(), technique=t, settings=quiet(), side=96).film
        for t in (technique, technique, replace(other, aspect=technique.aspect))
    ]
    assert np.array_equal(films[0], films[1])
    assert not np.allclose(films[0], films[2], atol=0.02)


@pytest.mark.parametrize(
    "kind", [Kind.EFFUSION, Kind.CONSOLIDATION, Kind.EDEMA, Kind.PACEMAKER, Kind.CARDIOMEGALY]
)
def test_lateral_films_show_it_too_and_carry_no_masks(kind: Kind) -> None:
    anatomy, technique = patient()
    films = [
        render_lateral(anatomy, findings=f, technique=technique, settings=quiet(), side=96)
        for f in ((), (a_finding(kind),))
    ]
    assert films[1].parts == ()
    assert np.abs(films[1].film - films[0].film).max() > 0.1


def test_devices_are_thin_and_bright() -> None:
    for kind in DEVICES - {Kind.PACEMAKER}:
        part = film_of(a_finding(kind)).parts[0]
        assert part.mask.mean() < 0.04
