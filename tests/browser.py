# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A headless browser, and axe-core, which finds violations of accessibility."""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path


AXE = "axe-core@4.14.1"
AXE_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
SEVERE = ("serious", "critical")


def new_browser():
    """Headless Chromium that logs its console and all its requests, or `None` if it is not installed."""
    from selenium import webdriver

    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not binary or not driver:
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    for argument in [*arguments, "--force-prefers-reduced-motion"]:  # nothing moves under the pointer
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def resize(browser, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def axe_source(folder: Path) -> str | None:
    """Return axe-core from npm's cache or registry, with its checksum verified; `None` without npm or the registry."""
    npm = shutil.which("npm")
    command = [npm, "pack", AXE, "--prefer-offline", "--ignore-scripts", "--silent", "--fetch-retries=0"]
    try:
        packed = npm and subprocess.run(command, cwd=folder, capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        packed = False
    if not packed:
        return None
    (package,) = folder.glob("axe-core-*.tgz")
    content = package.read_bytes()
    assert base64.b64encode(hashlib.sha512(content).digest()).decode() == AXE_SHA512
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


def severe_violations(browser, axe: str) -> list[tuple[str, str, list[str]]]:
    """Return rule, impact and the first elements of what axe-core finds serious or critical on the page as it is."""
    evaluate("void 0;" + axe, browser)
    evaluate("axe.reset()", browser)
    found = evaluate("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)", browser)
    return [
        (rule["id"], rule["impact"], [node["html"][:160] for node in rule["nodes"][:4]])
        for rule in found
        if rule["impact"] in SEVERE
    ]


def evaluate(expression: str, browser):
    """Evaluate in the page, whatever its policy says of scripts; a promise is awaited."""
    asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    answer = browser.execute_cdp_cmd("Runtime.evaluate", asked)
    assert "exceptionDetails" not in answer, answer["exceptionDetails"]
    return answer["result"].get("value")
