"""Tables on standard output: drawn in a terminal, aligned plain text in a pipe or file."""

import sys
from collections.abc import Collection, Sequence


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)
) -> None:
    """Prints a table.

    Args:
        title: a line above it.
        columns: their names.
        rows: cells as text.
        left: places of the columns that are aligned to the left; the others hold numbers.
    """
    if sys.stdout.isatty():
        _draw(title, columns, rows, left)
    else:
        sys.stdout.write("\n".join(_plain(title, columns, rows, left)) + "\n\n")


def _draw(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, name in enumerate(columns):
        is_text = number in left
        table.add_column(escape(name), justify="left" if is_text else "right", no_wrap=not is_text)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(highlight=False)
    console.print(table)
    console.print()


def _plain(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int]
) -> list[str]:
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
    lines = [title]
    for row in (columns, *rows):
        cells = enumerate(zip(row, widths, strict=True))
        aligned = (
            cell.ljust(width) if place in left else cell.rjust(width) for place, (cell, width) in cells
        )
        lines.append("  ".join(aligned).rstrip())
    return lines
