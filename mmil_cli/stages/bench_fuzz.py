"""Damaged films, reports, tables and XML through preprocess: every outcome right, or a fault of ours."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmil_cli.errors import UsageError
from mmil_cli.files import make_folder, write_json
from mmil_cli.runtime import commit, processor, versions
from mmil_cli.stages.fuzz.cases import KINDS
from mmil_cli.stages.fuzz.trial import MOST_MIB, MOST_SECONDS, REFUSED, REJECTED, TAKEN, WRONG, Tester, Trial

FILE_NAME = "fuzz.json"
DEFAULT_CASES = 2000
OUTCOMES = (TAKEN, REJECTED, REFUSED, WRONG)


@dataclass(frozen=True, kw_only=True)
class FuzzResult:
    """What came of all cases.

    Attributes:
        counts: by kind, how many had each outcome.
        reasons: how many records were rejected for each reason.
        wrong: the cases that show a fault of ours.
        longest: seconds of the slowest case.
        most_mib: the most memory that the process held.
        record: the JSON file.
    """

    counts: Mapping[str, Mapping[str, int]]
    reasons: Mapping[str, int]
    wrong: tuple[Trial, ...]
    longest: float
    most_mib: float
    record: Path


def run(
    out: Path,
    *,
    cases: int = DEFAULT_CASES,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> FuzzResult:
    """Preprocess sources of which one file is damaged, each within a limit of time and memory.

    A film that is taken must have the pixels, a report the sentences, a row the values that an independent
    strict reading gives (`stages.fuzz`); one that is rejected has a reason and the name of its file; its
    neighbours are all there. Case `n` of a seed is always the same.

    Args:
        out: folder for `fuzz.json`.
        cases: how many.
        seed: of all damage.
        on_progress: told (cases done, cases in all).

    Raises:
        UsageError: no case, or a negative seed.
    """
    if cases < 1 or not 0 <= seed < 2**63:
        raise UsageError(f"--cases is {cases} and --seed {seed}; give 1 or more, and 0 or more")
    make_folder(out)
    trials = []
    with closing(Tester(seed)) as tester:
        for number in range(cases):
            trials.append(tester.try_case(number))
            if on_progress:
                on_progress(number + 1, cases)
    result = _summary(trials, out / FILE_NAME)
    write_json(result.record, _json(result, trials, seed))
    return result


def _summary(trials: Sequence[Trial], record: Path) -> FuzzResult:
    counts = {kind: Counter(trial.outcome for trial in trials if trial.kind == kind) for kind in KINDS}
    return FuzzResult(
        counts={kind: {name: found[name] for name in OUTCOMES} for kind, found in counts.items()},
        reasons=dict(Counter(trial.reason for trial in trials if trial.reason).most_common()),
        wrong=tuple(trial for trial in trials if trial.outcome == WRONG),
        longest=max(trial.seconds for trial in trials),
        most_mib=max(trial.mib for trial in trials),
        record=record,
    )


def _json(result: FuzzResult, trials: Sequence[Trial], seed: int) -> dict[str, Any]:
    import torch  # after the work: its memory would count for the process that tries

    damages = Counter((trial.kind, trial.damage, trial.outcome) for trial in trials)
    return {
        "command": f"mmil bench fuzz --cases {len(trials)} --seed {seed}",
        "counts": result.counts,
        "reasons": result.reasons,
        "damages": [
            {"kind": kind, "damage": damage, "outcome": outcome, "cases": number}
            for (kind, damage, outcome), number in sorted(damages.items())
        ],
        "longest_seconds": result.longest,
        "most_mib": result.most_mib,
        "limits": {"seconds": MOST_SECONDS, "mib": MOST_MIB},
        "wrong": [asdict(trial) for trial in result.wrong],
        "provenance": {
            "commit": commit(),
            "processor": processor(torch.device("cpu")),
            "versions": versions(),
        },
    }
