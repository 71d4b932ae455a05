"""Files of text: read as what they certainly are, or refused."""

import codecs
import stat
from pathlib import Path

MOST_BYTES = 4 * 2**20
"""No report is longer; a larger file is something else, or never ends."""

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""The first bytes of a text in UTF-16 that says so."""


class NoText(ValueError):
    """The file is no text that can be read for certain; the message follows its name."""


def read_text(path: Path) -> str:
    """The words of a file: UTF-8, or UTF-16 that says so by its first bytes.

    Nothing else is guessed: bytes of an older encoding would give words in most others too, wrong ones.

    Raises:
        NoText: it is no file, too large, or in another encoding.
        OSError: it cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise NoText("is no file of text")
    with path.open("rb") as handle:
        data = handle.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise NoText(f"is larger than {MOST_BYTES // 2**20} MiB, which no report is")
    return decode_text(data)


def decode_text(data: bytes) -> str:
    """The words of the content of a file, as for `read_text`.

    Raises:
        NoText: no words for certain.
    """
    try:
        text = data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as fault:
        raise NoText("is not UTF-8 text; convert it, such as with iconv -f WINDOWS-1252 -t UTF-8") from fault
    if "\0" in text:
        raise NoText("is not a text file: it holds null characters")
    return text
