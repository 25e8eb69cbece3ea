"""Twofold: hands-on deep learning for vision, every idea in two forms, one to read and one to run at scale.

    import twofold

    run = twofold.train(twofold.Recipe(model="lenet-bn", data="fashion-mini", epochs=5))
    model = twofold.load(run.folder)
    model.predict("photo.png").class_name

Functions, each explained by `help`, e.g. `help(twofold.train)`:

    train(recipe)                  train a network; leaves a run folder with its weights and a report
    finetune(weights, data=...)    train on from a run, or from published weights, with other images
    resume(run)                    go on with a run that was stopped
    load(run)                      the trained network: .predict(image)
    evaluate(run)                  its metrics over test images, or over others: data=...
    explain(run, image)            a figure of what the network sees
    export(run)                    the network as files that need no Twofold, checked to answer as it does
    draw(prediction)               an image with the boxes that a detector finds in it
    lr_find(recipe)                a learning rate, by a range test
    race(settings)                 compare optimizers fairly

What they take and return:

    Recipe         all that decides a run: network, data, optimizer, ...; help(twofold.Recipe) lists its settings
    Options        what does not: progress, saving, memory
    Run            a finished run: .folder, .metrics, .report, .load(); it can be given in place of its folder
    Exported       what was exported: .path, .file, .load(); it can be given in place of its path
    Predictor      a trained network: .predict(image)
    Prediction     the classes of an image, or its .boxes and their .class_names, with .probabilities
    RaceSettings   all that decides a race
    TwofoldError   wrong use; the message says what to do. RunError, one of them: the work failed

Every idea to read stands in `twofold.scratch`; `twofold ideas`, on the command line, lists them with their fast forms.

Names are imported when first used, so that `import twofold` and `twofold --help` stay instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.api import (
        Run as Run,
        draw as draw,
        evaluate as evaluate,
        explain as explain,
        finetune as finetune,
        resume as resume,
        train as train,
    )
    from twofold.engine.options import Options as Options
    from twofold.engine.recipe import Recipe as Recipe
    from twofold.errors import RunError as RunError, TwofoldError as TwofoldError
    from twofold.exporting.write import Exported as Exported, export as export
    from twofold.inference.predictor import Predictor as Predictor, load as load
    from twofold.study.lr_find import lr_find as lr_find
    from twofold.study.race import RaceSettings as RaceSettings
    from twofold.study.race_run import race as race
    from twofold.tasks.predictions import Prediction as Prediction

__version__ = "0.1.0"

# What newcomers look for in the package, and where it is.
_TRAIN = "twofold.train(twofold.Recipe(model='lenet-bn')) trains a network"
_ELSEWHERE = {
    **dict.fromkeys(("fit", "Trainer", "run"), _TRAIN),
    **dict.fromkeys(
        ("predict", "infer", "classify", "inference"), "twofold.load(RUN).predict(image) classifies an image"
    ),
    **dict.fromkeys(("test", "eval", "validate", "val", "score"), "twofold.evaluate(RUN) measures a run"),
    **dict.fromkeys(("load_model", "load_run", "from_pretrained"), "twofold.load(RUN) returns a trained network"),
    **dict.fromkeys(("create_model", "list_models", "model"), "from twofold.models import MODELS, create_model"),
    **dict.fromkeys(("load_data", "dataset", "datasets"), "from twofold.data import load_data"),
    **dict.fromkeys(("to_onnx", "export_onnx", "save"), "twofold.export(RUN) writes a network for others to run"),
    "serve": "the command twofold serve RUN answers over HTTP",
    "summary": "the command twofold summary MODEL prints a network's layers",
}

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "api": "Run draw evaluate explain finetune resume train",
        "engine.options": "Options",
        "engine.recipe": "Recipe",
        "errors": "RunError TwofoldError",
        "exporting.write": "Exported export",
        "inference.predictor": "Predictor load",
        "study.lr_find": "lr_find",
        "study.race": "RaceSettings",
        "study.race_run": "race",
        "tasks.predictions": "Prediction",
    },
    elsewhere=_ELSEWHERE,
)
