import contextlib
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from PIL import Image

from data.conftest import save_folder, save_image
from twofold.data import DataError
from twofold.data.sources.folder import open_folder
from twofold.data.sources.layout import SPLIT_NAMES, detection_message
from twofold.data.sources.listing import is_litter, list_folder


def scan(root: Path, **options):
    return open_folder(root, show_progress=False, **options)


def kinds(error: pytest.ExceptionInfo[DataError]) -> list[str]:
    return [problem.kind for problem in error.value.problems]


def test_a_folder_of_classes(photos: Path):
    result = scan(photos)
    assert result.class_names == ("cat", "dog")
    assert list(result.splits) == ["all"]
    split = result.splits["all"]
    assert [Path(path).relative_to(photos).as_posix() for path in split.paths] == [
        *(f"cat/{number:03d}.png" for number in range(10)),
        *(f"dog/{number:03d}.png" for number in range(6)),
    ]
    assert split.targets.labels.tolist() == [0] * 10 + [1] * 6
    assert (result.channels, result.median_side, result.problems) == (3, 12, ())
    assert list_folder(photos).num_ignored == 0


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_a_folder_of_splits(tmp_path: Path, val):
    save_folder(tmp_path, {"train/cat": 3, "train/dog": 2, f"{val}/dog": 1, "test/cat": 2}, mode="L")
    result = scan(tmp_path)
    assert {split: len(part.paths) for split, part in result.splits.items()} == {"train": 5, "val": 1, "test": 2}
    assert result.splits["val"].targets.labels.tolist() == [1]
    assert result.channels == 1


def test_a_class_may_be_called_train(tmp_path: Path):
    save_folder(tmp_path, {"train": 1, "bus": 1})
    assert scan(tmp_path).class_names == ("bus", "train")


def test_folders_beside_train_are_noted(tmp_path: Path):
    save_folder(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "labels/x": 1})
    result = scan(tmp_path)
    assert result.class_names == ("a", "b")
    assert result.notes == ("not used, because they stand beside train/: labels",)


def test_what_is_found_and_what_is_ignored(tmp_path: Path):
    save_folder(tmp_path, {"a": 1, "b": 1})
    for name in ("deep/er/x.JPG", "y.Tiff", "z.webp", "w.bmp", "v.jpeg", "u.tif"):
        save_image(tmp_path / "a" / name)
    for name in ("a/Thumbs.db", "a/notes.txt", "a/.hidden.png", ".git", "a/.cache", "readme.md"):
        path = tmp_path / name
        path.write_bytes(b"x")
    save_image(tmp_path / "loose.png")
    result = scan(tmp_path)
    assert len(result.splits["all"].paths) == 8
    assert list_folder(tmp_path).num_ignored == 7
    assert result.notes == ("1 images lie outside every class folder and are not used",)


def test_a_wrong_suffix_is_fine(photos: Path):
    shutil.copy(photos / "cat" / "000.png", photos / "cat" / "other.jpg")
    assert len(scan(photos).splits["all"].paths) == 17


def test_grey_in_truth_is_grey(tmp_path: Path):
    save_folder(tmp_path, {"a": 2, "b": 2}, mode="L")
    with Image.open(tmp_path / "a" / "000.png") as image:
        image.convert("RGB").save(tmp_path / "a" / "000.png")
    assert scan(tmp_path).channels == 1
    save_image(tmp_path / "b" / "colour.png")
    assert scan(tmp_path).channels == 3


def test_broken_images_are_listed_and_can_be_skipped(photos: Path):
    (photos / "cat" / "000.png").write_bytes(b"")
    whole = (photos / "dog" / "001.png").read_bytes()
    (photos / "dog" / "001.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as raised:
        scan(photos)
    lines = str(raised.value).split("\n")
    assert lines[0] == f"{photos} has 2 problems: 2 × broken image"
    assert lines[1].startswith("  cat/000.png: is empty")
    assert lines[2].startswith("  dog/001.png: is truncated")
    assert "--skip-broken" in lines[3]
    assert [problem.path for problem in raised.value.problems] == ["cat/000.png", "dog/001.png"]
    result = scan(photos, skip_broken=True)
    assert len(result.splits["all"].paths) == 14
    assert [problem.path for problem in result.problems] == ["cat/000.png", "dog/001.png"]
    assert not any(path.endswith("cat/000.png") for path in result.splits["all"].paths)


def test_a_long_list_is_cut(photos: Path):
    for number in range(23):
        (photos / "cat" / f"bad{number:02d}.png").write_bytes(b"x")
    with pytest.raises(DataError) as raised:
        scan(photos)
    lines = str(raised.value).split("\n")
    assert len(lines) == 23
    assert lines[21] == "  and 3 more"
    assert len(raised.value.problems) == 23


def test_an_empty_class(photos: Path):
    (photos / "bird").mkdir()
    with pytest.raises(DataError, match="bird: this class has no image to train on") as raised:
        scan(photos)
    assert kinds(raised) == ["empty class"]
    assert scan(photos, skip_broken=True).class_names == ("cat", "dog")


def test_a_class_with_broken_images_alone_is_dropped(photos: Path):
    (photos / "bird").mkdir()
    (photos / "bird" / "a.png").write_bytes(b"x")
    result = scan(photos, skip_broken=True)
    assert result.class_names == ("cat", "dog")
    assert [problem.kind for problem in result.problems] == ["broken image", "empty class"]


def test_links(photos: Path):
    (photos / "cat" / "loop").symlink_to(photos)
    (photos / "cat" / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "dog" / "self").symlink_to("self")
    with pytest.raises(DataError) as raised:
        scan(photos)
    assert sorted(kinds(raised)) == ["dangling link", "link loop", "link loop"]
    assert all(problem.skippable for problem in raised.value.problems)
    assert len(scan(photos, skip_broken=True).splits["all"].paths) == 16


def test_links_to_folders_and_files_are_followed(tmp_path: Path):
    save_folder(tmp_path / "store", {"x": 2, "y": 2})
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(tmp_path / "store" / "x")
    (root / "b").mkdir()
    (root / "b" / "1.png").symlink_to(tmp_path / "store" / "y" / "000.png")
    result = scan(root)
    assert result.class_names == ("a", "b")
    assert result.splits["all"].targets.labels.tolist() == [0, 0, 1]


def test_one_class_cannot_be_trained_but_evaluated(tmp_path: Path):
    save_folder(tmp_path, {"cat": 2})
    with pytest.raises(DataError, match="the only class is 'cat'") as raised:
        scan(tmp_path, skip_broken=True)
    assert "--skip-broken does not help" in str(raised.value)
    assert scan(tmp_path, for_training=False).class_names == ("cat",)


def test_classes_that_differ_in_case(tmp_path: Path):
    save_folder(tmp_path, {"Cat": 1, "cat": 1, "dog": 1})
    with pytest.raises(DataError, match="differs from the class 'Cat' in letter case alone") as raised:
        scan(tmp_path, skip_broken=True)
    assert kinds(raised) == ["same class twice"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_train_lacks(tmp_path: Path, split):
    save_folder(tmp_path, {"train/a": 1, "train/b": 1, f"{split}/a": 1, f"{split}/c": 1})
    with pytest.raises(DataError, match=f"{split}/c: this class has no images in train/"):
        scan(tmp_path, skip_broken=True)
    assert scan(tmp_path, for_training=False).class_names == ("a", "b", "c")


def test_two_folders_for_one_split(tmp_path: Path):
    save_folder(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "valid/a": 1})
    with pytest.raises(DataError, match="valid: means the same split as val; keep one"):
        scan(tmp_path, skip_broken=True)


def test_what_blocks_is_listed_first(tmp_path: Path):
    save_folder(tmp_path, {"a": 1, "A": 1, "b": 1})
    (tmp_path / "b" / "bad.png").write_bytes(b"x")
    with pytest.raises(DataError) as raised:
        scan(tmp_path)
    assert kinds(raised) == ["same class twice", "broken image"]
    assert "put the first 1 right in the folder; the others can be left out" in str(raised.value)


def test_unusable_roots_give_one_line(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"x")
    save_image(tmp_path / "flat" / "a.png")
    (tmp_path / "texts" / "a").mkdir(parents=True)
    (tmp_path / "texts" / "a" / "x.txt").write_text("x")
    expected = {
        "missing": "no such folder",
        "file.png": "is a file, not a folder",
        "empty": "holds no images",
        "flat": "holds 1 image but no class folders",
        "texts": r"holds no images that can be read; put .* into its folders \(a\)",
    }
    for name, message in expected.items():
        with pytest.raises(DataError, match=message) as raised:
            scan(tmp_path / name)
        assert "\n" not in str(raised.value)
        assert len(raised.value.problems) == 1
        assert not raised.value.problems[0].skippable


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Run as someone whom permissions bind; tests in a container often run as the superuser."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folders_and_files_without_permission():
    # Not in tmp_path, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        root = save_folder(Path(name) / "photos", {"cat": 2, "dog": 2, "hen": 2})
        Path(name).chmod(0o755)
        (root / "cat").chmod(0)
        (root / "dog" / "000.png").chmod(0)
        with as_ordinary_user(), pytest.raises(DataError) as raised:
            scan(root)
        assert "cat: cannot be opened: Permission denied" in str(raised.value)
        assert "dog/000.png: cannot be read: Permission denied" in str(raised.value)
        root.chmod(0)
        with as_ordinary_user(), pytest.raises(DataError, match=r"cannot open the folder .*: Permission denied"):
            scan(root)
        for folder in (root, root / "cat"):
            folder.chmod(0o755)


def test_the_second_start_decodes_nothing(photos: Path, cache: Path):
    first = scan(photos)
    (file,) = (cache / "checked").iterdir()
    # Same size and time of change, other content: only a file that is not read again passes.
    path = photos / "cat" / "000.png"
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = scan(photos)
    assert second.fingerprint == first.fingerprint
    # Changed later, it is seen.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"cat/000\.png"):
        scan(photos)
    assert "000.png" not in [key.rpartition("cat/")[2] for key in json.loads(file.read_text())["files"]]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "files": {"a": 1}}', '{"version": 9, "files": {}}']
)
def test_a_damaged_cache_is_passed_over(photos: Path, cache: Path, content):
    first = scan(photos)
    (file,) = (cache / "checked").iterdir()
    file.write_text(content)
    assert scan(photos).fingerprint == first.fingerprint
    assert len(json.loads(file.read_text())["files"]) == 16


def test_an_unwritable_cache_is_passed_over(photos: Path, cache: Path):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    assert len(scan(photos).splits["all"].paths) == 16


def test_failures_are_not_remembered(photos: Path, cache: Path):
    (photos / "cat" / "bad.png").write_bytes(b"x")
    scan(photos, skip_broken=True)
    (file,) = (cache / "checked").iterdir()
    assert len(json.loads(file.read_text())["files"]) == 16


def test_the_fingerprint_is_of_the_content_not_of_the_place(photos: Path, tmp_path: Path):
    first = scan(photos).fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    assert scan(copy).fingerprint == first
    save_image(copy / "cat" / "new.png")
    assert scan(copy).fingerprint != first


def test_without_a_check_a_sample_is_decoded(tmp_path: Path):
    save_folder(tmp_path, {"a": 100, "b": 100}, size=(4, 4))
    (tmp_path / "a" / "001.png").write_bytes(b"x")  # every third is looked at: 0, 3, 6 …
    result = scan(tmp_path, check=False)
    assert len(result.splits["all"].paths) == 200
    assert (result.channels, result.median_side) == (3, 4)
    with pytest.raises(DataError, match=r"a/001\.png"):
        scan(tmp_path)


# Hypothesis also draws the words of our own code, some of which mean something as the name of a folder.
names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: not is_litter(name) and name.lower() not in SPLIT_NAMES)


@given(classes=st.dictionaries(names, st.integers(1, 3), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_class_names(tmp_path_factory: pytest.TempPathFactory, classes):
    assume(detection_message(list(classes)) is None)
    root = save_folder(tmp_path_factory.mktemp("any"), classes, size=(2, 2))
    same = {unicodedata.normalize("NFC", name).casefold() for name in classes}
    if len(same) < len(classes):
        with pytest.raises(DataError, match="in letter case alone"):
            scan(root)
    else:
        result = scan(root)
        assert result.class_names == tuple(sorted(classes))
        assert result.splits["all"].targets.labels.bincount().tolist() == [classes[name] for name in result.class_names]
