"""The line of an epoch: whole within 80 columns."""

from __future__ import annotations

from twofold.engine.progress import brief
from twofold.records import EpochRecord

TRAIN = {"loss": 1.24023, "accuracy": 0.60544}
VAL = {"loss": 0.64571, "accuracy": 0.765, "balanced_accuracy": 0.766, "macro_f1": 0.7556}


def record(train: dict[str, float], val: dict[str, float]) -> EpochRecord:
    return EpochRecord(epoch=1, step=10, train=train, val=val, images_per_second=12_345.6)


def test_an_epoch_shows_what_is_trained_by_and_what_chooses() -> None:
    shown = brief(record(TRAIN, VAL), "accuracy")
    assert shown == "epoch   1  loss 1.2402 val 0.6457  accuracy 0.6054 val 0.7650  12,346 images/s"
    assert brief(record(TRAIN, {}), "accuracy") == "epoch   1  loss 1.2402  accuracy 0.6054  12,346 images/s"
    chosen = brief(record(TRAIN, VAL), "balanced_accuracy")
    assert chosen == "epoch   1  loss 1.2402 val 0.6457  balanced_accuracy val 0.7660"
    assert max(map(len, (shown, chosen))) <= 80
