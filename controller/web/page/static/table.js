// The graph's twin: every relationship as a line, to sort and to filter.

import { html } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { icon, tile } from "./icons.js";
import { code, visible } from "./safe.js";
import { changed, state } from "./store.js";
import { ago, count, operation, STATUSES } from "./words.js";

const PAGE = 100;
const TONES = ["ask", "no", "ok"];
const named = (id) => state.devices.get(id)?.name ?? id;

const COLUMNS = [
  { key: "status", word: "State", by: (view) => TONES.indexOf(STATUSES[view.relationship.status].tone) },
  { key: "from", word: "From", by: (view) => named(view.client_device).toLowerCase() },
  { key: "what", word: "Does what", by: (view) => `${view.relationship.access.operation} ${view.relationship.access.resource}` },
  { key: "to", word: "With", by: (view) => named(view.server_device).toLowerCase() },
  { key: "messages", word: "Messages", by: (view) => -(view.relationship.allowed + view.relationship.refused) },
  { key: "seen", word: "Last seen", by: (view) => -view.relationship.last_seen },
];

let sorted = { key: "status", down: true };
let most = PAGE;

function sort(key) {
  sorted = { key, down: sorted.key === key ? !sorted.down : true };
  changed(true);
}

function ordered(views) {
  const { by } = COLUMNS.find((column) => column.key === sorted.key);
  const keys = new Map(views.map((view) => [view, by(view)]));
  const compare = (a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : a.id < b.id ? -1 : 1);
  return views.sort((a, b) => (sorted.down ? compare(a, b) : compare(b, a)));
}

const end = (id) => {
  const device = state.devices.get(id);
  return html`<span class="end">${tile(device, "small")}<bdi class="name">${visible(device?.name ?? id, 40)}</bdi></span>`;
};

function row(view, chosen, choose) {
  const { access, status, allowed, refused, last_seen } = view.relationship;
  const known = STATUSES[status];
  return html`<tr class=${known.tone} aria-selected=${chosen === view.id ? "true" : "false"} @click=${() => choose(view.id)}>
    <td data-word="State"><span class="chip ${known.tone}">${icon(known.icon)}${known.short}</span></td>
    <td data-word="From">${end(view.client_device)}</td>
    <td data-word="Does what"><button class="text"><span class="unseen">Details: </span><span class="operation">${operation(access.operation)}</span> ${code(access.resource, 60)}</button></td>
    <td data-word="With">${end(view.server_device)}</td>
    <td data-word="Messages" class="number">${allowed || !refused ? count(allowed) : ""}
      ${refused ? html`<span class="no">${count(refused)} blocked</span>` : ""}</td>
    <td data-word="Last seen">${ago(last_seen)}</td></tr>`;
}

export const resetTable = () => {
  most = PAGE;
};

export function table(views, chosen, choose) {
  if (!views.length) {
    return html`<section class="empty"><span class="drawing">${icon("table")}</span><h2>Nothing fits</h2>
      <p>${state.relationships.size ? "No relationship is like that. Take a filter away to see more."
        : "Nothing was seen yet. A line appears with the first message between two devices."}</p></section>`;
  }
  return html`<div class="table-frame" tabindex="0" role="region" aria-label="Relationships"><table>
    <caption class="unseen">Who may do what with whom</caption>
    <thead><tr>${COLUMNS.map(({ key, word }) => html`<th scope="col" aria-sort=${sorted.key !== key ? "none" : sorted.down ? "ascending" : "descending"}>
      <button class="text" @click=${() => sort(key)}>${word}<span class="arrow" aria-hidden="true">${sorted.key !== key ? "" : sorted.down ? "↓" : "↑"}</span></button></th>`)}</tr></thead>
    <tbody>${repeat(ordered(views).slice(0, most), (view) => view.id, (view) => row(view, chosen, choose))}</tbody></table>
    ${views.length > most ? html`<button class="quiet" @click=${() => { most += PAGE; changed(true); }}>Show more (${count(views.length - most)})</button>` : ""}</div>`;
}
