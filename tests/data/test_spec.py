import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st
from pydantic import ValidationError

from twofold.data import ModelSpec, PixelSpec, normalise
from twofold.data.normalising import channels_last
from twofold.errors import TwofoldError


def make_spec(**changes) -> ModelSpec:
    values = {
        "channels": 1,
        "image_size": (28, 28),
        "architecture": "lenet",
        "architecture_options": {"width": 2, "activation": "relu", "dropout": 0.5, "bias": True},
        "class_names": ("a", "b"),
        "mean": (0.3,),
        "std": (0.2,),
    }
    return ModelSpec.model_validate({**values, **changes})


unit = st.floats(0, 1)
specs = st.sampled_from([1, 3]).flatmap(
    lambda channels: st.builds(
        make_spec,
        channels=st.just(channels),
        image_size=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
        resize=st.sampled_from(["crop", "stretch", "pad"]),
        convert_colour=st.booleans(),
        class_names=st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True).map(tuple),
        mean=st.lists(unit, min_size=channels, max_size=channels).map(tuple),
        std=st.lists(st.floats(1 / 255, 1), min_size=channels, max_size=channels).map(tuple),
    )
)


@given(spec=specs)
def test_json_round_trip(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_option_types_survive(tmp_path: Path):
    spec = make_spec()
    spec.save(tmp_path / "spec.json")
    loaded = ModelSpec.load(tmp_path / "spec.json")
    assert loaded == spec
    types = {name: type(value) for name, value in loaded.architecture_options.items()}
    assert types == {"width": int, "activation": str, "dropout": float, "bias": bool}


def test_a_spec_is_frozen_and_knows_no_other_fields():
    with pytest.raises(ValidationError, match="frozen"):
        make_spec().channels = 3
    with pytest.raises(ValidationError, match="colour_space"):
        PixelSpec.model_validate({"channels": 1, "image_size": (8, 8), "colour_space": "rgb"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", 2),
        ("image_size", (0, 28)),
        ("image_size", (28, 4097)),
        ("resize", "squash"),
        ("mean", (0.1, 0.2)),
        ("std", (0.0,)),
        ("class_names", ("a", "a")),
        ("class_names", ()),
        ("format", 3),
    ],
)
def test_load_names_the_file_and_the_fault(tmp_path: Path, field, value):
    content = json.loads(make_spec().to_json())
    content[field] = value
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(content))
    with pytest.raises(TwofoldError, match=r"spec\.json is not a valid preprocessing spec") as raised:
        ModelSpec.load(path)
    assert field in str(raised.value)
    assert "\n" not in str(raised.value)


def test_load_of_what_is_no_spec(tmp_path: Path):
    with pytest.raises(TwofoldError, match=r"cannot read .*No such file"):
        ModelSpec.load(tmp_path / "missing.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TwofoldError, match=r"bytes\.json .*not text"):
        ModelSpec.load(tmp_path / "bytes.json")
    (tmp_path / "half.json").write_text('{"format": 1,')
    with pytest.raises(TwofoldError, match=r"half\.json is not valid JSON"):
        ModelSpec.load(tmp_path / "half.json")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise_equals_its_formula(channels, memory_format):
    pixels = torch.arange(256, dtype=torch.uint8).repeat(2 * channels).reshape(2, channels, 16, 16)
    pixels = pixels.contiguous(memory_format=memory_format)
    mean, std = (0.1, 0.5, 0.9)[:channels], (0.2, 1.0, 1 / 255)[:channels]
    result = normalise(pixels, mean, std)
    shape = (1, channels, 1, 1)
    expected = (pixels.double() / 255 - torch.tensor(mean).double().reshape(shape)) / torch.tensor(std).reshape(shape)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(result, expected.float(), rtol=1e-5, atol=1e-4)


def test_normalise_leaves_its_input_alone():
    pixels = torch.full((1, 1, 2, 2), 7, dtype=torch.uint8)
    normalise(pixels, (0.5,), (0.5,))
    assert (pixels == 7).all()


@pytest.mark.parametrize("shape", [(4, 3, 7, 5), (4, 1, 7, 5), (0, 3, 4, 4), (1, 3, 1, 1)])
def test_channels_last_moves_bytes_and_changes_none(shape):
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    for laid_out in (pixels, pixels.contiguous(memory_format=torch.channels_last), pixels[:, :, ::2]):
        moved = channels_last(laid_out)
        assert torch.equal(moved, laid_out)
        assert moved.is_contiguous(memory_format=torch.channels_last)
