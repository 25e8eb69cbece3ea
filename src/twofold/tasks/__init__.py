"""What networks are trained for: the seam that the engine, evaluation, prediction and the report share.

| file | what |
| --- | --- |
| `task.py` | `Task` and what it gives: metrics, predictions, meters |
| `preparation.py` | from a batch of bytes to inputs: what all tasks prepare alike |
| `classify.py` | `Classification`: one class an image |
| `section.py` | what a report can say of an evaluation, as plain values |
| `class_section.py` | `class_section`: what it says of one class an image |
| `registry.py` | `task_named`: a task by the name in a spec |
"""
