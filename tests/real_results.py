"""Probe, retrieve and ground on real films, beside their floors, in tests/results/real.json.

From the repository root, with the real data beside the checkout and a run of `mmil demo`:

    python tests/real_results.py ../shared/data demo/run WORK
    python tests/readme_results.py

Two models: one trained on generated studies alone, and one trained here on the training films of covid_cxr.
Two sets of films: those of covid_cxr that have a radiographic note, and those of nih_cxr14 with sentences of
other patients that name the same findings (label-matched, never paired).
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "results" / "real.json"
SIDE = "192"  # of the stored films, as the demo has it
NOTES_LABELS = "covid19,viral,bacterial,auto_opacity,auto_consolidation"
NIH_FINDINGS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Effusion,Emphysema,Fibrosis,Infiltration,Mass,Nodule,"
    "Pleural_Thickening,Pneumothorax"  # not pneumonia, which the view and the source tell alone
)
FLOORS = ("random weights", "prior", "centre", "chance")


class Session:
    """Runs commands in a folder, and remembers them."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.commands: list[str] = []

    def mmil(self, *arguments: object) -> None:
        """One command, told with the names of folders alone."""
        words = [str(argument) for argument in arguments]
        shown = [Path(word).name if Path(word).is_absolute() else word for word in words]
        self.commands.append(shlex.join(["mmil", *shown]))
        print(self.commands[-1], flush=True)  # noqa: T201
        subprocess.run([sys.executable, "-m", "mmil_cli", *words], check=True, cwd=self.work)


def main(shared: Path, demo: Path, work: Path) -> None:
    """Everything, from the tables to the record."""
    work.mkdir(parents=True, exist_ok=True)
    session = Session(work)
    notes, nih = shared / "covid_cxr", shared / "nih_cxr14"
    session.mmil("preprocess", notes / "pairs.csv", "--column", "report=note_radiographic", "--column",
                 "patient_id=group", "--labels", NOTES_LABELS, "--side", SIDE, "--out", "notes")  # fmt: skip
    table = work / "label_matched.csv"
    subprocess.run([sys.executable, str(shared / "make_label_matched.py"), str(table)], check=True)
    session.mmil("preprocess", table, "--side", SIDE, "--out", "matched")
    session.mmil(
        "pretrain",
        "notes",
        "--recipe",
        "demo",
        "--set",
        "data.views=[]",
        "--set",
        "optim.epochs=60",
        "--out",
        "trained_on_notes",
    )
    rows = []
    for model, run in {"generated studies": demo, "training films of notes": "trained_on_notes"}.items():
        place = f"results_{'generated' if run == demo else 'notes'}"
        for data, options in {
            "notes": {"split": "validate", "findings": NOTES_LABELS, "boxes": notes / "boxes.csv",
                      "boxes_split": "validate", "methods": "linear,initial", "prompts": ()},
            "matched": {"split": "validate", "findings": NIH_FINDINGS, "boxes": nih / "boxes.csv",
                        "boxes_split": "dev_boxes", "methods": "linear,initial,zero-shot",
                        "prompts": ("--prompts", "nih")},
        }.items():  # fmt: skip
            out = f"{place}/{data}"
            where = (data, "--checkpoint", run, "--split", options["split"], "--out", out)
            session.mmil("probe", *where, "--method", options["methods"], "--findings", options["findings"],
                         *options["prompts"])  # fmt: skip
            session.mmil("retrieve", *where)
            session.mmil("ground", "--phrases", options["boxes"], "--data", data, "--split",
                         options["boxes_split"], "--checkpoint", run, "--out", out)  # fmt: skip
            rows += [{"trained_on": model, "films": data, **row} for row in figures(work / out)]
    record = json.loads((work / "results_notes/notes/ground.json").read_text())
    OUT.write_text(json.dumps({"rows": rows, "commands": session.commands, "commit": record["commit"],
                               "versions": record["versions"]}, indent=2) + "\n")  # fmt: skip


def figures(folder: Path) -> list[dict[str, Any]]:
    """The main figures of a folder of results, each with its floors."""
    return [
        *_probe(_read(folder, "probe")),
        *_retrieve(_read(folder, "retrieve")),
        *_ground(_read(folder, "ground")),
    ]


def _probe(record: dict[str, Any]) -> list[dict[str, Any]]:
    initial = record["methods"]["initial"]["mean"]
    return [
        {
            "task": f"{method}, {part['mean']['num_findings']} findings, {record['num_films']} films",
            "metric": "mean AUROC",
            "measured": part["mean"]["auroc"],
            "floors": {"random weights": initial["auroc"]["value"], "chance": 0.5}
            if method == "linear"
            else {"chance": 0.5},
        }
        for method, part in record["methods"].items()
        if method != "initial"
    ]


def _retrieve(record: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for direction in ("image_to_text", "text_to_image"):
        table = record[direction]
        found = next(row for row in table["rows"] if row["name"] == "R@5")
        words = direction.replace("_to_", " to ").replace("image", "film").replace("text", "report")
        rows.append({"task": f"{words}, {table['num_gallery']} in the gallery", "metric": "R@5",
                     "measured": found["measured"], "floors": {"chance": found["chance"]}})  # fmt: skip
    return rows


def _ground(record: dict[str, Any]) -> list[dict[str, Any]]:
    systems = record["systems"]
    return [
        {
            "task": f"grounding, {record['num_phrases']} phrases in {record['num_films']} films",
            "metric": name,
            "measured": systems["model"]["micro"][metric],
            "floors": {floor: systems[floor]["micro"][metric]["value"] for floor in FLOORS},
        }
        for metric, name in {
            "pointing": "pointing game",
            "cnr_signed": "signed CNR",
            "pixel_auroc": "pixel AUROC",
        }.items()
    ]


def _read(folder: Path, task: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{task}.json").read_text())
    return content


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:4]))
