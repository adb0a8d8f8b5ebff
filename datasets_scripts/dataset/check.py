# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Print how a build would read a user's tables, from their first rows: `build_dataset.py --check`."""

import argparse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from datasets_scripts.dataset.build import cohort_options, root_of
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.cohort import BY_FAMILY, UNKNOWN, Cohort
from datasets_scripts.sources.dialects import DELIMITERS, PLAIN, Dialect
from datasets_scripts.sources.first_rows import FIRST_ROWS
from datasets_scripts.sources.items import Units
from datasets_scripts.sources.labels import describe_unknown, load_labels
from datasets_scripts.sources.losses import describe_losses, describe_odd_stays, describe_unknown_codes, unit_hint
from datasets_scripts.sources.measurements import DROPPED, far_from_normal
from datasets_scripts.sources.raw_tables import files_of, find_tables, header_of
from datasets_scripts.sources.reader import enough_memory, read_source
from datasets_scripts.sources.tables import load_hospital
from datasets_scripts.sources.unlabelled import without_labels
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError, typical_range
from modeling_clinragen.feature_extraction_clinragen import distinct_range


LISTED = 20  # codes that no channel names


def check(arguments: argparse.Namespace, shares: dict[str, float]) -> None:
    """
    Read the first rows of a user's tables and print how they are understood; nothing is written.

    Args:
        arguments (`Namespace`): of `build_dataset.py`.
        shares (`dict[str, float]`): of the patients, by split.

    Raises:
        ClinRaGenInputError: for errors that would end a build, after printing what was read before.
    """
    if arguments.source != "tables":
        raise ClinRaGenInputError("--check reads a hospital's own tables; give --source tables")
    labels, channels = load_labels(arguments.labels), load_channels(arguments.channels, arguments.reference_ranges)
    root = root_of(arguments)
    source = load_hospital(arguments.mapping, root, channels, not arguments.unlabelled, FIRST_ROWS)
    if arguments.unlabelled:
        source = without_labels(source)
    files = find_tables(source, root)
    print(*_of_files(source, files), sep="\n")
    with enough_memory(arguments.memory_limit):
        cohort = read_source(
            source,
            root,
            None,
            channels,
            labels,
            cohort_options(arguments, shares),
            memory_limit=arguments.memory_limit,
            threads=arguments.threads,
        )
        with closing(cohort.connection):
            print(*_of_rows(cohort, files, labels), sep="\n")


def _of_files(source: dict, files: dict[str, Path]) -> Iterator[str]:
    """Describe each table: its files, their dialect, and the role of each column."""
    for table, spec in source["tables"].items():
        path = files[table]
        found = files_of(path)
        number = f", {len(found)} files" if len(found) > 1 else ""
        yield f"{table.split('_')[1]}: {path.name}{number}"
        yield f"  written with {_written(spec['dialect'], found[0].suffix == '.parquet')}"
        yield "  " + ", ".join(f"{field}: {column}" for field, column in spec["fields"].items())
        unused = [name for name in header_of(path, spec) if name.lower() not in spec["columns"]]
        if unused:
            yield f"  not read: {', '.join(unused)}"


def _written(dialect: Dialect, is_parquet: bool) -> str:
    """Describe a dialect in words."""
    words = []
    if not is_parquet:
        words += [DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter)), f"quote {dialect.quote}"]
        words += [f"encoding {dialect.encoding}"]
    words += [
        f"decimal {'comma' if dialect.decimal == ',' else 'point'}",
        f"dates {dialect.date_format or 'with the year first'}",
    ]
    return ", ".join(words + ([f"times of {dialect.time_zone}"] if dialect.time_zone != PLAIN.time_zone else []))


def _of_rows(cohort: Cohort, files: dict[str, Path], labels: list[dict]) -> Iterator[str]:
    """Describe the content of the rows, their losses, and what looks wrong."""
    read = {table: cohort.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in files}
    yield f"rows read, at most {FIRST_ROWS:,} a table: " + ", ".join(
        f"{path.name} {read[table]:,}" for table, path in files.items()
    )
    if max(read.values()) == FIRST_ROWS:
        yield "  of a table that was cut the later rows are unknown: what seems unmatched may have its match there"
    losses = describe_losses(cohort)
    yield "stays"
    for row in cohort.attrition:
        lost = f"; lost {row['stays_lost']}: {row['why']}" if row["stays_lost"] else ""
        yield f"  {row['stays']} {row['step']}{lost}"
    yield "channels"
    for position, channel in enumerate(cohort.channels):
        yield from _of_channel(cohort, position, channel, losses)
    yield from _of_other_codes(cohort)
    if not cohort.source.get("unlabelled"):
        yield from _of_diagnoses(cohort)
    wrong = [*_of_labels_and_stays(cohort, labels), *losses]
    yield "what looks wrong" if wrong else "nothing looks wrong"
    yield from (f"  {line}" for line in wrong)


def _of_labels_and_stays(cohort: Cohort, labels: list[dict]) -> Iterator[str]:
    """Repeat the warnings that a build gives of labels, stays and codes."""
    yield from describe_unknown(labels)
    yield from describe_odd_stays(cohort.attrition)
    if not cohort.source.get("unlabelled"):
        yield from describe_unknown_codes(cohort.code_counts)


def _of_channel(cohort: Cohort, position: int, channel: dict, losses: list[str]) -> Iterator[str]:
    """Describe the values of a channel beside its plausible range, and its codes."""
    codes = cohort.rows(
        'SELECT i.code, i.itemid, i.unit, coalesce(sum(c."rows"), 0)::BIGINT AS "rows" FROM items i '
        f"LEFT JOIN item_counts c USING (priority) WHERE i.channel = {position} "
        'GROUP BY i.code, i.itemid, i.unit, i.priority ORDER BY "rows" DESC, i.priority'
    )
    charted = {row["code"] for row in codes if row["rows"]}
    codes = [row for row in codes if row["rows"] or row["code"] not in charted]
    if not codes:
        return
    least, most = distinct_range(channel)
    (found,) = cohort.rows(
        "SELECT count(x) AS numbers, min(x) AS low, median(x) AS middle, max(x) AS high, "
        f"count(*) FILTER ((x < {least} AND x >= {channel['minimum']}) OR (x > {most} AND x <= {channel['maximum']})) "
        "AS extreme FROM (SELECT "
        'coalesce(c.charted * u.factor + u."offset", c.charted) AS x FROM charted c LEFT JOIN units u '
        f'ON c.unit = u.unit AND c.charted BETWEEN u."from" AND u."to" WHERE c.channel = {position})'
    )
    counted = next(row for row in cohort.values if row["channel"] == channel["name"])
    low, high = typical_range(channel)
    limits, middle = far_from_normal(channel), found["middle"]
    doubt = ""
    if any(line.startswith((f"{channel['name']}:", f"{channel['name']} by ")) for line in losses):
        doubt = " <- see below"
    elif middle is not None and not limits[0] <= middle <= limits[1]:
        doubt = " <- looks wrong" + unit_hint(channel, middle, Units(cohort.channels), typical_range(channel))
    values = "{low:g} to {high:g}, median {middle:g}".format(**found) if found["numbers"] else "no number"
    yield (
        f"  {channel['name']}, {channel['unit']}: {values}; plausible {channel['minimum']:g} to "
        f"{channel['maximum']:g}, typical {low:g} to {high:g}{doubt}"
    )
    named = (f"{c['itemid'].strip()} {c['rows']} ({c['unit'].split(' of ')[0] or channel['unit']})" for c in codes)
    yield f"    codes: {', '.join(named)}"
    lost = {reason.replace("_", " "): counted[reason] for reason in (*DROPPED, "simultaneous") if counted[reason]}
    changed = {"bounds": counted["censored"], "converted": counted["unit_converted"]}
    parts = [f"{counted['kept']} of {counted['charted']} values kept"]
    parts += [f"{number} {name}" for name, number in changed.items() if number]
    yield f"    {', '.join(parts)}" + (f"; lost: {_counts(lost)}" if lost else "")
    if found["extreme"]:
        yield (
            f"    {found['extreme']} of {found['numbers']} lie outside of {least:.6g} to {most:.6g}, and the model "
            "reads all on one side alike; mean and std of --channels widen this range"
        )


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items())


def _of_other_codes(cohort: Cohort) -> Iterator[str]:
    """List the codes of measurements that no channel names, the most frequent first."""
    events = " UNION ALL ".join(f"(SELECT itemid FROM ({query}))" for query in cohort.source["events"])
    rows = cohort.rows(
        f'SELECT trim(itemid) AS code, count(*) AS "rows" FROM ({events}) e ANTI JOIN items i USING (itemid) '
        "GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    yield from _listed("codes of measurements that no channel names", rows)


def _of_diagnoses(cohort: Cohort) -> Iterator[str]:
    """Count the diagnosis codes, and list those that no table of codes holds, the most frequent first."""
    counts = cohort.code_counts
    by_family = f", {counts['by_family']} read by their family" if counts["by_family"] else ""
    yield f"diagnosis codes: {counts['total'] - counts['unknown']} of {counts['total']} known{by_family}"
    codes = f'SELECT DISTINCT code, "rows" FROM label_audit WHERE ({UNKNOWN}) AND'
    for title, condition in (("unknown diagnosis codes", f"NOT {BY_FAMILY}"), ("read by their family", BY_FAMILY)):
        yield from _listed(title, cohort.rows(f'{codes} {condition} ORDER BY "rows" DESC, code'))
    labels = cohort.rows(
        "SELECT n.name, count(l.label) AS stays FROM label_names n "
        "LEFT JOIN (SELECT unnest(diagnoses) AS label FROM labels) l USING (label) GROUP BY n.label, n.name "
        "ORDER BY stays DESC, n.label"
    )
    yield f"labels of {cohort.num_stays} ICU stays"
    yield from (f"  {row['name']}: {row['stays']}" for row in labels)


def _listed(title: str, rows: list[dict]) -> Iterator[str]:
    if rows:
        more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
        yield f"{title}: " + ", ".join(f"{row['code']} {row['rows']}" for row in rows[:LISTED]) + more
