"""What all labs share, without a browser: settings, images, messages, traced lines, modules, and the table."""

import io
import json
import re
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image
from pydantic import Field

import twofold.labs
from twofold.cli.main import main
from twofold.errors import TwofoldError
from twofold.labs.arrays import as_json, from_bytes, pack, to_bytes
from twofold.labs.given import Given, by_name
from twofold.labs.images import SAMPLES, Opened, drawn, pixels
from twofold.labs.lab import Command, Exercise, Lab, LabSettings, print_line, read_words, setting_words
from twofold.labs.modules import PAGE, module_text
from twofold.labs.seeded import TURNS, seeded
from twofold.labs.session import Session
from twofold.labs.table import LABS, LabEntry
from twofold.labs.traced import lines_that_run
from twofold.proof.ideas import IDEAS, resolve


class Toy(Lab):
    name = "toy"

    class Settings(LabSettings):
        side: int = Field(default=2, ge=1, le=9)
        name: str = "a"
        pair: tuple[int, int] = (1, 1)

    reads = ("scratch.conv:pair",)
    exercises = (Exercise("Make it 3.", "变成 3。", lambda s, shown: s.side == 3),)

    def compute(self, settings):
        if settings.name == "fault":
            raise KeyError("a defect of ours")
        if settings.name == "wrong":
            raise ValueError("name: no lab is called wrong\nsecond line")
        resolve("twofold.scratch.conv:pair")(settings.side)
        return {"ones": torch.ones(settings.side, 2), "number": np.float32(0.5), "nothing": float("nan")}

    def command(self, settings):
        return Command("twofold", "print()")

    def act(self, action, settings):
        if action == "tell":
            self.send({"step": 1})
            return {}
        return super().act(action, settings)


class Asked:
    """A session of `Toy` and what it answered."""

    def __init__(self) -> None:
        self.answers: list[dict] = []
        self.faults: list[str] = []
        entry = LabEntry(name="toy", title="Toy", title_zh="玩具", summary="", summary_zh="", made_in="")
        object.__setattr__(entry, "load", lambda: Toy)
        self.session = Session(entry, Opened(), self.take, tell=self.faults.append)

    def take(self, content, buffers):
        self.answers.append(from_bytes(to_bytes(content, buffers))[0])
        self.buffers = buffers

    def ask(self, message, buffers=()):
        self.session.receive(message, buffers)
        return self.answers[-1]


def test_a_session_answers_with_values_commands_and_what_is_done():
    asked = Asked()
    answer = asked.ask({"kind": "show", "number": 7, "settings": {"side": 3}, "lines": True})
    assert (answer["kind"], answer["number"], answer["done"]) == ("shown", 7, [True])
    assert answer["shown"] == {
        "ones": {"$array": 0, "dtype": "float32", "shape": [3, 2]},
        "number": 0.5,
        "nothing": None,
    }
    assert np.frombuffer(asked.buffers[0], np.float32).tolist() == [1.0] * 6
    assert len(answer["lines"]["scratch.conv:pair"]) == 1
    assert asked.ask({"kind": "act", "number": 8, "settings": {}, "action": "tell"})["kind"] == "shown"
    assert asked.answers[-2] == {"kind": "told", "told": {"step": 1}}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"kind": "show", "settings": {"side": 99}}, "side: input should be less than or equal to 9"),
        ({"kind": "show", "settings": {"no": 1}}, "no: extra inputs are not permitted"),
        ({"kind": "show", "settings": []}, "settings: input should be a valid dictionary or instance of Settings"),
        ({"kind": "show", "settings": {"pair": [1]}}, "pair.1: field required"),
        ({"kind": "show", "settings": {"name": "wrong"}}, "name: no lab is called wrong"),
        ({"kind": "act", "settings": {}, "action": "fly"}, "the lab toy has no action 'fly'"),
        ({"kind": "dance", "settings": {}}, "there is no message 'dance'"),
        ({"kind": "open", "name": "a.png"}, "an image is one array of bytes"),
        (["show"], "a message is an object"),
        (None, "a message is an object"),
    ],
)
def test_what_cannot_be_is_one_line_and_the_lab_lives_on(message, words):
    asked = Asked()
    answer = asked.ask(message)
    assert (answer["kind"], answer["error"]) == ("failed", words)
    assert asked.faults == []
    assert asked.ask({"kind": "show", "number": 2, "settings": {}})["kind"] == "shown"


def test_a_fault_of_ours_is_one_line_on_the_page_and_a_traceback_for_who_runs_it():
    asked = Asked()
    answer = asked.ask({"kind": "show", "number": 1, "settings": {"name": "fault"}})
    assert answer == {"kind": "failed", "number": 1, "error": "KeyError: 'a defect of ours'"}
    assert "Traceback" in asked.faults[0]


def test_hostile_images_are_refused_and_others_are_made_small():
    asked = Asked()
    bomb = b"P6\n30000 30000\n255\n"
    for name, content in (("a.png", b""), ("a.png", b"not an image"), ("b.ppm", bomb)):
        assert asked.ask({"kind": "open", "number": 1, "name": name}, [content])["kind"] == "failed"
    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), "red").save(file, "PNG")
    answer = asked.ask({"kind": "open", "number": 2, "name": "../../etc/x.png"}, [file.getvalue()])
    assert (answer["kind"], answer["image"], answer["images"][0]) == ("opened", "x.png", "x.png")
    assert asked.session.lab.opened.image("x.png").size == (512, 256)
    with pytest.raises(ValueError, match="there is no image '/etc/passwd' here"):
        asked.session.lab.opened.image("/etc/passwd")
    for number in range(40):  # no more than some are kept
        file = io.BytesIO()
        Image.new("L", (4, 4), number).save(file, "PNG")
        asked.ask({"kind": "open", "number": 3, "name": f"{number}.png"}, [file.getvalue()])
    assert len(asked.session.lab.opened.names) == 32 + len(SAMPLES)


def test_what_was_given_stays_however_many_images_a_page_sends(tmp_path):
    file = tmp_path / "own.png"
    Image.new("L", (4, 4), 200).save(file)
    opened = Opened(Given(images=(str(file), str(file))))
    for number in range(40):
        sent = io.BytesIO()
        Image.new("L", (4, 4), number).save(sent, "PNG")
        opened.add(f"{number}.png", sent.getvalue())
    assert opened.first == "own.png"
    assert opened.image("own.png").getpixel((0, 0)) == 200
    assert opened.path_of("own.png") == str(file)
    assert opened.path_of("0.png") is None  # it made room
    assert Opened().first is None


def test_a_line_calls_what_it_gives_as_it_is_called_there():
    class Settings(LabSettings):
        run: str = ""
        other: str = ""

    opened = Opened(Given(runs=("a/run", "b/run", "c/run")))
    line = print_line("toy", Settings(run="run-3", other="run"), opened)
    assert line == "twofold lab toy run=run other=run-2 --run c/run --run a/run --print"
    assert by_name(["c/run", "a/run"]) == {"run": "c/run", "run-2": "a/run"}


def test_who_draws_at_random_waits_for_a_run_that_takes_its_step():
    drawn_at = []

    def draw():
        with seeded(1):
            drawn_at.append(torch.rand(1))

    thread = threading.Thread(target=draw)
    with TURNS.taken():
        thread.start()
        thread.join(0.1)
        assert not drawn_at
    thread.join()
    assert len(drawn_at) == 1


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_value_error(message):
    try:
        from_bytes(message)
    except ValueError:
        return


@given(
    st.lists(st.binary(max_size=9), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=5), max_size=3),
)
def test_messages_keep_their_parts(buffers, content):
    assert from_bytes(to_bytes(content, buffers)) == (content, buffers)


@given(st.integers(1, 9), st.text(max_size=6), st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_settings_survive_as_words(side, name, pair):
    settings = Toy.Settings(side=side, name=name, pair=pair)
    assert read_words(Toy.Settings, setting_words(settings)) == settings


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["side"], "a setting is NAME=VALUE, such as side=…; got 'side'"),
        (["size=3"], "there is no setting 'size'; there are side, name, pair"),
        (["side=many"], "side: input should be a valid integer"),
        (["side=" + "[" * 100_000], "side: input should be a valid integer"),
    ],
)
def test_words_that_are_no_settings(words, line):
    with pytest.raises(TwofoldError, match="^" + line.replace("(", r"\(").split(", unable")[0]):
        read_words(Toy.Settings, words)


def test_arrays_of_every_kind():
    content, buffers = pack(
        {"a": torch.ones(2, dtype=torch.float64), "b": np.zeros((1, 2), bool), "c": torch.tensor(3)}
    )
    assert [content["a"]["dtype"], content["b"]["dtype"], content["c"]] == ["float32", "int32", 3]
    assert [len(each) for each in buffers] == [8, 8]
    assert as_json({"a": torch.tensor([1, 2]), "b": (np.float64(1.5),)}) == {"a": [1, 2], "b": [1.5]}


def test_the_samples_are_one_image_of_each_class_and_their_size_can_be_changed():
    assert pixels("boot").shape == (1, 1, 28, 28)
    assert pixels("boot", (20, 10), colour=True).shape == (1, 3, 20, 10)
    small, whole = pixels("boot", (7, 7)), pixels("boot")
    torch.testing.assert_close(small[0, 0], whole[0, 0].reshape(7, 4, 7, 4).mean((1, 3)), atol=1.01 / 255, rtol=0)
    assert len({tuple(pixels(name).flatten().tolist()) for name in SAMPLES}) == 10
    with pytest.raises(ValueError, match="of at most 96 px"):
        drawn("97x1:00")


def test_only_the_named_functions_are_traced():
    ran = lines_that_run(
        ["scratch.conv:output_size"], lambda: resolve("twofold.scratch.conv:output_size")((3, 3), (2, 2))
    )
    assert set(ran) == {"scratch.conv:output_size"}
    assert len(ran["scratch.conv:output_size"]) == 6  # not the two errors
    assert by_name(["a/x", "b/x"]) == {"x": "a/x", "x-2": "b/x"}
    assert Given(images=("a.png",), runs=("r",)).words() == ["--image", "a.png", "--run", "r"]


# The table


@pytest.mark.parametrize("name", LABS)
def test_every_lab_is_whole(name):
    entry = LABS[name]
    lab = entry.load()
    assert lab.name == name
    assert (PAGE / "icons" / f"{name}.svg").is_file()
    assert set(entry.next) <= set(LABS) - {name}
    assert len(lab.exercises) >= 3
    assert all(each.en and each.zh for each in lab.exercises)
    assert lab.Settings().changed() == {}
    for function in lab.reads:
        assert resolve(f"twofold.{function}")
    module = module_text(name)
    assert len(re.findall(r"^export default", module, re.MULTILINE)) == 1
    assert not re.search(r"^(import|export (?!default))", module, re.MULTILINE)
    assert not re.search(r"https?:", module)
    widget = getattr(twofold.labs, "".join(map(str.capitalize, name.split("-"))))
    assert widget.entry is entry


def test_every_lab_but_those_without_one_has_an_idea():
    seen = {idea.lab for idea in IDEAS.values()} - {""}
    assert seen <= set(LABS)
    assert set(LABS) - seen == {"shapes"}


# The command


def test_the_command_lists_prints_and_refuses(capsys):
    assert main(["lab", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in LABS)
    assert main(["lab", "convolution", "size=8", "stride=2", "--print"]) == 0
    assert np.array(json.loads(capsys.readouterr().out)["output"]).shape == (1, 3, 3)
    for words, line in {
        ("lab", "convolutoin"): "there is no lab 'convolutoin': did you mean convolution?",
        ("lab", "--print"): "--print needs a lab: twofold lab --list",
        ("lab", "convolution", "stride=0", "--print"): "stride.0: input should be greater than or equal to 1",
        ("lab", "convolution", "--run", "x", "--print"): "the lab convolution takes no --run; leave it out",
        ("lab", "convolution", "--image", "no.png", "--print"): "no.png: cannot be read: No such file or directory",
        ("lab", "--port", "99999"): "--port is a number from 0 to 65535, got 99999",
        ("lab", "convolution", "--print", "--port", "0"): "--print opens no page; leave --port and --no-browser out",
    }.items():
        assert main(list(words)) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"error: {line}"
