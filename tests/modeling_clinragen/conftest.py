# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that the tests of the modeling room share."""

import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import PHENOTYPES
from modeling_clinragen.links_clinragen import KnowledgeLinks


@pytest.fixture(scope="session")
def find():
    """Return a function that gives the findings of a note in lower case, by the built-in knowledge."""
    links = KnowledgeLinks(builtin_knowledge()["terms"], [phenotype["name"] for phenotype in PHENOTYPES])
    return lambda note: [finding.text.lower() for finding in links.find_in_note(note)]
