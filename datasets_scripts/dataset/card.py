# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The dataset card, written from the metadata of the build: no number in it is typed by hand."""

import csv
from pathlib import Path

from datasets_scripts.dataset.charts import draw_charts
from datasets_scripts.dataset.folder import LABEL_AUDIT
from datasets_scripts.dataset.splits import SPLITS
from modeling_clinragen.clinical_clinragen import range_text


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

One row per ICU stay: a note, laboratory and vital-sign series as measured, and {labels}
Made for research on clinical rationale generation; not a medical device.
"""

LABELLED = "which of {} diagnoses the stay has."
UNLABELLED = (
    "no labels: the patients' diagnoses are not known. `recipes/predict.py --dataset` answers the records; training "
    "and evaluation refuse them."
)

USE = """
## Source and terms of use

{title}, {url}. Licence: {licence}.{credentialed} Cite: {cite}
"""

CREDENTIALED = (
    " Unless it is the open demo extract, this is **credentialed data**: it may not leave the machine, be shared or be"
    " sent to an online service without the permission that the data-use agreement asks for."
)
OWN = (
    " These are a hospital's **own records**: they may not leave the machine, be shared or be sent to an online"
    " service without the permission of those who are responsible for them."
)


def dataset_card(metadata: dict, folder: Path) -> str:
    """Write the card of a dataset folder, from its `clinragen_dataset.json`; draw its charts into `folder/figures`."""
    draw_charts(metadata, folder / "figures")
    source = metadata["source_description"]
    splits = [split for split in SPLITS if metadata["counts"][split]["stays"]]
    files = "\n".join(f"  - split: {split}\n    path: data/{split}-*.parquet" for split in splits)
    # `datasets` caches by this header, not by the files: without the hash, a stale copy could be used.
    labelled = metadata.get("labelled", True)
    labels = LABELLED.format(len(metadata["labels"])) if labelled else UNLABELLED
    header = HEADER.format(title=source["title"], files=files, labels=labels, content_hash=metadata["content_hash"])
    if metadata.get("language"):
        header = header.replace("language: [en]\n", "")
    title = " ".join(filter(None, (source["title"], str(source["version"]))))
    terms = OWN if metadata["source"] == "tables" else CREDENTIALED
    use = USE.format(**{**source, "title": title, "credentialed": terms if source["credentialed"] else ""})
    use += _permissions(metadata.get("permissions", {})) + _warnings(metadata)
    sections = {
        "Settings": _table(["setting", "value"], [[k, v] for k, v in metadata["settings"].items()]),
        "Cohort": _cohort(metadata),
        **({"Diagnoses": _diagnoses(metadata)} if labelled else {}),
        "Series": _series(metadata),
        **({"What the notes give away": _leakage(metadata)} if labelled else {}),
    }
    if "rationales" in metadata:
        sections["Rationales"] = _rationales(metadata["rationales"])
    return "".join([header, use, *(f"\n## {heading}\n\n{text}" for heading, text in sections.items())])


def _permissions(permissions: dict) -> str:
    """Report each push of the data: target, reason and date."""
    return "".join(
        f"\nWhoever pushed these data was permitted to {to} them: {why}\n" for to, why in permissions.items()
    )


def _warnings(metadata: dict) -> str:
    """List the warnings of the build; older folders do not hold them."""
    if "warnings" not in metadata:
        return ""
    lines = [f"- {line}\n" for line in metadata["warnings"]] or ["The build warned of nothing.\n"]
    return "\n## Warnings\n\n" + "".join(lines)


def _cohort(metadata: dict) -> str:
    attrition = [
        [r["step"], r["stays"], r["patients"], r["stays_lost"], r["patients_lost"], r["why"]]
        for r in metadata["attrition"]
    ]
    counts = [[split, *(counts.get(k, "-") for k in COUNTS)] for split, counts in metadata["counts"].items()]
    units = [[row["care_unit"] or "not known", row["stays"]] for row in metadata.get("care_units", [])]
    return (
        _table(["step", "ICU stays", "patients", "stays lost", "patients lost", "why"], attrition)
        + _chart("attrition", "ICU stays that are left after each step")
        + _table(["split", "ICU stays", "patients", "with a note", "notes left out", "with series"], counts)
        + "\nA patient is in one split only: a hash of the id decides. A discharge summary is left out of the note "
        "where it has no heading of the sections that the view reads.\n"
        + ("\n" + _table(["type of ICU", "ICU stays"], units) if units else "")
    )


def _diagnoses(metadata: dict) -> str:
    codes, stays = metadata["codes"], metadata["attrition"][-1]["stays"]
    labels = [
        [r["name"], r["stays"], f"{100 * r['stays'] / stays:.1f}", *_by_split(r.get("stays_by_split", {}))]
        for r in metadata["labels"]
    ]
    return (
        f"{codes['total']} diagnosis codes; {codes['unmapped']} of them ({100 * (codes['unmapped_share'] or 0):.2f}%) "
        f"have no route to a category; {codes['unknown']} are in no table of codes, {codes['by_family']} of which "
        f"were read by their family. `{LABEL_AUDIT}` lists every code with its route and its labels.\n\n"
        + _table(["diagnosis", "ICU stays", "% of stays", *SPLITS], labels)
        + _chart("prevalence", "share of ICU stays with each diagnosis")
    )


def _by_split(stays: dict[str, int]) -> list:
    return [stays.get(split, "-") for split in SPLITS]  # older folders do not hold them


def _series(metadata: dict) -> str:
    stays = metadata["attrition"][-1]["stays"]
    rows = []
    for row in metadata["values"]:
        without = f"{100 * (1 - row['stays_with_a_value'] / stays):.1f}"
        rows.append([row["channel"], *(row.get(name, "-") for name in VALUE_COUNTS), without])
    late = [row for row in metadata["values"] if row["stored_time_known"]]
    known = ", ".join(f"{row['channel']} {row['median_hours_until_stored']:.2f} h" for row in late)
    return (
        "Charted values, why some were left out, and what was kept; `clinragen_dataset.json` has units and limits.\n\n"
        + _table(["channel", *(name.replace("_", " ") for name in VALUE_COUNTS), "% of stays without a value"], rows)
        + _chart("missingness", "share of ICU stays without a value of each channel")
        + _ranges(metadata["channels"], metadata["settings"].get("reference_ranges", "paper"))
        + "`lab_available_times` gives the hour from which each value was known: when the source stored it, else when "
        + f"it was measured. Median delay until stored, if the source states it: {known or 'never stated'}.\n"
        + _measurement_tables(metadata.get("measurements", []))
    )


def _ranges(channels: list[dict], name: str) -> str:
    """List the ranges that captions and rationales call normal; unnamed ones, of older settings, are the paper's."""
    sides = (("clearly_low", "below"), ("clearly_high", "above"))
    rows = [
        [
            channel["name"],
            range_text(channel) or "none",
            ", ".join(f"{word} {channel[side]:g}" for side, word in sides if channel.get(side) is not None) or "-",
        ]
        for channel in channels
    ]
    return f"\nReference ranges: {name}.\n\n" + _table(["normal", "usual", "clearly low or high"], rows) + "\n"


def _measurement_tables(tables: list[dict]) -> str:
    rows = [[row[name] for name in ("table", "rows", "of_no_stay", "of_no_patient", "in_stays")] for row in tables]
    header = [
        "measurements",
        "with a code that is read",
        "of a stay not listed",
        "of no listed patient",
        "in the stays",
    ]
    return "\n" + _table(header, rows) if rows else ""


def _leakage(metadata: dict) -> str:
    percent = lambda share: "-" if share is None else f"{100 * share:.1f}"  # noqa: E731
    views = metadata["leakage"]
    rows = [[v, r["gold_labels"], percent(r["gold_named"]), percent(r["other_named"])] for v, r in views.items()]
    by_label = [
        [label["name"], *(percent(report["labels"][label["name"]]) for report in views.values())]
        for label in metadata["labels"]
    ]
    return (
        "Of the stays with a note: share of their diagnoses whose name or synonyms stand in it, for each note view; "
        "and of those that they do not have. This dataset's notes are of the view "
        f"`{metadata['settings']['note_view']}`.\n\n"
        + _table(["view", "diagnoses", "% named", "% of the others named"], rows)
        + _chart("leakage", "share of diagnoses named in the note, by view")
        + _table(["diagnosis", *(f"% named, {view}" for view in views)], by_label)
    )


def _rationales(rationales: dict) -> str:
    """Report the settings of the teacher, and what the gate found."""
    counted = ("outcomes", "reasons", "claims", "replies", "without_evidence")
    settings = [[k.replace("_", " "), v] for k, v in rationales.items() if k not in counted]
    kinds = sorted({claim.rpartition(" ")[0] for claim in rationales["claims"]} - {"argument"})
    links = [[link, rationales["claims"].get(f"argument {link}", 0)] for link in LINKS]
    claims = [[kind, *(rationales["claims"].get(f"{kind} {verdict}", 0) for verdict in VERDICTS)] for kind in kinds]
    text = _table(["setting", "value"], settings)
    text += "\nThe quality gate checks every rationale against the record, without a language model.\n\n"
    text += _table(["rationale", "records"], [[k, v] for k, v in rationales["outcomes"].items()])
    for part, share in rationales.get("without_evidence", {}).items():
        text += (
            f"\nOf the records with a diagnosis, {100 * share:.1f}% of the {part} rationales argue for none of them.\n"
        )
    if rationales["reasons"]:
        text += "\nWhy the last try of a record was not accepted:\n\n"
        text += _table(["reason", "records"], [[k, v] for k, v in rationales["reasons"].items()])
    if claims:
        text += "\nClaims of the rationales that were given:\n\n" + _table(["claim about", *VERDICTS], claims)
    if any(count for _, count in links):
        text += "\nFindings that they argue from, by what the knowledge says of the diagnosis argued for:\n\n"
        text += _table(["finding", "arguments"], links)
    if "replies" in rationales:
        text += "\nRequests to the model, by how they ended:\n\n"
        text += _table(["reply", "requests"], [[k, v] for k, v in rationales["replies"].items()])
    return text


VERDICTS = ("supported", "contradicted", "absent", "unverifiable")
LINKS = ("linked", "unlinked", "unknown")  # of a finding with the diagnosis that it is used to argue for
COUNTS = ("stays", "patients", "with_note", "notes_left_out", "with_series")
VALUE_COUNTS = (
    "charted", "no_time", "no_number", "marked_as_error", "not_arterial", "outside_of_stay", "after_window",
    "implausible", "simultaneous", "unit_converted", "censored", "kept",
)  # fmt: skip


def write_label_audit(folder: Path, codes: list[dict]) -> None:
    """Write `label_audit.csv`: one row per diagnosis code, ICD version and label, with route and frequency."""
    with open(folder / LABEL_AUDIT, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["code", "version", "route", "mapped", "label", "rows", "stays"])
        writer.writeheader()
        writer.writerows({**row, "mapped": str(row["mapped"]).lower()} for row in codes)


def _chart(name: str, description: str) -> str:
    return f"\n![{description}](figures/{name}.png)\n\n"


def _table(header: list, rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"
