# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Compare the diagnoses of two evaluations of the same records, with a paired test.

    python recipes/compare_reports.py --first runs/quickstart/report/stage1 --second runs/quickstart/report
"""

from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command


def main(argv: list[str] | None = None) -> dict:
    parser = CommandParser(description="Compare the diagnoses of two evaluations of the same records.")
    parser.add_argument("--first", type=Path, required=True, help="report folder of evaluate_model.py")
    parser.add_argument("--second", type=Path, required=True, help="report folder to compare with the first")
    arguments = parser.parse_args(argv)
    from recipes.evaluation.workflows.compare import compare_reports

    return compare_reports(arguments.first, arguments.second)


if __name__ == "__main__":
    run_command(main)
