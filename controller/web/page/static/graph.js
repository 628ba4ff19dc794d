// The graph on a canvas: Cytoscape draws, this says what and how. Every tone has a second channel beside colour.

import { picture } from "./icons.js";
import { arrange, around, beside, remember, remembered } from "./places.js";
import { Pulses } from "./pulses.js";
import { visible } from "./safe.js";
import { script } from "./trusted.js";

const MARGIN = 80, LARGEST_FIT = 1.4;
const HALF = 60; // of a vertex with its name
const MOST_BESIDE = 40; // fresh vertices that are put beside their neighbours one by one; more are arranged anyway
const AGAIN = 3000; // ms until a library that did not load is asked for again
const MANY = 150; // vertices; above it nothing moves by itself, and labels wait until one comes near
const colour = (word) => getComputedStyle(document.documentElement).getPropertyValue(`--${word}`).trim();

let loading = null;

function library() {
  loading ??= new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = script("/page/vendor/cytoscape.min.js");
    element.onload = () => resolve(globalThis.cytoscape);
    element.onerror = () => {
      loading = null;
      element.remove();
      reject(new Error("the drawing library did not load"));
    };
    document.head.append(element);
  });
  return loading;
}

function style() {
  const [text, muted, surface, line, accent, sunken] = ["text", "muted", "surface", "line", "accent", "sunken"].map(colour);
  const tones = { ok: colour("ok"), ask: colour("ask"), no: colour("no") };
  const font = getComputedStyle(document.body).fontFamily;
  return [
    { selector: "node", style: {
      shape: "round-rectangle", width: 52, height: 52, "background-color": surface, "border-width": 1.5, "border-color": line,
      "background-image": (node) => picture(node.data("kind"), text), "background-fit": "none", "background-width": 30, "background-height": 30,
      label: "data(label)", color: text, "font-family": font, "font-size": 13, "text-valign": "bottom", "text-margin-y": 6,
      "min-zoomed-font-size": 7,
      "text-background-color": colour("bg"), "text-background-opacity": 0.85, "text-background-padding": 2, "text-background-shape": "round-rectangle" } },
    { selector: "node[kind = 'topic']", style: { shape: "round-tag", width: 20, height: 20, "background-image": "none", "background-color": sunken, "font-size": 10, color: muted } },
    { selector: "node[kind = 'service']", style: { shape: "ellipse", width: 34, height: 34, "background-width": 18, "background-height": 18, "font-size": 10 } },
    { selector: "node[learning = 1]", style: { "border-style": "dotted", "border-width": 3, "border-color": accent } },
    { selector: ":parent", style: { shape: "round-rectangle", "background-image": "none", "background-color": sunken, "background-opacity": 0.6,
      "border-width": 1, padding: 18, "text-valign": "top", "text-margin-y": -4 } },
    { selector: "node[tone = 'ask']", style: { "border-color": tones.ask, "border-width": 3, "border-style": "dashed" } },
    { selector: "node[tone = 'no']", style: { "border-color": tones.no, "border-width": 4 } },
    { selector: "edge", style: {
      width: 2, "line-color": tones.ok, "curve-style": "bezier", "target-arrow-shape": "triangle", "target-arrow-color": tones.ok, "arrow-scale": 0.9,
      label: "data(chips)", "font-family": font, "font-size": 11, color: text, "min-zoomed-font-size": 8, "text-rotation": "autorotate",
      "text-background-color": colour("bg"), "text-background-opacity": 0.9, "text-background-padding": 2, "text-background-shape": "round-rectangle" } },
    { selector: "edge[many = 1]", style: { "curve-style": "straight" } },
    { selector: "edge[tone = 'ask']", style: { "line-color": tones.ask, "target-arrow-color": tones.ask, "line-style": "dashed", "line-dash-pattern": [8, 5], width: 3,
      color: tones.ask, "font-weight": 700, "z-index": 8 } },
    { selector: "edge[tone = 'no']", style: { "line-color": tones.no, "target-arrow-color": tones.no, "target-arrow-shape": "tee", "arrow-scale": 1.6, width: 5,
      color: tones.no, "z-index": 9 } },
    { selector: "edge[idle = 1]", style: { "line-color": muted, "target-arrow-color": muted, "line-style": "dotted", width: 1.5 } },
    { selector: "edge[mediated = 1]", style: { "line-style": "dotted", width: 2.5 } },
    { selector: "[faded = 1]", style: { opacity: 0.35 } },
    { selector: ":selected", style: { "overlay-color": accent, "overlay-opacity": 0.22, "overlay-padding": 6 } },
    { selector: "core", style: { "active-bg-opacity": 0, "selection-box-opacity": 0 } },
  ];
}

const chips = (edge) => {
  const words = [...edge.operations].map(([word, n]) => (n > 1 ? `${word} ×${n}` : word));
  const badge = { ask: "? ", no: "✕ ", ok: "" }[edge.tone];
  return `${badge}${words.slice(0, 3).join(" · ")}${words.length > 3 ? " …" : ""}`;
};

const vertexData = (vertex, many) => ({
  id: vertex.id, parent: vertex.parent, kind: vertex.kind, tone: vertex.tone ?? "ok", learning: Number(vertex.learning ?? false),
  faded: Number(vertex.faded ?? false),
  label: visible(vertex.label, many ? 18 : 28) + (vertex.members?.size > 1 ? ` (${vertex.members.size})` : ""),
});

const edgeData = (edge, many) => ({
  id: edge.id, source: edge.source, target: edge.target, tone: edge.tone, many: Number(many), idle: Number(edge.idle), mediated: Number(edge.mediated ?? false),
  faded: Number(edge.faded ?? false), chips: edge.mediated || (many && edge.tone === "ok") ? "" : chips(edge),
});

const same = (a, b) => Object.keys(b).every((key) => a[key] === b[key]);

export class Graph {
  /** `select(id)` is told what was chosen, or null; `readOnly`: for looking only. */
  constructor(container, { select = () => {}, unfold = () => {}, readOnly = false } = {}) {
    this.container = container;
    this.select = select;
    this.unfold = unfold;
    this.readOnly = readOnly;
    this.cy = null;
    this.scene = null;
    this.view = "";
    this.repaint = () => {
      this.cy?.style(style());
      this.pulses?.colours();
    };
    addEventListener("graphwall-theme", this.repaint);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.repaint);
  }

  async start() {
    let cytoscape = null;
    while (!cytoscape && !this.ended) {
      cytoscape = await library().catch(() => null);
      this.container.classList.toggle("late", !cytoscape);
      if (!cytoscape) await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
    if (this.ended) return;
    this.cy = cytoscape({
      container: this.container, style: style(), minZoom: 0.08, maxZoom: 3, boxSelectionEnabled: false, selectionType: "single",
      autoungrabify: this.readOnly, autounselectify: this.readOnly, userPanningEnabled: !this.readOnly, userZoomingEnabled: !this.readOnly,
    });
    this.pulses = new Pulses(this.container, this.cy);
    this.cy.on("tap", (event) => this.select(event.target === this.cy ? null : event.target.id()));
    this.cy.on("dbltap", "node", (event) => this.unfold(event.target.id()));
    this.cy.on("dragfree", "node", () => this.keep());
    if (this.scene) this.show(this.scene, this.asked);
  }

  /** Draw this picture: what is new is added, what is gone removed, what is there stays where it is. */
  show(scene, view) {
    this.scene = scene;
    this.asked = view;
    if (!this.cy) return;
    const { cy } = this;
    const other = view !== this.view;
    this.view = view;
    const many = scene.vertices.size > MANY;
    if (other) {
      cy.elements().remove();
      this.places = remembered(view);
    }
    const fresh = [];
    cy.batch(() => {
      cy.edges().filter((edge) => !scene.edges.has(edge.id())).remove();
      cy.nodes().filter((node) => !scene.vertices.has(node.id())).forEach((node) => {
        node.children().move({ parent: null });
        node.remove();
      });
      for (const vertex of [...scene.vertices.values()].sort((a, b) => Boolean(a.parent) - Boolean(b.parent))) {
        const node = cy.getElementById(vertex.id);
        const data = vertexData(vertex, many);
        if (node.empty()) fresh.push(data);
        else if (!same(node.data(), data)) node.data(data);
      }
    });
    const arranged = this.place(fresh);
    cy.batch(() => {
      const added = [];
      for (const edge of scene.edges.values()) {
        const drawn = cy.getElementById(edge.id);
        const data = edgeData(edge, many);
        if (drawn.empty()) added.push({ group: "edges", data });
        else if (!same(drawn.data(), data)) drawn.data(data);
      }
      cy.add(added);
    });
    if (other || arranged) this.settle(arranged, other);
    this.container.dataset.ready = "yes";
  }

  /** Put fresh vertices somewhere; whether there are so many that they should be arranged. */
  place(fresh) {
    if (!fresh.length) return false;
    const taken = new Map(this.cy.nodes().filter((node) => !node.isParent()).map((node) => [node.id(), node.position()]));
    const before = taken.size;
    const near = new Map();
    for (const { source, target } of this.scene.edges.values()) {
      near.set(source, [...(near.get(source) ?? []), target]);
      near.set(target, [...(near.get(target) ?? []), source]);
    }
    for (const { id } of fresh) if (this.places[id]) taken.set(id, this.places[id]);
    const unplaced = fresh.filter(({ id }) => !taken.has(id) && !fresh.some((other) => other.parent === id));
    const few = unplaced.length <= MOST_BESIDE;
    const { x1, x2, y1, y2 } = this.cy.extent();
    const top = y1 + this.legend() / this.cy.zoom();
    const inSight = ({ x, y }) => x > x1 + HALF && x < x2 - HALF && y > top + HALF && y < y2 - HALF;
    for (const { id } of unplaced) taken.set(id, few ? beside(near.get(id) ?? [], taken, inSight) : around(taken.size));
    this.cy.batch(() => this.cy.add(fresh.map((data) => ({ group: "nodes", data, position: { ...(taken.get(data.id) ?? { x: 0, y: 0 }) } }))));
    return unplaced.length > Math.max(6, before);
  }

  async settle(arranged, other) {
    if (other) this.fit();
    if (arranged) await this.tidy(false);
    else this.keep();
  }

  /** Arrange everything anew; only when somebody asks, or when nothing had a place yet. */
  async tidy(animated = true) {
    const places = await arrange(this.scene, this.cy.width() / this.cy.height());
    if (!this.cy || this.ended) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches || this.cy.nodes().length > MANY || !animated;
    const moved = this.cy.nodes().filter((node) => !node.isParent() && places[node.id()]);
    if (calm) this.cy.batch(() => moved.positions((node) => places[node.id()]));
    else await moved.layout({ name: "preset", positions: (node) => places[node.id()], fit: false, animate: true, animationDuration: 350 }).promiseOn("layoutstop");
    this.fit();
    this.keep();
  }

  /** How much of the top the legend covers, in pixels. */
  legend() {
    return this.container.parentElement.querySelector(".legend")?.offsetHeight ?? 0;
  }

  /** All of it in sight below the legend; from the places alone, as measuring every label of a large picture takes seconds. */
  fit() {
    const { cy } = this;
    cy.resize();
    const places = cy.nodes().filter((node) => !node.isParent()).map((node) => node.position());
    if (!places.length) return;
    const [left, right] = [Math.min(...places.map((at) => at.x)) - MARGIN, Math.max(...places.map((at) => at.x)) + MARGIN];
    const [top, bottom] = [Math.min(...places.map((at) => at.y)) - MARGIN, Math.max(...places.map((at) => at.y)) + MARGIN];
    const legend = this.legend();
    const high = cy.height() - legend;
    const zoom = Math.max(cy.minZoom(), Math.min(LARGEST_FIT, cy.width() / (right - left), high / (bottom - top)));
    cy.viewport({ zoom, pan: { x: cy.width() / 2 - zoom * (left + right) / 2, y: legend + high / 2 - zoom * (top + bottom) / 2 } });
  }

  zoom(factor) {
    const { cy } = this;
    cy?.zoom({ level: cy.zoom() * factor, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
  }

  keep() {
    this.places = { ...this.places };
    this.cy.nodes().filter((node) => !node.isParent()).forEach((node) => {
      const { x, y } = node.position();
      this.places[node.id()] = { x: Math.round(x), y: Math.round(y) };
    });
    remember(this.view, this.places);
  }

  /** Mark what was chosen, and bring it into sight when the details are over or beside it. */
  choose(id) {
    if (!this.cy) return;
    this.cy.elements(":selected").unselect();
    const found = this.cy.getElementById(id ?? "").select();
    if (id !== this.chosen && found.nonempty()) this.reveal(found);
    this.chosen = id;
  }

  reveal(found) {
    this.cy.resize();
    const here = this.container.getBoundingClientRect();
    const over = document.querySelector(".panel")?.getBoundingClientRect();
    const high = over && over.left < here.right - 1 ? over.top - here.top : here.height;
    const { x1, x2, y1, y2 } = found.renderedBoundingBox({ includeLabels: false });
    const inside = (from, to, room) => (to > room ? Math.max(room - to, -from) : Math.max(0, -from));
    this.cy.panBy({ x: inside(x1, x2, here.width), y: inside(y1, y2, high) });
  }

  /** Messages of these relationships were just seen. */
  pulse(ids) {
    if (!this.cy || !this.scene) return;
    this.pulses.along(new Set(ids.map((id) => this.scene.edgeOf.get(id)).filter(Boolean)));
  }

  end() {
    this.ended = true;
    removeEventListener("graphwall-theme", this.repaint);
    matchMedia("(prefers-color-scheme: dark)").removeEventListener("change", this.repaint);
    this.pulses?.end();
    this.cy?.destroy();
    this.cy = null;
  }
}
