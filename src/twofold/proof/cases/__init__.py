"""The parity cases of the ideas.

| file | what is compared |
| --- | --- |
| `basics.py` | data, initialisation, dense layers, activations, losses, dropout |
| `conv.py` | convolutions and receptive fields |
| `layers.py` | pooling and normalisation |
| `networks.py` | whole networks, and whole training runs |
| `optim.py` | update rules, parameter groups, schedules |
| `augment.py` | augmentation, pixel by pixel |
| `ranking.py` | precision, recall, average precision |
| `box_augment.py` | crops that keep an object in view, zooming out |
| `boxes.py` | boxes, anchors, matching, suppression |
| `detector.py` | the losses of detectors, hard negatives, generalised intersection over union |
| `detection.py` | average precision of detections, kinds of error |
"""
