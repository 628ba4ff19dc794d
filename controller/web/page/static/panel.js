// The details of what was chosen in the graph or the table: a vertex, an edge, a relationship.

import * as api from "./api.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { line } from "./device.js";
import { standing } from "./devices.js";
import { accessRows, row } from "./facts.js";
import { icon, tile } from "./icons.js";
import { to } from "./router.js";
import { code, name, visible } from "./safe.js";
import { changed, lastSeen, relationshipsOf, servicesOf, state } from "./store.js";
import { bytes, count, exactly, may, some, STATUSES, TREATMENTS } from "./words.js";
import { openWhy } from "./why.js";

const FLOWS_EVERY = 2_000; // ms
const MOST = 25;

let flows = { of: null, list: null, problem: null };
let timer = null;

async function fetchFlows(id) {
  try {
    const said = await api.get(`/relationships/${api.part(id)}/flows`);
    if (flows.of === id) flows = { of: id, list: said.flows ?? said, problem: null };
  } catch (problem) {
    if (flows.of === id) flows = { of: id, list: null, problem };
  }
  changed(true);
}

export function stopFlows() {
  clearInterval(timer);
  flows = { of: null, list: null, problem: null };
}

function watchFlows(id) {
  stopFlows();
  flows.of = id;
  fetchFlows(id);
  timer = setInterval(() => fetchFlows(id), FLOWS_EVERY);
}

function carried(id) {
  if (flows.of !== id) return html`<button class="quiet" @click=${() => watchFlows(id)}>${icon("switch")}Flows that carry it</button>`;
  if (flows.problem) return html`<p class="small">${flows.problem.message} ${flows.problem.remedy}</p>`;
  if (!flows.list) return html`<p aria-busy="true">Asking the switches …</p>`;
  return html`<h3>Flows that carry it</h3>${flows.list.length ? "" : html`<p class="small">None: what no flow carries is dropped.</p>`}
    <ul class="flows">${flows.list.map((flow) => html`<li><p>${code(flow.switch)}, table ${code(flow.table)}, cookie ${code(flow.cookie)}</p>
      <p class="small">${code(matchText(flow.match), 300)} → ${code(matchText(flow.actions), 200)}</p>
      <p><strong>${count(flow.packets)}</strong> packets, <strong>${bytes(flow.bytes)}</strong></p></li>`)}</ul>`;
}

const matchText = (value) => (typeof value === "string" ? value
  : Array.isArray(value) ? value.map(matchText).join(", ")
  : Object.entries(value ?? {}).filter(([, one]) => one !== null && one !== undefined).map(([key, one]) => `${key}=${typeof one === "object" ? matchText(one) : one}`).join(", "));

function decidedBy({ relationship, decided_by: by }) {
  const made = state.decisions.get(relationship.decision)?.decision;
  if (made) return html`${name(made.by)}, ${exactly(made.at)}`;
  return by ? name(by) : relationship.status === "learned" ? "nobody: it was learnt" : "";
}

/** One relationship, whole. */
export function relationship(view) {
  const known = STATUSES[view.relationship.status];
  return html`<section class="one">
    <p class="verdict ${known.tone}">${icon(known.icon)}<strong>${known.word}</strong></p>
    <p class="says"><bdi>${said(view)}</bdi></p>
    <dl class="facts">${accessRows(view)}
      ${row("Treatment", html`<strong>${view.treatment}</strong>: ${TREATMENTS[view.treatment]}`)}
      ${row("Decided by", decidedBy(view))}
      ${row("Counters", `${count(view.packets)} packets, ${bytes(view.bytes)}`)}
      ${row("Switches", view.switches.map((number) => code(state.switches.find((one) => one.switch === number)?.name ?? number)))}
      ${row("Id", code(view.id))}</dl>
    <div class="row"><button class="quiet" @click=${() => openWhy(view.id)}>${icon("question")}Why?</button></div>
    ${carried(view.id)}</section>`;
}

function edge(drawn, choose) {
  const ends = [drawn.source, drawn.target].map((id) => id.slice(2));
  if (drawn.views.length === 1) return relationship(drawn.views[0]);
  return html`<p>${some(drawn.views.length, "relationship")} between ${name(label(ends[0]))} and ${name(label(ends[1]))}</p>
    <ul class="choices">${drawn.views.slice(0, MOST).map((view) => html`<li><button class="quiet ${STATUSES[view.relationship.status].tone}" @click=${() => choose(view.id)}>
      ${icon(STATUSES[view.relationship.status].icon)}<bdi>${said(view)}</bdi></button></li>`)}</ul>
    ${drawn.views.length > MOST ? html`<p class="small">and ${drawn.views.length - MOST} more; see the table</p>` : ""}`;
}

/** What a relationship is, with what has become of it: blocked and waiting ones must not read as if they were allowed. */
const said = (view) => {
  const { tone } = STATUSES[view.relationship.status];
  return visible(tone === "ask" ? view.sentence : may(view.sentence, tone === "ok"), 300);
};

const label = (id) => state.devices.get(id)?.name ?? state.services.get(id)?.service.name ?? id;

function vertex(drawn, unfold) {
  const device = state.devices.get(drawn.device);
  if (!device) return html`<h3>${name(drawn.label)}</h3><p>${some(drawn.members?.size ?? 0, "program")}</p>`;
  const stands = standing(device);
  const views = relationshipsOf(device.id).sort((a, b) => b.relationship.last_seen - a.relationship.last_seen);
  const inside = servicesOf(device.id);
  return html`<header class="head">${tile(device)}<div><h3>${name(device.name)}</h3>
      ${device.place === "site" ? html`<span class="chip ${stands.tone}">${icon(stands.icon)}${stands.word}</span>` : html`<p class="small">on the internet</p>`}</div></header>
    <div class="row"><a class="button quiet" href=${to("device", device.id)}>Open</a>
      ${inside.length > 1 && unfold ? html`<button class="quiet" @click=${() => unfold(`d:${device.id}`)}>Show its ${inside.length} programs</button>` : ""}</div>
    <p class="small">First seen ${exactly(device.first_seen)}; last seen ${exactly(lastSeen(device))}</p>
    <ol class="entries">${views.slice(0, MOST).map(line)}</ol>`;
}

/** What was chosen: the id of a relationship, an edge or a vertex of the picture. */
export function panel(chosen, picture, { choose, unfold }) {
  const view = state.relationships.get(chosen);
  if (view) return relationship(view);
  const drawn = picture?.edges.get(chosen);
  if (drawn) return edge(drawn, choose);
  const found = picture?.vertices.get(chosen);
  return found ? vertex(found, unfold) : html`<p>It is not shown any more.</p>`;
}
