// The site as this browser knows it. One object, changed only here; who shows it subscribes.

import * as api from "./api.js";

const KEEPS_ANSWERED = 90_000; // ms that an answered card stays in sight
const ROLES = ["viewer", "resident", "manager"];
const REDRAWS = 250; // ms; news are joined to at most four repaints a second

export const state = {
  session: undefined, // undefined: not asked yet; null: nobody is signed in
  connection: "connecting", // "live", "lost"
  lastHeard: 0,
  loaded: false,
  version: 0,
  newest: 0, // the version of the newest thing that was told
  site: "",
  inspector: true,
  devices: new Map(),
  services: new Map(),
  relationships: new Map(),
  requests: new Map(),
  decisions: new Map(),
  answered: new Map(), // request id -> {request, decision, mine, at}
  switches: [],
};

const listeners = new Set();
const seenListeners = new Set();
let waiting = null;
let soon = null;
let drawn = 0;

/** `draw` is called after changes; returns what ends that. */
export function subscribe(draw) {
  listeners.add(draw);
  return () => listeners.delete(draw);
}

/** `seen` gets the ids of relationships of which messages were just seen. */
export function subscribeSeen(seen) {
  seenListeners.add(seen);
  return () => seenListeners.delete(seen);
}

function draw() {
  clearTimeout(waiting);
  clearTimeout(soon);
  waiting = soon = null;
  drawn = performance.now();
  for (const listener of listeners) listener();
}

/** Something has changed: draw at once, with all that came with it, or within a quarter of a second. */
export function changed(urgent = false) {
  const wait = Math.max(0, REDRAWS - (performance.now() - drawn));
  if (urgent || wait === 0) soon ??= setTimeout(draw);
  else waiting ??= setTimeout(draw, wait);
}

// ---------------------------------------------------------------- what is asked

const PAGE = 200;

export async function reload() {
  const [requests, decisions, switches] = await Promise.all([
    api.get("/requests"), api.get(`/decisions?limit=${PAGE}`), api.get("/switches"),
  ]);
  if (Math.min(requests.version, decisions.version) < state.newest) return reload();
  const before = state.requests;
  state.requests = new Map(requests.requests.map((one) => [one.id, one]));
  state.decisions = new Map(decisions.decisions.map((one) => [one.decision.id, one]));
  for (const request of before.values()) if (!state.requests.has(request.id)) settled(request);
  state.switches = switches.switches;
  state.loaded = true;
  changed(true);
}

// ---------------------------------------------------------------- what is told

export const told = {
  version(news) {
    state.version = news.version;
    state.inspector = news.inspector;
    changed();
  },

  request(request) {
    state.requests.set(request.id, request);
    changed(true);
  },

  "request-closed"({ id }) {
    const request = state.requests.get(id);
    state.requests.delete(id);
    if (request) settled(request);
    changed(true);
  },

  decision(view) {
    state.decisions.set(view.decision.id, view);
    const kept = state.answered.get(view.decision.request);
    if (kept && kept.decision === null) kept.decision = view.decision.id;
    changed(true);
  },

  "in-force"(view) {
    state.decisions.set(view.decision.id, view);
    changed(true);
  },

  graph(delta) {
    if (delta.whole) for (const key of ["devices", "services", "relationships"]) state[key] = new Map();
    for (const device of delta.devices) state.devices.set(device.id, device);
    for (const view of delta.services) state.services.set(view.service.id, view);
    const seen = delta.whole ? [] : delta.relationships.filter(({ id, relationship: { allowed, refused } }) => {
      const before = state.relationships.get(id)?.relationship;
      return before && before.allowed + before.refused < allowed + refused;
    });
    for (const view of delta.relationships) state.relationships.set(view.id, view);
    for (const key of ["devices", "services", "relationships"]) {
      for (const id of delta.gone[key]) state[key].delete(id);
    }
    state.site = delta.site || state.site;
    if (seen.length) for (const listener of seenListeners) listener(seen.map((view) => view.id));
    changed(delta.whole);
  },
};

/** Somebody has answered, here or elsewhere; what was decided may be known already, or come next. */
function settled(request) {
  if (state.answered.has(request.id)) return;
  const made = [...state.decisions.values()].find(({ decision }) => decision.request === request.id && !decision.undone_at);
  keepAnswered(request, made?.decision.id ?? null, false);
}

/** A card that was answered stays in sight for a while, with what became of it. */
export function keepAnswered(request, decision, mine) {
  const kept = { request, decision, mine, at: Date.now() };
  state.answered.set(request.id, kept);
  setTimeout(() => forgetAnswered(request.id, kept), KEEPS_ANSWERED);
}

export function forgetAnswered(id, kept = state.answered.get(id)) {
  if (kept && state.answered.get(id) === kept) state.answered.delete(id);
  changed(true);
}

// ---------------------------------------------------------------- questions to the state

export const deviceOf = (id) => {
  const service = state.services.get(id);
  return state.devices.get(service ? service.service.device : id) ?? state.devices.get(String(id).split("/")[0]);
};

/** Whether who is signed in has this role, or one that may do more: so that no button is shown that would be refused. */
export const atLeast = (role) => ROLES.indexOf(state.session?.person.role) >= ROLES.indexOf(role);

/** Whether the name of a service says more than that of its device. */
export const nameOf = (id) => deviceOf(id)?.name ?? id;

/** When something of a device was seen last, by its frames or by what its programs say. */
export const lastSeen = (device) => servicesOf(device.id).reduce((last, { service }) => Math.max(last, service.last_seen), device.last_seen);

export const servicesOf = (device) =>
  [...state.services.values()].filter((view) => view.service.device === device);

export const relationshipsOf = (device) =>
  [...state.relationships.values()].filter((r) => r.client_device === device || r.server_device === device);

/** Messages let through by a decision since it was made. */
export function passedSince(decision) {
  let sum = 0;
  for (const view of state.relationships.values()) {
    if (view.relationship.decision === decision) sum += view.relationship.allowed;
  }
  return sum;
}

export const paused = () =>
  [...state.devices.values()].filter((device) => (device.paused_until ?? 0) > Date.now() / 1000);

/** Programs at home whose learning has ended since `since`. */
export const graduatedSince = (since) => [...state.services.values()].filter(({ service, learning: phase, relationships }) =>
  !phase && relationships > 0 && (service.graduated ?? 0) > since && state.devices.get(service.device)?.place === "site");

export const learning = () => [...state.services.values()].filter((view) => view.learning);
