"""The engine: from a recipe to a run folder. It knows batches, gradients and weights; what an output means is a task's.

Read `loop.py` first: the five steps of training on one page. Then `step.py`, the update itself.

| file | what |
| --- | --- |
| `recipe.py` | `Recipe`: the frozen value that decides a run |
| `sections.py` | the recipe's settings in words, by section: for `help` in Python and on the command line |
| `recipes.py` | named recipes |
| `calls.py` | calls from Python with a name in place of a recipe, or a run in place of its folder |
| `other_words.py` | other tools' words for settings, and ours |
| `finetune.py` | the recipe of fine-tuning |
| `options.py` | `Options`: what does not decide a run, such as progress |
| `build.py` | a recipe to hardware, images, network, loss and optimiser |
| `weights.py` | weights from elsewhere: found, checked against the network, fitted or refused |
| `weight_names.py` | which of a file's tensors are the network's, whatever was put before their names |
| `freezing.py` | stages that keep their weights for a while, and learning rates that fall towards the image |
| `batches.py` | which images make which step: a pure function of seed and epoch |
| `loop.py` | `fit`: the five steps of training |
| `step.py` | `train_step`: forward, backward, update; for the engine and every study |
| `norm.py` | batch normalisation's statistics, measured anew before an evaluation |
| `session.py` | the book-keeping around a step: learning rate, progress, saving, stopping |
| `watching.py` | `Watcher`: who looks on, and may hold a run up |
| `changes.py` | other settings in the middle of a run |
| `state.py` | all that changes while training, into a checkpoint and back |
| `checkpoints.py` | the newest, the one before and the best, so that one good file is always left |
| `run.py` | the run folder and its files |
| `progress.py` | what a run shows while it goes |
| `curves.py` | the same for TensorBoard, as an event file |
| `stopping.py` | Ctrl-C and SIGTERM as a request |
"""
