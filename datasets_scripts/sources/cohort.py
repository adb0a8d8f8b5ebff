# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The cohort: which ICU stays are read, how many each condition leaves, and what was found of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import duckdb

from datasets_scripts.sources.phenotypes import FAMILY, RESTORED
from datasets_scripts.sources.queries import check_queries, check_query
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


ADMISSION = "(hadm_id, admission IS NULL)"  # a stay without an admission has its own number there
SINGLE = f"{ADMISSION} IN (SELECT {ADMISSION} FROM stays GROUP BY ALL HAVING count(*) = 1)"
FIRST = "stay_id IN (SELECT arg_min(stay_id, (intime, stay_id)) FROM stays GROUP BY subject_id)"
# The columns that a source's query for `stays` may give; what it does not give is null. `reversed`: the admission to
# which the stay belongs ends before it begins; `sex_said`: the source's own word, where words are mapped; `admission`:
# null where own tables name none, while `hadm_id` is the stay there; `unended`: `outtime` is the last measurement.
STAY = """
SELECT NULL::VARCHAR AS subject_id, NULL::VARCHAR AS hadm_id, NULL::VARCHAR AS stay_id, NULL::TIMESTAMP AS intime,
       NULL::TIMESTAMP AS outtime, NULL::DOUBLE AS age, NULL::VARCHAR AS sex, NULL::VARCHAR AS ethnicity,
       NULL::VARCHAR AS care_unit, NULL::BOOLEAN AS reversed, NULL::VARCHAR AS sex_said,
       NULL::VARCHAR AS admission, NULL::BOOLEAN AS unended WHERE false
"""
# Ages above 89 count as 90, as the databases publish them; an age that is no number of years is unknown.
AGE = "CASE WHEN NOT isfinite(age) OR age < 0 THEN NULL WHEN age > 90 THEN 90 ELSE age END"
BY_FAMILY = f"regexp_matches(route, '{FAMILY}')"
UNKNOWN = f"route LIKE 'unknown%' OR {BY_FAMILY}"


@dataclass(frozen=True)
class CohortOptions:
    """
    Choose the stays that are read, and how much of them.

    Args:
        min_age, max_age (`float`): years at ICU admission, inclusive.
        min_hours, max_hours (`float`): length of the stay.
        stays (`str`): `"all"`, `"single"` (admissions with one ICU stay) or `"first"` (of each patient).
        hours (`float`): values measured later than this after ICU admission are left out.
        limit (`int`, *optional*): only that many patients.
        choose (callable, *optional*): ids of all patients, and the limit -> ids of those that are kept.
    """

    min_age: float = 18
    max_age: float | None = None
    min_hours: float = 0
    max_hours: float | None = None
    stays: str = "all"
    hours: float = 1440
    limit: int | None = None
    choose: Callable[[list[str], int], list[str]] | None = None


@dataclass
class Cohort:
    """Hold what a reader found, in a DuckDB file: counts for the card, and the stays, which `read_block` gives."""

    connection: duckdb.DuckDBPyConnection
    source: dict
    channels: list[dict]

    @property
    def attrition(self) -> list[dict]:
        """`step`, `stays` and `patients` that are left, `stays_lost` and `patients_lost`, `why`; in order."""
        return self.rows("SELECT * EXCLUDE (position) FROM attrition ORDER BY position")

    @property
    def values(self) -> list[dict]:
        """Per channel: values charted, dropped for each reason, converted, kept; and how late they are known."""
        return self.rows("SELECT * EXCLUDE (position) FROM value_counts ORDER BY position")

    @property
    def measurement_tables(self) -> list[dict]:
        """Per table of measurements, of its rows with a code that is read: of no listed stay, no patient, in stays."""
        files = [s["file"] for s in self.source.get("sections", ()) if s["kind"] == "measurements"]
        tables = self.rows("SELECT * FROM part_counts ORDER BY part")
        return [{**row, "table": files[row["part"]] if files else row["table"]} for row in tables]

    @property
    def codes(self) -> list[dict]:
        """Per diagnosis code: `code`, `version`, `route`, `mapped`, `label` (empty: none), `rows`, `stays`."""
        return self.rows("SELECT * FROM label_audit ORDER BY stays DESC, code, version, label")

    @property
    def code_counts(self) -> dict:
        """
        Count the diagnosis codes: in `total`, `unmapped` to any category, `unknown` to the tables of codes, and of
        these read `by_family`; `restored` (38.9 is 038.9); with examples.
        """
        total, unmapped, by_family, unknown, restored, names = self.connection.execute(
            f"""
            SELECT coalesce(sum("rows"), 0), coalesce(sum("rows") FILTER (NOT mapped), 0),
                   coalesce(sum("rows") FILTER ({BY_FAMILY}), 0),
                   coalesce(sum("rows") FILTER ({UNKNOWN}), 0),
                   coalesce(sum("rows") FILTER (contains(route, '{RESTORED}')), 0),
                   coalesce(list(DISTINCT code ORDER BY code) FILTER ({UNKNOWN}), [])
            FROM (SELECT DISTINCT code, version, route, mapped, "rows" FROM label_audit)
            """
        ).fetchone()
        share = round(int(unmapped) / int(total), 4) if total else None
        counts = {"total": int(total), "unmapped": int(unmapped), "unmapped_share": share}
        counts |= {"unknown": int(unknown), "by_family": int(by_family), "restored": int(restored)}
        return counts | {"unknown_codes": names[:100]}

    @property
    def care_units(self) -> list[dict]:
        """ICU stays by `care_unit`, `None` where it is not known; the most frequent first."""
        return self.rows("SELECT care_unit, count(*) AS stays FROM stays GROUP BY 1 ORDER BY 2 DESC, 1")

    @property
    def num_stays(self) -> int:
        return self.connection.execute("SELECT count(*) FROM stays").fetchone()[0]

    def rows(self, query: str) -> list[dict]:
        """Return the rows of a query, each as column -> cell."""
        result = self.connection.execute(query)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def create_table(self, table: str, rows: list[tuple]) -> None:
        """Create a table, given as `name (columns)`, that holds the rows."""
        self.connection.execute(f"CREATE TABLE {table}")
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            unnested = ", ".join(["unnest(?)"] * len(columns))
            self.connection.execute(f"INSERT INTO {table.split(' (')[0]} SELECT {unnested}", columns)


def select_stays(cohort: Cohort, options: CohortOptions) -> None:
    """Create the table `stays` of the stays that meet every condition, and `attrition`."""
    run = cohort.connection.execute
    check_query(cohort.connection, cohort.source, "stays", cohort.source["stays"])
    listed = f"({STAY}) UNION ALL BY NAME ({cohort.source['stays']})"
    run(f"CREATE TABLE stays AS SELECT * REPLACE ({AGE} AS age) FROM ({listed})")
    check_queries(cohort.connection, cohort.source)
    run("CREATE TABLE listed AS SELECT stay_id, subject_id, admission, intime, outtime FROM stays")
    run(
        "CREATE TABLE attrition (position INTEGER, step VARCHAR, stays BIGINT, patients BIGINT, "
        "stays_lost BIGINT, patients_lost BIGINT, why VARCHAR)"
    )
    _count(cohort, "ICU stays in the tables", "")
    twice = run("SELECT stay_id FROM stays GROUP BY stay_id HAVING count(*) > 1 ORDER BY 1 LIMIT 1").fetchone()
    if twice:
        raise ClinRaGenInputError(f"ICU stay {twice[0]} is listed more than once; remove the duplicate rows")
    for step, why, condition in filters(cohort.source, options):
        run(f"DELETE FROM stays WHERE ({condition}) IS NOT TRUE")
        _count(cohort, step, why)
    if options.limit is not None:
        patients = [row[0] for row in run("SELECT DISTINCT subject_id FROM stays").fetchall()]
        chosen = [(patient,) for patient in options.choose(patients, options.limit)]
        cohort.create_table("chosen (subject_id VARCHAR)", chosen)
        run("DELETE FROM stays WHERE subject_id NOT IN (SELECT subject_id FROM chosen); DROP TABLE chosen")
        _count(cohort, f"of the first {options.limit} patients", "--limit")
    if not cohort.num_stays:
        left = ", ".join(f"{row['stays']} {row['step']}" for row in cohort.attrition)
        raise ClinRaGenInputError(f"no ICU stay is left ({left}); check the tables and the options that select stays")
    run(
        "CREATE TABLE ranked AS SELECT * REPLACE (nullif(trim(care_unit), '') AS care_unit), "
        "CAST(row_number() OVER (ORDER BY subject_id, intime, stay_id) - 1 AS INTEGER) AS stay FROM stays"
    )
    run("DROP TABLE stays; ALTER TABLE ranked RENAME TO stays")


def filters(source: dict, options: CohortOptions) -> Iterator[tuple[str, str, str]]:
    """Yield the conditions in order: what is left, why a stay is lost, and the condition in SQL."""
    length = "hours_between(intime, outtime)"
    yield (
        "with an end after their beginning",
        "no end, or an end before it begins",
        ("outtime > intime OR (unended AND outtime = intime)"),
    )
    yield "of admissions that end after they begin", "the admission ends before it begins", "reversed IS NOT TRUE"
    yield "of patients of known age", "age unknown", "age IS NOT NULL"
    yield f"of patients of {options.min_age:g} or older", "younger", f"age >= {options.min_age}"
    if options.max_age is not None:
        yield f"of patients of {options.max_age:g} or younger", "older", f"age <= {options.max_age}"
    if options.min_hours:
        yield f"of {options.min_hours:g} hours or longer", "shorter", f"{length} >= {options.min_hours}"
    if options.max_hours is not None:
        yield f"of {options.max_hours:g} hours or shorter", "longer", f"{length} <= {options.max_hours}"
    if not source.get("unlabelled"):
        diagnosed = source.get("diagnosed", f"SELECT stay_id FROM ({source['diagnoses']})")
        yield "with at least one recorded diagnosis", "no diagnosis", f"stay_id IN ({diagnosed})"
    if options.stays == "single":
        yield "of admissions with one ICU stay", "one of several of its admission", SINGLE
    if options.stays == "first":
        yield "first of their patient", "a later one of its patient", FIRST


def _count(cohort: Cohort, step: str, why: str) -> None:
    cohort.connection.execute(
        """
        INSERT INTO attrition
        WITH now AS (SELECT count(*) AS stays, count(DISTINCT subject_id) AS patients FROM stays),
             before AS (SELECT stays, patients FROM attrition ORDER BY position DESC LIMIT 1)
        SELECT (SELECT count(*) FROM attrition), ?, n.stays, n.patients,
               coalesce(b.stays - n.stays, 0), coalesce(b.patients - n.patients, 0), ?
        FROM now n LEFT JOIN before b ON true
        """,
        [step, why],
    )
