"""What a run folder holds of its progress, read for comparison: for tests of any room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def metrics_but_speed(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics without what no two runs share: how fast the machine was."""
    entries = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in entry.items() if k not in {"images_per_second", "seconds"}} for entry in entries]
