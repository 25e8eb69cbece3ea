"""Studies: experiments of many trainings that answer one question, each with a page or a figure of its own.

All of them take the engine's own step, so that a recipe means in a study what it means in a run.

| file | what |
| --- | --- |
| `training.py` | many short trainings on the same images; when one has diverged |
| `race.py` | what a race of update rules is: who takes part, what can be said at the end |
| `race_run.py` | carrying it out: searches, then runs, each finished piece on the disk |
| `race_page.py` | its page |
| `progress.py` | how far it is |
| `workers.py` | tasks spread over processes |
| `lr_find.py` | the learning-rate range test |
| `batch_sizes.py` | what a batch size costs: loss against time |
| `forms.py` | what each form of a trained network gives on this machine |
| `curvature.py` | how the loss bends while a network trains |
| `claims.py`, `claim_names.py` | what is said of gradients and steps, measured |
"""
