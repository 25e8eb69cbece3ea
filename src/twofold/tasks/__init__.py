"""What networks are trained for: the seam that the engine, evaluation, prediction and the report share.

| file | what |
| --- | --- |
| `task.py` | `Task` and what it gives: metrics, predictions, meters, the sections of a report |
| `classify.py` | `Classification`: one class an image |
| `registry.py` | `task_named`: a task by the name in a spec |
"""
