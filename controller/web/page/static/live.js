// The open line to the controller. When it breaks the page says so, and tries again by itself.

import { get } from "./api.js";
import { changed, reload, state, told } from "./store.js";

const SILENCE = 15_000; // ms without news until the page asks whether the controller is still there
const LOST_AFTER = 1_500; // ms without a line until the page says so: a restart of a second is no news
const FIRST_WAIT = 500, LONGEST_WAIT = 8_000; // ms between attempts

let source = null;
let wait = FIRST_WAIT;
const timers = {};

function later(name, ms, action) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(() => {
    delete timers[name];
    action();
  }, ms);
}

export function open() {
  source?.close();
  clearTimeout(timers.again);
  const opened = new EventSource("/api/v1/events?graph=1");
  source = opened;
  opened.onopen = async () => {
    try {
      await reload();
    } catch {
      if (source === opened) retry();
      return;
    }
    if (source !== opened) return;
    clearTimeout(timers.lost);
    delete timers.lost;
    wait = FIRST_WAIT;
    state.connection = "live";
    heard();
    changed(true);
  };
  opened.onerror = () => source === opened && retry();
  for (const [name, tell] of Object.entries(told)) {
    opened.addEventListener(name, (event) => {
      heard();
      state.newest = Number(event.lastEventId) || state.newest;
      tell(JSON.parse(event.data));
    });
  }
}

export function close() {
  source?.close();
  source = null;
  for (const name of Object.keys(timers)) clearTimeout(timers[name]);
}

function heard() {
  state.lastHeard = Date.now();
  later("silence", SILENCE, async () => {
    const asked = source;
    try {
      await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
      if (source === asked) heard();
    } catch {
      if (source === asked) retry();
    }
  });
}

function lost() {
  state.connection = "lost";
  changed(true);
}

/** Open the line again, if the controller is there and still knows who this is. */
async function comeBack() {
  try {
    state.session = await get("/session");
  } catch (problem) {
    if (problem.status !== 401) return retry();
    close();
    state.session = null;
    return changed(true);
  }
  if (!source) open();
}

function retry() {
  source?.close();
  source = null;
  clearTimeout(timers.silence);
  if (state.connection !== "lost" && !timers.lost) later("lost", LOST_AFTER, lost);
  later("again", wait, comeBack);
  wait = Math.min(LONGEST_WAIT, wait * 2);
}

addEventListener("online", () => state.session && state.connection === "lost" && open());
addEventListener("offline", () => state.session && retry());
// A phone that slept has missed what happened meanwhile.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && state.session && state.connection === "lost") open();
});
