# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""ClinRaGen: diagnoses with their clinical rationale, from notes and lab time series."""

from importlib import import_module


__version__ = "0.1.0.dev0"

# Names are imported on first use, so that the light modules (`clinical_clinragen`, `claims_clinragen`) cost no torch.
_MODULE_OF = {
    "CHANNELS": "clinical_clinragen",
    "PAPER_CHANNELS": "clinical_clinragen",
    "PHENOTYPES": "clinical_clinragen",
    "ClinRaGenInputError": "clinical_clinragen",
    "ClinRaGenConfig": "configuration_clinragen",
    "ClinRaGenFeatureExtractor": "feature_extraction_clinragen",
    "ClinRaGenForCausalLM": "causal_lm_clinragen",
    "ClinRaGenForConditionalGeneration": "modeling_clinragen",
    "ClinRaGenLanguageModel": "modeling_clinragen",
    "ClinRaGenPipeline": "pipeline_clinragen",
    "ClinRaGenProcessor": "processing_clinragen",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
