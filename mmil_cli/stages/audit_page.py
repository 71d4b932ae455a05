"""The page of an audit: what was found, with pictures, and the prevalence of labels."""

from collections.abc import Iterator

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import DataError
from mmil_cli.stages.audit import AuditResult
from mmil_cli.stages.audit_checks import CHECKS, Example, Found
from mmil_cli.viz.page import Block, Command, Heading, Page, Paragraph, Picture, Table, render
from mmil_cli.viz.sheet import film_row
from mmil_cli.viz.tables import percent

PICTURES = 6
"""Of one check: so many films in a row, or so many groups."""

LINES = 25
"""Of one check's table; audit.json lists more."""

_SHOWS_NOTHING = frozenset({"damaged-shards", "damaged-films", "lfs-pointers", "unknown-tokens"})
"""Checks whose rows have no film to show."""

_IN_WORDS = frozenset({"empty-reports", "leaked-reports", "duplicate-reports", "contradicted-labels"})
"""Checks that are told by the text, not by the film."""


def audit_page(result: AuditResult, dataset: StudyDataset | None) -> str:
    """The whole page as HTML."""
    blocks: list[Block] = [_summary(result), *(Paragraph(f"Not looked at: {note}.") for note in result.notes)]
    for item in result.found:
        blocks += _chapter(item, dataset)
    blocks += [Heading("Labels"), _labels(result)] if result.labels else []
    blocks += [Heading("Words"), _words(result)] if result.texts else []
    blocks += [Heading("Make it again"), Command("mmil audit DATASET")]
    hard = [item.name for item in result.found if item.is_hard]
    banner = f"Hard faults: {', '.join(hard)}. Numbers from this dataset would be wrong." if hard else None
    subtitle = (
        f"{result.checked} of {result.info.num_rows} films looked at, content {result.info.content_hash[:16]}"
    )
    return render(Page("mmil audit", blocks, subtitle=subtitle, banner=banner))


def _summary(result: AuditResult) -> Table:
    by_name = {item.name: item for item in result.found}
    rows = [
        (name, str(check.severity), f"{by_name[name].count} {check.unit}" if name in by_name else "none")
        for name, check in CHECKS.items()
    ]
    caption = "A hard fault fails the command; of the soft ones a person decides."
    return Table(("looked for", "severity", "found"), rows, caption)


def _chapter(item: Found, dataset: StudyDataset | None) -> list[Block]:
    words = [Paragraph(f"{item.count} {item.check.unit}. {item.check.meaning} {item.check.advice}")]
    pictures = _pictures(item, dataset) if dataset and item.name not in _SHOWS_NOTHING | _IN_WORDS else []
    return [Heading(f"{item.name} ({item.check.severity})"), *words, *pictures, _cases(item, dataset)]


def _cases(item: Found, dataset: StudyDataset | None) -> Table:
    shown = item.examples[:LINES]
    rows = []
    for case in shown:
        found = [dataset.row(row) for row in case.rows] if dataset else []
        cells = [", ".join(dict.fromkeys(names)) for names in zip(*_ids(case, dataset), strict=True)]
        text = found[0].sentences if found and item.name in _IN_WORDS else ()
        rows.append((*(cells or ("", "", "")), case.note, " ".join(text)))
    caption = f"The first {len(shown)} of {len(item.examples)} listed in audit.json." if rows else ""
    return Table(("images", "studies", "patients", "", "report"), rows, caption)


def _ids(case: Example, dataset: StudyDataset | None) -> Iterator[tuple[str, str, str]]:
    for row in (dataset.row(index) for index in case.rows) if dataset else ():
        yield row.image_id, row.study_id, row.patient_id


def _pictures(item: Found, dataset: StudyDataset) -> list[Block]:
    """One row of single films, or a row for each group of films."""
    cases = item.examples[:PICTURES]
    if all(len(case.rows) == 1 for case in cases):
        return _picture([case.rows[0] for case in cases], dataset, "; ".join(case.note for case in cases))
    return [block for case in cases for block in _picture(list(case.rows), dataset, case.note)]


def _picture(rows: list[int], dataset: StudyDataset, caption: str) -> list[Block]:
    films, names = [], []
    for row in rows:
        try:
            films.append(dataset.pixels(row))
        except DataError:
            continue  # told among the damaged films
        about = dataset.row(row)
        names.append(f"{about.split}: {about.image_id}")
    return [Picture(film_row(films, names), caption)] if films else []


def _labels(result: AuditResult) -> Table:
    rows = [
        (
            counts.finding,
            counts.split,
            counts.positive,
            counts.negative,
            counts.uncertain,
            counts.missing,
            percent(counts.prevalence, digits=1),
        )
        for counts in result.labels
    ]
    columns = ("finding", "split", "positive", "negative", "uncertain", "missing", "prevalence")
    return Table(columns, rows, "Films by label; the prevalence is among positive and negative.")


def _words(result: AuditResult) -> Table:
    rows = [
        (
            counts.split,
            counts.words,
            counts.distinct,
            percent(counts.unseen, digits=1),
            percent(counts.unknown, digits=2),
        )
        for counts in result.texts
    ]
    columns = ("split", "words", "distinct", "not in training reports", "unknown to the tokenizer")
    return Table(columns, rows, "Words of the reports, each study once.")
