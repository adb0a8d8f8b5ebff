# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures: a tiny random model, and real data where available."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.browser import AXE, axe_source, new_browser


os.environ.setdefault("HF_HUB_OFFLINE", "1")
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

NIGHTLY = pytest.mark.nightly  # of the cases of one test those that CI leaves out
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

WORDS = """Diagnose disease from the following medical notes: and Lab Test: not available. fever and productive cough
for two days, denies chest pain. History of hypertension and heart failure. Blood pressure is low, pulse is high."""


@pytest.fixture(scope="session")
def real_data():
    """Folder of the open ICU demo extracts; tests that need it are skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"needs the open MIMIC-III and eICU demo extracts in {REAL_DATA.parent.name}/{REAL_DATA.name}")
    return REAL_DATA


@pytest.fixture(scope="session")
def chrome():
    browser = new_browser()
    if browser is None:
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The source of axe-core, which npm fetches once and then caches."""
    source = axe_source(tmp_path_factory.mktemp("axe"))
    if source is None:
        pytest.skip(f"needs {AXE} (npm pack {AXE})")
    return source


@pytest.fixture(scope="session")
def tiny_tokenizer():
    from modeling_clinragen import PHENOTYPES
    from modeling_clinragen.clinical_clinragen import NO_DISEASE
    from modeling_clinragen.processing_clinragen import TARGET
    from recipes.models.backbone import train_tokenizer

    return train_tokenizer(
        [WORDS, TARGET, NO_DISEASE] + [phenotype["name"] for phenotype in PHENOTYPES], [], vocab_size=400
    )


def make_tiny_config(tokenizer, text_config=None, context_length=24, **kwargs):
    from modeling_clinragen import ClinRaGenConfig

    terms = ["fever", "productive cough", "low blood pressure", "heart failure"]
    text_config = text_config or {
        "model_type": "t5",
        "vocab_size": len(tokenizer),
        "d_model": 16,
        "d_ff": 32,
        "d_kv": 8,
        "num_heads": 2,
        "num_layers": 2,
    }
    series = {"context_length": context_length, "patch_length": 8, "patch_stride": 8, "d_model": 16, "ffn_dim": 32}
    return ClinRaGenConfig(
        text_config=text_config,
        time_series_config={**series, "num_hidden_layers": 2, "num_attention_heads": 2},
        knowledge_terms=terms,
        knowledge_input_ids=[tokenizer(term, add_special_tokens=False)["input_ids"] for term in terms],
        knowledge_num_attention_heads=2,
        knowledge_head_dim=8,
        num_knowledge_prototypes=3,
        **kwargs,
    )


def make_tiny_model(config, seed=0):
    import torch

    from modeling_clinragen import ClinRaGenForConditionalGeneration

    torch.manual_seed(seed)
    return ClinRaGenForConditionalGeneration(config).eval()


@pytest.fixture(scope="session")
def tiny_config(tiny_tokenizer):
    return make_tiny_config(tiny_tokenizer)


@pytest.fixture
def tiny_model(tiny_config):
    return make_tiny_model(tiny_config)


@pytest.fixture(scope="session")
def tiny_processor(tiny_tokenizer, tiny_config):
    from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenProcessor

    extractor = ClinRaGenFeatureExtractor(tiny_config.channels, context_length=tiny_config.context_length)
    return ClinRaGenProcessor(extractor, tiny_tokenizer, labels=tiny_config.labels, max_note_tokens=40)


@pytest.fixture
def tiny_folder(tiny_model, tiny_processor, tmp_path):
    from recipes.models.folder import save_model_folder

    save_model_folder(tiny_model, tiny_processor, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def records():
    """Four records: note and series, note alone, series alone, and a long series with gaps and late values."""
    rng = np.random.default_rng(0)

    def series(num_times, last_hour):
        times = np.sort(rng.uniform(0, last_hour, num_times))
        values = np.array([70, 0.4, 120, 80, 75, 96, 18, 120, 37, 80, 7.4]) * rng.uniform(0.9, 1.1, (num_times, 11))
        values[:, 5] = np.minimum(values[:, 5], 100)
        values[rng.random((num_times, 11)) < 0.4] = np.nan
        return values, times

    return [
        ("fever and productive cough for two days", *series(12, 20)),
        ("History of hypertension.", np.empty((0, 11)), np.empty(0)),
        ("", *series(3, 9)),
        ("denies chest pain, pulse is high " * 3, *series(40, 60)),
    ]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A loopback Hub; this process uses it as the owner of `user/...`, as others do with its `environment()`."""
    from huggingface_hub import constants
    from transformers.utils import hub as transformers_hub

    from tests.hub_server import Hub

    with Hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(transformers_hub, "_hf_api", None)  # it keeps its original address
        monkeypatch.setenv("HF_TOKEN", hub.token)
        yield hub


@pytest.fixture
def small_disk(tmp_path):
    """A function that creates a small file system of a size, or resizes the one that it created."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def of_size(size):
        options = f"remount,size={size}" if disk.is_mount() else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a small file system")
        return disk

    yield of_size
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)
