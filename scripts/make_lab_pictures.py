"""Take the pictures of labs that stand in the README: docs/pictures/labs. Needs the labs, playwright and a Chromium.

python scripts/make_lab_pictures.py
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from twofold.labs.host import Host

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "labs"
# Lab, its settings, and the height that is shown.
SHOWN = {
    "descent": ("", 735),
    "network": ("image=boot", 740),
    "convolution": ("unit=[0,20,18]&image=boot", 640),
}
_SETTLED = "() => document.querySelector('.lab[data-answered]') && document.querySelector('.lab').page.waiting === null"


def main() -> None:
    """Open each lab, and take its picture."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, Host() as host:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (settings, height) in SHOWN.items():
            page = browser.new_page(viewport={"width": 1280, "height": height}, locale="en-GB")
            page.goto(host.address(name, settings))
            page.wait_for_function(_SETTLED, timeout=120_000)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.save(OUTPUT / f"{name}.png", optimize=True)
            page.close()
        browser.close()
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    main()
