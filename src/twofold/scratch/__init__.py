"""Form one: every idea in plain tensor code, forward and backward by hand. README.md has the order of reading.

Nothing here comes from `torch.nn`, autograd or `torch.optim`, and nothing from the rest of Twofold. What each function
computes is proved equal to torch's by `twofold.proof`.

| file | what |
| --- | --- |
| `data.py` | synthetic regression, minibatches with and without replacement |
| `init.py` | constant, normal, uniform, Xavier and Kaiming initialisation |
| `linear.py` | the dense layer |
| `activation.py` | sigmoid, tanh, ReLU |
| `loss.py` | squared loss, softmax, cross-entropy with label smoothing, binary cross-entropy; smooth L1, focal loss |
| `optim.py` | update rules from SGD to AdamW, and `Optimizer` with its parameter groups |
| `train.py` | the five steps of training: linear regression, and LeNet on images |
| `conv.py` | convolution as one matrix product; the 1x1 convolution; receptive fields |
| `conv_pieces.py` | the same convolution in pieces that fit the cache |
| `pool.py` | max, average and adaptive average pooling |
| `norm.py` | batch normalisation, local response normalisation |
| `dropout.py` | dropout |
| `network.py` | layers, `Sequential` with back-propagation; the multilayer perceptron, LeNet |
| `schedule.py` | how the learning rate moves |
| `augment.py` | flips, crops, resizing, colours, normalisation of one image |
| `ranking.py` | precision, recall, average precision and its mean over labels |
| `boxes.py` | bounding boxes, anchors, matching, offsets, non-maximum suppression |
| `box_augment.py` | crops that keep their overlap with a box, zooming out; boxes move along |
| `generalised_iou.py` | generalised intersection over union, and the loss from it |
| `multibox.py` | hard negative mining, and the loss that SSD is trained with |
| `detection.py` | precision, recall and average precision of detections, as COCO counts them |
| `detection_errors.py` | six kinds of error of a detector, and what fixing each would give |
"""
