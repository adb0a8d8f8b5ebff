# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
from tests.recipes.conftest import data_folder  # noqa: F401
