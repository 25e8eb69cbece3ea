"""`twofold lab`: labs in the browser, or their values in the terminal."""

from __future__ import annotations

import dataclasses
import os
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
from twofold.labs.given import NOTHING, Given
from twofold.labs.table import LABS, find_lab
from twofold.terminal import loading, note, print_json, print_table, say

if TYPE_CHECKING:
    from twofold.labs.host import Host

_PORT = 8790


@dataclasses.dataclass(kw_only=True)
class LabArguments:
    """Open the labs in a browser: images, kernels, networks and optimizers to touch. Ends with Ctrl-C.

    twofold lab convolution stride=2 opens one of them, with settings that its page would put into the address.
    """

    lab: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LAB [SETTING=VALUE]")] = ()
    """A lab (see --list), and settings of it; the gallery if left out."""
    image: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FILE")] = ()
    """An image that the labs may use; can be repeated. The lab begins with the first."""
    run: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="RUN")] = ()
    """A trained network that they may use; can be repeated."""
    data: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME|FOLDER")] = ()
    """A data set that they may use; can be repeated."""
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
    name, *words = parsed.lab or [""]
    given = Given(images=tuple(map(str, parsed.image)), runs=tuple(map(str, parsed.run)), data=parsed.data)
    if parsed.print:
        if not name:
            raise TwofoldError("--print needs a lab: twofold lab --list")
        if parsed.port is not None or not parsed.browser:
            raise TwofoldError("--print opens no page; leave --port and --no-browser out")
        _print(name, words, given)
        return 0
    return open_lab(name, words, given, port=parsed.port, browser=parsed.browser)


def open_lab(name: str, words: Sequence[str], given: Given, *, port: int | None = None, browser: bool = True) -> int:
    """Open a lab, or the gallery for "", until Ctrl-C ends it; return the exit code.

    Args:
        name: of the lab.
        words: settings, NAME=VALUE.
        given: what the labs may use.
        port: of the pages; the usual one or one that is free if left out.
        browser: whether to open the browser.

    Raises:
        TwofoldError: there is no such lab or setting, or a file cannot be read.
        RunError: the port is taken.
    """
    if name:
        find_lab(name)
    # Before torch is loaded: oneDNN keeps code for the last 1,024 shapes that it met, and each touch brings new ones.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    with needing("labs", verb="lab"):
        from twofold.labs.host import Host
    if words or given != NOTHING:
        words = _checked(name, words, given)
    host = Host(given, port=port, tell=note) if port is not None else _anywhere(Host, given)
    fragment = "&".join(f"{key}={quote(value)}" for key, _, value in (word.partition("=") for word in words))
    with StopRequest("ending: the labs close") as stop, host:
        note("Ctrl-C ends the labs")
        address = host.address(name, fragment)
        say(address)
        if browser:
            webbrowser.open(address)
        while stop.received is None:
            if not host.is_alive:
                raise RunError("the labs ended by themselves")
            time.sleep(0.1)
    return 0


def _checked(name: str, words: Sequence[str], given: Given) -> list[str]:
    """Return the settings as words, each checked; the lab begins with what was given first."""
    with loading("torch"):
        from twofold.labs.images import Opened
        from twofold.labs.lab import read_words, setting_words, word_of

        opened = Opened(given)
    if not name:
        return []
    kind = find_lab(name).load().Settings
    firsts = {
        "image": opened.first,
        "run": next(iter(opened.runs), None),
        "data": next(iter(opened.data), None),
    }
    begin = []
    for field, first in firsts.items():
        if first is None:
            continue
        if field not in kind.model_fields:
            raise TwofoldError(f"the lab {name} takes no --{field}; leave it out")
        if not any(word.startswith(f"{field}=") for word in words):
            begin.append(f"{field}={word_of(first)}")
    return setting_words(read_words(kind, [*begin, *words]))


def _print(name: str, words: Sequence[str], given: Given) -> None:
    entry = find_lab(name)
    words = _checked(name, words, given)
    from twofold.labs.arrays import as_json
    from twofold.labs.images import Opened
    from twofold.labs.lab import read_words

    lab = entry.load()(Opened(given))
    try:
        shown = lab.compute(read_words(lab.Settings, words))
    except TwofoldError:
        raise
    except ValueError as error:
        raise TwofoldError(str(error)) from error
    finally:
        lab.close()
    print_json(as_json(shown))


def _anywhere(host: type[Host], given: Given) -> Host:
    """Return the pages at the usual port, so that a link which was kept is found again, or where there is room."""
    try:
        return host(given, port=_PORT, tell=note)
    except RunError:
        return host(given, tell=note)
