// Our own drawings, as lines on a grid of 24: what a device is, and what a button does.

import { html, svg } from "./vendor/lit-html/lit-html.js";

const LINES = {
  // kinds of devices
  lock: "M6 11h12v9H6z M8.5 11V8a3.5 3.5 0 0 1 7 0v3 M12 14.5v2.5",
  battery: "M7 6h10v15H7z M10 3h4v3h-4z M10 17h4 M10 13.5h4",
  washer: "M5 3h14v18H5z M5 7.5h14 M8 5.25h.5 M15.5 5.25h.5 M12 10a4.25 4.25 0 1 0 0 8.5a4.25 4.25 0 1 0 0-8.5 M8.4 15.2q1.8-1.6 3.6 0t3.6 0",
  light: "M9 17.5h6 M10 20.5h4 M9 17.5c0-2.5-3-4-3-7.5a6 6 0 0 1 12 0c0 3.5-3 5-3 7.5",
  button: "M5 3h14v18H5z M9 7h6v10H9z M9 12h6 M12 9v1",
  camera: "M3 8h12v9H3z M15 11l6-3v9l-6-3 M9 10.5a2 2 0 1 0 0 4a2 2 0 1 0 0-4 M6 20.5h6",
  thermostat: "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18 M12 12l3.5-4 M6.5 12h1 M16.5 12h1 M12 6.5v1 M9 17h6",
  phone: "M7 2.5h10v19H7z M10.5 18.5h3",
  tablet: "M4 3h16v18H4z M10.5 18h3",
  sensor: "M4 4h16v16H4z M12 4v16 M4 12h16 M14.5 9h1.5",
  broker: "M12 9.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 1 0 0-5 M12 9.5V4 M12 20v-5.5 M9.8 13.3L5 16 M14.2 13.3L19 16 M9.8 10.7L5 8 M14.2 10.7L19 8 M11 3h2 M11 21h2 M4 7.2l1 1.6 M19 8.8l1-1.6",
  hub: "M4 11l8-7l8 7v9H4z M9 15.5a4.2 4.2 0 0 1 6 0 M10.7 17.3a1.9 1.9 0 0 1 2.6 0",
  router: "M3 13h18v7H3z M7 16.5h.5 M10.5 16.5h.5 M16 16.5h2 M8 13V9 M16 13V9 M9.5 6.5a3.6 3.6 0 0 1 5 0 M7.5 4a6.5 6.5 0 0 1 9 0",
  internet: "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18 M3 12h18 M12 3c-5 5-5 13 0 18 M12 3c5 5 5 13 0 18",
  speaker: "M7 3h10v18H7z M12 6.3v.4 M12 10.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7",
  tv: "M3 4h18v12H3z M8 20h8 M12 16v4",
  printer: "M7 9V3h10v6 M4 9h16v8h-3 M7 17H4V9 M7 14h10v7H7z",
  computer: "M4 4h16v11H4z M2 19h20 M9 15l-.5 4 M15 15l.5 4",
  plug: "M8 3v5 M16 3v5 M6 8h12v3a6 6 0 0 1-12 0z M12 17v4",
  valve: "M4 12l8-4v8z M20 12l-8-4 M20 12l-8 4 M4 8v8 M20 8v8 M12 12V6 M9 5h6",
  controller: "M4 4h16v16H4z M8 8h8v5H8z M8 16.5h.5 M12 16.5h.5 M16 16.5h.5 M2 8h2 M2 16h2 M20 8h2 M20 16h2",
  database: "M5 6c0-4 14-4 14 0v12c0 4-14 4-14 0z M5 6c0 4 14 4 14 0 M5 12c0 4 14 4 14 0",
  group: "M12 12h.01 M8.5 8.5a5 5 0 0 0 0 7 M15.5 8.5a5 5 0 0 1 0 7 M5.5 5.5a9 9 0 0 0 0 13 M18.5 5.5a9 9 0 0 1 0 13",
  switch: "M3 8h18v8H3z M6.5 11h2v2h-2z M11 11h2v2h-2z M15.5 11h2v2h-2z M5 19l2-3 M19 19l-2-3",
  unknown: "M5 5h14v14H5z M9.8 10a2.3 2.3 0 1 1 3.4 2c-.8.5-1.2.9-1.2 1.8 M12 16.2v.1",
  service: "M12 3l8 4.5v9L12 21l-8-4.5v-9z M4 7.5l8 4.5l8-4.5 M12 12v9",
  // states and actions
  shield: "M12 3l8 3v6c0 4.5-3.2 7.6-8 9c-4.800-1.400-8-4.500-8-9V6z",
  guarded: "M12 3l8 3v6c0 4.5-3.2 7.6-8 9c-4.800-1.400-8-4.500-8-9V6z M8.500 12l2.500 2.500l4.500-5",
  check: "M5 12.500l4.500 4.500L19 7.500",
  ban: "M12 3.500a8.500 8.500 0 1 0 0 17a8.500 8.500 0 1 0 0-17 M6.200 6.200l11.600 11.600",
  question: "M12 3.500a8.500 8.500 0 1 0 0 17a8.500 8.500 0 1 0 0-17 M9.700 9.700a2.400 2.400 0 1 1 3.600 2.100c-.9.500-1.300 1-1.300 1.900 M12 16.300v.1",
  alert: "M12 4l9 16H3z M12 10v4.500 M12 17.200v.1",
  info: "M12 3.500a8.500 8.500 0 1 0 0 17a8.500 8.500 0 1 0 0-17 M12 11v5 M12 7.700v.1",
  unlocked: "M6 11h12v9H6z M8.500 11V8a3.500 3.500 0 0 1 6.600-1.600 M12 14.500v2.500",
  eye: "M2.500 12c4-8 15-8 19 0c-4 8-15 8-19 0z M12 9a3 3 0 1 0 0 6a3 3 0 1 0 0-6",
  pencil: "M4 20l1-4.500L16 4.500l3.500 3.500L8.500 19z M13.500 7l3.500 3.500",
  clock: "M12 3.500a8.500 8.500 0 1 0 0 17a8.500 8.500 0 1 0 0-17 M12 7.500V12l3 2.500",
  undo: "M8 5L4 9l4 4 M4 9h10a5.500 5.500 0 0 1 0 11H9",
  again: "M19 12a7 7 0 1 1-2-5 M19.500 3.500v4.500H15",
  search: "M10.500 4a6.500 6.500 0 1 0 0 13a6.500 6.500 0 1 0 0-13 M15.500 15.500L20.500 20.500",
  close: "M6 6l12 12 M18 6L6 18",
  right: "M9 5l7 7l-7 7",
  left: "M15 5l-7 7l7 7",
  down: "M5 9l7 7l7-7",
  inbox: "M4 13l3-9h10l3 9v7H4z M4 13h5l1.500 3h3l1.500-3h5",
  graph: "M6 4a2.500 2.500 0 1 0 0 5a2.500 2.500 0 1 0 0-5 M18 6a2.500 2.500 0 1 0 0 5a2.500 2.500 0 1 0 0-5 M10 15.500a2.500 2.500 0 1 0 0 5a2.500 2.500 0 1 0 0-5 M8.400 7.100l7.200 1 M7 8.800l2.200 6.900 M11.700 16l4.800-5.300",
  table: "M4 5h16v14H4z M4 9.700h16 M4 14.300h16 M10 5v14",
  devices: "M3 5h12v10H3z M6 19h6 M9 15v4 M17 9h4v11h-4z",
  history: "M4.500 8a8.500 8.500 0 1 1-1 4 M3.500 4v4.500H8 M12 7.500V12l3 2",
  learn: "M3 9l9-4.500L21 9l-9 4.500z M7 11.200v4.800c3 2.500 7 2.500 10 0v-4.800 M21 9v6",
  people: "M9 4.500a3.250 3.250 0 1 0 0 6.500a3.250 3.250 0 1 0 0-6.500 M3 20c0-8 12-8 12 0 M15.500 5a3 3 0 0 1 0 5.800 M17.500 13.800c2.300.8 3.500 3 3.500 6.200",
  more: "M4 12a1 1 0 1 0 2 0a1 1 0 1 0-2 0 M11 12a1 1 0 1 0 2 0a1 1 0 1 0-2 0 M18 12a1 1 0 1 0 2 0a1 1 0 1 0-2 0",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8 M12 2.500v2 M12 19.500v2 M2.500 12h2 M19.500 12h2 M5.300 5.300l1.400 1.400 M17.300 17.300l1.400 1.400 M5.300 18.700l1.400-1.400 M17.300 6.700l1.400-1.400",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z",
  pause: "M8 5v14 M16 5v14",
  play: "M7 4.500l12 7.500l-12 7.500z",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1 M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1",
  tidy: "M4 8V4h4 M16 4h4v4 M20 16v4h-4 M8 20H4v-4 M12 9a3 3 0 1 0 0 6a3 3 0 1 0 0-6",
  plus: "M12 5v14 M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5 M20 15v5h-5 M4 4l6 6 M20 20l-6-6",
  wall: "M3 4h18v12H3z M7 20h10 M8 12l3-3l2 2l3-3",
  upload: "M12 15v-11 M7 8.500l5-5l5 5 M4.500 20h15",
  download: "M12 4v11 M7 10.500l5 5l5-5 M4.500 20h15",
  trash: "M4.500 7h15 M9.500 7V4h5v3 M6.500 7l1 13.500h9l1-13.500 M10.500 11v5.500 M13.500 11v5.500",
  key: "M8 12a4 4 0 1 0 0 .01 M12 12h9 M18 12v3.500 M15 12v2.500",
  signout: "M10 4H5v16h5 M14 8l4 4l-4 4 M18 12H9",
  theme: "M12 3.500a8.500 8.500 0 1 0 0 17z M12 3.500a8.500 8.500 0 0 1 0 17",
  pulse: "M3 12h4l2.500-7l5 14l2.500-7h4",
  filter: "M4 5h16l-6 7.500V19l-4 1.500v-8z",
  offline: "M4 4l16 16 M8.500 15.500a5 5 0 0 1 7 0 M5 12a10 10 0 0 1 4.500-2.700 M14 9.200a10 10 0 0 1 5 2.800 M12 19v.1",
};

// The first kind whose words are in what a device is called wins.
const KINDS = [
  ["lock", /lock|garage|gate\b/], ["battery", /batter|storage|inverter|solar/], ["washer", /wash|dryer|dish/],
  ["thermostat", /thermostat|heating|climate|heat pump|boiler/], ["valve", /valve|pump/],
  ["button", /wall switch|button|remote/], ["light", /light|lamp|bulb/],
  ["camera", /camera|doorbell/], ["sensor", /sensor|window|contact|motion|detector/],
  ["tablet", /tablet|panel|display|hmi/], ["phone", /phone|mobile/], ["speaker", /speaker|assistant|radio/],
  ["tv", /\btv\b|television/], ["printer", /printer/], ["broker", /broker|mqtt/], ["hub", /hub|home|bridge/],
  ["router", /router|gateway|firewall|access point/], ["internet", /internet|cloud/],
  ["controller", /plc|controller|robot|machine/], ["database", /historian|database|storage|nas\b/],
  ["plug", /plug|outlet|socket|meter/], ["computer", /computer|laptop|server|station|pc\b/],
];

/** The drawing for a device: by its roles and place, then by the words for its kind and name. */
export function kindOf(device) {
  if (!device) return "unknown";
  if (device.place === "remote") return "internet";
  if (device.place === "group") return "group";
  if (device.roles?.includes("router")) return "router";
  for (const words of [device.kind, device.name]) {
    const text = (words ?? "").toLowerCase();
    const found = text && KINDS.find(([, fits]) => fits.test(text));
    if (found) return found[0];
  }
  return "unknown";
}

/** A drawing beside text that says the same, so hidden from screen readers. */
export const icon = (word, extra = "") => html`<svg class="icon ${extra}" viewBox="0 0 24 24" aria-hidden="true"
  focusable="false">${svg`<path d=${LINES[word] ?? LINES.unknown}></path>`}</svg>`;

/** A device's drawing on its tile. */
export const tile = (device, extra = "") => html`<span class="tile ${extra}">${icon(kindOf(device))}</span>`;

/** The same as a picture for a canvas. */
export const picture = (word, colour) =>
  `data:image/svg+xml;utf8,${encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48" viewBox="0 0 24 24" fill="none" stroke="${colour}" ` +
    `stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"><path d="${LINES[word] ?? LINES.unknown}"/></svg>`)}`;
