"""Labs as widgets, in Jupyter, VS Code, Colab and marimo: the same modules and the same sessions as in the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from twofold.labs.given import Given
from twofold.labs.images import Opened
from twofold.labs.lab import read_settings
from twofold.labs.modules import module_text, style_text
from twofold.labs.session import Session
from twofold.labs.table import LABS, LabEntry, class_name


class LabWidget(anywidget.AnyWidget):
    """A lab in a notebook.

    Args:
        *images: image files that the lab may use; it begins with the first.
        runs: trained networks that it may use, and `data` sets.
        lang: "en" or "zh"; the browser's own if left out.
        **settings: settings to begin with, those of the lab.

    Attributes:
        settings: those that differ from their defaults. Set it to change what is shown.

    Raises:
        TwofoldError: a file is no image that can be read.
        ValueError: an unknown setting, or a value that cannot be.
    """

    entry: ClassVar[LabEntry]
    session: Session | None = None

    about = traitlets.Dict().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    language = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        *images: str | Path,
        runs: Sequence[str | Path] = (),
        data: Sequence[str | Path] = (),
        lang: str = "",
        **settings: Any,
    ) -> None:
        opened = Opened(Given(images=_texts(images), runs=_texts(runs), data=_texts(data)))
        session = Session(self.entry, opened, self._answer)
        if opened.first is not None and "image" in session.lab.Settings.model_fields:
            settings.setdefault("image", opened.first)
        changed = read_settings(session.lab.Settings, settings).changed()
        super().__init__(about=session.about(), settings=changed, language=lang)
        self.session = session
        self.on_msg(lambda widget, content, buffers: session.receive(content, buffers))

    def _answer(self, content: Any, buffers: list[bytes]) -> None:
        self.send(content, buffers)

    def close(self) -> None:
        """End the lab and take it off the page."""
        # Also called of one that could not be made.
        if self.session is not None:
            self.session.close()
        super().close()


def _texts(paths: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(map(str, paths))


def widget_class(name: str) -> type[LabWidget]:
    """Return the widget of the lab called `name`."""
    entry = LABS[name]
    content = {
        "entry": entry,
        "_esm": module_text(name),
        "_css": style_text(),
        "__doc__": f"{entry.title}: {entry.summary}\n\n{LabWidget.__doc__}",
        "__module__": "twofold.labs",
    }
    return type(class_name(name), (LabWidget,), content)
