# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The dataset card, written from the metadata of the build: no number in it is typed by hand."""

from datasets_scripts.dataset_folder import SPLITS


HEADER = """---
pretty_name: ClinRaGen records from {title}
license: other
license_name: see-source
language: [en]
task_categories: [text-generation, text-classification]
tags: [clinical, icu, time-series, rationale]
configs:
- config_name: default
  data_files:
{files}
dataset_info:
- config_name: default
  description: content {content_hash}
---

# ClinRaGen records from {title}

One row per ICU stay: a note, laboratory and vital-sign series as measured, and which of {num_labels} diagnoses the
stay has. Made for research on clinical rationale generation; not a medical device.
"""

USE = """
## Source and terms of use

{title} {version}, {url}. Licence: {licence}.{credentialed} Cite: {cite}
"""

CREDENTIALED = (
    " Unless it is the open demo extract, this is **credentialed data**: it may not leave the machine, be shared or be"
    " sent to an online service without the permission that the data-use agreement asks for."
)


def dataset_card(metadata: dict) -> str:
    """The card of a dataset folder, from its `clinragen_dataset.json`."""
    source = metadata["source_description"]
    splits = [split for split in SPLITS if metadata["counts"][split]["stays"]]
    files = "\n".join(f"  - split: {split}\n    path: data/{split}-*.parquet" for split in splits)
    parts = [
        # `datasets` caches by this header, not by the files: without the hash a rebuilt folder would be read stale.
        HEADER.format(
            title=source["title"],
            files=files,
            num_labels=len(metadata["labels"]),
            content_hash=metadata["content_hash"],
        ),
        USE.format(**{**source, "credentialed": CREDENTIALED if source["credentialed"] else ""}),
        "\n## Settings\n\n" + _table(["setting", "value"], [[k, v] for k, v in metadata["settings"].items()]),
        "\n## Cohort\n\n"
        + _table(
            ["step", "ICU stays", "patients"], [[r["step"], r["stays"], r["patients"]] for r in metadata["attrition"]]
        ),
        "\n"
        + _table(
            ["split", "ICU stays", "patients", "with a note", "with series"],
            [[split, *(counts[k] for k in COUNTS)] for split, counts in metadata["counts"].items()],
        ),
        "\n## Diagnoses\n\n"
        + f"{metadata['codes']['total']} diagnosis codes, {metadata['codes']['unmapped']} of them unknown.\n\n"
        + _table(["diagnosis", "CCS", "ICU stays"], [[r["name"], r["ccs"], r["stays"]] for r in metadata["labels"]]),
        "\n## Series\n\nValues, and why some were left out (`clinragen_dataset.json` has units and limits).\n\n"
        + _table(
            [
                "channel",
                "charted",
                "no number",
                "marked as error",
                "implausible",
                "unit converted",
                "simultaneous",
                "kept",
            ],
            [list(row.values()) for row in metadata["values"]],
        ),
    ]
    if "rationales" in metadata:
        settings = metadata["rationales"]
        parts.append("\n## Rationales\n\n" + _table(["setting", "value"], [[k, v] for k, v in settings.items()]))
    return "".join(parts)


COUNTS = ("stays", "patients", "with_note", "with_series")


def _table(header: list, rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"
