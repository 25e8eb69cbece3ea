"""A lab's module as one text: a notebook takes one file, so the page has the same one."""

from __future__ import annotations

import functools
import re
from pathlib import Path

PAGE = Path(__file__).parent / "page"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)


@functools.cache
def module_text(name: str) -> str:
    """Return the ES module of a lab: `page/NAME.js` with what it imports put in front of it."""
    wanted, texts = [f"{name.replace('-', '_')}.js"], dict[str, str]()
    while wanted:
        file = wanted.pop()
        text = (PAGE / file).read_text(encoding="utf-8")
        # What was met before is needed even earlier now.
        texts.pop(file, None)
        texts[file] = _EXPORT.sub("", _IMPORT.sub("", text))
        wanted += _IMPORT.findall(text)
    return "\n".join(reversed(texts.values()))


@functools.cache
def style_text() -> str:
    """Return the style sheet of every lab."""
    return (PAGE / "kit.css").read_text(encoding="utf-8")
