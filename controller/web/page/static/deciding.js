// Answers, and taking them back: what the buttons do.

import * as api from "./api.js";
import { announce, complain, toast } from "./toast.js";
import { html } from "./vendor/lit-html/lit-html.js";
import { changed, forgetAnswered, keepAnswered, state } from "./store.js";
import { askWhether } from "./sheet.js";
import { may } from "./words.js";

const WAIT = 1; // s that an answer is waited for until it is in force; it may come later

/** What a person has chosen on a card; `only` null: all of it. */
export const choiceOf = new Map(); // request id -> {duration, scope, only, sure, busy}

export function choice(request) {
  let made = choiceOf.get(request.id);
  if (!made) {
    made = {
      duration: request.risk === "opens" ? "once" : "always",
      scope: "operation", left: new Set(), sure: false, busy: false,
    };
    choiceOf.set(request.id, made);
  }
  return made;
}

/** Ids of relationships that the answer is about; empty: the whole card. */
export function ticked(request) {
  const { left } = choice(request);
  return left.size ? request.relationships.filter((id) => !left.has(id)) : [];
}

export async function answer(request, approve) {
  const made = choice(request);
  if (made.busy) return;
  if (approve && request.sensitive && !made.sure) {
    made.sure = true;
    changed(true);
    document.getElementById(`sure-${request.id}`)?.focus();
    return;
  }
  made.busy = true;
  const only = ticked(request);
  const whole = only.length === 0;
  if (whole) keepAnswered(request, null, true);
  changed(true);
  try {
    const body = approve
      ? { scope: made.scope, duration: made.duration, only, wait: WAIT, confirmed: made.sure }
      : { scope: made.scope, duration: "always", only, wait: WAIT };
    const done = await api.post(`/requests/${api.part(request.id)}/${approve ? "approve" : "deny"}`, body);
    carried(request, done, approve, whole);
  } catch (problem) {
    if (whole) forgetAnswered(request.id);
    if (problem.code === "confirm") made.sure = true;
    else complain(problem);
  } finally {
    made.busy = false;
    changed(true);
  }
}

function carried(request, done, approve, whole) {
  choiceOf.delete(request.id);
  if (whole) {
    state.requests.delete(request.id);
    const kept = state.answered.get(request.id);
    if (kept) kept.decision = done.decision;
  }
  const said = may(done.sentence || request.sentence, approve);
  announce(said);
  toast({
    text: html`${approve ? "Allowed" : "Blocked"}: <bdi>${said}</bdi>`,
    tone: approve ? "ok" : "no", icon: approve ? "check" : "ban",
    undo: () => undo(done.decision),
  });
}

/** The same permissions as a device that the person knows. */
export async function sameAs(request) {
  const made = choice(request);
  made.busy = true;
  keepAnswered(request, null, true);
  changed(true);
  try {
    const call = (confirmed) => api.post(`/requests/${api.part(request.id)}/same-as`,
      { device: request.suggestion.device, wait: WAIT, confirmed });
    const done = await call(false).catch(async (problem) => {
      if (problem.code !== "confirm") throw problem;
      return await askWhether("Are you sure?", `${problem.message}. ${problem.remedy}`, { yes: "Same permissions", tone: "danger" })
        ? call(true) : null;
    });
    if (done) carried(request, done, true, true);
    else forgetAnswered(request.id);
  } catch (problem) {
    forgetAnswered(request.id);
    complain(problem);
  } finally {
    made.busy = false;
    changed(true);
  }
}

export async function undo(decision) {
  try {
    await api.post(`/decisions/${decision}/undo`, { wait: WAIT });
    for (const [id, kept] of state.answered) if (kept.decision === decision) forgetAnswered(id);
    toast({ text: "Taken back: it is as it was before.", icon: "undo" });
    announce("Taken back");
  } catch (problem) {
    complain(problem);
  }
}
