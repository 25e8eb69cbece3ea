"""`twofold serve RUN`: trained networks over HTTP, with a page to try them."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from twofold.cli.parse import check_least, needing, parse
from twofold.errors import TwofoldError
from twofold.terminal import loading, note, say

_TOKEN = "TWOFOLD_TOKEN"


@dataclasses.dataclass(kw_only=True)
class ServeArguments:
    """Answer over HTTP what is in images, with a page at / to try it. Ends with Ctrl-C or SIGTERM; SIGHUP reloads."""

    networks: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME=]RUN")]
    """Run folders, .safetensors files, or what twofold export made; several answer to their names: a=runs/x b=b.onnx.
    A run is exported once, beside its weights."""
    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for other machines too, who then need a token: that in TWOFOLD_TOKEN, or a new
    one, which is printed."""
    port: int = 8000
    """0 takes one that is free."""
    allowed_host: Annotated[list[str], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME")] = dataclasses.field(
        default_factory=list
    )
    """A further name under which the server is reached, such as that of a proxy before it; can be repeated."""
    batch: int = 32
    """The most images that are computed at once."""
    wait: float = 0.0
    """Milliseconds that an image waits for others to be computed with; 0 takes those that are there."""
    waiting: int = 256
    """The most images of a network in the server at once; further ones are answered with 503."""
    deadline: float = 10.0
    """Seconds after which a request is answered with 504."""
    megabytes: float = 32.0
    """The most bytes of a request, in millions."""
    megapixels: float = 50.0
    """The most pixels of an image, in millions."""
    images: int = 64
    """The most images of a request."""
    threads: int = 0
    """How many compute one batch; 0 for one a core."""
    decoders: int = 0
    """How many decode images; 0 for one a core."""
    engine: Literal["onnx", "torch"] = "onnx"
    """What computes: onnxruntime, or torch as in predict."""
    to_grey: bool = False
    """Turn colour images to grey, for networks that were trained on grey ones."""
    reload: bool = True
    """Exchange a network when its file changes."""
    drain: float = 0.5
    """Seconds between the signal to end and the last request that is taken; a balancer needs its own interval."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    quiet: bool = False


def run(arguments: Sequence[str]) -> int:
    """Carry out `twofold serve`."""
    parsed = parse(ServeArguments, arguments, verb="serve")
    if not parsed.networks:
        raise TwofoldError("say what to serve: a run folder, or a file that twofold export wrote")
    check_least(1, batch=parsed.batch, waiting=parsed.waiting, images=parsed.images)
    check_least(0, wait=parsed.wait, threads=parsed.threads, decoders=parsed.decoders, drain=parsed.drain)
    for name in ("deadline", "megabytes", "megapixels"):
        if not getattr(parsed, name) > 0:
            raise TwofoldError(f"--{name} must be more than 0, got {getattr(parsed, name):g}")
    if parsed.megapixels > 89:
        raise TwofoldError(f"--megapixels is at most 89, the largest image that is decoded, got {parsed.megapixels:g}")
    if not 0 <= parsed.port <= 65535:
        raise TwofoldError(f"--port is a number from 0 to 65535, got {parsed.port}")
    with loading("onnxruntime"):
        with needing("serve", verb="serve"):
            from twofold.serving.server import serve
        from twofold.inference.onnx_predictor import load_runtime
        from twofold.serving.settings import ServeSettings, is_loopback, named_models
        from twofold.serving.shelf import file_of

        if parsed.engine == "onnx":
            load_runtime()
    models = named_models(parsed.networks)
    for path in models.values():
        file_of(path)
    token, is_new = os.environ.get(_TOKEN) or None, False
    if token is None and not is_loopback(parsed.host):
        token, is_new = secrets.token_urlsafe(24), True
    settings = ServeSettings(
        models=models,
        host=parsed.host,
        port=parsed.port,
        token=token,
        allowed_hosts=tuple(parsed.allowed_host),
        engine=parsed.engine,
        device=parsed.device,
        to_grey=parsed.to_grey,
        batch=parsed.batch,
        wait=parsed.wait / 1000,
        waiting=parsed.waiting,
        deadline=parsed.deadline,
        megabytes=parsed.megabytes,
        megapixels=parsed.megapixels,
        images=parsed.images,
        threads=parsed.threads,
        decoders=parsed.decoders,
        reload=parsed.reload,
        drain=parsed.drain,
        access_log=not parsed.quiet,
    )

    def ready(url: str) -> None:
        if is_new:
            note(f"token    {token}  (set {_TOKEN} to have one of your own)")
        known = token if is_new else f"TOKEN, with that of {_TOKEN}"
        note(f"try it   {url}/{f'#token={known}' if token else ''}")
        bearer = f" -H 'Authorization: Bearer {token if is_new else f'${_TOKEN}'}'" if token else ""
        note(f"or       curl{bearer} --data-binary @IMAGE {url}/v1/predict")
        say(url)

    for name, path in models.items():
        note(f"serving  {name}: {path}")
    return serve(settings, tell=note, ready=ready)
