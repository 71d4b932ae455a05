"""Location priors: of other splits, or of the other patients, and never of one's own."""

from dataclasses import dataclass, replace

import numpy as np

from mmil_cli.data.phrase import Phrase
from mmil_cli.stages.location_priors import LocationPriors
from mmil_cli.stages.phrase_samples import Sample

LEFT, RIGHT = (0.0, 0.0, 10.0, 30.0), (10.0, 0.0, 10.0, 30.0)


@dataclass
class Patient:
    patient_id: str


def sample(patient: str, category: str, box: tuple[float, float, float, float]) -> Sample:
    phrase = Phrase(patient, category, category, (box,), 20, 30, "test", 0)
    return Sample(phrase=phrase, index=0, row=Patient(patient), shuffled=None)  # type: ignore[arg-type]


def test_phrases_of_other_splits_are_the_prior_of_every_film() -> None:
    asked = sample("p", "Edema", RIGHT)
    elsewhere = [sample("a", "Edema", LEFT).phrase, sample("b", "Mass", RIGHT).phrase]
    priors = LocationPriors.of(elsewhere, [asked])
    overall, finding = priors.overall(asked), priors.of_finding(asked)
    assert overall is not None
    assert finding is not None
    np.testing.assert_array_equal(overall, 0.5)
    assert finding[:, :32].min() == 1
    assert finding[:, 32:].max() == 0
    unknown = replace(asked, phrase=replace(asked.phrase, category="Hernia"))
    np.testing.assert_array_equal(priors.of_finding(unknown), overall)


def test_without_these_they_are_of_the_other_patients_alone() -> None:
    asked = [sample("p", "Edema", RIGHT), sample("p", "Mass", RIGHT), sample("q", "Edema", LEFT),
             sample("r", "Edema", LEFT)]  # fmt: skip
    priors = LocationPriors.of([], asked)
    first, third = priors.overall(asked[0]), priors.overall(asked[2])
    assert first is not None
    assert third is not None
    assert first[:, :32].min() == 1
    assert first[:, 32:].max() == 0
    np.testing.assert_allclose(third[0, [0, 63]], [1 / 3, 2 / 3], atol=1e-9)
    own = priors.of_finding(asked[2])
    assert own is not None
    np.testing.assert_allclose(own[0, [0, 63]], 0.5)
    np.testing.assert_array_equal(priors.of_finding(asked[1]), first)  # nobody else has a mass


def test_what_is_taken_off_leaves_no_rounding_behind() -> None:
    generator = np.random.default_rng(0)
    asked = [sample(f"p{n}", "Edema", (*generator.uniform(0, 4, 2), *generator.uniform(1, 4, 2)))
             for n in range(30)]  # fmt: skip
    prior = LocationPriors.of([], asked).overall(asked[0])
    assert prior is not None
    assert set(np.unique(prior[32:])) == {0.0}


def test_one_patient_alone_has_none() -> None:
    asked = [sample("p", "Edema", LEFT), sample("p", "Mass", RIGHT)]
    assert LocationPriors.of([], asked).overall(asked[0]) is None
    assert LocationPriors.of([], asked).of_finding(asked[0]) is None
    assert LocationPriors.of([], []).overall(asked[0]) is None
