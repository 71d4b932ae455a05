"""Who asks and what is asked for: the films and reports of a split, in each way of counting a match."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.sentences import split_sentences
from mmil_cli.metrics.matching import Matcher
from mmil_cli.stages.gallery import numbers, study_reports

WORDS, STRICT, STUDY, MERGED = "words", "strict", "study", "merged"
VARIANTS = {
    WORDS: "one report a study; a match is of the same study, or of identical words",
    STRICT: "one report a film; a film's own alone matches it, identical ones are ties",
    STUDY: "one report a study; a match is of the same study, identical words elsewhere are ties",
    MERGED: "each text once; a match is of identical words",
}


@dataclass(frozen=True, eq=False)
class Side:
    """Films or reports.

    Attributes:
        rows: a row of the dataset of each.
        place: row (of films) or column (of reports) of the table of scores.
        ids: what each is called in the file of cases.
        patients: of each.
        keys: by way of matching; equal numbers on both sides are a match.
    """

    rows: np.ndarray
    place: np.ndarray
    ids: np.ndarray
    patients: np.ndarray
    keys: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.rows)

    def matcher(self, items: "Side") -> Matcher:
        """Of these as queries, with others as gallery."""
        return Matcher([(key, items.keys[way]) for way, key in self.keys.items()])


@dataclass(frozen=True, eq=False)
class Sides:
    """Films and reports of each variant, and the sentences of the distinct reports there are to score."""

    films: dict[str, Side]
    reports: dict[str, Side]
    distinct: tuple[tuple[str, ...], ...]


def split_sides(dataset: StudyDataset, rows: np.ndarray, *, ordered: bool) -> Sides:
    """Films and reports of rows, in every variant.

    Args:
        dataset: with reports.
        rows: of a split.
        ordered: reports of the same sentences in another order are scored apart; else they are one, so that
            equal scores are equal to the last bit.
    """
    gallery = study_reports(dataset, rows)
    distinct, place = _distinct(gallery.reports, ordered=ordered)
    study, text = numbers(dataset, "study_id"), numbers(dataset, "text_key")
    first_of_text = np.unique(text[gallery.rows], return_index=True)[1]
    of_film = _own_report(study, text, rows, gallery.rows)
    own = np.arange(len(rows))
    ways = {
        WORDS: (gallery.rows, place, {"study": study, "text": text}),
        STRICT: (rows, place[of_film], {"own": own}),
        STUDY: (gallery.rows, place, {"study": study}),
        MERGED: (gallery.rows[first_of_text], place[first_of_text], {"text": text}),
    }
    films, reports = {}, {}
    for name, (chosen, column, keys) in ways.items():
        by_row = name != STRICT
        films[name] = _side(
            dataset, rows, own, "image_id", {k: v[rows] if by_row else v for k, v in keys.items()}
        )
        of_reports = {k: v[chosen] if by_row else v for k, v in keys.items()}
        reports[name] = _side(
            dataset, chosen, column, "image_id" if name == STRICT else "study_id", of_reports
        )
    return Sides(films, reports, distinct)


def section_halves(
    dataset: StudyDataset, rows: np.ndarray
) -> tuple[np.ndarray, list[list[str]], list[list[str]]]:
    """Studies whose report has both: a row of each, sentences of its impression and of its findings."""
    chosen, impressions, findings = [], [], []
    for row in study_reports(dataset, rows).rows.tolist():
        texts = {section.name: section.text for section in dataset.row(row).sections}
        parts = [split_sentences(texts.get(name, "")) for name in ("impression", "findings")]
        if all(parts):
            chosen.append(row)
            impressions.append(parts[0])
            findings.append(parts[1])
    return np.array(chosen, np.int64), impressions, findings


def _distinct(
    reports: Sequence[tuple[str, ...]], *, ordered: bool
) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
    forms = [report if ordered else tuple(sorted(report)) for report in reports]
    number = {form: place for place, form in enumerate(dict.fromkeys(forms))}
    return tuple(number), np.array([number[form] for form in forms], np.int64)


def _own_report(study: np.ndarray, text: np.ndarray, films: np.ndarray, reports: np.ndarray) -> np.ndarray:
    """For each film, the number of its own report among the reports."""
    pairs = np.stack([study, text], axis=1)
    number = {tuple(pair): place for place, pair in enumerate(pairs[reports].tolist())}
    return np.array([number[tuple(pair)] for pair in pairs[films].tolist()], np.int64)


def _side(
    dataset: StudyDataset, rows: np.ndarray, place: np.ndarray, name: str, keys: dict[str, np.ndarray]
) -> Side:
    return Side(rows, place, dataset.column(name)[rows], dataset.column("patient_id")[rows], keys)
