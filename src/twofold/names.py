r"""Names from disks and command lines: bytes that need not be text, and text that need not be harmless.

A name on a disk is any bytes but / and NUL. Python gives those that are no UTF-8 as lone surrogates (PEP 383), which
`print`, UTF-8 files, pydantic and most JSON readers refuse; others clear a terminal, break a line or turn it round.
Whatever reaches a person goes through `shown`; whatever reaches a file, through `json_text`, and comes back the same;
a digest is one of `name_bytes`; a pydantic field that holds a name is a `Name`. `twofold.terminal.command` spells names
for a shell.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any

_UNSURE = re.compile(r"[^ -~]")
# They join letters and emoji, and are part of many words.
_JOINERS = "\u200c\u200d"
# Control characters, marks that only format (such as those of direction), surrogates, separators of lines.
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def shown(text: str) -> str:
    r"""Return `text` fit for one line: control and bidirectional marks, and bytes that are no text, as escapes.

    >>> print(shown("cat\x1b[2J\n.png"), shown("caf\udce9"), shown("\u202egnp.exe"), shown("猫 é"))
    cat\x1b[2J\n.png caf\xe9 \u202egnp.exe 猫 é
    """
    return _UNSURE.sub(lambda found: found[0] if _is_harmless(found[0]) else escaped(found[0]), text)


def shown_short(text: str, most: int = 200) -> str:
    """Return `text` as `shown` does; of one of more than `most` characters the beginning and the end.

    >>> shown_short("0123456789" * 100, most=10)
    '01234 … 56789'
    """
    half = most // 2
    return shown(text if len(text) <= most else f"{text[:half]} … {text[-half:]}")


def listed(names: Iterable[str], most: int = 20) -> str:
    """Return names as a list in a sentence, fit for one line; of many, the first and how many more there are.

    >>> print(listed(["cat", "dog"]), "or", listed(["bag, shoe", "hat", "bag"], most=2))
    cat, dog or 'bag, shoe', 'hat' and 1 more
    """
    names = list(names)
    # Where a name holds a comma, quotes say where each ends.
    marked = [f"'{shown(name)}'" if any("," in each for each in names) else shown(name) for name in names]
    return ", ".join(marked[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def shown_lines(text: str) -> str:
    """Return `text` as `shown` does, but its lines stay lines."""
    return "\n".join(map(shown, text.split("\n")))


def escaped(sign: str) -> str:
    r"""Return one character as an escape of ASCII: a byte that is no text as \xNN, any other as Python writes it."""
    if "\udc80" <= sign <= "\udcff":
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode()


def _is_harmless(sign: str) -> bool:
    return sign in _JOINERS or unicodedata.category(sign) not in _CONTROLS


def name_bytes(text: str) -> bytes:
    r"""Return the bytes of a name as its disk has them, for a digest.

    >>> name_bytes("é\udcff")
    b'\xc3\xa9\xff'
    """
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        # A surrogate that stands for no byte: from Windows, or from a JSON file.
        return text.encode(errors="surrogatepass")


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    r"""Return `value` as JSON that is valid UTF-8, harmless to look at, and read back as the same value.

    What `shown` would escape stands as an escape of JSON, so that `json.loads` restores it.

    >>> print(json_text(["é", "caf\udce9\n"]))
    ["é", "caf\udce9\n"]
    """
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if ascii_only or text.isascii():
        return text.replace("\x7f", "\\u007f")
    return _UNSURE.sub(_as_json, text)


def _as_json(found: re.Match[str]) -> str:
    sign = found[0]
    # Line ends are those of the indentation: json.dumps has escaped any other.
    return sign if sign == "\n" or _is_harmless(sign) else json.dumps(sign)[1:-1]


class _AnyText:
    """Lets pydantic take every `str`: its own check refuses lone surrogates."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def keep(value: Any, check: Any) -> Any:
            return value if isinstance(value, str) else check(value)

        return core_schema.no_info_wrap_validator_function(keep, handler(source))


Name = Annotated[str, _AnyText()]
"""The type of a pydantic field for a name of a file or a class; write such a model with `json_text`."""
