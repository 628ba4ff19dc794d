// Every decision with who, when and what became of it; each can be undone for ever. And the log beside it.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { undo } from "./deciding.js";
import { icon } from "./icons.js";
import { effect } from "./outcome.js";
import { visible } from "./safe.js";
import { atLeast, changed, state } from "./store.js";
import { complain } from "./toast.js";
import { clock, day, DURATIONS, exactly, may, now, SCOPES } from "./words.js";
import { openWhy } from "./why.js";

const PAGE = 50;
let shown = "decisions";
let most = PAGE;
let log = { entries: [], next: undefined, version: -1 };

/** Entries under the day they happened on. */
function byDay(entries, at, one) {
  const days = new Map();
  for (const entry of entries) {
    const word = day(at(entry));
    days.set(word, [...(days.get(word) ?? []), entry]);
  }
  return [...days].map(([word, found]) => html`<section><h2>${word}</h2><ol class="entries">${one(found)}</ol></section>`);
}

function decided(view) {
  const { decision } = view;
  const over = decision.until && decision.until < now();
  const tone = decision.undone_at || over ? "calm" : decision.approve ? "ok" : "no";
  return html`<li class="entry ${tone}">
    <span class="mark">${icon(decision.approve ? "check" : "ban")}</span>
    <div><p><bdi>${visible(may(decision.sentence, decision.approve), 300)}</bdi></p>
      <p class="small"><time title=${exactly(decision.at)}>${clock(decision.at)}</time> · ${visible(decision.by)}
        ${decision.device ? "" : html` · ${DURATIONS[decision.duration]}${decision.scope === "operation" ? "" : ` · ${SCOPES[decision.scope]}`}`}</p>
      <p class="effect small">${over && !decision.undone_at ? html`${icon("clock")}Its time is over` : effect(view)}</p></div>
    <div class="tools">
      <button class="bare" aria-label="Why?" title="Why?" @click=${() => openWhy(String(decision.id))}>${icon("question")}</button>
      ${decision.undone_at || !atLeast("resident") ? "" : html`<button class="quiet" @click=${() => undo(decision.id)}>${icon("undo")}Undo</button>`}</div>
  </li>`;
}

function decisions() {
  const all = [...state.decisions.values()].sort((a, b) => b.decision.id - a.decision.id);
  if (!all.length) {
    return html`<section class="empty"><span class="drawing">${icon("history")}</span><h2>No decisions yet</h2>
      <p>What you and others answer is kept here, and can be undone at any time.</p></section>`;
  }
  return html`${byDay(all.slice(0, most), (view) => view.decision.at,
    (found) => repeat(found, (view) => view.decision.id, decided))}
    ${all.length > most ? html`<button class="quiet" @click=${() => { most += PAGE; changed(true); }}>Show more</button>` : ""}`;
}

async function fetchLog(before) {
  try {
    const page = await api.get(`/log?limit=${PAGE}${before ? `&before=${before}` : ""}`);
    log = { entries: before ? [...log.entries, ...page.entries] : page.entries, next: page.next, version: state.version };
    changed(true);
  } catch (problem) {
    complain(problem);
  }
}

const written = (entry) => html`<li class="entry calm"><span class="mark">${icon("info")}</span><div>
  <p><bdi>${visible(entry.text, 300)}</bdi></p>
  <p class="small"><time title=${exactly(entry.at)}>${clock(entry.at)}</time> · ${entry.by ? visible(entry.by) : "Graphwall"} · ${visible(entry.event)}</p></div></li>`;

function everything() {
  return html`${byDay(log.entries, (entry) => entry.at, (found) => repeat(found, (entry) => entry.number, written))}
    ${log.next ? html`<button class="quiet" @click=${() => fetchLog(log.next)}>Show more</button>` : ""}
    ${log.entries.length ? "" : html`<p aria-busy="true">Loading …</p>`}`;
}

function choose(part) {
  shown = part;
  if (part === "log") fetchLog();
  changed(true);
}

export const history = {
  title: "History",
  enter() {
    most = PAGE;
    if (shown === "log") fetchLog();
  },
  view() {
    const tab = (part, word) => html`<button role="tab" aria-selected=${shown === part ? "true" : "false"} aria-controls="history-panel"
      @click=${() => choose(part)}>${word}</button>`;
    return html`<div class="page narrow"><h1>History</h1>
      <div class="tabs" role="tablist" aria-label="What is shown">${tab("decisions", "Decisions")}${tab("log", "Everything")}</div>
      <div id="history-panel" role="tabpanel" tabindex="-1">${shown === "log" ? everything() : decisions()}</div></div>`;
  },
};
