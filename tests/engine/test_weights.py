from __future__ import annotations

import hashlib
import io
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, strategies as st
from safetensors.torch import save_file
from torch import nn

import twofold
from processes import CommandLine, Server
from twofold import Recipe, RunError, TwofoldError
from twofold.cli.settings import on_command_line
from twofold.data.spec import ModelSpec
from twofold.engine.finetune import finetune_recipe
from twofold.engine.options import Options
from twofold.engine.weight_names import own_tensors
from twofold.engine.weights import Weights, WeightsMismatchError, download_weights, find_weights, fit_weights
from twofold.inference.weights_file import load_checkpoint
from twofold.models import create_model
from twofold.models.registry import MODELS, resolve_options

QUIET = Options(show=False)


def network(in_channels: int = 1, num_classes: int = 3, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return create_model("resnet18", in_channels=in_channels, num_classes=num_classes, options={"width": 0.125})


def small(folder: Path, **settings: Any) -> Recipe:
    base: dict[str, Any] = {"model": "lenet-bn", "data": str(folder), "image_size": 28, "epochs": 1, "batch_size": 16}
    return Recipe(**(base | settings))


FRESH = network(seed=1)


def same(model: nn.Module, tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())


class Hostile:
    """Would write a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._target,)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    path, target = tmp_path / "hostile.pth", tmp_path / "was-run"
    torch.save({"weight": torch.zeros(1), "other": Hostile(target)}, path)
    with pytest.raises(TwofoldError, match=r"would call builtins\.getattr if it were read"):
        find_weights(str(path), model="lenet")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Hostile(target)))
    with pytest.raises(TwofoldError):
        find_weights(str(tmp_path / "plain.pth"), model="lenet")
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_and_empty_files_are_one_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"\x80\x02 not weights")
    with pytest.raises(TwofoldError) as caught:
        find_weights(str(path), model="lenet")
    assert "\n" not in str(caught.value)
    with pytest.raises(TwofoldError, match="there is no file of weights"):
        find_weights(str(tmp_path / f"missing{suffix}"), model="lenet")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(TwofoldError, match="holds no weights"):
        find_weights(str(tmp_path / "empty.pth"), model="lenet")


ENDS = ("module", "_orig_mod", "model", "net", "backbone", "encoder", "network", "layer1", "0", "fc")


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    return dict(network().state_dict())


@given(
    wrappers=st.lists(st.sampled_from(ENDS), max_size=5),
    keys=st.lists(st.sampled_from(("state_dict", "model", "ema")), max_size=3),
)
def test_wrappers_in_any_order_and_number_are_taken_off(
    wrappers: list[str], keys: list[str], trained: dict[str, torch.Tensor]
) -> None:
    prefix = "".join(f"{wrapper}." for wrapper in wrappers)
    weights = Weights({".".join(keys): {f"{prefix}{name}": value for name, value in trained.items()}}, "a.pth")
    given, where, notes = own_tensors(weights, FRESH)
    assert given.keys() == trained.keys()
    assert all(given[name] is value for name, value in trained.items())
    assert where == ".".join([*keys, *(wrapper for wrapper in wrappers if wrapper != "_orig_mod")])
    assert notes == []


@pytest.mark.parametrize(
    ("content", "where", "notes"),
    [
        (lambda own: {"": own}, "", []),
        (lambda own: {"": prefixed(own, "module.") | {"n_averaged": torch.tensor(3)}}, "module", ["n_averaged"]),
        # A layer that torch.compile wrapped; Lightning's module with its loss; features in a wrapper, and the head not.
        (lambda own: {"": {name.replace("layer1.0.", "layer1.0._orig_mod."): own[name] for name in own}}, "", []),
        (
            lambda own: {"state_dict": prefixed(own, "model.backbone.") | {"loss.weight": torch.ones(3)}},
            "state_dict.model.backbone",
            ["loss.weight"],
        ),
        (
            lambda own: {
                "": {name if name.startswith("fc.") else f"backbone.{name}": value for name, value in own.items()}
            },
            "backbone",
            [],
        ),
        # One module under two names.
        (lambda own: {"": prefixed(own, "net.") | prefixed(own, "alias.")}, "net", ["alias.conv1.weight"]),
        # Other keys are no weights.
        (lambda own: {"state_dict": own, "hyper": {"fc.weight": own["fc.weight"]}}, "state_dict", []),
        # Averages alone are taken.
        (lambda own: {"ema": own}, "ema", []),
    ],
)
def test_the_networks_own_tensors_are_found(
    content: Any, where: str, notes: list[str], trained: dict[str, torch.Tensor]
) -> None:
    model = network(seed=1)
    lines = fit_weights(model, Weights(content(trained), "a.pth", "a.pth"))
    assert same(model, trained)
    assert lines[0] == f"{len(trained)} tensors from a.pth{where and ': '}{where}"
    left = [line.partition("left out: ")[2].split(",")[0] for line in lines[1:]]
    assert left == notes


def prefixed(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("plain", "average"),
    [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema"), ("a.model", "a.ema")],
)
def test_the_moving_average_is_there_on_request(
    plain: str, average: str, trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    averaged = {name: value * 0.5 if value.is_floating_point() else value for name, value in trained.items()}
    content: dict[str, Any] = {plain.rpartition(".")[2]: prefixed(trained, "module."), "epoch": 3}
    content[average.rpartition(".")[2]] = prefixed(averaged, "module.")
    path = tmp_path / "a b.pth.tar"
    torch.save({"a": content} if "." in plain else content, path)
    model = network(seed=1)
    lines = fit_weights(model, find_weights(str(path), model="resnet18"))
    assert same(model, trained)
    assert lines[0] == f"{len(trained)} tensors from {path}: {plain}.module"
    assert lines[1] == f"a moving average of these weights is there too: {path}:{average}.module"
    for asked in (average, f"{average}.module"):
        lines = fit_weights(model, find_weights(f"{path}:{asked}", model="resnet18"))
        assert same(model, averaged)
        assert lines == [f"{len(trained)} tensors from {path}: {average}.module"]
    with pytest.raises(TwofoldError, match=rf"has no part 'emma': (did you mean|known are) .*{average}"):
        fit_weights(model, find_weights(f"{path}:emma", model="resnet18"))


def test_a_recipe_names_the_part_and_a_file_may_have_a_colon_in_its_name(
    trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "a:ema"
    torch.save(trained, path)
    model = network(seed=1)
    assert fit_weights(model, find_weights(str(path), model="resnet18")) == [f"{len(trained)} tensors from {path}"]
    recipe = finetune_recipe(f"{path}:state_dict_ema", "resnet18")
    assert Recipe.from_json(recipe.to_json()).weights == f"{path}:state_dict_ema"
    with pytest.raises(TwofoldError, match="there is no file of weights .*none.ckpt:ema"):
        find_weights(str(tmp_path / "none.ckpt:ema"), model="resnet18")


def test_several_networks_in_a_file_are_asked_about(trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "dino.pth"
    other = {name: value + 1 for name, value in trained.items()}
    torch.save({"student": prefixed(trained, "module.backbone."), "teacher": prefixed(other, "backbone.")}, path)
    model = network(seed=1)
    with pytest.raises(TwofoldError) as caught:
        fit_weights(model, find_weights(str(path), model="resnet18"))
    assert str(caught.value) == (
        f"{path} holds several networks that fit: student.module.backbone, teacher.backbone; "
        f"say which, such as {path}:teacher.backbone"
    )
    fit_weights(model, find_weights(str(caught.value).rpartition("such as ")[2], model="resnet18"))
    assert same(model, other)


@pytest.mark.parametrize("name", ["lenet", "alexnet", "vgg11", "densenet121"])
def test_nothing_is_taken_off_for_another_network(name: str, trained: dict[str, torch.Tensor]) -> None:
    given, where, notes = own_tensors(Weights({"x": trained}, "a.pth"), create_model(name, num_classes=3))
    assert (dict(given), where, notes) == (trained, "x", [])


def test_torchvisions_first_densenets_are_renamed() -> None:
    model = create_model("densenet121", num_classes=3, options={"width": 0.03125})
    state = dict(model.state_dict())
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): value for name, value in state.items()}
    assert old.keys() != state.keys()
    assert own_tensors(Weights({"": old}, "a.pth"), model)[0].keys() == state.keys()


@pytest.mark.parametrize("name", ["resnet18", "densenet21", "alexnet", "googlenet", "nin"])
@pytest.mark.parametrize(("trained_at", "wanted_at"), [(224, 32), (224, 64), (32, 224)])
def test_another_stem_is_named_as_the_cause(name: str, trained_at: int, wanted_at: int) -> None:
    def built(side: int) -> tuple[nn.Module, ModelSpec]:
        options = resolve_options(name, {"width": 0.0625}, (side, side))
        spec = ModelSpec(
            channels=3, image_size=(side, side), architecture=name, architecture_options=options,
            class_names=tuple("abc"), mean=(0.5,) * 3, std=(0.5,) * 3,
        )  # fmt: skip
        return create_model(name, num_classes=3, image_size=(side, side), options=options), spec

    weights = Weights({"": dict(built(trained_at)[0].state_dict())}, "a.pth")
    model, spec = built(wanted_at)
    stem, other = spec.architecture_options["stem"], "paper" if trained_at == 224 else "small"
    with pytest.raises(WeightsMismatchError) as caught:
        fit_weights(model, weights, spec=spec)
    begins = f"the stem is another: for images of {wanted_at} px, {name} begins with the {stem} stem, and these weights"
    # In the words of the command line, what it says can be pasted.
    message = caught.value.written(on_command_line)
    assert message.startswith(f"{begins} with the {other} one (")
    assert message.endswith("to start from a.pth")
    side = MODELS[name].input_shape[1] if other == "paper" else MODELS[name].stem_side
    assert f"; set --image-size {side} or --model-options width 0.0625 stem {other}" in message
    again, spec = built(side)
    fit_weights(again, weights, spec=spec)
    assert same(again, dict(weights.parts[""]))


def test_what_differs_by_number_of_classes_besides_is_said_with_the_stem() -> None:
    options = {"width": 0.125, "stem": "small"}
    theirs = create_model("resnet18", num_classes=5, options={"width": 0.125})
    spec = ModelSpec(
        channels=3, image_size=(32, 48), architecture="resnet18", architecture_options=options,
        class_names=tuple("abc"), mean=(0.5,) * 3, std=(0.5,) * 3,
    )  # fmt: skip
    with pytest.raises(WeightsMismatchError) as caught:
        fit_weights(
            create_model("resnet18", num_classes=3, options=options),
            Weights({"": dict(theirs.state_dict())}, "a.pth"),
            spec=spec,
        )
    assert caught.value.written(on_command_line) == (
        "the stem is another: for images of 32x48 px, resnet18 begins with the small stem, and these weights with the "
        "paper one (7x7); set --image-size 224 or --model-options width 0.125 stem paper; "
        "--weights-partial fc where the rest may differ, to start from a.pth"
    )


def test_heads_that_a_network_lacks_are_named_as_a_whole() -> None:
    options = {"width": 0.03125}
    theirs = create_model("googlenet", options=options | {"auxiliary": True})
    with pytest.raises(WeightsMismatchError) as caught:
        fit_weights(create_model("googlenet", options=options), Weights({"": dict(theirs.state_dict())}, "a.pth"))
    assert caught.value.written(on_command_line).endswith("if that is meant, --weights-partial aux1 aux2")


def test_what_does_not_fit_is_listed_and_refused() -> None:
    given = dict(network(num_classes=5).state_dict()) | {"extra.weight": torch.zeros(2)}
    del given["layer1.0.conv1.weight"]
    model = network(seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsMismatchError) as caught:
        fit_weights(model, Weights({"": given}, "somewhere"))
    assert "1 missing, 1 unexpected, 2 of another shape" in str(caught.value)
    assert {row[0] for row in caught.value.rows} == {"layer1.0.conv1.weight", "extra.weight", "fc.weight", "fc.bias"}
    assert ("fc.bias", "5", "3") in caught.value.rows
    assert same(model, before)


def test_a_part_may_differ_if_that_is_said() -> None:
    given = dict(network(num_classes=5).state_dict())
    model = network(seed=1)
    head = model.fc.weight.clone()  # type: ignore[union-attr]
    with pytest.raises(WeightsMismatchError, match=r"if that is meant, weights_partial=\('fc',\)"):
        fit_weights(model, Weights({"": given}, "somewhere"))
    notes = fit_weights(model, Weights({"": given}, "somewhere"), partial=("fc",))
    assert torch.equal(model.fc.weight, head)  # type: ignore[union-attr]
    assert torch.equal(model.layer4[0].conv1.weight, given["layer4.0.conv1.weight"])  # type: ignore[index, union-attr]
    assert notes[-1] == "new, with random weights: fc.weight, fc.bias"
    with pytest.raises(TwofoldError, match="nothing is called 'fcc': did you mean fc"):
        fit_weights(model, Weights({"": given}, "somewhere"), partial=("fcc",))


def test_a_prefix_covers_whole_names_alone() -> None:
    given = dict(network().state_dict())
    given["layer1.0.bn1.weight"] = torch.zeros(5)
    with pytest.raises(WeightsMismatchError):
        fit_weights(network(), Weights({"": given}, "somewhere"), partial=("layer1.0.conv1",))


def test_colour_weights_answer_grey_images_as_they_did_and_the_other_way_round() -> None:
    grey = torch.randn(2, 1, 64, 64)
    colour_model, grey_model = network(3).eval(), network(1, seed=1).eval()
    notes = fit_weights(grey_model, Weights({"": colour_model.state_dict()}, "colour"))
    assert "made for colour" in notes[1]
    torch.testing.assert_close(grey_model(grey), colour_model(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    again = network(3, seed=2).eval()
    notes = fit_weights(again, Weights({"": grey_model.state_dict()}, "grey"))
    assert "made for grey" in notes[1]
    torch.testing.assert_close(again(grey.expand(-1, 3, -1, -1)), grey_model(grey), rtol=1e-4, atol=1e-5)


def test_training_starts_from_a_run(image_folder: Path, tmp_path: Path) -> None:
    first = twofold.train(small(image_folder), out=tmp_path, options=QUIET)
    recipe = small(image_folder, weights=str(first.folder), optimizer="sgd", lr=1e-12, weight_decay=0.0)
    second = twofold.train(recipe, out=tmp_path, options=QUIET)
    before, _ = load_checkpoint(first.folder / "checkpoints" / "best.safetensors")
    after, _ = load_checkpoint(second.folder / "checkpoints" / "best.safetensors")
    learned = [name for name in before if name.endswith(("weight", "bias"))]
    assert learned
    for name in learned:
        torch.testing.assert_close(after[name], before[name], rtol=1e-6, atol=1e-9)
    assert "tensors from the run" in (second.folder / "log.txt").read_text()


def test_weights_of_another_architecture_stop_a_run_with_a_table(
    image_folder: Path, tmp_path: Path, twofold_command: CommandLine
) -> None:
    path = tmp_path / "resnet.safetensors"
    save_file({name: value.contiguous() for name, value in network().state_dict().items()}, path)
    command = ("train", "lenet-bn", "--data", image_folder, "--image-size", "28", "--out", tmp_path, "--weights")
    done = twofold_command(*command, path)
    assert done.returncode == 2
    assert "what differs" in done.stderr
    assert "features.0.weight" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {path} does not fit the network")
    done = twofold_command(*command, tmp_path / "missing.pth")
    assert done.returncode == 2
    assert "there is no file of weights" in done.stderr


def test_published_names_are_those_of_torchvision() -> None:
    with pytest.raises(TwofoldError, match=r"unknown weights for resnet18 .* did you mean IMAGENET1K_V1"):
        find_weights("IMAGENET1K_V2", model="resnet18")
    with pytest.raises(TwofoldError, match="torchvision publishes no weights for lenet"):
        find_weights("DEFAULT", model="lenet")
    with pytest.raises(TwofoldError, match="timm"):
        find_weights("timm:no-such-model", model="resnet18")


def test_published_weights_are_downloaded_once_checked_and_fit(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's class of published weights, with the address of a server on this machine in it."""
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    theirs = torchvision.models.resnet18(num_classes=1000)
    buffer = io.BytesIO()
    torch.save(theirs.state_dict(), buffer)
    content = buffer.getvalue()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    server.replies[f"/{name}"] = [500, content]
    for _ in range(2):
        path = download_weights(f"{server.address}/{name}", show_progress=False)
    assert server.requests == [f"/{name}"] * 2  # one that failed, one that came, none for the second time
    model = create_model("resnet18")
    fit_weights(model, find_weights(str(path), model="resnet18"))
    assert same(model, theirs.state_dict())

    server.replies[f"/{name}"] = [b"something else"]
    path.write_bytes(b"altered in the cache")
    with pytest.raises(RunError, match="wrong checksum: SHA-256"):
        download_weights(f"{server.address}/{name}", show_progress=False)
    with pytest.raises(RunError, match="without a network, put the file at"):
        download_weights(f"{server.address}/gone-12345678.pth", show_progress=False)
