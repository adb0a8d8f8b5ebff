// Copyright 2026 The ClinRaGen contributors
// SPDX-License-Identifier: Apache-2.0
//
// Links what is said to the record: a claim that is pointed at, focused or tapped marks the points of the series and
// the pieces of the note named in its `data-links`, and what the record says of it stands below the text. It stays so
// until another one is, or Escape is pressed.
(() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  function clear() {
    for (const element of document.querySelectorAll(".linked")) element.classList.remove("linked");
    for (const element of document.querySelectorAll("[data-links][aria-pressed=true]")) {
      element.setAttribute("aria-pressed", "false");
    }
  }

  function activate(claim) {
    if (claim.getAttribute("aria-pressed") === "true") return;
    clear();
    claim.setAttribute("aria-pressed", "true");
    const targets = claim.dataset.links.split(" ").map((id) => document.getElementById(id)).filter(Boolean);
    for (const target of targets) target.classList.add("linked");
    for (const panel of new Set(targets.map((target) => target.closest(".panel")))) panel?.classList.add("linked");
    explain(claim, targets[0]);
    if (targets.length) reveal(targets[0].closest(".panel") ?? targets[0]);
  }

  // The evidence below the text, and where the record is not beside it also the part of the record.
  function explain(claim, target) {
    const card = claim.closest(".part")?.querySelector(".card");
    if (!card) return;
    const words = document.createElement("p");
    words.textContent = claim.querySelector(".explanation").textContent;
    card.className = `card ${["supported", "contradicted", "absent", "unverifiable"].find((v) => claim.classList.contains(v))}`;
    card.replaceChildren(words);
    const panel = target?.closest(".panel");
    if (panel) {
      const glimpse = panel.cloneNode(true);
      for (const element of glimpse.querySelectorAll("[id]")) element.removeAttribute("id");
      glimpse.classList.remove("linked");
      glimpse.classList.add("glimpse");
      glimpse.setAttribute("aria-hidden", "true");
      card.append(glimpse);
    }
  }

  // Scrolls what holds the element into view, of boxes that scroll themselves; the page stays where it is.
  function reveal(element) {
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
      if (box.scrollHeight <= box.clientHeight || !/auto|scroll/.test(getComputedStyle(box).overflowY)) continue;
      const inner = element.getBoundingClientRect();
      const outer = box.getBoundingClientRect();
      if (inner.top >= outer.top && inner.bottom <= outer.bottom) continue;
      const top = box.scrollTop + inner.top - outer.top - (outer.height - inner.height) / 2;
      box.scrollTo({ top, behavior: calm.matches ? "auto" : "smooth" });
    }
  }

  const claimOf = (event) => (event.target instanceof Element ? event.target.closest("[data-links]") : null);
  let resting = "";  // where the pointer is; a claim that is scrolled under it is not pointed at
  const place = (event) => `${event.screenX} ${event.screenY}`;
  document.addEventListener("mousemove", (event) => { resting = place(event); });
  for (const name of ["mouseover", "focusin", "click"]) {
    document.addEventListener(name, (event) => {
      const claim = claimOf(event);
      if (claim && !(name === "mouseover" && place(event) === resting)) activate(claim);
    });
  }
  document.addEventListener("keydown", (event) => {
    const claim = claimOf(event);
    if (event.key === "Escape") clear();
    if (claim && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      activate(claim);
    }
  });

  // The answer comes into view as it begins.
  function follow() {
    const answer = document.querySelector(".answer");
    new MutationObserver(() => {
      if (!answer.querySelector(".begun")?.getClientRects().length) return;  // none, or of another record
      requestAnimationFrame(() => answer.scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" }));
    }).observe(document.getElementById("status"), { childList: true, subtree: true });
  }

  // What a component cannot be given: regions that are read aloud as they change, and landmarks.
  const roles = { "#status": { role: "status" }, "#rationale": { "aria-live": "polite" } };
  const names = { ".patient": "Patient", ".record": "Record", ".answer": "Answer" };
  for (const [selector, label] of Object.entries(names)) roles[selector] = { role: "region", "aria-label": label };
  const mounted = new MutationObserver(() => {
    if (!Object.keys(roles).every((selector) => document.querySelector(selector))) return;
    for (const [selector, attributes] of Object.entries(roles)) {
      for (const [name, value] of Object.entries(attributes)) document.querySelector(selector).setAttribute(name, value);
    }
    mounted.disconnect();
    follow();
  });
  mounted.observe(document.documentElement, { childList: true, subtree: true });
})();
