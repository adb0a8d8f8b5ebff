# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurements: from what was charted to one value a channel and moment, in the channel's unit."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

from datasets_scripts.sources.cohort import Cohort


HERE = Path(__file__).parent
# The columns that a source's queries for `events` may give; what they do not give is null. `wrong`: marked as an error
# in the source.
EVENT = """
SELECT NULL::VARCHAR AS stay_id, NULL::VARCHAR AS subject_id, NULL::TIMESTAMP AS time, NULL::VARCHAR AS "table",
       NULL::VARCHAR AS itemid, NULL::VARCHAR AS number, NULL::VARCHAR AS text, NULL::TIMESTAMP AS stored,
       NULL::VARCHAR AS specimen, NULL::BOOLEAN AS wrong WHERE false
"""
# Why a charted value is left out, in the order in which it is asked.
DROPPED = {
    "no_number": "charted IS NULL",
    "marked_as_error": "wrong",
    "not_arterial": "specimen_needed <> '' AND NOT starts_with(upper(specimen), upper(specimen_needed))",
    "outside_of_stay": "time NOT BETWEEN intime AND outtime",
    "after_window": "hour > $hours",
    "implausible": "value NOT BETWEEN minimum AND maximum",
}


def load_items(cohort: Cohort) -> None:
    """Create the tables `items`, `units` and `channels`: which codes are which channel, and in which unit."""
    position = {channel["name"]: i for i, channel in enumerate(cohort.channels)}
    items = cohort.source["items"]
    if items == "channels":  # the codes are the channels' names, the values in their units
        rows = [{"table": "channels", "itemid": name, "channel": name} for name in position]
    elif isinstance(items, list):
        rows = items
    else:
        with open(HERE / items, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["channel"] in position]
    cohort.create_table(
        'items ("table" VARCHAR, itemid VARCHAR, channel INTEGER, unit VARCHAR, specimen_needed VARCHAR, '
        "priority INTEGER)",
        [
            (r["table"], r["itemid"], position[r["channel"]], r.get("unit", ""), r.get("specimen", ""), i)
            for i, r in enumerate(rows)
        ],
    )
    units = yaml.safe_load((HERE / "units.yaml").read_text(encoding="utf-8"))["readings"]
    units |= cohort.source.get("units", {})
    cohort.create_table(
        'units (unit VARCHAR, "from" DOUBLE, "to" DOUBLE, factor DOUBLE, "offset" DOUBLE)',
        [(u, r["from"], r["to"], r["factor"], r.get("offset", 0)) for u, ranges in units.items() for r in ranges],
    )
    cohort.create_table(
        "channels (channel INTEGER, name VARCHAR, minimum DOUBLE, maximum DOUBLE)",
        [(i, channel["name"], channel["minimum"], channel["maximum"]) for i, channel in enumerate(cohort.channels)],
    )


def measure(cohort: Cohort, hours: float) -> None:
    """
    Create the table `kept`: one row a value - stay, time, hour, channel, value, and the hour from which it is known.

    Of several values of a channel at one moment the preferred item counts, then the one stored last, then the smaller.
    """
    run = cohort.connection.execute
    events = " UNION ALL BY NAME ".join(f"({query})" for query in (EVENT, *cohort.source["events"]))
    reasons = " ".join(f"WHEN {condition} THEN '{reason}'" for reason, condition in DROPPED.items())
    run(
        f"""
        CREATE TABLE judged AS
        WITH charted AS (
          SELECT e.* EXCLUDE ("table", itemid, number, text), i.channel, i.priority, i.unit, i.specimen_needed,
                 coalesce(measurement(e.number), leading_number(e.text)) AS charted
          FROM ({events}) e JOIN items i ON e."table" = i."table" AND e.itemid = i.itemid
        ), placed AS (
          SELECT s.stay, s.intime, s.outtime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN stays s ON c.stay_id = s.stay_id
          UNION ALL
          SELECT s.stay, s.intime, s.outtime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN stays s
            ON c.subject_id = s.subject_id AND c.time >= s.intime AND c.time <= s.outtime
          WHERE c.stay_id IS NULL
        ), converted AS (
          SELECT p.*, CAST(hours_between(p.intime, p.time) AS FLOAT) AS hour,
                 coalesce(p.charted * u.factor + u."offset", p.charted) AS value, k.minimum, k.maximum
          FROM placed p JOIN channels k USING (channel)
          LEFT JOIN units u ON p.unit = u.unit AND p.charted >= u."from" AND p.charted <= u."to"
        )
        SELECT stay, time, hour, channel, priority, stored, CAST(value AS FLOAT) AS value,
               greatest(hour, CAST(hours_between(intime, stored) AS FLOAT)) AS available,
               CASE {reasons.replace("$hours", str(float(hours)))} END AS dropped, value <> charted AS converted
        FROM converted
        """
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
    counted = {reason: f"count(*) FILTER (dropped = '{reason}')" for reason in DROPPED}
    counted |= {"charted": "count(*)", "fit": "count(*) FILTER (dropped IS NULL)"}
    counted["unit_converted"] = "count(*) FILTER (dropped IS NULL AND converted)"
    left_over = {
        "kept": "count(*)",
        "stays_with_a_value": "count(DISTINCT stay)",
        "stored_time_known": "count(stored)",
    }
    query = {
        source: f"SELECT channel, {', '.join(f'{count} AS {name}' for name, count in counts.items())}"
        for source, counts in (("judged", counted), ("kept", left_over))
    }
    columns = ", ".join(f"coalesce({name}, 0) AS {name}" for name in (*counted, *left_over) if name != "fit")
    run(
        f"""
        CREATE TABLE value_counts AS
        SELECT channel AS position, name AS channel, {columns}, coalesce(fit - kept, 0) AS simultaneous,
               median_hours_until_stored
        FROM channels
        LEFT JOIN ({query["judged"]} FROM judged GROUP BY channel) USING (channel)
        LEFT JOIN ({query["kept"]}, median(available - hour) FILTER (stored IS NOT NULL) AS median_hours_until_stored
                   FROM kept GROUP BY channel) USING (channel)
        """
    )
    run("DROP TABLE judged")
