# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The page: a patient's note and series in; diagnoses, rationale, checked claims and doubt out.

It needs only the code of this project that comes with the model. Nothing is recorded, and the page loads nothing from
elsewhere.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from time import monotonic

import answers
import export
import gradio as gr
import place
import views
from charts import series_panels
from markup import counted, macros, upper_first
from markupsafe import Markup
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send


draw = macros("page.html")
HERE = Path(__file__).parent
REDRAWN_AFTER = 0.08  # seconds; the page is redrawn at most this often while text is written
LONGEST_NOTE = 50_000  # characters
SENTENCES = 3  # shown about unread values of a table

NOTICE = (
    "Research software, not a medical device: not for the diagnosis or treatment of patients. What it writes may be "
    "wrong, also where it is confident."
)
READS = {  # modality of a model that reads no other -> what the page says
    "note": "This model reads the note alone: no measurement counts for its answer.",
    "lab": "This model reads the measurements alone: the note does not count for its answer.",
}
START = "Choose a patient or enter one, then write. The answer appears here."
CHANGED = "The record has changed or is no longer at hand. Look at it and ask again, or choose or upload it anew."
GROUNDED = "write only what the record bears out"
TO_FIND = "Leaves out each part of the record in turn, and compares the probabilities."


Record = tuple[int, answers.Series]


class Page:
    """
    The page for one model. The series that a visitor uploads, and the record that was answered last, are kept in
    `gr.State`, which is each visitor's own, and nowhere else.

    Gradio applies the outputs of two events in any order, and may continue a cancelled event. So each chosen record
    has a number of its own, all outputs for it bear that number, and the page shows only those with the number of the
    present record (`draw.only`). No answer writes to the elements that show the record itself.

    Args:
        pipe (`Pipeline`): from [`answers.load`].
        model (`str`): its folder or Hub id, to be shown.
    """

    def __init__(self, pipe, model: str):
        self.pipe = pipe
        self.model = "/".join(Path(model).resolve().parts[-2:]) if Path(model).exists() else model
        self.channels = answers.channels_of(pipe)
        self.thresholds = answers.thresholds(pipe)
        self.examples = answers.examples(pipe)
        modalities = set(pipe.processor.modalities)
        self.notice = " ".join([NOTICE, *(READS[one] for one in modalities if len(modalities) == 1)])
        self.numbers = count(1)  # of records; the initial one has 0
        reads_both = {"note", "lab"} <= modalities
        self.blocks = gr.Blocks(title="ClinRaGen", fill_width=True, analytics_enabled=False, delete_cache=(600, 600))
        with self.blocks:
            html(self._header())
            with gr.Column(elem_classes="page"):
                with gr.Column(elem_classes="patient"):
                    self._build_patient(reads_both)
                with gr.Column(elem_classes="answer"):
                    self._build_answer(reads_both)
                with gr.Column(elem_classes="record"):
                    self._build_record()
            self._connect()
        self.blocks.queue(max_size=32, default_concurrency_limit=1)

    def launch(self, port: int | None) -> None:
        """Serve until interrupted, on this machine alone unless GRADIO_SERVER_NAME says otherwise, as in a Space."""
        _, address, _ = self.blocks.launch(
            server_port=port,
            theme=light_theme(),
            css_paths=HERE / "style.css",
            head=f"<script>{(HERE / 'link.js').read_text(encoding='utf-8')}</script>",
            app_kwargs={
                "middleware": [Middleware(OwnOriginOnly)],
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
            },
            footer_links=[],
            run_history=False,  # it would keep notes in the visitor's browser
            ssr_mode=False,
            enable_monitoring=False,
            max_file_size="5mb",
            share=False,
            quiet=True,
            prevent_thread_lock=True,
        )
        if not place.is_of_this_machine(place.host()):
            print(f"warning: {place.NETWORK}", file=sys.stderr, flush=True)
        print(f"ClinRaGen at {address}", flush=True)
        self.blocks.block_thread()

    def _header(self) -> Markup:
        known = counted(len(self.channels), "kind of measurement", "kinds of measurement")
        about = f"Model {self.model}: {len(self.thresholds)} diagnoses (groups of diagnosis codes), {known}."
        return draw.header(self.notice, place.where_it_goes(), about)

    def _build_patient(self, reads_both: bool) -> None:
        first = next(iter(self.examples))
        note, series = self.examples[first]
        self.record = gr.State((0, series))  # the number of the record, and its series
        html("<h2>Patient</h2>")
        self.example = gr.Radio(list(self.examples), value=first, label="Invented patients", elem_id="example")
        self.note = gr.Textbox(note, label="Note", lines=8, max_lines=8, max_length=LONGEST_NOTE, elem_id="note")
        with gr.Row(elem_classes="upload"):
            self.upload = gr.UploadButton("Upload measurements (CSV)", elem_id="upload", scale=0)
            html(self._template())
        with gr.Column(elem_id="message", elem_classes="plain"):
            self.message = html("")  # about a table
            self.refusal = html("")  # about a request
        grounds = answers.can_ground(self.pipe)
        with gr.Row(elem_classes="use", visible=reads_both or grounds):
            self.use_note = gr.Checkbox(True, label="use the note", elem_id="use-note", visible=reads_both)
            self.use_series = gr.Checkbox(True, label="use the measurements", elem_id="use-series", visible=reads_both)
            self.grounded = gr.Checkbox(True, label=GROUNDED, elem_id="grounded", visible=grounds)
        self.run = gr.Button("Write diagnoses and rationale", variant="primary", elem_id="run")

    def _build_record(self) -> None:
        note, series = self.examples[self.example.value]
        html("<h2>Record</h2>")
        html("<h3>Note as last read <small>dotted: words that the answer cites</small></h3>")
        with gr.Column(elem_id="note-view", elem_classes="plain"):
            self.note_view = html(draw.note([], note), "note-given")
            self.note_read = html("", "note-read")  # replaces it once there is an answer
        html("<h3>Measurements over the hours since ICU admission</h3>")
        with gr.Column(elem_id="series-view", elem_classes="plain"):
            self.series_unread = html("", "series-unread")
            self.series_view = html(series_panels(self.channels, *series), "series-given")

    def _build_answer(self, reads_both: bool) -> None:
        self.answered = gr.State()
        html("<h2>Answer</h2>")
        self.current = html(draw.only(0, START))  # the record of the answer shown
        self.status = html("", "status")
        with gr.Column(elem_classes="plain"):
            self.doubt = html("", "doubt")
            html("<h3>Diagnoses</h3>")
            self.diagnoses = html("", "diagnoses")
            html("<h3>Rationale</h3>")
            self.rationale = html("", "rationale")
            with gr.Column(visible=reads_both, elem_classes="plain"):
                html("<h3>With the note or the measurements alone</h3>")
                self.modalities = html("", "modalities")
            html("<h3>What each diagnosis rests on</h3>")
            self.find = gr.Button("Find the evidence", elem_id="find", size="sm")
            self.evidence = html(draw.hint(TO_FIND), "evidence")
            html("<h3>Findings of this record in the knowledge base</h3>")
            self.knowledge = html("", "knowledge")
            self.export = html("", "export")

    def _connect(self) -> None:
        read = [self.note_read, self.series_unread, self.answered, self.status]
        answer = [self.refusal, self.diagnoses, self.doubt, self.rationale]
        answer += [self.modalities, self.evidence, self.knowledge, self.export]
        record = [self.current, self.record, self.note_view, self.series_view, self.message]
        at_hand = [self.current, self.record]
        given = [*at_hand, self.note, self.use_note, self.use_series, self.grounded]
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        model = {**quiet, "concurrency_id": "model"}  # visitors are served in turn
        write = self.run.click(self.write, given, [*read, *answer], **model)
        found = [self.note_read, self.refusal, self.evidence, self.export]
        find = self.find.click(self.find_evidence, [self.current, self.answered], found, **model)
        self.example.input(
            self.take_example, self.example, [self.note, *record, *read], trigger_mode="always_last", **quiet
        )
        table = [*at_hand, self.note, self.upload]
        self.upload.upload(self.take_csv, table, [self.example, *record, *read], **quiet)
        # Running events of the previous record are useless; correctness does not depend on cancelling them in time.
        self.current.change(None, cancels=[write, find], api_visibility="private")

    def _template(self) -> Markup:
        table = base64.b64encode(answers.template_csv(self.pipe).encode()).decode()
        return draw.csv_template(table)

    def take_example(self, name: str) -> dict:
        note, series = self.examples[name]
        return {self.note: note, self.message: "", **self._new_record(note, series)}

    def take_csv(self, current: str, record: Record, note: str, path: str) -> dict:
        """Show the series of an uploaded table, or the error if it cannot be read; the file is deleted."""
        try:
            table = Path(path).read_bytes()
        finally:
            Path(path).unlink(missing_ok=True)
        if not self._is_at_hand(current, record):
            return {self.message: draw.error(CHANGED)}
        try:
            series, left_out = answers.read_csv(self.pipe, table)
        except ValueError as error:
            return {self.message: draw.error(f"The table was not read. {sentence(error)}")}
        said = draw.table_read(_summary(series), left_out[:SENTENCES], len(left_out) - SENTENCES)
        return {self.example: None, self.message: said, **self._new_record(note, series)}

    def _new_record(self, note: str, series: answers.Series) -> dict:
        """Show a record under a new number, and hide the answer to the previous record."""
        number = next(self.numbers)
        return {
            self.current: draw.only(number, START),
            self.record: (number, series),
            self.note_view: draw.note([], note),
            self.series_view: series_panels(self.channels, *series),
            self.answered: None,
            **dict.fromkeys((self.note_read, self.series_unread, self.status), ""),
        }

    @staticmethod
    def _is_at_hand(current: str, record: Record) -> bool:
        """Return whether the page showed this record, and thus its note, at the time of the request."""
        return current == draw.only(record[0], START)

    def write(
        self, current: str, record: Record, note: str, use_note: bool, use_series: bool, grounded: bool
    ) -> Iterator[dict]:
        """Write the answer: diagnoses first, then the text as it grows, then its claims and all that follows."""
        if not self._is_at_hand(current, record):
            yield {self.refusal: draw.error(CHANGED)}
            return
        number, series = record
        for shown in self._written(note, series, use_note, use_series, grounded):
            if self.answered in shown:
                shown[self.answered]["record"] = number
            yield of_record(number, shown)

    def _written(
        self, note: str, series: answers.Series, use_note: bool, use_series: bool, grounded: bool
    ) -> Iterator[dict]:
        given = (note if use_note else "", series if use_series else answers.no_series(self.pipe))
        left_out = " and the ".join(
            name for name, used in (("note", use_note), ("measurements", use_series)) if not used
        )
        start, redrawn = monotonic(), 0.0
        try:
            for part in answers.answer(self.pipe, *given, grounded):
                if "claims" in part:
                    yield self._whole(part, given, (note, series), left_out) | {
                        self.status: views.status_view(part, left_out, monotonic() - start)
                    }
                elif "probabilities" in part:
                    yield self._first(part, note, use_note, use_series)
                elif monotonic() - redrawn > REDRAWN_AFTER:
                    texts = answers.written(self.pipe, part["generated_text"])
                    if any(texts):
                        redrawn = monotonic()
                        yield {self.rationale: views.streamed_view(*texts)}
        except ValueError as error:
            yield {self.refusal: draw.error(sentence(error))}

    def _first(self, part: dict, note: str, use_note: bool, use_series: bool) -> dict:
        note_view = draw.note([], note)
        return {
            self.refusal: "",
            self.note_read: note_view if use_note else draw.left_out("note", note_view),
            self.series_unread: "" if use_series else draw.left_out("measurements"),
            self.status: draw.begun(),
            self.diagnoses: views.diagnoses_view(part["diagnoses"], part["probabilities"], self.thresholds),
            **dict.fromkeys((self.doubt, self.rationale, self.modalities, self.knowledge, self.export), ""),
            self.evidence: draw.hint(TO_FIND),
        }

    def _whole(
        self, answer: dict, given: tuple[str, answers.Series], record: tuple[str, answers.Series], left_out: str
    ) -> dict:
        links = self._links(given, answer)
        made = answer["diagnoses"], answer["probabilities"], self.thresholds
        answered = {"given": given, "left_out": left_out, "answer": answer, "modalities": Markup("")}
        if answer["probabilities"]:
            variants = answers.probabilities_without(self.pipe, *record)
            answered["modalities"] = views.modalities_view(variants, self.thresholds)
        shown = {
            self.answered: answered,
            self.doubt: views.doubt_view(answer["doubt"]),
            self.diagnoses: views.diagnoses_view(*made, answer["doubt"]["abstain"]),
            self.rationale: views.rationale_view(answer, links),
            self.modalities: answered["modalities"],
            self.knowledge: views.knowledge_view(answer["knowledge"], *made[1:]),
            self.export: self._export(answered),
        }
        if given[0]:
            shown[self.note_read] = links.note(given[0])
        return shown

    def _export(self, answered: dict, evidence: list[dict] | None = None) -> Markup:
        about = self.model, self.notice, self.channels, self.thresholds
        return export.export_link(*about, answered, answered["modalities"], evidence)

    def _links(self, given: tuple[str, answers.Series], answer: dict, evidence: list[dict] = ()) -> views.Links:
        values, hours = given[1]
        spans = [span for claim in answer["note_claims"] for span in claim["spans"]]
        spans += [(item["start"], item["end"]) for entry in evidence for item in entry["note"]]
        return views.Links(self.channels, hours, values, spans)

    def find_evidence(self, current: str, answered: dict | None) -> dict:
        if answered is None or current != draw.only(answered["record"], START):
            return {self.refusal: draw.error("There is no answer yet; write one first.")}
        try:
            evidence = answers.evidence(self.pipe, *answered["given"])
        except ValueError as error:  # of a model without probabilities
            return {self.refusal: draw.error(sentence(error))}
        links = self._links(answered["given"], answered["answer"], evidence)
        drawn = views.evidence_view(evidence, answered["answer"]["probabilities"], links)
        shown = {self.evidence: drawn, self.export: self._export(answered, evidence)}
        if answered["given"][0]:
            shown[self.note_read] = links.note(answered["given"][0])
        return of_record(answered["record"], shown)


def of_record(number: int, shown: dict) -> dict:
    """Mark outputs, however late, with the number of their record."""
    return {where: draw.of_record(number, view) if isinstance(view, Markup) else view for where, view in shown.items()}


def html(value: str, name: str | None = None) -> gr.HTML:
    return gr.HTML(value, elem_id=name, apply_default_css=False, js_on_load=None)


def sentence(error: ValueError) -> str:
    """Return the first line of an error, as a sentence."""
    return upper_first(str(error).splitlines()[0]) + "."


def _summary(series: answers.Series) -> str:
    measured = ~(series[0] != series[0])
    channels = counted(int(measured.any(axis=0).sum()), "channel")
    return f"Read {counted(int(measured.sum()), 'measurement')} of {channels}. The file was deleted from this machine."


def light_theme() -> gr.themes.Base:
    """Return a theme with the visitor's system fonts, and the same light colours in dark mode."""
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    for name in [name for name in vars(theme) if name.endswith("_dark")]:
        setattr(theme, name, getattr(theme, name.removesuffix("_dark"), None))
    return theme


POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'"
)


class OwnOriginOnly:
    """Make the browser block all requests of the page to other origins."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)
