// The inbox: what waits for an answer, what became of the answers just given, and peace when nothing waits.

import { html } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { card } from "./card.js";
import { icon } from "./icons.js";
import { lookedAt } from "./learning.js";
import { outcome } from "./outcome.js";
import { to } from "./router.js";
import { visible } from "./safe.js";
import { graduatedSince, learning, state } from "./store.js";
import { ago, left, may, now, some } from "./words.js";

const RISKS = ["opens", "changes", "reads"];

/** The riskiest first, then the oldest; what is no longer tried comes after what is. */
const order = (a, b) => (b.still_trying - a.still_trying)
  || RISKS.indexOf(a.risk) - RISKS.indexOf(b.risk) || a.first_seen - b.first_seen;

function glance() {
  const here = [...state.devices.values()].filter((device) => device.place === "site" && device.admission === "admitted");
  const allowed = [...state.relationships.values()]
    .filter((view) => ["learned", "approved"].includes(view.relationship.status)).length;
  const blocked = [...state.relationships.values()].filter((view) => view.relationship.status === "denied").length;
  const number = (n, word, path) => html`<a href=${to(path)}><strong>${n}</strong><span>${word}</span></a>`;
  return html`<section class="glance" aria-label="At a glance">
    ${number(here.length, here.length === 1 ? "device" : "devices", "devices")}
    ${number(allowed, "things allowed", "table")}
    ${number(blocked, "blocked", "table")}</section>`;
}

function stillLearning() {
  const views = learning();
  if (!views.length) return "";
  const latest = Math.max(...views.map((view) => view.learning.ends_at_latest ?? 0));
  const average = views.reduce((sum, view) => sum + view.learning.progress, 0) / views.length;
  return html`<a class="learning-strip" href=${to("learning")}>${icon("learn")}
    <span><strong>${some(views.length, "program is", "programs are")} still learning</strong>
    What they do now is taken for normal. ${latest > now() ? `At most ${left(latest - now())} more.` : ""}
    <progress max="1" value=${average} aria-label="Learning"></progress></span>${icon("right")}</a>`;
}

function hasLearnt() {
  const fresh = graduatedSince(lookedAt());
  if (!fresh.length || learning().length) return "";
  return html`<a class="learning-strip" href=${to("learning")}>${icon("guarded")}
    <span><strong>${some(fresh.length, "program has", "programs have")} finished learning</strong>
    From now on you are asked about what is new. Look at what was learnt.</span>${icon("right")}</a>`;
}

/** The last few answers, where there is room for them. */
function lately() {
  const last = [...state.decisions.values()].sort((a, b) => b.decision.id - a.decision.id).slice(0, 5);
  if (!last.length) return "";
  return html`<section class="lately group"><h2>Lately</h2><ol class="entries">${last.map(({ decision }) => html`
    <li class="entry ${decision.undone_at ? "calm" : decision.approve ? "ok" : "no"}"><span class="mark">${icon(decision.approve ? "check" : "ban")}</span>
      <div><p><bdi>${visible(may(decision.sentence, decision.approve), 200)}</bdi></p>
      <p class="small">${visible(decision.by)}, ${ago(decision.at)}${decision.undone_at ? ", taken back" : ""}</p></div></li>`)}</ol>
    <a href=${to("history")}>All decisions</a></section>`;
}

function peace() {
  return html`<section class="empty"><span class="drawing">${icon("guarded")}</span>
    <h2>Nothing waits for you</h2>
    <p>When a device tries something new, it is blocked and shown here. It stays here until you decide.</p></section>`;
}

export const requests = {
  title: "Requests",
  view() {
    if (!state.loaded) return html`<div class="page"><h1>Requests</h1><div class="card waiting" aria-busy="true"><p>Loading …</p></div></div>`;
    const open = [...state.requests.values()].filter((request) => !state.answered.has(request.id)).sort(order);
    const answered = [...state.answered.values()].sort((a, b) => b.at - a.at);
    return html`<div class="page inbox">
      <h1>Requests <span class="count" aria-live="polite">${open.length ? some(open.length, "waits", "wait") : ""}</span></h1>
      <div class="columns"><div class="stream">
        ${repeat(answered, (kept) => kept.request.id, outcome)}
        ${repeat(open, (request) => request.id, card)}
        ${open.length ? "" : peace()}
      </div><aside>${stillLearning()}${hasLearnt()}${glance()}${lately()}</aside></div></div>`;
  },
};
