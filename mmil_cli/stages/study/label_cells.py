"""Cells that learn findings from few labels: frozen, tuned, or without any pretraining, on films of a cell.

Settings: `of` (the arm whose checkpoint is read, trained once), `methods` (linear, knn, attention, finetune,
supervised, initial), `labels` (such as `[1%, 10%, 100%]`), `epochs` (of what trains a network), `missing`.
`supervised` and `initial` read of that checkpoint only what its encoder was before pretraining.
Which labels are drawn follows from the seed, and is the same for every method and arm.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import UsageError
from mmil_cli.stages.evaluation import Evaluation, open_evaluation
from mmil_cli.stages.film_labels import own_labels
from mmil_cli.stages.findings import pick_findings
from mmil_cli.stages.label_sets import draw, parse_budget
from mmil_cli.stages.label_training import BATCH_SIZE, LEAST_STEPS
from mmil_cli.stages.policies import Method, Missing, Uncertain
from mmil_cli.stages.probe_networks import FILM_RATES, attention_reader, film_reader, initial_evaluation
from mmil_cli.stages.probe_readers import LinearReader, NeighbourReader, Reader, Readings
from mmil_cli.stages.probe_task import ProbeTask, embed_task, plan_task
from mmil_cli.stages.study.figures import Figure, auroc_figure, mean_of_figures
from mmil_cli.stages.study.kinds import LABELS, CellPlace, Metric, Settings, StudyData
from mmil_cli.stages.study.settings import settings_of

SECONDS_A_PIXEL = 1.2e-5  # of a step of 32 films, on one core
STEPS_OF_A_QUICK_ONE = 10
NETWORKS = (Method.FINETUNE, Method.SUPERVISED)
RATES_TRIED = len(FILM_RATES)


class Labels(BaseModel):
    """What there is to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: str
    methods: tuple[Method, ...] = Field((Method.LINEAR, Method.FINETUNE), min_length=1)
    labels: tuple[str, ...] = Field(("1%", "10%", "100%"), min_length=1)
    epochs: int = Field(20, ge=1)
    missing: Missing = Missing.NEGATIVE


def check(settings: Settings, *, offers: frozenset[str] | None) -> None:
    """Refuses what is unknown, zero-shot, and data without labels."""
    wanted = _read(settings)
    if offers is None or LABELS not in offers:
        raise UsageError("cells of kind labels need labels, and this data has none")
    if Method.ZERO_SHOT in wanted.methods:
        raise UsageError("methods: zero-shot learns from no labels; give it to a checkpoint cell")
    for budget in wanted.labels:
        parse_budget(budget)


def metrics(settings: Settings, *, offers: frozenset[str] | None) -> dict[str, Metric]:  # noqa: ARG001
    """Mean AUROC of each method at each number of labels."""
    wanted = _read(settings)
    return {
        _metric(method, budget): Metric(title=f"AUROC, {method}, {parse_budget(budget).name} of labels")
        for method in wanted.methods
        for budget in wanted.labels
    }


def needs(settings: Settings) -> tuple[str, ...]:
    """The arm whose checkpoint is read."""
    return (_read(settings).of,)


def work(settings: Settings, *, data: StudyData | None) -> float:
    """Steps of networks, on films of the stored size; other methods are as quick as some of them."""
    assert data is not None
    wanted, dataset = _read(settings), StudyDataset.open(data.folder)
    num_films = len(dataset.indices("train"))
    steps = 0.0
    for budget in wanted.labels:
        share = parse_budget(budget).share or 0.1
        steps += max(LEAST_STEPS, wanted.epochs * share * num_films / BATCH_SIZE)
    networks = sum(method in NETWORKS for method in wanted.methods)
    quick = len(wanted.methods) * len(wanted.labels) * STEPS_OF_A_QUICK_ONE
    return (networks * RATES_TRIED * steps + quick) * dataset.info.side**2


def seconds(settings: Settings, place: CellPlace) -> float:
    """Roughly, by what a step takes elsewhere: its checkpoint is not there to be tried."""
    return work(settings, data=place.data) * SECONDS_A_PIXEL


def commands(settings: Settings, place: CellPlace) -> tuple[str, ...]:
    """One probe, whose label curve has the same fits."""
    wanted = _read(settings)
    assert place.data is not None
    run = place.needed[wanted.of] / "run"
    return (
        f"mmil probe {place.data.folder} --split {place.data.split} --method {','.join(wanted.methods)} "
        f"--labels {','.join(wanted.labels)} --draws 1 --epochs {wanted.epochs} --missing {wanted.missing} "
        f"--seed {place.seed} --checkpoint {run}",
    )


def run(settings: Settings, place: CellPlace) -> Iterator[Figure]:
    """Every method at every number of labels, on one pass of features."""
    wanted, data = _read(settings), place.data
    assert data is not None
    evaluation = open_evaluation(data.folder, checkpoint=place.needed[wanted.of] / "run", device=place.device)
    told = own_labels(evaluation.dataset)
    task = plan_task(
        evaluation.dataset,
        told,
        names=pick_findings(told.names, None),
        classes=(),
        split=data.split,
        uncertain=Uncertain.IGNORE,
        missing=wanted.missing,
        fit=True,
    )
    done, total = 0, len(wanted.methods) * len(wanted.labels)
    for method in wanted.methods:
        reader = _reader(method, evaluation, task, epochs=wanted.epochs)
        for budget in wanted.labels:
            labels = draw(task.label_set(), parse_budget(budget), seed=place.seed)
            yield from figures(_metric(method, budget), reader(labels, seed=place.seed), task)
            done += 1
            place.on_progress(done, total)


def figures(metric: str, readings: Readings, task: ProbeTask) -> Iterator[Figure]:
    """AUROC of each finding that could be learned, 0.5 of each that could not, and their mean.

    A finding of which the drawn labels show one class alone is told no better than by chance; leaving it out
    would flatter the smaller numbers of labels, which lose the rarer findings.
    """
    patients = task.patients[task.scored]
    truth = task.labels[task.scored]
    found = []
    for place, name in enumerate(task.names):
        known = (truth[:, place] == 0) | (truth[:, place] == 1)
        scores = readings.scored.get(name)
        if scores is None:
            scores = 0.0 * truth[:, place]
        found.append(
            auroc_figure(
                metric,
                truth[known, place],
                scores[known],
                groups=patients[known],
                among=patients,
                finding=name,
            )
        )
    yield from found
    yield mean_of_figures(metric, found)


def _reader(method: Method, evaluation: Evaluation, task: ProbeTask, *, epochs: int) -> Reader:
    if method in NETWORKS:
        return film_reader(method, evaluation, task, epochs=epochs, from_layer="")
    if method is Method.ATTENTION:
        regions = embed_task(evaluation, task, regions=True).regions
        assert regions is not None
        return attention_reader(evaluation, regions, epochs=epochs)
    source = initial_evaluation(evaluation) if method is Method.INITIAL else evaluation
    pooled = embed_task(source, task).pooled
    return NeighbourReader(pooled) if method is Method.KNN else LinearReader(pooled)


def _metric(method: Method, budget: str) -> str:
    return f"labels/{method}/{parse_budget(budget).name}"


def _read(settings: Settings) -> Labels:
    return settings_of(Labels, settings, what="cells of labels")
