import json
import shlex
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from PIL import Image

from detectors import detector_spec
from labs.lab_checks import check_program, check_shell_line
from small_predictors import image_of, make
from twofold.cli import lab as cli_lab
from twofold.cli.main import main
from twofold.data import load_data
from twofold.data.spec import Compute, ModelSpec
from twofold.errors import TwofoldError
from twofold.inference.hardware import pick_hardware
from twofold.inference.torch_predictor import TorchPredictor
from twofold.inference.weights_file import save_checkpoint
from twofold.interpret import Channel, explain_image, most_activating
from twofold.labs import small_network as small
from twofold.labs.given import Given
from twofold.labs.host import Host
from twofold.labs.images import SAMPLES, Opened
from twofold.labs.inside import largest, look, unit_gradient
from twofold.labs.lab import read_settings, read_words
from twofold.labs.network import OWN, NetworkLab, NetworkSettings
from twofold.models import create_model


def saved(predictor, path):
    """Keep a small network as a file of weights, as a run does."""
    spec = ModelSpec.model_validate({**predictor.spec.model_dump(), "compute": Compute(precision="float32")})
    record = {"kind": "weights", "spec": spec.model_dump(mode="json"), "epoch": 1}
    save_checkpoint(path, predictor.model.state_dict(), record)
    return path


def lab_with(**paths):
    return NetworkLab(Opened(Given(**{name: tuple(map(str, values)) for name, values in paths.items()})))


def settings_of(**values):
    return read_settings(NetworkSettings, values)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return saved(make("resnet18", channels=3, size=(32, 40)), tmp_path_factory.mktemp("weights") / "resnet.safetensors")


@pytest.fixture(scope="module")
def own():
    """The lab with its own network; trained once for all tests here."""
    return NetworkLab(Opened())


def as_drawing(pixels):
    """Return grey pixels (28, 28) of uint8 as the pad keeps them."""
    return "28x28:" + bytes(pixels.flatten().tolist()).hex()


# What is shown is what the engine computes


def test_the_prediction_is_that_of_twofold_predict(run, tmp_path, capfd):
    photo = tmp_path / "photo.png"
    values = np.random.default_rng(0).integers(0, 256, (650, 700, 3), dtype=np.uint8)
    Image.fromarray(values).save(photo)
    lab = lab_with(runs=[run], images=[photo])
    read = settings_of(run=run.name, image="photo.png")
    shown = lab.compute(read)["run"]
    line = lab.command(read).shell
    verb, *words = shlex.split(line)
    assert (verb, words[0], words[-1]) == ("twofold", "predict", "--to-grey")
    capfd.readouterr()
    assert main(words) == 0
    said = json.loads(capfd.readouterr().out)["predictions"]
    # As JSON has them: the very same digits, though the photo is larger than what a lab keeps of it.
    assert {each["class"]: each["probability"] for each in said} == dict(
        zip(shown["classes"], shown["probabilities"], strict=True)
    )
    assert shown["top"] == said[0]["class"]
    # One of the page's own, of the same name, is not mistaken for the file.
    other = tmp_path / "other.png"
    Image.new("L", (28, 28), 200).save(other)
    name = lab.opened.add("photo.png", other.read_bytes())
    seen = lab.compute(settings_of(run=run.name, image=name))["run"]["pixels"]
    assert seen.unique().tolist() == [200]


@pytest.mark.parametrize(("family", "channels"), [("lenet-bn", 1), ("resnet18", 3), ("googlenet", 1)])
def test_the_maps_are_what_torchs_hooks_see(family, channels, tmp_path):
    file = saved(make(family, channels=channels, size=(32, 40)), tmp_path / "run.safetensors")
    lab, predictor = lab_with(runs=[file]), TorchPredictor.load(file)
    pixels = lab._input(settings_of(run="run.safetensors"), "run.safetensors")
    seen = {}
    for name, module in predictor.model.named_modules():
        module.register_forward_hook(
            lambda module, given, output, name=name: (
                seen.update({name: output[0].clone()}) if torch.is_tensor(output) else None
            )
        )
    logits = predictor.outputs(pixels[None])[0]
    layers = lab.compute(settings_of(run="run.safetensors"))["run"]["layers"]
    assert {each["name"] for each in layers} >= set(predictor.model.stages)
    for each in layers[:: max(1, len(layers) // 8)]:
        shown = lab.compute(settings_of(run="run.safetensors", layer=each["name"]))["run"]
        expected = seen[each["name"]].reshape(each["shape"]).numpy()
        assert shown["maps"].dtype == np.float32
        np.testing.assert_array_equal(shown["maps"], expected)
        assert shown["range"] == [expected.min(), expected.max()]
        assert dict(zip(shown["classes"], shown["probabilities"], strict=True)) == pytest.approx(
            dict(zip(predictor.class_names, logits.softmax(0).tolist(), strict=True))
        )


def test_many_maps_are_sent_as_bytes(tmp_path):
    predictor = make("vgg11-bn", channels=3, size=(96, 96), width=0.5)
    lab = lab_with(runs=[saved(predictor, tmp_path / "run.safetensors")])
    read = settings_of(run="run.safetensors", layer="features.0")
    shown = lab.compute(read)["run"]
    maps = look(predictor, shown["pixels"], ["features.0"])[1]["features.0"].numpy()
    low, high = shown["range"]
    assert shown["maps"].dtype == np.uint8
    np.testing.assert_allclose(low + shown["maps"] * ((high - low) / 255.0), maps, atol=(high - low) / 500)


def test_with_the_mirror_image_the_maps_are_those_of_the_image_itself():
    plain, flipped = make(), make(flip_average=True)
    pixels = image_of(plain)
    outputs, maps = look(flipped, pixels, ["layer1"])
    torch.testing.assert_close(outputs, flipped.outputs(pixels[None]), rtol=0, atol=0)
    torch.testing.assert_close(maps["layer1"], look(plain, pixels, ["layer1"])[1]["layer1"], rtol=0, atol=0)


@given(channels=st.sets(st.integers(0, 15), min_size=1), seed=st.integers(0, 5))
@hypothesis_settings(max_examples=8)
def test_a_channel_that_is_off_is_one_without_weights(channels, seed):
    predictor, silenced = make("lenet"), make("lenet")
    pixels = image_of(predictor, seed)
    conv = silenced.model.get_submodule("features.3")
    with torch.no_grad():
        conv.weight[list(channels)] = 0
        conv.bias[list(channels)] = 0
    off = {"features.3": tuple(channels)}
    outputs, maps = look(predictor, pixels, ["features.3"], off)
    torch.testing.assert_close(outputs, silenced.outputs(pixels[None]))
    assert not maps["features.3"][list(channels)].any()
    # It is on again.
    torch.testing.assert_close(look(predictor, pixels)[0], predictor.outputs(pixels[None]), rtol=0, atol=0)


@given(data=st.data())
@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_unit_depends_on_no_pixel_outside_its_rectangle(own, data):
    layer = data.draw(st.sampled_from(["features.0", "features.3", "features.4", "features.7"]))
    unit = [data.draw(st.integers(0, 30)) for _ in range(3)]
    shown = own.compute(settings_of(layer=layer, unit=unit, over="unit"))["run"]
    channel, row, column = shown["unit"]["place"]
    assert shown["unit"]["value"] == shown["maps"][channel, row, column]
    top, bottom, left, right = shown["unit"]["box"]
    gradient = shown["unit"]["gradient"].clone()
    gradient[top:bottom, left:right] = 0
    assert not gradient.any()
    # Another image outside of it: the unit stays as it is.
    predictor = own._predictor(OWN)
    other = image_of(predictor, 3)
    other[:, top:bottom, left:right] = shown["pixels"][:, top:bottom, left:right]
    value = look(predictor, other, [layer])[1][layer][channel, row, column]
    torch.testing.assert_close(value, torch.as_tensor(shown["unit"]["value"]), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_unit_is_how_it_changes():
    predictor = make("lenet")
    pixels = image_of(predictor)
    unit = (3, 1, 2)
    gradient = unit_gradient(predictor, pixels, "features.5", unit)
    place = divmod(int(gradient.argmax()), gradient.shape[1])
    # One level of grey more; the network sees it as 1 / 255 / std.
    changed = pixels.clone()
    changed[0][place] = min(255, int(pixels[0][place]) + 1)
    step = (int(changed[0][place]) - int(pixels[0][place])) / 255 / predictor.spec.std[0]
    values = [look(predictor, each, ["features.5"])[1]["features.5"][unit] for each in (pixels, changed)]
    assert abs(float(values[1] - values[0])) == pytest.approx(float(gradient[place]) * abs(step), rel=0.02)


def test_where_a_class_is_seen_is_what_explain_draws(resnet):
    lab = lab_with(runs=[resnet])
    shown = lab.compute(settings_of(run=resnet.name, over="class", target="shirt", image="coat"))["run"]
    explanation = explain_image(TorchPredictor.load(resnet), shown["pixels"], classes=["shirt"])
    expected = next(each for each in explanation.heats if each.class_name == "shirt")
    assert shown["heat"]["stage"] == explanation.heat_stage.name
    torch.testing.assert_close(shown["heat"]["heat"], expected.heat, rtol=0, atol=0)


def test_two_networks_see_the_same_image(resnet, own):
    lab = lab_with(runs=[resnet])
    shown = lab.compute(settings_of(other=resnet.name, image="bag", off={"features.0": [0]}, other_layer="layer2"))
    alone = lab.compute(settings_of(run=resnet.name, image="bag", layer="layer2"))["run"]
    assert shown["other"]["probabilities"] == alone["probabilities"]
    np.testing.assert_array_equal(shown["other"]["maps"], alone["maps"])
    assert shown["other"]["before"] is None  # switched off is the first one's
    before = own.compute(settings_of(image="bag"))["run"]
    assert shown["run"]["before"]["probabilities"] == before["probabilities"] != shown["run"]["probabilities"]


@pytest.mark.parametrize("task", ["detect", "multilabel"])
def test_networks_for_objects_and_for_several_labels_can_be_looked_at_too(task, tmp_path):
    labels = {"task": "multilabel", "architecture": "lenet-bn", "architecture_options": {}, "image_size": (28, 28)}
    spec = detector_spec(score_threshold=0.02, **(labels if task == "multilabel" else {}))
    torch.manual_seed(0)
    options = {"image_size": spec.image_size, "options": spec.architecture_options}
    model = create_model(spec.architecture, in_channels=1, num_classes=2, **options)
    lab = lab_with(runs=[saved(TorchPredictor(model, spec, pick_hardware("cpu")), tmp_path / "run.safetensors")])
    read = settings_of(run="run.safetensors", image="bag", over="class")
    shown = lab.compute(read)["run"]
    predictor = TorchPredictor.load(tmp_path / "run.safetensors")
    said = predictor.decode(predictor.outputs(shown["pixels"][None]))[0]
    if task == "detect":
        assert shown["objects"]
        assert [(each["class"], each["probability"], tuple(each["box"])) for each in shown["objects"]] == list(
            said.objects
        )
        assert "heat" not in shown
    else:
        assert dict(zip(shown["classes"], shown["probabilities"], strict=True)) == dict(said.ranked)
        assert shown["heat"]["class"] == said.ranked[0][0]
    check_program(lab.command(read).python)
    layer = shown["layers"][-1]
    unit = lab.compute(settings_of(run=read.run, image="bag", layer=layer["name"], unit=[0, 0, 0], over="unit"))["run"]
    assert unit["unit"]["value"] == unit["maps"][0, 0, 0]
    assert unit["unit"]["gradient"].any()


# Searches


def test_the_mistakes_are_those_of_the_report(run):
    lab = lab_with(runs=[run])
    told = []
    lab.send = told.append
    found = lab.act("mistakes", settings_of(run=run.name))["mistakes"]
    report = json.loads((run / "evaluation.json").read_text())
    assert found["num_wrong"] == sum(
        count for true, row in enumerate(report["confusion"]) for name, count in row.items() if int(name) != true
    )  # fmt: skip
    assert found["num_wrong"] > 0
    ours = [(each["index"], each["true"], each["predicted"]) for each in found["found"]]
    assert ours[:24] == [(each["index"], each["true"], each["predicted"]) for each in report["mistakes"]]
    assert told[-1] == {"kind": "mistakes", "done": found["total"], "total": found["total"]}
    assert found["thumbs"].shape[0] == len(found["found"])
    # And the lab shows them: their class, and that they are wrong.
    index, true, predicted = ours[0]
    shown = lab.compute(settings_of(run=run.name, image=f"#{index}"))
    assert (shown["truth"], shown["run"]["top"]) == (true, predicted)
    torch.testing.assert_close(shown["run"]["pixels"], found["thumbs"][0])


def test_the_strongest_images_of_a_channel_are_what_explain_finds(own):
    read = settings_of(layer="features.7", unit=[3, 0, 0])
    found = own.act("strongest", read)["strongest"]
    predictor = own._predictor(OWN)
    data = own._run_images(read, OWN).images
    peaks = most_activating(predictor, data, Channel("features.7", 3), show=False)
    assert [each["index"] for each in found["found"]] == [peak.index for peak in peaks]
    assert [each["value"] for each in found["found"]] == pytest.approx([peak.activation for peak in peaks])
    assert [each["box"] for each in found["found"]] == [peak.box for peak in peaks]
    with pytest.raises(ValueError, match="choose a unit first"):
        own.act("strongest", settings_of())
    # Of a layer that ends no stage, too; asked again, nothing is computed.
    told = []
    own.send = told.append
    values, _ = largest(predictor, data, "classifier.6", most=300)
    expected = [
        look(predictor, data.load(torch.tensor([i]))[0], ["classifier.6"])[1]["classifier.6"].flatten()
        for i in (0, 299)
    ]
    torch.testing.assert_close(values[[0, 299]], torch.stack(expected))
    own.act("strongest", read)
    assert not told


def test_images_that_are_not_there_any_more(run, resnet, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    recipe = json.loads((moved / "recipe.json").read_text())
    (moved / "recipe.json").write_text(json.dumps({**recipe, "data": str(tmp_path / "gone")}))
    with pytest.raises(TwofoldError, match="are not here any more; give others with --data"):
        lab_with(runs=[moved]).act("mistakes", settings_of(run="moved"))
    with pytest.raises(TwofoldError, match="comes without images; give some with --data"):
        lab_with(runs=[resnet]).act("mistakes", settings_of(run=resnet.name))
    # Other images in their place.
    lab = lab_with(runs=[moved], data=[recipe["data"]])
    found = lab.act("mistakes", settings_of(run="moved", data=Path(recipe["data"]).name))["mistakes"]
    assert found["total"] == 120


def test_the_small_network_is_trained_once_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path))
    monkeypatch.setattr(small, "NUM_IMAGES", 192)
    monkeypatch.setattr(small, "EPOCHS", 2)
    told = []
    state = torch.random.get_rng_state()
    file = small.small_network(lambda done, total: told.append((done, total)))
    assert told == [(step, 6) for step in range(1, 7)]
    assert torch.equal(torch.random.get_rng_state(), state)
    content = file.read_bytes()
    assert small.small_network(lambda done, total: pytest.fail("it is there")) == file
    # A file that was cut off is made anew, and is the same.
    file.write_bytes(content[:1000])
    small.small_network()
    first, again = (TorchPredictor.load(each).model for each in (tmp_path / "labs" / file.name, file))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    words = NetworkLab(Opened()).compute(settings_of())["run"]["words"]
    assert words["trained"]["images"] == 192
    assert words["trained"]["seconds"] > 0


def test_a_page_that_is_closed_leaves_off_training(monkeypatch, tmp_path):
    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path))
    lab, told = NetworkLab(Opened()), []
    lab.send = lambda content: (told.append(content), lab.close())
    with pytest.raises(TwofoldError, match="the page has been closed"):
        lab.compute(NetworkSettings())
    assert [each["kind"] for each in told] == ["train"]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_small_network_has_learned_something(own):
    found = own.act("mistakes", settings_of())["mistakes"]
    assert found["total"] == 2000
    assert found["num_wrong"] < 500
    right = [own.compute(settings_of(image=name))["run"]["top"] for name in SAMPLES]
    assert "Bag" in right
    assert "Ankle boot" in right


# Settings, commands, exercises


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"run": "../runs/x"}, r"there is no run '../runs/x' here"),
        ({"other": "x"}, "there is no run 'x' here"),
        ({"layer": "classifier"}, "has no layer 'classifier'"),
        ({"off": {"features": [99]}}, "layer features has 16 channels; got 99"),
        ({"off": {"__class__": [0]}}, "the network has no layer '__class__'"),
        ({"image": "../secret.png"}, "there is no image '../secret.png' here"),
        ({"image": "#2000"}, "there are 2,000 images in the data"),
        ({"data": "elsewhere", "image": "#1"}, "there are no data 'elsewhere' here"),
        ({"image": "drawing", "drawing": "9x9:00"}, "has 162 hexadecimal digits"),
        ({"over": "class", "target": "Hat"}, "the network knows no class 'Hat'"),
    ],
)
def test_settings_that_do_not_fit_say_why(own, values, words):
    with pytest.raises(ValueError, match=words):
        own.compute(settings_of(**values))
    # And the network is as it was.
    assert own.compute(settings_of())["run"]["top"] == "Ankle boot"


@pytest.mark.parametrize(
    "values", [{"off": {"a": [-1]}}, {"unit": [1, 2]}, {"drawing": "0" * 30_000}, {"unit": [-1, 0, 0]}]
)
def test_settings_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError, match=r"^(off|unit|drawing)[.\w]*: "):
        settings_of(**values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": "drawing", "drawing": as_drawing(torch.arange(784) % 256), "layer": "features.3"},
        {"layer": "features.7", "unit": [3, 9, 2], "over": "unit", "off": {"features.0": [0, 4]}},
        {"over": "class", "target": "Coat", "image": "#68", "off": {"features.3": [1]}},
        {"over": "class", "image": "photo.png"},
    ],
)
def test_the_program_and_the_shell_line_give_what_is_shown(values, capfd, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(photo)
    lab, read = lab_with(images=[photo]), settings_of(**values)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    view = shown["run"]
    assert dict(found["prediction"].ranked) == dict(zip(view["classes"], view["probabilities"], strict=True))
    if read.layer:
        np.testing.assert_array_equal(found["maps"][read.layer].numpy(), view["maps"])
    if read.over == "unit":
        torch.testing.assert_close(found["gradient"], view["unit"]["gradient"], rtol=0, atol=0)
    if read.over == "class":
        torch.testing.assert_close(found["heat"], view["heat"]["heat"], rtol=0, atol=0)
    check_shell_line(lab.command(read).shell, shown, capfd)


def test_the_commands_for_two_runs_and_other_data(run, resnet, images, boot, capfd):
    lab = lab_with(runs=[run, resnet], images=[boot], data=[images])
    read = settings_of(run=run.name, other=resnet.name, image=boot.name, other_layer="layer1", data=images.name)
    shown = lab.compute(read)
    found = check_program(lab.command(read).python)
    view = shown["other"]
    said = found["other"].predict(str(boot))
    assert dict(said.ranked) == dict(zip(view["classes"], view["probabilities"], strict=True))
    check_shell_line(lab.command(read).shell, shown, capfd)


def test_every_exercise_can_be_solved(own):
    def done(number, **values):
        read = settings_of(**values)
        return bool(own.exercises[number].is_done(read, own.compute(read)))

    assert not any(done(number) for number in range(len(own.exercises)))
    assert done(0, layer="features.7")
    assert done(1, layer="features.7", unit=[0, 0, 0])
    assert not done(1, layer="features.4", unit=[0, 0, 0])
    test = load_data("fashion-mini", val_fraction=0.0, show_progress=False).test
    bags = [i for i in range(300) if int(test.targets.labels[i]) == 8]
    drawings = [as_drawing(test.load(torch.tensor([i]))[0, 0]) for i in bags[:12]]
    assert any(done(2, image="drawing", drawing=each) for each in drawings)
    assert not done(2, image="drawing")
    assert any(done(3, image=f"#{i}") for i in range(200))
    threes = [[a, b, c] for a in range(6) for b in range(a) for c in range(b)]
    assert any(done(4, image="bag", off={"features.0": each}) for each in threes)
    assert not done(4, image="bag", off={"features.0": [0, 1]})
    layers = [("features.0", 6), ("features.4", 16)]
    assert any(
        done(5, image=image, off={name: [channel]})
        for image in ("pullover", "shirt", "coat") for name, count in layers for channel in range(count)
    )  # fmt: skip
    mistakes = own.act("mistakes", settings_of())["mistakes"]["found"]
    coat = next(each["index"] for each in mistakes if (each["true"], each["predicted"]) == ("Shirt", "Coat"))
    assert done(6, image=f"#{coat}", over="class")
    assert not done(6, image=f"#{coat}")
    assert not done(6, image=f"#{coat}", over="class", target="Shirt")


def test_explain_opens_the_lab(run, boot, images, monkeypatch):
    opened = []
    monkeypatch.setattr(cli_lab, "open_lab", lambda name, words, given: opened.append((name, words, given)) or 0)
    assert main(["explain", str(run), str(boot), "--class", "shirt", "--lab"]) == 0
    assert main(["explain", str(run), "--data", str(images), "--channel", "features.3:2", "--lab"]) == 0
    assert opened == [
        ("network", ["over=class", 'target="shirt"'], Given(images=(str(boot),), runs=(str(run),))),
        ("network", ["layer=features.3", "unit=[2,0,0]"], Given(runs=(str(run),), data=(str(images),))),
    ]
    for name, words, given_ in opened:
        checked = cli_lab._checked(name, words, given_)
        shown = NetworkLab(Opened(given_)).compute(read_words(NetworkSettings, checked))
        assert shown["run"]["name"] == run.name


# In a browser


@pytest.fixture(scope="module")
def runs_host(resnet):
    faults = []
    with Host(Given(runs=(str(resnet),)), tell=faults.append) as host:
        yield host
    assert not faults, faults[0]


def drag(lab, *points):
    """Draw a line on the pad through points from 0 to 1."""
    pad = lab.page.locator("canvas.pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    lab.page.mouse.move(*places[0])
    lab.page.mouse.down()
    for place in places[1:]:
        lab.page.mouse.move(*place, steps=6)
    lab.page.mouse.up()
    lab.settle()


def test_what_is_drawn_is_recognised_while_it_is_drawn(lab_page, own):
    lab = lab_page("network")
    assert lab.page.locator("h2").first.inner_text() == "small network of this lab: Ankle boot"
    assert "on 2,000 images, for this lab" in lab.page.locator(".lab").inner_text()
    lab.page.evaluate(
        "window.answers = 0; document.querySelector('.lab').addEventListener('answered', () => answers++)"
    )
    drag(lab, (0.2, 0.4), (0.8, 0.4), (0.8, 0.8), (0.2, 0.8), (0.2, 0.4), (0.5, 0.6), (0.8, 0.6))
    assert lab.page.evaluate("answers") > 3
    assert lab.settings["image"] == "drawing"
    expected = own.compute(settings_of(image="drawing", drawing=lab.settings["drawing"]))["run"]
    assert expected["pixels"].max() == 255
    np.testing.assert_array_equal(lab.shown("run.pixels"), expected["pixels"].numpy())
    assert lab.shown("run.probabilities") == pytest.approx(expected["probabilities"], rel=1e-5)
    # The bars.
    bars = lab.page.locator("[aria-label=prediction] > div")
    for i, share in enumerate(expected["probabilities"]):
        assert bars.nth(i).locator("output").inner_text() == f"{100 * share:.1f} %"
        box, track = (bars.nth(i).locator(each).first.bounding_box() for each in ("span i", "span"))
        assert box["width"] == pytest.approx(share * track["width"], abs=1)
    # And the picture: white where the pad is.
    colours = lab.colours("image as the network", 28, 28)
    np.testing.assert_array_equal(colours[..., 0], expected["pixels"][0].numpy())


def test_units_and_channels_by_pointer_and_by_keys(lab_page, own):
    lab = lab_page("network", "image=bag")
    lab.page.locator(".lab canvas[aria-label='features.7']").click()
    lab.until("settings.layer === 'features.7'")
    assert lab.exercises()[0] is True
    grid = lab.figure("maps of the layer")
    grid.click(position={"x": 108 + 3 + 60, "y": 20})  # the second map: row 0, column 2
    lab.until("settings.unit !== null")
    assert lab.settings["unit"] == [1, 0, 2]
    expected = own.compute(settings_of(image="bag", layer="features.7", unit=[1, 0, 2]))["run"]
    np.testing.assert_allclose(lab.shown("run.maps"), expected["maps"], rtol=1e-5, atol=1e-6)
    assert "It sees 16×16 px of the image: rows 0 to 15, columns 8 to 23." in lab.page.locator(".lab").inner_text()
    assert lab.exercises()[1] is True
    # By keys: down, the next channel, and off.
    grid.focus()
    for key in ("ArrowDown", "PageDown"):
        lab.page.keyboard.press(key)
        lab.settle()
    assert lab.settings["unit"] == [2, 1, 2]
    assert "channel 2, row 1, column 2" in lab.page.locator(".announce").inner_text()
    lab.page.keyboard.press("o")
    lab.settle()
    assert lab.settings["off"] == {"features.7": [2]}
    assert not lab.shown("run.maps")[2].any()
    off = own.compute(settings_of(image="bag", off={"features.7": [2]}))["run"]
    assert lab.shown("run.probabilities") == pytest.approx(off["probabilities"], rel=1e-4)
    # With Shift a click switches, and here back on.
    grid.click(position={"x": 2 * 111 + 20, "y": 20}, modifiers=["Shift"])
    lab.until("!Object.keys(settings.off).length")
    # The class that is pressed is looked for.
    lab.page.get_by_role("button", name="Sandal", exact=True).click()
    lab.until("page.shown.run.heat")
    assert lab.shown("run.heat.class") == "Sandal"
    np.testing.assert_allclose(
        lab.shown("run.heat.heat"),
        own.compute(settings_of(image="bag", layer="features.7", over="class", target="Sandal"))["run"]["heat"]["heat"],
        rtol=1e-4,
        atol=1e-6,
    )


def test_walking_through_the_mistakes(lab_page):
    lab = lab_page("network", "layer=features.3&unit=[0,2,2]")
    lab.page.get_by_role("button", name="Find its mistakes").click()
    lab.page.wait_for_selector("[aria-label=mistakes] button canvas")
    lab.settle()
    pairs = lab.page.get_by_label("kind of mistake")
    pairs.select_option(label=pairs.locator("option", has_text="Shirt → Coat").inner_text())
    lab.page.get_by_role("button", name="Next ›").click()
    lab.until("settings.image.startsWith('#')")
    first = lab.settings["image"]
    assert (lab.shown("truth"), lab.shown("run.top")) == ("Shirt", "Coat")
    lab.page.get_by_role("button", name="Next ›").click()
    lab.until(f"settings.image !== '{first}'")
    assert (lab.shown("truth"), lab.shown("run.top")) == ("Shirt", "Coat")
    assert lab.exercises()[6] is False
    lab.page.get_by_role("button", name="Coat", exact=True).click()
    lab.until("page.shown.run.heat")
    assert lab.exercises()[6] is True
    assert lab.page.locator("[aria-label=mistakes] button[aria-pressed=true]").count() == 1
    # What excites the channel.
    lab.page.get_by_role("button", name="Strongest images").click()
    lab.page.wait_for_selector("[aria-label=unit] button canvas")
    assert lab.page.locator("[aria-label=unit] button canvas").count() == 9


def test_a_link_holds_two_networks_side_by_side(lab_page, runs_host, resnet):
    lab = lab_page(
        "network", f"run={resnet.name}&layer=layer2&unit=[1,2,3]&off=%7B%22conv1%22:[0,2]%7D", host=runs_host
    )
    lab.page.get_by_label("beside it", exact=True).select_option(label=resnet.name)
    lab.until("page.shown.other")
    before = lab.shown("other.probabilities")
    assert lab.shown("run.before.probabilities") == before != lab.shown("run.probabilities")
    lab.page.get_by_label("maps, beside").select_option(value='"layer1"')
    lab.until("page.shown.other.maps")
    values, maps = lab.settings, lab.shown("other.maps")
    assert values["other_layer"] == "layer1"
    lab.page.reload()
    assert lab.settle().settings == values
    np.testing.assert_array_equal(lab.shown("other.maps"), maps)
    # Another network begins anew: it has other layers.
    lab.page.get_by_label("network", exact=True).select_option(label="small network of this lab")
    lab.until("page.shown.run.name !== page.shown.other.name")
    assert (lab.settings["off"], lab.settings["layer"], lab.settings["unit"]) == ({}, "", None)
    # A search that cannot be is one line, and the lab lives on.
    lab.page.get_by_label("network", exact=True).select_option(label=resnet.name)
    lab.settle()
    lab.page.get_by_role("button", name="Find its mistakes").click()
    lab.page.wait_for_selector(".status:not([hidden])")
    assert "comes without images; give some with --data" in lab.error
    drag(lab, (0.3, 0.5), (0.7, 0.5))
    assert lab.settings["image"] == "drawing"
    assert lab.error == ""


def test_while_the_small_network_is_trained_the_page_says_so(lab_page, runs_host, resnet, monkeypatch, tmp_path):
    train, go_on = small._train, threading.Event()

    def slowly(file, tell):
        tell(30, 192)
        go_on.wait(30)
        train(file, tell)

    monkeypatch.setenv("TWOFOLD_CACHE", str(tmp_path))
    monkeypatch.setattr(small, "_train", slowly)
    monkeypatch.setattr(small, "EPOCHS", 1)
    lab = lab_page("network", f"run={resnet.name}", host=runs_host)
    assert not lab.page.locator("progress").is_visible()
    lab.page.get_by_label("network", exact=True).select_option(label="small network of this lab")
    lab.page.wait_for_selector("progress:visible")
    assert "trains a small network for itself, once: 30 / 192" in lab.page.locator(".stage").inner_text()
    assert lab.page.locator("progress").evaluate("(bar) => bar.position") == pytest.approx(30 / 192)
    go_on.set()
    lab.settle()
    assert not lab.page.locator("progress").is_visible()
    assert "lenet-bn, 1×28×28, 10 classes; trained in" in lab.page.locator(".stage").inner_text()


@pytest.mark.parametrize(("lang", "scheme"), [("zh", "dark"), ("en", "light")])
def test_the_networks_page_fits_a_phone_in_both_languages(lab_page, lang, scheme):
    lab = lab_page(
        "network",
        "layer=features.0&unit=[1,2,3]&over=unit&other=small%20network",
        lang=lang,
        width=390,
        color_scheme=scheme,
    )
    assert lab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert lab.page.locator("h1").inner_text() == {"en": "Your network", "zh": "你的网络"}[lang]
    assert ("本实验自带的小网络" in lab.page.locator("h2").first.inner_text()) == (lang == "zh")
