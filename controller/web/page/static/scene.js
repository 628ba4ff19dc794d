// What the graph shows: the site folded to the asked level, filtered, and what needs somebody set off. Pure.

import { kindOf } from "./icons.js";
import { operation, STATUSES } from "./words.js";

const IDLE = 3600; // s without a message until an allowed edge turns grey
const MOST_FADED = 150; // edges shown beside what is asked for; the newest
const SMALL = 40; // devices; a site so small is shown whole
const WORST = ["no", "ask", "ok"];

const parts = (text) => text.split("/");

/** Whether an MQTT topic filter takes in a topic (MQTT 5, section 4.7). */
export function takesIn(filter, topic) {
  const wanted = parts(filter), given = parts(topic);
  for (const [n, level] of wanted.entries()) {
    if (level === "#") return true;
    if (given[n] === undefined || (level !== "+" && level !== given[n])) return false;
  }
  return wanted.length === given.length;
}

const worse = (a, b) => (WORST.indexOf(a) < WORST.indexOf(b) ? a : b);

export function isInfrastructure(state, service) {
  const view = state.services.get(service);
  const device = state.devices.get(view?.service.device);
  return Boolean(view?.infrastructure || device?.roles?.length);
}

/** The vertex that a service is part of at this level. */
function vertexOf(state, options, service) {
  const device = state.devices.get(state.services.get(service)?.service.device);
  if (!device) return null;
  if (options.level === "switch") {
    return device.place === "site" ? `w:${device.binding?.switch ?? "none"}` : `w:${device.place}`;
  }
  return options.level === "service" || options.open.has(device.id) ? `s:${service}` : `d:${device.id}`;
}

function makeVertex(state, id) {
  const of = id.slice(2);
  if (id.startsWith("s:")) {
    const { service, learning } = state.services.get(of);
    const device = state.devices.get(service.device);
    return { id, label: service.name, kind: "service", parent: `d:${device.id}`, learning: Boolean(learning), device: device.id };
  }
  if (id.startsWith("w:")) {
    const found = state.switches.find((one) => String(one.switch) === of);
    const outside = { remote: ["Internet", "internet"], group: ["Everybody", "group"], none: ["Not on a switch", "unknown"] }[of];
    return { id, label: outside?.[0] ?? found?.name ?? `switch ${of}`, kind: outside?.[1] ?? "switch", members: new Set() };
  }
  const device = state.devices.get(of);
  return { id, label: device.name, kind: kindOf(device), device: of, members: new Set() };
}

/** Every vertex and edge at the asked level, before anything is hidden. */
function fold(state, options) {
  const vertices = new Map(), edges = new Map(), edgeOf = new Map();
  const vertex = (id) => {
    if (!vertices.has(id)) vertices.set(id, makeVertex(state, id));
    return vertices.get(id);
  };
  const join = (source, target, tone, view, more = {}) => {
    const id = `${source}|${target}|${more.topic ?? ""}${tone}`;
    const edge = edges.get(id) ?? { id, source, target, tone, views: [], operations: new Map(), last: 0, ...more };
    edge.views.push(view);
    edge.last = Math.max(edge.last, view.relationship.last_seen);
    const word = operation(view.relationship.access.operation);
    edge.operations.set(word, (edge.operations.get(word) ?? 0) + 1);
    edges.set(id, edge);
    edgeOf.set(view.id, id);
  };
  const infrastructure = new Map();
  const everybodys = (service) => {
    if (!infrastructure.has(service)) infrastructure.set(service, isInfrastructure(state, service));
    return infrastructure.get(service);
  };
  for (const view of state.relationships.values()) {
    if (options.switch !== null && !view.switches.includes(options.switch)) continue;
    const { client, server } = view.relationship.access;
    const source = vertexOf(state, options, client), target = vertexOf(state, options, server);
    if (!source || !target) continue;
    const { tone } = STATUSES[view.relationship.status];
    const quiet = tone === "ok" && !options.infrastructure && (everybodys(client) || everybodys(server));
    if (quiet) continue;
    for (const [end, service] of [[source, client], [target, server]]) {
      const made = vertex(end);
      made.members?.add(service);
      if (made.parent) vertex(made.parent);
    }
    if (source !== target) join(source, target, tone, view);
  }
  for (const device of state.devices.values()) {
    const elsewhere = options.switch !== null && device.binding?.switch !== options.switch;
    if (device.admission === "new" && device.place === "site" && !elsewhere && options.level !== "switch") {
      vertex(`d:${device.id}`).tone = "ask";
    }
  }
  if (options.mediated) mediate(state, options, vertex, join);
  return { vertices, edges, edgeOf };
}

/** Publisher, topic and subscriber behind a broker: the broker itself says nothing about who hears whom. */
function mediate(state, options, vertex, join) {
  const says = (word) => [...state.relationships.values()].filter(({ relationship: { access } }) =>
    access.protocol === "mqtt" && access.operation === word && access.resource);
  const hears = says("subscribe");
  for (const told of says("publish")) {
    const { access } = told.relationship;
    for (const heard of hears) {
      const other = heard.relationship.access;
      if (other.server !== access.server || !(other.resource === access.resource || takesIn(other.resource, access.resource))) continue;
      const from = vertexOf(state, options, access.client), to = vertexOf(state, options, other.client);
      if (!from || !to) continue;
      const topic = `t:${access.resource}`;
      for (const id of [from, to]) {
        const made = vertex(id);
        if (made.parent) vertex(made.parent);
      }
      vertex(from);
      if (!options.topics.has(topic)) options.topics.set(topic, access.resource);
      join(from, topic, STATUSES[told.relationship.status].tone, told, { mediated: true, topic: `${topic}<` });
      join(topic, to, STATUSES[heard.relationship.status].tone, heard, { mediated: true, topic: `${topic}>` });
    }
  }
}

const matches = (text, sought) => (text ?? "").toLowerCase().includes(sought);

/** Whether a relationship fits what is searched for. */
export function fits(view, state, sought) {
  if (!sought) return true;
  const { access, verb } = view.relationship;
  return [state.devices.get(view.client_device)?.name, state.devices.get(view.server_device)?.name, access.client, access.server,
    access.resource, access.protocol, access.operation, verb, view.sentence].some((text) => matches(text, sought));
}

/**
 * The picture. `options`: level ("switch", "device", "service"), open (devices shown with their services),
 * focus (only what needs somebody, and one hop), infrastructure, mediated, switch (a number or null), search.
 */
export function scene(state, options, now) {
  const { vertices, edges, edgeOf } = fold(state, { ...options, topics: new Map() });
  const kept = new Set(), faded = new Set(), keptEdges = new Map();
  const sought = options.search;
  for (const edge of edges.values()) {
    edge.idle = edge.tone === "ok" && now - edge.last > IDLE;
    for (const end of [edge.source, edge.target]) {
      if (!vertices.has(end)) vertices.set(end, { id: end, label: end.slice(2), kind: "topic" });
      const made = vertices.get(end);
      made.tone = worse(made.tone ?? "ok", edge.tone);
    }
  }
  const wanted = (vertex) => (sought ? matches(vertex.label, sought) || matches(vertex.device, sought)
    : !options.focus || (vertex.tone ?? "ok") !== "ok");
  for (const vertex of vertices.values()) if (wanted(vertex)) kept.add(vertex.id);
  if (sought) {
    for (const edge of edges.values()) {
      if (edge.views.some((view) => fits(view, state, sought))) {
        kept.add(edge.source);
        kept.add(edge.target);
      }
    }
  }
  const around = []; // what is shown beside, at low opacity
  const narrowed = Boolean(sought) || options.focus;
  for (const edge of edges.values()) {
    const ends = [edge.source, edge.target].filter((end) => kept.has(end)).length;
    if (!ends) continue;
    edge.faded = narrowed && (sought ? !edge.views.some((view) => fits(view, state, sought)) && ends < 2 : edge.tone === "ok");
    if (edge.faded) around.push(edge);
    else keptEdges.set(edge.id, edge);
  }
  around.sort((a, b) => b.last - a.last);
  for (const edge of around.slice(0, MOST_FADED)) keptEdges.set(edge.id, edge);
  for (const edge of keptEdges.values()) for (const end of [edge.source, edge.target]) if (!kept.has(end)) faded.add(end);
  const shown = new Map();
  for (const id of [...kept, ...faded]) {
    const vertex = vertices.get(id);
    shown.set(id, { ...vertex, faded: !kept.has(id) });
    if (vertex.parent && !shown.has(vertex.parent)) shown.set(vertex.parent, { ...vertices.get(vertex.parent), faded: false });
  }
  return { vertices: shown, edges: keptEdges, edgeOf, all: vertices.size, left: Math.max(0, around.length - MOST_FADED) };
}

/** Whether there is so much that at first only what needs somebody is shown, if anything does. */
export const crowded = (state) => state.devices.size > SMALL
  && ([...state.relationships.values()].some((view) => STATUSES[view.relationship.status].tone !== "ok")
    || [...state.devices.values()].some((device) => device.admission === "new" && device.place === "site"));
