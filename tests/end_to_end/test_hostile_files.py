"""Files as strangers make them: names of any bytes; images, weights and records that were cut, mixed up or made up.

Whatever they hold, a command ends in an exit code that it means, without a traceback, and soon. `make fuzz` runs ten
thousand cases (the profile "long"); the suite a few of each.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file

from data.sources.boxed import make_coco, make_csv, make_labelme, make_voc, make_yolo
from encoded import encoded_images
from small_predictors import boot, images, run  # noqa: F401 - fixtures
from twofold.cli.main import main
from twofold.data.decode import open_image
from twofold.data.sources.find import find_data
from twofold.engine.weights import Weights, find_weights
from twofold.errors import TwofoldError
from twofold.models import create_model

# No case may hang: none needs a second, and a shared machine may be thirty times as slow.
# The suite tries the same cases each time; `make fuzz` draws new ones.
fuzz = settings(
    derandomize=settings.get_current_profile_name() != "long",
    deadline=datetime.timedelta(seconds=30),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ENDINGS = (
    ".png",
    ".jpg",
    ".JPEG",
    ".webp",
    ".gif",
    ".tif",
    ".bmp",
    ".avif",
    ".jp2",
    ".ppm",
    ".tga",
    ".jfif",
    ".heic",
    "",
)


def mutated(contents: list[bytes]) -> st.SearchStrategy[bytes]:
    """Contents with bytes changed, cut, doubled, put in, or two of them joined."""

    @st.composite
    def draw_mutated(draw: st.DrawFn) -> bytes:
        content = bytearray(draw(st.sampled_from(contents)))
        for _ in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, max(0, len(content) - 1)))
            # Most of what decides how a file is read stands at its beginning.
            at = at % 64 if draw(st.booleans()) else at
            kind = draw(st.sampled_from(("flip", "set", "cut", "drop", "double", "insert", "join")))
            if kind == "flip" and content:
                content[at % len(content)] ^= 1 << draw(st.integers(0, 7))
            elif kind == "set":
                content[at : at + 4] = draw(st.sampled_from((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")))
            elif kind == "cut":
                del content[at:]
            elif kind == "drop":
                del content[at : at + draw(st.integers(1, 200))]
            elif kind == "double":
                content[at:at] = content[at : at + draw(st.integers(1, 200))]
            elif kind == "insert":
                content[at:at] = draw(st.binary(max_size=40))
            else:
                content[at:] = draw(st.sampled_from(contents))[at:]
        return bytes(content)

    return draw_mutated()


IMAGES = encoded_images()
# Any bytes but those that no name can have.
NAMES = (
    st.binary(min_size=1, max_size=40)
    .map(lambda name: name.replace(b"/", b"|").replace(b"\0", b"0"))
    .filter(lambda name: name not in {b".", b".."})
)


@pytest.fixture
def answer(capfd: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """Run a command in this process; return its exit code after a look at what it printed."""

    def run_command(*arguments: str | Path) -> int:
        code = main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err + printed.out
        assert code in {0, 1, 2}, printed.err
        # What a check finds is its result and stands on standard output.
        assert code == 0 or "error: " in printed.err or arguments[0] == "data", (code, printed)
        return code

    return run_command


@fuzz
@given(content=mutated(IMAGES), ending=st.sampled_from(ENDINGS))
def test_images_of_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    path.write_bytes(content)
    try:
        image = open_image(path)
    except TwofoldError as error:
        assert "\n" not in str(error)
    else:
        assert image.mode in {"L", "RGB"}


@fuzz
@given(
    files=st.lists(st.tuples(NAMES, st.sampled_from(ENDINGS), mutated(IMAGES)), min_size=1, max_size=4),
    classes=st.lists(NAMES, min_size=1, max_size=3, unique=True),
)
def test_folders_of_any_names_are_checked_and_predicted(
    run: Path,  # noqa: F811
    tmp_path: Path,
    answer: Callable[..., int],
    files: list[tuple[bytes, str, bytes]],
    classes: list[bytes],
) -> None:
    root = tmp_path / "folder"
    shutil.rmtree(root, ignore_errors=True)
    for number, (name, ending, content) in enumerate(files):
        folder = os.path.join(os.fsencode(root), classes[number % len(classes)])
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name + ending.encode())
        if not os.path.isdir(path):
            Path(os.fsdecode(path)).write_bytes(content)
    answer("data", "check", root)
    answer("predict", run, root, "--json")


@pytest.fixture(scope="module")
def checkpoints(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:  # noqa: F811
    """Weights as they are exchanged: ours, safetensors, torch's archive and torch's old form."""
    folder = tmp_path_factory.mktemp("weights")
    weights = {name: value.clone() for name, value in create_model("lenet-bn", in_channels=1).state_dict().items()}
    save_file(weights, folder / "a.safetensors")
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in weights.items()}, "epoch": 3}, folder / "b.pth"
    )
    torch.save(weights, folder / "c.pt", _use_new_zipfile_serialization=False)
    shutil.copy(run / "checkpoints" / "best.safetensors", folder / "d.safetensors")
    return [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]


@fuzz
@given(data=st.data())
def test_weights_of_any_bytes_are_loaded_or_refused(
    checkpoints: list[tuple[str, bytes]],
    boot: Path,  # noqa: F811
    tmp_path: Path,
    answer: Callable[..., int],
    data: st.DataObject,
) -> None:
    suffix, _ = data.draw(st.sampled_from(checkpoints))
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(data.draw(mutated([content for _, content in checkpoints])))
    try:
        found = find_weights(str(path), model="lenet-bn", show_progress=False)
    except TwofoldError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, Weights)
    answer("predict", path, boot)


@fuzz
@given(data=st.data())
def test_records_of_any_bytes_are_shown_or_refused(
    run: Path,  # noqa: F811
    tmp_path: Path,
    answer: Callable[..., int],
    data: st.DataObject,
) -> None:
    copy = tmp_path / "runs" / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    name = data.draw(
        st.sampled_from(["run.json", "recipe.json", "evaluation.json", "metrics.jsonl", "environment.json"])
    )
    content = (copy / name).read_bytes()
    if data.draw(st.booleans()):
        (copy / name).write_bytes(data.draw(mutated([content])))
    else:
        # Valid JSON with another value somewhere.
        record = json.loads(content.splitlines()[0] if name == "metrics.jsonl" else content)
        record[data.draw(st.sampled_from(sorted(record)))] = data.draw(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
                max_leaves=4,
            )
        )
        (copy / name).write_text(json.dumps(record))
    answer("report", copy)
    answer("runs", copy.parent)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from((10**400, "nan", "1e9", "../a.png", "")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=6,
)
FORMATS = {
    "coco": (make_coco, "instances.json"),
    "voc": (make_voc, "Annotations/a.xml"),
    "yolo": (make_yolo, "labels/a.txt"),
    "yolo:data.yaml": (make_yolo, "data.yaml"),
    "labelme": (make_labelme, "a.json"),
    "boxes": (make_csv, "boxes.csv"),
}
# The strange things that a mutation of a few bytes seldom makes.
STRANGE = (
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"<a>" * 50_000,
    b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>',
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation><filename>&b;</filename></annotation>',
    b"0 nan inf 1e999 -1\n1 0 0 0 0\n99999999999999999999 0.5 0.5 0.5 0.5\n",
    b"names: &a [*a, *a]\n",
    b"names: [" + b"[" * 5_000 + b"]\n",
    b"\xff\xfe\x00",
    b"",
)


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, bytes]]:
    """Of each format: what means the data, the file of annotations to change, and its content."""
    made = {}
    for name, (make, inside) in FORMATS.items():
        root = tmp_path_factory.mktemp("boxed")
        make(root)
        path = root / inside
        made[name] = (path if name in ("coco", "boxes", "yolo:data.yaml") else root, path, path.read_bytes())
    return made


def changed_json(draw: st.DrawFn, content: bytes) -> bytes:
    """Return valid JSON with another value somewhere, at any depth."""
    value = top = json.loads(content)
    for _ in range(draw(st.integers(0, 3))):
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        inner = [place for place in places if isinstance(value[place], dict | list) and value[place]]
        if not inner:
            break
        value = value[draw(st.sampled_from(inner))]
    place = draw(st.sampled_from(list(value) if isinstance(value, dict) else list(range(len(value)))))
    value[place] = draw(ANY_JSON)
    return json.dumps(top).encode()


@settings(fuzz, max_examples=10_000 if settings.get_current_profile_name() == "long" else 100)
@given(data=st.data())
def test_boxes_of_any_bytes_are_read_or_refused(
    boxed: dict[str, tuple[Path, Path, bytes]], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(boxed)))
    said, path, content = boxed[name]
    way = data.draw(st.sampled_from(("bytes", "bytes", "strange", "value")))
    if way == "value" and path.suffix == ".json":
        content = changed_json(data.draw, content)
    elif way == "strange":
        content = data.draw(st.sampled_from(STRANGE))
    else:
        content = data.draw(mutated([content]))
    path.write_bytes(content)
    skip = data.draw(st.booleans())
    try:
        found = find_data(f"{name.partition(':')[0]}:{said}", skip_broken=skip, show_progress=False)
    except TwofoldError as error:
        assert all("\n" not in line and len(line) < 1000 for line in error.lines)
    else:
        for part in found.splits.values():
            boxes, sizes = part.targets.boxes, part.targets.sizes[part.targets.images()]
            assert bool(torch.isfinite(boxes).all())
            assert bool((boxes[:, 2:] > boxes[:, :2]).all())
            assert bool((boxes >= 0).all())
            assert bool((boxes[:, 2:] <= sizes.flip(1)).all())
