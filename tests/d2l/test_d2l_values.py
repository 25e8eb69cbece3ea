"""The book's names return what the book's own packages return, on small inputs; see `d2l_oracle.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import d2l_data_scenes
import d2l_figure_scenes
import d2l_part_scenes
import d2l_training_scenes
import numpy as np
import pytest
import torch
from d2l_oracle import assert_same, batches, cross_entropy, decode, encode, images, lenet, scenes, small_net, stored
from matplotlib import pyplot as plt

from twofold import d2l

STORED = stored()
SCENES = scenes(d2l_part_scenes, d2l_data_scenes, d2l_training_scenes, d2l_figure_scenes)


@pytest.fixture(autouse=True)
def _first_edition() -> Iterator[None]:
    hub = dict(d2l.DATA_HUB)
    yield
    d2l.DATA_HUB.update(hub)
    d2l.edition("1.0")
    plt.close("all")
    plt.rcdefaults()


def _title(call: dict[str, Any]) -> str:
    return f"{call['edition']}-{call['name']}"


@pytest.mark.parametrize("call", STORED["calls"], ids=map(_title, STORED["calls"]))
def test_a_call_returns_what_the_books_own_function_returns(call):
    d2l.edition(call["edition"])
    options = {name: decode(value) for name, value in call.get("options", {}).items()}
    found = getattr(d2l, call["name"])(*decode(call["arguments"]), **options)
    assert_same(encode(found), call["returns"])


@pytest.mark.parametrize(
    ("edition", "name"), [(edition, name) for edition, found in STORED["scenes"].items() for name in found]
)
def test_a_scene_ends_as_with_the_books_own_package(edition, name):
    d2l.edition(edition)
    scene = SCENES[name]
    assert_same(encode(scene.run(d2l)), STORED["scenes"][edition][name], scene.tolerance)


def test_each_scene_has_its_values_stored():
    wanted = {(edition, name) for name, scene in SCENES.items() for edition in scene.editions}
    assert wanted == {(edition, name) for edition, found in STORED["scenes"].items() for name in found}


# Where the book's own functions go wrong, and these do not


ANCHORS = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0], [0.1, 0.1, 0.5, 0.5]]])


@pytest.mark.parametrize(("edition", "name"), [("1.0", "multibox_target"), ("zh", "MultiBoxTarget")])
def test_rows_that_fill_up_an_image_are_no_boxes(edition, name):
    """The book matches them: an anchor counts in the loss of boxes that learns a box at -1."""
    d2l.edition(edition)
    target = getattr(d2l, name)
    box, filled = [1.0, 0.45, 0.45, 1.0, 1.0], [-1.0] * 5
    one, without = (target(ANCHORS, torch.tensor([rows])) for rows in ([box], [filled, box, filled]))
    assert all(torch.equal(a, b) for a, b in zip(one, without, strict=True))
    for labels in (torch.tensor([[filled, filled]]), torch.zeros(1, 0, 5)):
        offsets, mask, classes = target(ANCHORS, labels)
        assert (offsets.shape, mask.shape) == ((1, 12), (1, 12))
        assert not offsets.any()
        assert not mask.any()
        assert classes.tolist() == [[0, 0, 0]]
    both = target(ANCHORS, torch.tensor([[box, filled], [filled, filled]]))
    assert all(torch.equal(part[0], alone[0]) for part, alone in zip(both, one, strict=True))
    assert not both[2][1].any()


def test_boxes_without_an_area_overlap_by_zero_and_not_by_nan():
    none = torch.zeros(1, 4)
    assert d2l.box_iou(none, none).tolist() == d2l.compute_jaccard(none, none).tolist() == [[0.0]]


def test_no_boxes_leave_none():
    kept = d2l.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert (kept.tolist(), kept.dtype) == ([], torch.int64)
    found = d2l.multibox_detection(torch.zeros(2, 3, 0), torch.zeros(2, 0), torch.zeros(1, 0, 4))
    assert found.shape == (2, 0, 6)


def test_with_more_boxes_than_anchors_the_first_boxes_have_them():
    boxes = torch.tensor([[0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0]])
    assert d2l.assign_anchor(boxes, ANCHORS[0, :1]).tolist() == [0]


def test_each_epochs_loss_is_the_mean_of_its_own_batches(capsys):
    """The book's divides by all batches since the start."""
    net = lenet()
    loader = images()
    nothing = torch.optim.SGD(net.parameters(), lr=0.0)
    net.requires_grad_()
    d2l.train(loader, loader, net.eval(), torch.nn.CrossEntropyLoss(), nothing, d2l.cpu(), 3)
    losses = re.findall(r"loss ([\d.]+), train acc", capsys.readouterr().out)
    assert len(losses) == 3
    assert float(losses[1]) == pytest.approx(float(losses[2]), abs=0.01)
    assert float(losses[2]) > 0.9 * float(losses[0])


def test_an_epoch_may_have_fewer_than_five_batches(capsys):
    net, loader = lenet(), images(2)
    d2l.train_ch6(net, loader, loader, 2, 0.1, d2l.cpu())
    trainer = torch.optim.SGD(net.parameters(), lr=0.1)
    d2l.train_ch13(net, loader, loader, cross_entropy, trainer, 2)
    assert capsys.readouterr().out.count("examples/sec on") == 2


def test_one_epoch_has_an_axis_too(capsys):
    """The book's x axis goes from 1 to the number of epochs: for one epoch, matplotlib warns."""
    net = lenet()
    d2l.train_ch6(net, images(), images(1), 1, 0.1, d2l.cpu())
    low, high = plt.gca().get_xlim()
    assert low < high
    assert "examples/sec" in capsys.readouterr().out


def test_a_board_draws_each_point_where_there_are_fewer_batches_than_points():
    board = d2l.ProgressBoard(display=False)
    for x in range(3):
        board.draw(x, x, "loss", every_n=0)
    assert [point.x for point in board.data["loss"]] == [0, 1, 2]


def test_one_image_is_shown_as_several_are():
    assert np.shape(d2l.show_images([torch.ones(2, 2)], 1, 1)) == (1,)
    d2l.edition("zh")
    assert np.shape(d2l.show_images([np.ones((2, 2))] * 3, 1, 3)) == (1, 3)
    assert np.shape(d2l.show_images([np.ones((2, 2))] * 3, 2, 2)) == (2, 2)
    d2l.show_fashion_mnist([torch.ones(784)], ["coat"])


def test_a_loop_takes_batches_that_nobody_has_counted(capsys):
    net = small_net()
    loader = batches()
    d2l.train_ch3(net, iter(loader), iter(loader), torch.nn.CrossEntropyLoss(), 1, 4, net.parameters(), 0.1)
    assert re.fullmatch(r"epoch 1, loss [\d.]+, train acc [\d.]+, test acc [\d.]+\n", capsys.readouterr().out)
    d2l.train_ch5(net, iter(loader), loader, 4, torch.optim.SGD(net.parameters(), lr=0.1), d2l.cpu(), 1)
    assert "epoch 1, loss" in capsys.readouterr().out


def test_without_a_gpu_the_cpu_is_all_there_is():
    devices = d2l.try_all_gpus()
    assert len(devices) == max(1, d2l.num_gpus())
    if devices[0].type == "cpu":
        X, y = torch.ones(4, 1), torch.ones(4)
        parts = d2l.split_batch(X, y, devices)
        assert [[each is whole for each in part] for part, whole in zip(parts, (X, y), strict=True)] == [[True], [True]]


@pytest.mark.parametrize("edition", ["1.0", "zh"])
def test_an_update_before_the_gradient_is_there_says_what_to_call(edition):
    d2l.edition(edition)
    with pytest.raises(AssertionError, match="call backward"):
        d2l.sgd([torch.ones(1, requires_grad=True)], 0.1, 1)


def test_what_a_subclass_has_to_say_is_asked_for():
    for ask in (
        lambda: d2l.DataModule().get_dataloader(train=True),
        lambda: d2l.Module().loss(torch.ones(1), torch.ones(1)),
    ):
        with pytest.raises(NotImplementedError):
            ask()
    with pytest.raises(AssertionError, match="self.net"):
        d2l.Module()(torch.ones(1))
    with pytest.raises(AssertionError, match=r"Trainer.fit\(model, data\)"):
        d2l.LeNet().plot("loss", torch.ones(()), train=True)
