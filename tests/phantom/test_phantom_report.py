"""Reports are true to what is drawn, laid out as MIMIC-CXR's, and labelled by what they say."""

import re
from collections import Counter

import numpy as np
import pytest

from mmil_cli.phantom.anatomy import sample_anatomy
from mmil_cli.phantom.difficulty import SETTINGS, Difficulty
from mmil_cli.phantom.findings import CATEGORY, CHEXPERT_COLUMNS, DEVICES, Kind, Side
from mmil_cli.phantom.plan import StudyPlan, plan_studies
from mmil_cli.phantom.report import Report, merge_labels, write_report

STUDIES = 400


def reports(difficulty: Difficulty) -> list[tuple[StudyPlan, Report]]:
    plans = plan_studies(STUDIES, seed=8, difficulty=difficulty)
    settings = SETTINGS[difficulty]
    anatomies = [sample_anatomy(np.random.default_rng(p.patient_seed), seed=p.patient_seed) for p in plans]
    return [
        (plan, write_report(plan, anatomy=anatomy, settings=settings))
        for plan, anatomy in zip(plans, anatomies, strict=True)
    ]


@pytest.fixture(scope="module")
def hard_reports() -> list[tuple[StudyPlan, Report]]:
    return reports(Difficulty.HARD)


def body(text: str) -> str:
    """All but the header, unwrapped."""
    start = max(text.rfind(name) for name in ("EXAMINATION:", "INDICATION:", "TECHNIQUE:", "COMPARISON:"))
    return " ".join(text[text.index("\n \n", start) :].split())


def test_layout(hard_reports: list[tuple[StudyPlan, Report]]) -> None:
    names: Counter[str] = Counter()
    for _, report in hard_reports:
        lines = report.text.splitlines()
        assert lines[0].strip() == "FINAL REPORT"
        assert all(len(line) <= 79 for line in lines)
        assert all(line.startswith(" ") for line in lines)
        assert "{" not in report.text
        names.update(re.findall(r"^ ([A-Z ]+):", report.text, flags=re.M))
    header = {"EXAMINATION", "INDICATION", "TECHNIQUE", "COMPARISON"}
    assert set(names) == header | {"FINDINGS", "IMPRESSION", "FINDINGS AND IMPRESSION"}
    assert names["FINDINGS"] > names["FINDINGS AND IMPRESSION"] > 0
    assert any("FINDINGS" not in r.text and "IMPRESSION" not in r.text for _, r in hard_reports)
    assert any("___" in r.text for _, r in hard_reports)


def test_labels_are_true_or_uncertain(hard_reports: list[tuple[StudyPlan, Report]]) -> None:
    for plan, report in hard_reports:
        present = {CATEGORY[finding.kind] for finding in plan.findings}
        assert set(report.labels) <= set(CHEXPERT_COLUMNS)
        for category in set(CATEGORY.values()):
            if report.labels.get(category) == 1:
                assert category in present
            if report.labels.get(category) == 0:
                assert category not in present
        assert (report.labels.get("No Finding") == 1) == (not present - {"Support Devices"})


def test_every_finding_is_mentioned(hard_reports: list[tuple[StudyPlan, Report]]) -> None:
    for plan, report in hard_reports:
        for finding in plan.findings:
            if finding.kind not in DEVICES:
                label = report.labels.get(CATEGORY[finding.kind])
                assert label in (1, -1), (finding, report.text)


def test_the_right_side_is_named(hard_reports: list[tuple[StudyPlan, Report]]) -> None:
    for plan, report in hard_reports:
        sides = {finding.side for finding in plan.findings}
        words = set(re.findall(r"[a-z]+", body(report.text).lower()))
        if Side.BILATERAL not in sides and Kind.PACEMAKER not in {f.kind for f in plan.findings}:
            if Side.LEFT not in sides:
                assert "left" not in words, report.text
            if Side.RIGHT not in sides:
                assert "right" not in words, report.text


def test_doubt_and_denial_grow_with_difficulty(
    hard_reports: list[tuple[StudyPlan, Report]],
) -> None:
    easy = reports(Difficulty.EASY)

    def count(rows: list[tuple[StudyPlan, Report]], value: int) -> int:
        return sum(label == value for _, report in rows for label in report.labels.values())

    assert count(hard_reports, -1) > count(easy, -1) > 0
    assert count(hard_reports, 0) > count(easy, 0) > STUDIES / 4


def test_sentences_are_shared_and_varied(hard_reports: list[tuple[StudyPlan, Report]]) -> None:
    texts = [body(report.text) for _, report in hard_reports]
    shared = sum("No acute cardiopulmonary process." in text for text in texts)
    assert shared > 5
    assert len(set(texts)) > 0.85 * len(texts)


def test_certain_wins_over_doubt_over_denial() -> None:
    assert merge_labels([{"Edema": 0}, {"Edema": -1}])["Edema"] == -1
    assert merge_labels([{"Edema": 1}, {"Edema": -1}, {"Edema": 0}])["Edema"] == 1
    assert merge_labels([{"Edema": 0}]) == {"Edema": 0, "No Finding": 1}
    assert merge_labels([{"Support Devices": 1}]) == {"Support Devices": 1, "No Finding": 1}
    assert "No Finding" not in merge_labels([{"Lung Opacity": 1}])


@pytest.mark.parametrize("studies", [1, 2, 3, 7, 60])
def test_plans_are_as_many_as_asked(studies: int) -> None:
    plans = plan_studies(studies, seed=1, difficulty=Difficulty.EASY)
    assert len(plans) == len({plan.study_id for plan in plans}) == studies
    assert len({plan.split for plan in plans}) == min(3, studies)
    assert [plan.index for plan in plans] == list(range(studies))


def test_a_study_has_the_findings_of_life() -> None:
    plans = plan_studies(1500, seed=2, difficulty=Difficulty.MEDIUM)
    kinds = Counter(finding.kind for plan in plans for finding in plan.findings)
    assert set(kinds) == set(Kind)
    assert min(kinds.values()) > 30
    assert 0.22 < sum(not plan.findings for plan in plans) / len(plans) < 0.36
    assert any(len(plan.films) > 1 for plan in plans)
    assert max(Counter(plan.subject_id for plan in plans).values()) > 2
    for plan in plans:
        assert Kind.NASOGASTRIC_TUBE not in {f.kind for f in plan.findings} or Kind.ENDOTRACHEAL_TUBE in {
            f.kind for f in plan.findings
        }
