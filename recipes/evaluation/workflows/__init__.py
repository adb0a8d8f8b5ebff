# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
