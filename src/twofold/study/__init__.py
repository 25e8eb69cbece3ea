"""Studies: experiments of many trainings that answer one question, each with a page or a figure of its own.

`race.py` says what a race of update rules is, `race_run.py` carries it out, `workers.py` spreads it over processes and
`race_page.py` shows it; `lr_find.py` is the learning-rate range test; `batch_sizes.py` asks what a batch size costs.
All of them train with the engine's parts, gathered in `bench.py`.
"""
