# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a page: elements that escape what they are given, numbers, tables, and how it all looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape


VOID = ("br", "link", "meta")  # elements that have no end


def tag(name: str, /, *children, **attributes) -> Markup:
    """
    One element of HTML or SVG.

    Args:
        children: elements, or anything else, which is written as text and escaped.
        attributes: an underscore at the end is dropped (`class_`), others become hyphens; `None` leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(escape(child) for child in children)
    return Markup(f"<{name}{given}>" if name in VOID else f"<{name}{given}>{content}</{name}>")


def joined(parts: Iterable) -> Markup:
    """Parts one after the other; what is no element is escaped."""
    return Markup("").join(parts)


def number(value: float | int | None) -> str:
    """A figure as it is written everywhere on the page: counts with separators, others with three digits."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}".replace("-", "−")


def span(interval: Sequence[float] | None) -> str:
    """A 95% interval as text; empty without one."""
    return " to ".join(map(number, interval)) if interval else ""


def estimate(value: float | int | None, interval: Sequence[float] | None) -> Markup:
    """A figure with its interval in small print."""
    return joined([number(value), tag("small", " ", span(interval))] if interval else [number(value)])


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence]) -> Markup:
    """
    A table whose first column names the rows. It scrolls inside of its own box where the window is narrow.

    Args:
        rows (lists): of text, elements or numbers; numbers and elements stand to the right.
    """

    def cell(value, first: bool) -> Markup:
        if first:
            return tag("th", value, scope="row")
        text = isinstance(value, str) and not isinstance(value, Markup)
        return tag("td", value if isinstance(value, str) else number(value), class_=None if text else "number")

    head = tag("tr", *(tag("th", name, scope="col") for name in header))
    body = [tag("tr", *(cell(value, i == 0) for i, value in enumerate(row))) for row in rows]
    inside = tag("table", tag("thead", head), tag("tbody", *body), aria_label=caption)
    box = tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label=caption)
    return tag("figure", tag("figcaption", caption), box)


def section(title: str, *content) -> Markup:
    """A section with a heading; nothing where it would be empty."""
    content = [part for part in content if part]
    return tag("section", tag("h2", title), *content, id=anchor(title)) if content else Markup("")


def anchor(title: str) -> str:
    return "-".join(title.lower().split())


def document(title: str, *content) -> Markup:
    """A whole page, which a browser lets load nothing and run nothing (content security policy)."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(STYLE)),
    )
    return Markup("<!doctype html>\n") + tag("html", head, tag("body", *content), lang="en")


POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

# Blue and vermilion stay apart for colour-blind readers; what a colour says is also said by a form or a word.
STYLE = """
:root { color-scheme: light; --ink: #1b2733; --muted: #55626f; --line: #d7dee5; --soft: #f4f7f9;
  --blue: #1f6aa5; --vermilion: #c34a0b; --grey: #a3adb7; --band: #dcebf5; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: #fff; max-width: 66rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem;
  overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 0 0 .5rem; }
h4 { font-size: .95rem; margin: 1.4rem 0 .4rem; }
p { max-width: 46rem; margin: .5rem 0; }
small { font-size: .84em; color: var(--muted); white-space: nowrap; }
a { color: var(--blue); }
.muted, figcaption { color: var(--muted); font-size: .92rem; }
.notice { border-left: 4px solid var(--vermilion); background: var(--soft); padding: .6rem .9rem; max-width: none; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1rem 0; font-size: .92rem; }

.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.headline div { background: var(--soft); border-radius: 4px; padding: .6rem .9rem; }
.headline dt { font-size: .88rem; color: var(--muted); }
.headline dd { margin: 0; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.headline small { display: block; font-size: .85rem; }

.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--blue); }
table { border-collapse: collapse; font-size: .94rem; min-width: min(100%, 32rem); }
th, td { padding: .3rem 1.2rem .3rem 0; text-align: left; vertical-align: baseline; font-weight: normal; }
thead th { border-bottom: 1.5px solid var(--ink); font-weight: 600; vertical-align: bottom; }
tbody tr { border-bottom: 1px solid var(--line); }
th[scope=row] { min-width: 9rem; }
td { font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }

figure { margin: 1.2rem 0 1.8rem; }
figcaption { margin-bottom: .6rem; max-width: 46rem; }
svg { display: block; width: 100%; overflow: visible; }
svg text { font-size: 12px; fill: var(--muted); font-variant-numeric: tabular-nums; }
svg path, svg line { vector-effect: non-scaling-stroke; fill: none; stroke: var(--ink); }
.grid { stroke: var(--line); } .reference { stroke: var(--muted); stroke-dasharray: 4 3; }
.bar { fill: var(--blue); opacity: .55; } .whisker { stroke-width: 1.6; }
.dot { stroke-width: 8; stroke-linecap: round; stroke: var(--blue); } .thin { stroke: var(--muted); }
.inside { stroke-width: 3.5; stroke-linecap: round; }
.outside { stroke-width: 6.5; stroke-linecap: round; stroke: var(--vermilion); }
.band { fill: var(--band); } .gap { fill: #e9edf0; }
rect.supported { fill: var(--blue); } rect.contradicted { fill: var(--vermilion); }
rect.unverifiable { fill: #c8d0d7; }

.row { display: grid; grid-template-columns: 17rem minmax(0, 1fr) 10.5rem; column-gap: 1rem; align-items: stretch;
  font-size: .92rem; line-height: 1.35; }
.row .name { padding: .22rem 0; text-align: right; }
.row .value { padding: .22rem 0; align-self: center; font-variant-numeric: tabular-nums; }
.track { display: grid; min-height: 1.5rem; } .track svg { height: 0; min-height: 100%; }
.row .ticks { height: 2.6rem; }
.row .name small { display: block; }
.rows h4 { margin: .9rem 0 .2rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .4rem 1.2rem; }
.panels figure { margin: 0; } .panels figcaption { margin: 0; color: var(--ink); font-size: .85rem; }
.plot { padding: .6rem .8rem 1.6rem 2.6rem; } .plot svg svg { height: 100%; }
.panels .plot > svg { height: 5rem; }
.square { max-width: 26rem; } .square .plot { padding: .5rem 1rem 2.6rem 2.6rem; }
.square .plot > svg { height: 17rem; }
.square .over { font-size: .82rem; color: var(--muted); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem 2rem; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; align-items: center; font-size: .88rem;
  margin: .4rem 0 .6rem; }
.swatch { display: inline-block; width: 1rem; height: .8rem; margin-right: .4rem; vertical-align: -1px; }
.swatch.supported { background: var(--blue); } .swatch.contradicted { background: var(--vermilion); }
.swatch.unverifiable { background: #c8d0d7; } .swatch.gap { background: #e9edf0; border: 1px solid var(--line); }
.shades { display: inline-block; width: 6rem; height: .8rem; margin: 0 .4rem; vertical-align: -1px; }

article { border: 1px solid var(--line); border-radius: 6px; padding: 1rem 1.2rem 1.2rem; margin: 1.4rem 0; }
.note { white-space: pre-line; background: var(--soft); padding: .6rem .9rem; max-height: 20rem; overflow-y: auto;
  max-width: none; font-size: .94rem; }
mark { color: inherit; padding: .05em .15em; }
mark.supported { background: #d5e7f6; border-bottom: 2px solid var(--blue); }
mark.contradicted { background: #fbdfcd; border-bottom: 2px dashed var(--vermilion); }
mark.unverifiable { background: #edf0f2; border-bottom: 2px dotted var(--muted); }
summary { cursor: pointer; color: var(--blue); font-size: .92rem; }
details { margin: .5rem 0; } details ul { margin: .4rem 0; padding-left: 1.2rem; font-size: .92rem; }

@media (max-width: 40rem) {
  body { padding: 1rem 1rem 3rem; } article { padding: .8rem .8rem 1rem; }
  .row { grid-template-columns: minmax(0, 1fr) auto; padding-top: .35rem; }
  .row .name { text-align: left; padding: 0; } .row .value { padding: 0; align-self: start; text-align: right; }
  .track, .ticks { grid-column: 1 / -1; grid-row: 2; } .track { height: 1.3rem; min-height: 0; }
  .row .value small { display: block; } .row .name small { white-space: normal; }
  th, td { padding-right: .5rem; } th[scope=row] { min-width: 6rem; }
}
@media print { article, figure, tr { break-inside: avoid; } .note { max-height: none; } nav { display: none; } }
"""
