"""Files of weights that others wrote: recognised by what is in them, and read without running anything.

A name says little: safetensors are called .pth, checkpoints have no ending, and what was downloaded is a page that asks
for a password. So a file is looked into. What holds weights is safetensors, or what `torch.save` wrote, in today's form
(a ZIP archive) or the one before it (pickles one after the other).

The latter are pickles, and a pickle may name any function to be called. `torch.load` with `weights_only` calls none but
those that make tensors, and refuses all else. Training scripts leave more beside the weights, though: the arguments as
a Namespace, the best accuracy as a number of NumPy's. For a list of such harmless types a stand-in is put, which takes
what it is given and keeps nothing: the type itself is never imported, and the rest of the file can be read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import pickletools
import re
import tarfile
import warnings
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from twofold.errors import TwofoldError
from twofold.names import shown_short
from twofold.terminal import quoted

Parts = dict[str, dict[str, Tensor]]
"""The tensors of a file by the path of keys to the dictionary that they are in, and in it by name."""

_START = 4096
_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19."  # of torch's older form, behind the few bytes that begin a pickle
_MAX_HEADER = 100_000_000  # of safetensors
_MOST_LEVELS = 20  # of dictionaries in one another; weights are in the first few
AGAIN = "get it again"
"""How the description of a file ends that is cut off or damaged."""

_KINDS: tuple[tuple[bytes, str], ...] = (
    (rb"(?s:.{,20})" + re.escape(_MAGIC), "torch"),
    (rb"\Z", f"empty: {AGAIN}"),
    (rb"\0*\Z", f"full of zeros: {AGAIN}"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the weights: run git lfs pull where it was cloned"),
    (
        rb"(?i)\s*(<!doctype html|<html|<head|<!--)",
        "a web page, not the weights: take the link of the file itself (on Hugging Face, /resolve/ in place of /blob/)",
    ),
    (rb"\s*<", "XML text, not weights: perhaps what the server answered in place of the file"),
    (rb"\s*[{[]", "JSON text, not weights: they are in a file beside it, such as model.safetensors"),
    (rb"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes it; convert it to safetensors"),
    (rb"\x93NUMPY", "an array of NumPy's; save tensors by name with safetensors"),
    (rb"GGUF", "GGUF, for language models"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|(?s:RIFF....WEBP)", "an image, not weights"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "compressed: unpack it first, and give what is in it"),
    (rb"(?s:.)*\"dtype\":", f"damaged: {AGAIN}"),
    (rb"[^\0-\x08\x0e-\x1a]+\Z", "text, not weights"),
)
_HARMLESS = re.compile(
    r"numpy\.(core|_core)\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer)"
    r"|numpy\.(dtype|ndarray|float\d+|int\d+|bool_|dtypes\.\w+)"
    r"|argparse\.Namespace|types\.SimpleNamespace|datetime\.\w+|pathlib\.\w+|decimal\.Decimal|fractions\.Fraction"
    r"|uuid\.UUID|collections\.deque|typing\.\w+|omegaconf\.[\w.]+|transformers\.[\w.]*(Config|Strategy|Type)"
    r"|builtins\.(list|dict|tuple|set|frozenset|str|int|float|bool|bytes|object|range|slice)"
)
_MAPPINGS = re.compile(r"collections\.defaultdict|[\w.]*\.(AttributeDict|AttrDict|EasyDict|CfgNode|ConfigDict|Box)")
_HOSTILE = re.compile(
    r"(os|nt|posix|sys|subprocess|commands|shutil|socket|runpy|importlib|ctypes|pty|webbrowser|code|timeit)\..*"
    r"|(builtins\.|__builtin__\.)?(eval|exec|execfile|compile|open|input|getattr|setattr|__import__|breakpoint|apply)"
)
_MODULES = re.compile(r"torch\.nn\.modules\.|torchvision\.models\.|timm\.")
_KEYS = ("state_dict", "model_state_dict", "model", "net", "ema")


class _StandIn:
    """An object of some type that is not imported; nothing of it is kept."""

    def __new__(cls, *unread: Any) -> _StandIn:
        return object.__new__(cls)

    def __init__(self, *unread: Any) -> None:
        pass

    def __setstate__(self, unread: Any) -> None:
        pass


class _Mapping:
    """Makes a plain dictionary in place of a kind of it that is not imported: weights may be inside."""

    def __new__(cls, *unread: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def read_other_file(path: Path) -> Parts:
    """Return the tensors in a file of safetensors or of `torch.save`, whatever it is called.

    Raises:
        TwofoldError: it is something else, is damaged, has no tensors by name, or more than is read for safety.
    """
    kind = kind_of(path)
    if kind not in ("safetensors", "torch"):
        raise TwofoldError(f"{path} is {kind or 'no file of weights of a kind known here: get it again'}")
    try:
        found = safetensors.torch.load_file(path) if kind == "safetensors" else _load_pickled(path)
    except TwofoldError:
        raise
    except Exception as error:  # what damaged bytes raise has no end
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TwofoldError(f"{path} cannot be read: {reason:.200}; perhaps it is damaged: get it again") from error
    if isinstance(found, Tensor):
        raise TwofoldError(f"{path} holds one tensor without a name; a file with tensors by name is needed")
    parts = _tensors(found)
    if not parts:
        first = list(itertools.islice(found, 5)) if isinstance(found, Mapping) else []
        names = [shown_short(key, most=60) for key in first if isinstance(key, str)]
        keys = f": it has {', '.join(names)}" if names else ""
        raise TwofoldError(f"{path} holds no weights{keys}; a file with tensors by name is needed")
    return parts


def kind_of(path: Path) -> str | None:
    """Return "safetensors" or "torch" for a file of weights; else what it is, with the remedy; None if unknown.

    Raises:
        TwofoldError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise TwofoldError(f"{path} cannot be read: {error.strerror or error}") from error
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length < _MAX_HEADER:
        return "safetensors" if 8 + length <= size else f"cut off: {AGAIN}"
    if start.startswith(b"PK") or start[257:262] == b"ustar":
        return _kind_of_archive(path, zipfile.ZipFile if start.startswith(b"PK") else tarfile.open)
    if start[:1] == b"\x80" and start[1:2] <= b"\x05" and _MAGIC not in start[:32]:
        script = f'import pickle, torch; torch.save(pickle.load(open({_literal(path)}, "rb")), {_beside(path)})'
        return (
            "a pickle that torch.save did not write, which could run code if it were read; if you trust it: "
            f"python -c {quoted(script)}"
        )
    return next((what for sign, what in _KINDS if re.match(sign, start)), None)


def _kind_of_archive(path: Path, open_archive: Callable[[Path], Any]) -> str:
    try:
        with open_archive(path) as archive:
            names: list[str] = archive.namelist() if isinstance(archive, zipfile.ZipFile) else archive.getnames()
    except Exception:  # noqa: BLE001 what damaged bytes raise has no end
        return f"cut off or damaged: {AGAIN}"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        script = f"import torch; torch.save(torch.jit.load({_literal(path)}).state_dict(), {_beside(path)})"
        return (
            "TorchScript, a network with its code, which is not read; if you trust it, save its weights alone: "
            f"python -c {quoted(script)}"
        )
    if "data.pkl" in inner:
        return "torch"
    if {"storages", "tensors", "pickle"} <= set(names):
        return "in a form that torch wrote before 2017; load it with torch.load and save it anew"
    if any(name.endswith(".npy") for name in names):
        return "arrays of NumPy's (.npz); save tensors by name with safetensors"
    some = f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
    return f"an archive of other files{some}: unpack it, and give the one with the weights"


def _beside(path: Path) -> str:
    return _literal(path.with_name(f"{path.name.partition('.')[0]}-weights.pth"))


def _literal(text: object) -> str:
    """Return a text as Python reads it, in double quotes, which a shell's single ones can hold."""
    return json.dumps(str(text))


def _load_pickled(path: Path) -> Any:
    """Return what `torch.save` wrote, with stand-ins for harmless types; nothing that the file names is run."""
    pickle = _scan(path)
    stand_ins: list[Any] = [(_StandIn, name) for name in pickle.names if _HARMLESS.fullmatch(name)]
    stand_ins += [(_Mapping, name) for name in pickle.names if _MAPPINGS.fullmatch(name)]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
            warnings.simplefilter("ignore")
            with path.open("rb") as file:  # of a path, torch would look at the ending
                return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        hostile = next((name for name in pickle.names if _HOSTILE.fullmatch(name)), None)
        if hostile is not None:
            message = f"{path} would call {hostile} if it were read, which no weights need: do not use it"
            raise TwofoldError(message) from error
        refused = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
        if not pickle.is_whole or (refused is None and pickle.protocol <= 2):
            raise TwofoldError(f"{path} cannot be read: it is no whole pickle of torch.save's: get it again") from error
        raise TwofoldError(_how_to_save_anew(path, pickle, refused[1] if refused else None)) from error


def _how_to_save_anew(path: Path, pickle: _Pickle, refused: str | None) -> str:
    """Return why a file is not read, and how to get at its weights where it is trusted."""
    key = next((key for key in _KEYS if key in pickle.texts), None) if pickle.is_mapping else None
    is_network = key not in ("state_dict", "model_state_dict") and any(map(_MODULES.match, pickle.names))
    taken = (f"[{_literal(key)}]" if key else "") + (".state_dict()" if is_network else "")
    script = (
        f'import torch; torch.save(torch.load({_literal(path)}, map_location="cpu", weights_only=False){taken}, '
        f"{_beside(path)})"
    )
    what = "a whole network, code included" if is_network else "more than tensors"
    if refused is None:
        what, where = f"{what}, in a pickle of protocol {pickle.protocol}", ""
    else:
        what, where = f"{what} ({refused})", f" where {refused.partition('.')[0]} can be imported"
    return (
        f"{path} holds {what}, which is not read for safety's sake; if you trust it, save its weights alone{where}: "
        f"python -c {quoted(script)}"
    )


@dataclass
class _Pickle:
    """What a pickle names, found without carrying it out: types and functions, and texts.

    `is_mapping` says what its outermost object is, `is_whole` that it could be followed to its end.
    """

    names: dict[str, None] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    is_mapping: bool = False
    is_whole: bool = False
    protocol: int = 0


def _scan(path: Path) -> _Pickle:
    found = _Pickle()
    with contextlib.suppress(Exception), contextlib.ExitStack() as stack:  # if damaged: torch will say so, or refuse
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = stack.enter_context(
                archive.open(next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl"))
            )
        else:
            file = stack.enter_context(path.open("rb"))
            for _ in range(3):  # a number that marks the form, its version, the machine; then what was saved
                for _ in pickletools.genops(file):
                    pass
        last = ["", ""]
        for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if operation.name == "PROTO" and argument is not None:
                found.protocol = argument
            elif operation.name == "EMPTY_DICT" and number <= 2:
                found.is_mapping = True
            elif operation.name in ("GLOBAL", "STACK_GLOBAL"):
                name = ".".join(last if argument is None else argument.split(" ", 1))
                found.names[re.sub(r"^__builtin__\.", "builtins.", name)] = None
            elif isinstance(argument, str):
                found.texts.add(argument)
                last = [last[1], argument]
        found.is_whole = True
    return found


def _tensors(found: Any) -> Parts:
    """Return the tensors of nested dictionaries that a network could take; others are no weights."""
    parts: Parts = {}
    seen: dict[int, str] = {}
    waiting = deque([("", found)] if isinstance(found, Mapping) else [])
    while waiting:
        path, values = waiting.popleft()
        if id(values) in seen:  # saved under two keys; or inside itself, if damaged
            if (same := parts.get(seen[id(values)])) is not None:
                parts[path] = same
            continue
        seen[id(values)] = path
        for name, value in values.items():
            if not isinstance(name, str):
                continue  # an optimiser's state, by the number of its parameter
            if isinstance(value, Tensor):
                if value.layout == torch.strided and not (value.is_quantized or value.is_complex() or value.is_meta):
                    parts.setdefault(path, {})[name] = value.detach()
            elif isinstance(value, Mapping) and path.count(".") < _MOST_LEVELS:
                waiting.append((f"{path}.{name}" if path else name, value))
    return parts
