import pytest

from mmil_cli.data.stances import Stance, finding_pattern, plain_stance

AFFIRMED = (
    "There is a small left pleural effusion.",
    "Pleural effusions on both sides.",
    "Large right PLEURAL EFFUSION with the heart enlarged.",
)
DENIED = (
    "No pleural effusion.",
    "No focal consolidation, pleural effusion or pneumothorax.",
    "The lungs are clear without pleural effusion.",
    "There is no evidence of pneumothorax or pleural effusion.",
)
OPEN = (
    "The lungs are clear.",
    "No change in the pleural effusion.",
    "No new pleural effusion.",
    "Possible small pleural effusion.",
    "The pleural effusion has resolved.",
    "Evaluate for pleural effusion.",
    "A pleural effusion cannot be excluded.",
    "No pneumothorax; pleural effusion on the left.",
    "No pneumothorax, however a pleural effusion is seen.",
    "Pleural effusion versus thickening.",
    "No right pleural effusion, and a left pleural effusion.",
    "Pleural effusion is smaller than on the prior film.",
)


def stance(*sentences: str, label: str = "Pleural Effusion") -> Stance | None:
    pattern = finding_pattern(label)
    assert pattern is not None
    return plain_stance(sentences, pattern)


@pytest.mark.parametrize("sentence", AFFIRMED)
def test_plainly_affirmed(sentence: str) -> None:
    assert stance("The heart is normal.", sentence) is Stance.AFFIRMED


@pytest.mark.parametrize("sentence", DENIED)
def test_plainly_denied(sentence: str) -> None:
    assert stance(sentence, "The heart is normal.") is Stance.DENIED


@pytest.mark.parametrize("sentence", OPEN)
def test_nothing_plain_is_said(sentence: str) -> None:
    assert stance(sentence) is None


def test_sentences_that_differ_say_nothing() -> None:
    assert stance(AFFIRMED[0], DENIED[0]) is None
    assert stance() is None


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("pleural_effusion", "A pleural effusion."),
        ("Lung Lesion", "A pulmonary nodule in the apex."),
        ("Bright_Square", "Two bright squares below."),
        ("Edema", "Mild interstitial edema."),
    ],
)
def test_names_of_label_columns(label: str, sentence: str) -> None:
    assert stance(sentence, label=label) is Stance.AFFIRMED


@pytest.mark.parametrize("label", ["No Finding", "Support Devices", "Lung Opacity", "A1", "x"])
def test_labels_that_are_no_name(label: str) -> None:
    assert finding_pattern(label) is None
