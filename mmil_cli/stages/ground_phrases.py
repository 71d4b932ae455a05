"""Ground, evaluated: how well similarity maps agree with a table of phrases and boxes, beside controls."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.phrases import Phrase, read_phrases
from mmil_cli.data.pseudonyms import OPTION, Pseudonyms
from mmil_cli.errors import UsageError
from mmil_cli.files import make_folder, write_json, write_text
from mmil_cli.metrics.grounding import MAIN_METRICS, METRICS, GroundingScores
from mmil_cli.metrics.grounding_table import (
    GroundingRow,
    GroundingTable,
    grounding_table,
    paired_table,
    score_matrix,
)
from mmil_cli.metrics.map_calibration import MapCalibration
from mmil_cli.stages.cases import Cases, write_cases
from mmil_cli.stages.evaluation import OnProgress, open_evaluation
from mmil_cli.stages.ground import check_smooth
from mmil_cli.stages.phrase_samples import Sample, Selection, select
from mmil_cli.stages.phrase_scores import CONTROLS, MODEL, SYSTEMS, PhraseScorer


@dataclass(frozen=True, kw_only=True)
class PhraseResult:
    """What the evaluation came to.

    Attributes:
        tables: by system: the model and the four controls.
        differences: by control and metric: model less control on the same samples, patients resampled.
        num_phrases, num_films, num_patients: that were evaluated.
        num_unknown: phrases left out because the dataset does not have their film.
        num_other_splits: phrases left out because their film is in another split.
        num_prior: phrases of other splits that the location priors were made from; 0 where they are of the
            other patients evaluated.
        num_calibration: phrases of the validate split that maps were calibrated on.
        calibrations: slope and intercept by system; None where there was nothing to calibrate on.
        notes: what the reader must know.
        record: the figures as JSON.
        samples: the figures of each phrase as CSV, but for those of single thresholds.
        cases: all figures of each phrase, a file that `mmil compare` reads.
    """

    tables: Mapping[str, GroundingTable]
    differences: Mapping[str, GroundingTable]
    num_phrases: int
    num_films: int
    num_patients: int
    num_unknown: int
    num_other_splits: int
    num_prior: int
    num_calibration: int
    calibrations: Mapping[str, MapCalibration | None]
    notes: tuple[str, ...]
    record: Path
    samples: Path
    cases: Path


def run(
    phrases: Path,
    data: Path,
    *,
    checkpoint: Path,
    out: Path,
    split: str | None = "test",
    smooth: float = 0.0,
    pseudonyms: Pseudonyms | None = None,
    seed: int = 0,
    bootstrap: int = 1000,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> PhraseResult:
    """Evaluates similarity maps on a table of phrase boxes, and writes `ground.json` and `phrases.csv`.

    Maps and boxes are compared at the resolution of the stored films (`mmil preprocess --side`), boxes
    being brought there, rounded to its pixels: at the original size every figure costs some thirty times
    as much and differs in the third decimal. The controls see what the model saw and nothing else:

    - random weights: the same model, as it was before it learned anything;
    - shuffled: the map of a phrase of another film, of a category that this film has no phrase of;
    - prior: how often boxes lie at each place in films of other splits, whatever the phrase; where the table
      has none of these, in films of the other patients;
    - finding prior: the same for boxes of the phrase's category, which it is told; harder to beat;
    - centre: a Gaussian about the film's centre;
    - chance: a constant map.

    The raw mIoU and Dice of priors and centre are ill-scaled and stand for nothing: the thresholds are
    similarities, and theirs are shares. Their calibrated ones compare: each system's maps become
    probabilities of lying in a box, by a logistic regression on the pixels of the validate split's phrases,
    each phrase weighing the same, and the thresholds 0.1 to 0.5 are probabilities then. CNR, pointing game
    and pixel AUROC need no scale.

    Args:
        phrases: table in the CSV form of MS-CXR, or another of `data.phrase_forms`.
        data: dataset folder of the same films.
        checkpoint: checkpoint or run folder.
        out: folder for the two files.
        split: of the dataset; None for all films.
        smooth: sigma of a Gaussian over each map, in regions; 0 for none.
        pseudonyms: of a dataset whose ids are such, for a table that has the source's own.
        seed: of shuffled phrases and resampling.
        bootstrap: number of resamples.
        device: auto, cpu or cuda.
        on_progress: told of films done and films in all.

    Raises:
        UsageError: a column or the split is missing, or the key is not that of the dataset.
        DataError: no phrase belongs to a film of the split, or the table is wrong or contradicts the films.
    """
    check_smooth(smooth)
    wanted = read_phrases(phrases)
    evaluation = open_evaluation(data, checkpoint=checkpoint, device=device)
    wanted = _as_in_dataset(wanted, evaluation.dataset, pseudonyms)
    selection = select(wanted, evaluation.dataset, split=split, seed=seed, table=phrases)
    make_folder(out)
    scorer = PhraseScorer(evaluation, selection, smooth=smooth, seed=seed)
    scores = scorer.go(on_progress)
    notes = (*evaluation.notes(split), *_notes(selection))
    result = _summarise(
        selection, scores, scorer.calibrations, out=out, seed=seed, bootstrap=bootstrap, notes=notes
    )
    write_cases(result.cases, _cases(selection.samples, scores))
    options = {"phrases": phrases.name, "smooth": smooth, "bootstrap": bootstrap}
    provenance = evaluation.provenance(split=split, seed=seed, options=options)
    write_json(result.record, {**_record(result), **provenance})
    write_text(result.samples, _samples_csv(selection.samples, scores))
    return result


def _as_in_dataset(
    phrases: list[Phrase], dataset: StudyDataset, pseudonyms: Pseudonyms | None
) -> list[Phrase]:
    """The phrases with the ids that the dataset has for their films."""
    check = dataset.info.options.get(OPTION)
    known = set(dataset.column("image_id").tolist())
    if pseudonyms is None:
        if check is None or any(phrase.image_id in known for phrase in phrases):
            return phrases
        raise UsageError(
            f"the ids of {dataset.folder} are pseudonyms; give its key with --pseudonymise KEYFILE"
        )
    if check is None:
        raise UsageError(f"--pseudonymise: the ids of {dataset.folder} are no pseudonyms; leave it out")
    if check != pseudonyms.check:
        raise UsageError(f"--pseudonymise: {dataset.folder} was made with another key; give that one")
    named = [pseudonyms.name("image_id", phrase.image_id) for phrase in phrases]
    return [
        phrase if phrase.image_id in known else replace(phrase, image_id=name)
        for phrase, name in zip(phrases, named, strict=True)
    ]


def _notes(selection: Selection) -> tuple[str, ...]:
    """What was left out, and controls that could not be made."""
    found = []
    if selection.num_unknown:
        found.append(f"{selection.num_unknown} phrases were left out: the dataset does not have their films")
    if not selection.calibration:
        found.append("no calibrated maps: no phrase is known to be of the validate split and not evaluated")
    if not selection.elsewhere:
        found.append(
            "the table has no phrase that is known to be of another split: the location priors of a film are "
            "those of the other patients that are evaluated"
        )
    num_alone = sum(sample.shuffled is None for sample in selection.samples)
    if num_alone:
        found.append(f"{num_alone} phrases have no shuffled control: there is no phrase of another category")
    return tuple(found)


class _Averaging(TypedDict):
    """What all averages of one evaluation share."""

    groups: list[str]
    names: list[str]
    samples: int
    seed: int


def _summarise(
    selection: Selection,
    scores: Sequence[Mapping[str, GroundingScores]],
    calibrations: Mapping[str, MapCalibration | None],
    *,
    out: Path,
    seed: int,
    bootstrap: int,
    notes: tuple[str, ...],
) -> PhraseResult:
    samples = selection.samples
    patients = [sample.row.patient_id for sample in samples]
    categories = [sample.phrase.category for sample in samples]
    of_system = {name: [entry[name] for entry in scores] for name in SYSTEMS}
    averaged: _Averaging = {"groups": patients, "names": categories, "samples": bootstrap, "seed": seed}
    return PhraseResult(
        tables={name: grounding_table(entries, **averaged) for name, entries in of_system.items()},
        differences={
            control: paired_table(of_system[MODEL], of_system[control], **averaged) for control in CONTROLS
        },
        num_phrases=len(samples),
        num_films=len({sample.index for sample in samples}),
        num_patients=len(set(patients)),
        num_unknown=selection.num_unknown,
        num_other_splits=selection.num_other_splits,
        num_prior=len(selection.elsewhere),
        num_calibration=len(selection.calibration),
        calibrations=calibrations,
        notes=notes,
        record=out / "ground.json",
        samples=out / "phrases.csv",
        cases=out / "ground_cases.parquet",
    )


def _record(result: PhraseResult) -> dict[str, Any]:
    counts = tuple(field.name for field in fields(result) if field.name.startswith("num_"))
    return {
        "systems": {name: _table_record(table) for name, table in result.tables.items()},
        "model_less_control": {
            control: _table_record(table) for control, table in result.differences.items()
        },
        **{name: getattr(result, name) for name in counts},
        "calibrations": {name: found and asdict(found) for name, found in result.calibrations.items()},
        "notes": result.notes,
    }


def _table_record(table: GroundingTable) -> dict[str, Any]:
    return {
        "micro": _row_record(table.micro),
        "macro": _row_record(table.macro),
        "findings": {row.name: _row_record(row) for row in table.findings},
    }


def _row_record(row: GroundingRow) -> dict[str, Any]:
    return {
        "num_samples": row.num_samples,
        **{
            metric: {**asdict(value), "num_undefined_samples": row.num_undefined[metric]}
            for metric, value in row.metrics.items()
        },
    }


def _cases(samples: Sequence[Sample], scores: Sequence[Mapping[str, GroundingScores]]) -> Iterator[Cases]:
    """Every metric of every system; a case is a film and a phrase."""
    ids = np.array([f"{sample.phrase.image_id} {sample.phrase.text}" for sample in samples])
    patients = np.array([sample.row.patient_id for sample in samples])
    for system in SYSTEMS:
        matrix = score_matrix([entry[system] for entry in scores])
        for number, metric in enumerate(METRICS):
            yield Cases(
                part=system,
                name=metric,
                case_id=ids,
                patient_id=patients,
                label=None,
                value=matrix[:, number],
            )


def _samples_csv(samples: Sequence[Sample], scores: Sequence[Mapping[str, GroundingScores]]) -> str:
    """One line a phrase: whose it is, and every metric of every system; blank where undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["image_id", "patient_id", "category", "phrase", "num_boxes", "shuffled_phrase"]
    writer.writerow([*names, *(f"{system}_{metric}" for system in SYSTEMS for metric in MAIN_METRICS)])
    for sample, entry in zip(samples, scores, strict=True):
        phrase = sample.phrase
        values = [getattr(entry[system], metric) for system in SYSTEMS for metric in MAIN_METRICS]
        writer.writerow(
            [
                phrase.image_id,
                sample.row.patient_id,
                phrase.category,
                phrase.text,
                len(phrase.boxes),
                sample.shuffled or "",
                *("" if math.isnan(value) else f"{value:.6g}" for value in values),
            ]
        )
    return text.getvalue()
