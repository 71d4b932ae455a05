"""CheXpert's 14 labels out of a report's own words, for sources that have no table of labels.

The 14 names and their four values are CheXpert's (Irvin et al. 2019, arXiv 1901.07031), and so is the order
of merging: what is said to be there wins over what may be there, that over what is denied. The rules are
ours, and so are these decisions: findings and impression are read, not the impression alone; "likely" and
"probable" are uncertain, "consistent with" is certain; a finding that has resolved is absent, one that is
resolving is there; a device that was taken out is absent; clips, sternal wires and hardware of the spine are
no support devices.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from mmil_cli.data.assertions import POSITIVE, assertion
from mmil_cli.data.manifest import Manifest
from mmil_cli.data.mentions import FINDINGS, find_mentions
from mmil_cli.data.on_disk import Mapped

NO_FINDING, DEVICES = "No Finding", "Support Devices"

_GAP = re.compile(r"_{2,}|\bx{3,}\b")
_WINS = {1: 2, -1: 1, 0: 0}


def label_sentence(sentence: str) -> dict[str, int]:
    """What one sentence says: 1, 0 or -1 (uncertain) of each finding that it names, but `No Finding`."""
    plain = " ".join(_GAP.sub(" ", sentence.casefold()).replace("’", "'").split())
    said: dict[str, int] = {}
    for mention in find_mentions(plain):
        value = assertion(plain, mention)
        if value is not None:
            _merge(said, mention.finding, value)
    return said


def label_report(sentences: Iterable[str]) -> tuple[int | None, ...]:
    """The labels of a report in the order of `FINDINGS`: 1, 0, -1 (uncertain) or None (not mentioned).

    `No Finding` is 1 where nothing but support devices is there or may be there, else None; a report without
    sentences has it too, for it names nothing.

    Args:
        sentences: those that describe the film, as `report_sentences` gives them.
    """
    said: dict[str, int] = {}
    for sentence in sentences:
        for finding, value in label_sentence(sentence).items():
            _merge(said, finding, value)
    if not any(value for finding, value in said.items() if finding != DEVICES):
        said[NO_FINDING] = POSITIVE
    return tuple(said.get(name) for name in FINDINGS)


def labelled_by_reports(manifest: Manifest) -> Manifest:
    """The manifest with `FINDINGS` for labels, all missing until the reports are read.

    Labels that the source carries are left out, with a note.
    """
    missing: tuple[int | None, ...] = (None,) * len(FINDINGS)
    told = f"{len(manifest.label_names)} label columns of the source are left out: "
    notes = [told + "the labels come from the reports"] if manifest.label_names else []
    return replace(
        manifest,
        records=Mapped(manifest.records, lambda record: replace(record, labels=missing)),
        label_names=FINDINGS,
        options=(*(pair for pair in manifest.options if pair[0] != "labels"), ("labels", "of the reports")),
        notes=(*(note for note in manifest.notes if "label" not in note), *notes),
    )


def _merge(said: dict[str, int], finding: str, value: int) -> None:
    if finding not in said or _WINS[value] > _WINS[said[finding]]:
        said[finding] = value
