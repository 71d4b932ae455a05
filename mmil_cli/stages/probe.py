"""Probe: how well findings can be read off a frozen model, with labels (linear) and without (zero-shot)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.config.prompts import Prompts, load_prompts
from mmil_cli.errors import UsageError, listing
from mmil_cli.files import make_folder, write_json
from mmil_cli.metrics.classification import ClassificationTable, classification_table
from mmil_cli.stages.evaluation import OnProgress, open_evaluation
from mmil_cli.stages.findings import matching, pick_findings
from mmil_cli.stages.linear_probe import fit_probe
from mmil_cli.stages.policies import Method, Missing, Uncertain
from mmil_cli.stages.probe_task import ProbeFeatures, ProbeTask, embed_task, plan_task
from mmil_cli.stages.zero_shot import ZeroShot

FILE_NAME = "probe.json"
DEFAULT_PROMPTS = "chexpert"


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """The figures of one method.

    Attributes:
        method: which.
        table: the findings it was tried on, and their mean; chance is 0.5 for AUROC, prevalence for AUPRC.
        skipped: the other findings, and why.
        details: what was chosen for each finding, such as the penalty of its linear probe.
    """

    method: Method
    table: ClassificationTable
    skipped: Mapping[str, str]
    details: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a probe found.

    Attributes:
        methods: one result a method.
        num_films: of the split that was scored.
        num_patients: of the same.
        notes: what the reader must know.
        provenance: what the figures depend on.
        record: the JSON file that holds all of this.
    """

    methods: tuple[MethodResult, ...]
    num_films: int
    num_patients: int
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]
    record: Path


def run(
    data: Path,
    *,
    checkpoint: Path,
    out: Path,
    split: str = "test",
    methods: Sequence[Method] = tuple(Method),
    findings: Sequence[str] | None = None,
    prompts: str | Path = DEFAULT_PROMPTS,
    uncertain: Uncertain = Uncertain.IGNORE,
    missing: Missing = Missing.IGNORE,
    seed: int = 0,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> ProbeResult:
    """AUROC and AUPRC of every finding on a split, with bootstrap intervals by patient.

    Args:
        data: dataset folder with labels.
        checkpoint: checkpoint or run folder.
        out: folder for `probe.json`.
        split: what to score; the linear probe is fitted on `train`, its penalty chosen on `validate`.
        methods: linear, zero-shot, or both.
        findings: those wanted, in any spelling; None for all the labels there are.
        prompts: YAML file or shipped name, for zero-shot.
        uncertain: what the label -1 counts as, in every split.
        missing: what a blank label counts as, in every split.
        seed: of the bootstrap and of the linear probe's folds.
        device: auto, cpu or cuda.
        on_progress: told of films.

    Raises:
        UsageError: an unknown split or finding, unusable prompts, or nothing that can be scored.
    """
    given = load_prompts(prompts) if Method.ZERO_SHOT in methods else {}
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    names = pick_findings(evaluation.dataset.label_names, findings)
    task = plan_task(
        evaluation.dataset,
        names=names,
        split=split,
        uncertain=uncertain,
        missing=missing,
        fit=Method.LINEAR in methods,
    )
    ensembles = _ensembles(given, names, prompts) if given else {}
    zero_shot = ZeroShot(evaluation.embedder, ensembles) if ensembles else None
    make_folder(out)
    features = embed_task(evaluation, task, zero_shot, on_progress)
    options = {
        "methods": list(methods),
        "findings": list(names),
        "uncertain": str(uncertain),
        "missing": str(missing),
    }
    if given:
        options["prompts"] = Path(prompts).name
    result = ProbeResult(
        methods=tuple(_try(method, task, features, ensembles, seed) for method in dict.fromkeys(methods)),
        num_films=len(task.scored),
        num_patients=len(np.unique(task.patients[task.scored])),
        notes=(*evaluation.notes(split), *_unused_prompts(given, evaluation.dataset.label_names, prompts)),
        provenance=evaluation.provenance(split=split, seed=seed, options=options),
        record=out / FILE_NAME,
    )
    write_json(result.record, _as_json(result))
    return result


def _try(
    method: Method, task: ProbeTask, features: ProbeFeatures, ensembles: Mapping[str, Prompts], seed: int
) -> MethodResult:
    if method is Method.LINEAR:
        return _linear(task, features, seed)
    return _zero_shot(task, features, ensembles, seed)


def _linear(task: ProbeTask, features: ProbeFeatures, seed: int) -> MethodResult:
    """A logistic regression a finding; those that the train split has one class of are skipped."""
    scores, skipped, details = {}, {}, {}
    for column, name in enumerate(task.names):
        train = task.examples(task.train, features.train, column)
        if not train.has_both:
            skipped[name] = f"the train split has {train.counts} films"
            continue
        validate = task.examples(task.validate, features.validate, column)
        probe = fit_probe(train, validate, seed=seed)
        scores[name] = probe.scores(features.scored)
        details[name] = {"num_train": len(train.labels), **probe.choices()}
    return _method_result(Method.LINEAR, task, scores, skipped=skipped, details=details, seed=seed)


def _zero_shot(
    task: ProbeTask, features: ProbeFeatures, ensembles: Mapping[str, Prompts], seed: int
) -> MethodResult:
    """The findings that have prompts, by the difference of their ensembles' logits."""
    assert features.zero_shot is not None
    return _method_result(
        Method.ZERO_SHOT,
        task,
        dict(zip(ensembles, features.zero_shot.T, strict=True)),
        skipped={name: "no prompts for it" for name in task.names if name not in ensembles},
        details={name: asdict(pair) for name, pair in ensembles.items()},
        seed=seed,
    )


def _method_result(
    method: Method,
    task: ProbeTask,
    scores: Mapping[str, np.ndarray],
    *,
    skipped: Mapping[str, str],
    details: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> MethodResult:
    columns = [task.names.index(name) for name in scores]
    table = classification_table(
        task.labels[task.scored][:, columns],
        np.stack(list(scores.values()), axis=1) if scores else np.empty((len(task.scored), 0)),
        groups=task.patients[task.scored],
        names=list(scores),
        seed=seed,
    )
    return MethodResult(method=method, table=table, skipped=skipped, details=details)


def _ensembles(given: Mapping[str, Prompts], names: Sequence[str], source: str | Path) -> dict[str, Prompts]:
    """The prompts of the wanted findings, under the dataset's names."""
    ensembles = matching(given, names)
    if not ensembles:
        raise UsageError(
            f"--prompts {source} has prompts for none of {listing(list(names))}; it has: "
            f"{listing(list(given), 20)}; write a YAML file with `positive:` and `negative:` sentences "
            "for them, or give --method linear"
        )
    return ensembles


def _unused_prompts(
    given: Mapping[str, Prompts], names: Sequence[str], source: str | Path
) -> tuple[str, ...]:
    """What to say of prompts of one's own file that no label of the dataset belongs to."""
    if not Path(source).is_file():  # shipped prompts are for whatever the dataset has
        return ()
    used = matching({name: name for name in given}, names).values()
    unused = [name for name in given if name not in used]
    if not unused:
        return ()
    return (f"prompts {Path(source).name}: this dataset has no labels of {listing(unused)}; left out",)


def _as_json(result: ProbeResult) -> dict[str, Any]:
    return {
        "provenance": result.provenance,
        "notes": result.notes,
        "num_films": result.num_films,
        "num_patients": result.num_patients,
        "chance": {"auroc": 0.5, "auprc": "prevalence"},
        "methods": {
            str(part.method): {
                "mean": asdict(part.table.mean),
                "findings": {
                    row.name: {**asdict(row), **{"chosen": part.details[row.name]}} for row in part.table.rows
                },
                "skipped": part.skipped,
            }
            for part in result.methods
        },
    }
