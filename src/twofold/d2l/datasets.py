"""The book's data sets: Fashion-MNIST, drawn regressions, the airfoil set, bananas, Pikachus.

Fashion-MNIST is Twofold's own `fashion-mnist`: found on the system, or downloaded once. Images are held in memory as
bytes, and scaled and resized a batch at a time.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from twofold.d2l.downloads import download, download_extract, is_offline, stand_in
from twofold.d2l.loaders import Loader
from twofold.d2l.modules import DataModule
from twofold.d2l.plots import show_images
from twofold.data.download import DownloadError, Patience
from twofold.data.sources.named import open_named
from twofold.errors import TwofoldError
from twofold.files import read_json
from twofold.scratch.data import synthetic_regression
from twofold.terminal import note

LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def synthetic_data(w: Tensor, b: float, num_examples: int) -> tuple[Tensor, Tensor]:
    """Return features X ~ N(0, 1) and labels X w + b + noise, (examples, features) and (examples, 1).

    Idea: `twofold show synthetic-data`.
    """
    return synthetic_regression(w.flatten(), b, num_examples, noise=0.01)


# Fashion-MNIST


class ImageData(torch.utils.data.Dataset):
    """Images of one channel and their labels: an image is (1, height, width), of values from 0 to 1."""

    def __init__(self, images: Tensor, labels: Tensor, size: tuple[int, int]) -> None:
        self.data, self.targets, self.size = images, labels, size
        self.classes = list(LABELS)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels = self.batch(torch.tensor([index]))
        return images[0], int(labels[0])

    def batch(self, indices: Tensor) -> list[Tensor]:
        """Return the images (batch, 1, height, width) and labels at `indices`."""
        images = self.data[indices][:, None]
        if images.shape[2:] != self.size:
            images = transforms.resize(images, list(self.size))
        return [images.float() / 255, self.targets[indices]]


@functools.cache
def _fashion_mnist(offline: bool) -> Any:
    """Return the images to train on and to test on; `offline`, what there is without asking a network."""
    if not offline:
        try:
            return open_named("fashion-mnist").splits
        except DownloadError as error:
            raise DownloadError(f"{error}; d2l.offline() takes fashion-mini, 12,000 of its images") from error
    try:
        return open_named("fashion-mnist", patience=Patience(attempts=0)).splits
    except TwofoldError:
        note("offline: fashion-mini, 12,000 images of Fashion-MNIST, in place of all 70,000")
        return open_named("fashion-mini").splits


def _fashion_images(train: bool, resize: Any) -> ImageData:
    images = _fashion_mnist(is_offline())["train" if train else "test"]
    size = (28, 28) if not resize else (resize, resize) if isinstance(resize, int) else (int(resize[0]), int(resize[1]))
    return ImageData(images.images[:, 0], images.targets.labels, size)


class FashionMNIST(DataModule):
    """Fashion-MNIST (Xiao et al., 2017): 60,000 images of garments to train on and 10,000 to test.

    Idea: `twofold show minibatches`.
    """

    def __init__(self, batch_size: int = 64, resize: tuple[int, int] = (28, 28)) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.train, self.val = _fashion_images(True, resize), _fashion_images(False, resize)

    def text_labels(self, indices: Any) -> list[str]:
        """Return the names of classes."""
        return get_fashion_mnist_labels(indices)

    def get_dataloader(self, train: bool) -> Loader:
        """Return batches (images, labels): shuffled ones to train on, or those to test on, in order."""
        return Loader(self.train if train else self.val, self.batch_size, shuffle=train)

    def visualize(self, batch: Any, nrows: int = 1, ncols: int = 8, labels: Sequence[str] = []) -> None:
        """Draw the first images of a batch, with the names of their classes or with `labels`."""
        X, y = batch
        show_images(X.squeeze(1), nrows, ncols, titles=labels or self.text_labels(y))


def load_data_fashion_mnist(batch_size: int, resize: Any = None) -> tuple[Loader, Loader]:
    """Return batches of Fashion-MNIST to train on and to test on.

    Idea: `twofold show minibatches`.
    """
    train, test = _fashion_images(True, resize), _fashion_images(False, resize)
    return Loader(train, batch_size, shuffle=True), Loader(test, batch_size)


def load_data_fashion_mnist_zh(
    batch_size: int, resize: Any = None, root: str = "~/Datasets/FashionMNIST"
) -> tuple[Loader, Loader]:
    """Return batches of Fashion-MNIST to train on and to test on. `root` is not used: Twofold keeps its own copy.

    Idea: `twofold show minibatches`.
    """
    return load_data_fashion_mnist(batch_size, resize)


def get_fashion_mnist_labels(labels: Any) -> list[str]:
    """Return the names of classes of Fashion-MNIST, as the book writes them."""
    return [LABELS[int(label)] for label in labels]


# Regression


def get_airfoil() -> tuple[Tensor, Tensor]:
    """Return five features and the noise of 1,503 airfoils, each standardised (Brooks et al., 1989)."""
    table = np.genfromtxt(download("airfoil"), delimiter="\t")
    table = torch.from_numpy((table - table.mean(axis=0)) / table.std(axis=0)).float()
    return table[:, :-1], table[:, -1]


# Boxes


def read_data_bananas(is_train: bool = True) -> tuple[list[Tensor], Tensor]:
    """Return the images, bytes (3, 256, 256), and for each its class and box, (images, 1, 5), in parts of 256 px."""
    folder = Path(download_extract("banana-detection")) / ("bananas_train" if is_train else "bananas_val")
    with (folder / "label.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = [
        transforms.pil_to_tensor(Image.open(folder / "images" / row.pop("img_name")).convert("RGB")) for row in rows
    ]
    targets = torch.tensor([[int(value) for value in row.values()] for row in rows])
    return images, targets[:, None] / 256


class BananasDataset(torch.utils.data.Dataset):
    """Images with one banana each, and its box.

    Idea: `twofold show box-forms`.
    """

    def __init__(self, is_train: bool) -> None:
        self.features, self.labels = read_data_bananas(is_train)
        print(f"read {len(self.features)} {'training' if is_train else 'validation'} examples")

    def __getitem__(self, idx: int) -> tuple[Tensor, Tensor]:
        return self.features[idx].float(), self.labels[idx]

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, indices: Tensor) -> list[Tensor]:
        """Return the images and boxes at `indices`."""
        return [torch.stack([self.features[index] for index in indices]).float(), self.labels[indices]]


def load_data_bananas(batch_size: int) -> tuple[Loader, Loader]:
    """Return batches of images with bananas to train on and to test on: images, and (class, x1, y1, x2, y2).

    Idea: `twofold show box-forms`.
    """
    return Loader(BananasDataset(True), batch_size, shuffle=True), Loader(BananasDataset(False), batch_size)


class PikachuDetDataset(torch.utils.data.Dataset):
    """Images with one Pikachu each, and its box: of the Chinese PyTorch edition.

    Idea: `twofold show box-forms`.
    """

    def __init__(self, data_dir: str, part: str, image_size: tuple[int, int] = (256, 256)) -> None:
        assert part in ("train", "val"), f"part is 'train' or 'val', got {part!r}"
        self.folder, self.image_size = Path(data_dir) / part, image_size
        self.label: dict[str, Any] = read_json(self.folder / "label.json")

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = f"{index + 1}.png"
        image = Image.open(self.folder / "images" / name).convert("RGB").resize(self.image_size)
        row = [self.label[name]["class"], *self.label[name]["loc"]]
        return {
            "label": np.array([row], dtype=np.float32),
            "image": transforms.to_dtype(transforms.pil_to_tensor(image), scale=True),
        }

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the labels (batch, 1, 5) and images (batch, 3, height, width) at `indices`."""
        return torch.utils.data.default_collate([self[int(index)] for index in indices])


def load_data_pikachu(
    batch_size: int, edge_size: int = 256, data_dir: str = "../../data/pikachu"
) -> tuple[Loader, Loader]:
    """Return batches {"label", "image"} of `edge_size` px to train on and to test on.

    Without the files, `d2l.offline()` takes scenes with a bag each.

    Idea: `twofold show box-forms`.
    """
    if not Path(data_dir).is_dir():
        if not is_offline():
            raise TwofoldError(f"{data_dir} is not there; d2l.offline() takes a stand-in of the same layout")
        data_dir = str(stand_in("pikachu", Path(data_dir).parent))
    parts = [PikachuDetDataset(data_dir, part, (edge_size, edge_size)) for part in ("train", "val")]
    return Loader(parts[0], batch_size, shuffle=True), Loader(parts[1], batch_size)
