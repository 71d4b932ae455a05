"""A table of one's own films and reports: from a CSV through all five commands.

    .venv/bin/python examples/own_table.py
    .venv/bin/python examples/own_table.py --table films.csv --column report=note --column patient_id=person

Without --table it makes one: generated chest films as PNG and a CSV that names its columns as a hospital
might, not as mmil does. Each command is shown before it runs, so that it can be copied. About half a minute.
Generated studies, not patients; a model of so few films shows the way and no skill.
"""

import argparse
import csv
import gzip
import shlex
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmil_cli.cli.app import app
from mmil_cli.data.images import read_film
from mmil_cli.errors import MmilError

COLUMNS = ("image=file", "report=note", "patient_id=person")
FINDINGS = ("Pleural Effusion", "Pneumothorax")
PHRASES = ("pleural effusion", "pneumothorax")


def main() -> None:
    options = parse_options()
    try:
        go_all_the_way(options)
    except MmilError as error:
        sys.exit(f"own_table: {error}")


def go_all_the_way(options: argparse.Namespace) -> None:
    """The table into a dataset, a model of it, and what the model knows."""
    out = options.out
    table, columns = options.table, options.column
    if table is None:
        table, columns = make_table(out, studies=options.studies), COLUMNS
    dataset, run, results = out / "dataset", out / "run", out / "results"
    renamed = [part for column in columns for part in ("--column", column)]
    recipe = [part for override in options.set for part in ("--set", override)]
    split = ("--checkpoint", run, "--split", options.split)
    mmil("preprocess", table, *renamed, "--out", dataset, "--overwrite")
    mmil("pretrain", dataset, "--recipe", "laptop", *recipe, "--out", run, "--overwrite")
    mmil("probe", dataset, *split, "--out", results)
    mmil("retrieve", dataset, *split, "--out", results)
    mmil("ground", first_film(table, columns), *PHRASES, "--checkpoint", run, "--out", results)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, help="your own CSV; one is generated if not given")
    parser.add_argument(
        "--column", action="append", default=[], help="FIELD=NAME, for your own CSV; repeatable"
    )
    parser.add_argument("--split", default="test", help="split to evaluate on (default: test)")
    parser.add_argument("--studies", type=int, default=120, help="studies to generate (default: 120)")
    parser.add_argument("--out", type=Path, default=Path("runs/examples/own_table"), help="folder to write")
    parser.add_argument(
        "--set", action="append", default=[], help="override of the recipe, section.key=value"
    )
    options = parser.parse_args()
    options.set = ["data.batch_size=32", "optim.epochs=10", *options.set]
    return options


def mmil(*arguments: object) -> None:
    """Runs a command as a shell would, and shows it first."""
    words = [str(argument) for argument in arguments]
    print("\n$ mmil", shlex.join(words), flush=True)
    app(words, standalone_mode=False)


def make_table(out: Path, *, studies: int) -> Path:
    """Films as PNG and a CSV of one row a film, out of generated studies."""
    mmil("phantom", "--studies", studies, "--side", 256, "--out", out / "studies")
    films = out / "films"
    films.mkdir(exist_ok=True)
    splits, labels = read_truth(out / "studies")
    rows = []
    for film in sorted((out / "studies").glob("files/*/*/*/*.dcm")):
        study, person = film.parent.name, film.parent.parent.name
        save_png(film, films / f"{film.stem}.png")
        findings = {finding: labels[study.removeprefix("s")][finding] for finding in FINDINGS}
        note = film.parent.with_suffix(".txt").read_text(encoding="utf-8")
        rows.append(
            {
                "file": f"films/{film.stem}.png",
                "note": note,
                "person": person,
                "split": splits[film.stem],
                **findings,
            }
        )
    return write_csv(out / "films.csv", rows)


def read_truth(studies: Path) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Split of each image and labels of each study, from the tables beside the generated films."""
    tables = {}
    for kind in ("split", "chexpert"):
        with gzip.open(studies / f"mimic-cxr-2.0.0-{kind}.csv.gz", "rt", encoding="utf-8") as handle:
            tables[kind] = list(csv.DictReader(handle))
    splits = {row["dicom_id"]: row["split"] for row in tables["split"]}
    return splits, {row["study_id"]: row for row in tables["chexpert"]}


def save_png(film: Path, png: Path) -> None:
    """A film as an 8-bit picture, displayed as its DICOM header asks."""
    pixels = read_film(film).pixels
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(png)


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    """The rows as a table."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def first_film(table: Path, columns: tuple[str, ...] | list[str]) -> Path:
    """The film of the first row, to look for phrases in."""
    name = dict(column.split("=", 1) for column in columns).get("image", "image")
    with table.open(newline="", encoding="utf-8-sig") as handle:
        return table.parent / next(csv.DictReader(handle))[name]


if __name__ == "__main__":
    main()
