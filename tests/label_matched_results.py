"""What helps on real films with real sentences matched by label, in tests/results/label_matched.json.

From the repository root, with the real data beside the checkout:

    python tests/label_matched_results.py ../shared/data WORK
    python tests/readme_results.py

Trains on the train split of the label-matched table, classifies the validate split, and grounds "There is
airspace opacity." in RSNA's boxes on the dev_boxes films. A run that is done is not done again.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from real_results import Session

OUT = Path(__file__).parent / "results" / "label_matched.json"
FINDINGS = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Effusion,Emphysema,Fibrosis,Infiltration,Mass,Nodule,"
    "Pleural_Thickening,Pneumonia"  # all but hernia and pneumothorax, of which three films are kept back
)
PHRASE = "There is airspace opacity."
WEIGHTS = "mobilenet_v2_imagenet.safetensors"
ENCODER = ("image.encoder=mobilenet_v2", "image.mean=0.5", "image.std=0.5", "data.workers=0")
STRONG = ("augment.rotate=15", "augment.crop=0.15", "augment.erase=0.45", "augment.brightness=0.3",
          "augment.contrast=0.4")  # fmt: skip
RUNS: dict[str, tuple[str, ...]] = {
    "lse+nl, 7 x 7 regions": ("image.layer=", "image.size=224", "optim.epochs=15", "score.temperature=0.07"),
    "lse+nl, 14 x 14 regions": (
        "image.layer=features.13",
        "image.size=224",
        "optim.epochs=15",
        "score.temperature=0.07",
    ),
    "lse+nl, 14 x 14, temperature 0.2": (
        "image.layer=features.13",
        "image.size=224",
        "optim.epochs=10",
        "score.temperature=0.2",
    ),
    **{
        f"{score}, 160 px, 10 x 10{what}": (
            "image.layer=features.13",
            "image.size=160",
            "optim.epochs=8",
            f"score.expression={score}",
            *options,
        )
        for score, what, options in (
            ("lse+nl", "", ("score.temperature=0.07",)),
            ("lse+nl", ", stronger augmentation", ("score.temperature=0.07", *STRONG)),
            ("lse+nl", ", a third of the rate", ("score.temperature=0.07", "optim.lr=1e-4")),
            ("lse+nl", ", temperature 0.2", ("score.temperature=0.2",)),
            ("lse+nl", ", temperature 0.4", ("score.temperature=0.4",)),
            ("clip", ", temperature 0.2", ("score.temperature=0.2",)),
        )
    },
}


def main(shared: Path, work: Path) -> None:
    """Everything, from the table to the record."""
    work.mkdir(parents=True, exist_ok=True)
    session = Session(work)
    table, boxes = work / "label_matched.csv", work / "rsna.csv"
    subprocess.run([sys.executable, str(shared / "make_label_matched.py"), str(table)], check=True)
    write_phrases(shared / "nih_cxr14", boxes)
    session.mmil("preprocess", table, "--side", "256", "--out", "matched")
    rows = [one(session, shared, name, options) for name, options in RUNS.items()]
    record = json.loads((work / "results" / "0" / "ground.json").read_text())
    OUT.write_text(json.dumps({"rows": rows, "commands": session.commands, "commit": record["commit"],
                               "versions": record["versions"]}, indent=2) + "\n")  # fmt: skip


def one(session: Session, shared: Path, name: str, options: tuple[str, ...]) -> dict[str, Any]:
    """A run, and its figures."""
    number = list(RUNS).index(name)
    run, out = f"runs/{number}", f"results/{number}"
    if not (session.work / run / "checkpoint").exists():
        given = (*ENCODER, f"image.weights={shared / 'weights' / WEIGHTS}", *options)
        overrides = [word for option in given for word in ("--set", option)]
        session.mmil("pretrain", "matched", "--recipe", "pretrained", *overrides, "--out", run)
    if not (session.work / out / "ground.json").exists():
        where = ("--checkpoint", run, "--out", out)
        session.mmil("probe", "matched", *where, "--split", "validate", "--method", "linear,zero-shot",
                     "--findings", FINDINGS, "--prompts", "nih")  # fmt: skip
        session.mmil("ground", *where, "--phrases", "rsna.csv", "--data", "matched", "--split", "dev_boxes")
    probe, ground = (
        json.loads((session.work / out / f"{task}.json").read_text()) for task in ("probe", "ground")
    )
    systems = {key: ground["systems"][key]["micro"] for key in ("model", "centre")}
    return {
        "name": name,
        "options": options,
        "num_phrases": ground["num_phrases"],
        **{method: part["mean"]["auroc"] for method, part in probe["methods"].items()},
        **{metric: systems["model"][metric] for metric in ("pointing", "cnr_signed")},
        "centre": {metric: systems["centre"][metric]["value"] for metric in ("pointing", "cnr_signed")},
    }


def write_phrases(nih: Path, out: Path) -> None:
    """RSNA's boxes of lung opacities as phrases of the MS-CXR form, in pixels of the films."""
    with (nih / "labels.csv").open(newline="") as file:
        films = {row["image_id"]: row for row in csv.DictReader(file)}
    rows = []
    with (nih / "boxes.csv").open(newline="") as file:
        for box in csv.DictReader(file):
            if not box["source"].startswith("rsna"):
                continue
            film = films[box["image_id"]]
            width, height = int(film["w"]), int(film["h"])
            x0, y0, x1, y1 = (float(box[key]) for key in ("x0", "y0", "x1", "y1"))
            rows.append({
                "dicom_id": box["image_id"], "category_name": box["cls"], "label_text": PHRASE,
                "path": f"files/p10/p{int(film['patient_id']):08d}/s0/{box['image_id']}.jpg",
                "x": x0 * width, "y": y0 * height, "w": (x1 - x0) * width, "h": (y1 - y0) * height,
                "image_width": width, "image_height": height,
            })  # fmt: skip
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:3]))
