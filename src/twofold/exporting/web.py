"""A network as a folder of files that any web server can serve: it runs in the browser, with onnxruntime-web.

| file | what |
| --- | --- |
| `index.html`, `page.js`, `show.js`, `style.css` | the page: drop an image, draw, or use the camera |
| `pixels.js` | an image to the pixels that the network takes, equal to Python's, in the arithmetic of Pillow 13 |
| `maps.js` | the feature maps of each stage |
| `model.onnx`, `spec.json` | the network, which also gives the feature maps of its stages; and its classes |
| `runtime/` | onnxruntime-web, copied from where it was unpacked |
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from twofold.data.spec import ModelSpec
from twofold.errors import TwofoldError
from twofold.files import expanded, write_text

_PAGE = Path(__file__).parent / "web_page"
# The build for the processor alone, without the parts for graphics cards: each file in the package, and its name here.
# Servers that don't know the ending .mjs, as nginx, call such a file no script, and browsers then refuse it.
_RUNTIME = {
    "ort.wasm.min.mjs": "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}


def runtime_files(folder: Path | str) -> dict[str, Path]:
    """Return the files of onnxruntime-web that the page needs, each by the name that it has beside the page.

    Args:
        folder: the npm package, unpacked, or a folder into which npm installed it.

    Raises:
        TwofoldError: it is not there, or not whole.
    """
    given = expanded(folder)
    for package in (given, given / "package", given / "node_modules" / "onnxruntime-web"):
        try:
            name = json.loads((package / "package.json").read_text(encoding="utf-8")).get("name")
        except (OSError, ValueError, AttributeError):
            continue
        if name != "onnxruntime-web":
            continue
        files = {name: package / "dist" / file for file, name in _RUNTIME.items()}
        for file in files.values():
            if not file.is_file():
                raise TwofoldError(f"{package} lacks {file.name}: it is another version, or not whole")
        return files
    raise TwofoldError(
        f"{folder} is no npm package onnxruntime-web; get one with npm pack onnxruntime-web, and unpack it"
    )


def kept_runtime(folder: Path) -> dict[str, Path]:
    """Return the files of the runtime that a page has which is written anew, as `runtime_files` does; else none."""
    files = {name: folder / "runtime" / name for name in _RUNTIME.values()}
    return files if all(file.is_file() for file in files.values()) else {}


def page_names() -> set[str]:
    """Return the names of the files of a page, runtime and all, but for those that every export has."""
    return {file.name for file in _PAGE.iterdir() if file.is_file()} | {f"runtime/{name}" for name in _RUNTIME.values()}


def write_page(folder: Path, spec: ModelSpec, runtime: dict[str, Path]) -> None:
    """Write all but the network into a new folder.

    Args:
        folder: which has model.onnx.
        spec: of the network.
        runtime: as `runtime_files` returns them; none leaves the runtime to who serves the folder.
    """
    for file in sorted(_PAGE.iterdir()):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    (folder / "runtime").mkdir()
    for name, file in runtime.items():
        shutil.copyfile(file, folder / "runtime" / name)
    write_text(folder / "spec.json", spec.to_json())
    write_text(folder / "README.md", _readme(spec, has_runtime=bool(runtime)))


def _readme(spec: ModelSpec, *, has_runtime: bool) -> str:
    names = "\n".join(f"    cp package/dist/{file} runtime/{name}" for file, name in _RUNTIME.items())
    missing = (
        ""
        if has_runtime
        else f"""
The page needs onnxruntime-web, which is not here yet:

    npm pack onnxruntime-web
    tar xzf onnxruntime-web-*.tgz
{names}
"""
    )
    return f"""# {spec.architecture} in the browser
{missing}
    python -m http.server --directory .

and open http://localhost:8000. Any server of static files will do; opened as a file, the page cannot load its parts.
Images stay in the browser.

Classes: {", ".join(spec.class_names)}
"""
