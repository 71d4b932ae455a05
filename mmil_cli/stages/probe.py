"""Probe: how well findings can be read off a model: frozen, tuned, or trained on the labels alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.config.prompts import Prompts, load_prompts
from mmil_cli.files import make_folder
from mmil_cli.stages.evaluation import Evaluation, OnProgress, open_evaluation
from mmil_cli.stages.film_labels import labels_of_table, own_labels
from mmil_cli.stages.findings import pick_findings
from mmil_cli.stages.label_curve import Draws, LabelPoint, label_points
from mmil_cli.stages.label_sets import Budget
from mmil_cli.stages.policies import DEFAULT_METHODS, TRAINED, Method, Missing, Uncertain
from mmil_cli.stages.probe_networks import (
    attention_reader,
    check_layer,
    film_reader,
    initial_evaluation,
)
from mmil_cli.stages.probe_readers import LinearReader, NeighbourReader, Reader
from mmil_cli.stages.probe_record import FILE_NAME, write_record
from mmil_cli.stages.probe_scores import MethodResult, score_method
from mmil_cli.stages.probe_task import ProbeFeatures, ProbeTask, embed_task, plan_task
from mmil_cli.stages.prompt_probe import (
    CalibrationCases,
    choose_cases,
    ensembles_of,
    unused_prompts,
    zero_shot_result,
)
from mmil_cli.stages.zero_shot import ZeroShot

__all__ = ["DEFAULT_PROMPTS", "FILE_NAME", "FewLabels", "MethodResult", "ProbeResult", "Training", "run"]

DEFAULT_PROMPTS = "chexpert"
FROZEN = (Method.LINEAR, Method.KNN, Method.ATTENTION, Method.ZERO_SHOT)
"""What reads the features of the pretrained model."""


@dataclass(frozen=True, kw_only=True)
class FewLabels:
    """Numbers of labels to try besides all of them.

    Attributes:
        budgets: shares of the patients, and k-shot; none for no label curve.
        num_seeds: draws of each.
    """

    budgets: tuple[Budget, ...] = ()
    num_seeds: int = 5


@dataclass(frozen=True, kw_only=True)
class Training:
    """How networks are trained on labels.

    Attributes:
        epochs: passes over the labelled films, at most.
        from_layer: of `finetune`: the first layer of the encoder that is trained; empty for all.
    """

    epochs: int = 20
    from_layer: str = ""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a probe found.

    Attributes:
        methods: one result a method.
        points: the same methods at fewer labels.
        num_films: of the split that was scored.
        num_patients: of the same.
        notes: what the reader must know.
        provenance: what the figures depend on.
        record: the JSON file that holds all of this.
    """

    methods: tuple[MethodResult, ...]
    points: tuple[LabelPoint, ...] = ()
    num_films: int
    num_patients: int
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]
    record: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """What is to be done, checked before any film is read."""

    task: ProbeTask
    methods: tuple[Method, ...]
    draws: Draws
    training: Training
    prompts: Mapping[str, Prompts] = field(default_factory=dict)
    cases: Sequence[CalibrationCases] = ()

    @property
    def readers(self) -> tuple[Method, ...]:
        """Methods that learn from labels."""
        return tuple(method for method in self.methods if method is not Method.ZERO_SHOT)


def run(
    data: Path,
    *,
    checkpoint: Path,
    out: Path,
    split: str = "test",
    methods: Sequence[Method] = DEFAULT_METHODS,
    label_table: Path | None = None,
    findings: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    prompts: str | Path = DEFAULT_PROMPTS,
    calibrate: int = 0,
    uncertain: Uncertain = Uncertain.IGNORE,
    missing: Missing = Missing.IGNORE,
    few: FewLabels | None = None,
    training: Training | None = None,
    seed: int = 0,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    on_fit: OnProgress | None = None,
) -> ProbeResult:
    """The figures of every finding on a split, with bootstrap intervals by patient.

    Label columns `severity >= 1`, `severity >= 2`, ... are also told apart as grades.

    Args:
        data: dataset folder with labels.
        checkpoint: checkpoint or run folder.
        out: folder for `probe.json` and what belongs to it.
        split: what to score; methods learn from `train`, and choose on `validate`.
        methods: which.
        label_table: labels of the films, in place of the dataset's own.
        findings: those wanted, in any spelling; None for all the labels there are.
        classes: findings to tell apart among films that have exactly one of them; none for no such task.
        prompts: YAML file or shipped name, for zero-shot.
        calibrate: labelled validation films that zero-shot scores are turned into probabilities by; 0 for
            none.
        uncertain: what the label -1 counts as, in every split.
        missing: what a blank label counts as, in every split.
        few: fewer labels to try.
        training: of networks.
        seed: of the bootstrap, of draws, folds and training.
        device: auto, cpu or cuda.
        on_progress: told of films.
        on_fit: told of fits.

    Raises:
        UsageError: an unknown split, finding or layer, unusable prompts, more labels asked for than there
        are, or
            nothing that can be scored.
    """
    few, training = few or FewLabels(), training or Training()
    given = load_prompts(prompts) if Method.ZERO_SHOT in methods else {}
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    dataset = evaluation.dataset
    told = labels_of_table(label_table, dataset) if label_table else own_labels(dataset)
    known = told.names
    names = pick_findings(known, findings)
    chosen = tuple(dict.fromkeys(methods))
    task = plan_task(
        dataset,
        told,
        names=names,
        classes=pick_findings(known, classes) if classes else (),
        split=split,
        uncertain=uncertain,
        missing=missing,
        fit=chosen != (Method.ZERO_SHOT,),
    )
    draws = Draws(budgets=few.budgets, num_seeds=few.num_seeds, seed=seed)
    plan = _Plan(task=task, methods=chosen, draws=draws, training=training)
    draws.check(task.label_set())
    check_layer(evaluation.embedder.model.image_encoder, training.from_layer)
    if given:
        ensembles = ensembles_of(given, names, prompts)
        cases = choose_cases(task, list(ensembles), calibrate, seed=seed) if calibrate else ()
        plan = replace(plan, prompts=ensembles, cases=cases)
    make_folder(out)
    results, points = _go(plan, evaluation, on_progress, on_fit)
    result = ProbeResult(
        methods=results,
        points=points,
        num_films=len(task.scored),
        num_patients=len(np.unique(task.patients[task.scored])),
        notes=(*evaluation.notes(split), *told.notes, *_notes(task), *unused_prompts(given, known, prompts)),
        provenance=evaluation.provenance(
            split=split,
            seed=seed,
            options={
                "methods": list(chosen),
                "findings": list(names),
                "uncertain": str(uncertain),
                "missing": str(missing),
                **({"label_table": label_table.name} if label_table else {}),
                **({"classes": list(classes)} if classes else {}),
                **({"prompts": Path(prompts).name, "calibrate": calibrate} if given else {}),
                **({"labels": [b.name for b in few.budgets], "draws": few.num_seeds} if few.budgets else {}),
                **(vars(training) if set(chosen) & set(TRAINED) else {}),
            },
        ),
        record=out / FILE_NAME,
    )
    head = {name: getattr(result, name) for name in ("provenance", "notes", "num_films", "num_patients")}
    write_record(out, methods=results, points=points, head=head)
    return result


def _go(
    plan: _Plan, evaluation: Evaluation, on_progress: OnProgress | None, on_fit: OnProgress | None
) -> tuple[tuple[MethodResult, ...], tuple[LabelPoint, ...]]:
    """Every method in turn, on one pass of features."""
    task, seed = plan.task, plan.draws.seed
    zero_shot = ZeroShot(evaluation.embedder, plan.prompts) if plan.prompts else None
    features = None
    if set(plan.methods) & set(FROZEN):
        attends = Method.ATTENTION in plan.methods
        features = embed_task(evaluation, task, zero_shot=zero_shot, regions=attends, on_progress=on_progress)
    one_more = _counted(plan, on_fit)
    results: list[MethodResult] = []
    points: list[LabelPoint] = []
    labels, truth = task.label_set(), task.labels[task.scored]
    for method in plan.methods:
        if method is Method.ZERO_SHOT:
            assert features is not None
            assert features.prompts is not None
            results.append(
                zero_shot_result(task, plan.prompts, features.prompts, cases=plan.cases, seed=seed)
            )
            continue
        reader = _reader(method, plan, evaluation, features, on_progress)
        full = reader(labels, seed=seed)
        one_more()
        results.append(score_method(method, full, task, seed=seed))
        points.extend(
            label_points(method, reader, labels, truth, draws=plan.draws, full=full, on_fit=one_more)
        )
    return tuple(results), tuple(points)


def _reader(
    method: Method,
    plan: _Plan,
    evaluation: Evaluation,
    features: ProbeFeatures | None,
    on_progress: OnProgress | None,
) -> Reader:
    """The method, given what it reads."""
    if method in (Method.FINETUNE, Method.SUPERVISED):
        training = plan.training
        return film_reader(
            method, evaluation, plan.task, epochs=training.epochs, from_layer=training.from_layer
        )
    if method is Method.INITIAL:
        control = embed_task(initial_evaluation(evaluation), plan.task, on_progress=on_progress)
        return LinearReader(control.pooled)
    assert features is not None
    if method is Method.ATTENTION:
        assert features.regions is not None
        return attention_reader(evaluation, features.regions, epochs=plan.training.epochs)
    return (LinearReader if method is Method.LINEAR else NeighbourReader)(features.pooled)


def _counted(plan: _Plan, on_fit: OnProgress | None) -> Callable[[], None]:
    """What to call after each fit."""
    total = sum(1 + plan.draws.count(is_random=method in TRAINED) for method in plan.readers)
    done: Iterator[int] = count(1)

    def one_more() -> None:
        number = next(done)
        if on_fit is not None:
            on_fit(number, total)

    return one_more


def _notes(task: ProbeTask) -> list[str]:
    """What the reader must know of the task."""
    if len(task.validate) or not len(task.train):
        return []
    return [
        "no validation films besides those scored: penalties come from folds of the train split, "
        "networks are not stopped early, and F1, sensitivity and specificity have no threshold"
    ]
