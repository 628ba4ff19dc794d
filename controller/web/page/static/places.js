// Where vertices are. Places are kept over visits; a new vertex goes beside its neighbours; nothing else moves.

import { script } from "./trusted.js";

const KEPT = "graphwall-places";
const STEP = 150; // between a new vertex and its neighbours: room for the line and what it says
const NEAR = 40, FAR = 400; // places that are tried: until one is in sight, until one is free
const TURN = 2.399963; // the golden angle: no two steps point the same way

let worker = null;
let number = 0;
const waiting = new Map();

export function remembered(view) {
  try {
    return JSON.parse(localStorage.getItem(`${KEPT}:${view}`)) ?? {};
  } catch {
    return {};
  }
}

export function remember(view, places) {
  try {
    localStorage.setItem(`${KEPT}:${view}`, JSON.stringify(places));
  } catch {
    // The browser keeps nothing: then the next visit starts anew.
  }
}

/** Places for all vertices of a picture that is so many times as wide as high, computed beside the page. */
export function arrange(scene, aspect) {
  if (!worker) {
    worker = new Worker(script("/page/layout-worker.js"));
    worker.onmessage = ({ data }) => {
      waiting.get(data.number)?.(data.places);
      waiting.delete(data.number);
    };
  }
  const nodes = [...scene.vertices.values()].map(({ id, parent }) => ({ id, parent }));
  const edges = [...scene.edges.values()].map(({ source, target }) => [source, target]);
  return new Promise((resolve) => {
    waiting.set(++number, resolve);
    worker.postMessage({ number, nodes, edges, aspect });
  });
}

/** The place number `n` of a spiral around `middle`. */
export function around(n, middle = { x: 0, y: 0 }) {
  const far = STEP * Math.sqrt(n);
  return { x: middle.x + far * Math.cos(n * TURN), y: middle.y + far * Math.sin(n * TURN) };
}

/**
 * A place at once, for a vertex that has none: beside its neighbours, or around the middle. There where it is
 * `inSight` if that is not far: what is new is often what needs somebody.
 */
export function beside(neighbours, taken, inSight) {
  const known = neighbours.map((other) => taken.get(other)).filter(Boolean);
  const those = known.length ? known : [...taken.values()];
  const mean = (axis) => those.reduce((sum, at) => sum + at[axis], 0) / Math.max(1, those.length);
  const middle = { x: mean("x"), y: mean("y") };
  const first = known.length ? 1 : taken.size;
  const free = [];
  for (let n = first; n < first + (free.length ? NEAR : FAR); n += 1) {
    const place = around(n, middle);
    if ([...taken.values()].some((at) => Math.hypot(at.x - place.x, at.y - place.y) < STEP * 0.8)) continue;
    if (inSight(place)) return place;
    free.push(place);
  }
  return free[0] ?? around(first + FAR, middle);
}
