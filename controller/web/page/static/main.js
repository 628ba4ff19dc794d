// Starts the page: who is signed in, the open line, and drawing what is shown.

import * as api from "./api.js";
import * as live from "./live.js";
import { dashboard, tablePage } from "./dashboard.js";
import { devicePage } from "./device.js";
import { devices } from "./devices.js";
import { history } from "./history.js";
import { learningPage } from "./learning.js";
import { morePage } from "./more.js";
import { peoplePage } from "./people.js";
import { prepareSheet, redrawSheet } from "./sheet.js";
import { requests } from "./requests.js";
import { here, register } from "./router.js";
import { drawShell } from "./shell.js";
import { joining, signin } from "./signin.js";
import { state, subscribe } from "./store.js";
import { script } from "./trusted.js";
import { wall } from "./wall.js";

register("", requests);
register("map", dashboard);
register("table", tablePage);
register("devices", devices);
register("device", devicePage);
register("learning", learningPage);
register("history", history);
register("people", peoplePage);
register("more", morePage);
register("wall", wall);

let shown = null;

function draw() {
  const route = state.session ? here() : { path: "signin", page: signin, rest: "" };
  if (shown?.page !== route.page || shown?.rest !== route.rest) {
    shown?.page.leave?.();
    const first = shown === null;
    shown = route;
    drawShell(route);
    route.page.enter?.(route.rest);
    if (!first) {
      scrollTo(0, 0);
      document.getElementById("main").focus({ preventScroll: true });
    }
  } else {
    drawShell(route);
  }
  route.page.drawn?.();
  redrawSheet();
  document.title = `${state.requests.size ? `(${state.requests.size}) ` : ""}${route.page.title} – ${state.site || "Graphwall"}`;
}

async function start() {
  document.getElementById("shell").replaceChildren();
  prepareSheet();
  subscribe(draw);
  addEventListener("hashchange", draw);
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  setInterval(draw, 20_000); // "5 minutes ago" grows older
  const secret = joining();
  if (!secret) {
    try {
      state.session = await api.get("/session");
    } catch (problem) {
      state.session = null;
      state.unreachable = problem.status !== 401;
    }
  } else {
    state.session = null;
  }
  if (state.session) live.open();
  draw();
}

addEventListener("graphwall-signed-in", () => {
  live.open();
  draw();
});

if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register(script("/service-worker.js")).catch(() => {}); // without it, the page works only while connected
}

dispatchEvent(new Event("graphwall-started"));
start();
