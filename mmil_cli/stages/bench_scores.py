"""Speed and memory of the scores beside plain ways to compute them, as ratios in one run."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmil_cli.core.aggregators.mean import Mean
from mmil_cli.core.bags import RegionBag, SentenceBag, Sentences
from mmil_cli.core.build_score import build_score
from mmil_cli.core.critics.mlp import MLP
from mmil_cli.core.losses.infonce import InfoNCE
from mmil_cli.core.scales import Setting
from mmil_cli.core.scores import Score
from mmil_cli.core.sentences import SentenceMean
from mmil_cli.core.terms import Term
from mmil_cli.files import make_folder, write_json
from mmil_cli.runtime import commit, pick_device, processor, versions
from mmil_cli.stages.measure import Comparison, compare
from mmil_cli.stages.measurement import Comparisons
from mmil_cli.stages.score_forms import (
    GAMMA,
    ConcatenatedMLP,
    direct_lse_nl,
    looped_lse_nl,
    matrix_product,
)

FILE_NAME = "bench_scores.json"

GENERATED_DISTINCT = 0.4
"""Share of distinct sentences in 64 reports of `mmil phantom`; what reports repeat is scored once."""

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of regions [B, N, D], distinct sentences [U, D] and the reports' index of them [B, M]."""

OnProgress = Callable[[int, int], None]
"""Told how many comparisons are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of a comparison.

    Attributes:
        images: B, and as many reports.
        regions: N, of an image.
        sentences: M, of a report.
        dim: D.
        distinct: share of the reports' sentences that are distinct.
    """

    images: int
    regions: int
    sentences: int
    dim: int
    distinct: float = 1.0

    def __str__(self) -> str:
        repeated = "" if self.distinct == 1 else f", {self.distinct:.0%} distinct"
        return f"B={self.images} N={self.regions} M={self.sentences} D={self.dim}{repeated}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Ours and the plain way, and what is wanted of their ratios.

    Attributes:
        name: what is compared.
        shape: of the inputs.
        ours: from regions, distinct sentences and their index to something to differentiate.
        plain: the same the plain way.
        most_time: largest wanted ratio of times.
        most_memory: largest wanted ratio of extra memory, if any is wanted.
    """

    name: str
    shape: Shape
    ours: Form
    plain: Form
    most_time: float
    most_memory: float | None = None


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """What a comparison came to.

    Attributes:
        name: what was compared.
        shape: of the inputs.
        measured: time and memory, forward and backward.
        most_time: largest wanted ratio of times.
        most_memory: largest wanted ratio of extra memory, if any is wanted.
        holds: whether both are kept.
    """

    name: str
    shape: str
    measured: Comparison
    most_time: float
    most_memory: float | None
    holds: bool


def run(
    out: Path, *, quick: bool = False, device: str = "auto", on_progress: OnProgress | None = None
) -> Comparisons[BenchRow]:
    """Times every comparison in turns, forward and backward.

    Args:
        out: folder for `bench_scores.json`.
        quick: small shapes, to see that all of it works; the ratios say nothing.
        device: auto, cpu or cuda.
        on_progress: told of comparisons.
    """
    make_folder(out)
    where = pick_device(device)
    found, rows = list(cases(quick=quick, device=where)), []
    for number, case in enumerate(found, start=1):
        rows.append(_measure(case, rounds=2 if quick else 7, device=where))
        if on_progress:
            on_progress(number, len(found))
    result = Comparisons(
        rows=tuple(rows), provenance=_provenance(quick=quick, device=where), record=out / FILE_NAME
    )
    write_json(
        result.record, {"provenance": result.provenance, "rows": [_as_json(row) for row in result.rows]}
    )
    return result


def cases(*, quick: bool, device: torch.device) -> Iterator[Case]:
    """What is compared; a quick run has the same cases in small."""
    large = Shape(images=128, regions=196, sentences=8, dim=128)
    looped = Shape(images=64, regions=49, sentences=8, dim=128, distinct=GENERATED_DISTINCT)
    pairs = Shape(images=24, regions=64, sentences=1, dim=768)
    if quick:
        large = looped = Shape(images=6, regions=9, sentences=3, dim=16)
        pairs = Shape(images=3, regions=4, sentences=2, dim=16)
    yield Case(
        name="LSE+NL, against whole tensors (einsum)",
        shape=large,
        ours=ours_lse_nl(large, device),
        plain=direct_lse_nl,
        most_time=1.3,
        most_memory=0.1,
    )
    yield Case(
        name="LSE+NL, against a loop over reports",
        shape=looped,
        ours=ours_lse_nl(looped, device),
        plain=looped_lse_nl,
        most_time=0.1,
    )
    yield Case(
        name="LSE+NL, against the matrix product X Y^T alone",
        shape=large,
        ours=ours_lse_nl(large, device),
        plain=matrix_product,
        most_time=4.0,
    )
    hidden, second = (8, 4) if quick else (1024, 512)
    critic, plain = paired_mlps(pairs.dim, hidden, second, device)
    yield Case(
        name=f"MLP critic {pairs.dim}+{pairs.dim}-{hidden}-{second}-1, against concatenated pairs",
        shape=pairs,
        ours=mlp_mean(critic, device),
        plain=lambda x, y, _: plain(x, y).mean(dim=1),
        most_time=1 / 3,
        most_memory=0.1,
    )


def ours_lse_nl(shape: Shape, device: torch.device) -> Form:
    """The score object of mmil on bags of distinct sentences; the sum of its terms' scores [B, R]."""
    score = build_score(f"lse(gamma={GAMMA})+nl(gamma={GAMMA})", dim=shape.dim).to(device)

    def scores(regions: Tensor, sentences: Tensor, index: Tensor) -> Tensor:
        reports = SentenceBag(sentences=Sentences(features=sentences), index=index)
        terms = score(_regions(regions), reports).values()
        return torch.stack([term.scores for term in terms]).sum(dim=0)

    return scores


def mlp_mean(critic: MLP, device: torch.device) -> Form:
    """Our critic within a score, averaged over regions [B, U]; every pair counts, as in the plain form."""
    term = Term(Mean(), objective=InfoNCE(), temperature=Setting(start=1.0, low=0.01, high=10.0))
    score = Score(critic=critic, terms={"mean": term}, sentence_aggregator=SentenceMean()).to(device)

    def scores(regions: Tensor, sentences: Tensor, _: Tensor) -> Tensor:
        return score.sentence_scores(_regions(regions), Sentences(features=sentences))["mean"]

    return scores


def paired_mlps(dim: int, hidden: int, second: int, device: torch.device) -> tuple[MLP, ConcatenatedMLP]:
    """Our critic and the plain one with the same weights."""
    torch.manual_seed(0)
    plain = ConcatenatedMLP(dim, hidden, second).to(device)
    critic = MLP(dim, hidden=hidden, second=second).to(device)
    first, middle, last = (layer for layer in plain.layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        critic.region.weight.copy_(first.weight[:, :dim])
        critic.region.bias.copy_(first.bias)
        critic.sentence.weight.copy_(first.weight[:, dim:])
    critic.second.load_state_dict(middle.state_dict())
    critic.last.load_state_dict(last.state_dict())
    return critic, plain


def _regions(features: Tensor) -> RegionBag:
    mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    return RegionBag(features=features, mask=mask, grid=(features.shape[1], 1))


def _measure(case: Case, *, rounds: int, device: torch.device) -> BenchRow:
    inputs = make_inputs(case.shape, device)
    measured = compare(
        lambda: both_ways(case.ours, *inputs),
        lambda: both_ways(case.plain, *inputs),
        rounds=rounds,
        device=device,
    )
    memory = measured.memory_ratio
    light = case.most_memory is None or (memory is not None and memory <= case.most_memory)
    return BenchRow(
        name=case.name,
        shape=str(case.shape),
        measured=measured,
        most_time=case.most_time,
        most_memory=case.most_memory,
        holds=light and measured.time_ratio <= case.most_time,
    )


def make_inputs(shape: Shape, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random unit vectors, regions [B, N, D] and distinct sentences [U, D], and the reports' index [B, M]."""
    generator = torch.Generator().manual_seed(0)
    places = shape.images * shape.sentences
    num_distinct = max(1, round(places * shape.distinct))
    regions = torch.randn(shape.images, shape.regions, shape.dim, generator=generator)
    sentences = torch.randn(num_distinct, shape.dim, generator=generator)
    index = torch.arange(places).remainder(num_distinct)[torch.randperm(places, generator=generator)]
    return (
        F.normalize(regions, dim=-1).to(device),
        F.normalize(sentences, dim=-1).to(device),
        index.view(shape.images, shape.sentences).to(device),
    )


def both_ways(form: Form, regions: Tensor, sentences: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores and the gradients of their sum of squares with respect to both features."""
    x, y = regions.detach().requires_grad_(), sentences.detach().requires_grad_()
    scores = form(x, y, index)
    scores.backward(2 * scores.detach())
    assert x.grad is not None
    assert y.grad is not None
    return scores.detach(), x.grad, y.grad


def _provenance(*, quick: bool, device: torch.device) -> dict[str, Any]:
    return {
        "command": f"mmil bench scores{' --quick' if quick else ''}",
        "processor": processor(device),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "commit": commit(),
    }


def _as_json(row: BenchRow) -> dict[str, Any]:
    return {**asdict(row), "memory_ratio": row.measured.memory_ratio}
