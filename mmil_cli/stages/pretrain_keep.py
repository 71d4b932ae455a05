"""What a pretrain run leaves in its folder: the state to go on from, and the checkpoint to use."""

import time
from dataclasses import dataclass
from pathlib import Path

from mmil_cli.checkpoint import Card, mark_ended, open_checkpoint, save_checkpoint
from mmil_cli.config.load import dump
from mmil_cli.config.recipe import Recipe
from mmil_cli.data.batches import Schedule
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import MmilError, NotFinite
from mmil_cli.files import remove, write_json
from mmil_cli.runtime import commit, versions
from mmil_cli.stages.pretrain_model import NewModel
from mmil_cli.training.contest import Contest
from mmil_cli.training.sharding import HasState
from mmil_cli.training.state import Resumed, RunIdentity, save_state
from mmil_cli.weights import LoadedWeights

CHECKPOINT, LOG, STATE, RECIPE, TOKENIZER = "checkpoint", "log.jsonl", "state.pt", "recipe.yaml", "tokenizer"
NOT_FINITE = "not_finite.json"
FILMS_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class PretrainResult:
    """What a run came to.

    Attributes:
        checkpoint: the checkpoint folder.
        num_steps: steps of the whole run, fewer than planned where its patience ended.
        resumed_at: steps that an earlier, interrupted call had done; equal to num_steps when all was done.
        metrics: of the validation of the checkpoint.
        weights: what the image encoder started from, if anything.
    """

    checkpoint: Path
    num_steps: int
    resumed_at: int
    metrics: dict[str, float]
    weights: LoadedWeights | None


class Keeper:
    """Writes states and checkpoints, each whole or not at all; of several processes the first has it.

    Args:
        out: run folder.
        dataset: trained on.
        recipe: of the run.
        identity: what must be the same to go on.
        model: to save.
        optimiser: to save.
        start: how films are prepared for the model, and what it started from.
        contest: of the validations.
        reached: where the run goes on.
    """

    def __init__(
        self,
        out: Path,
        *,
        dataset: StudyDataset,
        recipe: Recipe,
        identity: RunIdentity,
        model: HasState,
        optimiser: HasState,
        start: NewModel,
        contest: Contest,
        reached: int,
    ) -> None:
        self.out, self.dataset, self.recipe, self.identity = out, dataset, recipe, identity
        self.model, self.optimiser, self.start, self.contest = model, optimiser, start, contest
        self.saved_at, self.saved_when = reached, time.monotonic()

    def state_is_due(self, step: int) -> bool:
        """Whether steps or minutes ask for a saved state."""
        run, minutes = self.recipe.run, (time.monotonic() - self.saved_when) / 60
        return step % run.save_every == 0 or 0 < run.save_minutes <= minutes

    def save_state(self, step: int, *, is_validated: bool) -> None:
        """Saves the state after a step, if it is not saved.

        Args:
            step: steps done.
            is_validated: whether nothing is left to be done after it.
        """
        if self.saved_at == step:
            return
        reached = Resumed(
            step=step, is_validated=is_validated, best=self.contest.best, since=self.contest.since
        )
        save_state(
            self.out / STATE,
            model=self.model,
            optimiser=self.optimiser,
            reached=reached,
            identity=self.identity,
        )
        self.saved_at, self.saved_when = step, time.monotonic()

    def save_checkpoint(self, step: int, metrics: dict[str, float]) -> None:
        """Saves the model for use, with the metrics of its validation."""
        info = self.dataset.info
        card = Card(
            stage="pretrain",
            step=step,
            seed=self.recipe.run.seed,
            metrics=metrics,
            dataset_hash=info.content_hash,
            dataset_options=dict(info.options),
            label_names=info.label_names,
            image={**vars(self.start.contract)},
            versions=versions(),
            commit=commit(),
            parent=self.start.parent,
            image_network=self.start.image_network,
        )
        save_checkpoint(
            self.out / CHECKPOINT,
            weights=self.model.state_dict(),
            recipe=dump(self.recipe),
            card=card,
            tokenizer=self.out / TOKENIZER,
        )

    def end(self, step: int) -> dict[str, float]:
        """Marks the run as complete after a step; the metrics of the checkpoint that stays."""
        mark_ended(self.out / CHECKPOINT, step=step)
        remove(self.out / STATE)
        return open_checkpoint(self.out).card.metrics

    def tell_films(self, error: NotFinite, schedule: Schedule) -> MmilError:
        """The error with the films of its step, which are written down, and the state before it saved."""
        keys = next(iter(schedule.from_step(error.step - 1)))
        films = [self.dataset.row(row).image_id for _, row in keys]
        self.save_state(error.step - 1, is_validated=True)
        write_json(self.out / NOT_FINITE, {"step": error.step, "what": str(error), "image_ids": films})
        named = ", ".join(films[:FILMS_NAMED])
        more = f" and {len(films) - FILMS_NAMED} more" if len(films) > FILMS_NAMED else ""
        return MmilError(
            f"{error}, of the films {named}{more} ({self.out / NOT_FINITE} lists them); the state before it "
            "is saved; look at these films, or lower optim.lr or set run.precision=fp32, with another --out"
        )
