// Pausing protection for one device: the escape hatch, visible as long as it lasts.

import * as api from "./api.js";
import { complain, toast } from "./toast.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { name } from "./safe.js";
import { closeSheet, openSheet } from "./sheet.js";
import { changed } from "./store.js";
import { now } from "./words.js";

const CHOICES = [[15 * 60, "15 minutes"], [3600, "1 hour"], [4 * 3600, "4 hours"]];

async function pause(device, seconds) {
  try {
    await api.post(`/devices/${api.part(device.id)}/pause`, { seconds });
  } catch (problem) {
    return complain(problem);
  }
  device.paused_until = seconds ? now() + seconds : null;
  changed(true);
  toast(seconds
    ? { text: html`${name(device.name)} may do everything for a while.`, icon: "pause", tone: "ask", undo: () => endPause(device) }
    : { text: html`${name(device.name)} is protected again.`, icon: "guarded", tone: "ok" });
}

export const endPause = (device) => pause(device, 0);

export function askPause(device) {
  const choose = (seconds) => {
    closeSheet();
    pause(device, seconds);
  };
  openSheet("Pause protection", () => html`
    <p>${name(device.name)} may then do everything, and everything may be done with it. Nothing is learnt from it.
      Protection comes back by itself.</p>
    <div class="choices">${CHOICES.map(([seconds, word]) => html`
      <button class="quiet" @click=${() => choose(seconds)}>For ${word}</button>`)}</div>`);
}
