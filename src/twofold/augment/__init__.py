"""Augmentation of whole batches on any device: draw the parameters of each image, then apply them.

Drawing and applying are separate, so that the parameters can be shown, replayed and tested. A draw is a pure
function of (seed, epoch, sample index): see `twofold.keyed`. The names of the policies (`names`) load without torch;
`policies.create_policy` gives the augmentation that a name stands for.
"""

from __future__ import annotations

from twofold.augment.names import POLICIES

__all__ = ["POLICIES"]
