"""A step of pretraining beside what it cannot do without, as ratios in one run."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mmil_cli.config.load import dump
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.sentences import held_sentences
from mmil_cli.data.batches import Batch
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.transforms import normalise
from mmil_cli.runtime import autocast, has_fast_bfloat16, pick_device
from mmil_cli.stages.bench_scores import BenchRow
from mmil_cli.stages.measure import Comparison, compare
from mmil_cli.stages.pretrain_data import plan_batches
from mmil_cli.stages.pretrain_run import Run, Watchers
from mmil_cli.stages.trial import changed
from mmil_cli.training.loop import StepReport, run_steps
from mmil_cli.training.processes import Processes
from mmil_cli.training.state import RunIdentity

MOST_OVERHEAD = 1.10  # a step / both encoders alone, on a CPU
MOST_OVERHEAD_ON_GPU = 1.05
BF16_SPEED_UP = 1.5
SENTENCES_SPEED_UP = 1.4
TEXT_BATCH = 256
BF16 = "a step in bf16, against fp32"


class Workbench(Run):
    """The objects of a run, with single steps of it; it writes no checkpoint."""

    def batch(self) -> Batch:
        """The films and reports of its first step, on the device."""
        return next(iter(self._loader(0))).to(self.device)

    def take_step(self, batch: Batch) -> float:
        """One whole step: augmentation, encoders, scores, loss, backward, clipping and update; its loss."""
        reports: list[StepReport] = []
        run_steps(
            [batch],
            model=self.model,
            optimiser=self.optimiser,
            objective=self._objective(),
            plan=self._plan(),
            first_step=0,
            device=self.device,
            after_step=lambda report: reports.append(report),
        )
        return reports[0].loss

    def both_encoders(self, batch: Batch) -> None:
        """Forward and backward of the two encoders alone, without projections, scores or an update."""
        held, _ = held_sentences(batch.sentence_index)
        contract = self.start.contract
        films = normalise(batch.films, mean=contract.mean, std=contract.std)
        self.model.train()
        with autocast(self.device, self.recipe.run.precision):
            features = self.model.image_encoder(films)
            states = self.model.text_encoder(batch.tokens[held], batch.token_mask[held])
        _backward(features, states)
        self.optimiser.zero_grad(set_to_none=True)

    def text_tower(self, tokens: Tensor, mask: Tensor) -> None:
        """Forward and backward of some texts."""
        self.model.train()
        with autocast(self.device, self.recipe.run.precision):
            found = self.model.encode_sentences(tokens, mask)
        _backward(found.features)
        self.optimiser.zero_grad(set_to_none=True)


@contextmanager
def workbench(data: Path, recipe: Recipe, *, device: str) -> Iterator[Workbench]:
    """The objects of a run of a recipe that is never run."""
    dataset = StudyDataset.open(data)
    with tempfile.TemporaryDirectory() as folder:
        yield Workbench(
            dataset,
            Path(folder) / "run",
            recipe=changed(recipe, data__workers=0),
            schedule=plan_batches(dataset, recipe),
            identity=RunIdentity(recipe=dump(recipe), dataset_hash=dataset.info.content_hash),
            processes=Processes(rank=0, size=1, device=pick_device(device)),
            anew=True,
            watchers=Watchers(),
        )


def step_beside_encoders(data: Path, recipe: Recipe, *, rounds: int, device: str) -> BenchRow:
    """What augmentation, scores, objective and optimiser add to both encoders."""
    with workbench(data, recipe, device=device) as bench:
        batch = bench.batch()
        measured = compare(
            lambda: bench.take_step(batch),
            lambda: bench.both_encoders(batch),
            rounds=rounds,
            device=bench.device,
        )
        most = MOST_OVERHEAD_ON_GPU if bench.device.type == "cuda" else MOST_OVERHEAD
    return _row(f"a step of {recipe.score.expression}, against both encoders alone", recipe, measured, most)


def bf16_beside_fp32(data: Path, recipe: Recipe, *, rounds: int, device: str) -> BenchRow | None:
    """A whole step in bf16 and in fp32; None where the device has no fast bf16."""
    if not has_fast_bfloat16(pick_device(device)):
        return None
    recipes = [changed(recipe, run__precision=precision) for precision in ("bf16", "fp32")]
    with (
        workbench(data, recipes[0], device=device) as low,
        workbench(data, recipes[1], device=device) as full,
    ):
        batch = full.batch()
        measured = compare(
            lambda: low.take_step(batch), lambda: full.take_step(batch), rounds=rounds, device=full.device
        )
    return _row(BF16, recipe, measured, 1 / BF16_SPEED_UP)


def sentences_once(data: Path, recipe: Recipe, *, rounds: int, device: str) -> BenchRow:
    """The text tower on the distinct texts of a batch, against all of them with their repetitions."""
    films = len(plan_batches(StudyDataset.open(data), changed(recipe, data__batch_size=2)).rows)
    wide = changed(recipe, data__batch_size=min(TEXT_BATCH, films))
    with workbench(data, wide, device=device) as bench:
        batch = bench.batch()
        index = batch.sentence_index
        every = index[index >= 0]
        measured = compare(
            lambda: bench.text_tower(batch.tokens, batch.token_mask),
            lambda: bench.text_tower(batch.tokens[every], batch.token_mask[every]),
            rounds=rounds,
            device=bench.device,
        )
    repeated = f"{len(every) / len(batch.tokens):.2f} texts stand for one"
    name = "text tower, each distinct text once, against all"
    return _row(name, wide, measured, 1 / SENTENCES_SPEED_UP, shape=f"B={wide.data.batch_size}, {repeated}")


COMPARISONS: tuple[Callable[..., BenchRow | None], ...] = (
    step_beside_encoders,
    bf16_beside_fp32,
    sentences_once,
)


def _row(
    name: str, recipe: Recipe, measured: Comparison, most_time: float, *, shape: str | None = None
) -> BenchRow:
    image = recipe.image
    cut = f" to {image.layer}" if image.layer else ""
    return BenchRow(
        name=name,
        shape=shape or f"B={recipe.data.batch_size}, {image.encoder}{cut} at {image.size}",
        measured=measured,
        most_time=most_time,
        most_memory=None,
        holds=measured.time_ratio <= most_time,
    )


def _backward(*outputs: Tensor) -> None:
    """Gradients of all outputs together, as a loss would ask for them."""
    torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
