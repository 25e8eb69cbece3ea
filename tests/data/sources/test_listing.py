"""One walk for every verb: links are followed, and what other systems leave behind is seen by none of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data.conftest import save_folder, save_image
from twofold.data import DataError
from twofold.data.inspection import inspect_folder
from twofold.data.sources.folder import open_folder
from twofold.data.sources.listing import list_folder, list_images
from twofold.data.sources.pack import PackOptions, pack_folder
from twofold.engine.finetune import finetune_epochs

LITTER = [
    ".ipynb_checkpoints/a-checkpoint.png",
    "__MACOSX/a.png",
    "__MACOSX/cat/._a.png",
    "._a.png",
    ".hidden.png",
    ".thumbnails/a.png",
    "@eaDir/a.png/SYNOFILE_THUMB_M.png",
    "#recycle/a.png",
    "$RECYCLE.BIN/a.png",
    "System Volume Information/a.png",
]
NO_IMAGES = ["Thumbs.db", ".DS_Store", "desktop.ini", "ehthumbs.db"]


def names_by_verb(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return the images that each way into a folder finds, relative to it."""
    from twofold.cli.predict import _expand
    from twofold.data.sources.packed import open_packed

    found = open_folder(root, show_progress=False)
    evaluated = open_folder(root, for_training=False, show_progress=False)
    looked_at: list[str] = []
    monkeypatch.setattr("twofold.data.inspection.open_image", lambda path: looked_at.append(path) or fail(path))
    inspect_folder(root, show_progress=False)
    pack_folder(root, out, PackOptions(), show_progress=False)
    packed = open_packed(out).splits["all"]
    sources, num_lost = _expand([str(root)])
    assert num_lost == 0
    absolute = {
        "train": found.splits["all"].paths,
        "eval": evaluated.splits["all"].paths,
        "check": looked_at,
        "predict": sources,
    }
    relative = {verb: [Path(path).relative_to(root).as_posix() for path in paths] for verb, paths in absolute.items()}
    relative["pack"] = [packed.describe(index).partition(" (in ")[0] for index in range(len(packed))]
    return {verb: sorted(paths) for verb, paths in relative.items()}


def fail(path: str) -> None:
    from twofold.data import BrokenImageError

    raise BrokenImageError(path, "not looked at")


def test_litter_and_links_in_every_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = save_folder(tmp_path / "store", {"more": 2, "owls": 2})
    root = save_folder(tmp_path / "photos", {"cat": 2, "dog/old": 2})
    for name in LITTER:
        save_image(root / name)
        save_image(root / "cat" / name)
    for name in NO_IMAGES:
        (root / "cat" / name).write_bytes(b"x")
    (root / "cat" / "linked").symlink_to(store / "more")
    (root / "owl").symlink_to(store / "owls")
    expected = sorted(
        f"{folder}/{number:03d}.png" for folder in ("cat", "cat/linked", "dog/old", "owl") for number in range(2)
    )
    found = names_by_verb(root, tmp_path / "packed", monkeypatch)
    assert found == dict.fromkeys(found, expected)
    assert inspect_folder(root, show_progress=False).of("format not read") == []


def test_fine_tuning_counts_what_training_uses(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    store = save_folder(tmp_path / "store", {"cat": 30, "dog": 30})
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        (root / split / "cat").symlink_to(store / "cat")
        (root / split / "dog").symlink_to(store / "dog")
        for number in range(400):
            (root / split / f".{number}.png").touch()
    few = finetune_epochs(str(root))
    assert few == 100
    for name in ("cat", "dog"):
        for number in range(30, 1200):
            (store / name / f"{number}.png").touch()
    assert finetune_epochs(str(root)) == 10
    pack = tmp_path / "packed"
    images = save_folder(tmp_path / "images", {"cat": 150, "dog": 150}, size=(2, 2))
    pack_folder(images, pack, PackOptions(), show_progress=False)
    assert finetune_epochs(str(pack)) == finetune_epochs(str(images)) == 80


def test_loops_end_and_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from twofold.cli.predict import _expand

    root = save_folder(tmp_path / "photos", {"cat": 2, "dog": 2})
    (root / "cat" / "loop").symlink_to(root)
    (root / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    sources, num_lost = _expand([str(root), "other.png"])
    assert len(sources) == 5
    assert num_lost == 1
    err = capsys.readouterr().err
    assert f"note: {root / 'cat' / 'loop'}: is a link to a folder that is read already; remove the link" in err
    assert f"error: {root / 'dog' / 'gone.png'}: is a link to {root / 'nowhere.png'}, which is not there" in err


def test_files_of_a_folder_itself(tmp_path: Path) -> None:
    save_image(tmp_path / "b.JFIF.PNG")
    save_image(tmp_path / "a" / "z.png")
    files, listing = list_images(tmp_path)
    assert [file.relative for file in files] == ["a/z.png", "b.JFIF.PNG"]
    assert listing.problems == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images that can be read; put PNG, JPEG"):
        list_images(tmp_path / "empty")


def test_one_image_is_asked_for(tmp_path: Path, fails: Callable[..., str]) -> None:
    folder = save_folder(tmp_path / "photos", {"cat": 1})
    for arguments in (["augment", folder], ["explain", tmp_path, folder]):
        assert f"{folder} is a folder; give the path of one image" in fails(arguments)


def test_texts_beside_images_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files beside images, whose endings say what they are, are not looked into."""
    save_folder(tmp_path, {"cat": 1})
    for number in range(20):
        (tmp_path / "cat" / f"{number}.txt").write_text("0 0.5 0.5 1 1")
    monkeypatch.setattr("builtins.open", lambda *arguments, **options: pytest.fail("opened"))
    assert list_folder(tmp_path).num_ignored == 20


def test_the_folder_of_a_run_is_left_out_of_a_walk(tmp_path: Path) -> None:
    for name in ("photos/a.png", "runs/first/mistakes/000.png", "runs/second/mistakes/000.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save_image(tmp_path / name)
    for name in ("first", "second"):
        (tmp_path / "runs" / name / "checkpoints").mkdir()
        (tmp_path / "runs" / name / "recipe.json").write_text("{}")
    files, listing = list_images(tmp_path)
    assert [file.relative for file in files] == ["photos/a.png"]
    assert listing.notes == ["left out, because twofold train wrote it: runs/first, runs/second"]


def test_a_link_that_is_gone_by_the_time_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(tmp_path / "photos", {"cat": 1, "dog": 1})
    (tmp_path / "photos" / "cat" / "gone.png").symlink_to("nowhere.png")

    def gone(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr("twofold.data.sources.listing.os.readlink", gone)
    (problem,) = list_folder(tmp_path / "photos").problems
    assert (problem.path, problem.message) == ("cat/gone.png", "cannot be read: No such file or directory")
