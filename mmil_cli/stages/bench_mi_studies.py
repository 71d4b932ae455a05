"""The sum of local information against the global one, known and estimated, on generated studies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mmil_cli.metrics.intervals import Interval
from mmil_cli.phantom.information import GaussianStudies
from mmil_cli.stages.mi_critic import Estimator, Sampler, over_seeds

ROUNDING = 1e-9  # nats


@dataclass(frozen=True, kw_only=True)
class StudyTruth:
    """What is known of a source, in nats: gap = other_regions + repetition_given_image - repetition.

    Attributes:
        sum_of_local: sum over sentences of the information of their best region.
        global_information: of the whole image and the whole report.
        gap: global minus sum; the sum is a lower bound where it is not negative.
        other_regions: what a sentence's other regions add to the best one, summed over sentences.
        repetition_given_image: what the sentences share beyond what the image explains.
        repetition: what the sentences share.
    """

    sum_of_local: float
    global_information: float
    gap: float
    other_regions: float
    repetition_given_image: float
    repetition: float

    @property
    def verdict(self) -> str:
        """What the sum is to the global information, to within rounding."""
        if abs(self.gap) < ROUNDING:
            return "equal"
        return "a lower bound" if self.gap > 0 else "above"


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One source and what one estimator makes of it, in nats, with 95 % intervals over seeds.

    Attributes:
        source: what kind of studies.
        truth: in closed form.
        objective: what the critics were trained by and are read by.
        sum_of_local: estimated, with a critic for each region and sentence.
        global_information: estimated, with one critic on whole images and reports.
        gap: estimated, global minus sum of the same seed.
    """

    source: str
    truth: StudyTruth
    objective: str
    sum_of_local: Interval
    global_information: Interval
    gap: Interval


@dataclass(frozen=True, kw_only=True)
class StudyEstimator:
    """Both sides of the comparison by one objective; whole studies have more dimensions to learn.

    Attributes:
        local: for a region and a sentence.
        whole: for an image and a report.
    """

    local: Estimator
    whole: Estimator


def estimate_studies(
    sources: Mapping[str, GaussianStudies],
    *,
    estimators: Mapping[str, StudyEstimator],
    num_seeds: int,
    seed: int,
    on_critic: Callable[[], None],
) -> tuple[StudyRow, ...]:
    """A row for every source and estimator; all estimators see the same studies.

    Args:
        sources: by name.
        estimators: by objective; of several sizes of batch the first is read.
        num_seeds: repetitions of each row.
        seed: of everything.
        on_critic: called after each critic.
    """
    rows = []
    for name, source in sources.items():
        for objective, estimator in estimators.items():
            found = [
                _sum_and_global(source, estimator, seed=(seed, replicate), on_critic=on_critic)
                for replicate in range(num_seeds)
            ]
            rows.append(_row(name, source, objective, *np.array(found).T))
    return tuple(rows)


def truth_of(source: GaussianStudies) -> StudyTruth:
    """All that is known of a source."""
    return StudyTruth(
        sum_of_local=source.sum_of_local(),
        global_information=source.global_information(),
        gap=source.global_information() - source.sum_of_local(),
        other_regions=source.other_regions(),
        repetition_given_image=source.repetition_given_image(),
        repetition=source.repetition(),
    )


def region_and_sentence(source: GaussianStudies, region: int, sentence: int) -> Sampler:
    """Draws pairs of one region and one sentence of the same study."""

    def sample(generator: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        regions, sentences = source.sample(generator, number)
        return regions[:, region], sentences[:, sentence]

    return sample


def image_and_report(source: GaussianStudies) -> Sampler:
    """Draws pairs of all regions and all sentences of a study, each as one vector."""

    def sample(generator: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        regions, sentences = source.sample(generator, number)
        return regions.reshape(number, -1), sentences.reshape(number, -1)

    return sample


def _sum_and_global(
    source: GaussianStudies,
    estimator: StudyEstimator,
    *,
    seed: tuple[int, ...],
    on_critic: Callable[[], None],
) -> tuple[float, float]:
    """sum_m max_n of the estimates of I(x_n; y_m), and the estimate of I(X; Y)."""

    def estimate(of: Estimator, sample: Sampler) -> float:
        first_size = next(iter(of(sample, seed=seed).values()))
        on_critic()
        return float(first_size.mean())

    local = [
        [estimate(estimator.local, region_and_sentence(source, n, m)) for n in range(source.num_regions)]
        for m in range(source.num_sentences)
    ]
    return sum(map(max, local)), estimate(estimator.whole, image_and_report(source))


def _row(
    name: str, source: GaussianStudies, objective: str, sums: np.ndarray, wholes: np.ndarray
) -> StudyRow:
    """The row of the estimates of each seed."""
    return StudyRow(
        source=name,
        truth=truth_of(source),
        objective=objective,
        sum_of_local=over_seeds(sums),
        global_information=over_seeds(wholes),
        gap=over_seeds(wholes - sums),
    )
