"""The Python calls under the commands: each command is a function `run`, and a checkpoint is a model to use.

    .venv/bin/python examples/python_calls.py

Generates studies (not patients), preprocesses, pretrains, measures retrieval; then opens the checkpoint and
asks it: films and texts as vectors, the score of every film with every text, and where in a film a phrase is
found. About half a minute.
"""

import argparse
import sys
from pathlib import Path

import mmil_cli
from mmil_cli.config.load import load_recipe
from mmil_cli.errors import MmilError
from mmil_cli.stages import phantom, preprocess, pretrain, retrieve

TEXTS = ("There is a left pleural effusion.", "No pleural effusion.", "The heart is enlarged.")


def main() -> None:
    options = parse_options()
    try:
        checkpoint = make_checkpoint(options)
        use_checkpoint(checkpoint, options.out / "studies")
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


def use_checkpoint(checkpoint: Path, studies: Path) -> None:
    """A trained model in a few lines: films are files (DICOM, PNG, JPEG) or arrays, results NumPy."""
    model = mmil_cli.load(checkpoint, device="cpu")
    films = sorted(studies.glob("files/*/*/*/*.dcm"))[:4]

    images = model.embed_images(films)
    print("features for a probe [B, C]:", images.pooled.shape)
    print("one vector a film [B, D]:", images.embedding.shape)
    print("regions of each film [B, N, D]:", images.regions.shape, "on a grid", images.grid)

    texts = model.embed_texts(TEXTS)
    print("one vector a text [R, D]:", texts.embedding.shape)

    for film, scores in zip(films, model.score(films, TEXTS), strict=True):
        print(film.name, *(f"{score:.2f}" for score in scores))

    (finding,) = model.ground(films[0], TEXTS[:1])
    print("map of a phrase over the pixels of the film [H, W]:", finding.values.shape)
    print("its peak:", finding.peak, "its boxes:", [found.box for found in finding.boxes])


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
