# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Retake the pictures of the app: python -m tests.space.pictures runs/quickstart/stage3
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import new_browser
from tests.space.conftest import SPACE, App, Visit


SIZES = {1280: 1500, 400: 1900}  # width and height of the window
PATIENT, WORD = 0, "lobar consolidation"  # an example, and words of its note


def main(model: str) -> None:
    browser = new_browser()
    with tempfile.TemporaryDirectory() as folder:
        app = App(Path(model).resolve(), Path(folder))
        try:
            for width, height in SIZES.items():
                take(browser, app, width, height).save(SPACE / "images" / f"app_{width}.png", optimize=True)
        finally:
            app.stop()
            browser.quit()


def take(browser, app: App, width: int, height: int) -> Image.Image:
    """The window with an answered patient and a claim that is linked to the series, in few colours."""
    visit = Visit(browser, app.address, width, height)
    visit.all("#example label")[PATIENT].click()
    visit.wait(lambda: WORD in visit.text("#note-view"))
    visit.write()
    visit.js("document.activeElement.blur()")
    visit.js("arguments[0].click()", visit.all("#rationale .claim[data-links*=point]")[-1])
    visit.settle(top=".answer")
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    return picture.quantize(200, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main(*sys.argv[1:])
