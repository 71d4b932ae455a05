"""Cells that pretrain a model and evaluate it: probe, retrieve and ground, by the functions of the commands.

Settings: `recipe` (shipped or a file), `score` (preset or expression), `tasks` (probe, retrieve, ground; all
that the data allows where not given), `methods` (of the probe), `missing` (what a blank label is),
`untrained` (the model as it was before its first step: the floor of random weights), and any key of a
recipe, such as `optim.epochs`. The seed is the cell's.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmil_cli.checkpoint import open_checkpoint
from mmil_cli.config.compare import deciding
from mmil_cli.config.load import dump, load_recipe
from mmil_cli.config.recipe import Recipe
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import CheckpointError, UsageError, listing, nearest
from mmil_cli.stages import ground_phrases, pretrain, probe, retrieve
from mmil_cli.stages.policies import Method, Missing
from mmil_cli.stages.pretrain_data import keep_tokenizer, make_tokenizer, plan_batches
from mmil_cli.stages.pretrain_keep import TOKENIZER, Keeper
from mmil_cli.stages.pretrain_model import new_model, optimiser_of
from mmil_cli.stages.study.evaluation_figures import (
    GROUND_METRICS,
    RETRIEVE_METRICS,
    ground_figures,
    probe_figures,
    retrieve_figures,
)
from mmil_cli.stages.study.figures import Figure
from mmil_cli.stages.study.kinds import BOXES, LABELS, REPORTS, CellPlace, Metric, Settings, StudyData
from mmil_cli.stages.trial import run_trial
from mmil_cli.training.contest import Contest
from mmil_cli.training.state import RunIdentity

PROBE, RETRIEVE, GROUND = "probe", "retrieve", "ground"
TASKS = {PROBE: LABELS, RETRIEVE: REPORTS, GROUND: BOXES}
"""What there is to evaluate, with what it needs of the data."""

OWN = ("recipe", "score", "tasks", "methods", "missing", "untrained")
METHODS = (Method.LINEAR, Method.ZERO_SHOT, Method.KNN, Method.ATTENTION)
TRIED_STEPS = 6
SHARE_OF_EVALUATION = 0.08  # of the time of a cell of some hundred steps


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """Settings, read."""

    recipe: Recipe
    tasks: tuple[str, ...]
    methods: tuple[Method, ...]
    missing: Missing
    untrained: bool


def check(settings: Settings, *, offers: frozenset[str] | None) -> None:
    """Refuses unknown keys, values that do not fit, and tasks that the data does not allow."""
    if offers is None:
        raise UsageError("cells of kind checkpoint need data; the study has none under `data:`")
    if REPORTS not in offers:
        raise UsageError("pretraining needs reports, and this data has none")
    _read(settings, offers=offers, seed=0)


def metrics(settings: Settings, *, offers: frozenset[str] | None) -> dict[str, Metric]:
    """Of all tasks."""
    wanted = _read(settings, offers=offers or frozenset(), seed=0)
    found: dict[str, Metric] = {}
    if PROBE in wanted.tasks:
        for method in wanted.methods:
            found[f"probe/{method}/auroc"] = Metric(title=f"AUROC, {method}")
    if RETRIEVE in wanted.tasks:
        found |= RETRIEVE_METRICS
    if GROUND in wanted.tasks:
        found |= GROUND_METRICS
    return found


def needs(settings: Settings) -> tuple[str, ...]:  # noqa: ARG001
    """Nothing."""
    return ()


def work(settings: Settings, *, data: StudyData | None) -> float:
    """Pixels shown."""
    assert data is not None
    wanted = _read(settings, offers=data.offers, seed=0)
    schedule = plan_batches(StudyDataset.open(data.folder), wanted.recipe)
    steps = 0 if wanted.untrained else schedule.num_steps
    once = SHARE_OF_EVALUATION * 100 * schedule.batch_size
    return float((steps * schedule.batch_size + once) * wanted.recipe.image.size**2)


def seconds(settings: Settings, place: CellPlace) -> float:
    """From a few steps."""
    assert place.data is not None
    wanted = _read(settings, offers=place.data.offers, seed=place.seed)
    trial = run_trial(place.data.folder, wanted.recipe, device=place.device, steps=TRIED_STEPS, seconds=10.0)
    pixels = trial.films_per_second * wanted.recipe.image.size**2
    return work(settings, data=place.data) / max(pixels, 1e-9)


def commands(settings: Settings, place: CellPlace) -> tuple[str, ...]:
    """Pretrain, and each task."""
    data = place.data
    assert data is not None
    wanted = _read(settings, offers=data.offers, seed=place.seed)
    run, seed = place.folder / "run", f"--seed {place.seed}"
    score = ["--score", str(settings["score"])] if "score" in settings else []
    sets = [f"{key}={_typed(value)}" for key, value in settings.items() if key not in OWN]
    sets += [f"run.seed={place.seed}", "data.workers=0"]
    train = [
        *("mmil", "pretrain", str(data.folder), "--recipe", str(settings.get("recipe", DEFAULT_RECIPE))),
        *score,
        *(word for text in sets for word in ("--set", text)),
        *("--out", str(run)),
    ]
    methods = ",".join(wanted.methods)
    rest = {
        PROBE: f"mmil probe {data.folder} --split {data.split} --method {methods} --missing {wanted.missing}",
        RETRIEVE: f"mmil retrieve {data.folder} --split {data.split}",
        GROUND: f"mmil ground --phrases {data.phrases} --data {data.folder} --split {data.boxes_split}",
    }
    evaluate = [f"{rest[task]} --checkpoint {run} {seed}" for task in wanted.tasks]
    return (*([] if wanted.untrained else [shlex.join(train)]), *evaluate)


def run(settings: Settings, place: CellPlace) -> Iterator[Figure]:
    """Pretrains, or goes on, and evaluates."""
    data = place.data
    assert data is not None
    wanted = _read(settings, offers=data.offers, seed=place.seed)
    checkpoint = pretrained(wanted, data, place)
    results = place.folder / "results"
    if PROBE in wanted.tasks:
        probe.run(
            data.folder,
            checkpoint=checkpoint,
            out=results,
            split=data.split,
            methods=wanted.methods,
            missing=wanted.missing,
            seed=place.seed,
            device=place.device,
        )
        yield from probe_figures(results, wanted.methods, data)
    if RETRIEVE in wanted.tasks:
        found = retrieve.run(
            data.folder,
            checkpoint=checkpoint,
            out=results,
            split=data.split,
            seed=place.seed,
            device=place.device,
        )
        yield from retrieve_figures(found)
    if GROUND in wanted.tasks:
        assert data.phrases is not None
        grounded = ground_phrases.run(
            data.phrases,
            data.folder,
            checkpoint=checkpoint,
            out=results,
            split=data.boxes_split,
            seed=place.seed,
            device=place.device,
        )
        yield from ground_figures(grounded)


DEFAULT_RECIPE = "demo"


def pretrained(wanted: _Wanted, data: StudyData, place: CellPlace) -> Path:
    """The run folder of the cell's model, trained to its end, or as it is before the first step."""
    folder = place.folder / "run"
    if wanted.untrained:
        _keep_untrained(folder, data, wanted.recipe)
        return folder
    watchers = pretrain.Watchers(on_step=lambda step: place.on_progress(step.step, step.num_steps))
    pretrain.run(data.folder, folder, recipe=wanted.recipe, device=place.device, watchers=watchers)
    return folder


def _keep_untrained(folder: Path, data: StudyData, recipe: Recipe) -> None:
    """A checkpoint of the model that a run of the recipe begins with."""
    try:
        open_checkpoint(folder)
    except CheckpointError:
        pass
    else:
        return
    dataset = StudyDataset.open(data.folder)
    rows = plan_batches(dataset, recipe).rows
    tokenizer = make_tokenizer(dataset, rows, recipe)
    keep_tokenizer(folder / TOKENIZER, tokenizer, recipe)
    start = new_model(recipe, dataset, tokenizer, films=rows)
    identity = RunIdentity(recipe=deciding(dump(recipe)), dataset_hash=dataset.info.content_hash)
    Keeper(
        folder,
        dataset=dataset,
        recipe=recipe,
        identity=identity,
        model=start.model,
        optimiser=optimiser_of(start.model, recipe.optim),
        start=start,
        contest=Contest(metric=recipe.run.metric, patience=recipe.run.patience),
        reached=0,
    ).save_checkpoint(0, {})


def _read(settings: Settings, *, offers: frozenset[str], seed: int) -> _Wanted:
    """Settings of a cell.

    Raises:
        UsageError: telling the key.
    """
    overrides = [f"{key}={_typed(value)}" for key, value in settings.items() if key not in OWN]
    for key in settings:
        if key not in OWN and "." not in key:
            raise UsageError(
                f"unknown key {key!r}{nearest(key, OWN)}; cells have {listing(OWN)}, and the keys of a "
                "recipe, such as optim.epochs"
            )
        if key in ("run.seed", "data.workers"):
            raise UsageError(f"{key} is set by the study itself; leave it out")
    score = settings.get("score")
    recipe = load_recipe(
        settings.get("recipe", DEFAULT_RECIPE),
        score=None if score is None else str(score),
        overrides=[*overrides, f"run.seed={seed}", "data.workers=0"],
    )
    return _Wanted(
        recipe=recipe,
        tasks=_tasks(settings, offers),
        methods=tuple(Method(name) for name in _known(settings, "methods", [Method.LINEAR], METHODS)),
        missing=Missing(_known(settings, "missing", Missing.NEGATIVE, tuple(Missing))[0]),
        untrained=bool(settings.get("untrained", False)),
    )


def _tasks(settings: Settings, offers: frozenset[str]) -> tuple[str, ...]:
    tasks = _known(settings, "tasks", [name for name, need in TASKS.items() if need in offers], tuple(TASKS))
    for name in tasks:
        if TASKS[name] not in offers:
            raise UsageError(f"tasks: {name} needs {TASKS[name]}, and this data has none; leave it out")
    return tuple(tasks)


def _known(settings: Settings, key: str, default: Any, known: Sequence[str]) -> list[str]:
    """A setting that is a name or names among those known."""
    value = settings.get(key, default)
    names = list(value) if isinstance(value, list | tuple) else [value]
    for name in names:
        if name not in known:
            raise UsageError(f"{key}: no {name!r}{nearest(str(name), known)}; there are {', '.join(known)}")
    return [str(name) for name in names]


def _typed(value: Any) -> str:
    """A value as YAML reads it back."""
    return json.dumps(value) if not isinstance(value, str) else value or "''"
