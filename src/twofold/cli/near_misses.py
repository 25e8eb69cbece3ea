"""Words of other tools, and what they are called here.

Who comes from another tool types its words first: `fit`, `--learning-rate`, `--optimizer momentum`. Each gets an
answer that names ours. A word is looked up only where a verb does not have it itself.
"""

from __future__ import annotations

from collections.abc import Collection

from twofold.errors import nearest

# Another tool's command -> ours, as it is typed.
COMMANDS = {
    **dict.fromkeys(("fit", "training"), "train MODEL"),
    **dict.fromkeys(("resume", "continue"), "train --resume RUN"),
    **dict.fromkeys(("fine-tune", "fine_tune", "finetuning", "transfer"), "finetune WEIGHTS --data PATH"),
    **dict.fromkeys(("test", "val", "validate", "evaluate", "evaluation"), "eval RUN"),
    **dict.fromkeys(("infer", "inference", "classify", "prediction"), "predict RUN IMAGE"),
    **dict.fromkeys(("lr_find", "lrfind", "find-lr", "lr-finder", "tune"), "lr-find MODEL"),
    **dict.fromkeys(("gradcam", "grad-cam", "visualize", "interpret"), "explain RUN IMAGE"),
    **dict.fromkeys(("info", "describe"), "summary MODEL"),
    **dict.fromkeys(("list", "ls"), "models, twofold recipes or twofold runs"),
    **dict.fromkeys(("compare", "history"), "runs"),
    **dict.fromkeys(("augmentation", "transforms"), "augment IMAGE"),
    **dict.fromkeys(("check", "dataset", "datasets"), "data check PATH"),
    "pack": "data pack PATH",
}

# Another tool's option, without its dashes -> ours, as it is typed.
OPTIONS = {
    **dict.fromkeys(("learning-rate", "lr0", "base-lr", "max-lr"), "--lr"),
    **dict.fromkeys(("optim", "opt", "optimizers", "optimiser", "rule", "rules"), "--optimizer"),
    **dict.fromkeys(("batch", "bs", "batchsize", "sizes", "train-batch-size"), "--batch-size"),
    **dict.fromkeys(("img", "imgsz", "img-size", "size", "input-size", "resolution", "crop-size"), "--image-size"),
    **dict.fromkeys(("num-epochs", "max-epochs", "n-epochs", "nepochs", "num-train-epochs"), "--epochs"),
    **dict.fromkeys(("wd", "decay", "l2"), "--weight-decay"),
    **dict.fromkeys(("eps", "adam-epsilon"), "--epsilon"),
    **dict.fromkeys(("betas",), "--beta1 and --beta2"),
    **dict.fromkeys(("policy", "aug", "augmentation", "auto-augment", "transforms", "aa"), "--augment"),
    **dict.fromkeys(("scheduler", "lr-scheduler", "lr-scheduler-type", "sched"), "--schedule"),
    **dict.fromkeys(("warmup-epochs", "warmup-ratio", "warmup-steps"), "--warmup, a share of the training"),
    **dict.fromkeys(("smoothing",), "--label-smoothing"),
    **dict.fromkeys(("mixup", "cutmix"), "--mix mixup or --mix cutmix"),
    **dict.fromkeys(("clip", "clip-grad", "max-grad-norm", "gradient-clip-val"), "--grad-clip"),
    **dict.fromkeys(("ema", "model-ema", "model-ema-decay"), "--ema-decay"),
    **dict.fromkeys(
        ("accum-iter", "accumulate-grad-batches", "gradient-accumulation-steps", "grad-accum-steps"), "--accumulate"
    ),
    **dict.fromkeys(("early-stopping", "early-stop", "early-stopping-patience"), "--patience"),
    **dict.fromkeys(("val-split", "validation-split", "val-size"), "--val-fraction"),
    **dict.fromkeys(("amp", "fp16", "bf16", "half", "mixed-precision"), "--precision bfloat16"),
    **dict.fromkeys(("gpu", "gpus", "cuda", "accelerator"), "--device cuda"),
    **dict.fromkeys(("cpu", "no-cuda"), "--device cpu"),
    **dict.fromkeys(("random-seed", "manual-seed"), "--seed"),
    **dict.fromkeys(("dataset", "data-dir", "data-path", "dataset-path", "root", "source"), "--data"),
    **dict.fromkeys(("output", "output-dir", "outdir", "save-dir", "project", "logdir", "log-dir"), "--out"),
    **dict.fromkeys(("plot", "save", "png"), "--figure"),
    **dict.fromkeys(("pretrained", "init", "load-weights"), "--weights DEFAULT"),
    **dict.fromkeys(("checkpoint", "ckpt", "ckpt-path", "resume-from"), "--resume"),
    **dict.fromkeys(("config", "cfg"), "--recipe"),
    **dict.fromkeys(("topk", "top-k"), "--top"),
    **dict.fromkeys(("verbose",), "--quiet, which turns progress off"),
}
# Another tool's option for which ours is an argument without dashes.
_NETWORK = ("model", "arch", "architecture", "backbone", "network")
# Another tool's option for which there is none.
_NEEDLESS = {
    **dict.fromkeys(("workers", "num-workers", "nw"), "images are read in this process, by its threads"),
    **dict.fromkeys(("shuffle", "no-shuffle"), "training images are shuffled anew each epoch"),
}

# Another tool's value of an option -> ours, as it is typed.
VALUES = {
    ("optimizer", "momentum"): "--optimizer sgd --momentum 0.9 --nesterov False",
    ("optimizer", "nesterov"): "--optimizer sgd --momentum 0.9 --nesterov True",
    ("schedule", "cosine"): "--schedule warmup-cosine",
    ("schedule", "onecycle"): "--schedule one-cycle",
    ("schedule", "multistep"): "--schedule step",
    ("precision", "fp32"): "--precision float32",
    ("precision", "bf16"): "--precision bfloat16",
    ("precision", "fp16"): "--precision bfloat16",
    ("precision", "float16"): "--precision bfloat16",
    ("device", "gpu"): "--device cuda",
    ("device", "0"): "--device cuda",
}


def unknown_option(name: str, known: Collection[str], *, verb: str, model_is_argument: bool) -> str:
    """Return the error about an option that a verb does not have.

    Args:
        name: the option, without its dashes.
        known: those that the verb has.
        verb: the command.
        model_is_argument: whether the verb takes the network's name as an argument without an option.
    """
    ours = OPTIONS.get(name, "")
    if name in _NETWORK and "model" in known:
        return f"--{name} is called --model here"
    if name in _NETWORK and model_is_argument:
        return f"--{name} is left out here: the network's name stands alone, as in twofold train resnet18"
    if name in _NEEDLESS:
        return f"there is no --{name}: {_NEEDLESS[name]}; leave it out"
    if ours and ours.split()[0].strip("-,") in known:
        return f"--{name} is called {ours} here"
    close = nearest(f"--{name}", [f"--{option}" for option in known])
    hint = f": {close}" if close.startswith("did you mean") else f"; see twofold {verb} --help"
    return f"there is no option --{name}{hint}"
