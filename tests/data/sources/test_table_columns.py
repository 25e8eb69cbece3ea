"""Which column of a table says what."""

from pathlib import Path

import pytest

from twofold.data.sources.table_columns import (
    Columns,
    check_table_settings,
    count_training_rows,
    find_columns,
    has_validation_rows,
)
from twofold.data.sources.table_file import Table
from twofold.errors import SettingError, TwofoldError


def find(names: list[str], wanted: dict[str, str] | None = None, *, cells: dict[str, list[str]] | None = None):
    columns = {name: ["a", "b"] for name in names} | (cells or {})
    table = Table(Path("labels.csv"), columns, [2, 3])
    found = find_columns(table, wanted or {}, lambda name: sum(cell.startswith("a") for cell in columns[name]))
    return found, table.notes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["image", "label"], Columns("image", "label")),
        (["File Name", "Class"], Columns("File Name", "Class")),
        (["IMG_PATH", "target", "Split"], Columns("IMG_PATH", "target", "Split")),
        (["path", "category", "fold", "patient_id"], Columns("path", "category", "fold", "patient_id")),
        (["age", "image_id", "sex", "labels", "SubjectID"], Columns("image_id", "labels", None, "SubjectID")),
        (["id", "breed"], Columns("id", "breed")),
        (["file_name", "breed", "set"], Columns("file_name", "breed", "set")),
    ],
)
def test_columns_are_found_by_their_names(names, expected):
    assert find(names)[0] == expected


def test_choices_are_said():
    assert find(["id", "breed"])[1] == ["the labels are taken from the column 'breed'"]
    assert find(["image", "label", "patient"])[1] == ["images with the same 'patient' stay in the same split"]


def test_given_columns_come_first():
    names = ["image", "file", "label", "breed", "fold", "patient", "owner"]
    wanted = {"image": "file", "label": "breed", "split": "none", "group": "owner"}
    assert find(names, wanted)[0] == Columns("file", "breed", None, "owner")


def test_of_several_image_columns_that_with_images():
    assert find(["image", "id", "label"], cells={"image": ["x", "y"]})[0].image == "id"


def test_labels_as_numbers_and_in_words_are_the_same():
    cells = {"label": ["0", "1"], "class_name": ["cat", "dog"]}
    assert find(["image", "label", "class_name"], cells=cells)[0].label == "class_name"


MARKS = {"cat": ["1", "0"], "dog": ["0.0", "1.0"], "person": ["TRUE", "false"]}


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (["image", "cat", "dog"], {}, Columns("image", ("cat", "dog"))),
        (["image", "cat", "dog", "person"], {}, Columns("image", ("cat", "dog", "person"))),
        (["image", "cat", "dog", "person"], {"group": "person"}, Columns("image", ("cat", "dog"), None, "person")),
        (["image", "cat", "dog", "target"], {}, Columns("image", "target")),
        (["image", "cat", "breed"], {"label": "cat"}, Columns("image", "cat")),
        (["image", "cat", "dog", "breed"], {"label": "cat, dog"}, Columns("image", ("cat", "dog"))),
        (["image", "cat", "dog", "age", "note"], {}, Columns("image", ("cat", "dog"))),
        (["id", "photo", "picture"], {}, Columns("id", ("photo", "picture"))),
        (["image", "cat", "dog", "fold", "patient"], {}, Columns("image", ("cat", "dog"), "fold", "patient")),
        (["image", "a,b"], {"label": "a,b"}, Columns("image", "a,b")),
    ],
)
def test_columns_of_0_and_1_are_labels(names, wanted, expected):
    cells = MARKS | {
        "photo": MARKS["cat"],
        "picture": MARKS["dog"],
        "target": ["0", "1"],
        "age": ["3", "3"],
        "fold": ["0", "1"],
    }
    cells = {name: cells[name] for name in names if name in cells}
    assert find(names, wanted, cells=cells)[0] == expected


def test_columns_of_0_and_1_beside_words_are_not_clear():
    names = ["image", "sex", "cat", "dog"]
    cells = {"sex": ["f", "f"], "cat": MARKS["cat"], "dog": MARKS["dog"]}
    with pytest.raises(SettingError) as error:
        find(names, cells=cells)
    assert str(error.value) == (
        "say which column is which, as columns={'label': 'sex'}: in labels.csv the labels may be in sex, or in the "
        "columns of 0 and 1, columns={'label': 'cat,dog'}; it has image, sex, cat, dog"
    )
    assert find(names, {"label": "cat,dog"}, cells=cells)[0].label == ("cat", "dog")
    cells["sex"], cells["dog"] = ["1", "0"], ["1", "1", "-1"]
    with pytest.raises(SettingError, match=r"'cat,dog,sex'\}: .* a column each, but dog holds more than 0 and 1"):
        find(["image", "cat", "dog", "age"], cells=cells | {"age": ["3", "4"]})
    with pytest.raises(SettingError, match=r"no such column; did you mean dog\?"):
        find(names, {"label": "cat,dgo"}, cells=cells)


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (["image", "breed", "age"], {}, "no column is named as one with labels; it has image, breed, age"),
        (["scan", "label"], {}, "no column is named as one with images; it has scan, label"),
        (["image", "label", "target"], {}, "the labels may be in label or target; it has image, label, target"),
        (["image", "label"], {"label": "lable"}, "has no such column; did you mean label"),
        (["image", "label"], {"image": "none"}, "has no such column"),
    ],
)
def test_columns_that_are_not_clear(names, wanted, message):
    cells = {"label": ["1", "2"], "target": ["x", "x"]} if "target" in names else {}
    with pytest.raises(SettingError, match=message):
        find(names, wanted, cells=cells)


def test_any_number_of_columns_of_0_and_1():
    names = [f"label {number}" for number in range(20_000)]
    found, _ = find(["image", *names], cells={name: ["0", "1"] for name in names})
    assert found.label == tuple(names)


def test_settings_of_tables_need_a_table():
    check_table_settings("labels.csv", "photos", {"label": "breed"})
    check_table_settings("multilabel:labels.TSV", "photos", {})
    with pytest.raises(SettingError, match="images='photos' goes with a table, such as labels.csv; leave it out with"):
        check_table_settings("photos", "photos", {})
    with pytest.raises(SettingError, match="columns={'label': 'x'} goes with a table"):
        check_table_settings("mnist", None, {"label": "x"})
    with pytest.raises(SettingError, match="columns are image, label, split, group; did you mean label"):
        check_table_settings("labels.csv", None, {"labels": "x"})
    with pytest.raises(SettingError, match="columns are image, label, split, group$"):
        check_table_settings("labels.csv", None, {"dx": "x"})


def test_rows_are_counted_without_their_images(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_text("image,label,split\n1,a,train\n2,b,TRAIN\n3,a,valid\n4,a,test\n")
    assert (count_training_rows(path), has_validation_rows(path)) == (2, True)
    assert (count_training_rows(path, {"split": "none"}), has_validation_rows(path, {"split": "none"})) == (4, False)
    with pytest.raises(TwofoldError, match="has no such column"):
        count_training_rows(path, {"split": "fold"})
