"""A folder of DICOM films with report files beside them: a table out of the file names, and on from there.

    .venv/bin/python examples/folder_of_dicoms.py --generate
    .venv/bin/python examples/folder_of_dicoms.py FOLDER --name "(?P<patient>[^_]+)_(?P<study>[^_]+)_.*"

A film called PATIENT_STUDY_NUMBER.dcm belongs to the report PATIENT_STUDY.txt in the same folder. Where yours
are named otherwise, give --name, a regular expression with the groups `patient` and `study`, or change
`find_films`. The table goes to `mmil preprocess`, which splits by patient and leaves out what it cannot use,
counted. With --generate the folder is filled with generated studies first (not patients).

About half a minute.
"""

import argparse
import csv
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from mmil_cli.cli.app import app
from mmil_cli.errors import MmilError

NAME = r"(?P<patient>[^_]+)_(?P<study>[^_]+)_.*"
PHRASES = ("left pleural effusion", "pneumothorax")


def main() -> None:
    options = parse_options()
    try:
        go_all_the_way(options)
    except MmilError as error:
        sys.exit(f"folder_of_dicoms: {error}")


def go_all_the_way(options: argparse.Namespace) -> None:
    """The folder into a table, a dataset, a model, and a query."""
    out = options.out
    if options.generate:
        fill(options.folder, aside=out / "studies", studies=options.studies)
    films = list(find_films(options.folder, options.name))
    if not films:
        sys.exit(f"folder_of_dicoms: no film of {options.folder} is named as --name says: {options.name}")
    table = write_table(out / "table.csv", films)
    recipe = [part for override in options.set for part in ("--set", override)]
    run = out / "run"
    mmil("preprocess", table, "--root", options.folder, "--out", out / "dataset", "--overwrite")
    mmil("pretrain", out / "dataset", "--recipe", "laptop", *recipe, "--out", run, "--overwrite")
    mmil("retrieve", out / "dataset", "--text", PHRASES[0], "--top", 3, "--checkpoint", run)
    film = options.folder / films[0]["image"]
    mmil("ground", film, *PHRASES, "--checkpoint", run, "--out", out / "results")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", help="films and reports (default with --generate: OUT/incoming)"
    )
    parser.add_argument("--generate", action="store_true", help="fill the folder with generated studies")
    parser.add_argument("--name", type=re.compile, default=NAME, help="how film names tell patient and study")
    parser.add_argument("--studies", type=int, default=120, help="studies to generate (default: 120)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/examples/folder_of_dicoms"), help="folder to write"
    )
    parser.add_argument(
        "--set", action="append", default=[], help="override of the recipe, section.key=value"
    )
    options = parser.parse_args()
    if options.folder is None and not options.generate:
        parser.error("give the folder of your films, or --generate")
    if options.folder is None:
        options.folder = options.out / "incoming"
    options.set = ["data.batch_size=32", "optim.epochs=10", *options.set]
    return options


def find_films(folder: Path, name: re.Pattern[str]) -> Iterator[dict[str, str]]:
    """One row a film, its paths told from the folder; films with other names are counted and said."""
    others = 0
    for film in sorted(folder.rglob("*.dcm")):
        match = name.fullmatch(film.stem)
        if match is None:
            others += 1
            continue
        report = film.with_name(f"{match['patient']}_{match['study']}.txt")
        yield {
            "image": film.relative_to(folder).as_posix(),
            "report_path": report.relative_to(folder).as_posix(),
            "patient_id": match["patient"],
            "study_id": f"{match['patient']}_{match['study']}",
        }
    if others:
        print(f"{others} films are not named as --name says and are left out", file=sys.stderr)


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    """The rows as a CSV for `mmil preprocess`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def mmil(*arguments: object) -> None:
    """Runs a command as a shell would, and shows it first."""
    words = [str(argument) for argument in arguments]
    print("\n$ mmil", shlex.join(words), flush=True)
    app(words, standalone_mode=False)


def fill(folder: Path, *, aside: Path, studies: int) -> None:
    """Generated films and reports, named as a clinical archive might export them."""
    mmil("phantom", "--studies", studies, "--side", 256, "--out", aside)
    folder.mkdir(parents=True, exist_ok=True)
    for study in sorted(path for path in aside.glob("files/*/*/s*") if path.is_dir()):
        stem = f"{study.parent.name}_{study.name}"
        shutil.copy(study.with_suffix(".txt"), folder / f"{stem}.txt")
        for number, film in enumerate(sorted(study.glob("*.dcm")), start=1):
            shutil.copy(film, folder / f"{stem}_{number}.dcm")


if __name__ == "__main__":
    main()
