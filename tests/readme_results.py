"""The tables of the README, made from the stored result files and from the registries.

After new runs, from the repository root:

    mmil demo && cp demo/summary.json tests/results/demo.json
    mmil bench scores --out tests/results
    mmil bench preprocess --out tests/results
    mmil bench evaluate --out tests/results
    mmil bench mi --out tests/results
    mmil phantom --out unseen --studies 1000 --seed 11
    mmil preprocess unseen --out unseen_data --side 192
    mmil retrieve index unseen_data --checkpoint demo/run --out unseen_index
    mmil bench shortlist --index unseen_index --out tests/results
    python tests/real_results.py ../shared/data demo/run WORK
    mmil bench pretrain DATASET --set image.encoder=resnet50 --set data.batch_size=32 --out tests/results
    python tests/readme_results.py
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- /table -->)", re.DOTALL)
SHOWN_BATCH = 64  # of the estimators of mutual information


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; bars within cells are escaped."""
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def interval(value: dict) -> str:
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def demo(rows: list[dict]) -> str:
    """The summary of the demo."""
    return markdown(
        ["task", "metric", "measured", "to beat", "above"],
        [
            [
                row["task"],
                row["metric"],
                interval(row["value"]),
                f"{row['floor_name']} {row['floor']:.2f}",
                "yes" if row["is_above"] else "no",
            ]
            for row in rows
        ],
    )


def bench_scores(record: dict) -> str:
    """Ratios of time and memory."""
    return markdown(
        ["forward and backward", "shape", "time / plain [range]", "wanted", "memory / plain", "wanted"],
        [
            [
                row["name"],
                row["shape"],
                f"{row['measured']['time_ratio']:.2f} "
                f"[{row['measured']['time_low']:.2f}, {row['measured']['time_high']:.2f}]",
                f"{row['most_time']:.2f}",
                f"{row['memory_ratio']:.2f}",
                "" if row["most_memory"] is None else f"{row['most_memory']:.2f}",
            ]
            for row in record["rows"]
        ],
    )


def bench_preprocess(record: dict) -> str:
    """Rates, ratios and memory of preprocess."""
    return markdown(
        ["figure", "measured [range]", "unit", "wanted"],
        [
            [row["name"], _measured(row), row["unit"], _wanted(row["wanted"], is_limit=row["is_limit"])]
            for row in record["rows"]
        ],
    )


def _measured(row: dict) -> str:
    digits = 0 if row["value"] >= 100 else 2
    value, low, high = (f"{row[name]:,.{digits}f}" for name in ("value", "low", "high"))
    return value if row["low"] == row["high"] else f"{value} [{low}, {high}]"


def _wanted(value: float | None, *, is_limit: bool) -> str:
    return "" if value is None else f"{'at most' if is_limit else 'at least'} {value:,g}"


def bench_pretrain(record: dict) -> str:
    """A step beside what it cannot do without, and the wait for data with two workers."""
    rows = [
        [
            row["name"],
            row["shape"],
            f"{row['measured']['time_ratio']:.2f} "
            f"[{row['measured']['time_low']:.2f}, {row['measured']['time_high']:.2f}]",
            f"{row['most_time']:.2f}",
        ]
        for row in record["rows"]
    ]
    first = record["trials"][0]
    alike = ("batch_size", "chunk", "precision")
    for trial in record["trials"]:
        if trial["workers"] == 2 and all(trial[key] == first[key] for key in alike):
            shape = f"B={trial['batch_size']}, {trial['workers']} workers"
            rows.append(["waiting for data, of a step", shape, f"{trial['waiting']:.3f}", "0.03"])
    return markdown(["forward, backward and update", "shape", "time / plain [range]", "wanted"], rows)


def bench_mi(record: dict) -> str:
    """Estimates in nats beside the truth, by objective."""
    rows = [row for row in record["pairs"] if row["batch"] == SHOWN_BATCH]
    objectives = list(dict.fromkeys(row["objective"] for row in rows))
    truths = list(dict.fromkeys(row["truth"] for row in rows))
    cell = {
        (row["truth"], row["objective"]): f"{row['estimate']['value']:.2f} ± {row['deviation']:.2f}"
        for row in rows
    }
    return markdown(
        ["true", *objectives],
        [[f"{truth:.1f}", *(cell[truth, name] for name in objectives)] for truth in truths],
    )


def bench_mi_sums(record: dict) -> str:
    """The sum of local information beside the global one, estimated by Donsker-Varadhan."""
    rows = [row for row in record["studies"] if row["objective"] == "dv"]
    return markdown(
        ["generated studies", "sum of local, true", "global, true", "global - sum, true", "estimated"],
        [
            [
                row["source"],
                f"{row['truth']['sum_of_local']:.2f}",
                f"{row['truth']['global_information']:.2f}",
                f"{row['truth']['global_information'] - row['truth']['sum_of_local']:.2f}",
                interval(row["gap"]),
            ]
            for row in rows
        ],
    )


def bench_engine(record: dict) -> str:
    """Ratios of time, and memory, of what pretraining does with a batch."""
    return markdown(
        ["work", "on", "time / plain [range]", "wanted", "MiB", "MiB, plain"],
        [
            [
                row["name"],
                row["work"],
                f"{row['time']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
                f"{row['wanted']:.2f}",
                "" if row["extra_mib"] is None else f"{row['extra_mib']:.0f}",
                "" if row["plain_mib"] is None else f"{row['plain_mib']:.0f}",
            ]
            for row in record["rows"]
        ],
    )


def bench_shortlist(record: dict) -> str:
    """How often two stages find the first film, by the length of the shortlist."""
    shares = sorted({row["share"] for row in record["rows"]})
    kinds = dict.fromkeys((row["queries"], row["first_stage"], row["num_queries"]) for row in record["rows"])
    found = {(row["queries"], row["first_stage"], row["share"]): row["agreement"] for row in record["rows"]}
    return markdown(
        ["queries", "first stage", *(f"{share:.0%} listed" for share in shares)],
        [
            [f"{number} {kind}", stage, *(f"{found[kind, stage, share]:.1%}" for share in shares)]
            for kind, stage, number in kinds
        ],
    )


def bench_evaluate(record: dict) -> str:
    """Seconds of the evaluations."""
    return markdown(
        ["evaluation", "size", "seconds", "wanted"],
        [
            [
                row["name"],
                row["size"],
                f"{row['seconds']:.2g}",
                "" if row["most_seconds"] is None else f"{row['most_seconds']:g}",
            ]
            for row in record["rows"]
        ],
    )


def real(record: dict) -> str:
    """Figures on real films by model, each beside its floors; those of films alone stand once."""
    models = list(dict.fromkeys(row["trained_on"] for row in record["rows"]))
    cases: dict[tuple[str, str, str], dict[str, dict]] = {}
    for row in record["rows"]:
        cases.setdefault((row["films"], row["task"], row["metric"]), {})[row["trained_on"]] = row
    shared = {"prior": "location prior", "centre": "centre", "chance": "chance"}
    rows = []
    for (films, task, metric), found in cases.items():
        cells = [(interval(row["measured"]), _floor(row, "random weights")) for row in found.values()]
        first = next(iter(found.values()))
        rows.append([f"{films}: {task}", metric, *sum(cells, ()), *(_floor(first, name) for name in shared)])
    columns = [name for model in models for name in (f"trained on {model}", "random weights")]
    return markdown(["films: task", "metric", *columns, *shared.values()], rows)


def _floor(row: dict, name: str) -> str:
    value = row["floors"].get(name)
    return "" if value is None else f"{value:.2f}"


def label_matched(record: dict) -> str:
    """Figures of every run that was tried, and of the centre of the film."""
    rows = [
        [row["name"], *(interval(row[key]) for key in ("zero-shot", "linear", "pointing", "cnr_signed"))]
        for row in record["rows"]
    ]
    centre = record["rows"][0]["centre"]
    rows.append(["centre of the film", "", "", f"{centre['pointing']:.2f}", f"{centre['cnr_signed']:.2f}"])
    columns = ("zero-shot AUROC", "linear AUROC", "pointing game", "signed CNR")
    return markdown(["trained", *columns], rows)


def precision(record: dict) -> str:
    """Two runs on the same cases, that in fp32 first."""
    return markdown(
        ("metric", "fp32", "bf16", "bf16 - fp32"),
        (
            [row["name"], f"{row['first']:.2f}", f"{row['second']:.2f}", interval(row["gap"])]
            for row in record["rows"]
        ),
    )


def fuzz(record: dict) -> str:
    """Outcomes of the damaged sources, by what was damaged."""
    outcomes = list(next(iter(record["counts"].values())))
    total = {name: sum(found[name] for found in record["counts"].values()) for name in outcomes}
    rows = [*record["counts"].items(), ("all", total)]
    return markdown(
        ["damaged", "cases", *outcomes],
        [[kind, str(sum(found.values())), *(str(found[name]) for name in outcomes)] for kind, found in rows],
    )


def parts(group: int) -> str:
    """One registry as `mmil scores` lists it."""
    from mmil_cli.stages.parts import list_parts

    rows = [
        [f"`{part.name}{_arguments(part.arguments)}`", f"`{part.equation}`", part.kind, part.source]
        for part in list_parts()[group].parts
    ]
    if not any(row[2] for row in rows):
        return markdown(["name", "equation", "source"], [[row[0], row[1], row[3]] for row in rows])
    return markdown(["name", "g(X, y)", "level", "source"], rows)


def presets() -> str:
    """The presets."""
    from mmil_cli.stages.parts import list_parts

    return markdown(
        ["preset", "method", "source"],
        [[f"`{part.name}`", part.about, part.source] for part in list_parts()[-1].parts],
    )


def _arguments(arguments: tuple[str, ...]) -> str:
    return f"({', '.join(arguments)})" if arguments else ""


FROM_FILE: dict[str, Callable] = {
    "demo": demo,
    "bench_engine": bench_engine,
    "bench_scores": bench_scores,
    "bench_preprocess": bench_preprocess,
    "bench_evaluate": bench_evaluate,
    "bench_mi": bench_mi,
    "bench_mi_sums": bench_mi_sums,
    "fuzz": fuzz,
    "real": real,
    "precision": precision,
    "label_matched": label_matched,
    "bench_shortlist": bench_shortlist,
    "bench_pretrain": bench_pretrain,
}
FROM_REGISTRY: dict[str, Callable[[], str]] = {
    "aggregators": lambda: parts(0),
    "objectives": lambda: parts(3),
    "presets": presets,
}


def table(name: str) -> str:
    """The table that a block of the README names: `kind:file` under tests/results, or a registry."""
    kind, _, file = name.partition(":")
    if kind in FROM_REGISTRY:
        return FROM_REGISTRY[kind]()
    return FROM_FILE[kind](json.loads((ROOT / "tests" / "results" / file).read_text()))


def with_results(text: str) -> str:
    """The README with every table made anew."""
    return BLOCK.sub(lambda match: match[1] + table(match[2]) + match[3], text)


if __name__ == "__main__":
    README.write_text(with_results(README.read_text()))
