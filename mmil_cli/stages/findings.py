"""Which findings of a dataset are meant, and what uncertain and missing labels count as."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from mmil_cli.config.prompts import finding_key
from mmil_cli.errors import UsageError, nearest
from mmil_cli.stages.policies import Missing, Uncertain

Value = TypeVar("Value")


_COUNTS_AS = {Uncertain.IGNORE: np.nan, Uncertain.POSITIVE: 1.0, Uncertain.NEGATIVE: 0.0}


def pick_findings(known: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...]:
    """The asked findings as the dataset spells them; all of them for None.

    Raises:
        UsageError: there are no labels, or none of an asked finding.
    """
    if not known:
        raise UsageError(
            "this dataset has no labels, so there is nothing to classify; run mmil preprocess on a source "
            "that has label columns, or with --label-reports"
        )
    if asked is None:
        return tuple(known)
    return tuple(dict.fromkeys(_match(name, known) for name in asked))


def matching(values: Mapping[str, Value], names: Sequence[str]) -> dict[str, Value]:
    """The values whose key is one of the names in any spelling, under the names' own."""
    by_key = {finding_key(name): value for name, value in values.items()}
    return {name: by_key[finding_key(name)] for name in names if finding_key(name) in by_key}


def resolve_labels(labels: np.ndarray, *, uncertain: Uncertain, missing: Missing) -> np.ndarray:
    """Labels with 0, 1 and NaN (left out) only; an uncertain label that is ignored stays left out."""
    told = labels if missing is Missing.IGNORE else np.nan_to_num(labels, nan=0.0)
    return np.where(labels == -1, np.float32(_COUNTS_AS[uncertain]), told)


def _match(name: str, known: Sequence[str]) -> str:
    found = next((finding for finding in known if finding_key(finding) == finding_key(name)), None)
    if found is None:
        raise UsageError(
            f"--findings: no labels of {name!r}{nearest(name, known)}; there are: {', '.join(known)}"
        )
    return found
