"""Prompts of zero-shot classification: for each finding, sentences that affirm and that deny it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmil_cli.config.shipped import find_shipped
from mmil_cli.errors import UsageError, nearest

FOLDER = "prompts"
SIGNS = ("positive", "negative")


@dataclass(frozen=True)
class Prompts:
    """The two ensembles of a finding, each of at least one sentence."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def finding_key(name: str) -> str:
    """What spellings of one finding share: `Pleural Effusion` and `pleural_effusion` are the same."""
    return re.sub(r"[\s_]+", "", name).casefold()


def load_prompts(source: str | Path) -> dict[str, Prompts]:
    """The prompts of a YAML file or of a shipped name, by finding.

    Raises:
        UsageError: there is no such file, or naming every problem in it at once.
    """
    path, shipped = find_shipped(source, FOLDER)
    if path is None:
        known = ", ".join(shipped)
        raise UsageError(
            f"no prompts {str(source)!r}{nearest(str(source), shipped)}; give a YAML file or: {known}"
        )
    content = _read(path)
    problems = [*_repeated(content), *(text for name in content for text in _problems(name, content[name]))]
    if problems:
        raise UsageError(f"{path} holds no usable prompts:\n" + "\n".join(f"  {text}" for text in problems))
    return {name: Prompts(*(tuple(entry[sign]) for sign in SIGNS)) for name, entry in content.items()}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content):
        raise UsageError(f"{path} must hold findings, each with lists `positive:` and `negative:`")
    return content


def _repeated(content: Mapping[str, Any]) -> Iterator[str]:
    counts = Counter(finding_key(name) for name in content)
    for name in content:
        if counts[finding_key(name)] > 1:
            yield f"{name}: given more than once, under spellings that are the same"


def _problems(name: str, entry: object) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"{name}: must hold the lists `positive:` and `negative:`"
        return
    for key in entry:
        if key not in SIGNS:
            yield f"{name}: unknown key {key!r}{nearest(str(key), SIGNS)}; known: {', '.join(SIGNS)}"
    for sign in SIGNS:
        sentences = entry.get(sign)
        if not isinstance(sentences, list) or not sentences:
            yield f"{name}: `{sign}:` must list at least one sentence"
        elif bad := [text for text in sentences if not _has_words(text)]:
            yield f"{name}: `{sign}:` lists {bad[0]!r}, which is no sentence"


def _has_words(text: object) -> bool:
    return isinstance(text, str) and re.search(r"[^\W\d_]{2}", text) is not None
