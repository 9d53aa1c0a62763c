// The desk's page. It keeps the token in this tab's session storage and sends it as a bearer; no cookies.
"use strict";

const TRIES_SECONDS = [0.5, 1, 2, 4, 8];
const BEAT_SECONDS = 30;
const LOOK_SECONDS = 15;
const TOKEN = "leadq.token";
const HOLDING = "leadq.holding";

const one = (id) => document.getElementById(id);
const show = (id, isShown) => { one(id).hidden = !isShown; };
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const inWords = (name) => { const text = name.replaceAll("_", " "); return text.charAt(0).toUpperCase() + text.slice(1); };
const atTime = (instant) => new Date(instant).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

let me = null;
let lead = null;
let chosen = null;
let cancelling = null;
let clockAhead = 0;
let timers = [];

class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `the desk answered ${status}`);
    this.status = status;
  }
}

function requestId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Ids of users go beyond what a JavaScript number holds: they stay text.
function read(text) {
  return text ? JSON.parse(text.replace(/("user_id":)(\d+)/g, '$1"$2"')) : {};
}

// Sends a request until it is answered: each try has the same request id, so that trying again does nothing twice.
async function ask(method, path, body, { isPatient = true } = {}) {
  const content = method === "POST" && body ? { request_id: requestId(), ...body } : body;
  for (let tried = 0; ; tried += 1) {
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers: {
          Authorization: `Bearer ${sessionStorage.getItem(TOKEN)}`,
          ...(content ? { "Content-Type": "application/json" } : {}),
        },
        ...(content ? { body: JSON.stringify(content) } : {}),
      });
    } catch {
      answer = null;
    }
    if (answer && answer.status !== 503) {
      const server = Date.parse(answer.headers.get("date"));
      // The header leaves out the fraction of the second.
      if (server) clockAhead = server + 500 - Date.now();
      const told = read(await answer.text());
      if (answer.ok) return told;
      if (answer.status === 401) signOut("Your token is not known any more: sign in again.");
      throw new Refused(answer.status, told);
    }
    if (!isPatient || tried >= TRIES_SECONDS.length) {
      throw new Error("The desk does not answer. Nothing is lost: try again in a moment.");
    }
    say("The desk does not answer: trying again…", "warn");
    await pause(TRIES_SECONDS[tried]);
  }
}

function say(text, kind = "good") {
  const message = one("message");
  message.textContent = text;
  message.className = `message ${kind}`;
  message.hidden = !text;
}

// Runs what a button does: one at a time, with its error told in plain words.
async function act(work) {
  const buttons = [...document.querySelectorAll("#work button, #callbacks button")];
  buttons.forEach((button) => { button.disabled = true; });
  try {
    say("");
    await work();
  } catch (error) {
    say(error.message, "bad");
    return error;
  } finally {
    document.querySelectorAll("#work button, #callbacks button").forEach((button) => { button.disabled = false; });
  }
  return null;
}

// Signing in and out ---------------------------------------------------------------------------------------------

async function signIn() {
  show("sign-in", false);
  me = await ask("GET", "/api/agents/me");
  one("who").textContent = me.role === "supervisor" ? `${me.name}, supervisor` : me.name;
  show("bar", true);
  show("desk", true);
  say("");
  await beat();
  await look();
  timers = [setInterval(beat, BEAT_SECONDS * 1000), setInterval(look, LOOK_SECONDS * 1000), setInterval(tick, 500)];
  if (sessionStorage.getItem(HOLDING)) await act(takeNext);
}

function signOut(text) {
  timers.forEach(clearInterval);
  sessionStorage.clear();
  me = null;
  forgetLead();
  ["bar", "desk"].forEach((id) => show(id, false));
  show("sign-in", true);
  one("token").value = "";
  one("token").focus();
  say(text, "warn");
}

// Status and heartbeats ------------------------------------------------------------------------------------------

// How often a status was shown: a heartbeat that was sent before the last of them knows less.
let shown = 0;

function showStatus(status) {
  shown += 1;
  document.querySelectorAll("#statuses button").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.status === status));
  });
}

async function beat() {
  try {
    const before = shown;
    const told = await ask("POST", `/api/agents/${me.agent_id}/heartbeat`, undefined, { isPatient: false });
    if (shown === before) showStatus(told.status);
  } catch {
    // The next beat tells. Whatever the agent does meanwhile says what is wrong.
  }
}

async function look() {
  await Promise.all([lookAtQueues(), lookAtCallbacks()]);
}

// The lead -------------------------------------------------------------------------------------------------------

async function takeNext() {
  const queue = one("queue").value;
  const told = await ask("POST", "/api/queue/next", queue ? { queue } : {});
  if (told.assignment) {
    showLead(told);
  } else {
    forgetLead();
    showNoWork(told.no_work);
  }
  await beat();
  await look();
}

function showLead(told) {
  lead = told.assignment;
  sessionStorage.setItem(HOLDING, "yes");
  const contact = told.contact || {};
  const name = [contact.first_name, contact.last_name].filter(Boolean).join(" ");
  one("lead-name").textContent = name || `User ${lead.user_id}`;
  showLink("lead-phone", "tel:", contact.phone_number);
  showLink("lead-email", "mailto:", contact.email_address);
  one("lead-user").textContent = lead.user_id;
  one("lead-queue").textContent = inWords(lead.queue_type);
  one("lead-reason").textContent = inWords(lead.queue_reason);
  one("lead-score").textContent = lead.callback ? "in front" : lead.priority_score;
  one("lead-attempts").textContent = lead.attempts;
  const last = lead.last_call_at ? atTime(lead.last_call_at) : "never";
  one("lead-last").textContent = lead.last_outcome ? `${last}: ${inWords(lead.last_outcome)}` : last;
  show("promise", Boolean(lead.callback));
  if (lead.callback) one("promise").textContent = `Promised for ${atTime(lead.callback.due_at)}`;
  show("unasked", !told.is_validated && !told.contact);
  show("unneeded", !told.is_validated && Boolean(told.contact));
  one("notes").value = "";
  one("talk").value = "";
  stopAgreeing();
  show("idle", false);
  show("lead", true);
  tick();
  one("lead-name").focus();
}

function showLink(id, scheme, value) {
  const link = one(id);
  link.hidden = !value;
  link.textContent = value || "";
  if (value) link.href = scheme + value.replaceAll(" ", "");
}

function forgetLead() {
  lead = null;
  sessionStorage.removeItem(HOLDING);
  show("lead", false);
  show("idle", true);
  show("no-work", false);
  one("idle-title").textContent = "Ready for the next lead";
}

function showNoWork(why) {
  const counts = why.standings;
  one("idle-title").textContent = "No lead for now";
  one("no-work-reason").textContent = why.reason === "out_of_hours"
    ? "People are not called at this time of day."
    : counts.cooling_until
      ? `Nobody may be called just now. The next one may be at ${atTime(counts.cooling_until)}.`
      : "Nobody is waiting in your queues.";
  const shown = {
    waiting: "Waiting", cooling: "Cooling", promised: "Promised calls", assigned: "With agents",
    too_high: "Score too high", suppressed: "Never called", converted: "Converted", not_needed: "Nothing owed",
    known: "All known",
  };
  one("standings").replaceChildren(...Object.entries(shown).map(([name, words]) => {
    const item = document.createElement("div");
    item.append(element("dt", words), element("dd", counts[name].toLocaleString()));
    return item;
  }));
  show("no-work", true);
  one("idle-title").focus();
}

function tick() {
  if (!lead) return;
  const left = Math.round((Date.parse(lead.lease_expires_at) - Date.now() - clockAhead) / 1000);
  const countdown = one("countdown");
  countdown.className = left <= 0 ? "over" : left < 60 ? "soon" : "";
  countdown.textContent = left <= 0
    ? "The time is over. Report the call all the same."
    : `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

// What the agent does with it ------------------------------------------------------------------------------------

async function report(outcome, agreed) {
  const path = `/api/assignments/${lead.id}/outcome`;
  const notes = one("notes").value.trim();
  const talk = one("talk").value;
  const body = { lease_token: lead.lease_token, outcome };
  if (agreed) body.callback_at = agreed.toISOString();
  if (notes) body.notes = notes;
  if (talk) body.talk_time_seconds = Number(talk);
  const error = await act(async () => {
    const told = await ask("POST", path, body);
    const again = told.lead === "waiting" && told.next_call_after;
    forgetLead();
    say(again ? `Saved. They may be called again from ${atTime(told.next_call_after)}.` : "Saved. They have left the queue.");
  });
  // Too late: the call is recorded, and the lead is somebody else's.
  if (error instanceof Refused && error.status === 409) forgetLead();
  await beat();
  await look();
}

function choose(button) {
  const { outcome, time } = button.dataset;
  if (time === "no") {
    const isFinal = button.classList.contains("leaves");
    if (!isFinal || confirm(`${inWords(outcome)}: nobody will call this person again. Is that so?`)) report(outcome);
    return;
  }
  chosen = outcome;
  one("agree-title").textContent = `${inWords(outcome)}: when shall they be called again?`;
  one("agreed").required = time === "must";
  one("agreed").value = "";
  one("agreed").min = local(new Date());
  show("agree-without", time === "may");
  show("outcomes", false);
  show("agree", true);
  one("agreed").focus();
}

function stopAgreeing() {
  chosen = null;
  show("agree", false);
  show("outcomes", true);
}

// As the input wants it: this clock's time without a zone.
function local(instant) {
  return new Date(instant.getTime() - instant.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

async function skip() {
  const error = await act(async () => {
    await ask("POST", `/api/assignments/${lead.id}/release`, { lease_token: lead.lease_token });
    forgetLead();
    say("Given back. It comes again later, perhaps to somebody else.");
  });
  if (error instanceof Refused && error.status === 409) forgetLead();
  await beat();
}

async function extend() {
  const told = await ask("POST", `/api/assignments/${lead.id}/extend`, { lease_token: lead.lease_token });
  lead.lease_expires_at = told.lease_expires_at;
  tick();
}

// Promised calls and queues --------------------------------------------------------------------------------------

async function lookAtCallbacks() {
  try {
    const told = await ask("GET", `/api/agents/${me.agent_id}/pending-callbacks`, undefined, { isPatient: false });
    const due = told.callbacks;
    one("callback-list").replaceChildren(...due.map(callbackItem));
    show("no-callbacks", due.length === 0);
    show("callbacks", true);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) show("callbacks", false);
  }
}

function callbackItem(callback) {
  const item = document.createElement("li");
  const due = whenDue(callback);
  const time = element("strong", due);
  if (Date.parse(callback.call_after) < Date.now() + clockAhead) time.className = "over";
  const words = callback.is_assigned ? "in your hands" : callback.status === "accepted" ? "accepted" : "waiting to be accepted";
  const row = element("div", "");
  row.className = "row";
  const { callback_id } = callback;
  if (callback.status !== "accepted") {
    row.append(button("Accept", `Accept the call due ${due}`, async () => {
      await ask("POST", "/api/callbacks/accept", { callback_id });
      say("Accepted: it is your next lead.");
    }));
  }
  row.append(
    button("In 5 minutes", `Snooze the call due ${due} by 5 minutes`, async () => {
      const told = await ask("POST", "/api/callbacks/snooze", { callback_id, minutes: 5 });
      forgetLeadOf(callback_id);
      say(`Snoozed: it comes again at ${atTime(told.call_after)}.`);
    }),
    button("Cancel", `Cancel the call due ${due}`, () => askWhy(callback)),
  );
  item.append(time, element("p", `User ${callback.user_id}, ${words}`), row);
  return item;
}

// When to call; a call that was snoozed is also told by the time that was promised.
function whenDue(callback) {
  const due = atTime(callback.call_after);
  if (callback.call_after === callback.due_at) return due;
  return `${due} (promised ${new Date(callback.due_at).toLocaleTimeString([], { timeStyle: "short" })})`;
}

// A promised call that was put off or cancelled is out of the agent's hands, also where the page shows it.
function forgetLeadOf(callbackId) {
  if (lead && lead.callback && lead.callback.id === callbackId) forgetLead();
}

async function askWhy(callback) {
  cancelling = callback.callback_id;
  one("cancelling-what").textContent = `User ${callback.user_id}, due ${whenDue(callback)}`;
  one("cancelling").showModal();
}

async function cancel(reason) {
  one("cancelling").close();
  await act(async () => {
    await ask("POST", `/api/callbacks/${cancelling}/cancel`, { reason });
    forgetLeadOf(cancelling);
    say("Cancelled: this call is not made.");
  });
  await beat();
  await look();
}

function button(text, label, work) {
  const made = element("button", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", async () => { await act(work); await look(); });
  return made;
}

async function lookAtQueues() {
  try {
    const told = await ask("GET", "/api/health/queues", undefined, { isPatient: false });
    one("levels").replaceChildren(...Object.entries(told.queues).map(([queue, counts]) => {
      const row = document.createElement("tr");
      const name = element("th", inWords(queue));
      name.scope = "row";
      row.append(name, ...[counts.waiting + counts.promised, counts.cooling, counts.assigned]
        .map((count) => element("td", count.toLocaleString())));
      return row;
    }));
  } catch {
    // Shown again when it can be asked.
  }
}

function element(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

// Buttons --------------------------------------------------------------------------------------------------------

one("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, one("token").value.trim());
  one("token").value = "";
  await start();
});
one("leave").addEventListener("click", async () => {
  await act(() => ask("PUT", `/api/agents/${me.agent_id}/status`, { status: "offline" }, { isPatient: false }));
  signOut("Signed out.");
});
one("next").addEventListener("click", () => act(takeNext));
one("skip").addEventListener("click", skip);
one("extend").addEventListener("click", () => act(extend));
one("outcomes").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) choose(button);
});
one("agree").addEventListener("submit", (event) => {
  event.preventDefault();
  const value = one("agreed").value;
  if (value) report(chosen, new Date(value));
  else say("Choose a time, or save without one.", "warn");
});
one("agree").addEventListener("click", (event) => {
  const minutes = Number(event.target.dataset.minutes);
  if (minutes) one("agreed").value = local(new Date(Date.now() + minutes * 60000));
});
one("agree-without").addEventListener("click", () => report(chosen));
one("reasons").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) cancel(button.dataset.reason);
});
one("agree-cancel").addEventListener("click", stopAgreeing);
document.querySelectorAll("#statuses button").forEach((button) => {
  button.addEventListener("click", () => act(async () => {
    showStatus((await ask("PUT", `/api/agents/${me.agent_id}/status`, { status: button.dataset.status })).status);
  }));
});

async function start() {
  if (!sessionStorage.getItem(TOKEN)) {
    show("sign-in", true);
    return;
  }
  try {
    await signIn();
  } catch (error) {
    if (!me) {
      sessionStorage.clear();
      show("sign-in", true);
      say(error instanceof Refused && error.status === 401 ? "This token is not known." : error.message, "bad");
    }
  }
}

start();
