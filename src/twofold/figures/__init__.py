"""Everything that is drawn with matplotlib. Each function takes values and gives a figure, or writes one to a file.

| file | what |
| --- | --- |
| `drawing.py` | what all figures share: a page without a display, plain axes, colours, saving |
| `glyphs.py` | names in any script: the fonts that they need, and an index for what no font has |
| `page.py` | a page on which panels and text are placed in inches |
| `labels.py` | where names of boxes can stand in an image |
| `detections.py` | boxes drawn into an image |
| `explain.py` | what a network sees in an image, and what excites a channel |
| `explain_detector.py` | what a detector sees in an image, and how anchors become objects |
| `gallery.py` | an image and what an augmentation makes of it |
| `odd_images.py` | the odd images of a folder |
| `schedule.py` | learning-rate schedules |
| `trace.py` | paths of update rules over a surface, still or moving |
| `chapter.py` | the figures of D2L's chapter on optimisation |
| `detection_chapter.py` | the figures of D2L's chapters on boxes and anchors |
| `curvature.py` | eigenvalues of the Hessian over training; gradient noise, stability and memory as measured |
| `studies.py` | the learning-rate range test, and the batch sizes |
| `forms.py` | latency and throughput of every form of a network |
| `cost.py` | what the two forms of each idea cost |

The curves of the run report are SVG and stand in `twofold.report`: their colours switch with the page's theme.
"""
