// "Why is this so?": the rule, the switch, the counter, and who decided.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { row } from "./facts.js";
import { icon } from "./icons.js";
import { code, name, visible } from "./safe.js";
import { openSheet, redrawSheet } from "./sheet.js";
import { state } from "./store.js";
import { bytes, count, exactly, may, some, STATUSES, TREATMENTS } from "./words.js";

const VERDICTS = {
  allowed: { tone: "ok", icon: "check", word: "It is allowed" },
  denied: { tone: "no", icon: "ban", word: "It is blocked" },
  waiting: { tone: "ask", icon: "question", word: "It is blocked until you decide" },
  mixed: { tone: "ask", icon: "info", word: "Some of it is allowed, some is not" },
  unknown: { tone: "calm", icon: "info", word: "It was never seen" },
};
const MOST = 20;

function rule(view, decisions) {
  const { status, reason, decision: number, until, first_seen, allowed, refused } = view.relationship;
  const made = decisions.find((one) => one.decision.id === number)?.decision;
  const known = STATUSES[status];
  return html`<li class=${known.tone}>${icon(known.icon)}<div>
    <p><bdi>${visible(may(view.sentence, ["learned", "approved"].includes(status)), 300)}</bdi></p>
    <p class="small">${made ? html`${made.approve ? "Allowed" : "Blocked"} by ${visible(made.by)} on ${exactly(made.at)}${until ? `, until ${exactly(until)}` : ""}`
      : status === "learned" ? `Learnt on ${exactly(first_seen)}, while it was still learning`
      : `Not decided yet: ${reason}`}. ${count(allowed)} let through, ${count(refused)} blocked.</p></div></li>`;
}

function way(pair) {
  const ends = [pair.client, pair.server].map((id) => state.devices.get(id)?.name ?? id);
  return html`<li>${icon("switch")}<div>
    <p>${name(ends[0])} → ${name(ends[1])}, ${pair.endpoint.transport} ${pair.endpoint.port}: ${TREATMENTS[pair.treatment]}${pair.in_force ? "" : " (not in force yet)"}</p>
    <p class="small">${some(pair.packets, "packet")}, ${bytes(pair.bytes)}; flow cookie ${code(pair.cookie)}</p></div></li>`;
}

function answer(why) {
  const verdict = VERDICTS[why.verdict] ?? VERDICTS.unknown;
  const hidden = why.relationships.length - MOST;
  return html`
    <p class="verdict ${verdict.tone}">${icon(verdict.icon)}<strong>${verdict.word}</strong></p>
    ${why.relationships.length ? html`<h3>The rule</h3><ul class="reasons">${why.relationships.slice(0, MOST).map((view) => rule(view, why.decisions))}</ul>`
      : html`<ul class="reasons">${why.sentences.filter((text) => !text.includes("graphwall ")).map((text) => html`<li>${icon("info")}<p>${visible(text, 400)}</p></li>`)}</ul>`}
    ${hidden > 0 ? html`<p class="small">and ${some(hidden, "more rule")}</p>` : ""}
    ${why.pairs.length ? html`<h3>In the switch</h3><ul class="reasons">${why.pairs.slice(0, MOST).map(way)}</ul>` : ""}
    ${why.decisions.length ? html`<h3>Decisions</h3><dl class="facts">${why.decisions.map(({ decision, in_force }) => row(
      exactly(decision.at), html`${decision.approve ? "Allowed" : "Blocked"} by ${name(decision.by)}${in_force ? ", in force" : ", not in force yet"}`))}</dl>` : ""}`;
}

export async function openWhy(id) {
  let body = html`<p aria-busy="true">Asking the controller …</p>`;
  openSheet("Why?", () => body, { wide: true });
  try {
    const why = await api.get(`/why?id=${encodeURIComponent(id)}`);
    body = answer(why);
  } catch (problem) {
    body = html`<p>${problem.message} ${problem.remedy}</p>`;
  }
  redrawSheet();
}
