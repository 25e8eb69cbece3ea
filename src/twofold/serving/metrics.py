"""What Prometheus reads of a server at /metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server. Each server has its own, so that several can be in one process.

    Attributes:
        requests: answered requests, by route and status.
        images: images by network and outcome: answered, refused (not an image, too large), late, failed.
        seconds: from the whole request to its answer.
        waiting: images that wait to be computed.
        reloads: networks exchanged, or not.
    """

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter("twofold_requests", "Requests answered", ("route", "status"), registry=own)
        self.images = Counter("twofold_images", "Images, by what became of them", ("model", "outcome"), registry=own)
        self.seconds = Histogram(
            "twofold_request_seconds", "From the request to its answer", ("route",), buckets=_SECONDS, registry=own
        )
        self.waiting = Gauge("twofold_images_waiting", "Images that wait to be computed", ("model",), registry=own)
        self.reloads = Counter("twofold_reloads", "Networks exchanged, or not", ("model", "outcome"), registry=own)
        self._sizes = Histogram(
            "twofold_batch_images", "Images computed at once", ("model",), buckets=_SIZES, registry=own
        )
        self._compute = Histogram(
            "twofold_batch_seconds", "Time to compute a batch", ("model",), buckets=_SECONDS, registry=own
        )
        self._waited = Histogram(
            "twofold_batch_wait_seconds", "Longest wait in a batch", ("model",), buckets=_SECONDS, registry=own
        )

    def batch_observer(self, model: str) -> Callable[[int, float, float], None]:
        """Return what a batcher calls after each batch of a network."""
        sizes, compute, waited = (each.labels(model) for each in (self._sizes, self._compute, self._waited))

        def observe(number: int, wait: float, took: float) -> None:
            sizes.observe(number)
            waited.observe(wait)
            compute.observe(took)

        return observe

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self.registry)
