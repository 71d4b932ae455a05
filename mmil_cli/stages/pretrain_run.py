"""One pretrain run: its objects, made once, and what happens between its steps."""

import functools
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from mmil_cli.build import build_model, image_contract
from mmil_cli.config.load import dump
from mmil_cli.config.recipe import Recipe
from mmil_cli.core.batch_norm import across_processes
from mmil_cli.core.caching import take_batch_statistics
from mmil_cli.core.losses.pairing import SameGroup
from mmil_cli.data.batches import Batch, Collate, PairReader, Schedule
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.tokenizer import SentenceTokenizer
from mmil_cli.data.transforms import Augment
from mmil_cli.errors import MmilError, NotFinite
from mmil_cli.files import write_text
from mmil_cli.inference import Embedder
from mmil_cli.objective import ContrastiveObjective
from mmil_cli.runtime import autocast
from mmil_cli.stages.pretrain_data import (
    keep_tokenizer,
    kept_tokenizer,
    lots_of,
    make_tokenizer,
    validation_rows,
)
from mmil_cli.stages.pretrain_keep import CHECKPOINT, LOG, RECIPE, STATE, TOKENIZER, Keeper, PretrainResult
from mmil_cli.stages.pretrain_log import Journal, Progress, Watchers
from mmil_cli.stages.validation import refuse_metric, validate
from mmil_cli.training.contest import Contest
from mmil_cli.training.log import RunLog
from mmil_cli.training.loop import Plan, StepReport, run_steps
from mmil_cli.training.optim import Optimiser, make_optimiser, matrices_of
from mmil_cli.training.processes import Processes, outlive_the_group
from mmil_cli.training.sinks import open_sinks, refuse_missing
from mmil_cli.training.state import Resumed, RunIdentity, load_state
from mmil_cli.training.stopping import StopNow, StopSignals
from mmil_cli.weights import load_image_weights

__all__ = ["PretrainResult", "Progress", "Run", "Watchers"]


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
        self.num_lots = lots_of(schedule.batch_size, processes=processes.size, chunk=recipe.data.chunk)
        self.validation_rows = validation_rows(dataset, recipe)
        refuse_metric(recipe.run, dataset, self.validation_rows)
        refuse_missing(recipe.run.log_to if processes.is_first else ())
        # A tokenizer without a saved state may be of another recipe or dataset: what is resumed has both.
        self.resumes = (out / STATE).exists() and not anew
        self.tokenizer = processes.from_first(self._tokenizer)
        torch.manual_seed(recipe.run.seed)
        self.model = build_model(recipe, vocabulary_size=self.tokenizer.vocabulary_size)
        self.weights = load_image_weights(
            self.model.image_encoder, name=recipe.image.encoder, source=recipe.image.weights
        )
        if processes.size > 1:
            across_processes(self.model)
        self.model.to(self.device)
        self.model.image_encoder.to(memory_format=torch.channels_last)
        self.optimiser = self._optimiser()
        contract = image_contract(recipe.image, stored_side=dataset.info.side)
        self.embedder = Embedder(self.model, self.tokenizer, contract, self.device, unit=recipe.text.unit)
        self.contest = Contest(metric=recipe.run.metric, patience=recipe.run.patience)
        self.signals = StopSignals(hears_second=processes.size == 1)

    def go(self) -> PretrainResult:
        """Runs from the last saved step to the end."""
        resumed = load_state(
            self.out / STATE,
            model=self.model,
            optimiser=self.optimiser,
            identity=self.identity,
            from_first=self.processes.from_first,
        )
        self.step, self.contest.best, self.contest.since = resumed.step, resumed.best, resumed.since
        self.processes.share_weights(self.model)
        if self.processes.is_first:
            self._begin_files(resumed)
        self._say_how_it_begins()
        try:
            with self.signals:
                if resumed.is_validated or not self._validate_if_due():
                    self._train()
        except NotFinite as error:
            raise self._told(error) from error
        finally:
            if self.processes.is_first:
                self.journal.log.close()
        return PretrainResult(
            checkpoint=self.out / CHECKPOINT,
            num_steps=self.step,
            resumed_at=resumed.step,
            metrics=self.processes.from_first(lambda: self.keeper.end(self.step)),
            weights=self.weights,
        )

    def _train(self) -> None:
        run_steps(
            self._loader(self.step),
            model=self.model,
            optimiser=self.optimiser,
            objective=self._objective(),
            plan=self._plan(),
            first_step=self.step,
            device=self.device,
            after_step=self._after_step,
            sum_gradients=self.processes.sum_gradients,
        )

    def _say_how_it_begins(self) -> None:
        note = self.watchers.on_note
        if self.step:
            note(f"going on after step {self.step} of {self.schedule.num_steps}")
        elif self.weights:
            note(
                f"image encoder: {self.weights.num_loaded} tensors from {self.weights.source}, "
                f"{len(self.weights.unused)} of its later layers unused"
            )
        if self.num_lots > 1 and take_batch_statistics(self.model.image_encoder):
            note(
                f"data.chunk: films are encoded in {self.num_lots} lots, and batch norm takes its statistics "
                "over each of them; all else is as in one batch"
            )

    def _tokenizer(self) -> SentenceTokenizer:
        if self.resumes:
            return kept_tokenizer(self.out / TOKENIZER, self.recipe.text)
        return make_tokenizer(self.dataset, self.schedule.rows, self.recipe.text)

    def _begin_files(self, resumed: Resumed) -> None:
        if not self.resumes:
            keep_tokenizer(self.out / TOKENIZER, self.tokenizer, self.recipe.text)
        write_text(self.out / RECIPE, dump(self.recipe))
        run, plan = self.recipe.run, self._plan()
        sinks = open_sinks(
            run.log_to,
            self.out,
            first_step=self.step,
            recipe=self.identity.recipe,
            dataset_hash=self.identity.dataset_hash,
        )
        self.journal = Journal(
            RunLog(self.out / LOG, first_step=resumed.step, is_validated=resumed.is_validated, sinks=sinks),
            model=self.model,
            plan=plan,
            schedule=self.schedule,
            watchers=self.watchers,
            log_every=run.log_every,
            device=self.device,
        )
        self.keeper = Keeper(
            self.out,
            dataset=self.dataset,
            recipe=self.recipe,
            identity=self.identity,
            model=self.model,
            optimiser=self.optimiser,
            contract=self.embedder.contract,
            contest=self.contest,
            reached=self.step,
        )

    def _told(self, error: NotFinite) -> MmilError:
        return self.processes.from_first(lambda: self.keeper.tell_films(error, self.schedule))

    def _after_step(self, report: StepReport) -> bool:
        """The first process logs, validates and saves; whether the run is over, which all learn."""
        self.step, is_first = report.step, self.processes.is_first
        if is_first:
            self.journal.step(report)
        saves = is_first and self.keeper.state_is_due(self.step)
        stops, saves = self.processes.any_of(self.signals.wanted > 0, saves)
        if stops:
            if is_first:
                self.keeper.save_state(self.step, is_validated=not self._validation_is_due())
            self.processes.meet()
            raise self.signals.stopped(step=self.step, num_steps=self.schedule.num_steps)
        if self._validate_if_due() or self.step == self.schedule.num_steps:
            return True
        if saves:
            if is_first:
                self.keeper.save_state(self.step, is_validated=True)
            self.processes.meet()
        return False

    def _validation_is_due(self) -> bool:
        epoch, place = divmod(self.step, self.schedule.steps_per_epoch)
        is_last = self.step == self.schedule.num_steps
        return is_last or (place == 0 and epoch % self.recipe.run.validate_every == 0)

    def _validate_if_due(self) -> bool:
        """Validates and keeps the checkpoint where it is time; whether the patience of the run is used up."""
        return self._validation_is_due() and self.processes.from_first(self._validate)

    def _validate(self) -> bool:
        """In the first process: metrics, checkpoint, and whether the patience is used up."""
        try:
            with self.signals.at_once():
                metrics = validate(
                    self.embedder, self.dataset, self.validation_rows, batch_size=self.schedule.batch_size
                )
        except StopNow:
            self.keeper.save_state(self.step, is_validated=False)
            raise self.signals.stopped(step=self.step, num_steps=self.schedule.num_steps) from None
        if metrics:
            self.journal.validation(self.step, metrics)
        is_best = self.contest.enter(metrics) or self.contest.best is None  # none was defined yet
        if is_best or self.recipe.run.keep == "last":
            self.keeper.save_checkpoint(self.step, metrics)
        if self.contest.is_over:
            self.watchers.on_note(
                f"step {self.step}: no better {self.contest.metric} in {self.contest.since} validations "
                "(run.patience); the run ends"
            )
        return self.contest.is_over

    def _loader(self, first: int) -> Iterable[Batch]:
        data, run = self.recipe.data, self.recipe.run
        reader = PairReader(
            self.dataset,
            size=self.recipe.image.size,
            fit=self.recipe.image.fit,
            max_sentences=data.max_sentences,
            unit=self.recipe.text.unit,
            seed=run.seed,
            flip=self.recipe.augment.flip,
        )
        return DataLoader(
            reader,
            batch_sampler=self.schedule.from_step(first, self.part),
            collate_fn=Collate(self.tokenizer),
            num_workers=data.workers,
            worker_init_fn=outlive_the_group,
            pin_memory=self.device.type == "cuda",
        )

    def _objective(self) -> ContrastiveObjective:
        image = self.recipe.image
        return ContrastiveObjective(
            self.model,
            augment=Augment(**self.recipe.augment.model_dump(exclude={"flip"})),
            mean=image.mean,
            std=image.std,
            same_group=SameGroup(self.recipe.score.same_group),
            part=self.part,
            autocast=functools.partial(autocast, self.device, self.recipe.run.precision),
            num_lots=self.num_lots,
        )

    def _optimiser(self) -> Optimiser:
        optim, model = self.recipe.optim, self.model
        others = [
            parameter for name, parameter in model.named_parameters() if not name.startswith("text_encoder.")
        ]
        return make_optimiser(
            [(others, optim.lr), (model.text_encoder.parameters(), optim.text_lr or optim.lr)],
            weight_decay=optim.weight_decay,
            by_muon=matrices_of(model) if optim.optimiser == "muon" else (),
        )

    def _plan(self) -> Plan:
        optim = self.recipe.optim
        return Plan(
            num_steps=self.schedule.num_steps,
            warmup_steps=round(optim.warmup * self.schedule.num_steps),
            grad_clip=optim.grad_clip,
            seed=self.recipe.run.seed,
        )
