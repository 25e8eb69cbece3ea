"""From a recipe to all that trains: hardware, images, spec, network, loss, optimiser. The loop itself is in `loop`.

Two parts, because studies train often on the same images: `TrainingData` is loaded once, and each `Training` on it
begins from its recipe's seed alone. Everything that a recipe asks for is built here, for the engine and for studies
alike, so that no study can leave a setting out.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from twofold.data import Data, Images, MemoryImages, load_data, prefetch
from twofold.data.sources.problems import first_notes
from twofold.data.spec import Compute, ModelSpec
from twofold.engine.batches import BatchPlan
from twofold.engine.freezing import Freezing, layer_decay_factors
from twofold.engine.options import Options
from twofold.engine.recipe import Recipe
from twofold.engine.weights import Weights, WeightsMismatchError, find_weights, fit_weights, print_mismatch
from twofold.errors import SettingError
from twofold.inference.build import build_model
from twofold.inference.hardware import Hardware, pick_device, pick_hardware
from twofold.keyed import torch_generator_seed
from twofold.models.network import Network
from twofold.models.registry import DETECTORS, MODELS, create_model, resolve_options
from twofold.models.scratch_form import to_scratch
from twofold.models.winograd import with_winograd
from twofold.optim import rules
from twofold.optim.groups import parameter_groups
from twofold.optim.scratch_form import ScratchOptimizer
from twofold.tasks.metrics import Metric
from twofold.tasks.registry import task_named
from twofold.tasks.task import Batch, LossFunction, Preparation, Task, image_indices

M = TypeVar("M", bound=nn.Module)


def _say_nothing(line: str) -> None:
    pass


@dataclass(frozen=True)
class TrainingData:
    """Where to compute, and the images: what all trainings of a study share.

    Attributes:
        hardware: device and precision.
        data: the images, as they were split.
        spec: what travels with the weights.
        task: what the network is trained for.
        images: those to train on, on the GPU where they fit.
        weights: those to start from, if the recipe names some.
    """

    hardware: Hardware
    data: Data
    spec: ModelSpec
    task: Task
    images: Images
    weights: Weights | None


@dataclass(frozen=True)
class Training:
    """A network and all that trains it, before its first step; its recipe leaves nothing open."""

    recipe: Recipe
    shared: TrainingData
    plan: BatchPlan
    prepare: Preparation
    model: Network
    loss: LossFunction
    selects_by: Metric
    freezing: Freezing
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and kept: the moving average of the weights where there is one."""
        return self.model if self.average is None else self.average.module

    def steps(self, *, epoch: int, first_step: int = 0) -> Generator[list[Batch], None, None]:
        """Freeze what is frozen in `epoch`, and yield each step of it as its batches of samples and uint8 pixels.

        Files are read ahead of their use.
        """
        self.freezing.start_epoch(epoch)
        steps = list(self.plan.epoch(epoch, first_step=first_step))
        images = self.shared.images
        pixels = prefetch([image_indices(samples, len(images)) for step in steps for samples in step], images)
        with contextlib.closing(pixels):
            for step in steps:
                yield [(samples, next(pixels)) for samples in step]


def load_training_data(
    recipe: Recipe,
    options: Options,
    *,
    precision: str | None = None,
    resume: bool = False,
    splits: tuple[str, ...] = ("train", "val", "test"),
    log: Callable[[str], None] = _say_nothing,
) -> TrainingData:
    """Return the images that the recipe names, and where to compute.

    Args:
        recipe: what decides the training.
        options: progress, broken images, memory.
        precision: that of a run that goes on; the recipe's if left out.
        resume: the run has weights of its own by now.
        splits: which images are needed.
        log: is given a line for a person now and then.

    Raises:
        TwofoldError: the data, the device or the weights cannot be used.
    """
    pick_device(recipe.device)  # said at once where it is not there; what takes time comes when the data are
    weights = None
    if recipe.weights is not None and not resume:
        weights = find_weights(recipe.weights, model=recipe.model, show_progress=options.show)
    data = load_recipe_data(recipe, options, splits=splits)
    for line in first_notes(data.notes):
        log(line)
    if data.spec.convert_colour:
        log("colour images are turned to grey, for the network takes 1 channel; 3 would keep their colours")
    _check_network_settings(recipe, data)
    if precision is not None:
        hardware = pick_hardware(recipe.device, precision, reason="as this run began")
    elif recipe.form == "scratch":
        hardware = pick_hardware(recipe.device, "float32", reason="the readable form computes in it")
    else:
        hardware = pick_hardware(recipe.device, recipe.precision)
    log(f"computing on {hardware.describe()}")
    spec = model_spec(recipe, data, hardware)
    images = data.train
    if hardware.device.type == "cuda" and isinstance(images, MemoryImages):
        free, _ = torch.cuda.mem_get_info(hardware.device)
        images = images.to(hardware.device) if images.images.numel() <= free // 2 else images
    return TrainingData(hardware, data, spec, task_named(spec.task), images, weights)


def _check_network_settings(recipe: Recipe, data: Data) -> None:
    """Refuse settings that do not fit the network or its task, before anything is measured."""
    task_named(data.train.targets.task).metric(recipe.select_by)
    if recipe.freeze or recipe.lr_scale or recipe.decay_scale:
        options = resolve_options(recipe.model, recipe.model_options, data.spec.image_size)
        with torch.device("meta"):  # for the names of its stages and parameters alone
            model = create_model(recipe.model, options=options)
        Freezing(model, freeze=recipe.freeze, every=recipe.unfreeze_epochs, norm=recipe.freeze_norm)
        parameter_groups(model, weight_decay=0.0, lr_scale=recipe.lr_scale, decay_scale=recipe.decay_scale)


def model_spec(recipe: Recipe, data: Data, hardware: Hardware) -> ModelSpec:
    """Return what must travel with the weights: task, network, how pixels become inputs, how it computes.

    Raises:
        TwofoldError: the network is for another task than the images.
    """
    detects = data.train.targets.task == "detect"
    if detects != (MODELS[recipe.model].task == "detect"):
        fitting = ", ".join(DETECTORS) if detects else "lenet-bn, resnet18 or another that classifies"
        what = "boxes, and {} classifies" if detects else "no boxes, and {} looks for objects"
        raise SettingError(f"the images of {data.name} have {what}; choose {fitting}", {"model": recipe.model})
    return data.model_spec(
        architecture=recipe.model,
        architecture_options=resolve_options(recipe.model, recipe.model_options, data.spec.image_size),
        flip_average=recipe.flip_average,
        compute=Compute(precision=hardware.precision, winograd=recipe.winograd),
    )


def load_recipe_data(recipe: Recipe, options: Options, *, splits: tuple[str, ...] = ("train", "val", "test")) -> Data:
    """Return the images that `recipe` names, prepared as it says."""
    return load_data(
        recipe.data,
        images=recipe.images,
        columns=recipe.columns,
        image_size=recipe.image_size,
        channels=recipe.channels,
        # Cropping is what classifiers do where nothing is said; of images with boxes, the network is at fault.
        resize=None if recipe.resize == "crop" else recipe.resize,
        val_fraction=recipe.val_fraction,
        test_fraction=recipe.test_fraction,
        seed=recipe.seed,
        skip_broken=options.skip_broken,
        memory_limit=options.memory_limit,
        splits=splits,
        for_detector=MODELS[recipe.model].task == "detect",
        show_progress=options.show,
    )


def build_training(recipe: Recipe, shared: TrainingData, *, log: Callable[[str], None] = _say_nothing) -> Training:
    """Return the network with the weights that the recipe starts from, and all that trains it.

    Args:
        recipe: what decides the training.
        shared: its images and its device.
        log: is given a line for a person now and then.

    Raises:
        TwofoldError: network, weights or batch size do not fit; of weights, a table of what differs is printed.
    """
    recipe = recipe.settled(len(shared.images))
    assert recipe.batch_size is not None
    task, spec, hardware = shared.task, shared.spec, shared.hardware
    prepare = task.preparation(recipe, spec, shared.images.targets, hardware.device)
    loss = task.loss(recipe, spec, shared.images.targets, hardware.device)
    selects_by = task.metric(recipe.select_by)
    torch.manual_seed(torch_generator_seed(recipe.seed, "init"))
    model = in_form(recipe, build_model(spec, hardware))
    if shared.weights is not None:
        try:
            lines = fit_weights(model, shared.weights, partial=recipe.weights_partial, spec=spec)
        except WeightsMismatchError as error:
            print_mismatch(error)
            raise
        for line in lines:
            log(line)
    normalises = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())
    if recipe.batch_size == 1 and normalises:
        raise SettingError(f"{recipe.model} normalises over the batch: {{}} must be 2 or more, got 1", "batch_size")
    freezing = Freezing(model, freeze=recipe.freeze, every=recipe.unfreeze_epochs, norm=recipe.freeze_norm)
    optimizer = create_optimizer(recipe, model)
    average = None
    if recipe.ema_decay is not None:
        # Averaging the last 1/(1 - decay) steps cancels much of the noise of their gradients (Polyak and Juditsky,
        # "Acceleration of stochastic approximation by averaging", 1992).
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)
    strata = shared.images.targets.strata() if recipe.sampling == "balanced" else None
    plan = BatchPlan(len(shared.images), recipe.batch_size, recipe.accumulate, recipe.seed, strata)
    for line in (*task.remarks(recipe, spec, shared.images.targets), *plan.remarks()):
        log(line)
    if recipe.weights is None and (recipe.freeze or recipe.freeze_norm):
        what = "frozen stages keep the random weights" if recipe.freeze else "batch normalisation keeps the values"
        log(f"{what} that they were made with, for there are no weights to start from")
    if shared.weights is not None:
        for line in freezing.describe(optimizer, lr=recipe.lr or 0.0).split("\n"):
            log(line)
    elif any(isinstance(layer, nn.Sigmoid) for layer in model.modules()) and not normalises:
        log(
            f"the loss of {recipe.model} may hardly fall in its first epochs, as expected: its sigmoids pass little of "
            "the gradient on (lenet-bn, which has none, learns from the first)"
        )
    if recipe.compile:
        model.compile()
        log("compiling at the first step, which takes a minute or so")
    return Training(recipe, shared, plan, prepare, model, loss, selects_by, freezing, optimizer, average)


def in_form(recipe: Recipe, model: M) -> M:
    """Return `model` in the recipe's form: made to run fast, or running on the operations of `twofold.scratch`."""
    if recipe.form == "fast":
        # torch.compile would have to stop at each layer of Winograd's.
        return with_winograd(model) if recipe.winograd and not recipe.compile else model
    # Row-major: the scratch form lays out its own windows, and gains nothing from channels-last.
    return to_scratch(model.to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]


def create_optimizer(recipe: Recipe, model: Network) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over the parameter groups of `model`, in its fast or its scratch form."""
    assert recipe.lr is not None
    assert recipe.weight_decay is not None
    groups = parameter_groups(
        model,
        weight_decay=recipe.weight_decay,
        decay_norm_and_bias=recipe.decay_norm_and_bias,
        lr_scale=recipe.lr_scale,
        decay_scale=recipe.decay_scale,
        lr_factors=layer_decay_factors(model, recipe.layer_decay) if recipe.layer_decay < 1.0 else None,
    )
    params = [{name: value for name, value in group.items() if name != "names"} for group in groups]
    rule, settings = recipe.update_rule()
    if recipe.form == "scratch":
        return ScratchOptimizer(params, rule, lr=recipe.lr, **settings)
    if recipe.compile and "compile" in inspect.signature(rules.OPTIMIZERS[rule]).parameters:
        settings["compile"] = True
    return rules.create_optimizer(rule, params, lr=recipe.lr, **settings)
