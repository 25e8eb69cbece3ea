"""Twofold: hands-on deep learning for vision, every idea in two forms, one to read and one to run at scale.

    import twofold

    run = twofold.train(twofold.Recipe(model="lenet-bn", data="fashion-mini", epochs=5))
    model = twofold.load(run.folder)
    model.predict("photo.png").class_name

| file or folder | what |
| --- | --- |
| `api.py` | from Python: train, resume, load, evaluate, explain |
| `scratch` | form one, to read: torch tensors and nothing else |
| `models` | networks, one file a family |
| `optim` | update rules, schedules, parameter groups |
| `augment` | augmentation of whole batches |
| `data` | images from folders, named sets, packs and hubs, ready to train on |
| `landscape` | what is learnt about optimisation: surfaces, traces, curvature, gradient noise |
| `tasks` | what networks are trained for: the seam between the engine and everything about classes |
| `inference` | what it takes to use a trained network |
| `engine` | from a recipe to a run folder |
| `interpret` | what a network sees in an image, and what excites a channel |
| `figures`, `report` | what is drawn, and the page of a run |
| `study` | experiments of many trainings |
| `proof` | the table of ideas, and the proof that their two forms agree |
| `cli` | the command line, a file a verb |
| `records.py` | the files that a run or a race leaves, one frozen type each |
| `terminal.py` | progress and tables: a bar on a terminal, lines elsewhere |
| `files.py` | atomic, durable writes |
| `names.py` | names from disks, which need not be text: how they are shown, stored and hashed |
| `keyed.py` | randomness as a pure function of (seed, epoch, sample index, purpose) |
| `errors.py` | errors that users read |
| `lazy.py` | names that are imported when first used |

Names are imported when first used, so that `import twofold` and `twofold --help` stay instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofold.lazy import lazy_names

if TYPE_CHECKING:
    from twofold.api import (
        Run as Run,
        evaluate as evaluate,
        explain as explain,
        finetune as finetune,
        load as load,
        resume as resume,
        train as train,
    )
    from twofold.engine.options import Options as Options
    from twofold.engine.recipe import Recipe as Recipe
    from twofold.errors import RunError as RunError, TwofoldError as TwofoldError
    from twofold.inference.predictor import Predictor as Predictor
    from twofold.study.lr_find import lr_find as lr_find
    from twofold.study.race import RaceSettings as RaceSettings
    from twofold.study.race_run import race as race
    from twofold.tasks.task import Prediction as Prediction

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "api": "Run evaluate explain finetune load resume train",
        "engine.options": "Options",
        "engine.recipe": "Recipe",
        "errors": "RunError TwofoldError",
        "inference.predictor": "Predictor",
        "study.lr_find": "lr_find",
        "study.race": "RaceSettings",
        "study.race_run": "race",
        "tasks.task": "Prediction",
    },
)
