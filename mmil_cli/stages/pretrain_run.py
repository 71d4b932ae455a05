"""One pretrain run: its objects, made once, and what happens between its steps."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from mmil_cli.checkpoint import Card, save_checkpoint
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.batch_norm import across_processes
from mmil_cli.core.losses.pairing import SameGroup
from mmil_cli.data.batches import Batch, Collate, PairReader, Schedule
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.tokenizer import SentenceTokenizer
from mmil_cli.data.transforms import Augment
from mmil_cli.files import write_text
from mmil_cli.inference import Embedder
from mmil_cli.objective import ContrastiveObjective
from mmil_cli.runtime import autocast, commit, versions
from mmil_cli.stages.pretrain_data import (
    keep_tokenizer,
    kept_tokenizer,
    make_tokenizer,
    training_bags,
    validation_bags,
)
from mmil_cli.stages.pretrain_model import (
    frozen_parts,
    image_network_of,
    new_model,
    optimiser_of,
    unfold_norms,
)
from mmil_cli.stages.validation import validate
from mmil_cli.training.log import Entry, RunLog
from mmil_cli.training.loop import Plan, StepReport, run_steps
from mmil_cli.training.processes import Processes, outlive_the_group
from mmil_cli.training.state import RunIdentity, load_state, save_state
from mmil_cli.weights import LoadedWeights

CHECKPOINT, LOG, STATE, RECIPE, TOKENIZER = "checkpoint", "log.jsonl", "state.pt", "recipe.yaml", "tokenizer"


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What a run came to.

    Attributes:
        checkpoint: the checkpoint folder.
        num_steps: steps of the whole run.
        resumed_at: steps that an earlier, interrupted call had done; equal to num_steps when all was done.
        metrics: of the last validation.
        weights: what the image encoder started from, if anything.
    """

    checkpoint: Path
    num_steps: int
    resumed_at: int
    metrics: dict[str, float]
    weights: LoadedWeights | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One step of the run, for whoever watches.

    Attributes:
        step: steps done.
        num_steps: of the run.
        loss: of the step.
        films_per_second: of the step.
        waiting: share of the step spent waiting for data.
    """

    step: int
    num_steps: int
    loss: float
    films_per_second: float
    waiting: float


@dataclass(frozen=True, kw_only=True)
class Watchers:
    """Callbacks of a run; by default nobody watches."""

    on_step: Callable[[Progress], None] = lambda _: None
    on_validation: Callable[[Entry], None] = lambda _: None
    on_note: Callable[[str], None] = lambda _: None


class Run:
    """The objects of one run, made once, and what happens between its steps."""

    def __init__(
        self,
        dataset: StudyDataset,
        out: Path,
        *,
        recipe: Recipe,
        schedule: Schedule,
        identity: RunIdentity,
        processes: Processes,
        anew: bool,
        watchers: Watchers,
    ) -> None:
        self.dataset, self.out, self.recipe = dataset, out, recipe
        self.schedule, self.identity, self.processes = schedule, identity, processes
        self.watchers = watchers if processes.is_first else Watchers()
        self.device, self.part = processes.device, processes.part(schedule.batch_size)
        self.bags, self.validation_bags = training_bags(dataset, recipe), validation_bags(dataset, recipe)
        # A tokenizer without a saved state may be of another recipe or dataset: what is resumed has both.
        self.resumes = (out / STATE).exists() and not anew
        self.tokenizer = processes.from_first(self._tokenizer)
        self.start = new_model(recipe, dataset, self.tokenizer)
        self.model = self.start.model
        if processes.size > 1:
            across_processes(self.model)
        self.model.to(self.device)
        self.model.image_encoder.to(memory_format=torch.channels_last)
        self.optimiser = optimiser_of(self.model, recipe.optim)
        self.frozen = frozen_parts(self.model, recipe, num_steps=schedule.num_steps)
        self.embedder = Embedder(
            self.model, self.tokenizer, self.start.contract, self.device, unit=recipe.text.unit
        )
        self.metrics: dict[str, float] = {}

    def go(self) -> PretrainResult:
        """Runs from the last saved step to the end."""
        first = load_state(
            self.out / STATE,
            model=self.model,
            optimiser=self.optimiser,
            identity=self.identity,
            from_first=self.processes.from_first,
        )
        if self.processes.is_first:
            self._begin_files(first)
            self._note(first)
        self.processes.share_weights(self.model)
        self._freeze(first)
        run_steps(
            self._loader(first),
            model=self.model,
            optimiser=self.optimiser,
            objective=self._objective(),
            plan=self._plan(),
            first_step=first,
            device=self.device,
            after_step=self._after_step,
            sum_gradients=self.processes.sum_gradients,
        )
        if self.processes.is_first:
            (self.out / STATE).unlink(missing_ok=True)
        return PretrainResult(
            checkpoint=self.out / CHECKPOINT,
            num_steps=self.schedule.num_steps,
            resumed_at=first,
            metrics=self.metrics,
            weights=self.start.weights,
        )

    def _note(self, first: int) -> None:
        """Tells what the run begins with; norms without statistics get them now."""
        if first:
            self.watchers.on_note(f"going on after step {first} of {self.schedule.num_steps}")
            return
        for note in self.start.notes:
            self.watchers.on_note(note)
        if self.start.weights:
            unfolded = unfold_norms(self.embedder, self.dataset, self.schedule.rows)
            if unfolded:
                self.watchers.on_note(unfolded)

    def _freeze(self, step: int) -> None:
        for part in self.frozen:
            part.set(step)

    def _tokenizer(self) -> SentenceTokenizer:
        if self.resumes:
            return kept_tokenizer(self.out / TOKENIZER, self.recipe.text)
        return make_tokenizer(self.dataset, self.schedule.rows, self.recipe)

    def _begin_files(self, first: int) -> None:
        if not self.resumes:
            keep_tokenizer(self.out / TOKENIZER, self.tokenizer, self.recipe)
        write_text(self.out / RECIPE, self.identity.recipe)
        self.log = RunLog(self.out / LOG, first_step=first)

    def _after_step(self, report: StepReport) -> None:
        """The first process logs, validates and saves; the others wait where that takes long."""
        step, run, total = report.step, self.recipe.run, self.schedule.num_steps
        self._freeze(step)
        epoch, place = divmod(step, self.schedule.steps_per_epoch)
        validates = step == total or (place == 0 and epoch % run.validate_every == 0)
        saves = step % run.save_every == 0 and step < total
        if self.processes.is_first:
            self._tell(report)
            if validates:
                self._validate(step)
                self._save_checkpoint(step)
            if saves:
                self._save_state(step)
        if validates or saves:
            self.processes.meet()

    def _tell(self, report: StepReport) -> None:
        step, total = report.step, self.schedule.num_steps
        films = self.schedule.batch_size * self.bags.num_films / len(self.bags.rows)  # of a step, on average
        speed = films / report.seconds
        progress = Progress(
            step=step, num_steps=total, loss=report.loss, films_per_second=speed, waiting=report.waiting
        )
        self.watchers.on_step(progress)
        if step % self.recipe.run.log_every == 0 or step == total:
            self._log_step(report, epoch=step / self.schedule.steps_per_epoch, films_per_second=speed)

    def _log_step(self, report: StepReport, *, epoch: float, films_per_second: float) -> None:
        self.log.write(
            "train",
            report.step,
            epoch=round(epoch, 3),
            loss=report.loss,
            **report.parts,
            **report.readings(),
            learning_rate=report.learning_rate,
            grad_norm=report.grad_norm,
            films_per_second=round(films_per_second, 1),
            waiting=round(report.waiting, 3),
        )

    def _validate(self, step: int) -> None:
        if not len(self.validation_bags.rows):
            return
        self.metrics = validate(
            self.embedder, self.dataset, self.validation_bags, batch_size=self.schedule.batch_size
        )
        self.watchers.on_validation(self.log.write("validate", step, **self.metrics))

    def _save_state(self, step: int) -> None:
        save_state(
            self.out / STATE, model=self.model, optimiser=self.optimiser, step=step, identity=self.identity
        )

    def _save_checkpoint(self, step: int) -> None:
        info = self.dataset.info
        card = Card(
            stage="pretrain",
            step=step,
            seed=self.recipe.run.seed,
            metrics=self.metrics,
            dataset_hash=info.content_hash,
            dataset_options=dict(info.options),
            label_names=info.label_names,
            image={**vars(self.embedder.contract)},
            versions=versions(),
            commit=commit(),
            parent=self.start.parent,
            image_network=image_network_of(self.model.image_encoder),
        )
        save_checkpoint(
            self.out / CHECKPOINT,
            weights=self.model.state_dict(),
            recipe=self.identity.recipe,
            card=card,
            tokenizer=self.out / TOKENIZER,
        )

    def _loader(self, first: int) -> Iterable[Batch]:
        data, run = self.recipe.data, self.recipe.run
        reader = PairReader(
            self.dataset,
            bags=self.bags,
            size=self.recipe.image.size,
            fit=self.recipe.image.fit,
            max_sentences=data.max_sentences,
            unit=self.recipe.text.unit,
            seed=run.seed,
        )
        return DataLoader(
            reader,
            batch_sampler=self.schedule.from_step(first, self.part),
            collate_fn=Collate(self.tokenizer),
            num_workers=data.workers,
            worker_init_fn=outlive_the_group if self.processes.size > 1 else None,
            pin_memory=self.device.type == "cuda",
        )

    def _objective(self) -> ContrastiveObjective:
        return ContrastiveObjective(
            self.model,
            augment=Augment(**self.recipe.augment.model_dump()),
            mean=self.start.contract.mean,
            std=self.start.contract.std,
            same_group=SameGroup(self.recipe.score.same_group),
            part=self.part,
            films_a_bag=self.bags.most,
            autocast=functools.partial(autocast, self.device, self.recipe.run.precision),
        )

    def _plan(self) -> Plan:
        optim = self.recipe.optim
        return Plan(
            num_steps=self.schedule.num_steps,
            warmup_steps=round(optim.warmup * self.schedule.num_steps),
            grad_clip=optim.grad_clip,
            seed=self.recipe.run.seed,
        )
