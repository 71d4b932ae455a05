"""What pretraining saves and costs on a batch, as ratios in one run: sentences once, films in lots."""

import functools
import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmil_cli.build import build_model, build_tokenizer
from mmil_cli.config.load import load_recipe
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.bags import Sentences
from mmil_cli.core.encoders.text import pool_tokens
from mmil_cli.core.losses.pairing import SameGroup
from mmil_cli.core.model import DualEncoder
from mmil_cli.data.batches import Batch, digest_values, number_sentences, whole_batch
from mmil_cli.data.reports import parse_report, report_sentences
from mmil_cli.data.tokenizer import SentenceTokenizer
from mmil_cli.data.transforms import Augment
from mmil_cli.errors import DataError
from mmil_cli.files import make_folder, write_json
from mmil_cli.objective import ContrastiveObjective
from mmil_cli.phantom.anatomy import sample_anatomy
from mmil_cli.phantom.difficulty import SETTINGS, Difficulty
from mmil_cli.phantom.plan import StudyPlan, plan_studies
from mmil_cli.phantom.report import write_report
from mmil_cli.runtime import commit, pick_device, processor, versions
from mmil_cli.stages.measure import compare
from mmil_cli.stages.measurement import Comparisons

FILE_NAME = "bench_engine.json"
ENCODER = ("image.encoder=resnet18", "image.layer=layer3", "image.size=128", "run.precision=fp32")
"""Its maps are large and its features few, as those of the networks that need lots."""

OnProgress = Callable[[int, int], None]
"""Told how many comparisons are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is compared.

    Attributes:
        reports: of a batch of sentences.
        lot: films that are encoded at once.
        batches: sizes of the batches that are encoded in such lots.
        rounds: in turns.
    """

    reports: int = 256
    lot: int = 64
    batches: tuple[int, ...] = (64, 256, 1024)
    rounds: int = 5


QUICK = Size(reports=16, lot=4, batches=(4, 8), rounds=1)


@dataclass(frozen=True, kw_only=True)
class EngineRow:
    """One piece of work beside a plain one, forward and backward.

    Attributes:
        name: what is compared.
        work: on what.
        time: per sentence of a report, or per film, as a share of the plain one's.
        low, high: the same in the best and the worst round.
        wanted: the largest share wanted.
        extra_mib: memory at the peak beyond what was held before; None where it cannot be read.
        plain_mib: the same of the plain one.
    """

    name: str
    work: str
    time: float
    low: float
    high: float
    wanted: float
    extra_mib: float | None
    plain_mib: float | None


def run(
    out: Path,
    *,
    reports: Path | None = None,
    quick: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> Comparisons[EngineRow]:
    """Times sentences encoded once beside all of them, and lots beside the batch whole.

    Args:
        out: folder for `bench_engine.json`.
        reports: text file, a report a line; generated reports otherwise.
        quick: small batches, to see that it works; the ratios say nothing.
        device: auto, cpu or cuda.
        on_progress: told of comparisons.

    Raises:
        DataError: the file cannot be read or has too few reports.
    """
    make_folder(out)
    size, where = QUICK if quick else Size(), pick_device(device)
    texts = _read(reports, size.reports) if reports else _generated(size.reports)
    works = [functools.partial(_sentences_once, texts, size, where)]
    works += [functools.partial(_in_lots, batch, size, where) for batch in size.batches]
    rows = []
    for number, work in enumerate(works, start=1):
        rows.append(work())
        if on_progress:
            on_progress(number, len(works))
    provenance = {
        "command": "mmil bench engine"
        + (" --reports FILE" if reports else "")
        + (" --quick" if quick else ""),
        "processor": processor(where),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "commit": commit(),
    }
    record = out / FILE_NAME
    write_json(record, {"provenance": provenance, "rows": [asdict(row) for row in rows]})
    return Comparisons(rows=tuple(rows), provenance=provenance, record=record)


def _sentences_once(reports: Sequence[Sequence[str]], size: Size, device: torch.device) -> EngineRow:
    """The text tower of the laptop recipe on every sentence of a batch of reports, and on distinct ones."""
    recipe = load_recipe("laptop", overrides=[])
    distinct, index = number_sentences(reports)
    tokenizer = build_tokenizer(recipe.text, distinct)
    model = _model(recipe, tokenizer, device)
    once = [torch.from_numpy(part).to(device) for part in tokenizer(distinct)]
    every = [part[torch.from_numpy(index[index >= 0]).to(device)] for part in once]
    found = compare(
        lambda: _backward(model.encode_sentences(*once), model),
        lambda: _backward(_padded(model, *every), model),
        rounds=size.rounds,
        device=device,
    )
    return EngineRow(
        name="distinct sentences, in groups of like length / every sentence, padded to the longest",
        work=f"{len(reports)} reports, {len(every[0])} sentences, {len(distinct)} distinct",
        time=found.time_ratio,
        low=found.time_low,
        high=found.time_high,
        wanted=1 / 1.4,
        extra_mib=_mib(found.extra_bytes),
        plain_mib=_mib(found.reference_bytes),
    )


def _in_lots(batch_size: int, size: Size, device: torch.device) -> EngineRow:
    """A step of a batch in lots beside a step of one lot whole, by film."""
    recipe = load_recipe("laptop", overrides=list(ENCODER))
    reports = _generated(batch_size)
    tokenizer = build_tokenizer(recipe.text, [sentence for report in reports for sentence in report])
    model = _model(recipe, tokenizer, device)
    large = _batch(recipe, reports, tokenizer).to(device)
    plain = _batch(recipe, reports[: size.lot], tokenizer).to(device)
    found = compare(
        functools.partial(_step, model, recipe, large, num_lots=-(-batch_size // size.lot)),
        functools.partial(_step, model, recipe, plain, num_lots=1),
        rounds=max(1, size.rounds * size.lot // batch_size),
        device=device,
    )
    films = batch_size / size.lot
    return EngineRow(
        name=f"lots of {size.lot} / a batch of {size.lot} whole, by film",
        work=f"ResNet-18 at 128 pixels, batch {batch_size}",
        time=found.time_ratio / films,
        low=found.time_low / films,
        high=found.time_high / films,
        wanted=1.5,
        extra_mib=_mib(found.extra_bytes),
        plain_mib=_mib(found.reference_bytes),
    )


def _step(model: DualEncoder, recipe: Recipe, batch: Batch, *, num_lots: int) -> None:
    objective = ContrastiveObjective(
        model,
        augment=Augment(**recipe.augment.model_dump(exclude={"flip"})),
        mean=0.5,
        std=0.25,
        same_group=SameGroup(recipe.score.same_group),
        part=whole_batch(len(batch.films)),
        autocast=nullcontext,
        num_lots=num_lots,
    )
    model.zero_grad(set_to_none=True)
    objective(batch, torch.Generator().manual_seed(0)).total.backward()


def _padded(model: DualEncoder, tokens: Tensor, mask: Tensor) -> Sentences:
    """Sentences as a plain text tower reads them: all at once, as long as the longest."""
    states = model.text_encoder(tokens, mask)
    return Sentences(features=model.text_projection(pool_tokens(states, mask, pool=model.text_pool)))


def _generated(number: int) -> list[list[str]]:
    """The sentences of generated reports."""
    plans = plan_studies(2 * number, seed=0, difficulty=Difficulty.MEDIUM)
    texts = (_text_of(plan) for plan in plans)
    found = (report_sentences(parse_report(text)) for text in texts)
    return list(itertools.islice((sentences for sentences in found if sentences), number))


def _text_of(plan: StudyPlan) -> str:
    anatomy = sample_anatomy(np.random.default_rng(plan.patient_seed), seed=plan.patient_seed)
    return write_report(plan, anatomy=anatomy, settings=SETTINGS[Difficulty.MEDIUM]).text


def _read(path: Path, number: int) -> list[list[str]]:
    """Reports of a text file with a report a line, evenly spaced."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a text file with a report a line") from error
    found = [sentences for line in lines if (sentences := report_sentences(parse_report(line)))]
    if len(found) < number:
        raise DataError(f"{path} has {len(found)} reports, and {number} are wanted; give a longer file")
    return found[:: len(found) // number][:number]


def _backward(sentences: Sentences, model: DualEncoder) -> None:
    model.zero_grad(set_to_none=True)
    sentences.features.square().sum().backward()


def _batch(recipe: Recipe, reports: Sequence[Sequence[str]], tokenizer: SentenceTokenizer) -> Batch:
    """Noise with reports: what is in the films costs nothing."""
    distinct, index = number_sentences(reports)
    tokens, mask = tokenizer(distinct)
    side, number = recipe.image.size, len(reports)
    films = np.random.default_rng(0).integers(0, 256, (number, side, side), dtype=np.uint8)
    return Batch(
        films=torch.from_numpy(films),
        cover=torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(number, 4),
        bag=torch.arange(number),
        slot=torch.zeros(number, dtype=torch.int64),
        tokens=torch.from_numpy(tokens),
        token_mask=torch.from_numpy(mask),
        sentence=digest_values(distinct),
        sentence_index=torch.from_numpy(index),
        study=torch.arange(number),
        text=torch.arange(number),
    )


def _model(recipe: Recipe, tokenizer: SentenceTokenizer, device: torch.device) -> DualEncoder:
    torch.manual_seed(0)
    return build_model(recipe, vocabulary_size=tokenizer.vocabulary_size).to(device).train()


def _mib(num_bytes: int | None) -> float | None:
    return None if num_bytes is None else num_bytes / 2**20
