"""The command line: one thin file a verb. Nothing here computes; nothing here is imported by anything else.

| file | what |
| --- | --- |
| `main.py` | finds the verb, turns errors into one line and an exit code, prints the overview |
| `parse.py` | arguments by tyro, mistakes in one line, checks that several verbs share |
| `help.py` | the help page of a verb |
| `near_misses.py` | words of other tools, and what they are called here |
| `settings.py` | a recipe's settings as options |
| `train.py` | train a network, or resume a run |
| `finetune.py` | go on from trained weights with other images |
| `lr_find.py` | find a learning rate |
| `race.py` | compare update rules on a real network |
| `models.py` | list the networks |
| `recipes.py` | list the named recipes |
| `predict.py` | classify images, or find objects in them |
| `detections.py` | what `predict` prints and draws of objects |
| `eval.py` | measure a run over every image once |
| `explain.py` | draw what a network sees in an image |
| `report.py` | write the page of a run again |
| `runs.py` | compare runs |
| `export.py` | a trained network as files that others run |
| `bench.py` | measure every form of a trained network |
| `serve.py` | trained networks over HTTP |
| `completion.py` | print a shell completion script |
| `ideas.py` | list the ideas and their two forms |
| `show.py` | print an idea: formula, code, source |
| `verify.py` | prove that both forms of an idea agree |
| `cost.py` | measure both forms of an idea |
| `summary.py` | print a network layer by layer |
| `surface.py` | watch optimizers walk down a surface |
| `schedule.py` | draw how the learning rate moves |
| `curvature.py` | measure how the loss bends while a network trains |
| `lab.py` | labs in the browser, or their values in the terminal |
| `claims.py` | measure what is said of gradients and steps, and compare with theory |
| `batch_study.py` | measure what a batch size costs: loss against time |
| `data.py` | check a folder of images, or pack it |
| `boxed_data.py` | what `data.py` says of boxes, and converting them to another format |
| `augment.py` | draw what an augmentation makes of an image |
"""
