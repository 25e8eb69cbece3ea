"""One page or widget and its lab: what the page sends comes in here, what it is to show goes out.

Messages are JSON with arrays beside it. From the page:

- {"kind": "show", "number", "settings", "lines"}: compute; with "lines", say which lines of the code ran, too.
- {"kind": "act", "number", "settings", "action"}: what is no setting, such as to start.
- {"kind": "open", "number", "name"} and the bytes of an image.

To the page: {"kind": "about"} once, then for each message one answer with its number:

- {"kind": "shown", "shown", "done", "command"}; with "settings" where they were understood otherwise than spelt.
- {"kind": "opened", "image", "images"}, or {"kind": "failed", "error"}.

And {"kind": "told"} with what a lab has to say without being asked. A page sends the next message when the last is
answered, so that a drag computes what the pointer shows now and no more.

Whatever a lab raises becomes one line on the page, and the lab lives on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twofold.errors import TwofoldError
from twofold.labs.arrays import pack
from twofold.labs.given import MOST_BYTES
from twofold.labs.ideas_zh import IDEAS_ZH
from twofold.labs.images import Opened
from twofold.labs.lab import Lab, LabSettings, read_settings
from twofold.labs.table import LABS, LabEntry
from twofold.labs.traced import lines_that_run, source
from twofold.proof.ideas import IDEAS

Answer = Callable[[Any, list[bytes]], None]


class Session:
    """A lab in use.

    Args:
        entry: the lab.
        opened: what the lab may use.
        answer: takes a message for the page and its arrays; called from whatever thread.
        tell: takes the traceback of a fault of ours, for the person who runs it.
    """

    def __init__(
        self,
        entry: LabEntry,
        opened: Opened,
        answer: Answer,
        *,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.entry, self._answer, self._tell = entry, answer, tell
        self.lab: Lab = entry.load()(opened)
        self.lab.send = lambda content: self._send({"kind": "told", "told": content})

    def about(self) -> dict[str, Any]:
        """Return what a page has to know of the lab: words, code, exercises, defaults, images."""
        lab = self.lab
        ideas = [idea for idea in IDEAS.values() if idea.lab == self.entry.name]
        return {
            "kind": "about",
            **self.entry.words(),
            "ideas": [
                {
                    "name": idea.name,
                    "formula": idea.formula,
                    "source": idea.source,
                    "en": {"title": idea.title, "where": idea.where},
                    "zh": IDEAS_ZH[idea.name]._asdict(),
                }
                for idea in ideas
            ],
            "code": source(lab.reads),
            "exercises": [{"en": each.en, "zh": each.zh} for each in lab.exercises],
            "next": [LABS[name].words() for name in self.entry.next],
            "defaults": lab.Settings().model_dump(mode="json"),
            "images": lab.opened.names,
            "most_bytes": MOST_BYTES,
            "runs": list(lab.opened.runs),
            "data": list(lab.opened.data),
            **lab.about(),
        }

    def begin(self) -> None:
        """Send the page what it has to know first."""
        self._send(self.about())

    def receive(self, message: object, buffers: Sequence[bytes | memoryview] = ()) -> None:
        """Answer a message of the page."""
        number = message.get("number") if isinstance(message, Mapping) else None
        try:
            content = self._reply(message, buffers)
        except (TwofoldError, ValueError) as error:
            content = {"kind": "failed", "error": _one_line(error)}
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one answer, not the lab
            self._tell(traceback.format_exc())
            content = {"kind": "failed", "error": f"{type(error).__name__}: {_one_line(error)}"}
        self._send({**content, "number": number})

    def close(self) -> None:
        """End what the lab does in the background."""
        self.lab.close()
        # The two refer to one another: Python looks for such pairs when there are many objects, but a network is few.
        self.lab.send = _unheard

    def _reply(self, message: object, buffers: Sequence[bytes | memoryview]) -> dict[str, Any]:
        if not isinstance(message, Mapping):
            raise ValueError("a message is an object")
        kind = message.get("kind")
        if kind == "open":
            if len(buffers) != 1:
                raise ValueError("an image is one array of bytes")
            image = self.lab.opened.add(str(message.get("name", "")), bytes(buffers[0]))
            return {"kind": "opened", "image": image, "images": self.lab.opened.names}
        settings = read_settings(self.lab.Settings, message.get("settings"))
        if kind == "act":
            return self._shown(message, settings, self.lab.act(str(message.get("action")), settings))
        if kind != "show":
            raise ValueError(f"there is no message {str(kind)[:40]!r}")
        lines: dict[str, list[int]] | None = None
        if message.get("lines"):
            shown: dict[str, Any] = {}
            lines = lines_that_run(self.lab.reads, lambda: shown.update(self.lab.compute(settings)))
        else:
            shown = self.lab.compute(settings)
        reply = self._shown(message, settings, shown)
        return reply if lines is None else {**reply, "lines": lines}

    def _shown(self, message: Mapping[str, Any], settings: LabSettings, shown: dict[str, Any]) -> dict[str, Any]:
        command, values = self.lab.command(settings), settings.model_dump(mode="json")
        return {
            "kind": "shown",
            # As they were understood, where the page spelt them otherwise: one value for two, a missing one.
            **({} if values == message["settings"] else {"settings": values}),
            "shown": shown,
            "done": [bool(each.is_done(settings, shown)) for each in self.lab.exercises],
            "command": {"shell": command.shell, "python": command.python},
        }

    def _send(self, content: dict[str, Any]) -> None:
        self._answer(*pack(content))


def _unheard(content: object) -> None:
    """Take what a lab says after its page has left."""


def _one_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:400] if lines else "it failed"
