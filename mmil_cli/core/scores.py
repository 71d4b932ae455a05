"""A score between images and reports: a critic, and a sum of terms that pool its instance scores."""

import inspect
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmil_cli.core.aggregators import AGGREGATORS
from mmil_cli.core.aggregators.instances import Instances
from mmil_cli.core.bags import RegionBag, SentenceBag
from mmil_cli.core.critics import CRITICS
from mmil_cli.core.grammar import TermSpec, parse, point_at
from mmil_cli.core.sentences import SENTENCE_AGGREGATORS
from mmil_cli.errors import UsageError, nearest

MAX_LOGIT_SCALE = 100.0  # as CLIP clamps it
CHUNK_ELEMENTS = 2**25  # instance scores held at once: 128 MiB in float32


class Term(nn.Module):
    """One aggregator with the logit scale of its own objective.

    Args:
        aggregator: pools instances into one score for each image and sentence.
        temperature: initial temperature; scores are divided by it. The logit scale is its inverse.
        learn_temperature: whether the logit scale is trained, in the log domain, clamped at 100.
    """

    def __init__(self, aggregator: nn.Module, *, temperature: float, learn_temperature: bool) -> None:
        super().__init__()
        if not 1 / MAX_LOGIT_SCALE <= temperature <= 10:
            raise UsageError(
                f"a temperature must lie between {1 / MAX_LOGIT_SCALE:g} and 10, not {temperature:g}"
            )
        self.aggregator = aggregator
        self.log_scale = nn.Parameter(-torch.tensor(temperature).log(), requires_grad=learn_temperature)

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """What a score is multiplied by before the objective: 1 / temperature, at most 100."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)


@dataclass(frozen=True, kw_only=True)
class TermScores:
    """One term's scores of every image with every report, and the scale that makes logits of them."""

    scores: Float[Tensor, "image report"]
    logit_scale: Float[Tensor, ""]

    @property
    def logits(self) -> Float[Tensor, "image report"]:
        """logit_scale x scores."""
        return self.logit_scale * self.scores


class Score(nn.Module):
    """S(X, Y) between bags of regions and bags of sentences; the one score of training and evaluation.

    Each distinct sentence is scored once against each image (B x U), in chunks of sentences that are
    recomputed in the backward pass, so that memory beyond the result is bounded by one chunk.

    Args:
        critic: instance score of every region with every sentence.
        terms: aggregators by name.
        sentence_aggregator: pools a report's sentence scores.
        chunk_elements: instance scores to hold at once.
    """

    def __init__(
        self,
        *,
        critic: nn.Module,
        terms: dict[str, Term],
        sentence_aggregator: nn.Module,
        chunk_elements: int = CHUNK_ELEMENTS,
    ) -> None:
        super().__init__()
        self.critic = critic
        self.terms = nn.ModuleDict(terms)
        self.sentence_aggregator = sentence_aggregator
        self.chunk_elements = chunk_elements

    def forward(self, regions: RegionBag, reports: SentenceBag) -> dict[str, TermScores]:
        """Scores of every image with every report, a term at a time."""
        pooled = self.sentence_scores(regions, reports.features)
        return {
            name: TermScores(
                scores=self.sentence_aggregator(scores, reports.index),
                logit_scale=self._term(name).logit_scale,
            )
            for name, scores in pooled.items()
        }

    def logits(self, regions: RegionBag, reports: SentenceBag) -> Float[Tensor, "image report"]:
        """The score to rank by: the sum of the terms' logits, which is what their objectives trained."""
        return torch.stack([term.logits for term in self(regions, reports).values()]).sum(dim=0)

    def instance_scores(
        self, regions: RegionBag, sentences: Float[Tensor, "sentence dim"]
    ) -> Float[Tensor, "image region sentence"]:
        """h(x_n, y): the similarity maps that grounding shows."""
        return self.critic(regions.features, sentences)

    def sentence_scores(
        self, regions: RegionBag, sentences: Float[Tensor, "sentence dim"]
    ) -> dict[str, Float[Tensor, "image sentence"]]:
        """g(X, y) of every term for every image and distinct sentence."""
        num_regions = regions.features.shape[0] * regions.features.shape[1]
        chunks = sentences.split(max(1, self.chunk_elements // max(1, num_regions)))
        if len(chunks) == 1 or not torch.is_grad_enabled():
            parts = [self._pool(regions.features, regions.mask, chunk) for chunk in chunks]
        else:
            parts = [
                checkpoint(self._pool, regions.features, regions.mask, chunk, use_reentrant=False)
                for chunk in chunks
            ]
        return {
            name: torch.cat(columns, dim=1)
            for name, columns in zip(self.terms, zip(*parts, strict=True), strict=True)
        }

    def _pool(self, regions: Tensor, mask: Tensor, sentences: Tensor) -> tuple[Tensor, ...]:
        instances = Instances(
            scores=self.critic(regions, sentences),
            mask=mask,
            regions=regions,
            sentences=sentences,
            critic=self.critic,
        )
        return tuple(self._term(name).aggregator(instances) for name in self.terms)

    def _term(self, name: str) -> Term:
        term = self.terms[name]
        assert isinstance(term, Term)
        return term


def build_score(
    expression: str,
    *,
    critic: str = "cosine",
    sentence_aggregator: str = "mean",
    temperature: float = 0.07,
    learn_temperature: bool = True,
) -> Score:
    """The score that an expression such as `lse(gamma=10)+nl` describes.

    Raises:
        UsageError: unknown names or arguments, pointing at the place in the expression.
    """
    terms: dict[str, Term] = {}
    for spec in parse(expression):
        if spec.name in terms:
            raise point_at(expression, spec.position, f"the term {spec.name!r} is given twice")
        aggregator = _build_aggregator(expression, spec)
        terms[spec.name] = Term(aggregator, temperature=temperature, learn_temperature=learn_temperature)
    return Score(
        critic=_lookup("critic", critic, CRITICS)(),
        terms=terms,
        sentence_aggregator=_lookup("sentence aggregator", sentence_aggregator, SENTENCE_AGGREGATORS)(),
    )


def _build_aggregator(expression: str, spec: TermSpec) -> nn.Module:
    kind = AGGREGATORS.get(spec.name)
    if kind is None:
        known = ", ".join(sorted(AGGREGATORS))
        raise point_at(
            expression,
            spec.position,
            f"unknown aggregator {spec.name!r}{nearest(spec.name, AGGREGATORS)}; known: {known}",
        )
    parameters = inspect.signature(kind).parameters
    for name, value in spec.arguments.items():
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise point_at(
                expression, spec.position, f"{spec.name} has no argument {name!r}; it takes: {known}"
            )
        if not isinstance(value, float):
            raise point_at(expression, spec.position, f"{spec.name}: {name} must be a number, not {value!r}")
    try:
        return kind(**spec.arguments)
    except UsageError as error:
        raise point_at(expression, spec.position, str(error)) from None


def _lookup(role: str, name: str, known: dict[str, type[nn.Module]]) -> type[nn.Module]:
    if name not in known:
        raise UsageError(f"unknown {role} {name!r}{nearest(name, known)}; known: {', '.join(sorted(known))}")
    return known[name]
