# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that the tests of the modeling room share."""

import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import PHENOTYPES, ClinRaGenFeatureExtractor, ClinRaGenProcessor
from modeling_clinragen.clinical_clinragen import CHANNELS, NO_DISEASE
from modeling_clinragen.grounding_clinragen import Grounding
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.processing_clinragen import TARGET
from recipes.models.backbone import train_tokenizer
from tests.conftest import WORDS
from tests.modeling_clinragen.grounded import KNOWLEDGE, LABELS, NOTE


@pytest.fixture(scope="session")
def find():
    """Return a function that gives the findings of a note in lower case, by the built-in knowledge."""
    links = KnowledgeLinks(builtin_knowledge()["terms"], [phenotype["name"] for phenotype in PHENOTYPES])
    return lambda note: [finding.text.lower() for finding in links.find_in_note(note)]


@pytest.fixture(scope="module")
def tokenizer():
    digits = "0 1 2 3 4 5 6 7 8 9 10, 11. 12; 13/14"
    return train_tokenizer([WORDS, TARGET, NO_DISEASE, NOTE, digits, *LABELS], [], vocab_size=400)


@pytest.fixture(scope="module")
def make_processor(tokenizer):
    def make(**options):
        extractor = ClinRaGenFeatureExtractor(options.pop("channels", CHANNELS), context_length=24)
        options = {"knowledge": KNOWLEDGE, "labels": LABELS, "max_note_tokens": 40, **options}
        return ClinRaGenProcessor(extractor, tokenizer, **options)

    return make


@pytest.fixture(scope="module")
def grounding(make_processor):
    return Grounding(make_processor())
