"""Writing one study: films, report, masks; and the rows of the tables that belong to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmil_cli.phantom.anatomy import Anatomy, sample_anatomy
from mmil_cli.phantom.dicom import Header, dicom_bytes, sample_encoding
from mmil_cli.phantom.difficulty import SETTINGS, Difficulty
from mmil_cli.phantom.effects import Part
from mmil_cli.phantom.findings import CATEGORY, CHEXPERT_COLUMNS, DEVICES
from mmil_cli.phantom.nuisance import sample_technique
from mmil_cli.phantom.plan import FilmPlan, StudyPlan
from mmil_cli.phantom.render import Rendered, render_frontal, render_lateral
from mmil_cli.phantom.report import Report, write_report

Cells = tuple[str | int, ...]

PROCEDURES = {"AP": "CHEST (PORTABLE AP)", "PA": "CHEST (PA AND LAT)", "LATERAL": "CHEST (PA AND LAT)"}


@dataclass(frozen=True)
class StudyRows:
    """The rows that one study gives to each table."""

    split: tuple[Cells, ...]
    metadata: tuple[Cells, ...]
    chexpert: Cells
    boxes: tuple[Cells, ...]
    truth: tuple[Cells, ...]


def write_study(plan: StudyPlan, *, root: Path, difficulty: Difficulty, side: int) -> StudyRows:
    """Write the films, the report and the masks of a study below `root`."""
    settings = SETTINGS[difficulty]
    anatomy = sample_anatomy(np.random.default_rng(plan.patient_seed), seed=plan.patient_seed)
    report = write_report(plan, anatomy=anatomy, settings=settings)
    folder = root / plan.folder
    folder.mkdir(parents=True)
    folder.with_suffix(".txt").write_text(report.text, encoding="utf-8")
    films = []
    for film in plan.films:
        rng = np.random.default_rng([plan.seed, 61, film.index])
        technique = sample_technique(rng, view=film.view, settings=settings)
        render = render_lateral if film.view == "LATERAL" else render_frontal
        rendered = render(anatomy, findings=plan.findings, technique=technique, settings=settings, side=side)
        data = dicom_bytes(
            rendered.film, header=_header(plan, film, anatomy, rendered), encoding=sample_encoding(rng)
        )
        (folder / f"{film.dicom_id}.dcm").write_bytes(data)
        _write_masks(rendered, path=root / "truth" / "masks" / f"{film.dicom_id}.png")
        films.append((film, rendered))
    return _rows(plan, films, report)


def _header(plan: StudyPlan, film: FilmPlan, anatomy: Anatomy, rendered: Rendered) -> Header:
    return Header(
        dicom_id=film.dicom_id,
        study_key=f"{plan.seed}/{plan.study_id}",
        subject_id=plan.subject_id,
        study_id=plan.study_id,
        view=film.view,
        date=plan.date,
        time=plan.time,
        sex="F" if anatomy.female else "M",
        age=anatomy.age,
        spacing_mm=rendered.spacing_mm,
        procedure=PROCEDURES[film.view],
        number=film.index + 1,
    )


def _write_masks(rendered: Rendered, *, path: Path) -> None:
    """All masks of a film in one 16-bit picture, bit n for the n-th row of the film in the truth table."""
    if not rendered.parts:
        return
    bits = np.zeros(rendered.film.shape, dtype=np.uint16)
    for number, part in enumerate(rendered.parts):
        bits |= part.mask.astype(np.uint16) << np.uint16(number)
    Image.fromarray(bits).save(path)


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x, y, w, h of the smallest box about a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def _rows(plan: StudyPlan, films: Sequence[tuple[FilmPlan, Rendered]], report: Report) -> StudyRows:
    shapes = [(film, *rendered.film.shape) for film, rendered in films]
    return StudyRows(
        split=tuple((film.dicom_id, plan.study_id, plan.subject_id, plan.split) for film in plan.films),
        metadata=tuple(_metadata(plan, film, height=height, width=width) for film, height, width in shapes),
        chexpert=(plan.subject_id, plan.study_id, *_label_cells(report)),
        boxes=tuple(row for film, rendered in films for row in _box_rows(plan, film, rendered, report)),
        truth=tuple(row for film, rendered in films for row in _truth_rows(plan, film, rendered)),
    )


def _metadata(plan: StudyPlan, film: FilmPlan, *, height: int, width: int) -> Cells:
    procedure = PROCEDURES[film.view]
    position = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral"}[film.view]
    ids = (film.dicom_id, plan.subject_id, plan.study_id)
    return (*ids, procedure, film.view, height, width, plan.date, plan.time, procedure, position, "Erect")


def _label_cells(report: Report) -> list[str]:
    return [f"{report.labels[name]:.1f}" if name in report.labels else "" for name in CHEXPERT_COLUMNS]


def _box_rows(plan: StudyPlan, film: FilmPlan, rendered: Rendered, report: Report) -> list[Cells]:
    if film.view == "LATERAL":
        return []
    height, width = rendered.film.shape
    path = f"{plan.folder}/{film.dicom_id}.jpg"
    return [
        (
            film.dicom_id,
            CATEGORY[plan.findings[part.index].kind],
            report.phrases[part.index],
            path,
            *tight_box(part.mask),
            width,
            height,
            plan.split,
        )
        for part in rendered.parts
        if plan.findings[part.index].kind not in DEVICES
    ]


def _truth_rows(plan: StudyPlan, film: FilmPlan, rendered: Rendered) -> list[Cells]:
    return [_truth_row(plan, film, part) for part in rendered.parts]


def _truth_row(plan: StudyPlan, film: FilmPlan, part: Part) -> Cells:
    finding = plan.findings[part.index]
    words = (finding.kind.value, part.side.value, finding.zone.value, finding.size)
    return (film.dicom_id, *words, f"{finding.severity:.3f}", *tight_box(part.mask))
