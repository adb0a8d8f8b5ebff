# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Name what a build would lose in silence: tables, codes and ids that match nothing, values that are no number or in
another unit, stays without sex or notes. One line each, with counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from datasets_scripts.sources.cohort import Cohort
from datasets_scripts.sources.items import Units
from datasets_scripts.sources.measurements import DROPPED, far_from_normal
from datasets_scripts.sources.queries import named_query
from datasets_scripts.sources.raw_tables import identifier, quoted
from modeling_clinragen.clinical_clinragen import typical_range


MOST = 0.5
NEARLY_ALL = 0.99  # of the patients of a laboratory many were never in an ICU
NAMED = 5  # examples in a line
FEW = 5  # fewer values may well all be far from normal
REASONS = {
    "no_number": "no number (is there a decimal {sign}?)",
    "implausible": "outside of {minimum:g} to {maximum:g} {unit}",
    "marked_as_error": "marked as errors",
    "not_arterial": "not of arterial blood",
    "outside_of_stay": "outside of the stay",
}


def describe_odd_stays(attrition: list[dict]) -> Iterator[str]:
    """Yield one line for the stays of no known age, and one for those that end before they begin."""
    for row in attrition:
        if row["stays_lost"] and ("before it begins" in row["why"] or row["why"] == "age unknown"):
            stays = "1 ICU stay" if row["stays_lost"] == 1 else f"{row['stays_lost']} ICU stays"
            yield f"{stays} left out: {row['why']}"


def describe_unknown_codes(codes: dict) -> Iterator[str]:
    """Yield one line if some diagnosis codes are in no table of codes; `codes` are the `code_counts` of a cohort."""
    if codes["unknown"]:
        yield (
            f"{codes['unknown']} of {codes['total']} diagnosis codes are in no table of codes (such as "
            f"{', '.join(codes['unknown_codes'][:3])}), {codes['by_family']} of them read by their family"
        )


def describe_losses(cohort: Cohort) -> list[str]:
    """Return one line for each kind of loss that a cohort has; none for clean tables."""
    return [
        *_of_stays(cohort),
        *_of_zones(cohort),
        *_of_sections(cohort),
        *_of_source(cohort),
        *_of_events(cohort),
        *_of_measurements(cohort),
        *_of_codes(cohort),
        *_of_channels(cohort),
        *_of_labels(cohort),
        *_of_notes(cohort),
    ]


def _of_stays(cohort: Cohort) -> Iterator[str]:
    (row,) = cohort.rows(
        "SELECT count(*) AS stays, count(sex) AS sex, count(ethnicity) AS ethnicity, "
        "count(*) FILTER (sex IS NULL AND sex_said IS NOT NULL) AS misread, count(*) FILTER (unended) AS unended, "
        "min(sex_said) FILTER (sex IS NULL) AS word FROM stays"
    )
    if row["unended"]:
        yield f"{row['unended']} of {row['stays']} ICU stays have no end; each lasts until its last measurement"
    if row["misread"]:
        yield (
            f"sex is not understood of {row['misread']} of {row['stays']} ICU stays (such as {row['word']!r}); "
            "give the words for M and F under sex"
        )
    for name in cohort.source.get("demographics", ("sex", "ethnicity")):
        if not row[name] and not (name == "sex" and row["misread"]):
            yield f"{name} is known of none of the {row['stays']} ICU stays"


def _of_zones(cohort: Cohort) -> Iterator[str]:
    """Count the times that a table of one time zone writes twice, when its clocks go back."""
    for table, spec in cohort.source["tables"].items():
        zone = spec["dialect"].time_zone if "dialect" in spec else ""
        repeated = [f"is_repeated(moment({identifier(column)}), {quoted(zone)})" for column in spec.get("times", ())]
        if zone and repeated:
            counted = ", ".join(f"count(*) FILTER ({condition})" for condition in repeated)
            number = sum(cohort.connection.execute(f"SELECT {counted} FROM {table}").fetchone())
            if number:
                yield (
                    f"{spec['file']}: times in an hour that the clocks of {zone} repeat: {number}; those without an "
                    "offset are read as of the later one"
                )


def _of_sections(cohort: Cohort) -> Iterator[str]:
    """Name the tables of diagnoses and notes that give no row, and those of diagnoses of which no code is known."""
    sections = cohort.source.get("sections", ())
    tables_of_codes = [section for section in sections if section["kind"] == "diagnoses"]
    for section in sections:
        name, execute = f"{section['kind']} {section['file']}", cohort.connection.execute
        if section["kind"] == "measurements":
            continue
        if not execute(f"SELECT 1 FROM ({section['query']}) LIMIT 1").fetchone():
            yield _empty(cohort, section, "is of an ICU stay that is read; do their ids match?")
            continue
        if of_no_stay := execute(section["of_no_stay"]).fetchone()[0]:
            yield f"{name}: {of_no_stay} rows name no listed ICU stay or admission of one, and are left out"
        if section in tables_of_codes[len(tables_of_codes) == 1 :]:  # of a single one the unknown codes are said
            total, known = execute(
                f"SELECT count(*), count(*) FILTER (l.route NOT LIKE 'unknown%') FROM ({section['query']}) c "
                "JOIN (SELECT DISTINCT code, version, route FROM label_audit) l "
                "ON c.code IS NOT DISTINCT FROM l.code AND c.version IS NOT DISTINCT FROM l.version"
            ).fetchone()
            if not known:
                yield f"{name}: none of its {total} codes is known; is the version right?"


def _of_source(cohort: Cohort) -> Iterator[str]:
    """Give the lines of the source's own queries about what it leaves out."""
    for name in ("losses_of_diagnoses", "losses"):
        for i, query in enumerate(cohort.source.get(name, ()), 1):
            with named_query(cohort.source, f"{i} of {name}"):
                lines = cohort.connection.execute(query).fetchall()
            yield from (line for (line,) in lines if line is not None)


def _of_events(cohort: Cohort) -> Iterator[str]:
    """Count the diagnoses and notes of a MEDS folder that belong to no stay."""
    for row in cohort.rows(cohort.source["unplaced"]) if "unplaced" in cohort.source else ():
        if row["of_no_stay"]:
            yield f"{row['of_no_stay']} events of {row['role']} name an ICU stay that is not listed, and are left out"
        if row["of_no_time"]:
            yield (
                f"{row['of_no_time']} events of {row['role']} name neither stay nor admission and fall into no ICU "
                "stay; they are left out"
            )


def _empty(cohort: Cohort, section: dict, fault: str) -> str:
    rows = cohort.connection.execute(f"SELECT count(*) FROM {section['table']}").fetchone()[0]
    name = f"{section['kind']} {section['file']}"
    return f"{name}: none of its {rows} rows {fault}" if rows else f"{name}: the table has no rows"


def _of_measurements(cohort: Cohort) -> Iterator[str]:
    tables = {row["part"]: row for row in cohort.measurement_tables}
    sections = [section for section in cohort.source.get("sections", ()) if section["kind"] == "measurements"]
    for part, query in enumerate(cohort.source["events"]):
        if part not in tables and sections:
            yield _empty(cohort, sections[part], "has a code that is listed under channels")
        elif part not in tables:
            named = re.search(r"'(\w+)' AS \"table\"", query)
            yield f"measurements {named[1] if named else 'events'}: no row has a code that is read"
    for row in tables.values():
        name, rows = f"measurements {row['table']}", row["rows"]
        if row["of_no_stay"]:
            yield f"{name}: {row['of_no_stay']} of {rows} name an ICU stay that is not listed, and are left out"
        if row["of_other_patient"]:
            yield f"{name}: {row['of_other_patient']} of {rows} name an ICU stay of another patient, and are left out"
        if row["of_nobody"]:
            yield f"{name}: {row['of_nobody']} of {rows} name neither ICU stay nor patient, and are left out"
        elif row["of_no_patient"] > NEARLY_ALL * rows:
            yield f"{name}: {row['of_no_patient']} of {rows} are of no listed patient, and are left out"
        if not row["in_stays"] and row["of_no_stay"] + row["of_no_patient"] + row["of_other_patient"] < rows:
            yield f"{name}: none of the {rows} lies within an ICU stay that is read"


def _of_codes(cohort: Cohort) -> Iterator[str]:
    """Name the codes of a user's mapping that no row has."""
    missing = [f"{code} ({channel})" for channel, code in _missing_codes(cohort)]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        yield f"{len(missing)} mapped codes are in no row: {', '.join(missing[:NAMED])}{more}"


def _missing_codes(cohort: Cohort) -> list[tuple[str, str]]:
    found = cohort.connection.execute(
        "SELECT DISTINCT name, code FROM item_counts JOIN items USING (priority) JOIN channels USING (channel)"
    ).fetchall()
    return [tuple(pair) for pair in cohort.source.get("codes", ()) if tuple(pair) not in set(found)]


def _of_channels(cohort: Cohort) -> Iterator[str]:
    read = {row["name"] for row in cohort.rows("SELECT DISTINCT name FROM items JOIN channels USING (channel)")}
    said = {channel for channel, _ in _missing_codes(cohort)}
    empty = [row["channel"] for row in cohort.values if not row["charted"] and row["channel"] in read - said]
    if empty:
        yield f"no value is charted of {', '.join(empty)}"
    units = Units(cohort.channels)
    declared = any(spec["dialect"].decimal == "," for spec in cohort.source["tables"].values() if "dialect" in spec)
    for i, (channel, row) in enumerate(zip(cohort.channels, cohort.values, strict=True)):
        said = [*_of_values(channel["name"], channel, row, units, declared)]
        for item in _mapped_items(cohort, i) if not said else ():
            said += _of_values(f"{channel['name']} by {item['itemid'].strip()}", channel, item, units, declared)
        yield from said


def _mapped_items(cohort: Cohort, channel: int) -> list[dict]:
    """Return the counts of the codes that a user's mapping gives a channel."""
    if "codes" not in cohort.source:
        return []
    return cohort.rows(
        "SELECT v.*, i.itemid, m.* EXCLUDE (priority) FROM item_values v JOIN items i USING (priority) "
        f"LEFT JOIN item_medians m USING (priority) WHERE v.channel = {channel} ORDER BY priority"
    )


def _of_values(name: str, channel: dict, row: dict, units: Units, declared: bool) -> Iterator[str]:
    """
    Warn of a channel, or a code of it, that most of its values are dropped, or that they look like another unit;
    `declared`: a table has a decimal comma.
    """
    reasons = {reason: row[reason] for reason in DROPPED if reason != "after_window"}
    charted, dropped = row["charted"] - row["after_window"], sum(reasons.values())
    median, typical, wide = row["unusual_median"], typical_range(channel), far_from_normal(channel)
    is_dropped, is_far = dropped > MOST * charted, median is not None and not wide[0] <= median <= wide[1]
    hint = unit_hint(channel, median, units, wide if is_dropped else typical) if is_far else ""
    if is_dropped:
        reason = max(reasons, key=reasons.get)
        why = REASONS.get(reason, reason.replace("_", " ")).format(**channel, sign="point" if declared else "comma")
        yield (
            f"{name}: {dropped} of {charted} charted values are dropped, {reasons[reason]} of them as {why}"
            + (f"; the median is {median:.6g}{hint}" if hint else "")
        )
    elif row["with_comma"]:
        numbers = "numbers with the other decimal sign" if declared else "numbers with a comma: write a point"
        yield f"{name}: {row['with_comma']} of {charted} charted values are dropped, {numbers}"
    elif implausible := unit_hint(channel, row["implausible_median"], units, typical):
        yield (
            f"{name}: {row['implausible']} of {charted} charted values are dropped, as "
            f"{REASONS['implausible'].format(**channel)}; their median is {row['implausible_median']:.6g}{implausible}"
        )
    elif hint or (_is_far(channel, median) and charted >= FEW):
        yield (
            f"{name}: the median of its values is {median:.6g}, far from typical "
            f"({typical[0]:g} to {typical[1]:g} {channel['unit']}){hint or ', is it in another unit?'}"
        )


def unit_hint(channel: dict, median: float | None, units: Units, limits: tuple[float, float]) -> str:
    """Name the units in which a median would lie within the limits."""
    if median is None:
        return ""
    low, high = limits
    fits = [unit for unit, known in units.alternatives(channel["name"]).items() if low <= known.of(median) <= high]
    return f", as in {' or '.join(fits)}: give the unit" if fits else ""


def _is_far(channel: dict, median: float | None) -> bool:
    low, high = typical_range(channel)
    return median is not None and low > 0 and not low / 2 <= median <= high * 2


def _of_labels(cohort: Cohort) -> Iterator[str]:
    labels, stays = cohort.connection.execute(
        "SELECT (SELECT count(*) FROM label_names), (SELECT count(*) FROM labels)"
    ).fetchone()
    if not stays and not cohort.source.get("unlabelled"):
        yield f"no ICU stay has any of the {labels} labels"


def _of_notes(cohort: Cohort) -> Iterator[str]:
    noted = cohort.connection.execute("SELECT count(DISTINCT stay) FROM notes WHERE trim(text) <> ''").fetchone()[0]
    if cohort.source.get("has_notes", "notes" in cohort.source) and noted < MOST * cohort.num_stays:
        yield f"{noted} of {cohort.num_stays} ICU stays have a note"
