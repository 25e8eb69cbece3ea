"""`twofold lab`: labs in the browser, or their values in the terminal."""

from __future__ import annotations

import dataclasses
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import tyro

from twofold.cli.parse import needing, parse
from twofold.engine.stopping import StopRequest
from twofold.errors import RunError, TwofoldError
from twofold.labs.table import LABS, find_lab
from twofold.terminal import loading, note, print_json, print_table, say

if TYPE_CHECKING:
    from twofold.labs.host import Host
    from twofold.labs.table import LabEntry

_PORT = 8790


@dataclasses.dataclass(kw_only=True)
class LabArguments:
    """Open the labs in a browser: images, kernels, networks and optimizers to touch. Ends with Ctrl-C.

    twofold lab convolution stride=2 opens one of them, with settings that its page would put into the address.
    """

    lab: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[LAB [SETTING=VALUE ...]]")] = ()
    """A lab (see --list), and settings of it; the gallery if left out."""
    image: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FILE")] = ()
    """An image that the labs may use; can be repeated. The lab begins with the first."""
    list: bool = False
    """List the labs."""
    print: bool = False
    """Print what the lab computes as JSON, without a browser."""
    port: int | None = None
    """Where the pages are; 8790, or one that is free."""
    browser: bool = True
    """Open the browser."""


def run(arguments: Sequence[str]) -> int:
    parsed = parse(LabArguments, arguments, verb="lab")
    if parsed.list:
        print_table(("lab", "what…"), [(entry.name, entry.summary) for entry in LABS.values()])
        return 0
    if parsed.port is not None and not 0 <= parsed.port <= 65535:
        raise TwofoldError(f"--port is a number from 0 to 65535, got {parsed.port}")
    entry = find_lab(parsed.lab[0]) if parsed.lab else None
    if entry is None and parsed.print:
        raise TwofoldError("--print needs a lab: twofold lab --list")
    words = _settings(entry, parsed) if entry is not None and (parsed.lab[1:] or parsed.image or parsed.print) else []
    if entry is not None and parsed.print:
        _print(entry, words, parsed.image)
        return 0
    with needing("labs", verb="lab"):
        from twofold.labs.host import Host
    images = [str(path) for path in parsed.image]
    host = Host(images, port=parsed.port) if parsed.port is not None else _anywhere(Host, images)
    fragment = "&".join(f"{name}={quote(value)}" for name, _, value in (word.partition("=") for word in words))
    with StopRequest("ending: the labs close") as stop, host:
        note("Ctrl-C ends the labs")
        address = host.address(None if entry is None else entry.name, fragment)
        say(address)
        if parsed.browser:
            webbrowser.open(address)
        while stop.received is None:
            if not host.is_alive:
                raise RunError("the labs ended by themselves")
            time.sleep(0.1)
    return 0


def _settings(entry: LabEntry, parsed: LabArguments) -> list[str]:
    """Return the settings as words, each checked; with images, the lab begins with the first."""
    with loading("torch"):
        from twofold.labs.images import OpenedImages
        from twofold.labs.lab import read_words, setting_words

        kind = entry.load()
        opened, given = OpenedImages(parsed.image), [*parsed.lab[1:]]
    if parsed.image:
        if "image" not in kind.Settings.model_fields:
            raise TwofoldError(f"the lab {entry.name} has no images; leave --image out")
        if not any(word.startswith("image=") for word in given):
            given = [f"image={opened.names[len(parsed.image) - 1]}", *given]
    return setting_words(read_words(kind.Settings, given))


def _print(entry: LabEntry, words: Sequence[str], images: Sequence[Path]) -> None:
    from twofold.labs.arrays import as_json
    from twofold.labs.images import OpenedImages
    from twofold.labs.lab import read_words

    lab = entry.load()(OpenedImages(images))
    try:
        shown = lab.compute(read_words(lab.Settings, words))
    except TwofoldError:
        raise
    except ValueError as error:
        raise TwofoldError(str(error)) from error
    finally:
        lab.close()
    print_json(as_json(shown))


def _anywhere(host: type[Host], images: Sequence[str]) -> Host:
    """Return the pages at the usual port, so that a link which was kept is found again, or where there is room."""
    try:
        return host(images, port=_PORT)
    except RunError:
        return host(images)
