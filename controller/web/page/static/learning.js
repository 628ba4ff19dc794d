// Learning made visible: how far, how long still, ending it, starting it again, and a look at what was learnt.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { riskChip } from "./card.js";
import { icon, tile } from "./icons.js";
import { to } from "./router.js";
import { name, visible } from "./safe.js";
import { openSheet, redrawSheet } from "./sheet.js";
import { atLeast, changed, deviceOf, graduatedSince, learning, state } from "./store.js";
import { complain, toast } from "./toast.js";
import { left, now, some } from "./words.js";
import { openWhy } from "./why.js";

async function learn(view, action) {
  try {
    await api.post(`/services/${api.part(view.service.id)}/learn`, { action });
    toast(action === "start"
      ? { text: html`${name(view.service.name)} learns again: what it does now is taken for normal.`, icon: "learn", undo: () => learn(view, "end") }
      : { text: html`${name(view.service.name)} has learnt enough: what is new is asked from now on.`, icon: "guarded", tone: "ok", undo: () => learn(view, "start") });
    changed(true);
  } catch (problem) {
    complain(problem);
  }
}

function found(review) {
  const nothing = html`<p class="verdict ok">${icon("check")}<strong>Nothing deserves a second look</strong></p>`;
  return html`<p><strong>${some(review.learnt, "relationship")} learnt</strong>${review.worth_a_look.length
      ? html`, ${review.worth_a_look.length} ${review.worth_a_look.length === 1 ? "deserves" : "deserve"} a look:` : "."}</p>
    ${review.worth_a_look.length ? html`<ul class="reasons">${review.worth_a_look.map((one) => html`
      <li>${icon("alert")}<div><p><bdi>${visible(one.sentence, 300)}</bdi></p>
        <p class="small">${visible(one.why, 300)}</p>
        <p>${riskChip(one.risk, one.sentence)} <button class="quiet" @click=${() => openWhy(one.relationship)}>Why is it allowed?</button></p></div></li>`)}</ul>` : nothing}`;
}

export async function openReview(view) {
  let body = html`<p aria-busy="true">Looking …</p>`;
  openSheet(html`What ${name(view.service.name)} learnt`, () => body, { wide: true });
  try {
    body = found(await api.get(`/services/${api.part(view.service.id)}/review`));
  } catch (problem) {
    body = html`<p>${problem.message} ${problem.remedy}</p>`;
  }
  redrawSheet();
}

/** A program's learning: progress and time left while it lasts, then the review, and learning again. */
export function lesson(view) {
  const { learning: phase } = view;
  if (!phase) {
    return html`<div class="lesson"><p class="small">${icon("check")}Has learnt; ${some(view.relationships, "relationship")}</p>
      <div class="row"><button class="quiet" @click=${() => openReview(view)}>Review</button>
      ${atLeast("manager") ? html`<button class="quiet" @click=${() => learn(view, "start")}>Learn again</button>` : ""}</div></div>`;
  }
  const rest = phase.ends_at_latest ? `At most ${left(phase.ends_at_latest - now())} more` : "Ends once nothing new comes";
  return html`<div class="lesson"><p class="small">${icon("learn")}Learning: ${Math.round(phase.progress * 100)} %. ${rest}; ${some(view.relationships, "relationship")} so far</p>
    <progress max="1" value=${phase.progress} aria-label="Learning of ${visible(view.service.name)}"></progress>
    <div class="row">${atLeast("manager") ? html`<button class="quiet" @click=${() => learn(view, "end")}>End now</button>` : ""}
    <button class="quiet" @click=${() => openReview(view)}>Look at it</button></div></div>`;
}

function program(view) {
  const device = deviceOf(view.service.id);
  return html`<li class="program">${tile(device)}<div class="who"><a href=${to("device", device?.id ?? "")}>${name(device?.name)}</a>
    <small>${visible(view.service.name)}</small></div>${lesson(view)}</li>`;
}

// What was learnt since somebody looked last: rated by risk, and put before him once.

const LOOKED = "graphwall-looked";
const AT_ONCE = 6;
const REVIEWS = 60; // at most; each is a question to the controller
let reviews = null; // {learnt, look: [{view, found}]} while it is on the page

export const lookedAt = () => Number(localStorage.getItem(LOOKED)) || 0;

async function reviewAll() {
  const fresh = graduatedSince(lookedAt()).slice(0, REVIEWS);
  const made = fresh.length ? { learnt: 0, look: [], programs: fresh.length } : null;
  reviews = made;
  for (let n = 0; n < fresh.length; n += AT_ONCE) {
    const some_ = fresh.slice(n, n + AT_ONCE);
    const found = await Promise.all(some_.map((view) => api.get(`/services/${api.part(view.service.id)}/review`).catch(() => null)));
    if (reviews !== made) return; // somebody has looked already, or begins again
    for (const review of found.filter(Boolean)) {
      made.learnt += review.learnt;
      const known = new Set(made.look.map((one) => one.relationship));
      made.look.push(...review.worth_a_look.filter((one) => !known.has(one.relationship)));
    }
    changed(true);
  }
}

function finish() {
  localStorage.setItem(LOOKED, String(now()));
  reviews = null;
  changed(true);
}

function learntLately() {
  if (!reviews) return "";
  return html`<section class="card" aria-label="What was learnt"><h2>${some(reviews.programs, "program has", "programs have")} finished learning</h2>
    ${found({ learnt: reviews.learnt, worth_a_look: reviews.look })}
    <div class="row end"><button class="primary" @click=${finish}>${icon("check")}I have looked</button></div></section>`;
}

export const learningPage = {
  title: "Learning",
  enter: reviewAll,
  view() {
    const now_ = learning().sort((a, b) => a.learning.progress - b.learning.progress);
    const done = [...state.services.values()].filter((view) => !view.learning && view.device?.place !== "remote" && view.relationships > 0)
      .sort((a, b) => (deviceOf(a.service.id)?.name ?? "").localeCompare(deviceOf(b.service.id)?.name ?? ""));
    return html`<div class="page narrow"><h1>Learning</h1>
      <p class="lead">While a program learns, all that it does passes and is taken for normal. It ends by itself once nothing new comes.</p>
      ${learntLately()}
      <section class="group"><h2>Learning now <span class="count">${now_.length || ""}</span></h2>
        ${now_.length ? html`<ul class="list">${repeat(now_, (view) => view.service.id, program)}</ul>`
          : html`<p class="empty small">${icon("guarded")}Nothing is learning: whatever is new is blocked, and you are asked.</p>`}</section>
      ${done.length ? html`<section class="group"><h2>Has learnt <span class="count">${done.length}</span></h2>
        <ul class="list">${repeat(done, (view) => view.service.id, program)}</ul></section>` : ""}
    </div>`;
  },
};
