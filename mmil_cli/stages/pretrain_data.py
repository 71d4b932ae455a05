"""What a pretrain run reads: which rows make up its steps, and the tokenizer of its reports."""

import functools
from pathlib import Path

import numpy as np

from mmil_cli.build import build_tokenizer
from mmil_cli.checkpoint import open_checkpoint
from mmil_cli.config.recipe import Recipe, TextSection
from mmil_cli.data.batches import Schedule
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.data.studies import Bags, one_film_bags, study_bags
from mmil_cli.data.tokenizer import SentenceTokenizer, read_tokenizer
from mmil_cli.errors import UsageError
from mmil_cli.files import recover_folder, replace_folder

MOST_UNKNOWN = 0.5
SENTENCES_CHECKED = 2000


def plan_batches(dataset: StudyDataset, recipe: Recipe) -> Schedule:
    """Which training rows make up each step.

    Raises:
        UsageError: there are fewer films than a batch holds, or they have no reports.
    """
    dataset.require_reports()
    rows = training_bags(dataset, recipe).rows
    size = recipe.data.batch_size
    what = "films" if recipe.data.films == "pairs" else "studies"
    if len(rows) < size:
        raise UsageError(
            f"data.batch_size is {size}, but the train split of {dataset.folder} has {len(rows)} {what}"
            f"{' of the views ' + ', '.join(recipe.data.views) if recipe.data.views else ''}; "
            "lower it with --set data.batch_size=N"
        )
    return Schedule(rows=rows, batch_size=size, epochs=recipe.optim.epochs, seed=recipe.run.seed)


def lots_of(batch_size: int, *, processes: int, chunk: int, films_a_bag: int = 1) -> int:
    """How many lots the encoders take a batch in: the same number in all processes, each of a film at least.

    Args:
        batch_size: films of all processes, or bags of them.
        processes: that share them, to within one film.
        chunk: films of a lot; 0 for no limit.
        films_a_bag: films of a bag at most.
    """
    most, least = -(-batch_size // processes), batch_size // processes
    return min(-(-most * films_a_bag // chunk), least) if chunk else 1


def training_bags(dataset: StudyDataset, recipe: Recipe) -> Bags:
    """The films of the train split, each with its report, or those of a study together."""
    return _bags(dataset, dataset.indices("train"), recipe)


def validation_bags(dataset: StudyDataset, recipe: Recipe) -> Bags:
    """As in training, of the validate split; an even sample if there are many, none without the split."""
    if "validate" not in dataset.splits:
        return one_film_bags(np.empty(0, np.int64))
    return _bags(dataset, dataset.indices("validate"), recipe).thinned(recipe.run.validate_films)


def _bags(dataset: StudyDataset, rows: np.ndarray, recipe: Recipe) -> Bags:
    rows = _with_views(dataset, rows, recipe.data.views)
    if recipe.data.films == "pairs":
        return one_film_bags(rows)
    return study_bags(dataset, rows, limit=recipe.data.max_films)


def _with_views(dataset: StudyDataset, rows: np.ndarray, views: tuple[str, ...]) -> np.ndarray:
    if not views:
        return rows
    known = dataset.column("view")
    unknown = sorted(set(views) - set(known))
    if unknown:
        raise UsageError(
            f"data.views: {dataset.folder} has no view {', '.join(unknown)}; "
            f"it has: {', '.join(sorted(set(known)))}"
        )
    return rows[np.isin(known[rows], views)]


def kept_tokenizer(folder: Path, text: TextSection) -> SentenceTokenizer:
    """The tokenizer that a run to resume has kept in its folder."""
    recover_folder(folder)
    return SentenceTokenizer(read_tokenizer(folder), max_tokens=text.max_tokens)


def make_tokenizer(dataset: StudyDataset, rows: np.ndarray, recipe: Recipe) -> SentenceTokenizer:
    """The tokenizer of a new run: that of what it starts from, or one made for its training reports.

    Raises:
        UsageError: it would know too few of the words.
    """
    sentences = dataset.sentences(rows)
    start = recipe.run.start
    tokenizer = (
        kept_tokenizer(open_checkpoint(Path(start)).tokenizer, recipe.text)
        if start
        else build_tokenizer(recipe.text, sentences)
    )
    _refuse_unknown_words(tokenizer, sentences[:: max(1, len(sentences) // SENTENCES_CHECKED)])
    return tokenizer


def keep_tokenizer(folder: Path, tokenizer: SentenceTokenizer, recipe: Recipe) -> None:
    """Writes the tokenizer of a run into a folder, whole or not at all."""
    start = recipe.run.start
    source = str(open_checkpoint(Path(start)).tokenizer) if start else recipe.text.encoder
    is_small = recipe.text.encoder == "small"
    replace_folder(folder, functools.partial(_write_tokenizer, tokenizer, None if is_small else source))


def _write_tokenizer(tokenizer: SentenceTokenizer, source: str | None, folder: Path) -> None:
    """The tokenizer and, for a Hugging Face encoder, the configuration to build it again without weights."""
    tokenizer.save(folder)
    if source is not None:
        from mmil_cli.hub import save_configuration

        save_configuration(source, folder)


def _refuse_unknown_words(tokenizer: SentenceTokenizer, sentences: list[str]) -> None:
    share = tokenizer.unknown_share(sentences)
    if share > MOST_UNKNOWN:
        raise UsageError(
            f"the tokenizer knows only {1 - share:.0%} of the words of the training reports; "
            "give a vocabulary of their language (text.vocabulary), or leave it empty to learn one"
        )
