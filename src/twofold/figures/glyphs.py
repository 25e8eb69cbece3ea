"""Names in any script: a font that has their characters is looked for; what none has is written as an index.

DejaVu Sans, which comes with matplotlib, has Latin, Greek, Cyrillic, Arabic and Hebrew letters and some emoji, but no
猫. Where one of a figure's texts needs more, the system's fonts are looked through, once. What no font has would be a
box, the same for every name: it becomes [1], [2] and so on instead, and a line in the terminal says what these are.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold.names import shown_lines
from twofold.terminal import note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN_FONT = "DejaVu Sans"
# Tried before others, as the best for reading; from Linux, macOS and Windows.
_PREFERRED = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "PingFang SC"),
    *(
        "Hiragino Sans GB",
        "Microsoft YaHei",
        "SimHei",
        "Arial Unicode MS",
        "Noto Sans",
        "Noto Emoji",
        "Segoe UI Symbol",
    ),
)
# Join letters and emoji into one sign, or choose its look; nothing is drawn for them.
JOINERS = "\u200c\u200d\ufe0f"
# Has a box for every character there is.
_PLACEHOLDERS = "Last Resort"


class Legible:
    """The names of one figure, as they can be written; `key` says what the indices in them stand for."""

    def __init__(self) -> None:
        self.key: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        """Return `text` with each run of characters that no font here has as an index in brackets."""
        lacking = {sign for sign in text if not _is_drawn(sign)}
        if not lacking:
            return text
        some = f"[{re.escape(''.join(sorted(lacking)))}]"
        runs = re.compile(f"{some}+(?:[\\s{JOINERS}]+{some}+)*")
        return runs.sub(lambda run: f"[{self.key.setdefault(run[0], len(self.key) + 1)}]", text)

    def say(self) -> None:
        """Say in the terminal what the indices stand for, if there are any."""
        if self.key:
            names = ", ".join(f"[{index}] {name}" for name, index in self.key.items())
            note(f"no font here can draw {names}; in the figure the number stands for it (a font such as Noto has it)")


def make_legible(figure: Figure) -> None:
    """Give each text of a finished figure the fonts that it needs, and say what could not be written."""
    from matplotlib.text import Text

    legible = Legible()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        # Labels of ticks are written anew whenever the figure is drawn.
        words = [label.get_text() for label in axis.get_ticklabels()]
        if (written := [legible(word) for word in words]) != words:
            axis.set_ticks(axis.get_ticklocs(), written)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        words = text.get_text()
        if words.isascii() and words.replace("\n", "").isprintable():
            continue
        if (written := legible(shown_lines(words))) != words:
            text.set_text(written)
        text.set_fontfamily(families(written))
    legible.say()


def families(text: str) -> list[str]:
    """Return the font families that `text` needs, matplotlib's own first."""
    others = (_font_of(sign) for sign in text)
    return list(dict.fromkeys([OWN_FONT, *(name for name in others if name is not None)]))


def _is_drawn(sign: str) -> bool:
    if unicodedata.bidirectional(sign) in {"R", "AL"} and not _shapes_text():
        return False
    return sign.isspace() or sign in JOINERS or _font_of(sign) is not None


def _shapes_text() -> bool:
    """Tell whether matplotlib joins Arabic letters and writes from right to left: it does since 3.11."""
    import matplotlib

    return matplotlib.__version_info__ >= (3, 11)


@functools.cache
def _font_of(sign: str) -> str | None:
    """Return the family of the first font that has a character, or None."""
    if ord(sign) in _characters(_own_file()):
        return OWN_FONT
    return next((name for name, path in _system_fonts() if ord(sign) in _characters(path)), None)


def _own_file() -> str:
    from matplotlib import font_manager

    return font_manager.findfont(OWN_FONT)


@functools.cache
def _system_fonts() -> tuple[tuple[str, str], ...]:
    """Return (family, file) of the upright fonts of this system, those that read best first.

    Fonts that were installed after matplotlib had made its list are found too.
    """
    from matplotlib import font_manager

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    installed = {str(Path(path)) for path in find_fonts()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(installed - known):
            try:
                font_manager.fontManager.addfont(path)
            except Exception:  # noqa: BLE001 (whatever is wrong with one font, others may do)
                continue
    entries = [
        entry
        for entry in font_manager.fontManager.ttflist
        if entry.fname in installed and entry.style == "normal" and _PLACEHOLDERS not in entry.name
    ]

    def order(entry: Any) -> tuple[int, bool, bool, str]:
        rank = _PREFERRED.index(entry.name) if entry.name in _PREFERRED else len(_PREFERRED)
        return rank, "Sans" not in entry.name, str(entry.weight) not in {"400", "normal", "regular"}, entry.name

    return tuple(dict.fromkeys((entry.name, entry.fname) for entry in sorted(entries, key=order)))


def find_fonts() -> Iterable[str]:
    """Return the files of the system's fonts."""
    from matplotlib import font_manager

    return font_manager.findSystemFonts()


@functools.cache
def _characters(path: str) -> frozenset[int]:
    """Return the characters that a font can draw at any size; none for one that cannot be read, or is of bitmaps."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
