"""Images that come one by one, computed several at once.

While one batch is computed, the images that arrive wait; the next batch takes what is there. So a lone image waits for
nobody, and under load batches grow by themselves (adaptive batching: Crankshaw et al., "Clipper: a low-latency online
prediction serving system", 2017). A longer wait for fuller batches can be set.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from twofold.tasks.predictions import Prediction

Size = tuple[int, int]
Answer = Callable[[UInt8[np.ndarray, "batch channels height width"], Sequence[Size]], Sequence[Prediction]]


class FullError(Exception):
    """More images are here than may be."""


class ComputeError(Exception):
    """The network could not compute an image."""


class _Waiting(NamedTuple):
    pixels: np.ndarray
    size: Size
    since: float
    future: asyncio.Future[Prediction]


class Batcher:
    """A thread that computes what waits.

    Args:
        answer: computes a batch: pixels, and the (height, width) of each image as it was given, to predictions.
        batch: the most images of a batch.
        wait: seconds that the first image of a batch waits for others.
        most: the most images that are here: waiting, or being computed or prepared.
        observe: told of each batch: its number of images, the longest wait, and how long it took, in seconds.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        batch: int,
        wait: float,
        most: int,
        observe: Callable[[int, float, float], None] = lambda number, waited, took: None,
    ) -> None:
        self._answer, self._observe = answer, observe
        self._batch, self._wait, self._most = batch, wait, most
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._held = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Return how many images are here."""
        return self._held

    @contextlib.contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Hold places for so many images, from before they are decoded until they are answered.

        Raises:
            FullError: there are not as many.
        """
        if self._held + count > self._most:
            raise FullError
        self._hold(count)
        try:
            yield
        finally:
            self._hold(-count)

    def _hold(self, count: int) -> None:
        with self._changed:
            self._held += count
            self._changed.notify()

    def submit(self, pixels: UInt8[np.ndarray, "channels height width"], size: Size) -> asyncio.Future[Prediction]:
        """Return a future of what the network says of an image; for the event loop's thread, while a place is held.

        The future may raise `ComputeError`. One that is cancelled before its turn costs no computing.

        Args:
            pixels: of the image, preprocessed.
            size: (height, width) of the image as it was given.
        """
        future: asyncio.Future[Prediction] = self._loop.create_future()
        with self._changed:
            self._waiting.append(_Waiting(pixels, size, time.monotonic(), future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """End the thread, once nobody holds a place: whoever does may still submit. Blocks until then."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while taken := self._take():
            start = time.monotonic()
            wanted = [one for one in taken if not one.future.cancelled()]
            if wanted:
                outcomes = self._compute(wanted)
                self._observe(len(wanted), start - taken[0].since, time.monotonic() - start)
                self._loop.call_soon_threadsafe(_deliver, wanted, outcomes)

    def _take(self) -> list[_Waiting]:
        """Return what to compute next; nothing when closed and done."""
        with self._changed:
            while not self._waiting and not (self._closed and self._held == 0):
                self._changed.wait()
            if self._wait and self._waiting:
                until = self._waiting[0].since + self._wait
                while len(self._waiting) < self._batch and not self._closed:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _compute(self, batch: list[_Waiting]) -> list[Prediction | Exception]:
        try:
            return list(self._answer(np.stack([one.pixels for one in batch]), [one.size for one in batch]))
        except Exception as error:  # noqa: BLE001 - whatever happens, the thread goes on, and who waits is told
            if len(batch) == 1:
                return [ComputeError(str(error))]
            # One of them may be the reason: each by itself.
            return [outcome for one in batch for outcome in self._compute([one])]


def _deliver(batch: list[_Waiting], outcomes: list[Prediction | Exception]) -> None:
    for one, outcome in zip(batch, outcomes, strict=True):
        if one.future.done():  # cancelled meanwhile
            continue
        if isinstance(outcome, Exception):
            one.future.set_exception(outcome)
        else:
            one.future.set_result(outcome)
