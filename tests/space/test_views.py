# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What the app draws, without a browser."""

import json
import re
from html import unescape

import numpy as np
import pytest
from hypothesis import given, settings
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


def links(spans=()):
    from views import Links

    hours = np.array([0.0, 1.0, 2.5, 9.0])
    values = np.array([[80, NAN], [120, 7.4], [NAN, 7.2], [50, NAN]])
    return Links([RATE, PH], hours, values, spans)


@settings(deadline=None)
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
    assert "2 values from 93 to 100 %, 0 above and 1 below the reference range" in saturation
    assert 'class="band"' not in weight
    assert "reference range" not in weight
    assert "at least 94 %; clearly below 90" in table
    assert "<td>none</td>" in table


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
    assert "threshold 5.0%" in words(html)
    assert "No diagnosis reaches its threshold." in words(diagnoses_view([], probabilities, thresholds))
    assert words(diagnoses_view(made, {}, thresholds)) == "disease 1disease 8"


def test_a_claim_is_told_by_a_word_and_linked():
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
    assert html.count('class="claim') == 2  # what states nothing of a channel is no claim
    assert "pH is &lt;low&gt;" in html
    assert "✗ contradicted. pH: 1 value." in words(html)
    assert "✓ supported. Affirmed." in words(html)


def test_a_finding_that_is_not_in_the_note_and_its_argument_are_told():
    from views import rationale_view, status_view

    claim = {"text": "rigors", "start": 0, "end": 6, "channel": None, "kind": "note", "verdict": "absent",
             "quote": "not in the note", "hours": [], "spans": [], "diagnoses": ["Shock", "<b>Pneumonia"]}  # fmt: skip
    answer = {"note_rationale": "Rigors.", "note_claims": [claim], "lab_rationale": "", "claims": [], "diagnoses": []}
    assert "1 not in the note" in words(status_view(answer, "", 1.0))
    assert "✗ not in the note. Not in the note." in words(rationale_view(answer, links()))
    for argument, said in (
        ("linked", "The knowledge links it with Shock and <b>Pneumonia."),
        ("unlinked", "The knowledge does not link it with Shock and <b>Pneumonia."),
        ("unknown", "The knowledge does not know it as a finding of Shock and <b>Pneumonia."),
    ):
        html = str(rationale_view(answer | {"note_claims": [claim | {"argument": argument}]}, links()))
        assert said in words(html)
        assert "<b>" not in html
        assert ("finding of" in html) == (argument == "unknown")


def test_html_in_a_record_or_an_answer_stays_text():
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
    series = {"channel": evil, "from_hour": 0.0, "to_hour": 9.0, "effect": 2.0}
    evidence = {"label": evil, "note": [{"text": evil, "start": 0, "end": 4, "effect": 3.0}], "series": [series],
                "knowledge": [{"term": evil, "effect": 1.0}]}  # fmt: skip
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
        views.evidence_view([evidence], links),
        views.modalities_view({evil: share}, share),
        views.knowledge_view(
            [{"term": evil, "label": evil, "part": "note", "weight": 0.1}],
            {"patch_hours": 8, "terms": [evil], "weights": [[0.2]]},
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


def test_doubt_is_said_plainly():
    from views import doubt_view

    helpful = {"missing": "Weight", "change": 0.2, "diagnosis": "Shock"}
    said = words(doubt_view({"abstain": True, "reasons": ["the note is empty"], "would_help": [helpful]}))
    assert said.startswith("The model abstains: the record holds too little. The note is empty.")
    assert "Weight (for Shock)" in said
    said = words(doubt_view({"abstain": False, "reasons": [], "would_help": [helpful | {"change": 0.001}]}))
    assert "no reason to abstain" in said
    assert "No single missing measurement" in said


def test_a_probability_is_never_shown_as_certain():
    from markup import percent

    shares = [0, 0.0004, 0.0314, 0.5, 0.9991, 1]
    assert [percent(share) for share in shares] == ["<0.1%", "<0.1%", "3.1%", "50.0%", ">99.9%", ">99.9%"]


def test_odds_are_divided_by_what_the_log_odds_drop():
    from views import divisor

    assert divisor(np.log(2.5)) == "2.5"
    assert divisor(np.log(1234)) == "1,200"
    assert divisor(20) == "over 50,000"


def test_terms_of_the_knowledge_say_where_they_stand_and_what_they_belong_to():
    from views import knowledge_view

    fever = {"term": "fever", "label": "Pneumonia", "part": "note", "weight": 0.6}
    pulse = {"term": "fast heart rate", "label": "Shock", "part": "lab", "weight": 0.2}
    over_time = {"patch_hours": 8, "terms": ["fever"], "weights": [[0.2, None, 0.1]]}
    shown = str(knowledge_view([fever, pulse], over_time))
    cells = [cell.strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", shown, re.DOTALL)]
    gap = '<span class="unseen">not measured</span>'
    assert cells[:5] == ["note", "Pneumonia (60.0%)", "20.0", gap, "10.0"]
    assert cells[5:] == ["series", "Shock (20.0%)", "–"]
    assert "0–8" in shown
    assert "16–24" in shown
    alone = str(knowledge_view([pulse], None))
    assert re.findall(r"<td[^>]*>(.*?)</td>", alone) == ["series", "Shock (20.0%)"]
    assert "attention" not in alone
    assert "No term" in words(knowledge_view([], None))


def test_the_most_attended_terms_of_an_older_model_folder_are_not_drawn_as_the_patients_own():
    from views import knowledge_view

    over_time = {"patch_hours": 8, "terms": ["tendon xanthoma"], "weights": [[0.2]]}
    assert "No term" in words(knowledge_view([{"term": "tendon xanthoma", "weight": 0.2}], over_time))


def test_what_changes_without_an_input_is_a_row_for_each_diagnosis_that_is_made():
    from views import modalities_view

    variants = {"both": {"a": 0.9, "b": 0.1, "c": 0.2}, "no note": {"a": 0.3, "b": 0.6, "c": 0.1}, "no series": None}
    html = str(modalities_view(variants, dict.fromkeys("abc", 0.5)))
    assert re.findall(r'<th scope="row">(\w)</th>', html) == ["a", "b"]
    assert re.findall(r"<td[^>]*>(.*?)</td>", html)[:3] == ["90.0%", "30.0%<small>not made</small>", "–"]


def test_examples_are_small_and_whole():
    paths = sorted((SPACE / "examples").glob("*.json"))
    assert len(paths) == 5
    for path in paths:
        example = json.loads(path.read_text())
        assert set(example) == {"name", "note", "labs"}
        assert path.stat().st_size < 10_000
        assert all(len(pair) == 2 for pairs in example["labs"].values() for pair in pairs)


def test_what_normal_means_is_told_as_the_model_has_it():
    from charts import series_panels

    values, hours = np.array([[93.0], [88.0]]), np.array([0.0, 1])
    clinical = str(series_panels([SATURATION], values, hours))
    assert "clear limit" in words(clinical)
    (height,) = re.findall(r'y1="([\d.]+)%" y2="\1%" class="clear"', clinical)
    points = [float(y) for y in re.findall(r'<svg x="[\d.]+%" y="([\d.]+)%"', clinical)]
    assert points[0] < float(height) < points[1]  # 93 above the clear limit of 90, 88 below it
    trained = str(series_panels([{**SATURATION, "clearly_low": None}], values, hours))
    assert "clear" not in trained
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
    assert "3 sentences: 1 as the model wrote it, 1 put right from the record, 1 composed" in shown
    assert "A cough ✓ supported. A cough ✓ supported. [composed]" in shown
    assert "pH was 7.2. [put right]" in shown
    told = words(rationale_view({key: answer[key] for key in answer if key != "sentences"}, links()))
    assert "[" not in told
    assert "as the model wrote" not in told
