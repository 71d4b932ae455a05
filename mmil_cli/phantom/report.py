"""The report of one study: true to what is drawn, in MIMIC-CXR's layout, with the labels of what it says."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmil_cli.phantom import normals
from mmil_cli.phantom.anatomy import Anatomy
from mmil_cli.phantom.devices import is_peripheral, tube_tip
from mmil_cli.phantom.difficulty import Settings
from mmil_cli.phantom.findings import CATEGORY, DEVICES, Finding, Kind, Side, Zone
from mmil_cli.phantom.normals import Normal
from mmil_cli.phantom.plan import StudyPlan
from mmil_cli.phantom.wording import BOTH_SIDED, DOUBTFUL, MIDLINE, ONE_SIDED, PHRASES, Wording

COLUMNS = 79
ADVERBS = {"mild": "mildly", "moderate": "moderately", "severe": "severely"}


@dataclass(frozen=True)
class Report:
    """A report, what it says for the 14 labels (absent: not mentioned), and a phrase for each finding."""

    text: str
    labels: dict[str, int]
    phrases: tuple[str, ...]


def write_report(plan: StudyPlan, *, anatomy: Anatomy, settings: Settings) -> Report:
    """The report of a study."""
    rng = np.random.default_rng([plan.seed, 51])
    body = _Body(rng, settings)
    findings = body.describe(plan)
    impression = body.conclude(plan)
    layout = str(
        rng.choice(["both", "impression", "findings", "joined", "plain"], p=[0.7, 0.1, 0.1, 0.06, 0.04])
    )
    said = {"impression": body.impression_labels, "findings": body.finding_labels}
    labels = merge_labels(said.get(layout, [*body.finding_labels, *body.impression_labels]))
    sections = _header(plan, anatomy=anatomy, rng=rng) + _sections(layout, findings, impression)
    return Report(_lay_out(sections), labels, tuple(phrase(finding) for finding in plan.findings))


def merge_labels(mentions: Sequence[dict[str, int]]) -> dict[str, int]:
    """One label each: a positive mention wins over an uncertain one, that over a denial."""
    rank = {1: 2, -1: 1, 0: 0}
    merged: dict[str, int] = {}
    for mention in mentions:
        for name, value in mention.items():
            if name not in merged or rank[value] > rank[merged[name]]:
                merged[name] = value
    if not any(value for name, value in merged.items() if name != "Support Devices"):
        merged["No Finding"] = 1
    return merged


def phrase(finding: Finding) -> str:
    """A short phrase that names one finding: `large left pleural effusion`."""
    text = PHRASES[finding.kind].format(**_words(finding))
    plural = finding.side is Side.BILATERAL and finding.kind is Kind.EFFUSION
    return f"{text}s" if plural else text


def _words(finding: Finding) -> dict[str, str]:
    size, side = finding.size, finding.side.value
    where, in_where = _where(finding)
    return {
        "size": size,
        "side": side,
        "where": where,
        "in_where": in_where,
        "a": "an" if size.startswith(("8", "11", "18")) else "a",
        "size_adverb": ADVERBS.get(size, ""),
        "line": "PICC" if is_peripheral(finding) else "internal jugular central venous catheter",
        "distance": f"{-tube_tip(finding) / 10:.1f} cm",
    }


def _where(finding: Finding) -> tuple[str, str]:
    """As an adjective and after `in`."""
    side = finding.side.value
    both = finding.side is Side.BILATERAL
    if finding.zone is Zone.RETROCARDIAC:
        return f"{side} retrocardiac", f"the {side} retrocardiac region"
    if finding.zone is Zone.BASAL:
        return f"{side} basilar", "both lung bases" if both else f"the {side} lung base"
    if finding.zone is Zone.MID or finding.kind in (Kind.NODULE, Kind.ATELECTASIS):
        lung = f"{finding.zone.value} lung"
        return f"{side} {lung}", f"both {lung}s" if both else f"the {side} {lung}"
    lobe = f"{finding.zone.value} lobe"
    return f"{side} {lobe}", f"both {lobe}s" if both else f"the {side} {lobe}"


class _Body:
    """Findings and impression of one report, with the labels that each gives."""

    def __init__(self, rng: np.random.Generator, settings: Settings) -> None:
        self.rng = rng
        self.settings = settings
        self.finding_labels: list[dict[str, int]] = []
        self.impression_labels: list[dict[str, int]] = []
        self.doubted: set[Kind] = set()

    def describe(self, plan: StudyPlan) -> str:
        """The text of the findings section."""
        kinds = frozenset(finding.kind for finding in plan.findings)
        devices = [f for f in plan.findings if f.kind in DEVICES]
        others = [f for f in plan.findings if f.kind not in DEVICES]
        order = self.rng.permutation(len(others))
        sentences = [self._sentence(finding) for finding in [*devices, *(others[i] for i in order)]]
        sentences += self._changes(plan)
        sentences += self._negations(kinds)
        return " ".join(sentences)

    def conclude(self, plan: StudyPlan) -> str:
        """The text of the impression."""
        notable = [f for f in plan.findings if f.kind not in DEVICES]
        if not notable:
            kinds = frozenset(finding.kind for finding in plan.findings)
            return self._normal(normals.IMPRESSIONS, kinds, self.impression_labels)
        notes = [self._note(finding) for finding in notable]
        kinds = frozenset(finding.kind for finding in plan.findings)
        if self.rng.random() < self.settings.negations * 0.5:
            notes.append(self._normal(normals.PLEURAL + normals.LUNGS, kinds, self.impression_labels))
        notes = [note for note in notes if note]
        if len(notes) > 1 and self.rng.random() < 0.5:
            return "\n".join(f"{number}. {note}" for number, note in enumerate(notes, start=1))
        return " ".join(notes)

    def _pick(self, wordings: Sequence[Wording]) -> Wording:
        if self.rng.random() < self.settings.plain:
            return wordings[0]
        return wordings[int(self.rng.integers(len(wordings)))]

    def _sentence(self, finding: Finding) -> str:
        doubt = self.settings.uncertainty * (1.8 if finding.severity < 0.4 else 0.5)
        doubtful = finding.kind in DOUBTFUL and finding.side is not Side.BILATERAL
        doubtful = doubtful or finding.kind is Kind.EDEMA
        if doubtful and self.rng.random() < doubt:
            self.doubted.add(finding.kind)
        wording = self._pick(_wordings(finding, doubted=finding.kind in self.doubted))
        self.finding_labels.append(wording.labels)
        return _sentence_case(wording.text.format(**_words(finding)))

    def _note(self, finding: Finding) -> str:
        """One line of the impression, as certain as the findings section was."""
        if finding.kind in self.doubted:
            wording = self._pick(_wordings(finding, doubted=True))
            self.impression_labels.append(wording.labels)
            return _sentence_case(wording.text.format(**_words(finding)))
        self.impression_labels.append({CATEGORY[finding.kind]: 1})
        return _sentence_case(phrase(finding) + ".")

    def _changes(self, plan: StudyPlan) -> list[str]:
        """What changed since the study before, for one finding at most."""
        pairs = [(f, new) for f, new in zip(plan.findings, plan.new, strict=True) if f.kind not in DEVICES]
        if not plan.has_prior or not pairs or self.rng.random() < 0.4:
            return []
        finding, new = pairs[int(self.rng.integers(len(pairs)))]
        name = _plural_name(finding)
        verb = "are" if name.endswith("s") and finding.side is Side.BILATERAL else "is"
        fresh = (
            f"The {name} {verb} new since the prior study.",
            f"Compared to prior, the {name} {verb} new.",
        )
        old = (f"The {name} {verb} unchanged.", f"The {name} {verb} stable compared to the prior study.")
        choice = fresh if new else old
        self.finding_labels.append({})
        return [choice[int(self.rng.integers(2))]]

    def _negations(self, present: frozenset[Kind]) -> list[str]:
        sentences: list[str] = []
        for group, factor in (
            (normals.LUNGS, 1.3),
            (normals.PLEURAL, 1.3),
            (normals.HEARTS, 1.5),
            (normals.BONES, 0.6),
        ):
            chance = min(0.95, self.settings.negations * factor * (1.0 if present else 1.35))
            if self.rng.random() < chance or not (present or sentences):
                sentences.append(self._normal(group, present, self.finding_labels))
        return [sentence for sentence in sentences if sentence]

    def _normal(
        self, group: Sequence[Normal], present: frozenset[Kind], mentions: list[dict[str, int]]
    ) -> str:
        """A sentence of the group that is true; empty where there is none."""
        true = [normal for normal in group if not normal.absent & present]
        if not true:
            return ""
        chosen = true[int(self.rng.integers(len(true)))]
        mentions.append(dict.fromkeys(chosen.denied, 0))
        return chosen.text


def _wordings(finding: Finding, *, doubted: bool) -> tuple[Wording, ...]:
    if doubted:
        return DOUBTFUL[finding.kind]
    if finding.side is Side.BILATERAL:
        return BOTH_SIDED[finding.kind]
    return MIDLINE[finding.kind] if finding.kind in MIDLINE else ONE_SIDED[finding.kind]


def _plural_name(finding: Finding) -> str:
    if finding.side is Side.BILATERAL:
        names = {Kind.EFFUSION: "pleural effusions", Kind.CONSOLIDATION: "consolidations"}
        return names.get(finding.kind, finding.kind.value)
    side = f"{finding.side.value} " if finding.side.sign else ""
    return f"{side}{finding.kind.value}"


def _sentence_case(text: str) -> str:
    return text[0].upper() + text[1:]


def _header(plan: StudyPlan, *, anatomy: Anatomy, rng: np.random.Generator) -> list[tuple[str, str]]:
    views = [film.view for film in plan.films]
    portable = "AP" in views
    person = "woman" if anatomy.female else "man"
    reasons = normals.BEDSIDE_INDICATIONS if portable else normals.INDICATIONS
    examination = (
        "CHEST (PORTABLE AP)" if portable else "CHEST (PA AND LAT)" if "LATERAL" in views else "CHEST (PA)"
    )
    technique = "Portable AP chest radiograph" if portable else "PA and lateral views of the chest"
    if not portable and "LATERAL" not in views:
        technique = "Single PA view of the chest"
    comparison = "Chest radiograph ___" if plan.has_prior else str(rng.choice(["None.", "None available."]))
    header = [("EXAMINATION", examination)]
    header.append(("INDICATION", f"___ year old {person} {reasons[int(rng.integers(len(reasons)))]}"))
    optional = [("TECHNIQUE", technique + "."), ("COMPARISON", comparison)]
    return header + [section for section in optional if rng.random() < 0.75]


def _sections(layout: str, findings: str, impression: str) -> list[tuple[str, str]]:
    if layout == "impression":
        return [("IMPRESSION", impression)]
    if layout == "findings":
        return [("FINDINGS", findings)]
    joined = f"{findings} {impression}".replace("\n", " ")
    if layout == "joined":
        return [("FINDINGS AND IMPRESSION", joined)]
    if layout == "plain":
        return [("", joined)]
    return [("FINDINGS", findings), ("IMPRESSION", impression)]


def _lay_out(sections: Sequence[tuple[str, str]]) -> str:
    lines = [" " * 33 + "FINAL REPORT"]
    for name, text in sections:
        if name in ("EXAMINATION", "INDICATION", "TECHNIQUE", "COMPARISON"):
            lines += [*_wrap(f"{name}:  {text}"), " "]
        else:
            lines += ([f" {name}: ", " "] if name else [" "]) + _wrap(text) + [" "]
    return "\n".join(lines).rstrip() + "\n"


def _wrap(text: str) -> list[str]:
    return [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(
            paragraph, COLUMNS, initial_indent=" ", subsequent_indent=" ", break_on_hyphens=False
        )
    ]
