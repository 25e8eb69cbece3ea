"""The object-oriented layout of the book's first edition in English: Module, DataModule and Trainer.

What a network needs to be trained is split in three: `Module` holds the network, its loss and its optimiser,
`DataModule` the data, `Trainer` the loop. `twofold.train(recipe)` is the same at scale: `engine/loop.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from twofold.d2l.devices import cpu, gpu, num_gpus
from twofold.d2l.display import in_notebook, with_progress
from twofold.d2l.growing import ProgressBoard
from twofold.d2l.loaders import ArrayData, Loader
from twofold.d2l.objects import HyperParameters
from twofold.scratch.data import synthetic_regression
from twofold.scratch.linear import linear
from twofold.scratch.loss import squared_loss
from twofold.scratch.optim import sgd
from twofold.terminal import note


class Module(nn.Module, HyperParameters):
    """A network with its loss and its optimiser; a subclass sets `self.net` or writes `forward`."""

    net: Any
    lr: Any
    trainer: Any

    def __init__(self, plot_train_per_epoch: float = 2, plot_valid_per_epoch: float = 1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.board = ProgressBoard()

    def loss(self, y_hat: Any, y: Any) -> Any:
        """Return the loss; a subclass says which."""
        raise NotImplementedError

    def forward(self, X: Any) -> Any:
        """Return what `self.net` makes of `X`."""
        assert hasattr(self, "net"), "set self.net to the network, or write forward()"
        return self.net(X)

    def plot(self, key: str, value: Any, train: bool) -> None:
        """Add a point to the curve train_KEY or val_KEY, as often an epoch as `__init__` was told."""
        assert hasattr(self, "trainer"), "a Module is trained by Trainer.fit(model, data)"
        trainer, self.board.xlabel = self.trainer, "epoch"
        if train:
            x = trainer.train_batch_idx / trainer.num_train_batches
            every_n = trainer.num_train_batches / self.plot_train_per_epoch
        else:
            x = trainer.epoch + 1
            every_n = trainer.num_val_batches / self.plot_valid_per_epoch
        self.board.draw(x, value.detach().to(cpu()), f"{'train' if train else 'val'}_{key}", every_n=int(every_n))

    def training_step(self, batch: Sequence[Tensor]) -> Any:
        """Return the loss of a batch (inputs ..., labels)."""
        loss = self.loss(self(*batch[:-1]), batch[-1])
        self.plot("loss", loss, train=True)
        return loss

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Draw the loss of a batch (inputs ..., labels)."""
        self.plot("loss", self.loss(self(*batch[:-1]), batch[-1]), train=False)

    def configure_optimizers(self) -> Any:
        """Return the optimiser: SGD at `self.lr`, unless a subclass says otherwise.

        Idea: `twofold show sgd`.
        """
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def apply_init(self, inputs: Sequence[Tensor], init: Callable[[nn.Module], None] | None = None) -> None:
        """Run the network once, which gives lazy layers their shapes, then apply `init` to each of its layers.

        Idea: `twofold show initialisation`.
        """
        self.forward(*inputs)
        if init is not None:
            self.net.apply(init)


class DataModule(HyperParameters):
    """Data for training and validation; a subclass writes `get_dataloader`.

    `num_workers` is kept and not used by the loaders here: what they read lies in memory.
    """

    def __init__(self, root: str = "../data", num_workers: int = 4) -> None:
        self.save_hyperparameters()

    def get_dataloader(self, train: bool) -> Any:
        """Return an iterable of batches, for training or for validation; a subclass says which."""
        raise NotImplementedError

    def train_dataloader(self) -> Any:
        """Return the batches for training."""
        return self.get_dataloader(train=True)

    def val_dataloader(self) -> Any:
        """Return the batches for validation."""
        return self.get_dataloader(train=False)

    def get_tensorloader(self, tensors: Sequence[Tensor], train: bool, indices: Any = slice(0, None)) -> Loader:
        """Return batches of rows of `tensors`, shuffled where `train`.

        Idea: `twofold show minibatches`.
        """
        return Loader(ArrayData(*(each[indices] for each in tensors)), self.batch_size, shuffle=train)


class Trainer(HyperParameters):
    """The loop over epochs and batches: `Trainer(max_epochs=3).fit(model, data)`.

    Idea: `twofold show five-steps`.
    """

    def __init__(self, max_epochs: int, num_gpus: int = 0, gradient_clip_val: float = 0) -> None:
        self.save_hyperparameters()
        self.gpus = _gpus(num_gpus)

    def prepare_data(self, data: DataModule) -> None:
        """Take the batches of `data`, and count them."""
        self.train_dataloader = data.train_dataloader()
        self.val_dataloader = data.val_dataloader()
        self.num_train_batches = len(self.train_dataloader)
        self.num_val_batches = 0 if self.val_dataloader is None else len(self.val_dataloader)

    def prepare_model(self, model: Module) -> None:
        """Take the network, to the GPU if there is one to use."""
        model.trainer = self
        model.board.xlim = [0, self.max_epochs]
        self.model = model.to(self.gpus[0]) if self.gpus else model

    def prepare_batch(self, batch: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the batch where the network is."""
        return [each.to(self.gpus[0]) for each in batch] if self.gpus else batch

    def fit(self, model: Module, data: DataModule) -> None:
        """Train `model` for `max_epochs` epochs, measuring it after each."""
        self.prepare_data(data)
        self.prepare_model(model)
        self.optim = model.configure_optimizers()
        self.epoch = self.train_batch_idx = self.val_batch_idx = 0
        for epoch in range(self.max_epochs):
            self.epoch = epoch
            self.fit_epoch()
            if not in_notebook():
                latest = (f"{label} {curve[-1].y:.3f}" for label, curve in model.board.data.items() if curve)
                note(f"epoch {self.epoch + 1}  {'  '.join(latest)}")

    def fit_epoch(self) -> None:
        """Train on each batch once, then measure."""
        self.model.train()
        for batch in with_progress(self.train_dataloader, self.epoch, self.max_epochs):
            loss = self.model.training_step(self.prepare_batch(batch))
            self.optim.zero_grad()
            with torch.no_grad():
                loss.backward()
                if self.gradient_clip_val > 0:
                    self.clip_gradients(self.gradient_clip_val, self.model)
                self.optim.step()
            self.train_batch_idx += 1
        if self.val_dataloader is None:
            return
        self.model.eval()
        for batch in self.val_dataloader:
            with torch.no_grad():
                self.model.validation_step(self.prepare_batch(batch))
            self.val_batch_idx += 1

    def clip_gradients(self, grad_clip_val: float, model: Module) -> None:
        """Scale all gradients such that their norm, of all together, is at most `grad_clip_val`."""
        nn.utils.clip_grad_norm_(model.parameters(), grad_clip_val)


def _gpus(count: int) -> list[torch.device]:
    return [gpu(index) for index in range(min(count, num_gpus()))]


# Regression


class SyntheticRegressionData(DataModule):
    """X w + b + noise, for weights that are known.

    Idea: `twofold show synthetic-data`.
    """

    def __init__(
        self,
        w: Tensor,
        b: float,
        noise: float = 0.01,
        num_train: int = 1000,
        num_val: int = 1000,
        batch_size: int = 32,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.X, self.y = synthetic_regression(w.flatten(), b, num_train + num_val, noise=noise)

    def get_dataloader(self, train: bool) -> Loader:
        """Return batches of the first `num_train` examples, or of those after them."""
        rows = slice(0, self.num_train) if train else slice(self.num_train, None)
        return self.get_tensorloader((self.X, self.y), train, rows)


class SGD(HyperParameters):
    """Minibatch stochastic gradient descent, by hand.

    Idea: `twofold show sgd`.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.save_hyperparameters()

    def step(self) -> None:
        """Update each parameter by its gradient."""
        for parameter in self.params:
            sgd(parameter, parameter.grad, lr=self.lr)

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        for parameter in self.params:
            if parameter.grad is not None:
                parameter.grad.zero_()


class LinearRegressionScratch(Module):
    """Linear regression, by hand.

    Idea: `twofold show linear`.
    """

    def __init__(self, num_inputs: int, lr: float, sigma: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.w = torch.normal(0, sigma, (num_inputs, 1), requires_grad=True)
        self.b = torch.zeros(1, requires_grad=True)

    def forward(self, X: Tensor) -> Tensor:
        """Return X w + b."""
        return linear(X, self.w.T, self.b)

    def loss(self, y_hat: Tensor, y: Tensor) -> Tensor:
        """Return the mean of ½(ŷ − y)²."""
        return squared_loss(y_hat, y).mean()

    def configure_optimizers(self) -> SGD:
        """Return SGD by hand."""
        return SGD([self.w, self.b], self.lr)


class LinearRegression(Module):
    """Linear regression with torch's layer and loss.

    Idea: `twofold show linear`.
    """

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.LazyLinear(1)
        self.net.weight.data.normal_(0, 0.01)
        self.net.bias.data.fill_(0)

    def forward(self, X: Tensor) -> Tensor:
        """Return X w + b."""
        return self.net(X)

    def loss(self, y_hat: Tensor, y: Tensor) -> Tensor:
        """Return the mean of (ŷ − y)²."""
        return functional.mse_loss(y_hat, y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return torch's SGD."""
        return torch.optim.SGD(self.parameters(), self.lr)

    def get_w_b(self) -> tuple[Tensor, Tensor]:
        """Return the weight and the bias."""
        return self.net.weight.data, self.net.bias.data


# Classification


class Classifier(Module):
    """A network whose outputs are the logits of classes.

    Idea: `twofold show cross-entropy`.
    """

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Draw loss and accuracy of a batch (inputs ..., labels)."""
        logits = self(*batch[:-1])
        self.plot("loss", self.loss(logits, batch[-1]), train=False)
        self.plot("acc", self.accuracy(logits, batch[-1]), train=False)

    def accuracy(self, Y_hat: Tensor, Y: Tensor, averaged: bool = True) -> Tensor:
        """Return the share of labels that are right; not `averaged`, 1 or 0 for each."""
        right = (Y_hat.reshape(-1, Y_hat.shape[-1]).argmax(dim=1) == Y.reshape(-1)).float()
        return right.mean() if averaged else right

    def loss(self, Y_hat: Tensor, Y: Tensor, averaged: bool = True) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the mean cross-entropy of logits; not `averaged`, that of each example."""
        logits, labels = Y_hat.reshape(-1, Y_hat.shape[-1]), Y.reshape(-1)
        return functional.cross_entropy(logits, labels, reduction="mean" if averaged else "none")

    def layer_summary(self, X_shape: Sequence[int]) -> None:
        """Print the shape of each layer's output for inputs of shape `X_shape`; `twofold summary` prints more."""
        x = torch.randn(*X_shape)
        for layer in self.net:
            x = layer(x)
            print(f"{type(layer).__name__} output shape:\t {x.shape}")


class SoftmaxRegression(Classifier):
    """Softmax regression: one dense layer over all pixels.

    Idea: `twofold show softmax`.
    """

    def __init__(self, num_outputs: int, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs))

    def forward(self, X: Tensor) -> Tensor:
        """Return the logits."""
        return self.net(X)


class LeNet(Classifier):
    """LeNet with sigmoids and average pooling (LeCun et al., 1998), as the book has it.

    Idea: `twofold show lenet`.
    """

    def __init__(self, lr: float = 0.1, num_classes: int = 10) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.LazyConv2d(6, kernel_size=5, padding=2),
            nn.Sigmoid(),
            nn.AvgPool2d(kernel_size=2, stride=2),
            nn.LazyConv2d(16, kernel_size=5),
            nn.Sigmoid(),
            nn.AvgPool2d(kernel_size=2, stride=2),
            nn.Flatten(),
            nn.LazyLinear(120),
            nn.Sigmoid(),
            nn.LazyLinear(84),
            nn.Sigmoid(),
            nn.LazyLinear(num_classes),
        )
