"""The book's batches, drawn regressions and files, each scene a function of the package that returns what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from d2l_oracle import printed, scene, values
from PIL import Image

# Batches


@scene("zh")
def random_batches(d2l: Any) -> Any:
    random.seed(5)
    return [[x, y] for x, y in d2l.data_iter(4, values(10, 2), torch.arange(10))]


@scene("1.0")
def loaders(d2l: Any) -> Any:
    torch.manual_seed(5)
    ordered = d2l.load_array((values(5, 2), torch.arange(5)), 2, is_train=False)
    shuffled = d2l.load_array((values(5, 2), torch.arange(5)), 2)
    return {
        "ordered": list(ordered),
        "length": len(ordered),
        "shuffled": [list(shuffled), list(shuffled)],
        "type": type(next(iter(ordered))).__name__,
    }


@scene("1.0")
def drawn_regression(d2l: Any) -> Any:
    torch.manual_seed(7)
    w = torch.tensor([2.0, -3.4])
    data = d2l.SyntheticRegressionData(w=w, b=4.2, noise=0.5, num_train=20, num_val=8, batch_size=8)
    train, val = list(data.train_dataloader()), list(data.val_dataloader())
    plain = d2l.synthetic_data(w, 4.2, 30)
    part = data.get_tensorloader([data.X, data.y], train=False, indices=slice(2, 5))
    return {"X": data.X, "y": data.y, "train": train, "val": val, "plain": plain, "part": list(part)}


@scene("1.0")
def data_module(d2l: Any) -> Any:
    class Mine(d2l.DataModule):
        def get_dataloader(self, train: bool) -> Any:
            return ["train", self.root] if train else ["val", self.num_workers]

    mine = Mine(num_workers=1)
    return [mine.train_dataloader(), mine.val_dataloader()]


# Files that lie where the book would have put them


@contextlib.contextmanager
def folder_of_a_chapter() -> Iterator[Path]:
    """Enter a folder of its own, two below that of the data; the first edition looks in ../data."""
    with tempfile.TemporaryDirectory() as folder:
        for data in ("data", "code/data"):
            (Path(folder) / data).mkdir(parents=True)
        (Path(folder) / "code" / "chapter").mkdir()
        with contextlib.chdir(Path(folder) / "code" / "chapter"):
            yield Path(folder)


def put(d2l: Any, folder: Path, name: str, file: str, content: bytes) -> None:
    """Write a file of the book's hub to both folders, and give the hub its checksum."""
    for data in ("data", "code/data"):
        (folder / data / file).write_bytes(content)
    if hasattr(d2l, "DATA_HUB"):
        d2l.DATA_HUB[name] = (d2l.DATA_URL + file, hashlib.sha1(content, usedforsecurity=False).hexdigest())


def table() -> bytes:
    """Return a table of 40 rows, five features and a label of different sizes."""
    rows = np.asarray(values(40, 6)) * [3000, 6, 0.1, 16, 0.01, 7] + [2900, 7, 0.1, 51, 0.01, 125]
    out = io.StringIO()
    np.savetxt(out, rows, fmt="%.6g", delimiter="\t")
    return out.getvalue().encode()


@scene("1.0", tolerance=1e-5)
def airfoils(d2l: Any) -> Any:
    """The book standardises in float32; here it is done in float64."""
    with folder_of_a_chapter() as folder:
        put(d2l, folder, "airfoil", "airfoil_self_noise.dat", table())
        torch.manual_seed(1)
        loader, num_features = d2l.get_data_ch11(batch_size=8, n=30)
        few, _ = d2l.get_data_ch11(n=10)
        return [num_features, list(loader), len(loader), len(few)]


@scene("zh")
def airfoils_zh(d2l: Any) -> Any:
    with folder_of_a_chapter() as folder:
        put(d2l, folder, "airfoil", "airfoil_self_noise.dat", table())
        return d2l.get_data_ch7()


@scene("1.0")
def bananas(d2l: Any) -> Any:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for part, num in (("train", 5), ("val", 2)):
            lines = [f"{index}.png,0,{10 + index},{20 + index},{110 + index},{150 + index}" for index in range(num)]
            names = "img_name,label,xmin,ymin,xmax,ymax"
            archive.writestr(f"banana-detection/bananas_{part}/label.csv", "\n".join([names, *lines]) + "\n")
            for index in range(num):
                image = io.BytesIO()
                pixels = np.full((2, 3, 3), 10 * index, dtype=np.uint8)
                pixels[0, 1] = [index, 100, 200]
                Image.fromarray(pixels).save(image, "png")
                archive.writestr(f"banana-detection/bananas_{part}/images/{index}.png", image.getvalue())
    with folder_of_a_chapter() as folder:
        put(d2l, folder, "banana-detection", "banana-detection.zip", content.getvalue())
        found: list[Any] = []
        torch.manual_seed(9)
        lines = printed(lambda: found.extend(list(loader) for loader in d2l.load_data_bananas(2)))
        images, labels = d2l.read_data_bananas(is_train=False)
        inside = d2l.download_extract("banana-detection", "banana-detection/bananas_val")
        return {
            "lines": lines,
            "batches": found,
            "images": images,
            "labels": labels,
            "item": list(printed_dataset(d2l)[0]),
            "length": len(printed_dataset(d2l)),
            "folders": [Path(d2l.download_extract("banana-detection")).as_posix(), Path(inside).as_posix()],
        }


def printed_dataset(d2l: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return d2l.BananasDataset(is_train=True)


@scene("zh")
def pikachus(d2l: Any) -> Any:
    with folder_of_a_chapter() as folder:
        for part, num in (("train", 3), ("val", 2)):
            (folder / "data" / "pikachu" / part / "images").mkdir(parents=True)
            labels = {}
            for index in range(1, num + 1):
                pixels = (120 + 100 * values(4, 6, 3, step=0.1 * index)).numpy().astype(np.uint8)
                Image.fromarray(pixels).save(folder / "data" / "pikachu" / part / "images" / f"{index}.png")
                labels[f"{index}.png"] = {"class": 0, "loc": [0.1 * index, 0.2, 0.3 + 0.1 * index, 0.5]}
            (folder / "data" / "pikachu" / part / "label.json").write_text(json.dumps(labels))
        dataset = d2l.PikachuDetDataset("../../data/pikachu", "train", (8, 6))
        train, val = d2l.load_data_pikachu(2, edge_size=4)
        return {
            "length": len(dataset),
            "items": [dataset[index] for index in range(3)],
            "val": list(val),
            "train": [[each["image"].shape, each["label"].shape] for each in train],
            "default": d2l.PikachuDetDataset("../../data/pikachu", "val")[0]["image"].shape,
        }
