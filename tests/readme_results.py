"""The results table of the README, made from the stored result file.

After a new run of the demo, from the repository root:

    mmil demo && cp demo/summary.json tests/results/demo.json && python tests/readme_results.py
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def table(rows: list[dict]) -> str:
    """The summary of the demo in Markdown."""
    lines = ["| task | metric | measured | to beat | above |", "|---|---|---|---|---|"]
    for row in rows:
        value = row["value"]
        measured = f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
        floor = f"{row['floor_name']} {row['floor']:.2f}"
        above = "yes" if row["is_above"] else "no"
        lines.append(f"| {row['task']} | {row['metric']} | {measured} | {floor} | {above} |")
    return "\n".join(lines) + "\n"


def with_results(text: str) -> str:
    """The README with every results block made anew from the file it names."""
    return BLOCK.sub(
        lambda match: match[1] + table(json.loads((ROOT / match[2]).read_text())) + match[3], text
    )


if __name__ == "__main__":
    README.write_text(with_results(README.read_text()))
