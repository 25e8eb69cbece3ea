"""What networks are trained for: the seam that the engine, evaluation, prediction and the report share.

| file | what |
| --- | --- |
| `task.py` | `Task` and what it gives: metrics, predictions, meters |
| `metrics.py` | `METRICS`: what an epoch of each task is measured by, and which way is better |
| `class_weights.py` | weights of classes in the loss, from a file |
| `preparation.py` | from a batch of bytes to inputs: what all tasks prepare alike |
| `classify.py` | `Classification`: one class an image |
| `multilabel.py` | `MultiLabel`: any number of labels an image |
| `detect.py` | `Detection`: boxes of objects, each with a class |
| `detect_html.py` | boxes in an image, for notebooks |
| `detect_meter.py` | what its evaluation counts |
| `section.py` | what a report can say of an evaluation, as plain values |
| `class_section.py` | `class_section`: what it says of one class an image |
| `multilabel_section.py` | `multilabel_section`: what it says of several labels an image |
| `detect_section.py` | `detection_section`: what it says of a detector |
| `predictions.py` | what a network says of an image, whichever form of it said so |
| `registry.py` | `task_named`: a task by the name in a spec |
"""
