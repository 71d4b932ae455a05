"""One pretrain run: its objects, made once, and what happens between its steps."""

import functools
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from torch.utils.data import DataLoader

from mmil_cli.config.load import dump
from mmil_cli.config.recipe import Recipe
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
    training_bags,
    validation_bags,
)
from mmil_cli.stages.pretrain_keep import CHECKPOINT, LOG, RECIPE, STATE, TOKENIZER, Keeper, PretrainResult
from mmil_cli.stages.pretrain_log import Journal, Progress, Watchers, tower_gradients
from mmil_cli.stages.pretrain_model import frozen_parts, new_model, optimiser_of
from mmil_cli.stages.pretrain_shares import place_model, whole_in_first
from mmil_cli.stages.validation import refuse_metric, validate
from mmil_cli.training.contest import Contest
from mmil_cli.training.log import RunLog
from mmil_cli.training.loop import Plan, StepReport, run_steps
from mmil_cli.training.processes import Processes, outlive_the_group
from mmil_cli.training.sinks import open_sinks, refuse_missing
from mmil_cli.training.state import Resumed, RunIdentity, load_state
from mmil_cli.training.stopping import StopNow, StopSignals

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
        self.bags, self.validation_bags = training_bags(dataset, recipe), validation_bags(dataset, recipe)
        self.num_lots = lots_of(
            schedule.batch_size,
            processes=processes.size,
            chunk=recipe.data.chunk,
            films_a_bag=self.bags.most,
        )
        refuse_metric(recipe.run, dataset, self.validation_bags.all_films())
        refuse_missing(recipe.run.log_to if processes.is_first else ())
        # A tokenizer without a saved state may be of another recipe or dataset: what is resumed has both.
        self.resumes = (out / STATE).exists() and not anew
        self.tokenizer = processes.from_first(self._tokenizer)
        self.start = new_model(recipe, dataset, self.tokenizer, films=schedule.rows)
        self.model = self.start.model
        place_model(self.model, processes, shard=recipe.run.shard)
        self.optimiser = optimiser_of(self.model, recipe.optim)
        self.frozen = frozen_parts(self.model, recipe, num_steps=schedule.num_steps)
        self.embedder = Embedder(
            self.model, self.tokenizer, self.start.contract, self.device, unit=recipe.text.unit
        )
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
        self._freeze()
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
            weights=self.start.weights,
        )

    def _whole(self) -> AbstractContextManager[None]:
        """While it lasts the first process can save and run the model alone, also where it lies in shares."""
        keeper = self.keeper if self.processes.is_first else None
        return whole_in_first(self.model, self.optimiser, keeper, shard=self.recipe.run.shard)

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

    def _freeze(self) -> None:
        """Lets learn what is to learn in the next step."""
        for part in self.frozen:
            part.set(self.step)
        self.model.train()

    def _say_how_it_begins(self) -> None:
        note = self.watchers.on_note
        if self.step:
            note(f"going on after step {self.step} of {self.schedule.num_steps}")
        for text in self.start.notes if not self.step else ():
            note(text)
        if self.num_lots > 1 and take_batch_statistics(self.model.image_encoder):
            note(
                f"data.chunk: films are encoded in {self.num_lots} lots, and batch norm takes its statistics "
                "over each of them; all else is as in one batch"
            )

    def _tokenizer(self) -> SentenceTokenizer:
        if self.resumes:
            return kept_tokenizer(self.out / TOKENIZER, self.recipe.text)
        return make_tokenizer(self.dataset, self.schedule.rows, self.recipe)

    def _begin_files(self, resumed: Resumed) -> None:
        if not self.resumes:
            keep_tokenizer(self.out / TOKENIZER, self.tokenizer, self.recipe)
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
            films_a_step=self.schedule.batch_size * self.bags.num_films / len(self.bags.rows),
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
            start=self.start,
            contest=self.contest,
            reached=self.step,
        )

    def _told(self, error: NotFinite) -> MmilError:
        with self._whole():
            return self.processes.from_first(lambda: self.keeper.tell_films(error, self.schedule))

    def _after_step(self, report: StepReport) -> bool:
        """The first process logs, validates and saves; whether the run is over, which all learn."""
        self.step, is_first = report.step, self.processes.is_first
        norms = tower_gradients(self.model, clipped=report.clipped) if self.recipe.run.shard else None
        if is_first:
            self.journal.step(report, norms)
        self._freeze()
        saves = is_first and self.keeper.state_is_due(self.step)
        stops, saves = self.processes.any_of(self.signals.wanted > 0, saves)
        if stops:
            self._save_state(is_validated=not self._validation_is_due())
            raise self.signals.stopped(step=self.step, num_steps=self.schedule.num_steps)
        if self._validate_if_due() or self.step == self.schedule.num_steps:
            return True
        if saves:
            self._save_state(is_validated=True)
        return False

    def _save_state(self, *, is_validated: bool) -> None:
        with self._whole():
            self.processes.from_first(lambda: self.keeper.save_state(self.step, is_validated=is_validated))

    def _validation_is_due(self) -> bool:
        epoch, place = divmod(self.step, self.schedule.steps_per_epoch)
        is_last = self.step == self.schedule.num_steps
        return is_last or (place == 0 and epoch % self.recipe.run.validate_every == 0)

    def _validate_if_due(self) -> bool:
        """Validates and keeps the checkpoint where it is time; whether the patience of the run is used up."""
        if not self._validation_is_due():
            return False
        with self._whole():
            return self.processes.from_first(self._validate)

    def _validate(self) -> bool:
        """In the first process: metrics, checkpoint, and whether the patience is used up."""
        try:
            with self.signals.at_once():
                metrics = validate(
                    self.embedder, self.dataset, self.validation_bags, batch_size=self.schedule.batch_size
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
            bags=self.bags,
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
        return ContrastiveObjective(
            self.model,
            augment=Augment(**self.recipe.augment.model_dump(exclude={"flip"})),
            mean=self.start.contract.mean,
            std=self.start.contract.std,
            same_group=SameGroup(self.recipe.score.same_group),
            part=self.part,
            films_a_bag=self.bags.most,
            autocast=functools.partial(autocast, self.device, self.recipe.run.precision),
            num_lots=self.num_lots,
        )

    def _plan(self) -> Plan:
        optim = self.recipe.optim
        return Plan(
            num_steps=self.schedule.num_steps,
            warmup_steps=round(optim.warmup * self.schedule.num_steps),
            grad_clip=optim.grad_clip,
            seed=self.recipe.run.seed,
        )
