"""Labels in a table: the images of a folder, by rows."""

import csv
import gzip
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from data.conftest import save_image
from twofold.data import DataError, LabelSetTargets, PackOptions, inspect_folder, load_data, pack_folder
from twofold.data.sources.find import find_data
from twofold.data.sources.folder import open_folder
from twofold.data.sources.listing import ImageFile
from twofold.data.sources.packed import open_packed
from twofold.data.sources.table import list_table, open_table
from twofold.data.sources.table_index import ImageIndex
from twofold.errors import TwofoldError


def write(path: Path, *rows: tuple, header: tuple[str, ...] = ("image", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def scan(table: Path, images: Path | None = None, columns: dict[str, str] | None = None, **options):
    return open_table(table, images, columns, show_progress=False, **options)


def labels_of(found) -> dict[str, dict[str, str]]:
    """Each split's files by name, with their class."""
    return {
        split: {
            os.path.basename(path): found.class_names[label]
            for path, label in zip(part.paths, part.targets.labels.tolist(), strict=True)
        }
        for split, part in found.splits.items()
    }


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Eight images 0.png … 7.png in one folder, as on Kaggle."""
    for number in range(8):
        save_image(tmp_path / "images" / f"{number}.png", seed=number)
    return tmp_path / "images"


@pytest.fixture
def table(flat: Path) -> Path:
    """The classes of all of them: cat and dog."""
    rows = [(f"{number}.png", "dog" if number % 2 else "cat") for number in range(8)]
    return write(flat.parent / "labels.csv", *rows)


def problems_of(error: pytest.ExceptionInfo[DataError]) -> list[tuple[str, str, str]]:
    return [(problem.kind, problem.path, problem.message) for problem in error.value.problems]


def test_a_table_and_a_flat_folder(flat: Path, table: Path):
    found = scan(table, flat)
    assert found.class_names == ("cat", "dog")
    assert labels_of(found) == {"all": {f"{n}.png": "dog" if n % 2 else "cat" for n in (0, 2, 4, 6, 1, 3, 5, 7)}}
    assert (found.name, found.source, found.channels, found.median_side) == ("labels", str(table), 3, 12)
    assert (found.notes, found.problems, found.groups) == ((), (), {})


def test_a_gzipped_table_is_the_table(flat: Path, table: Path):
    packed = table.with_name("labels.csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    found, expected = (find_data(str(path), images=flat, show_progress=False) for path in (packed, table))
    assert (found.name, found.fingerprint) == (expected.name, expected.fingerprint)
    assert labels_of(found) == labels_of(expected)


def test_a_table_of_a_folder_trains_as_the_folder_does(photos: Path, tmp_path: Path):
    files = sorted(photos.rglob("*.png"), key=lambda path: path.name)
    table = write(tmp_path / "t.csv", *((path.relative_to(photos), path.parent.name) for path in files))
    by_table, by_folder = scan(table, photos), open_folder(photos, show_progress=False)
    assert by_table.splits["all"].paths == by_folder.splits["all"].paths
    assert by_table.fingerprint == by_folder.fingerprint
    one = load_data(str(table), images=photos, image_size=8, show_progress=False)
    other = load_data(str(photos), image_size=8, show_progress=False)
    for split in ("train", "val"):
        indices = torch.arange(len(getattr(one, split)))
        assert torch.equal(getattr(one, split).load(indices), getattr(other, split).load(indices))


def test_splits_and_groups_of_a_table(flat: Path):
    words = ("train", "Training", "TRAIN", "train", "val", "valid", "Validation", "test")
    rows = [(number, "ab"[number % 2], word, f"p{number // 2}") for number, word in enumerate(words)]
    table = write(flat.parent / "t.csv", *rows, header=("id", "class", "split", "patient"))
    found = scan(table, flat)
    assert {split: list(files) for split, files in labels_of(found).items()} == {
        "train": ["0.png", "2.png", "1.png", "3.png"],
        "val": ["4.png", "6.png", "5.png"],
        "test": ["7.png"],
    }
    assert {split: groups.tolist() for split, groups in found.groups.items()} == {
        "train": [0, 1, 0, 1],
        "val": [2, 3, 2],
        "test": [3],
    }
    assert found.notes == (
        "images with the same 'patient' stay in the same split",
        "1 group is in several splits of the table, such as p3",
    )


def test_the_folder_of_the_table_is_where_images_are_looked_for(flat: Path):
    table = write(flat / "labels.csv", *((f"{number}.png", "ab"[number % 2]) for number in range(8)))
    assert len(scan(table).splits["all"]) == 8
    above = write(flat.parent / "t.csv", *((f"images/{number}.png", "ab"[number % 2]) for number in range(8)))
    assert scan(above).splits["all"].paths == [str(flat / f"{number}.png") for number in (0, 2, 4, 6, 1, 3, 5, 7)]


@pytest.mark.parametrize(
    "name",
    [
        "deep/er/x.png",
        "./deep/er/x.png",
        "deep/../deep/er/x.png",
        "images/deep/er/x.png",  # from the folder of the table
        "../images/deep/er/x.png",
        "deep\\er\\x.png",
        "deep/er/x",
        "x.png",
        "x",
        "DEEP/er/x.png",
    ],
)
def test_ways_to_name_an_image(flat: Path, table: Path, name):
    save_image(flat / "deep" / "er" / "x.png")
    file = ImageIndex(flat, table).find(name)
    assert isinstance(file, ImageFile)
    assert file.relative == "deep/er/x.png"


def test_names_that_an_archive_of_a_mac_took_apart(flat: Path, table: Path):
    save_image(flat / "cafe\u0301.png")
    found = ImageIndex(flat, table).find("caf\u00e9.png")
    assert isinstance(found, ImageFile)


def test_absolute_paths_lead_into_the_folder_or_nowhere(flat: Path, table: Path):
    index = ImageIndex(flat, table)
    assert isinstance(index.find(str(flat / "3.png")), ImageFile)
    save_image(flat.parent / "secret.png")
    os.symlink(flat.parent / "secret.png", flat / "linked.png")
    assert isinstance(index.find(str(flat / "3.png")), ImageFile)
    for name in (str(flat.parent / "secret.png"), "../secret.png", "a/../../secret.png", "/etc/passwd", "//3.png"):
        assert index.find(name) == f"lies outside of {flat}"


@pytest.mark.parametrize("name", ["x" * 100_000, "a/" * 400_000])
def test_a_cell_that_swallowed_what_follows_is_told_in_short(flat: Path, table: Path, name):
    with table.open("a") as file:
        csv.writer(file).writerow([name[:130_000], "cat"])
    index = ImageIndex(flat, table)
    assert index.find(name) == "is too long for the name of a file; is a quote missing there?"
    (problem,) = list_table(table, flat).listing.problems
    assert problem.message.startswith(name[:100])
    assert len(problem.message) < 300


def test_whole_numbers_of_any_length_are_classes_in_order(flat: Path, table: Path):
    labels = ["10", "9", "9" * 5000, "1" + "0" * 5000, "010", "8", "8", "8"]
    write(table, *((f"{number}.png", label) for number, label in enumerate(labels)))
    assert scan(table, flat).class_names == ("8", "9", "010", "10", "9" * 5000, "1" + "0" * 5000)


def test_images_that_are_not_found_say_why(flat: Path, table: Path):
    save_image(flat / "a" / "same.png")
    save_image(flat / "b" / "same.png")
    (flat / "scan.dcm").write_bytes(b"x")
    os.symlink(flat / "nowhere.png", flat / "gone.png")
    (flat / ".hidden").mkdir()
    save_image(flat / ".hidden" / "h.png")
    index = ImageIndex(flat, table)
    assert index.find("same.png") == "may be a/same.png or b/same.png"
    assert "are not read" in index.find("scan.dcm") or "is not read" in index.find("scan.dcm")
    assert str(index.find("gone.png")).startswith("is a link to")
    assert index.find("9.png") == f"is not in {flat}"
    assert index.find(".hidden/h.png") == f"is not in {flat}"
    assert index.find("https://example.org/1.png") == "is an address; download the images and name their files"
    assert index.find("9.pth") == f"is not in {flat}, and .pth is no image's ending"


def test_everything_wrong_is_named_at_once_and_left_out_if_asked(flat: Path):
    (flat / "5.png").write_bytes(b"no image")
    header = ("image", "label", "split")
    rows = [
        ("0.png", "a", "train"),
        ("1.png", "b", "train"),
        ("2.png", "", "train"),
        ("missing.png", "a", "train"),
        ("../x.png", "a", "train"),
        ("", "a", "train"),
        ("3.png", "a", "tset"),
        ("4.png", "a", "train"),
        ("4.png", "b", "train"),
        ("5.png", "b", "train"),
        ("6.png", "a", "train"),
        ("6.png", "a", "test"),
        ("7.png", "a", "train"),
        ("7.png", "a", "train"),
    ]
    table = write(flat.parent / "t.csv", *rows, header=header)
    with pytest.raises(DataError) as error:
        scan(table, flat)
    found = problems_of(error)
    assert found.pop()[2].startswith("5.png: not an image that can be read")
    assert found == [
        ("no label", "row 4", "2.png has no label"),
        ("missing image", "row 5", f"missing.png is not in {flat}"),
        ("missing image", "row 6", f"../x.png lies outside of {flat}"),
        ("no image", "row 7", "has nothing in the column 'image'"),
        ("unknown split", "row 8", "has 'tset' in the column 'split', which is none of train, val and test"),
        (
            "conflicting labels",
            "row 9",
            f"4.png has the labels a and b (rows 9 and 10); if an image may have several: --data multilabel:{table}",
        ),
        ("image in two splits", "row 12", "6.png is in train and test (rows 12 and 13)"),
    ]
    assert "t.csv has 8 problems" in str(error.value)
    assert "go on without them with --skip-broken" in str(error.value)
    found = scan(table, flat, skip_broken=True)
    assert labels_of(found) == {"train": {"0.png": "a", "7.png": "a", "1.png": "b"}}
    assert found.notes[0] == "1 row repeats an image with the same label; each image is taken once"
    assert [line for line in found.notes if line.startswith("skipped row 5")] == [
        f"skipped row 5: missing.png is not in {flat}"
    ]


def test_what_cannot_be_left_out(flat: Path):
    header = ("image", "label", "split")
    rows = [("0.png", "cat", "train"), ("1.png", "Cat", "train"), ("2.png", "dog", "test"), ("3.png", "dog", "test")]
    table = write(flat.parent / "t.csv", *rows, header=header)
    with pytest.raises(DataError, match=r"put right in the table; --skip-broken does not help") as error:
        scan(table, flat, skip_broken=True)
    assert problems_of(error) == [
        ("same class twice", "row 2", "has the label 'cat', which differs from 'Cat' in letter case alone"),
        ("unknown class", "row 4", "2 rows have the label 'dog', which no training image has"),
    ]
    assert scan(table, flat, for_training=False).class_names == ("Cat", "cat", "dog")


def test_a_single_class_and_only_test_rows(flat: Path):
    table = write(flat.parent / "t.csv", ("0.png", "a"), ("1.png", "a"))
    with pytest.raises(DataError, match="the only class is 'a'; at least two are needed"):
        scan(table, flat)
    only = write(flat.parent / "only.csv", ("0.png", "a", "test"), header=("image", "label", "split"))
    with pytest.raises(DataError, match=r"there are rows for test but no rows for train: .*eval RUN --data .*--images"):
        scan(only, flat)
    assert list(scan(only, flat, for_training=False).splits) == ["test"]


def test_the_wrong_folder_is_said_once(flat: Path, tmp_path: Path):
    table = write(tmp_path / "t.csv", *((f"photo-{number}.jpg", "a") for number in range(50)))
    with pytest.raises(DataError) as error:
        scan(table, flat)
    assert str(error.value) == (
        f"none of the 50 images in the column 'image' of {table} is there: in row 2, photo-0.jpg is not in {flat}, "
        "which holds e.g. 0.png; give the folder of the images with --images, or another column"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"the images of t.csv are looked for there: give their folder"):
        scan(table, tmp_path / "empty")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["10", "9", "2", "10"], ("2", "9", "10")),
        (["1.0", "2.0", "10.0", "1.0"], ("1", "2", "10")),
        (["b", "a c", "B", "é"], ("B", "a c", "b", "é")),
    ],
)
def test_class_names(flat: Path, cells, expected):
    table = write(flat.parent / "t.csv", *((f"{number}.png", cell) for number, cell in enumerate(cells)))
    assert scan(table, flat, for_training=False).class_names == expected


def test_numbers_with_fractions_are_no_classes(tmp_path: Path, flat: Path):
    table = write(tmp_path / "t.csv", *((f"{number % 8}.png", number + 0.5) for number in range(30)))
    with pytest.raises(TwofoldError, match="holds 30 different numbers with fractions, not classes"):
        scan(table, flat)


def test_numbered_folds_have_a_remedy(flat: Path):
    rows = [(f"{number}.png", "ab"[number % 2], number % 4) for number in range(8)]
    table = write(flat.parent / "t.csv", *rows, header=("image", "label", "fold"))
    with pytest.raises(TwofoldError, match=r"'fold' has 0, 1, 2, 3, none of them a split; add a column"):
        scan(table, flat)
    assert len(scan(table, flat, {"split": "none"}).splits["all"]) == 8
    rows = [(*row[:2], ["", "arm"][row[2] % 2]) for row in rows]
    write(table, *rows, header=("image", "label", "fold"))
    with pytest.raises(TwofoldError, match=r"'fold' has an empty cell, arm, none of them a split"):
        scan(table, flat)


def test_several_labels_an_image(flat: Path):
    rows = [("0.png", "cat|dog"), ("1.png", ""), ("2.png", "dog | polar bear"), ("2.png", "cat")]
    found = scan(write(flat.parent / "t.csv", *rows), flat)
    targets = found.splits["all"].targets
    assert isinstance(targets, LabelSetTargets)
    assert found.class_names == ("cat", "dog", "polar bear")
    has = dict(zip(map(os.path.basename, found.splits["all"].paths), targets.has.int().tolist(), strict=True))
    assert has == {"0.png": [1, 1, 0], "1.png": [0, 0, 0], "2.png": [1, 1, 1]}
    rows = [("0.png", "cat dog"), ("1.png", "dog"), ("1.png", "bird")]
    asked = scan(write(flat.parent / "t.csv", *rows), flat, several_labels=True)
    assert asked.class_names == ("bird", "cat", "dog")
    assert asked.splits["all"].targets.has.sum(dim=1).tolist() == [2, 2]


ONE_EACH = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0)]


@pytest.mark.parametrize("write_mark", [str, float, bool, lambda mark: str(bool(mark)).lower()])
def test_a_column_a_label_with_one_1_in_each_row_is_one_class_an_image(flat: Path, write_mark):
    rows = [(f"{n}.png", *map(write_mark, marks)) for n, marks in enumerate(ONE_EACH)]
    table = write(flat.parent / "t.csv", *rows, header=("image", "cat", "dog", "bird"))
    names = [("cat", "dog", "bird")[marks.index(1)] for marks in ONE_EACH]
    plain = write(flat.parent / "plain.csv", *((f"{n}.png", name) for n, name in enumerate(names)))
    found, expected = scan(table, flat), scan(plain, flat)
    assert labels_of(found) == labels_of(expected)
    assert (found.class_names, found.fingerprint) == (expected.class_names, expected.fingerprint)
    assert found.notes == (
        "the labels are the columns cat, dog and bird: one class an image, for each row has exactly one 1",
    )
    asked = scan(table, flat, several_labels=True)
    assert isinstance(asked.splits["all"].targets, LabelSetTargets)
    assert asked.class_names == ("bird", "cat", "dog")


def test_a_column_a_label_with_other_rows_is_several_labels_an_image(flat: Path):
    marks = [*ONE_EACH[:5], (1, 1, 0), (0, 0, 0), (1, 1, 1)]
    rows = [(f"{n}.png", *each, 0) for n, each in enumerate(marks)]
    found = scan(write(flat.parent / "t.csv", *rows, header=("image", "cat", "dog", "bird", "fish")), flat)
    assert found.class_names == ("bird", "cat", "dog")
    targets = found.splits["all"].targets
    assert isinstance(targets, LabelSetTargets)
    has = dict(zip(map(os.path.basename, found.splits["all"].paths), targets.has.int().tolist(), strict=True))
    assert has == {f"{n}.png": [bird, cat, dog] for n, (cat, dog, bird) in enumerate(marks)}
    assert found.notes == (
        "the labels are the columns cat, dog, bird and fish: several labels an image, for 2 rows have several and 1 "
        "have none",
        "no row has a 1 in fish, so it is left out",
    )


def test_cells_that_say_neither_0_nor_1_are_named(flat: Path):
    cells = [("1", "0"), ("0", "1"), ("", "1"), ("1", "maybe"), ("0", "0"), ("1", "0")]
    rows = [(f"{n}.png", *each) for n, each in enumerate(cells)]
    table = write(flat.parent / "t.csv", *rows, header=("image", "cat", "dog"))
    with pytest.raises(DataError) as error:
        scan(table, flat, {"label": "cat,dog"})
    assert problems_of(error) == [
        ("no label", "row 4", "2.png has nothing in the column 'cat', where 0 or 1 is expected"),
        ("no label", "row 5", "3.png has 'maybe' in the column 'dog', where 0 or 1 is expected"),
    ]
    found = scan(table, flat, {"label": "cat,dog"}, skip_broken=True)
    assert found.splits["all"].targets.has.int().tolist() == [[0, 0], [1, 0], [1, 0], [0, 1]]


def test_names_that_are_no_text(flat: Path):
    shutil.copy(flat / "0.png", os.path.join(os.fsencode(flat), b"caf\xe9.png"))
    table = write(flat.parent / "t.csv", ("caf\udce9.png", "K\udce4fer"), ("1.png", "b"))
    found = scan(table, flat)
    assert found.class_names == ("K\udce4fer", "b")
    assert len(found.splits["all"]) == 2


def test_many_rows_cost_no_visit_to_the_disk_each(flat: Path, table: Path, monkeypatch):
    stats = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: (stats.append(path), stat(path, **options))[1])
    rows = [(f"{number % 8}.png", "ab"[number % 2]) for number in range(2000)]
    found = list_table(write(flat.parent / "t.csv", *rows), flat)
    assert len(found.rows) == 8
    assert len(stats) < 40
    assert found.listing.notes == ["1,992 rows repeat an image with the same label; each image is taken once"]


def test_a_table_is_inspected_as_a_folder_is(flat: Path, table: Path):
    save_image(flat / "unlabelled.png")
    shutil.copy(flat / "0.png", flat / "1.png")
    write(table, *((f"{n}.png", "dog" if n % 2 else "cat") for n in range(8)), ("lost.png", "dog"))
    found = list_table(table, flat)
    inspection = inspect_folder(found.folder, listing=found.listing, show_progress=False)
    assert inspection.counts == {"all": {"cat": 4, "dog": 4}}
    assert [finding.paths for finding in inspection.of("broken file")] == [("row 10",)]
    assert [finding.paths for finding in inspection.of("exact duplicate")] == [("0.png", "1.png")]


def test_an_image_with_several_labels_is_inspected_once(flat: Path, table: Path):
    shutil.copy(flat / "0.png", flat / "1.png")
    shutil.copy(flat / "2.png", flat / "3.png")
    for number in (6, 7):
        (flat / f"{number}.png").write_bytes(b"\x89PNG broken")
    labels = ("cat|dog", "dog|cat", "cat|dog", "cat", "dog", "cat|dog", "cat|dog|owl", "")
    write(table, *((f"{number}.png", cell) for number, cell in enumerate(labels)))
    found = list_table(table, flat)
    inspection = inspect_folder(found.folder, several_labels=True, listing=found.listing, show_progress=False)
    assert (inspection.num_files, inspection.num_readable) == (8, 6)
    assert inspection.counts == {"all": {"cat": 5, "dog": 5, "owl": 0}}
    assert [finding.paths for finding in inspection.of("broken file")] == [("6.png",), ("7.png",)]
    assert [(finding.paths, finding.message) for finding in inspection.of("exact duplicate")] == [
        (("3.png", "2.png"), "2 files, in different classes (cat, cat|dog)"),
        (("0.png", "1.png"), "2 files"),
    ]


def test_a_table_is_packed(flat: Path, table: Path, tmp_path: Path):
    out = tmp_path / "packed"
    result = pack_folder(table, out, PackOptions(), images=flat, show_progress=False)
    assert (result.num_images, result.notes) == (8, ())
    packed = open_packed(out)
    assert packed.class_names == ("cat", "dog")
    assert packed.splits["all"].targets.labels.tolist() == [0] * 4 + [1] * 4
    assert packed.splits["all"].describe(0).startswith("0.png ")
    assert pack_folder(table, out, PackOptions(), images=flat, show_progress=False).was_there
    with pytest.raises(TwofoldError, match="lies inside of"):
        pack_folder(table, flat / "out", PackOptions(), images=flat, show_progress=False)


@given(names=st.lists(st.text(max_size=12), max_size=6), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cells_end_in_images_below_the_folder_or_in_an_error(flat: Path, names, data):
    known = [*names, "0.png", "1", "../images/2.png", str(flat / "3.png")]
    rows = [(name, data.draw(st.text(max_size=6)), data.draw(st.sampled_from(["train", "", "val"]))) for name in known]
    table = write(flat.parent / "t.csv", *rows, header=("image", "label", "split"))
    for skip in (False, True):
        try:
            found = scan(table, flat, skip_broken=skip, for_training=False)
        except TwofoldError:
            continue
        inside = {str(path) for path in flat.iterdir()}
        assert {path for part in found.splits.values() for path in part.paths} <= inside


def test_labels_that_commas_separate_are_recognised_and_the_way_is_said(flat: Path):
    sets = ["bag, sandal", "bag", "sandal, hat", "hat", "bag, hat, sandal", "bag", "hat", "sandal"]
    path = write(flat.parent / "comma.csv", *((f"{n}.png", cell) for n, cell in enumerate(sets)))
    hint = (
        f"the column 'label' has 'bag, sandal'; if an image may have several labels: --data multilabel:{flat.parent}"
        "/comma.csv"
    )
    assert hint in scan(path, flat, skip_broken=True).notes
    assert hint in list_table(path, flat).listing.notes
    with pytest.raises(TwofoldError) as error:
        load_data(str(path), images=flat, show_progress=False)
    assert "classes 'bag, hat, sandal', 'bag, sandal', 'sandal', 'sandal, hat' with one image" in str(error.value)
    assert str(error.value).endswith(f"add images, or set val_fraction=0; {hint}")
    write(path, *((f"{n}.png", cell) for n, cell in enumerate([*sets[:7], ""])))
    with pytest.raises(DataError) as problems:
        scan(path, flat)
    assert problems.value.lines[-2:] == (
        hint,
        "repair or remove them, or go on without them with --skip-broken",
    )
    assert load_data(f"multilabel:{path}", images=flat, show_progress=False).class_names == ("bag", "hat", "sandal")


@pytest.mark.parametrize("names", [("BCC, early", "MEL"), ("bear, polar", "bear, brown")])
def test_names_with_commas_are_names(flat: Path, names: tuple[str, str]):
    path = write(flat.parent / "t.csv", *((f"{number}.png", names[number % 2]) for number in range(8)))
    found = scan(path, flat)
    assert found.class_names == tuple(sorted(names))
    assert (found.hint, found.notes) == ("", ())
