import tarfile
import textwrap
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from marked_reports import MarkedReport, count_boundaries, read_marked_reports, read_openi_spans

from mmil_cli.data.reports import Section, normalise, parse_report, report_sentences, split_sentences

MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with new onset ascites  // eval for infection

 COMPARISON:  None.

 FINDINGS:

 There is no focal consolidation, pleural effusion or pneumothorax.  Bilateral
 nodular opacities most likely represent nipple shadows. The nodule measures
 1.5 cm.

 IMPRESSION:

 No acute cardiopulmonary process.
"""


def named(text: str) -> dict[str, str]:
    return {section.name: section.text for section in parse_report(text)}


def sentences(text: str) -> list[str]:
    return report_sentences(parse_report(text))


def test_sections_are_kept_apart_and_lines_joined() -> None:
    assert named(MIMIC) == {
        "examination": "CHEST (PA AND LAT)",
        "indication": "___F with new onset ascites // eval for infection",
        "comparison": "None.",
        "findings": "There is no focal consolidation, pleural effusion or pneumothorax. Bilateral nodular "
        "opacities most likely represent nipple shadows. The nodule measures 1.5 cm.",
        "impression": "No acute cardiopulmonary process.",
    }
    assert sentences(MIMIC) == [
        "There is no focal consolidation, pleural effusion or pneumothorax.",
        "Bilateral nodular opacities most likely represent nipple shadows.",
        "The nodule measures 1.5 cm.",
        "No acute cardiopulmonary process.",
    ]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("CONCLUSION", "impression"),
        ("Impression", "impression"),
        ("IMPRESION", "impression"),
        ("FIDNINGS", "findings"),
        ("FINDINGS AND IMPRESSION", "findings and impression"),
        ("FINDINGS/IMPRESSION", "findings and impression"),
        ("CHEST, TWO VIEWS", "findings"),
        ("AP CHEST, 8:29 A.M. ___", "findings"),
        ("REASON FOR EXAM", "indication"),
        ("CLINICAL HISTORY", "history"),
        ("PRIOR STUDIES", "comparison"),
        ("RECOMMENDATION(S)", "recommendation"),
        ("TYPE OF EXAMINATION", "examination"),
        ("WET READ", "wet read"),
        ("DOSE REPORTING", "dose reporting"),
    ],
)
def test_spellings_of_headers(header: str, name: str) -> None:
    assert parse_report(f" {header}:  The heart is big.\n") == [Section(name, "The heart is big.")]


def test_headers_without_a_colon_in_markdown_and_in_one_line() -> None:
    assert named("FINDINGS\nClear lungs.\nIMPRESSION\nNormal.") == {
        "findings": "Clear lungs.",
        "impression": "Normal.",
    }
    assert named("## Findings\nClear.\n\n**Impression:** Normal.") == {
        "findings": "Clear.",
        "impression": "Normal.",
    }
    flat = "FINAL REPORT INDICATION: Cough for 2 weeks FINDINGS: Clear lungs. IMPRESSION: Normal."
    assert named(flat) == {
        "indication": "Cough for 2 weeks",
        "findings": "Clear lungs.",
        "impression": "Normal.",
    }
    assert named("Findings: Clear lungs. Impression: Normal.") == {
        "findings": "Clear lungs.",
        "impression": "Normal.",
    }


def test_the_first_line_may_be_a_header() -> None:
    assert sentences("IMPRESSION: No pneumonia.") == ["No pneumonia."]


def test_organ_headings_stay_in_the_findings() -> None:
    text = "FINDINGS:\nLUNGS: Clear.\nHEART: Normal size.\nIMPRESSION: Normal."
    assert sentences(text) == ["LUNGS: Clear.", "HEART: Normal size.", "Normal."]
    assert named("HEART: Normal size.") == {"findings": "HEART: Normal size."}


def test_a_view_within_the_findings_is_not_said() -> None:
    assert sentences("FINDINGS:\n PA AND LATERAL CHEST: Clear lungs.") == ["Clear lungs."]


def test_preliminary_readings_and_addenda_are_apart() -> None:
    text = (
        "WET READ: ___ 5:23 PM\n No pneumonia.\n"
        + "_" * 78
        + "\n                FINAL REPORT\n HISTORY:  Fever.\n\n"
        " IMPRESSION:  AP chest compared to ___, 5:00 a.m.:\n\n New pneumonia.\n" + "_" * 78 + "\n"
        "                FINAL ADDENDUM\n ADDENDUM  Discussed with Dr. ___.\n"
    )
    assert sentences(text) == ["New pneumonia."]
    assert named(text)["wet read"].endswith("No pneumonia.")
    assert named(text)["addendum"] == "Discussed with Dr. ___."
    assert named(text)["history"] == "Fever."


def test_a_preliminary_reading_is_better_than_nothing() -> None:
    assert sentences("WET READ: No pneumonia.") == ["No pneumonia."]


def test_without_findings_and_impression_the_last_paragraph_counts() -> None:
    text = "       FINAL REPORT\n HISTORY:  Fever.\n\n COMPARISON:  ___.\n\n Large effusion.  No edema.\n"
    assert sentences(text) == ["Large effusion.", "No edema."]
    assert named(text)["comparison"].startswith("___.")


def test_text_under_another_header_is_not_taken_for_a_description() -> None:
    assert sentences("INDICATION: Pneumonia? Cough.") == []
    assert sentences("FINDINGS: ___\nINDICATION: Cough.") == []


def test_text_without_headers_is_all_description() -> None:
    assert sentences("The lungs are clear.\n\nNo effusion.") == ["The lungs are clear.", "No effusion."]


@pytest.mark.parametrize("text", ["", "   \n ", "___", "XXXX.", "1. \n2.", "FINDINGS:\n\nIMPRESSION: ___."])
def test_no_words_no_sentences(text: str) -> None:
    assert sentences(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nodule of 1.5 cm. ET tube 4.2 cm above.", ["Nodule of 1.5 cm.", "ET tube 4.2 cm above."]),
        ("1. Big heart.\n2. Effusion 3. Edema", ["Big heart.", "Effusion", "Edema"]),
        ("1) No pneumonia. 2) Old fracture", ["No pneumonia.", "Old fracture"]),
        ("1.Severe arthritis. 2.Clear lungs", ["Severe arthritis.", "Clear lungs"]),
        ("No disease. 2. 8 mm nodule.", ["No disease.", "8 mm nodule."]),
        ("Chest 1. No change. 2. Scoliosis.", ["Chest", "No change.", "Scoliosis."]),
        ("Fracture of rib 7. Normal heart.", ["Fracture of rib 7.", "Normal heart."]),
        ("Wedging of T11 and T12. No edema.", ["Wedging of T11 and T12.", "No edema."]),
        ("At 8:29 A.M. on ___ seen. Dr. ___ was told.", ["At 8:29 A.M. on ___ seen.", "Dr. ___ was told."]),
        ("Told at 3:15 p.m. The line is out.", ["Told at 3:15 p.m.", "The line is out."]),
        ("Edema vs. Pneumonia. See below, e.g. left.", ["Edema vs. Pneumonia.", "See below, e.g. left."]),
        ("Compared to ___. XXXX unchanged.", ["Compared to ___.", "XXXX unchanged."]),
        ("No effusion. heart size normal.", ["No effusion.", "heart size normal."]),
        ("Lungs are clear.There is no edema.", ["Lungs are clear.", "There is no edema."]),
        ("Stable heart.. .", ["Stable heart."]),
        ("- Big heart\n- Clear lungs", ["Big heart", "Clear lungs"]),
        ("Heart size normal\nLungs clear\nNo effusion", ["Heart size normal", "Lungs clear", "No effusion"]),
        ("Is there edema? Yes, there is.", ["Is there edema?", "Yes, there is."]),
    ],
)
def test_sentence_splitting(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


def test_wrapped_lines_are_joined_at_capitals_and_gaps() -> None:
    text = (
        "There is a left-sided catheter whose tip ends in the lower third of the\n"
        "SVC. The patient was seen by ___ on ___ and\n"
        "PICC placement was confirmed without any sign of a pneumothorax at all."
    )
    assert split_sentences(text) == [
        "There is a left-sided catheter whose tip ends in the lower third of the SVC.",
        "The patient was seen by ___ on ___ and PICC placement was confirmed without any sign of a "
        "pneumothorax at all.",
    ]


def test_normalise_is_the_key_of_identical_text() -> None:
    assert normalise("No  Pleural\nEffusion, or pneumothorax.") == "no pleural effusion or pneumothorax"
    assert normalise("Seen on ___ and XXXX.") == "seen on and"
    assert normalise("1.5 cm") != normalise("1.6 cm")


@pytest.fixture(scope="module")
def openi_reports(shared_data: Path) -> list[dict[str, str]]:
    """All OpenI reports: text by header."""
    with tarfile.open(shared_data / "openi_reports" / "NLMCXR_reports.tgz") as archive:
        roots = [
            ElementTree.parse(archive.extractfile(member)).getroot()  # type: ignore[arg-type]
            for member in archive
            if member.name.endswith(".xml")
        ]
    texts = [
        {str(node.get("Label")): " ".join((node.text or "").split()) for node in root.iter("AbstractText")}
        for root in roots
    ]
    return [{name: text for name, text in sections.items() if text} for sections in texts]


def test_real_reports_come_back_as_they_were_put_in(openi_reports: list[dict[str, str]]) -> None:
    """All OpenI reports, laid out as MIMIC-CXR does; only those few that hold headers in texts may differ."""
    differ = Counter[str]()
    for sections in openi_reports:
        wrapped = [
            textwrap.fill(f" {name}:  {text}", 79, break_long_words=False, break_on_hyphens=False)
            for name, text in sections.items()
        ]
        found = parse_report("                 FINAL REPORT\n" + "\n\n".join(wrapped))
        told = [(section.name, " ".join(section.text.split())) for section in found]
        differ["sections"] += told != [(name.lower(), text) for name, text in sections.items()]
        described = [text for name, text in sections.items() if name in ("FINDINGS", "IMPRESSION")]
        differ["sentences"] += report_sentences(found) != [
            s for text in described for s in split_sentences(text)
        ]
    assert len(openi_reports) == 3955
    assert differ["sections"] <= 20
    assert differ["sentences"] <= 3


@pytest.mark.parametrize("width", [50, 60, 70])
def test_reports_wrapped_at_other_columns_are_joined_too(
    openi_reports: list[dict[str, str]], width: int
) -> None:
    texts = [text for report in openi_reports for name, text in report.items() if name == "FINDINGS"]
    wrapped = [textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False) for text in texts]
    differ = sum(split_sentences(a) != split_sentences(b) for a, b in zip(texts, wrapped, strict=True))
    assert differ / len(texts) < 0.005


def test_sentences_of_the_marked_reports_are_found() -> None:
    """Hand-marked reports in the shape of MIMIC-CXR and of OpenI: each start and each end counts."""
    reports = read_marked_reports()
    counts: Counter[str] = Counter()
    for report in reports:
        count_boundaries(report, sentences(report.text), counts)
    assert len(reports) >= 100
    assert counts["right"] > 1000
    assert counts["right"] / (counts["right"] + counts["extra"]) > 0.99, counts
    assert counts["right"] / (counts["right"] + counts["missed"]) > 0.99, counts


def test_sentences_of_real_reports_are_found(shared_data: Path) -> None:
    """A hundred OpenI reports whose sentences were marked by hand."""
    counts: Counter[str] = Counter()
    with tarfile.open(shared_data / "openi_reports" / "NLMCXR_reports.tgz") as archive:
        texts = {Path(member.name).stem: member for member in archive if member.name.endswith(".xml")}
        for name, spans in read_openi_spans().items():
            root = ElementTree.parse(archive.extractfile(texts[name])).getroot()  # type: ignore[arg-type]
            nodes = {node.get("Label"): node.text or "" for node in root.iter("AbstractText")}
            text = "\n".join(nodes[label] for label in ("FINDINGS", "IMPRESSION") if nodes[label])
            laid_out = f"FINDINGS: {nodes['FINDINGS']}\nIMPRESSION: {nodes['IMPRESSION']}"
            count_boundaries(MarkedReport(name, text, spans), sentences(laid_out), counts)
    assert counts["right"] > 1200
    assert counts["right"] / (counts["right"] + counts["extra"]) > 0.98, counts
    assert counts["right"] / (counts["right"] + counts["missed"]) > 0.98, counts


def test_findings_without_their_header_are_found() -> None:
    text = (
        "INDICATION:  Cough.\n\n COMPARISON:  None.\n\n PA AND LATERAL VIEWS\n\n The heart is big.  No "
        "effusion.\n\n IMPRESSION:  Cardiomegaly.\n"
    )
    assert sentences(text) == ["The heart is big.", "No effusion.", "Cardiomegaly."]
    with_findings = text.replace("The heart", "FINDINGS:  The heart")
    assert sentences(with_findings) == ["The heart is big.", "No effusion.", "Cardiomegaly."]


def test_all_plain_paragraphs_count_and_titles_and_signatures_do_not() -> None:
    text = "HISTORY:  Fever.\n\n The lungs are clear.\n\n The heart is big.\n\n DR. ___\n"
    assert sentences(text) == ["The lungs are clear.", "The heart is big."]


@pytest.mark.parametrize("title", ["CHEST:  AP SEMI-ERECT", "CHEST, PORTABLE: UPRIGHT AP"])
def test_a_view_after_a_view_is_no_finding(title: str) -> None:
    assert sentences(f"{title}\n\nFINDINGS:  Big heart.") == ["Big heart."]
    assert sentences("CHEST: CLEAR LUNGS") == ["CLEAR LUNGS"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Told P.A. ___ at 10:15. Clear.", ["Told P.A. ___ at 10:15.", "Clear."]),
        ("Pattern of U.I.P. or N.S.I.P. as before.", ["Pattern of U.I.P. or N.S.I.P. as before."]),
        ("No active T.B. The heart is big.", ["No active T.B.", "The heart is big."]),
        ("Plaques, max. 6 mm thick. Clear.", ["Plaques, max. 6 mm thick.", "Clear."]),
        ("Old fractures of ribs nos. 8 and 9.", ["Old fractures of ribs nos. 8 and 9."]),
    ],
)
def test_dotted_abbreviations(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A" * 200_000, 1),
        ("no pause " * 20_000, 1),
        ("1. " * 50_000, 0),
        ("a." * 100_000, 0),
        ("Big. " * 20_000, 20_000),
    ],
)
def test_text_that_is_no_prose_is_read_in_linear_time(text: str, number: int) -> None:
    """Quadratic patterns would take minutes here."""
    assert len(split_sentences(text)) == number


def test_text_that_is_no_prose_costs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before a stop are so many characters, and none where no stop is: the time stays linear."""
    from mmil_cli.data import sentences as module

    looked: list[int] = []

    class Counting:
        def search(self, text: str, start: int, end: int):
            looked.append(end - start)
            return token.search(text, start, end)

    token = module._TOKEN
    monkeypatch.setattr(module, "_TOKEN", Counting())
    assert split_sentences("No effusion. " + "a" * 1_000_000) == ["No effusion.", "a" * 1_000_000]
    assert len(looked) == 1
    assert len(split_sentences(("a" * 500 + ". ") * 300)) == 300
    assert len(looked) < 302
    assert max(looked) <= module._TOKEN_ROOM + 1
