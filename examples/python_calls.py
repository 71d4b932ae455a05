"""The Python calls under the commands: each command is a function `run`, and a checkpoint is a model to use.

    .venv/bin/python examples/python_calls.py

Generates studies (not patients), preprocesses, pretrains, measures retrieval; then opens the checkpoint and
asks it by hand: films and sentences as features, the score of every film with every sentence, and similarity
maps. About half a minute.
"""

import argparse
import sys
from pathlib import Path

from mmil_cli.build import load_checkpoint
from mmil_cli.config.load import load_recipe
from mmil_cli.data.dataset import StudyDataset
from mmil_cli.errors import MmilError
from mmil_cli.inference import Embedder
from mmil_cli.stages import phantom, preprocess, pretrain, retrieve

SENTENCES = ("There is a left pleural effusion.", "No pleural effusion.", "The heart is enlarged.")


def main() -> None:
    options = parse_options()
    try:
        checkpoint = make_checkpoint(options)
        use_checkpoint(checkpoint, options.out / "dataset")
    except MmilError as error:  # every fault that a user can mend
        sys.exit(f"python_calls: {error}")


def make_checkpoint(options: argparse.Namespace) -> Path:
    """mmil phantom, preprocess, pretrain and retrieve; each takes folders and returns what it made."""
    out = options.out
    phantom.run(out / "studies", studies=options.studies, side=256, workers=1)
    data = preprocess.run(out / "studies", out / "dataset", side=256, overwrite=True)
    print("films of each split:", {name: counts.images for name, counts in data.info.counts.items()})

    recipe = load_recipe("laptop", overrides=options.set)
    trained = pretrain.run(data.folder, out / "run", recipe=recipe, overwrite=True)
    print(f"trained {trained.num_steps} steps; validation:", rounded(trained.metrics))

    found = retrieve.run(data.folder, checkpoint=trained.checkpoint, out=out / "results")
    for row in found.text_to_image.rows:
        print(f"reports to films, {row.name}: {row.measured.value:.2f} (chance {row.chance:.2f})")
    return trained.checkpoint


def use_checkpoint(checkpoint: Path, data: Path) -> None:
    """What the commands do with a model, step by step."""
    embedder = load_checkpoint(checkpoint, device="cpu").embedder
    dataset = StudyDataset.open(data)
    rows = dataset.indices("test")[:4]

    films = embedder.films([embedder.fit(dataset.pixels(int(row))) for row in rows])
    print(
        "regions of each film [B, N, D]:",
        tuple(films.regions.features.shape),
        "on a grid",
        films.regions.grid,
    )
    print("features for a probe [B, C]:", tuple(films.pooled.shape))

    sentences = embedder.sentences(SENTENCES)
    print("sentences [U, D]:", tuple(sentences.features.shape))

    reports = embedder.reports([[sentence] for sentence in SENTENCES])
    logits = embedder.logits(films.regions, reports)
    for row, scores in zip(rows, logits.tolist(), strict=True):
        print(dataset.row(int(row)).image_id, *(f"{score:.2f}" for score in scores))

    maps = embedder.maps(films.regions, sentences)
    print("similarity maps [B, U, rows, columns], NaN where there is no film:", tuple(maps.shape))
    show_map(embedder, maps[0, 0].tolist())


def show_map(embedder: Embedder, values: list[list[float]]) -> None:
    """One map as digits, 0 where it is lowest and 9 where it is highest."""
    seen = [value for line in values for value in line if value == value]
    low, step = min(seen), (max(seen) - min(seen)) / 9 or 1.0
    print(f"{SENTENCES[0]!r} in the first film, {embedder.contract.size} pixels a side:")
    for line in values:
        print(" ".join(f"{(value - low) / step:.0f}" if value == value else "." for value in line))


def rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in metrics.items()}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=120, help="studies to generate (default: 120)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/examples/python_calls"), help="folder to write"
    )
    parser.add_argument(
        "--set", action="append", default=[], help="override of the recipe, section.key=value"
    )
    options = parser.parse_args()
    options.set = ["data.batch_size=32", "optim.epochs=10", *options.set]
    return options


if __name__ == "__main__":
    main()
