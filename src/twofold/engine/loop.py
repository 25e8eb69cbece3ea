"""The five steps of training, top to bottom: data, model, loss, optimiser, training.

`fit` is the whole engine and `train_step` its heart. What decides the run is the recipe; the book-keeping around a
step (learning rate, progress, saving, stopping) is in `session`; what remains is the run folder.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from twofold.data import Data, Images, MemoryImages, channel_statistics, load_data, prefetch
from twofold.data.spec import ModelSpec
from twofold.engine.batches import BatchPlan
from twofold.engine.evaluate import quick_metrics
from twofold.engine.freezing import Freezing, layer_decay_factors
from twofold.engine.memory import freed_memory_is_kept
from twofold.engine.options import Options
from twofold.engine.prepare import Batch, BatchPreparation, classes_of
from twofold.engine.recipe import Recipe
from twofold.engine.run import RunFolder
from twofold.engine.session import Session
from twofold.engine.state import Counters, TrainState, moving_average
from twofold.engine.weights import Weights, WeightsMismatchError, find_weights, fit_weights, print_mismatch
from twofold.errors import RunError, TwofoldError
from twofold.inference.build import build_model
from twofold.inference.hardware import Hardware, pick_hardware
from twofold.keyed import torch_generator_seed
from twofold.models.googlenet import AUXILIARY_WEIGHT
from twofold.models.measure import count_parameters
from twofold.models.network import Network
from twofold.models.registry import resolve_options
from twofold.models.scratch_form import to_scratch
from twofold.models.winograd import with_winograd
from twofold.optim import rules
from twofold.optim.groups import parameter_groups
from twofold.optim.scratch_form import ScratchOptimizer

M = TypeVar("M", bound=nn.Module)


def fit(recipe: Recipe, run: RunFolder, options: Options, *, resume: bool = False) -> tuple[nn.Module, Data]:
    """Train as the recipe says, into the run folder; return the trained network and the data.

    Args:
        recipe: what decides the run.
        run: its folder, locked by the caller.
        options: what does not decide it.
        resume: go on from the newest good checkpoint of the run.

    Raises:
        TwofoldError: the data, the device or the network's input cannot be used.
        RunError: the loss is no longer finite, or memory or disk ran out.
        Interrupted: Ctrl-C or SIGTERM came; the state is saved.
    """
    with reproducible(), freed_memory_is_kept(), explained_torch_errors(recipe):
        # 1. data: images in the order and the shape that the recipe asks for
        hardware = pick_hardware(recipe.device, run.precision() if resume else requested_precision(recipe))
        run.log(f"computing on {hardware.describe()}", show=options.show)
        weights = starting_weights(recipe, options, resume=resume)
        data = load_recipe_data(recipe, options)
        plan = BatchPlan(len(data.train), recipe.batch_size, recipe.accumulate, recipe.seed)

        # 2. model: a function from pixels to one number a class, with random weights
        spec = preprocessing_spec(recipe, data)
        train_images = on_device(data.train, hardware)
        prepare = BatchPreparation(recipe, spec, train_images, hardware)
        torch.manual_seed(torch_generator_seed(recipe.seed, "init"))
        model = in_form(recipe, build_model(spec, hardware))
        start_from(weights, recipe, model, run, options)
        require_batches(recipe, model)

        # 3. loss: how wrong those numbers are
        loss_function = in_form(recipe, nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing))

        # 4. optimiser: how the weights follow the gradient of the loss
        freezing = Freezing(model, freeze=recipe.freeze, every=recipe.unfreeze_epochs, norm=recipe.freeze_norm)
        optimizer = create_optimizer(recipe, model)
        run.log(freezing.describe(optimizer, lr=recipe.lr or 0.0), show=options.show and weights is not None)
        average = moving_average(model, recipe.ema_decay) if recipe.ema_decay is not None else None

        # 5. training: forward, backward, update, again and again
        state = TrainState(model, average, optimizer, Counters())
        session = Session(recipe, run, options, data=data, spec=spec, state=state, plan=plan)
        if resume:
            session.restore()
        else:
            session.describe(hardware, count_parameters(model))
        if recipe.compile:
            compile_network(model, run, options)
        with session:
            while not session.finished():
                count = state.counters
                freezing.start_epoch(count.epoch)
                for step in feed(plan, train_images, epoch=count.epoch, first_step=count.step_in_epoch):
                    session.set_learning_rate()
                    # Dropout draws from torch's own generator: keyed by the step, it has no past to restore.
                    torch.manual_seed(torch_generator_seed(recipe.seed, count.step, "torch"))
                    batches = [prepare(batch, epoch=count.epoch) for batch in step]
                    freezing.set_training()
                    loss, correct, num_samples = forward_backward(model, loss_function, batches, hardware)
                    session.require_finite(loss)
                    if recipe.grad_clip is not None:
                        nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    if average is not None:
                        average.update_parameters(model)
                    session.after_step(loss=loss, correct=correct, num_samples=num_samples)
                    if session.out_of_time():
                        break
                judged = quick_metrics(state.evaluated, data.val, spec, hardware) if data.val is not None else None
                session.after_epoch(judged)
            session.save()
            session.finish()
    return state.evaluated, data


def compile_network(model: nn.Module, run: RunFolder, options: Options) -> None:
    """Have torch compile the network when it is first used, and say why the first step will take so long."""
    model.compile()
    run.log("compiling at the first step, which takes a minute or so", show=options.show)


def feed(plan: BatchPlan, images: Images, *, epoch: int, first_step: int) -> Iterator[list[Batch]]:
    """Yield each step of an epoch as its batches of indices and uint8 pixels; files are read ahead of their use."""
    steps = list(plan.epoch(epoch, first_step=first_step))
    pixels = prefetch([indices for step in steps for indices in step], images)
    with contextlib.closing(pixels):
        for step in steps:
            yield [(indices, next(pixels)) for indices in step]


def forward_backward(
    model: nn.Module, loss_function: nn.Module, batches: list[tuple[Tensor, Tensor]], hardware: Hardware
) -> tuple[float, int, int]:
    """Add the gradient of the mean loss over all `batches` to the parameters; return (loss, correct, images)."""
    num_samples = sum(len(targets) for _, targets in batches)
    total = torch.zeros((), device=hardware.device)
    correct = torch.zeros((), device=hardware.device, dtype=torch.int64)
    for inputs, targets in batches:
        with hardware.autocast():
            outputs = model(inputs)
            # GoogLeNet's auxiliary heads give logits of their own in training.
            logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = loss_function(logits, targets)
            for others in auxiliary:
                loss = loss + AUXILIARY_WEIGHT * loss_function(others, targets)
            loss = loss * (len(targets) / num_samples)
        loss.backward()
        total += loss.detach()
        correct += (logits.detach().argmax(dim=1) == classes_of(targets)).sum()
    return float(total), int(correct), num_samples


def load_recipe_data(recipe: Recipe, options: Options, *, splits: tuple[str, ...] = ("train", "val", "test")) -> Data:
    """Return the images that `recipe` names, prepared as it says."""
    return load_data(
        recipe.data,
        image_size=recipe.image_size,
        channels=recipe.channels,
        resize=recipe.resize,
        val_fraction=recipe.val_fraction,
        seed=recipe.seed,
        skip_broken=options.skip_broken,
        memory_limit=options.memory_limit,
        splits=splits,
        show_progress=options.show,
    )


def on_device(images: Images, hardware: Hardware) -> Images:
    """Return images that lie in memory on the GPU, if that leaves half of its free memory; others as they are."""
    if hardware.device.type != "cuda" or not isinstance(images, MemoryImages):
        return images
    free, _ = torch.cuda.mem_get_info(hardware.device)
    return images.to(hardware.device) if images.images.numel() <= free // 2 else images


def preprocessing_spec(recipe: Recipe, data: Data) -> ModelSpec:
    """Return what must travel with the weights: architecture, classes, and how pixels become inputs."""
    mean, std = channel_statistics(data.train)
    return ModelSpec(
        **data.spec.model_dump(),
        architecture=recipe.model,
        architecture_options=resolve_options(recipe.model, recipe.model_options, data.spec.image_size),
        class_names=data.class_names,
        mean=mean,
        std=std,
        flip_average=recipe.flip_average,
    )


def requested_precision(recipe: Recipe) -> str:
    """Return the precision to ask of the hardware: the scratch form computes in float32."""
    return "float32" if recipe.form == "scratch" else recipe.precision


def in_form(recipe: Recipe, module: M) -> M:
    """Return `module` in the recipe's form: made to run fast, or running on the operations of `twofold.scratch`."""
    if recipe.form == "fast":
        # torch.compile would have to stop at each of these layers.
        return with_winograd(module) if recipe.winograd and not recipe.compile else module
    # Row-major: the scratch form lays out its own windows, and gains nothing from channels-last.
    return to_scratch(module.to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]


def starting_weights(recipe: Recipe, options: Options, *, resume: bool) -> Weights | None:
    """Return the weights that the recipe starts from; None for random ones, and for a run that has its own by now."""
    if recipe.weights is None or resume:
        return None
    return find_weights(recipe.weights, model=recipe.model, show_progress=options.show)


def start_from(weights: Weights | None, recipe: Recipe, model: nn.Module, run: RunFolder, options: Options) -> None:
    """Copy the `weights`, if there are any, into `model`; log what was done for it.

    Raises:
        TwofoldError: they don't fit; a table of what differs is then printed.
    """
    if weights is None:
        return
    try:
        lines = fit_weights(model, weights, partial=recipe.weights_partial)
    except WeightsMismatchError as error:
        print_mismatch(error)
        raise
    for line in lines:
        run.log(line, show=options.show)


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


def require_batches(recipe: Recipe, model: nn.Module) -> None:
    """Refuse a batch of one where batch normalisation would have nothing to average."""
    if recipe.batch_size == 1 and any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()
    ):
        raise TwofoldError(f"{recipe.model} normalises over the batch: batch_size must be 2 or more, got 1")


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Leave torch's generators as they were, and have torch choose algorithms that repeat bit for bit."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=devices):
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@contextlib.contextmanager
def explained_torch_errors(recipe: Recipe) -> Iterator[None]:
    """Turn torch's errors of missing memory, or of a missing compiler, into one line that says what to do."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if "C++ compiler" in str(error):
            raise RunError(
                "compiling needs a C++ compiler (g++ or clang++): install one, or leave --compile out"
            ) from error
        out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
        if not out_of_memory:
            raise
        raise RunError(f"out of memory with batches of {recipe.batch_size} images; {_smaller(recipe)}") from error


def _smaller(recipe: Recipe) -> str:
    if recipe.batch_size == 1:
        return "try a smaller --image-size or model"
    half = recipe.batch_size // 2
    accumulate = -(-recipe.batch_size * recipe.accumulate // half)
    return f"try --batch-size {half} --accumulate {accumulate}, which makes the same step"
