"""The claims that `claims.py` measures, by name; here they load without torch."""

from __future__ import annotations

CLAIMS: dict[str, str] = {
    "unbiased": "the mean of the gradients of all minibatches is the full gradient",
    "variance": "the variance of the gradient falls as one over the batch size",
    "step-size": "gradient descent on a quadratic diverges past 2/λ_max",
    "memory": "momentum averages about the last 1/(1 − γ) gradients",
}
