"""Sentences with their labels written by hand."""

from pathlib import Path

SAMPLE = Path(__file__).parent / "samples" / "labelled_sentences.txt"
VALUES = {"+": 1, "-": 0, "?": -1}
NAMES = {
    "At": "Atelectasis",
    "Ca": "Cardiomegaly",
    "Co": "Consolidation",
    "Ed": "Edema",
    "EC": "Enlarged Cardiomediastinum",
    "Fr": "Fracture",
    "LL": "Lung Lesion",
    "LO": "Lung Opacity",
    "PE": "Pleural Effusion",
    "PO": "Pleural Other",
    "Pn": "Pneumonia",
    "Px": "Pneumothorax",
    "SD": "Support Devices",
}


def read_labelled_sentences() -> list[tuple[str, dict[str, int]]]:
    lines = [line for line in SAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    parts = [line.split("|") for line in lines]
    return [
        (text.strip(), {NAMES[mark[:-1]]: VALUES[mark[-1]] for mark in marks.split()})
        for marks, text in parts
    ]
