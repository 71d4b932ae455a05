"""What lies where a dataset shall be made: nothing, the dataset itself, a part of it, or something else."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmil_cli.data.earlier import EarlierRows
from mmil_cli.data.info import partial_folder
from mmil_cli.data.progress import Plan, Workshop, finished_dataset
from mmil_cli.errors import MmilError
from mmil_cli.stages.conversion import Listed


@dataclass(frozen=True)
class AtOut:
    """What a run would find.

    Attributes:
        told: it in a sentence; "" where nothing is there.
        failure: why a run would refuse it; "" where it would not.
        done: of each record, whether nothing is left to do for it.
        left_out: of these, those without a row.
        rewritten: bytes of the rows that are done and that a run writes again.
    """

    done: NDArray[np.bool_]
    told: str = ""
    failure: str = ""
    left_out: int = 0
    rewritten: int = 0


def is_free(out: Path) -> bool:
    """Whether nothing lies there, not even the parts of an interrupted run."""
    return not (out.exists() or partial_folder(out.absolute()).is_dir())


def look(out: Path, plan: Plan, listed: Listed) -> AtOut:
    """What `preprocess` would make of what lies at `out`; nothing is changed."""
    nothing = np.zeros(len(listed), np.bool_)
    try:
        info = finished_dataset(out, plan, overwrite=False)
        if info and info.source == plan.source:
            return AtOut(~nothing, f"{out} holds this dataset already, and a run would have nothing to do")
        earlier = EarlierRows(out, info, listed.manifest, listed.states) if info else None
        kept, left_out = Workshop(out).standing(plan, listed.states)
    except MmilError as refusal:
        return AtOut(nothing, failure=str(refusal))
    done = earlier.has(listed.states) if earlier else nothing
    rewritten = sum(shard.bytes for shard in info.shards) if info else 0
    told = (
        [f"{len(earlier)} films of the dataset at {out} are kept, and only new ones are read"]
        if earlier
        else []
    )
    if at := kept + left_out:
        done = done | (np.arange(len(listed)) < at)
        told.append(f"an interrupted run has done the first {at} records, and the run goes on from them")
    return AtOut(done, "; ".join(told), left_out=left_out, rewritten=rewritten)
