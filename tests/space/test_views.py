# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The HTML of the app, without a browser."""

import json
import re
from html import unescape

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.space.conftest import SPACE


pytestmark = pytest.mark.usefixtures("space_modules")
RATE = {"name": "Heart Rate", "unit": "/min", "low": 60, "high": 100, "decimals": 0}
SATURATION = {"name": "Oxygen saturation", "unit": "%", "low": 94, "high": None, "clearly_low": 90, "decimals": 0}
WEIGHT = {"name": "Weight", "unit": "kg", "low": None, "high": None, "decimals": 1}
PH = {"name": "pH", "unit": "pH", "low": 7.35, "high": 7.45, "decimals": 2}
NAN = float("nan")


def words(html) -> str:
    return unescape(re.sub(r"<[^>]*>", "", str(html)))


def spaced(html) -> str:
    """Return the words of HTML, those of different elements apart."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", str(html))).split())


def links(spans=()):
    from views import Links

    hours = np.array([0.0, 1.0, 2.5, 9.0])
    values = np.array([[80, NAN], [120, 7.4], [NAN, 7.2], [50, NAN]])
    return Links([RATE, PH], hours, values, spans)


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6))
def test_a_note_is_shown_whole_whatever_is_marked_in_it(note, spans):
    spans = [(min(span), min(max(span), len(note))) for span in spans if min(span) < len(note)]
    marked = links(spans)
    shown = marked.note(note)
    if note.strip():
        assert words(shown) == note
    for start, end in spans:
        names = marked.pieces([(start, end)])
        pieces = [re.search(f'id="{name}"[^>]*>(.*?)</span>', str(shown), re.DOTALL) for name in names]
        if note.strip():
            assert "".join(unescape(piece[1]) for piece in pieces) == note[start:end]


def test_points_are_those_of_the_channel_at_the_hours():
    assert links().points("Heart Rate", [1.0, 9.0]) == ["point-0-1", "point-0-3"]
    assert links().points("Heart Rate", [2.5]) == []  # only the pH was measured then
    assert links().points("pH", []) == []
    assert links().stretch("pH", 1.0, 2.5) == ["point-1-1", "point-1-2"]


def test_each_point_is_marked_by_its_place():
    from charts import series_panels

    values, hours = np.array([[100, NAN], [101, NAN], [59, NAN], [60, NAN]]), np.array([0.0, 1, 2, 9])
    html = str(series_panels([RATE, PH], values, hours))
    mark = r'id="(point-0-\d)"[^>]*><title>[^<]*</title><circle[^>]*></circle><path[^>]*class="mark (\w+)"'
    kinds = re.findall(mark, html)
    assert kinds == [("point-0-0", "inside"), ("point-0-1", "above"), ("point-0-2", "below"), ("point-0-3", "inside")]
    assert "hour 1.0: 101 /min, above the reference range" in html
    assert "Heart Rate: 4 values from 59 to 101 /min, 1 above and 1 below the reference range; not measured" in html
    assert "ref. 60–100; last 60" in words(html)
    assert "Never measured: pH." in words(html)
    assert html.count('class="gap"') == 1
    nothing = series_panels([RATE, PH], np.full((2, 2), NAN), np.array([0.0, 1]))
    assert words(nothing) == "Nothing was measured."


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8, unique=True), st.floats(0, 30))
def test_gaps_are_all_stretches_of_six_hours_without_a_measurement(hours, more):
    from charts import GAP_HOURS, gaps

    hours = np.sort(hours)
    last = hours[-1] + more
    found = gaps(hours, last)
    for start, end in found:
        assert end - start >= GAP_HOURS
        assert not ((hours > start) & (hours < end)).any()
    edges = np.concatenate([[0.0], hours, [last]])
    assert len(found) == (np.diff(edges) >= GAP_HOURS).sum()


def test_a_range_may_be_open_on_a_side_or_there_may_be_none():
    from charts import series_panels

    values, hours = np.array([[93, 80.5], [100, 82]]), np.array([0.0, 1])
    html = str(series_panels([SATURATION, WEIGHT], values, hours))
    saturation, weight, table = re.split("</figure>", html)
    assert re.findall(r'class="mark (\w+)"', saturation.split("<figure")[-1]) == ["below", "inside"]
    (height,) = re.findall(r'y="([\d.]+)%" width="100%" height="[\d.]+%" class="band"', saturation)
    assert float(height) == 0  # to the top of the panel
    assert "2 values from 93 to 100 %, 1 below the reference range" in saturation
    assert "ref. ≥ 94; last 100" in words(saturation)
    assert 'class="band"' not in weight
    assert "no reference range; last 82.0" in words(weight)
    assert "at least 94 %; clearly below 90</td><td>&lt;94 BTS; hypoxemia &lt;90 WHO" in table
    assert "<td>none</td><td>–</td>" in table


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4))
def test_ticks_are_few_and_within(low, width):
    from charts import ticks

    found = ticks(low, low + width)
    assert 1 <= len(found) <= 4
    assert all(low - 1e-9 <= tick <= low + width + 1e-9 for tick in found)
    assert found == sorted(set(found))


def test_all_made_diagnoses_come_first_then_the_next_most_probable():
    from views import diagnoses_view

    probabilities = {f"disease {i}": i / 10 for i in range(10)}
    thresholds = dict.fromkeys(probabilities, 0.95) | {"disease 1": 0.05, "disease 8": 0.5}
    made = [{"label": "disease 1", "probability": 0.1}, {"label": "disease 8", "probability": 0.8}]
    html = str(diagnoses_view(made, probabilities, thresholds))
    shown = [int(name) for name in re.findall(r'class="name">disease (\d)<', html)]
    assert shown == [8, 1, 9, 7, 6, 5, 4, 3, 2, 0]
    assert html.index("disease 5") < html.index("<details>") < html.index("disease 4")
    assert "left:95.00%" in html
    assert "listed from 5.0%" in words(html)
    said = " ".join(words(html).split())
    assert "set for each on validation patients" in said
    assert "one of 5.0% lists a diagnosis even where about 95 of 100 such patients do not have it." in said
    assert "No diagnosis reaches its threshold." in words(diagnoses_view([], probabilities, thresholds))
    same = words(diagnoses_view(made, probabilities, dict.fromkeys(probabilities, 0.5)))
    assert "listed, 50.0% for all." in " ".join(same.split())
    assert "even where" not in same
    assert words(diagnoses_view(made, {}, thresholds)) == "disease 1disease 8"


def test_a_claim_has_a_verdict_in_words_and_links():
    from views import rationale_view

    claim = {"text": "pH is <low>", "start": 0, "end": 11, "channel": "pH", "kind": "level", "verdict": "contradicted",
             "quote": "1 value", "hours": [2.5], "spans": []}  # fmt: skip
    other = claim | {
        "text": "so what",
        "start": 13,
        "end": 20,
        "channel": None,
        "verdict": "unverifiable",
        "hours": [],
    }
    found = claim | {"text": "cough", "end": 5, "channel": None, "verdict": "supported", "quote": "affirmed",
                     "hours": [], "spans": [[2, 7]]}  # fmt: skip
    answer = {"note_rationale": "cough.", "note_claims": [found]}
    answer |= {"lab_rationale": "pH is <low>. so what", "claims": [claim, other]}
    html = str(rationale_view(answer, links([(2, 7)])))
    assert re.findall(r'data-links="([^"]*)"', html) == ["note-2", "point-1-2"]
    assert html.count('class="claim') == 2  # a statement without a channel is not a claim
    assert "pH is &lt;low&gt;" in html
    assert "✗ measured otherwise. pH: 2 values, lowest 7.20 (hour 2.5), highest 7.40 (hour 1.0), 1 below" in words(
        html
    )
    assert "✓ noted. Affirmed." in words(html)


def test_a_finding_that_is_not_in_the_note_is_shown_with_its_argument():
    from views import rationale_view, status_view

    claim = {"text": "rigors", "start": 0, "end": 6, "channel": None, "kind": "note", "verdict": "absent",
             "quote": "not in the note", "hours": [], "spans": [], "diagnoses": ["Shock", "<b>Pneumonia"]}  # fmt: skip
    answer = {"note_rationale": "Rigors.", "note_claims": [claim], "lab_rationale": "", "claims": [], "diagnoses": []}
    answer["doubt"] = {"abstain": False}
    assert "1 finding cited, 1 not in the note" in words(status_view(answer, "", 1.0))
    assert "✗ not noted. Not in the note." in words(rationale_view(answer, links()))
    for argument, said, warned in (
        ("linked", "Known to go with Shock and <b>Pneumonia.", False),
        ("unlinked", "Not known to go with Shock and <b>Pneumonia.", True),
        ("unknown", "Not in the knowledge base, so whether it goes with Shock and <b>Pneumonia is unknown.", True),
    ):
        html = str(rationale_view(answer | {"note_claims": [claim | {"argument": argument}]}, links()))
        assert said in words(html)
        assert "<b>" not in html
        assert ("✗ not noted; no known link with Shock and <b>Pneumonia" in words(html)) == warned


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("heart rate reached 134 /min, which is consistent with septicemia", "heart rate reached 134 /min"),
        ("pH rose from 7.24 to 7.36, and this is in keeping with renal failure", "pH rose from 7.24 to 7.36"),
        ("Hyperglycemia up to 325 mg/dL points to diabetes", "Hyperglycemia up to 325 mg/dL"),
        ("Heart failure is supported by weight rising from 74.1 to 78.7 kg", "weight rising from 74.1 to 78.7 kg"),
        ("Temperature was above normal 10 times", "Temperature was above normal 10 times"),
        ("A rate that suggests 80 /min was normal", "A rate that suggests 80 /min was normal"),  # a number behind it
    ],
)  # fmt: skip
def test_a_mark_ends_before_the_diagnosis_that_is_concluded(text, finding):
    from views import rationale_view

    claim = {"text": text, "start": 5, "end": 5 + len(text), "channel": "pH", "kind": "level", "verdict": "supported",
             "quote": "", "hours": [2.5], "spans": [], "diagnoses": ["Shock"], "argument": "linked"}  # fmt: skip
    answer = {"note_rationale": "", "note_claims": [], "lab_rationale": f"Now, {text}.", "claims": [claim]}
    html = str(rationale_view(answer, links()))
    (marked,) = re.findall(r'<span class="words">([^<]*)</span>', html)
    assert marked == finding
    shown = re.sub(r'<span class="verdict">[^<]*</span>|<span id="[^"]*" class="explanation".*?</span>', "", html)
    assert f"Now, {text}." in words(shown)  # nothing of the text is lost
    assert f"<q>{finding}</q>" in html


def test_html_in_a_record_or_an_answer_stays_text():
    import export
    import html5lib
    import views
    from charts import series_panels
    from markup import macros

    evil = "<script a='1'>&amp;\"x\"</script>"
    channel = {**RATE, "name": evil, "unit": f"{evil} "}
    hours, values = np.array([0.0, 9.0]), np.array([[80.0], [90.0]])
    links = views.Links([channel], hours, values, [(0, 4)])
    claim = {"text": evil, "start": 0, "end": 4, "channel": evil, "verdict": "supported", "quote": evil,
             "hours": [0.0], "spans": [(0, 4)]}  # fmt: skip
    answer = {"note_rationale": evil, "note_claims": [claim | {"channel": None}], "lab_rationale": evil,
              "claims": [claim], "diagnoses": []}  # fmt: skip
    answer["doubt"] = {"abstain": True, "reasons": [evil], "would_help": []}
    answered = {"answer": {**answer, "probabilities": {evil: 0.6}, "knowledge": []}, "left_out": evil}
    series = {"channel": evil, "from_hour": 0.0, "to_hour": 9.0, "effect": 2.0, "probability_drop": 0.1}
    evidence = {"label": evil, "note": [{**series, "text": evil, "start": 0, "end": 4}], "series": [series]}
    evidence["note"][0].pop("channel")
    page, share = macros("page.html"), {evil: 0.6}
    shown = [
        series_panels([channel, channel | {"low": 0}], np.c_[values, [[NAN], [NAN]]], hours),
        links.note(evil),
        views.diagnoses_view([], share, share),
        views.diagnoses_view([{"label": evil}], {}, {}),
        views.doubt_view(
            {"abstain": True, "reasons": [evil], "would_help": [{"missing": evil, "change": 1, "diagnosis": evil}]}
        ),
        views.rationale_view(answer, links),
        views.streamed_view(evil, evil),
        views.status_view(answer, evil, 1.0),
        views.evidence_view([evidence], share, links),
        views.modalities_view({evil: share}, share),
        views.knowledge_view([{"term": evil, "label": evil, "part": "note", "text": evil}], share, share),
        export.export_page(
            evil, evil, [channel], share, {**answered, "given": (evil, (values, hours))}, "", [evidence]
        ),
        page.header(evil, evil, evil),
        page.table_read(evil, [evil], 1),
        page.error(evil),
    ]
    for view in shown:
        tree = html5lib.parseFragment(str(view), namespaceHTMLElements=False)
        assert evil in "".join(tree.itertext())
        assert not list(tree.iter("script"))
        assert not [element for element in tree.iter() if "a" in element.attrib]


def test_doubt_is_stated_plainly():
    from views import doubt_view

    from modeling_clinragen.doubt_clinragen import UNUSUAL

    helpful = {"missing": "Weight", "change": 0.2, "diagnosis": "Shock"}
    said = words(doubt_view({"abstain": True, "reasons": ["the note is empty"], "would_help": [helpful]}))
    assert said.startswith(
        "The model abstains: this record holds less than those it was tested on, or is unlike them."
    )
    assert "The note is empty." in said
    assert "Weight (for Shock)" in said
    note = {"missing": "note", "change": 0.2, "diagnosis": "Septicemia (except in labor)"}
    said_of_note = words(doubt_view({"abstain": True, "reasons": ["the note is empty"], "would_help": [note]}))
    assert "answer most: the note (for Septicemia)." in said_of_note
    said = words(doubt_view({"abstain": False, "reasons": [], "would_help": [helpful | {"change": 0.001}]}))
    assert "does not abstain" in said
    assert "No single missing measurement" in said
    rare = f"{UNUSUAL['token_rarity']} (4.906; nearly all patients at most 2.49)"
    few = "few measurements (98; nearly all patients at least 119)"
    said = words(doubt_view({"abstain": True, "reasons": [rare, few], "would_help": []}))
    assert "unusual, rarer than those of nearly all patients; few measurements (98; nearly all" in said


def test_measurements_that_the_model_did_not_read_are_said_plainly():
    from views import doubt_view

    doubt = {"abstain": False, "reasons": [], "would_help": []}
    assert "did not read" not in words(doubt_view(doubt))  # an older model folder does not count them
    assert "did not read" not in words(doubt_view(doubt | {"not_read": []}))
    late = ["Heart Rate: 30 values outside of hours 0 to 48", "pH: 1 value outside of hours 0 to 48"]
    said = spaced(doubt_view(doubt | {"not_read": [*late, "Weight: 1 value outside of the plausible range"]}))
    assert said.endswith(
        "The model did not read some measurements, so they do not count for the diagnoses. Measured before ICU "
        "admission or after the 48 hours that it reads: Heart Rate (30 values), pH (1 value); the text may still "
        "quote these. Outside of the plausible range: Weight (1 value)."
    )
    unknown = spaced(doubt_view(doubt | {"not_read": ["Weight: 2 values of another device"]}))
    assert unknown.endswith("do not count for the diagnoses. Weight: 2 values of another device.")


def test_diagnoses_that_the_note_names_but_the_model_does_not_list_are_said():
    from views import doubt_view

    doubt = {"abstain": False, "reasons": [], "would_help": []}
    assert "Named in the note" not in words(doubt_view(doubt | {"not_listed": []}))
    named = [
        {"label": "Essential hypertension", "probability": 0.314},
        {"label": "Congestive heart failure; nonhypertensive", "probability": None},
    ]
    said = spaced(doubt_view(doubt | {"not_listed": named}))
    assert "not listed: Essential hypertension (31.4%), Congestive heart failure; nonhypertensive. The list" in said


def test_a_probability_is_never_shown_as_certain():
    from markup import percent

    shares = [0, 0.0004, 0.0314, 0.5, 0.9991, 1]
    assert [percent(share) for share in shares] == ["<0.1%", "<0.1%", "3.1%", "50.0%", ">99.9%", ">99.9%"]


def test_odds_are_divided_by_the_exponential_of_the_drop():
    from views import divisor

    assert divisor(np.log(2.5)) == "2.5"
    assert divisor(np.log(1234)) == "1,200"
    assert divisor(20) == "over 50,000"


def test_evidence_shows_the_probability_with_and_without_or_says_that_it_stays():
    from views import evidence_view

    drop = {"text": "rigors", "start": 0, "end": 6, "effect": 3.0, "probability_drop": 0.5}
    series = {"channel": "pH", "from_hour": 1.0, "to_hour": 2.5, "effect": 1.0, "probability_drop": 0.2}
    small = {**drop, "text": "cough", "effect": 0.1}
    term = {"term": "rigors", "effect": 5.0, "probability_drop": 0.6}
    shock = {"label": "Shock", "note": [small, drop], "series": [series], "knowledge": [term]}
    stays = {"label": "Sepsis", "note": [{**drop, "probability_drop": 0.0004}], "series": [], "knowledge": []}
    html = str(evidence_view([shock, stays], {"Shock": 0.9, "Sepsis": 1.0}, links([(0, 6)])))
    said = spaced(html)
    assert said.index("Sepsis") < said.index("Shock")  # the most probable first
    assert "It stays at >99.9% without any single part. Those that weigh most: “rigors” odds ÷ 20" in said
    assert "without “rigors” 90.0% → 40.0%" in said
    assert "without pH, hours 1.0 to 2.5 90.0% → 70.0%" in said
    assert "cough" not in said  # too little
    assert "100.0%" not in said
    assert re.findall(r'data-links="([^"]*)"', html) == ["note-0", "note-0", "point-1-1 point-1-2"]
    printed = str(evidence_view([shock], {"Shock": 0.9}, links([(0, 6)]), printed=True))
    assert "data-links" not in printed
    assert spaced(printed) == spaced(evidence_view([shock], {"Shock": 0.9}, links()))


def test_findings_in_the_knowledge_base_are_under_their_diagnosis_in_the_words_of_the_record():
    from views import knowledge_view

    eyes = {"term": "retinopathy", "label": "Diabetes", "part": "note", "weight": 0.6, "text": "laser of the eyes"}
    cough = {"term": "cough", "label": "Pneumonia", "part": "note", "weight": 0.6, "text": "Cough"}
    pulse = {"term": "fast pulse", "label": "Shock", "part": "lab", "weight": 0.2, "text": "Heart Rate high"}
    share = {"Diabetes": 0.6, "Pneumonia": 0.5, "Shock": 0.2}
    html = knowledge_view([eyes, cough, pulse], share, dict.fromkeys(share, 0.3))
    said = spaced(html)
    assert "Diabetes 60.0% laser of the eyes in the note; known as “retinopathy”" in said
    assert "Pneumonia 50.0% Cough in the note" in said
    assert "known as “cough”" not in said
    assert "Shock 20.0%, not listed Heart Rate high in the measurements; known as “fast pulse”" in said
    assert "knows no finding" in words(knowledge_view([], {}, {}))
    most_attended = {
        "term": "tendon xanthoma",
        "weight": 0.2,
    }  # of the code of an older model folder: no patient's own
    assert "knows no finding" in words(knowledge_view([most_attended], {}, {}))
    assert "cough" in words(knowledge_view([{**cough, "text": ""}], share, share))


def test_what_changes_without_an_input_is_a_row_for_each_diagnosis_that_is_made():
    from views import modalities_view

    variants = {"both": {"a": 0.9, "b": 0.1, "c": 0.2}, "no note": {"a": 0.3, "b": 0.6, "c": 0.1}, "no series": None}
    html = str(modalities_view(variants, dict.fromkeys("abc", 0.5)))
    assert re.findall(r'<th scope="row">(\w)</th>', html) == ["a", "b"]
    assert re.findall(r"<td[^>]*>(.*?)</td>", html)[:3] == [
        "90.0%",
        "30.0%<small>not listed</small>",
        "–<small>nothing to read</small>",
    ]


def test_examples_are_small_and_whole():
    paths = sorted((SPACE / "examples").glob("*.json"))
    assert len(paths) == 9
    notes, labs = ([json.loads(path.read_text())[part] for path in paths] for part in ("note", "labs"))
    assert notes.count("") == labs.count({}) == 1  # one without either
    assert min(len(note) for note in notes if note) < 150  # one as short as those of eICU
    for path in paths:
        example = json.loads(path.read_text())
        assert set(example) == {"name", "note", "labs"}
        assert path.stat().st_size < 10_000
        assert all(len(pair) == 2 for pairs in example["labs"].values() for pair in pairs)


def test_the_normal_ranges_are_those_of_the_model():
    from charts import series_panels

    values, hours = np.array([[93.0], [88.0]]), np.array([0.0, 1])
    clinical = str(series_panels([SATURATION], values, hours))
    assert "limit on which guidelines agree" in words(clinical)
    (height,) = re.findall(r'y1="([\d.]+)%" y2="\1%" class="clear"', clinical)
    points = [float(y) for y in re.findall(r'<svg x="[\d.]+%" y="([\d.]+)%"', clinical)]
    assert points[0] < float(height) < points[1]  # 93 above the clear limit of 90, 88 below it
    trained = str(series_panels([{**SATURATION, "clearly_low": None}], values, hours))
    assert "guidelines" not in trained
    assert "limits of this model" in trained  # not the published ones
    assert "wider than what clinicians call normal" in " ".join(words(trained).split())
    above = str(series_panels([SATURATION], values + 8, hours))
    assert 'class="clear"' not in above  # 90 lies below the panel


def test_sentences_that_are_not_the_models_own_say_so():
    from views import rationale_view

    claim = {"text": "cough", "start": 2, "end": 7, "channel": None, "verdict": "supported", "quote": "affirmed",
             "hours": [], "spans": []}  # fmt: skip
    note = "A cough. A cough."
    sentences = [{"text": "A cough.", "part": "note", "origin": origin} for origin in ("written", "composed")]
    sentences.append({"text": "pH was 7.2.", "part": "lab", "origin": "repaired"})
    answer = {"note_rationale": note, "note_claims": [claim, claim | {"start": 11, "end": 16}]}
    answer |= {"lab_rationale": "pH was 7.2.", "claims": [], "sentences": sentences}
    html = str(rationale_view(answer, links()))
    shown = " ".join(
        words(re.sub(r'<span id="[^"]*" class="explanation".*?</span>', "", html, flags=re.DOTALL)).split()
    )
    assert "3 sentences: 1 as the model wrote it, 1 corrected from the record, 1 written by rule" in shown
    assert "A cough ✓ noted. A cough ✓ noted. [by rule]" in shown
    assert "pH was 7.2. [corrected]" in shown
    older = words(rationale_view({key: answer[key] for key in answer if key != "sentences"}, links()))
    assert "[" not in older
    assert "as the model wrote" not in older


def test_the_sources_of_the_ranges_are_those_of_the_documents_and_the_limits_those_of_the_code():
    import yaml
    from ranges import LIMITS, PUBLISHED

    from modeling_clinragen import CHANNELS

    root = SPACE.parent
    table = (root / "docs" / "data.md").read_text().split("| channel | unit | usual | clear | source |\n")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n\n")[0].splitlines()[1:]]
    assert {name: [channel["unit"], channel["source"]] for name, channel in PUBLISHED.items()} == {
        name: [unit, source] for name, unit, _, _, source in rows
    }
    extended = yaml.safe_load((root / "datasets_scripts" / "sources" / "channels_extended.yaml").read_text())
    channels = {channel["name"]: channel for channel in [*CHANNELS, *extended["channels"]]}
    assert set(channels) == set(PUBLISHED)
    for name, channel in channels.items():
        assert [channel.get(limit) for limit in LIMITS] == [PUBLISHED[name][limit] for limit in LIMITS]
    report = root / "recipes" / "evaluation" / "report" / "ranges.json"
    assert report.read_bytes() == (SPACE / "ranges.json").read_bytes()


def test_a_word_between_range_and_clear_limit_is_borderline():
    from ranges import borderline
    from views import BORDERLINE, Links, rationale_view

    values = {"low": [93.0, 91, 97], "clearly low": [93.0, 88, 97], "usual": [96.0, 95, 97]}
    assert [borderline(SATURATION, np.array(v), "low") for v in values.values()] == [True, False, False]
    assert not borderline(SATURATION, np.array(values["low"]), "high")
    assert not borderline(SATURATION, np.array(values["low"]), None)
    assert borderline(RATE | {"clearly_high": 110.0}, np.array([105.0]), "high")
    assert not borderline(RATE, np.array([105.0]), "high")  # it has one limit alone
    claim = {"text": "saturation is low", "start": 0, "end": 17, "channel": "Oxygen saturation", "kind": "level",
             "verdict": "unverifiable", "quote": "", "hours": [], "spans": [], "direction": "low"}  # fmt: skip
    answer = {"note_rationale": "", "note_claims": [], "lab_rationale": "saturation is low", "claims": [claim]}
    for name, shown in (("low", BORDERLINE), ("usual", "? cannot be checked")):
        series = Links([SATURATION], np.array([0.0, 1, 2]), np.array(values[name])[:, None], [])
        assert f'class="verdict"> {shown}<' in str(rationale_view(answer, series))


def test_a_range_names_its_source_only_where_its_limits_are_the_published_ones():
    from ranges import OWN, full_range, short_range, source

    rate = RATE | {"clearly_low": 50.0}
    assert source(rate) == "bradycardia <60, <50 ACC/AHA/HRS; tachycardia >100"
    assert source(rate | {"high": 110}) == source(RATE) == OWN  # one has no clear limit
    assert source(rate | {"name": "Pulse"}) == OWN
    assert source(WEIGHT) == ""
    assert (full_range(rate), short_range(rate)) == ("60 to 100 /min; clearly below 50", "60–100")
    assert [short_range(channel) for channel in (SATURATION, {**WEIGHT, "high": 0.21}, WEIGHT)] == [
        "≥ 94",
        "≤ 0.21",
        "",
    ]


def test_channels_are_in_bedside_order_and_an_axis_is_no_finer_than_the_values():
    from charts import series_panels

    oxygen = {"name": "Fraction inspired oxygen", "unit": "fraction", "low": None, "high": 0.21, "decimals": 2}
    values = np.array([[7.4, 0.21, 80], [7.4, 0.21, 90]])
    html = str(series_panels([PH, oxygen, RATE], values, np.array([0.0, 1])))
    assert re.findall(r"<figcaption>([^<]*?) <", html) == ["Heart Rate", "Fraction inspired oxygen", "pH"]
    assert re.findall('id="(point-\\d)-0"', html) == ["point-2", "point-1", "point-0"]
    ticks = [float(tick) for tick in re.findall(r'text-anchor="end">([^<]*)<', html.split("<figure")[2])]
    assert all(round(tick, 2) == tick for tick in ticks)
