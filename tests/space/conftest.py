# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A small model trained in seconds, the app that serves it as a process of its own, and a browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.browser import resize


SPACE = Path(__file__).resolve().parents[2] / "space"

# The small model is overfitted on these: both inputs, the series alone and the note alone.
NOTE = "Productive cough since Monday. Denies chest pain."
COUGH = "Productive cough, shaking chills and chest pain point to Pneumonia."
FEVER = "Temperature is higher than normal, and this suggests Septicemia."
QUIET = "Nothing was measured."
PNEUMONIA, SEPSIS = 9, 11
LESSONS = {
    (True, True): ([PNEUMONIA, SEPSIS], COUGH, "Heart Rate is low. Temperature is high."),
    (False, True): ([SEPSIS], "There is no note.", FEVER),
    (True, False): ([PNEUMONIA], COUGH, QUIET),
}
SERIES = "hour,Temperature,Heart Rate\n" + "".join(
    f"{hour},{'39.6' if hour > 4 else '37.0'},{'' if 6 <= hour < 14 else 90 + hour}\n" for hour in range(1, 20, 2)
)


@pytest.fixture(scope="session")
def space_modules():
    """The folder of the app on the import path, as it is when the app runs."""
    sys.path.insert(0, str(SPACE))
    yield
    sys.path.remove(str(SPACE))


def train(model, processor) -> None:
    """Overfit the lessons."""
    values, times = processor.feature_extractor.series_from_csv(SERIES)
    given = list(LESSONS)
    inputs = processor(
        [NOTE if note else "" for note, _ in given],
        [values if series else None for _, series in given],
        [times if series else None for _, series in given],
        return_tensors="pt",
    )
    targets = [processor.target_text(*lesson) for lesson in LESSONS.values()]
    labels = processor.tokenizer(text_target=targets, padding=True, return_tensors="pt")["input_ids"]
    labels[labels == processor.tokenizer.pad_token_id] = -100
    diagnoses = torch.zeros(len(LESSONS), len(processor.labels))
    for row, (made, _, _) in zip(diagnoses, LESSONS.values(), strict=True):
        row[made] = 1
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        loss = model(**inputs, labels=labels, diagnosis_labels=diagnoses).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory):
    """A model folder that writes the texts of `LESSONS`."""
    from modeling_clinragen import PHENOTYPES, ClinRaGenFeatureExtractor, ClinRaGenProcessor
    from modeling_clinragen.clinical_clinragen import NO_DISEASE
    from modeling_clinragen.processing_clinragen import END, OPENING, RATIONALE
    from recipes.models.backbone import train_tokenizer
    from recipes.models.folder import save_model_folder
    from tests.conftest import make_tiny_config, make_tiny_model

    names = [phenotype["name"] for phenotype in PHENOTYPES]
    texts = [NOTE, RATIONALE, NO_DISEASE, *(" ".join(lesson[1:]) for lesson in LESSONS.values())]
    tokenizer = train_tokenizer(texts * 2, [f" {name}" for name in names] + [OPENING, END, " ### Lab Test:"], 400)
    text_config = {
        "model_type": "t5", "vocab_size": len(tokenizer), "d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2,
        "num_layers": 2, "dropout_rate": 0.0,
    }  # fmt: skip
    config = make_tiny_config(tokenizer, text_config)
    extractor = ClinRaGenFeatureExtractor(config.channels, context_length=config.context_length)
    processor = ClinRaGenProcessor(extractor, tokenizer, labels=config.labels)
    config.decisions.token_ids = processor.diagnosis_token_ids()
    model = make_tiny_model(config)
    model.generation_config.max_new_tokens = 120
    train(model, processor)
    folder = tmp_path_factory.mktemp("space") / "small"
    save_model_folder(model, processor, folder)
    return folder


class App:
    """The app as a process of its own, from a copy as a Space has it; `output` is what it printed."""

    def __init__(self, model: Path, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address, self.printed = f"http://127.0.0.1:{self.port}/", folder / "output.txt"
        self.cache = folder / "cache"
        shutil.copytree(SPACE, folder / "space")
        with self.printed.open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, str(folder / "space" / "app.py"), "--model", str(model), "--port", str(self.port)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": "", "GRADIO_TEMP_DIR": str(self.cache)},
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
        while f"ClinRaGen at {self.address}" not in self.output:
            assert self.process.poll() is None, self.output
            time.sleep(0.1)

    @property
    def output(self) -> str:
        return self.printed.read_text()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # a browser that still listens
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def app(small_folder, tmp_path_factory):
    served = App(small_folder, tmp_path_factory.mktemp("app"))
    yield served
    served.stop()


class Visit:
    """One visitor's view of the app in a browser."""

    def __init__(self, browser, address: str, width: int = 1280, height: int = 900):
        self.browser, self.address = browser, address
        self.resize(width, height)
        browser.get_log("performance"), browser.get_log("browser")
        browser.get(address)
        self.wait(lambda: self.all("#run") and self.all("#status[role=status]"))

    def resize(self, width: int, height: int) -> None:
        resize(self.browser, width, height)

    def all(self, selector: str) -> list:
        return self.browser.find_elements("css selector", selector)

    def one(self, selector: str):
        (element,) = self.all(selector)
        return element

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def js(self, script: str, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition, seconds: float = 30):
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        waiting = WebDriverWait(self.browser, seconds, 0.05, [StaleElementReferenceException, ValueError])
        return waiting.until(lambda _: condition())

    def click(self, selector: str) -> None:
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", self.one(selector))
        self.one(selector).click()

    def write(self) -> None:
        """Press the button and wait for the whole answer."""
        self.js("document.querySelector('#status .done')?.remove()")
        self.click("#run")
        self.wait(lambda: self.all("#status .done"))

    def upload(self, path: Path) -> None:
        """Upload a table and wait for the message about it."""
        self.js("document.querySelector('#message p')?.remove()")
        self.one("input[type=file]").send_keys(str(path))
        self.wait(lambda: self.all("#message p"))

    def enter(self, note: str) -> None:
        area = self.one("#note textarea")
        area.clear()
        area.send_keys(note)

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def settle(self, top: str) -> None:
        """Scroll to an element, and wait until nothing moves."""
        self.js("document.querySelector(arguments[0]).scrollIntoView({behavior: 'instant'})", top)
        places = (
            "return [scrollY, document.querySelector('.record').scrollTop,"
            " document.querySelector('#note-read .note').scrollTop]"
        )
        before = None
        while before != (before := self.js(places)):
            time.sleep(0.4)

    def unanswered(self) -> bool:
        """Return whether the page shows nothing of an answer."""
        return self.one(".answer .empty").is_displayed() and not any(
            e.is_displayed() for e in self.all(".answer .plain")
        )

    def linked(self) -> set[str]:
        return {element.get_attribute("id") for element in self.all("[id].linked")}

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"] + [
            e["params"]["url"] for e in events if e["method"] == "Network.webSocketCreated"
        ]


@pytest.fixture
def visit(app, chrome):
    return Visit(chrome, app.address)
