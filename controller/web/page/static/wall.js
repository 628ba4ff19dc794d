// The live map alone, for a screen on the wall. Nothing can be changed here.

import { html } from "./vendor/lit-html/lit-html.js";
import { legend } from "./dashboard.js";
import { Graph } from "./graph.js";
import { icon } from "./icons.js";
import { to } from "./router.js";
import { visible } from "./safe.js";
import { crowded, scene } from "./scene.js";
import { state, subscribeSeen } from "./store.js";
import { clock, now, some, STATUSES } from "./words.js";

const OPTIONS = { level: "device", open: new Set(), infrastructure: false, mediated: true, switch: null, search: "" };
let graph = null;
let unsubscribe = null;
let picture = null;

export const wall = {
  title: "Wall",
  enter() {
    unsubscribe = subscribeSeen((ids) => graph?.pulse(ids));
  },
  leave() {
    unsubscribe?.();
    graph?.end();
    graph = null;
  },
  view() {
    picture = scene(state, { ...OPTIONS, focus: crowded(state) }, now());
    const by = (tone) => [...state.relationships.values()].filter((view) => STATUSES[view.relationship.status].tone === tone).length;
    const waiting = state.requests.size;
    return html`<div class="wall"><header><h1>${icon("guarded")}${visible(state.site || "Graphwall", 40)}</h1>
        <p class="big ${waiting ? "ask" : "ok"}">${icon(waiting ? "question" : "check")}${waiting ? `${some(waiting, "request")} ${waiting === 1 ? "waits" : "wait"}` : "Nothing waits"}</p>
        <p class="ok">${icon("check")}${by("ok")} allowed</p><p class="no">${icon("ban")}${by("no")} blocked</p>
        <time>${clock(now())}</time><a href=${to("more")} class="leave">Leave the wall</a></header>
      <div class="canvas"><div id="graph" role="img" aria-label="Map of the site, ${some(picture.vertices.size, "device")}"></div>${legend()}</div></div>`;
  },
  drawn() {
    const element = document.getElementById("graph");
    if (!element || !state.loaded) return;
    if (!graph) {
      graph = new Graph(element, { readOnly: true });
      graph.start();
    }
    graph.show(picture, "site:device");
  },
};
