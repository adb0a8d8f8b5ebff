# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The app as a visitor uses it, in a browser; `conftest.py` says what its small model writes."""

import itertools
import os
import re
import subprocess
import sys
import time

import pytest

from tests.space.conftest import NOTE, SERIES, SPACE, App, Visit


TRAINED = SPACE.parent / "runs" / "quickstart" / "stage3"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "series.csv"
    path.write_text(SERIES)
    return path


@pytest.fixture
def answered(visit, table):
    """A visit with an answer for the record that the model was trained on."""
    visit.upload(table)
    visit.enter(NOTE)
    visit.write()
    return visit


def test_an_example_is_answered_with_diagnoses_text_claims_and_doubt(visit):
    example = visit.all("#example label")[5]
    name = example.text
    example.click()
    visit.wait(lambda: "home oxygen" in visit.text("#note-view"))
    assert "COPD" in name
    assert "Weight" in visit.text("#series-view .unmeasured")
    assert not visit.one("#find").is_displayed()
    visit.write()
    assert visit.all("#diagnoses .made")
    assert len(visit.all("#diagnoses li")) == 25
    assert "listed from 50.0%" in visit.text("#diagnoses")
    assert "listed, 50.0% for all" in visit.text("#diagnoses")
    assert visit.all("#rationale .part")
    assert visit.text("#doubt")
    assert "knows no finding that is specific" in visit.text("#knowledge")  # its processor holds none


def test_text_is_streamed_before_the_answer_is_whole(answered):
    answered.js(
        "window.seen = []; new MutationObserver(() => {"
        " const part = document.querySelector('#rationale .writing');"
        " window.seen.push([!!document.querySelector('#diagnoses .made'), part?.getAttribute('aria-busy'),"
        "   part?.textContent ?? '', document.querySelector('#status').textContent]);"
        "}).observe(document.querySelector('.answer'), {childList: true, subtree: true, characterData: true})"
    )
    answered.write()
    seen = answered.js("return window.seen")
    written = [text for made, busy, text, status in seen if made and busy == "true" and "Writing" in status]
    assert any(text and len(text) < len(answered.text("#rationale")) for text in written)


def test_only_supported_statements_are_shown_unless_the_models_own_words_are_requested(answered):
    def verdicts():
        return {claim.get_attribute("class").split()[1] for claim in answered.all("#rationale .claim")}

    assert verdicts() == {"supported"}
    assert "Heart Rate is low" not in answered.text("#rationale")
    assert "0 as the model wrote" not in answered.text("#rationale")
    assert re.search(r"\d sentences: \d as the model wrote", answered.text("#rationale"))
    answered.click("#grounded input")
    answered.write()
    assert verdicts() == {"supported", "contradicted", "absent"}
    assert "by rule" not in answered.text("#rationale")


def test_a_pointed_at_claim_marks_its_points_and_a_focused_one_its_words(answered):
    from selenium.webdriver.common.action_chains import ActionChains

    answered.click("#grounded input")
    answered.write()
    contradicted, supported = answered.all("#rationale .claim[data-links*=point]")
    ActionChains(answered.browser).move_to_element(supported.find_element("css selector", ".words")).perform()
    fever = {f"point-8-{row}" for row in range(2, 10)}  # the eight values of 39.6 °C from hour 5 on
    answered.wait(lambda: answered.linked() == fever)
    ring = "return getComputedStyle(document.querySelector(arguments[0])).stroke"
    assert answered.js(ring, "#point-8-2 .ring") != "none"
    assert answered.js(ring, "#point-8-0 .ring") == "none"
    assert "Temperature: 10 values, lowest 37.0 °C (hour 1.0)" in answered.text(".card.supported")
    assert "8 above the reference range (36 to 38 °C)" in answered.text(".card.supported")

    answered.js("arguments[0].focus()", answered.all("#rationale .claim")[0])
    assert answered.linked() == {"note-0"}
    assert answered.text("#note-0") == "Productive cough"
    assert "Affirmed in the note" in answered.text(".part:first-of-type .card")
    visible = (
        "const a = arguments[0].getBoundingClientRect();"
        "const b = document.querySelector('#note-read .note').getBoundingClientRect();"
    )
    assert answered.js(visible + "return a.top >= b.top && a.bottom <= b.bottom", answered.one("#note-0"))

    answered.press("\ue004")  # Tab, to the next claim
    assert answered.js("return document.activeElement.textContent").startswith("shaking chills")
    assert answered.linked() == set()  # of which the note does not speak
    assert "does not speak of it" in answered.text(".card.absent")
    answered.press("\ue004")
    assert answered.text(".piece.linked") == "chest pain"
    assert "noted otherwise" in answered.text(".part:first-of-type .card")
    answered.press("\ue00c")  # Escape
    assert answered.linked() == set()
    contradicted.click()
    assert all(name.startswith("point-3-") for name in answered.linked())
    assert contradicted.get_attribute("aria-pressed") == "true"


def test_without_the_note_the_answer_changes_and_says_so(answered):
    both = [item.text.split("\n")[0] for item in answered.all("#diagnoses .made")]
    rows = {row.text.split(" ")[0]: row.text for row in answered.all("#modalities tbody tr")}
    assert "not listed" in rows["Pneumonia"].replace("\n", " ")
    answered.click("#use-note input")
    answered.write()
    alone = [item.text.split("\n")[0] for item in answered.all("#diagnoses .made")]
    assert len(both) == 2
    assert [name.split(" ")[0] for name in alone] == ["Septicemia"]
    assert "Written without the note" in answered.text("#status")
    assert "Left out" in answered.text("#note-view")
    assert "There is no note" in answered.text("#rationale")
    answered.click("#use-note input")
    answered.click("#use-series input")
    answered.write()
    assert [item.text.split(" ")[0] for item in answered.all("#diagnoses .made")] == ["Pneumonia"]
    assert "Written without the measurements" in answered.text("#status")
    assert "Left out" in answered.text("#series-view")


def test_with_neither_input_a_sentence_says_so_and_the_answer_stays(answered):
    before = answered.text("#diagnoses")
    answered.click("#use-note input")
    answered.click("#use-series input")
    answered.click("#run")
    answered.wait(lambda: answered.all("#message .error"))
    assert "neither a note nor a measurement" in answered.text("#message")
    assert answered.text("#diagnoses") == before


def test_a_running_answer_is_not_shown_for_another_patient(visit):
    visit.js("document.querySelector('#run').click()")
    visit.wait(lambda: not visit.unanswered())
    visit.js("document.querySelectorAll('#example input')[3].click()")
    visit.wait(lambda: "hyperdense artery" in visit.text("#note-view") and visit.unanswered())
    time.sleep(1.5)  # longer than an answer takes
    assert visit.unanswered()
    assert "hyperdense artery" in visit.text("#note-view")
    visit.write()
    assert "hyperdense artery" in visit.text("#note-view")


@pytest.fixture
def never_cancelled(visit):
    """A visit with a request that continues when another patient is chosen; `window.seen` records each frame."""
    visit.browser.execute_cdp_cmd("Network.enable", {})
    visit.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/cancel"]})
    visit.js(
        "window.seen = []; const shown = (e) => e.getClientRects().length > 0;"
        "(function look() {"
        "  const note = document.querySelector('#note-view').innerText;"
        "  window.seen.push([note, [...document.querySelectorAll('.answer .plain')].some(shown)]);"
        "  requestAnimationFrame(look);"
        "})()"
    )
    yield visit
    visit.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    visit.browser.get_log("browser")  # the refusals are meant


def check_that_another_patient_stays_unanswered(visit):
    visit.wait(lambda: "hyperdense artery" in visit.text("#note-view"))
    time.sleep(0.3)  # frames
    assert visit.unanswered()
    assert "hyperdense artery" in visit.text("#note-view")
    assert "hyperdense artery" in visit.one("#note textarea").get_attribute("value")
    assert not [note for note, answered in visit.js("return window.seen") if "hyperdense artery" in note and answered]


def test_an_answer_that_comes_after_another_patient_is_not_shown(never_cancelled):
    visit = never_cancelled
    visit.js(
        "new MutationObserver((_, observer) => {"
        "  if (!document.querySelector('#status .begun')) return;"
        "  observer.disconnect();"
        "  document.querySelectorAll('#example input')[3].click();"
        "}).observe(document.querySelector('#status'), {childList: true, subtree: true})"
    )
    visit.js("document.querySelector('#run').click()")
    visit.wait(lambda: visit.all("#status .done"))  # the first patient's, out of sight
    check_that_another_patient_stays_unanswered(visit)


def test_evidence_that_comes_after_another_patient_is_not_shown(never_cancelled, table):
    visit = never_cancelled
    visit.upload(table)
    visit.enter(NOTE)
    visit.write()
    visit.js("document.querySelector('#find').click(); document.querySelectorAll('#example input')[3].click()")
    visit.wait(lambda: visit.all("#evidence .evidence") or visit.all("#message .error"))
    check_that_another_patient_stays_unanswered(visit)


def test_an_answer_asked_for_before_another_patient_has_come_is_of_neither_by_half(never_cancelled):
    visit = never_cancelled
    visit.js("document.querySelectorAll('#example input')[3].click(); document.querySelector('#run').click()")
    visit.wait(lambda: visit.all("#status .done") or visit.all("#message .error"))
    check_that_another_patient_stays_unanswered(visit)


def test_the_last_of_quickly_chosen_patients_is_shown(visit):
    visit.js(
        "const choose = (at) => { document.querySelectorAll('#example input')[at].click();"
        "  if (at < 3) requestAnimationFrame(() => choose(at + 1)); }; choose(1)"
    )
    visit.wait(lambda: "hyperdense artery" in visit.text("#note-view"))
    visit.write()
    assert "hyperdense artery" in visit.text("#note-view")
    assert visit.js("return document.querySelectorAll('#example input')[3].checked")


@pytest.mark.slow
def test_evidence_is_found_on_request_and_linked_to_the_record(answered):
    answered.click("#find")
    answered.wait(lambda: answered.all("#evidence .evidence"))
    titles = [title.text.split(" ")[0] for title in answered.all("#evidence h4")]
    assert titles == [made.text.split(" ")[0] for made in answered.all("#diagnoses .made .name")]
    assert set(titles) == {"Pneumonia", "Septicemia"}
    links = answered.all("#evidence [data-links*=note-]")
    answered.js("arguments[0].focus()", links[0])
    words = [piece.get_attribute("textContent") for piece in answered.all(".piece.linked")]
    assert "".join(words) == links[0].text.strip("“”")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hour,Temperature,Blood colour\n1,37,2\n", "line 1: unknown column 'Blood colour'"),
        ("hour,Temperature\n1,37\n2,secret words\n", "line 3, column 'Temperature': not a number"),
        ("time,Temperature\n1,37\n", "line 1: no header with a column hour"),
        ("", "The table of the series is empty"),
        ("hour,Temperature\n1,37,5\n", "line 2 has 3 cells under 2 columns"),
        (b"PK\3\4\0\xff\xfe", "this is not text"),
    ],
    ids=["unknown column", "text in a cell", "no hour column", "empty", "too many cells", "no text"],
)
def test_a_wrong_table_is_reported_in_a_sentence_and_changes_nothing(app, answered, tmp_path, content, said):
    before = [answered.text(view) for view in ("#note-view", "#series-view", "#diagnoses", "#rationale")]
    wrong = tmp_path / "wrong.csv"
    wrong.write_bytes(content if isinstance(content, bytes) else content.encode())
    answered.upload(wrong)
    (sentence,) = answered.all("#message [role=alert]")
    assert said.lower() in sentence.text.lower()
    assert "secret" not in sentence.text
    assert [answered.text(view) for view in ("#note-view", "#series-view", "#diagnoses", "#rationale")] == before
    answered.write()  # the earlier series are still there
    assert "39.6" in answered.one("#series-view table").get_attribute("textContent")
    assert answered.text("#diagnoses") == before[2]


def test_a_table_is_read_and_the_file_deleted(app, visit, table):
    visit.upload(table)
    assert "Read 16 measurements of 2 channels" in visit.text("#message")
    assert len(visit.all("#series-view .panel")) == 2
    assert len(visit.all("#series-view rect.gap")) == 1  # the heart rate from hour 5 to 15
    assert "Never measured: Systolic blood pressure" in visit.text("#series-view")
    assert not visit.all("#example input:checked")
    assert not [path for path in app.cache.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.slow
def test_values_that_the_model_will_not_read_are_named(visit, tmp_path):
    (tmp_path / "odd.csv").write_text("hour,Temperature\n1,37\n2,370\n")
    visit.upload(tmp_path / "odd.csv")
    assert "Temperature 370 °C at 2 h is left out: plausible is" in visit.text("#message")


@pytest.mark.slow
def test_the_template_can_be_uploaded_as_it_is(visit, tmp_path):
    import base64

    address = visit.one(".template").get_attribute("href")
    (tmp_path / "template.csv").write_bytes(base64.b64decode(address.split(",", 1)[1]))
    visit.upload(tmp_path / "template.csv")
    assert "of 11 channels" in visit.text("#message")


def test_all_requests_stay_here_and_the_console_is_silent(app, answered):
    answered.click("#find")
    answered.wait(lambda: answered.all("#evidence .evidence"))
    asked = answered.requests()
    assert len(asked) > 10
    assert not [url for url in asked if not url.startswith((app.address, "data:"))]
    assert answered.browser.get_log("browser") == []
    assert NOTE not in app.output
    assert "productive" not in app.output.lower()
    assert "Error" not in app.output
    stored = answered.js("return JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    assert "cough" not in stored


def test_the_browser_is_instructed_to_refuse_other_origins(answered):
    blocked = answered.browser.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', (event) => done(event.violatedDirective));"
        "fetch('http://127.0.0.2:9/').catch(() => {})"
    )
    assert blocked == "connect-src"
    answered.browser.get_log("browser")  # this refusal is meant


@pytest.mark.slow
def test_two_visitors_see_their_own_data_only(app, answered):
    first = answered.browser.current_window_handle
    answered.browser.switch_to.new_window("tab")
    try:
        other = Visit(answered.browser, app.address)
        other.all("#example label")[5].click()
        other.wait(lambda: "home oxygen" in other.text("#note-view"))
        other.write()
        assert "Productive" not in other.text("#note-view")
        second = other.text("#diagnoses")
        answered.browser.switch_to.window(first)
        answered.write()
        assert "Productive cough" in answered.text("#note-view")
        assert len(answered.all("#series-view .panel")) == 2
        answered.click("#find")
        answered.wait(lambda: answered.all("#evidence .evidence"))
        assert len(answered.all("#evidence h4")) == 2
        answered.browser.switch_to.window(answered.browser.window_handles[1])
        assert other.text("#diagnoses") == second
    finally:
        answered.browser.close()
        answered.browser.switch_to.window(first)


@pytest.mark.slow
def test_all_of_it_works_by_keyboard(visit):
    tab, space = "\ue004", " "
    reached = []
    for _ in range(60):
        visit.press(tab)
        where, value = visit.js("const e = document.activeElement; return [e.closest('[id]').id, e.value ?? '']")
        reached.append(where)
        outline = (
            "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth, s.boxShadow]"
        )
        style, thickness, shadow = visit.js(outline)
        assert (style != "none" and thickness != "0px") or shadow != "none", f"no visible focus at {where}"
        if value.startswith("71 F"):
            visit.press(space)
        if where == "run":
            break
    for control in ("example", "note", "upload", "use-note", "use-series", "run"):
        assert control in reached
    visit.wait(lambda: "leg swelling" in visit.text("#note-view"))
    visit.press("\ue007")
    visit.wait(lambda: visit.all("#status .done"))
    assert visit.all("#diagnoses .made")
    reached = set()
    for _ in range(60):
        visit.press(tab)
        where = visit.js("return [...document.activeElement.classList, document.activeElement.tagName, ''].join(' ')")
        style, thickness, _ = visit.js(outline)
        assert (style != "none", thickness != "0px") == (True, True), f"no visible focus at {where}"
        reached |= set(where.split())
        if "SUMMARY" in where and not visit.all("details[open]"):
            visit.press("\ue007")
            assert visit.all("details[open]")
        if "export-link" in reached:
            break
    assert {"SUMMARY", "BUTTON", "export-link"} <= reached


def test_everything_has_a_name_and_a_role(answered):
    unnamed = answered.js(
        """return [...document.querySelectorAll('input, textarea, button, a, [role=img], [tabindex="0"]')]
          .filter((e) => e.getClientRects().length)
          .filter((e) => !(e.getAttribute('aria-label') || (e.closest('label') ?? e).textContent.trim()))
          .map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    unsaid = answered.js(
        "return [...document.querySelectorAll('[data-links]')].filter((e) => e.getAttribute('role') !== 'button'"
        " || (e.hasAttribute('aria-describedby') && !document.getElementById(e.getAttribute('aria-describedby'))))"
        ".length"
    )
    assert unsaid == 0
    spoken = [picture.get_attribute("aria-label") for picture in answered.all("#series-view [role=img]")]
    assert spoken[0].startswith("Heart Rate: 6 values from 91 to 109 /min, 3 above the reference range; not")
    assert len(spoken) == 2
    assert answered.one("#status").get_attribute("role") == "status"
    assert answered.js("return document.documentElement.lang") == "en"
    headings = [int(h.tag_name[1]) for h in answered.all("h1, h2, h3, h4")]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    ids = answered.js("return [...document.querySelectorAll('[id]')].map((e) => e.id).filter(Boolean)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_width_with_text_of_readable_size(app, chrome, table, width):
    visit = Visit(chrome, app.address, width)
    visit.upload(table)
    visit.enter(NOTE)
    visit.write()
    visit.click("#find")
    visit.wait(lambda: visit.all("#evidence .evidence"))
    for details in visit.all("details"):
        visit.js("arguments[0].open = true", details)
    assert visit.js("return window.innerWidth") == width
    assert visit.js("return document.documentElement.scrollWidth") <= width
    small = visit.js(
        "return [...document.querySelectorAll('p, td, th, li, small, summary, label, button, svg text')]"
        ".filter((e) => e.getClientRects().length && parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0
    if width == 400:  # where the record is not beside the text the part in question is shown with it
        visit.js("arguments[0].focus()", visit.all("#rationale .claim[data-links*=point]")[0])
        assert visit.one(".card .glimpse").is_displayed()
        assert visit.all(".card .glimpse .point.linked")


@pytest.mark.slow
def test_a_dark_mode_leaves_it_light_and_readable(app, chrome):
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        visit = Visit(chrome, app.address)
        visit.write()
        colours = visit.js(
            """const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
            const ground = (e) => { for (; e; e = e.parentElement) {
              const c = rgb(getComputedStyle(e).backgroundColor);
              if (c.length < 4 || c[3] > 0.9) return c; } return [255, 255, 255]; };
            const texts = 'h1, h2, h3, p, label span, textarea, button, small, summary, .claim, .verdict, a';
            return [...document.querySelectorAll(texts)]
              .filter((e) => e.getClientRects().length && e.textContent.trim())
              .map((e) => [e.outerHTML.slice(0, 80), rgb(getComputedStyle(e).color), ground(e)])"""
        )
        assert len(colours) > 30
        for element, text, ground in colours:
            assert contrast(text, ground) >= 4.5, element
    finally:
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(*colours) -> float:
    """Contrast of two colours by WCAG 2."""

    def luminance(colour):
        parts = [c / 255 for c in colour[:3]]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.slow
@pytest.mark.skipif(not TRAINED.is_dir(), reason="needs the model of `make quickstart`")
def test_the_model_of_the_quickstart_answers_each_example(chrome, tmp_path):
    served = App(TRAINED, tmp_path)
    try:
        visit, names, abstained = Visit(chrome, served.address), [], []
        for position in range(len(visit.all("#example label"))):
            visit.all("#example label")[position].click()
            names.append(visit.text("#example label.selected"))
            visit.wait(lambda: visit.unanswered())
            visit.write()
            assert visit.all("#diagnoses .made")
            abstained.append(bool(visit.all("#doubt .abstain")))
            assert ("Not to be relied on" in visit.text("#diagnoses")) == abstained[-1]
            for claim in visit.all("#rationale .claim:not([data-links=''])"):
                visit.js("arguments[0].focus()", claim)
                assert visit.linked() == set(claim.get_attribute("data-links").split())
        assert len(set(names)) == 9
        assert abstained[5:] == [True] * 4  # a short note, none, no measurements, few of them
        assert not all(abstained[:5])
        assert chrome.get_log("browser") == []
    finally:
        served.stop()


def run(*arguments, **environment):
    env = {**os.environ, "PYTHONPATH": "", **environment}
    return subprocess.run(
        [sys.executable, str(SPACE / "app.py"), *arguments], capture_output=True, text=True, env=env, timeout=120
    )


@pytest.mark.slow
def test_a_missing_model_is_named_in_a_sentence(tmp_path):
    ended = run("--model", str(tmp_path / "nothing"))
    assert ended.returncode == 2
    assert "nothing cannot be loaded" in ended.stderr
    assert "Traceback" not in ended.stderr
    ended = run()
    assert ended.returncode == 2
    assert "CLINRAGEN_MODEL" in ended.stderr


def test_the_app_imports_nothing_of_the_project():
    own = {path.stem for path in SPACE.glob("*.py")}
    for path in SPACE.glob("*.py"):
        lines = [line.split() for line in path.read_text().splitlines()]
        imported = {words[1].split(".")[0] for words in lines if words and words[0] in ("import", "from")}
        assert not imported & {"modeling_clinragen", "recipes", "datasets_scripts"}
        assert imported <= own | set(sys.stdlib_module_names) | {
            "gradio", "jinja2", "markupsafe", "numpy", "starlette", "torch", "transformers", "the",
        }  # fmt: skip
