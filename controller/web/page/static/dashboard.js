// The live map and its twin, the table, with what is shown of them.

import { html } from "./vendor/lit-html/lit-html.js";
import { Graph } from "./graph.js";
import { icon } from "./icons.js";
import { panel, stopFlows } from "./panel.js";
import { go } from "./router.js";
import { visible } from "./safe.js";
import { crowded, fits, isInfrastructure, scene } from "./scene.js";
import { changed, state, subscribeSeen } from "./store.js";
import { resetTable, table } from "./table.js";
import { now, some, STATUSES } from "./words.js";

const narrow = matchMedia("(max-width: 48rem)");

const options = {
  level: "device", open: new Set(), focus: null, infrastructure: false, mediated: true, switch: null, search: "",
};
const tones = new Set(["ask", "no", "ok"]);
let chosen = null;
let graphOnPhone = false;
let graph = null;
let picture = null;
let unsubscribe = null;

/** What the lines mean; `folded` where there is little room. */
export function legend(folded = false) {
  const line = (tone, word, extra = "") => html`<li><svg class="sample ${tone} ${extra}" viewBox="0 0 44 12" aria-hidden="true">
    <path d="M2 6h34"></path></svg>${word}</li>`;
  const lines = html`${line("ok", "allowed")}${line("ask", "? waits for you")}${line("no", "✕ blocked")}
    ${line("idle", "quiet for an hour")}${line("mediated", "through a broker")}`;
  return folded ? html`<details class="legend"><summary>Legend</summary><ul>${lines}</ul></details>`
    : html`<ul class="legend" aria-label="Legend">${lines}</ul>`;
}

/** Everything when there is little, or when nothing needs somebody; else what needs somebody. */
function focus() {
  if (state.devices.size) options.focus ??= crowded(state); // before the site has come, nothing can be said of it
  return options.focus ?? false;
}

const set = (change) => {
  Object.assign(options, change);
  resetTable();
  changed(true);
};

const check = (key, word) => html`<label class="tick"><input type="checkbox" .checked=${Boolean(options[key])}
  @change=${(event) => set({ [key]: event.target.checked })}>${word}</label>`;

function unfold(id) {
  const device = id.slice(2);
  const open = new Set(options.open);
  const of = id.startsWith("s:") ? state.services.get(device)?.service.device : device;
  if (open.has(of)) open.delete(of);
  else open.add(of);
  set({ open, level: options.level === "switch" ? "device" : options.level });
}

function choose(id) {
  chosen = id;
  stopFlows();
  changed(true);
}

function searched(event) {
  set({ search: event.target.value.trim().toLowerCase() });
}

function tools(mode) {
  return html`<div class="tools" role="group" aria-label="What is shown">
    <div class="tabs small" role="group" aria-label="Map or table">
      <button aria-pressed=${mode === "graph" ? "true" : "false"} @click=${() => { graphOnPhone = true; go("map"); changed(true); }}>${icon("graph")}Map</button>
      <button aria-pressed=${mode === "table" ? "true" : "false"} @click=${() => { graphOnPhone = false; go("table"); changed(true); }}>${icon("table")}Table</button></div>
    <label class="search">${icon("search")}<span class="unseen">Search devices and what they do</span>
      <input type="search" placeholder="Search" .value=${options.search} @input=${searched}></label>
    ${state.switches.length > 1 ? html`<label class="pick"><span class="unseen">Part of the site</span>
      <select @change=${(event) => set({ switch: event.target.value === "" ? null : Number(event.target.value) })}>
        <option value="" ?selected=${options.switch === null}>Whole site</option>${state.switches.map((one) => html`
        <option value=${one.switch} ?selected=${options.switch === one.switch}>Switch ${visible(one.name, 30)}</option>`)}</select></label>` : ""}
    ${mode === "graph" ? html`
      <label class="pick"><span class="unseen">Level</span><select @change=${(event) => set({ level: event.target.value, open: new Set() })}>
        ${[["switch", "Switches"], ["device", "Devices"], ["service", "Programs"]].map(([value, word]) => html`
          <option value=${value} ?selected=${options.level === value}>${word}</option>`)}</select></label>
      <label class="pick"><span class="unseen">How much</span><select @change=${(event) => set({ focus: event.target.value === "focus" })}>
        <option value="focus" ?selected=${focus()}>What needs me</option><option value="all" ?selected=${!focus()}>Everything</option></select></label>
      ${check("mediated", "Through brokers")}` : html`<div class="filters" role="group" aria-label="States">${["ask", "no", "ok"].map((tone) => {
        const known = Object.values(STATUSES).find((one) => one.tone === tone);
        return html`<button class="chip ${tone}" aria-pressed=${tones.has(tone) ? "true" : "false"} @click=${() => {
          if (!tones.delete(tone)) tones.add(tone);
          set({});
        }}>${icon(known.icon)}${known.short}</button>`;
      })}</div>`}
    ${check("infrastructure", "Infrastructure")}</div>`;
}

function nothing() {
  if (picture?.vertices.size || !state.loaded) return "";
  const text = options.search ? ["Nothing fits", "No device and nothing that one does has this in its name."]
    : options.focus && picture?.all ? ["Nothing needs you", "Everything that happens is allowed. Choose “Everything” to see it."]
    : ["Nothing was seen yet", "A device appears with its first message through the switch, and a line with the first that it says to another."];
  return html`<section class="empty over"><span class="drawing">${icon("graph")}</span><h2>${text[0]}</h2><p>${text[1]}</p>
    ${options.focus && picture?.all ? html`<button class="quiet" @click=${() => set({ focus: false })}>Show everything</button>` : ""}</section>`;
}

function map() {
  picture = scene(state, { ...options, focus: focus() }, now());
  const buttons = [["plus", "Nearer", () => graph?.zoom(1.3)], ["minus", "Farther", () => graph?.zoom(1 / 1.3)],
    ["fit", "Show all of it", () => graph?.fit()], ["tidy", "Tidy: arrange anew", () => graph?.tidy()]];
  const needing = [...picture.edges.values()].filter((edge) => edge.tone !== "ok").length;
  return html`<div class="canvas"><div id="graph" role="img" aria-label="Map: ${some(picture.vertices.size, "device or program", "devices and programs")},
      ${some(picture.edges.size, "line")}, ${needing} of them not allowed. The table says the same in words."></div>
    ${nothing()}
    <div class="zoom" role="group" aria-label="The map">${buttons.map(([drawing, word, act]) => html`
      <button class="bare" aria-label=${word} title=${word} @click=${act}>${icon(drawing)}</button>`)}</div>
    ${legend(narrow.matches)}
    ${picture.left ? html`<p class="left-out">${some(picture.left, "older line")} beside these ${picture.left === 1 ? "is" : "are"} left out</p>` : ""}</div>`;
}

function rows() {
  return [...state.relationships.values()].filter((view) => {
    const { access, status } = view.relationship;
    const { tone } = STATUSES[status];
    return tones.has(tone) && (options.switch === null || view.switches.includes(options.switch))
      && (options.infrastructure || tone !== "ok" || !(isInfrastructure(state, access.client) || isInfrastructure(state, access.server)))
      && fits(view, state, options.search);
  });
}

function page(mode) {
  return html`<div class="dashboard ${mode}">
    <h1 class="unseen">${mode === "graph" ? "Map" : "Table"}</h1>
    ${tools(mode)}
    <div class="stage">${mode === "graph" ? map() : table(rows(), chosen, choose)}
      ${chosen === null ? "" : html`<aside class="panel" aria-label="Details"><button class="bare shut" aria-label="Close the details" @click=${() => choose(null)}>${icon("close")}</button>
        <div class="body">${panel(chosen, picture, { choose, unfold: mode === "graph" ? unfold : null })}</div></aside>`}</div></div>`;
}

/** The view's name, for the places that are kept of it. */
const viewName = () => `${options.switch ?? "site"}:${options.level}`;

function drawn() {
  const element = document.getElementById("graph");
  if (graph && graph.container !== element) {
    graph.end();
    graph = null;
  }
  if (!element) return;
  if (!graph) {
    graph = new Graph(element, { select: choose, unfold });
    graph.start(); // its library loads while the site is asked
  }
  if (!state.loaded) return;
  graph.show(picture, viewName());
  graph.choose(chosen);
}

function escape(event) {
  if (event.key === "Escape" && chosen !== null && !document.querySelector("dialog[open]")) choose(null);
}

const shared = {
  enter() {
    chosen = null;
    unsubscribe = subscribeSeen((ids) => graph?.pulse(ids));
    addEventListener("keydown", escape);
  },
  leave() {
    unsubscribe?.();
    removeEventListener("keydown", escape);
    stopFlows();
    graph?.end();
    graph = null;
  },
  drawn,
};

export const dashboard = { ...shared, title: "Map", view: () => page(narrow.matches && !graphOnPhone ? "table" : "graph") };
export const tablePage = { ...shared, title: "Table", view: () => page("table") };
