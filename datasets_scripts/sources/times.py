# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Times as tables write them: what is understood, what is refused, and how the times of one source are compared.

Understood are `YYYY-MM-DD` or `YYYY/MM/DD`, alone or with a time of the 24-hour or the 12-hour clock, and after it an
offset from UTC (`Z`, `UTC`, `GMT`, `+02:00`, `+0200`, `+02`) or a zone such as `Europe/Berlin`. The times of a source
either all have an offset or a zone, and are read as instants in UTC, or none has, and they are what the clock on the
ward showed. Abbreviations such as EST are refused, as each stands for several zones; so are numbers, and the hour that
a zone skips or repeats when its clocks change.
"""

from __future__ import annotations

import re

import duckdb


SPACE = r"[\s\x{a0}\x{202f}]"
SECONDS = r"(?::\d{1,2}(?:\.\d+)?)?"
OFFSET = r"[+-](?:0\d|1[0-4])(?::?[0-5]\d)?"
TIME = (
    rf"(?i)^{SPACE}*(\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}})(?:(?:{SPACE}+|T)"
    rf"(?:(\d{{1,2}}:\d{{1,2}}{SECONDS})|(0?[1-9]|1[0-2])(:\d{{1,2}}{SECONDS})?{SPACE}*([AP])\.?M\.?)"
    rf"(?:{SPACE}*(Z|UTC|GMT|{OFFSET}|[A-Z_]+(?:/[A-Z0-9_+-]+)+))?)?{SPACE}*$"
)
PARTS = ["date", "clock", "hour", "rest", "half", "zone"]
ABBREVIATED = re.compile(r"\d{4}[-/]\d+[-/]\d+\s*T?\s*\d+:[\d:.]+\s*([AP]M\s*)?[A-Z]{2,5}", re.IGNORECASE)

# A cast drops what stands behind a time ("PM", "Z", "+02:00"): its result counts only if it writes back as the cell.
# `wall_time` is what the clock showed, whatever its zone; `known` is when something is known that was stored then: a
# date alone (no colon, AM or PM) says no more than by the end of that day. A lambda of one value keeps a part from
# being computed twice. `with_zone` gives the zone of a table to a time that has none: of an hour that its clocks
# repeat the later one; an hour that they skip stays as it is, and is refused.
MACROS = rf"""
CREATE OR REPLACE MACRO time_parts(x) AS regexp_extract(x, '{TIME}', {PARTS});
CREATE OR REPLACE MACRO clock_time(p) AS
  CAST(p.date || ' ' || CASE WHEN p.half <> '' THEN p.hour || coalesce(nullif(p.rest, ''), ':00')
                             ELSE coalesce(nullif(p.clock, ''), '00:00') END AS TIMESTAMP)
  + to_hours(CASE WHEN p.half <> '' THEN 12 * ((lower(p.half) = 'p')::INTEGER - (p.hour = '12')::INTEGER) ELSE 0 END);
CREATE OR REPLACE MACRO read_time(x) AS
  list_transform([time_parts(nullif(trim(x), ''))], lambda p: {{'wall': clock_time(p), 'zone': p.zone}})[1];
CREATE OR REPLACE MACRO refused(wall, zone) AS CAST('refused: ' || wall || zone AS TIMESTAMP);
CREATE OR REPLACE MACRO shift(zone) AS
  to_minutes((zone[:1] || '1')::INTEGER *
             (60 * zone[2:3]::INTEGER + CASE WHEN strlen(zone) > 3 THEN zone[-2:]::INTEGER ELSE 0 END));
CREATE OR REPLACE MACRO in_zone(utc, zone) AS timezone(zone, timezone('UTC', utc));
CREATE OR REPLACE MACRO with_shift_at(utc, wall, zone) AS wall - (in_zone(utc, zone) - utc);
CREATE OR REPLACE MACRO of_zone(wall, zone) AS
  list_transform(
    [{{'wall': wall, 'zone': zone, 'early': with_shift_at(wall - INTERVAL 36 HOUR, wall, zone),
       'late': with_shift_at(wall + INTERVAL 36 HOUR, wall, zone)}}],
    lambda c: CASE WHEN c.early <> c.late AND (in_zone(c.early, c.zone) = c.wall) = (in_zone(c.late, c.zone) = c.wall)
                   THEN refused(c.wall, c.zone)
                   WHEN in_zone(c.early, c.zone) = c.wall THEN c.early ELSE c.late END
  )[1];
CREATE OR REPLACE MACRO instant(t) AS
  CASE WHEN t.zone = '' THEN refused(t.wall, t.zone)
       WHEN t.zone[:1] IN ('+', '-') THEN t.wall - shift(t.zone)
       WHEN contains(t.zone, '/') THEN of_zone(t.wall, t.zone)
       ELSE t.wall END;
CREATE OR REPLACE MACRO ward_time(t) AS CASE WHEN t.zone = '' THEN t.wall ELSE refused(t.wall, t.zone) END;
CREATE OR REPLACE MACRO wall_time(x) AS read_time(x).wall;
CREATE OR REPLACE MACRO moment(x) AS
  CASE WHEN strlen(x) = {{length}} AND x = CAST(TRY_CAST(x AS TIMESTAMP) AS VARCHAR) || '{{suffix}}'
       THEN TRY_CAST(x AS TIMESTAMP)
       ELSE list_transform([read_time(x)], lambda t: {{reading}}(t))[1] END;
CREATE OR REPLACE MACRO as_instant(wall, zone) AS
  CASE WHEN timezone(zone, timezone(zone, wall)) = wall
       THEN CAST(timezone('UTC', timezone(zone, wall)) AS VARCHAR) || '+00' END;
CREATE OR REPLACE MACRO with_zone(x, zone) AS
  list_transform([time_parts(x)], lambda p: CASE
    WHEN p.zone <> '' OR p.clock || p.hour = '' THEN x
    ELSE coalesce(TRY(as_instant(clock_time(p), zone)), x || ' ' || zone) END)[1];
CREATE OR REPLACE MACRO is_repeated(utc, zone) AS in_zone(utc, zone) = in_zone(utc - INTERVAL 1 HOUR, zone);
CREATE OR REPLACE MACRO is_date(x) AS NOT contains(x, ':') AND NOT regexp_matches(x, '[mM]');
CREATE OR REPLACE MACRO end_of_date(x) AS CASE WHEN is_date(x) THEN moment(x) + INTERVAL 1 DAY END;
CREATE OR REPLACE MACRO known(x) AS
  moment(x) + CASE WHEN is_date(x) THEN INTERVAL 1 DAY ELSE INTERVAL 0 DAY END;
"""


def create_time_macros(connection: duckdb.DuckDBPyConnection, zoned: bool) -> None:
    """Create `moment(x)`, `known(x)`, `wall_time(x)` for texts; see the module. `zoned`: all times have an offset."""
    suffix, reading = ("+00", "instant") if zoned else ("", "ward_time")
    macros = MACROS.replace("{length}", str(19 + len(suffix))).replace("{suffix}", suffix)
    for statement in macros.replace("{reading}", reading).strip().split(";\n"):
        connection.execute(statement)


def has_offset(connection: duckdb.DuckDBPyConnection, cell: str) -> bool:
    """Return whether a time has an offset from UTC or a zone."""
    return bool(connection.execute("SELECT time_parts(?).zone", [cell]).fetchone()[0])


def is_zone(name: str) -> bool:
    """Return whether a text names one time zone: `UTC`, or as `Europe/Berlin`; an abbreviation may be of several."""
    known = duckdb.connect().execute("SELECT count(*) FROM pg_timezone_names() WHERE name = ?", [name]).fetchone()[0]
    return known > 0 and (name == "UTC" or "/" in name)


def time_fault(cell: str, zone: str, zoned: bool, described: bool = False) -> str:
    """
    Say what is wrong with a time that is refused, and the remedy; `zone` is what `time_parts` finds in it. A table
    that is `described` by its user may be given a time zone.
    """
    remedy = "give all of them one, or none" + ("; time_zone gives it to a table" if described else "")
    if re.fullmatch(r"\d+(\.\d+)?", cell.strip()):
        return "a number, not a date and time; write YYYY-MM-DD HH:MM:SS"
    if ABBREVIATED.fullmatch(cell.strip()):
        return "an abbreviated time zone stands for several; write the offset, as in -05:00"
    if zone and not zoned:
        return f"the time has an offset from UTC, others of this source have none; {remedy}"
    if "/" in zone:
        return "the time zone is unknown, or its clocks skip or repeat this hour; write the offset, as in -05:00"
    if zoned and re.match(r"\s*\d{4}[-/]", cell) and not zone:
        return f"the time has no offset from UTC, others of this source have one; {remedy}"
    return "not a date and time; correct the row"
