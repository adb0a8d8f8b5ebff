# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Write docs/own_data.ipynb: the first section of docs/own_data.md, with what its commands print.

    python -m tests.own_data_notebook

needs nbclient and ipykernel, and takes minutes; it leaves `my-hospital`, `new-patients`, `data` and `runs` here.
"""

import os
import re
from pathlib import Path


DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, NOTEBOOK = DOCS / "own_data.md", DOCS / "own_data.ipynb"
BLOCK = re.compile(r"^```(bash|yaml)\n(.*?)^```$", re.M | re.S)
FIRST_LINE = {"bash": "%%bash -e", "yaml": "%%writefile my-hospital/tables.yaml"}
SETTINGS = """\
import os


os.chdir("..")  # the folder of the project
os.environ |= {"TQDM_DISABLE": "1", "MPLBACKEND": "agg"}  # no progress bars, no windows"""
EXPORT = """\
%%bash -e
python -c '
from pathlib import Path
from tests.hospital_export import write_export
write_export(Path("my-hospital"), 400)
write_export(Path("new-patients"), 20, seed=1, new=True)'
head -n 3 my-hospital/stays.csv my-hospital/vitals_1.csv | iconv -f latin1 -t utf-8"""


def section(page: str) -> str:
    """Return the first section of the page, its heading included."""
    return re.search(r"^## .*?(?=^## )", page, re.M | re.S).group()


def cells() -> list[tuple[str, str]]:
    """Return the cells of the notebook, `markdown` or `code` and their text, in order."""
    found, end = [], 0
    text = section(PAGE.read_text(encoding="utf-8")).replace("](#", "](own_data.md#")
    for block in BLOCK.finditer(text):
        found.append(("markdown", text[end : block.start()]))
        found.append(("code", f"{FIRST_LINE[block[1]]}\n{block[2]}"))
        end = block.end()
    found[1:1] = [("code", SETTINGS), ("code", EXPORT)]
    return [(kind, source.strip()) for kind, source in found if source.strip()]


def main() -> None:
    import nbformat.v4 as nb
    from nbclient import NotebookClient

    make = {"markdown": nb.new_markdown_cell, "code": nb.new_code_cell}
    made = [make[kind](source, id=f"cell-{number}") for number, (kind, source) in enumerate(cells())]
    notebook = nb.new_notebook(cells=made)
    place = {"metadata": {"path": str(DOCS)}}
    NotebookClient(notebook, timeout=None, coalesce_streams=True, record_timing=False, resources=place).execute()
    text = nb.writes(notebook).replace(f"{DOCS.parent}{os.sep}", "")  # commands print the whole paths of outputs
    NOTEBOOK.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
