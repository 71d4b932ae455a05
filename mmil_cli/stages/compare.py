"""Compare: the figures of several models on the same cases, with paired tests, in one table for all tasks."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmil_cli.errors import UsageError, listing
from mmil_cli.files import make_folder, write_json
from mmil_cli.metrics.classification import auprc, auroc
from mmil_cli.metrics.comparison import Difference, delong, difference
from mmil_cli.metrics.intervals import mean_of_defined, patient_weights, weighted_mean
from mmil_cli.stages.cases import SUFFIX, Cases, read_cases

FILE_NAME = "compare.json"
SAMPLES = 1000
MEAN = "mean"

Key = tuple[str, str, str]
"""Task, part and name of some cases."""


@dataclass(frozen=True, kw_only=True)
class CompareRow:
    """One figure of two models.

    Attributes:
        task: probe, retrieve or ground.
        part: of the task: method, direction, system.
        name: finding or metric; MEAN for the mean over a part's findings.
        metric: AUROC, AUPRC, or "mean" of a figure of each case.
        model: the second model; the first is the first one given.
        num_cases: that both were tried on.
        num_patients: whose they are.
        found: the two figures and their difference.
    """

    task: str
    part: str
    name: str
    metric: str
    model: str
    num_cases: int
    num_patients: int
    found: Difference


@dataclass(frozen=True, kw_only=True)
class CompareResult:
    """The table.

    Attributes:
        models: as they are called in it; the first is what the others are compared with.
        rows: by task, part and name.
        notes: what the reader must know.
        record: the JSON file that holds all of this.
    """

    models: tuple[str, ...]
    rows: tuple[CompareRow, ...]
    notes: tuple[str, ...]
    record: Path


def run(
    folders: Sequence[Path], out: Path, *, names: Sequence[str] | None = None, seed: int = 0
) -> CompareResult:
    """Compares the results in some folders with those in the first one.

    A folder of results holds `probe_cases.parquet`, `retrieve_cases.parquet` or `ground_cases.parquet`,
    itself or below it, as the commands write them.

    Args:
        folders: two or more.
        out: folder for `compare.json`.
        names: of the models; by default the folders', as much of them as tells them apart.
        seed: of the bootstrap.

    Raises:
        UsageError: a folder has no results, or they are of other cases than those of the first.
        DataError: a file of cases is damaged.
    """
    if len(folders) < 2:
        raise UsageError("compare needs two or more folders, such as: mmil compare results/a results/b")
    models = tuple(names or distinct_names(folders))
    found = [find_cases(folder) for folder in folders]
    shared = [key for key in found[0] if all(key in other for other in found[1:])]
    if not shared:
        raise UsageError(
            f"{' and '.join(map(str, folders))} have no task and finding in common; run the same commands "
            "for each"
        )
    for model, other in zip(models[1:], found[1:], strict=True):
        for key in shared:
            _check_same(key, found[0][key], other[key], models[0], model)
    make_folder(out)
    rows = [
        row
        for model, other in zip(models[1:], found[1:], strict=True)
        for row in _rows(model, {key: (found[0][key], other[key]) for key in shared}, seed)
    ]
    result = CompareResult(
        models=models,
        rows=tuple(rows),
        notes=tuple(_notes(models, found, shared)),
        record=out / FILE_NAME,
    )
    write_json(result.record, _as_json(result, seed))
    return result


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the folders' paths, as many as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"the same folder is given twice: {listing([str(folder) for folder in folders])}")


def find_cases(folder: Path) -> dict[Key, Cases]:
    """All cases in a folder of results and below it.

    Raises:
        UsageError: there are none, or two files of one task.
    """
    files = sorted(folder.rglob(f"*{SUFFIX}"))
    if not files:
        raise UsageError(
            f"{folder} holds no results to compare (*{SUFFIX}); give a folder that mmil probe, retrieve "
            "or ground --phrases has written, or checkpoints with --data"
        )
    tasks = [path.name.removesuffix(SUFFIX) for path in files]
    for task in tasks:
        if tasks.count(task) > 1:
            raise UsageError(f"{folder} holds several results of {task}; give the folder of one of them")
    return {
        (task, *key): cases
        for task, path in zip(tasks, files, strict=True)
        for key, cases in read_cases(path).items()
    }


def _check_same(key: Key, first: Cases, second: Cases, one: str, other: str) -> None:
    where = f"{one} and {other}: {' '.join(key)}"
    ours, theirs = set(first.case_id), set(second.case_id)
    if ours != theirs:
        raise UsageError(
            f"{where} was scored on other cases ({len(ours - theirs)} only in the first, "
            f"{len(theirs - ours)} only in the second); run both on the same dataset, split and policies "
            "for missing labels"
        )
    if (first.label is None) != (second.label is None) or (
        first.label is not None
        and second.label is not None
        and (first.label[np.argsort(first.case_id)] != second.label[np.argsort(second.case_id)]).any()
    ):
        raise UsageError(f"{where} has other labels in the two; run both on the same dataset and policies")


def _rows(model: str, pairs: Mapping[Key, tuple[Cases, Cases]], seed: int) -> Iterator[CompareRow]:
    patients = np.unique(np.concatenate([first.patient_id for first, _ in pairs.values()]))
    draws = patient_weights(patients, samples=SAMPLES, seed=seed)  # of each patient, for all rows alike
    parts: dict[tuple[str, str], list[_Scored]] = {}
    for (task, part, name), pair in pairs.items():
        first, second = (_ordered(cases) for cases in pair)
        weights = draws[:, np.searchsorted(patients, first.patient_id)]
        row = functools.partial(
            CompareRow,
            task=task,
            part=part,
            name=name,
            model=model,
            num_cases=len(first.value),
            num_patients=len(np.unique(first.patient_id)),
        )
        if first.label is None:
            yield row(metric=MEAN, found=_of_means(first.value, second.value, weights))
            continue
        scored = _score(first, second, weights)
        parts.setdefault((task, part), []).append(scored)
        for metric, found in scored.differences().items():
            yield row(metric=metric, found=found)
    for (task, part), group in parts.items():
        if len(group) > 1:
            yield from _mean_rows(task, part, model, group, num_patients=len(patients))


@dataclass(frozen=True, eq=False)
class _Scored:
    """AUROC and AUPRC of a finding: values [2 metrics, 2 models] and resamples [2, 2, S]."""

    values: np.ndarray
    draws: np.ndarray
    p_delong: float
    num_cases: int

    def differences(self) -> dict[str, Difference]:
        """By metric."""
        return {
            metric: _difference(self.values[m], self.draws[m], self.p_delong if m == 0 else float("nan"))
            for m, metric in enumerate(("AUROC", "AUPRC"))
        }


def _score(first: Cases, second: Cases, weights: np.ndarray) -> _Scored:
    assert first.label is not None
    label = first.label
    metrics, both = (auroc, auprc), (first.value, second.value)
    values = np.array([[metric(label, scores) for scores in both] for metric in metrics])
    draws = np.array([[metric(label, scores, weights) for scores in both] for metric in metrics])
    return _Scored(values, draws, delong(label, first.value, second.value).p, len(label))


def _mean_rows(
    task: str, part: str, model: str, group: Sequence[_Scored], *, num_patients: int
) -> Iterator[CompareRow]:
    """The means over the findings that have both classes, of the same resamples."""
    num_defined = sum(not np.isnan(scored.values).any() for scored in group)
    values = mean_of_defined(np.stack([scored.values for scored in group], axis=-1))
    draws = mean_of_defined(np.stack([scored.draws for scored in group], axis=-1))
    for m, metric in enumerate(("AUROC", "AUPRC")):
        yield CompareRow(
            task=task,
            part=part,
            name=f"{MEAN} of {num_defined}",
            metric=metric,
            model=model,
            num_cases=max(scored.num_cases for scored in group),
            num_patients=num_patients,
            found=_difference(values[m], draws[m], float("nan")),
        )


def _of_means(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> Difference:
    """Over the cases in which both figures are defined."""
    defined = ~np.isnan(first) & ~np.isnan(second)
    both = np.where(defined[:, None], np.column_stack([first, second]), np.nan)
    return _difference(mean_of_defined(both.T), weighted_mean(both, weights).T, float("nan"))


def _difference(values: np.ndarray, draws: np.ndarray, p_delong: float) -> Difference:
    return difference((float(values[0]), float(values[1])), (draws[0], draws[1]), p_delong=p_delong)


def _ordered(cases: Cases) -> Cases:
    order = np.argsort(cases.case_id)
    return Cases(
        part=cases.part,
        name=cases.name,
        case_id=cases.case_id[order],
        patient_id=cases.patient_id[order],
        label=None if cases.label is None else cases.label[order],
        value=cases.value[order],
    )


def _notes(
    models: Sequence[str], found: Sequence[Mapping[Key, Cases]], shared: Sequence[Key]
) -> Iterator[str]:
    for model, cases in zip(models, found, strict=True):
        alone = [" ".join(key) for key in cases if key not in shared]
        if alone:
            yield f"not compared, for only some of the models have it: {listing(alone)} of {model}"
    several = any(
        cases.label is not None and len(np.unique(cases.patient_id)) < len(cases.patient_id)
        for cases in (found[0][key] for key in shared)
    )
    if several:
        yield (
            "some patients have several films: DeLong's p takes films for independent and is too small then; "
            "the bootstrap resamples patients"
        )


def _as_json(result: CompareResult, seed: int) -> dict[str, Any]:
    return {
        "models": result.models,
        "reference": result.models[0],
        "seed": seed,
        "samples": SAMPLES,
        "notes": result.notes,
        "definitions": {
            "gap": "second less first, 95 % percentile interval of paired resamples of patients",
            "p_bootstrap": "two-sided, from the same resamples; not corrected for the number of rows",
            "p_delong": "two-sided, DeLong 1988, of AUROC; takes films for independent",
        },
        "rows": [asdict(row) for row in result.rows],
    }
