"""The engine: from a recipe to a run folder.

Reading order: `recipe` (what decides a run), `loop` (the five steps), `run` (what a run leaves), `checkpoint`
(how nothing is lost), `evaluate` and `predictor` (what a trained network is good for).
"""
