"""Reports, tables and XML of OpenI, whole and damaged; and what a damaged one may be read as."""

import csv
import gzip
import io
import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from mmil_cli.stages.fuzz.damage import EVERYWHERE, Generator

REPORT = (
    "                 FINAL REPORT\n INDICATION:  Cough, 50 µg given.\n\n FINDINGS:  There is a small left"
    " pleural effusion.\n The heart measures 12.5 cm; Äußere Ränder glatt.\n\n IMPRESSION:  Small effusion of"
    " film {}.\n"
)
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be", "utf-32", "cp850", "cp037")
FOREIGN = {
    "Лёгкие без изменений. Сердце не увеличено.": ("koi8-r", "cp1251", "iso8859-5", "utf-8"),
    "両側肺野に異常影を認めない。心拡大なし。": ("shift-jis", "euc-jp", "utf-8"),
}
"""Reports in Russian and Japanese, and encodings that they come in."""


def report(number: int) -> str:
    """A report of a film."""
    return REPORT.format(number)


def other_encoding(data: bytes, generator: Generator) -> bytes:
    """The same words in another encoding, or other words in one that is not said."""
    if generator.integers(4) == 0:
        words, codes = list(FOREIGN.items())[generator.integers(len(FOREIGN))]
        return f"FINDINGS: {words}\n".encode(codes[generator.integers(len(codes))])
    name = ENCODINGS[generator.integers(len(ENCODINGS))]
    return data.decode("utf-8").encode(name, errors="replace")


def huge(data: bytes, generator: Generator) -> bytes:
    """Some megabytes of one character, or one line that never ends."""
    return data + (b"a", b"\n", b"a. ", b"1. ")[generator.integers(4)] * int(
        generator.integers(1 << 20, 1 << 23)
    )


def controls(data: bytes, generator: Generator) -> bytes:
    """Characters that no text has, and marks that turn the direction of writing."""
    odd = ("\x1b[2J", "\x07", "\u202e", "\ufeff", "\ufffd", "\u0000", "\x85", "\U0001f600", "\ud7ff", "\r")
    at = int(generator.integers(0, len(data)))
    return data[:at] + odd[generator.integers(len(odd))].encode() + data[at:]


OF_REPORTS: dict[str, Callable[[bytes, Generator], bytes]] = {
    **EVERYWHERE,
    "another encoding": other_encoding,
    "megabytes": huge,
    "control characters": controls,
}


def xml(number: int, image: str) -> bytes:
    """A report of OpenI."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{number}"/><MedlineCitation><Article>'
        '<Abstract><AbstractText Label="INDICATION">Cough &amp; fever, 50 µg.</AbstractText>'
        '<AbstractText Label="FINDINGS">There is a small effusion. No edema.</AbstractText>'
        f'<AbstractText Label="IMPRESSION">Film {number} is read.</AbstractText></Abstract></Article>'
        f'</MedlineCitation><MeSH><major>normal</major></MeSH><parentImage id="{image}"/></eCitation>'
    ).encode()


def entities(data: bytes, generator: Generator) -> bytes:
    """The billion laughs, a file of the system by its name, an entity that nobody declared."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    declared = (
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>',
        '<!DOCTYPE x [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://localhost:9/x.dtd">',
        "",
    )[generator.integers(4)]
    text = data.decode("utf-8").replace("?><eCitation", f"?>{declared}<eCitation")
    return text.replace("There is", "&l9; There is").encode()


def nested(data: bytes, generator: Generator) -> bytes:
    """Elements within elements."""
    depth = int(generator.integers(100, 100_000))
    return data.replace(b"There is", b"<i>" * depth + b"There is" + b"</i>" * depth)


def declared_encoding(data: bytes, generator: Generator) -> bytes:
    """An encoding that the bytes do not have."""
    names = (b"utf-16", b"latin-1", b"ascii", b"shift-jis", b"nonsense", b"cp037")
    return data.replace(b'"utf-8"', b'"' + names[generator.integers(len(names))] + b'"')


def escape(data: bytes, generator: Generator) -> bytes:
    """A name of an image that leads out of the folder."""
    names = (b"../../../outside", b"/etc/hostname", b"..", b"a/../../outside", b"C:\\x", b"\\\\host\\x", b"")
    at = data.index(b'parentImage id="') + len(b'parentImage id="')
    return data[:at] + names[generator.integers(len(names))] + data[data.index(b'"', at) :]


OF_XML: dict[str, Callable[[bytes, Generator], bytes]] = {
    **EVERYWHERE,
    "entities": entities,
    "deep elements": nested,
    "a wrong encoding": declared_encoding,
    "a path out": escape,
}

Rows = list[dict[str, object]]
FORMS = ("csv", "csv.gz", "jsonl", "jsonl.gz", "parquet")


def rows(number: int) -> Rows:
    """A table of that many films."""
    return [
        {"image": f"{n}.png", "report": f"FINDINGS: Film {n}, 50 µg, a nodule. No effusion.",
         "image_id": f"i{n}", "study_id": f"s{n}", "patient_id": f"p{n // 2}", "split": "train",
         "Nodule": 1, "Edema": (0, -1)[n % 2]}
        for n in range(number)
    ]  # fmt: skip


def table(content: Rows, form: str) -> bytes:
    """The rows as a file of a form of `FORMS`."""
    if form == "parquet":
        buffer = io.BytesIO()
        names = dict.fromkeys(name for row in content for name in row)
        pq.write_table(pa.table({name: [row.get(name) for row in content] for name in names}), buffer)
        return buffer.getvalue()
    text = io.StringIO(newline="")
    if form.startswith("csv"):
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in content for name in row)))
        writer.writeheader()
        writer.writerows(content)
    else:
        text.write("\n".join(json.dumps(row) for row in content))
    data = text.getvalue().encode()
    return gzip.compress(data, mtime=0) if form.endswith(".gz") else data


_CELLS: dict[str, tuple[object, ...]] = {
    "image": ("../outside.png", "/etc/hostname", "/dev/zero", "pipe", "folder", "loop", "", "a\0b.png",
              "no.png", "x" * 5000, "0.png ", "link.png", "~/0.png", "file:///0.png"),
    "report": ("", "nan", "___", "x" * 200_000, "a\0b", "FINDINGS:", "\u202e",
               "version https://git-lfs.github.com/spec/v1"),
    "image_id": ("i1", "", "a/b", "\n", "é" * 300, "\u0000"),
    "patient_id": ("p0", "", "007", "7.0", "\ud7ff"),
    "split": ("val", "TEST", "", "holdout", "train "),
    "Nodule": (2, "yes", 0.5, -1, "", "nan", "1.0", 10**30, "Ⅰ"),
}  # fmt: skip
"""What a cell may hold by mistake."""


def wrong_cell(content: Rows, generator: Generator) -> Rows:
    """Another value in one or two cells."""
    names = list(_CELLS)
    for _ in range(int(generator.integers(1, 3))):
        name = names[generator.integers(len(names))]
        values = _CELLS[name]
        content[generator.integers(len(content))][name] = values[generator.integers(len(values))]
    return content


def mixed(content: Rows, generator: Generator) -> Rows:
    """A value of a kind that a table has no room for."""
    values: tuple[object, ...] = ([1, 2], {"a": 1}, True, 1.5, None, 10**400, float("nan"))
    name = list(content[0])[generator.integers(len(content[0]))]
    content[generator.integers(len(content))][name] = values[generator.integers(len(values))]
    return content


def lost_column(content: Rows, generator: Generator) -> Rows:
    """A column gone, or under another name."""
    name = list(content[0])[generator.integers(len(content[0]))]
    other = {} if generator.integers(2) else {f"{name} ": None}
    return [{key: value for key, value in row.items() if key != name} | other for row in content]


def twice(content: Rows, generator: Generator) -> Rows:
    """A row that is there twice."""
    return [*content, dict(content[generator.integers(len(content))])]


OF_ROWS: dict[str, Callable[[Rows, Generator], Rows]] = {
    "a wrong cell": wrong_cell,
    "mixed types": mixed,
    "a lost column": lost_column,
    "a row twice": twice,
}
OF_TABLES: dict[str, Callable[[bytes, Generator], bytes]] = {
    **EVERYWHERE,
    "another encoding": other_encoding,
    "control characters": controls,
}
