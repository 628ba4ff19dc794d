// Words for people: times, amounts, and what the API's own words are called on the page.

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const number = new Intl.NumberFormat();

export const now = () => Date.now() / 1000;
export const count = (n) => number.format(n ?? 0);
export const some = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const clock = (at) => time.format(at * 1000);
export const exactly = (at) => (at ? whole.format(at * 1000) : "never");
export const sameDay = (a, b) => new Date(a * 1000).toDateString() === new Date(b * 1000).toDateString();

/** "Today", "Yesterday", "Tue 3 Nov". */
export function day(at) {
  if (sameDay(at, now())) return "Today";
  if (sameDay(at, now() - DAY)) return "Yesterday";
  return date.format(at * 1000);
}

/** "just now", "5 minutes ago", "yesterday at 14:10". */
export function ago(at) {
  if (!at) return "never";
  const past = now() - at;
  if (past < 10) return "just now";
  if (past < MINUTE) return `${Math.round(past / 10) * 10} seconds ago`;
  if (past < HOUR) return `${some(Math.round(past / MINUTE), "minute")} ago`;
  if (past < 12 * HOUR) return `${some(Math.round(past / HOUR), "hour")} ago`;
  if (sameDay(at, now())) return `today at ${clock(at)}`;
  return `${day(at).toLowerCase() === "yesterday" ? "yesterday" : day(at)} at ${clock(at)}`;
}

/** How long something still lasts, in steps that need no second hand: "about 12 minutes". */
export function left(seconds) {
  if (!(seconds > 0)) return "a moment";
  if (seconds < 15) return "a few seconds";
  if (seconds < 90) return `${Math.ceil(seconds / 10) * 10} seconds`;
  if (seconds < 90 * MINUTE) return `${some(Math.round(seconds / MINUTE), "minute")}`;
  if (seconds < 2 * DAY) return `${some(Math.round(seconds / HOUR), "hour")}`;
  return some(Math.round(seconds / DAY), "day");
}

export const milliseconds = (seconds) =>
  seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;

export function bytes(n) {
  for (const unit of ["bytes", "KB", "MB", "GB"]) {
    if (n < 1000 || unit === "GB") return `${number.format(unit === "bytes" ? n : Number(n.toPrecision(3)))} ${unit}`;
    n /= 1000;
  }
  return "";
}

export const DURATIONS = { always: "always", once: "once", hour: "for one hour", tonight: "until tonight" };
export const SCOPES = {
  operation: "only this",
  service: "all that it asks there",
  pair: "everything between the two",
};
export const TREATMENTS = {
  forward: "passes straight through the switch; nothing of it is read",
  drop: "is dropped by the switch",
  inspect: "each request is read before it goes on",
  watch: "goes on at once; a copy is read",
};
const OPERATIONS = {
  read: "read", write: "change", publish: "publish", subscribe: "follow", unsubscribe: "stop following",
  execute: "run", delete: "delete", register: "register", unregister: "unregister", lock: "reserve",
  commit: "confirm changes", rollback: "take back changes", notify: "notify", connect: "connect",
  announce: "announce", lookup: "look up", "*": "do anything",
};
export const operation = (word) => OPERATIONS[word] ?? word;

/** What a relationship's status means to a person: word, icon and class of colour. */
export const STATUSES = {
  learned: { word: "Allowed (learnt)", short: "Allowed", icon: "check", tone: "ok" },
  approved: { word: "Allowed by you", short: "Allowed", icon: "check", tone: "ok" },
  pending: { word: "Waits for you", short: "Waits", icon: "question", tone: "ask" },
  expired: { word: "Time is over; waits for you", short: "Waits", icon: "question", tone: "ask" },
  denied: { word: "Blocked", short: "Blocked", icon: "ban", tone: "no" },
};

const DOORS = /door|lock|gate|garage|window/;

/** The chip of a risk; what can be opened is called by what it is. */
export function risk(word, kind = "") {
  if (word === "opens") {
    const opens = DOORS.test(kind.toLowerCase());
    return { word: opens ? "Opens a door" : "Sensitive", icon: opens ? "unlocked" : "alert", tone: "no" };
  }
  if (word === "changes") return { word: "Changes something", icon: "pencil", tone: "ask" };
  return { word: "Only reads", icon: "eye", tone: "calm" };
}

/** "wants to" as what it may or may not do. */
export const may = (sentence, allowed) => sentence.replace(" wants to ", allowed ? " may " : " may not ");

export const CERTAINTIES = {
  announced: "its own name",
  guessed: "a guess; tap the pencil to name it",
};
