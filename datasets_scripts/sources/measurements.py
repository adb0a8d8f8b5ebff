# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurements: from what was charted to one value a channel and moment, in the channel's unit."""

from __future__ import annotations

from datasets_scripts.sources.cohort import Cohort
from datasets_scripts.sources.items import Units, read_item_table
from datasets_scripts.sources.raw_tables import quoted
from modeling_clinragen.clinical_clinragen import typical_range


# The columns that a source's queries for `events` may give; what they do not give is null. `wrong`: marked as an error
# in the source.
EVENT = """
SELECT NULL::VARCHAR AS stay_id, NULL::VARCHAR AS subject_id, NULL::TIMESTAMP AS time, NULL::VARCHAR AS "table",
       NULL::VARCHAR AS itemid, NULL::VARCHAR AS number, NULL::VARCHAR AS text, NULL::TIMESTAMP AS stored,
       NULL::VARCHAR AS specimen, NULL::BOOLEAN AS wrong WHERE false
"""
# Why a charted value is left out, in the order in which it is asked.
DROPPED = {
    "no_time": "time IS NULL",
    "no_number": "charted IS NULL",
    "marked_as_error": "wrong",
    "not_arterial": "specimen_needed <> '' AND NOT starts_with(upper(specimen), upper(specimen_needed))",
    "outside_of_stay": "time NOT BETWEEN intime AND outtime",
    "after_window": "hour > $hours",
    "implausible": "value NOT BETWEEN minimum AND maximum",
}


# A result as it is written: "39.5 °C", "500 (H)"; and one beyond what a device or a laboratory can measure: ">600",
# "< 3.0 mg/dL", "GREATER THAN 600", "600+".
GAP = r"[\s\x{A0}\x{202F}]*"
BEFORE = (
    rf"=?{GAP}(?:[<>≤≥⩽⩾＜＞]|&[lg][te];|[lg][te]\b|(?:greater|more|higher|less|lower|fewer|smaller) than"
    rf"(?: or equal(?: to)?)?|above|below|over|under|at least|at most|up to|exceed(?:s|ing)){GAP}=?{GAP}"
)
SIZE = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?"
AFTER = r"\+|(?:or|and) (?:more|above|over|higher|greater|less|below|under|lower)"
LETTER = r"a-z%°º˚℃℉µμ{}\[\]"
UNIT = (
    rf"(?:(?:mm|deg|degrees?|°|(?:[a-z]+ )?per)[\s\x{{A0}}\x{{202F}}])?(?:[a-wyz%°º˚℃℉µμ{{\[]|/{GAP}[a-z{{])"
    rf"(?:[{LETTER}.]|{GAP}/{GAP}[0-9]*[{LETTER}]|\^[0-9])*[23²³]?"
)
MARK = r"[(\[]?(?:[hla*!#↑↓]{1,2}|high|low|critical|abnormal)[)\]]?"
RESULT = rf"(?i)^{GAP}({BEFORE})?({SIZE}){GAP}({AFTER})?{GAP}({UNIT})?{GAP}(?:{MARK})?{GAP}$"
# Words that are units though no channel has them; "mg" stands for "mg/dL" where that is the unit.
OTHER_UNIT = (
    r"[/%°^]|^(?:[mnpuµμ]?mol|[mnpuµμk]?g|mcg|m?eq|[mk]?iu|u|[mdcµμuf]l|cm|inch|inches|kelvin|k|mbar|hpa|mosm)$"
)
MACROS = (
    f"CREATE OR REPLACE MACRO reading(x) AS regexp_extract(x, '{RESULT}', ['before', 'size', 'after', 'unit'])",
    "CREATE OR REPLACE MACRO bound(x) AS CASE WHEN TRY_CAST(x AS DOUBLE) IS NULL "
    "AND reading(x).before || reading(x).after <> '' THEN TRY_CAST(reading(x).size AS DOUBLE) END",
    "CREATE OR REPLACE MACRO is_other_unit(word, own, known) AS word NOT IN ('', '°', 'deg', 'degree', 'degrees') "
    "AND NOT contains(own, ' ' || word || ' ') AND NOT contains(own, ' ' || word || '/') "
    f"AND (contains(known, ' ' || word || ' ') OR regexp_matches(word, '{OTHER_UNIT}'))",
    r"CREATE OR REPLACE MACRO unit_word(x) AS "
    r"translate(lower(regexp_replace(x, '[\s\x{A0}\x{202F}.]', '', 'g')), 'µμº˚×', 'uu°°x')",
    "CREATE OR REPLACE MACRO finite(x) AS CASE WHEN isfinite(TRY_CAST(x AS DOUBLE)) THEN TRY_CAST(x AS DOUBLE) END",
    "CREATE OR REPLACE MACRO said(x) AS "
    "CASE WHEN lower(trim(x)) NOT IN ('', '-', 'na', 'n/a', 'nan', 'none', 'null') THEN x END",
)
# Nearly all texts are the plain number that stands beside them.
RESULT_OF_TEXT = (
    "CASE WHEN (number IS NULL OR text <> number) AND TRY_CAST(text AS DOUBLE) IS NULL THEN reading(text) END"
)
WITH_COMMA = r"^\s*[-+<>=≤≥]*\s*[0-9]+,[0-9]+(?:\s*[^\s0-9,]\S*)?\s*$"
NUMBERS = "coalesce(dropped, 'implausible') = 'implausible'"


def load_items(cohort: Cohort) -> None:
    """
    Create the tables `items`, `units` and `channels`: which codes are which channel, and in which unit; and the macros
    that read results.
    """
    for macro in MACROS:
        cohort.connection.execute(macro)
    spellings = Units(cohort.channels)
    position = {channel["name"]: i for i, channel in enumerate(cohort.channels)}
    items = cohort.source["items"]
    if items == "channels":  # the codes are the channels' names, the values in their units
        rows = [{"table": "channels", "itemid": name, "channel": name} for name in position]
    elif isinstance(items, list):
        rows = items
    else:
        rows = read_item_table(items, spellings)
    rows = [row for row in rows if row["channel"] in position]
    cohort.create_table(
        'items ("table" VARCHAR, itemid VARCHAR, channel INTEGER, unit VARCHAR, specimen_needed VARCHAR, '
        "priority INTEGER, code VARCHAR, own_units VARCHAR)",
        [
            (
                r["table"],
                r["itemid"],
                position[r["channel"]],
                r.get("unit", ""),
                r.get("specimen", ""),
                i,
                r.get("code", r["itemid"]),
                spellings.words(r["channel"], r.get("unit", "")),
            )
            for i, r in enumerate(rows)
        ],
    )
    units = spellings.readings | spellings.ranges | cohort.source.get("units", {})
    cohort.create_table(
        'units (unit VARCHAR, "from" DOUBLE, "to" DOUBLE, factor DOUBLE, "offset" DOUBLE)',
        [(u, r["from"], r["to"], r["factor"], r.get("offset", 0)) for u, ranges in units.items() for r in ranges],
    )
    cohort.create_table(
        "channels (channel INTEGER, name VARCHAR, minimum DOUBLE, maximum DOUBLE, far_below DOUBLE, far_above DOUBLE)",
        [
            (i, channel["name"], channel["minimum"], channel["maximum"], *far_from_normal(channel))
            for i, channel in enumerate(cohort.channels)
        ],
    )


def far_from_normal(channel: dict) -> tuple[float, float]:
    """
    Return limits outside of which no half of a channel's values lies, if they are in its unit: of ICU patients, whose
    values lie far wider than the usual limits.
    """
    low, high = typical_range(channel)
    if low <= 0:  # "next to none": sick patients have many times that
        return channel["minimum"], channel["maximum"]
    return 0.75 * low, high / 0.75


def measure(cohort: Cohort, hours: float) -> None:
    """
    Create the table `kept`: one row a value - stay, time, hour, channel, value, and the hour from which it is known;
    and `unread`: the results within a stay that are no number, or in another unit, or a bound that is
    implausible; their text cannot be taken for a number in the channel's unit. Of a source with `first_rows` the table
    `charted` stays, too: the rows with a code that is read, of whatever stay.

    Of several values of a channel at one moment the preferred item counts, then the one stored last, then the smaller.
    What names its patient alone and was measured in several stays, as at a transfer, is that of the `later` one.
    """
    run = cohort.connection.execute
    _chart(cohort)
    _judge(cohort, hours)
    if "first_rows" not in cohort.source:
        run("DROP TABLE charted")
    run(
        "CREATE TABLE unread AS SELECT stay, time, hour, channel, stored, "
        "CASE WHEN reading(said).size <> '' THEN 'unread: ' || said ELSE said END AS text FROM judged "
        "WHERE said IS NOT NULL ORDER BY stay, hour, channel"
    )
    run(
        """
        CREATE TABLE kept AS
        SELECT stay, time, hour, channel, value, available, stored
        FROM judged WHERE dropped IS NULL
        QUALIFY row_number() OVER (
          PARTITION BY stay, hour, channel ORDER BY priority, stored DESC NULLS LAST, value
        ) = 1
        ORDER BY stay, hour, channel
        """
    )
    _count_values(cohort)
    run("DROP TABLE judged")


def charted_events(source: dict) -> str:
    """Write the SQL for all that was charted: the columns of `EVENT`, and the `part`, the position of its query."""
    parts = [f"(SELECT *, {i} AS part FROM ({query}))" for i, query in enumerate(source["events"])]
    return " UNION ALL BY NAME ".join([f"({EVENT})", *parts])


def _chart(cohort: Cohort) -> None:
    """
    Create the table `charted`: the rows with a code that is read, and the number that each holds; and `item_counts`,
    how many of these name a stay or a patient that the source does not list, neither, or a stay of another patient.
    """
    run, known = cohort.connection.execute, Units(cohort.channels).all_words
    run(
        f"""
        CREATE TEMP TABLE charted AS
        SELECT e.* EXCLUDE ("table", itemid, number, text, r), i.channel, i.priority, i.unit, i.specimen_needed,
               CASE WHEN r.unit <> '' AND is_other_unit(unit_word(r.unit), i.own_units, {quoted(known)}) THEN NULL
                    ELSE coalesce(nullif(measurement(e.number), 'nan'), finite(e.text), TRY_CAST(r.size AS DOUBLE))
               END AS charted,
               r.before || r.after <> '' AS censored,
               CASE WHEN charted IS NULL OR censored THEN said(e.text) END AS said
        FROM (SELECT *, {RESULT_OF_TEXT} AS r FROM ({charted_events(cohort.source)})) e
        JOIN items i ON e."table" = i."table" AND e.itemid = i.itemid
        """
    )
    run(
        """
        CREATE TABLE item_counts AS
        SELECT part, priority, count(*) AS "rows",
               count(*) FILTER (c.stay_id IS NOT NULL AND s.stay_id IS NULL) AS of_no_stay,
               count(*) FILTER (c.stay_id IS NULL AND p.subject_id IS NULL) AS of_no_patient,
               count(*) FILTER (c.stay_id IS NULL AND c.subject_id IS NULL) AS of_nobody,
               count(*) FILTER (c.subject_id <> s.subject_id) AS of_other_patient
        FROM charted c
        LEFT JOIN listed s ON c.stay_id = s.stay_id
        LEFT JOIN (SELECT DISTINCT subject_id FROM listed) p ON c.stay_id IS NULL AND c.subject_id = p.subject_id
        GROUP BY part, priority
        """
    )


def _judge(cohort: Cohort, hours: float) -> None:
    """Create the table `judged`: the charted rows of each stay, in the channel's unit, and why they are left out."""
    window = {reason: condition.replace("$hours", str(float(hours))) for reason, condition in DROPPED.items()}
    reasons = " ".join(f"WHEN {condition} THEN '{reason}'" for reason, condition in window.items())
    unreadable = ("no_number", "implausible")  # a bound may be: it is no value, and yet a result
    others = " OR ".join(condition for reason, condition in window.items() if reason not in unreadable)
    cohort.connection.execute(
        f"""
        CREATE TABLE judged AS
        WITH own AS (
          SELECT s.*, (
            SELECT list((l.intime, l.outtime)) FROM listed l
            WHERE l.subject_id = s.subject_id AND l.outtime > l.intime AND l.intime <= s.outtime
              AND (l.intime, l.stay_id) > (s.intime, s.stay_id)
          ) AS later
          FROM stays s
        ), placed AS (
          SELECT s.stay, s.intime, s.outtime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN stays s ON c.stay_id = s.stay_id WHERE coalesce(c.subject_id = s.subject_id, true)
          UNION ALL
          SELECT s.stay, s.intime, s.outtime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN own s
            ON c.subject_id = s.subject_id AND c.time >= s.intime AND c.time <= s.outtime
          WHERE c.stay_id IS NULL AND (
            s.later IS NULL OR len(list_filter(s.later, lambda l: c.time BETWEEN l[1] AND l[2])) = 0
          )
          UNION ALL
          SELECT NULL, NULL, NULL, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c WHERE c.stay_id IS NULL AND c.time IS NULL AND c.subject_id IN (SELECT subject_id FROM stays)
        ), converted AS (
          SELECT p.*, CAST(hours_between(p.intime, p.time) AS FLOAT) AS hour,
                 coalesce(p.charted * u.factor + u."offset", p.charted) AS value, k.minimum, k.maximum,
                 k.far_below, k.far_above
          FROM placed p JOIN channels k USING (channel)
          LEFT JOIN units u ON p.unit = u.unit AND p.charted >= u."from" AND p.charted <= u."to"
        )
        SELECT stay, time, hour, channel, priority, stored, CAST(value AS FLOAT) AS value,
               greatest(hour, CAST(hours_between(intime, stored) AS FLOAT)) AS available,
               CASE {reasons} END AS dropped, value <> charted AS converted, part,
               CASE WHEN value < far_below THEN -1 WHEN value > far_above THEN 1 END AS far, censored,
               CASE WHEN said IS NULL OR {others} OR value BETWEEN minimum AND maximum THEN NULL ELSE said END AS said
        FROM converted
        """
    )


def _count_values(cohort: Cohort) -> None:
    """
    Create the tables `part_counts`, of each table of measurements, `item_values`, of each item, and `value_counts`, of
    each channel.
    """
    run = cohort.connection.execute
    run(
        """
        CREATE TABLE part_counts AS
        SELECT part, min("table") AS "table", sum("rows")::BIGINT AS "rows", sum(of_no_stay)::BIGINT AS of_no_stay,
               sum(of_no_patient)::BIGINT AS of_no_patient, sum(of_nobody)::BIGINT AS of_nobody,
               sum(of_other_patient)::BIGINT AS of_other_patient, coalesce(any_value(in_stays), 0) AS in_stays
        FROM item_counts JOIN items USING (priority)
        LEFT JOIN (SELECT part, count(stay) AS in_stays FROM judged GROUP BY part) USING (part) GROUP BY part
        """
    )
    counted = {reason: f"count(*) FILTER (dropped = '{reason}')" for reason in DROPPED}
    counted |= {"charted": "count(*)", "fit": "count(*) FILTER (dropped IS NULL)"}
    counted["unit_converted"] = "count(*) FILTER (dropped IS NULL AND converted)"
    counted["censored"] = "count(*) FILTER (dropped IS NULL AND censored)"
    counted["with_comma"] = f"count(*) FILTER (regexp_matches(said, '{WITH_COMMA}'))"
    counted |= {f"far_{i}": f"count(*) FILTER (far = {side} AND {NUMBERS})" for i, side in enumerate((-1, 1))}
    selected = ", ".join(f"{count} AS {name}" for name, count in counted.items())
    run(f"CREATE TABLE item_values AS SELECT channel, priority, {selected} FROM judged GROUP BY ALL")
    run(f"CREATE TABLE item_medians AS {_unusual_medians('priority')}")
    left_over = {
        "kept": "count(*)",
        "stays_with_a_value": "count(DISTINCT stay)",
        "stored_time_known": "count(stored)",
    }
    summed = ", ".join(f"sum({name})::BIGINT AS {name}" for name in counted)
    of_kept = ", ".join(f"{count} AS {name}" for name, count in left_over.items())
    hidden = ("fit", "far_0", "far_1")
    columns = ", ".join(f"coalesce({name}, 0) AS {name}" for name in (*counted, *left_over) if name not in hidden)
    run(
        f"""
        CREATE TABLE value_counts AS
        SELECT channel AS position, name AS channel, {columns}, coalesce(fit - kept, 0) AS simultaneous,
               median_hours_until_stored, unusual_median, implausible_median
        FROM channels
        LEFT JOIN (SELECT channel, {summed} FROM item_values GROUP BY channel) USING (channel)
        LEFT JOIN (SELECT channel, {of_kept},
                          median(available - hour) FILTER (stored IS NOT NULL) AS median_hours_until_stored
                   FROM kept GROUP BY channel) USING (channel)
        LEFT JOIN ({_unusual_medians("channel")}) USING (channel)
        """
    )


def _unusual_medians(per: str) -> str:
    """
    Write the SQL for the median of those channels or items (`priority`) of which more than half of the numbers lie far
    from normal or a tenth is implausible, and of the implausible ones. Of the others none is asked for: it costs the
    memory of all values.
    """
    return f"""
    SELECT {per}, median(value) AS unusual_median,
           median(value) FILTER (dropped = 'implausible') AS implausible_median
    FROM judged SEMI JOIN (
      SELECT {per} FROM item_values GROUP BY {per}
      HAVING 2 * greatest(sum(far_0), sum(far_1)) > sum(fit + implausible)
             OR 10 * sum(implausible) >= greatest(sum(fit + implausible), 1)
    ) USING ({per}) WHERE {NUMBERS} GROUP BY {per}
    """
