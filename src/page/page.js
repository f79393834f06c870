"use strict";

const LOG_LINES = 200;
const TEXT_SHOWN = 2000;
const BYTES_SHOWN = 32;
const ROUND_TRIPS = 500;
const RETRY_FIRST_MS = 500;
const RETRY_LIMIT_MS = 15000;

const $ = (id) => document.getElementById(id);
const url = Object.assign(new URL("echo", location.href), { protocol: location.protocol.replace("http", "ws") }).href;
const encoder = new TextEncoder();

let socket = null;
let attempts = 0; // failed ones since the last connection
let retryAt = 0;
let retryTimer = 0;
let echoes = 0;
let inFlight = []; // An echo server answers in order, so the oldest entry is the one answered.
let roundTrips = [];

// Connection -----------------------------------------------------------------------------

function connect() {
  stopWaiting();
  setState("connecting");
  inFlight = [];
  const opening = socket = new WebSocket(url, "echo");
  let opened = false;
  opening.binaryType = "arraybuffer";
  opening.onopen = () => {
    opened = true;
    attempts = 0;
    setState("connected");
    const agreed = [opening.protocol && `subprotocol ${opening.protocol}`, opening.extensions && "compressed"];
    show("CONNECTED", url, agreed.filter(Boolean).join(", "));
  };
  opening.onmessage = (event) => socket === opening && received(event.data);
  opening.onclose = (event) => {
    if (opened) show("DISCONNECTED", event.reason, `code ${event.code}`);
    if (socket !== opening) return; // the user asked for it, and may have connected again
    if (!opened) show("ERROR", "no connection", `attempt ${attempts + 1}`);
    socket = null;
    waitAndConnect();
  };
}

// Forgetting the socket first tells its close event that the user asked for it.
function disconnect() {
  const closing = socket;
  socket = null;
  stopWaiting();
  setState("disconnected");
  if (closing) closing.close(1000, "bye");
}

// The delay doubles, and half of it is random, so that clients of a server that was
// restarted do not come back all at once.
function waitAndConnect() {
  const limit = Math.min(RETRY_LIMIT_MS, RETRY_FIRST_MS * 2 ** attempts++);
  retryAt = performance.now() + limit * (0.5 + Math.random() / 2);
  setState("waiting");
  $("retry").hidden = false;
  clearInterval(retryTimer);
  retryTimer = setInterval(countDown, 100);
  countDown();
}

function countDown() {
  const left = retryAt - performance.now();
  if (left <= 0) connect();
  else $("countdown").textContent = `Connecting again in ${(left / 1000).toFixed(1)} s`;
}

function stopWaiting() {
  clearInterval(retryTimer);
  $("retry").hidden = true;
}

function setState(state) {
  const connected = state === "connected";
  $("status").dataset.state = state;
  $("status").textContent = state[0].toUpperCase() + state.slice(1);
  $("connect").disabled = state !== "disconnected";
  $("disconnect").disabled = state === "disconnected";
  for (const id of ["send", "send-bytes", "send-random", "file"]) $(id).disabled = !connected;
}

// Messages -------------------------------------------------------------------------------

function send(data) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  show("SENDING", preview(data), size(data));
  inFlight.push({ data, at: performance.now() });
  socket.send(data);
}

function received(message) {
  const now = performance.now();
  const data = typeof message === "string" ? message : new Uint8Array(message);
  const sent = inFlight.shift();
  if (!sent) return show("RESPONSE", preview(data), `${size(data)}, not asked for`);
  const time = now - sent.at;
  const right = same(sent.data, data);
  const entry = show("RESPONSE", preview(data), `${size(data)} ${right ? "✓ equal" : "✗ differs"} ${milliseconds(time)}`);
  entry.classList.toggle("wrong", !right);
  measured(time);
}

function same(a, b) {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function preview(data) {
  if (typeof data === "string") return data.length > TEXT_SHOWN ? `${data.slice(0, TEXT_SHOWN)} …` : data;
  const hex = Array.from(data.subarray(0, BYTES_SHOWN), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return data.length > BYTES_SHOWN ? `${hex} …` : hex;
}

function size(data) {
  const [count, unit] = typeof data === "string" ? [data.length, "char"] : [data.length, "byte"];
  return `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;
}

function randomBytes(count) {
  const bytes = new Uint8Array(count);
  // The browser gives at most 64 KiB of random bytes per call.
  for (let at = 0; at < count; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
}

async function sendFile(file) {
  if (file) send(new Uint8Array(await file.arrayBuffer()));
}

// Numbers and log ------------------------------------------------------------------------

function milliseconds(time) {
  return `${time.toFixed(time < 10 ? 2 : time < 100 ? 1 : 0)} ms`;
}

function measured(time) {
  roundTrips.push(time);
  if (roundTrips.length > ROUND_TRIPS) roundTrips.shift();
  const sorted = roundTrips.toSorted((a, b) => a - b);
  $("rtt-last").textContent = milliseconds(time);
  $("rtt-min").textContent = milliseconds(sorted[0]);
  $("rtt-median").textContent = milliseconds(sorted[sorted.length >> 1]);
  $("echoes").textContent = ++echoes;
  const recent = roundTrips.slice(-60);
  const highest = Math.max(...recent);
  const points = recent.map((value, index) => `${120 - 2 * (recent.length - 1 - index)} ${27 - (25 * value) / highest}`);
  $("spark").firstElementChild.setAttribute("d", `M${points.join("L")}`);
}

// Data reaches the page as text nodes only, so markup in a message is shown and never run.
function show(kind, text, note = "") {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const entry = document.createElement("div");
  entry.className = `entry ${kind}`;
  for (const [tag, name, content] of [
    ["time", "", new Date().toTimeString().slice(0, 8)],
    ["b", "kind", kind],
    ["span", "text", text],
    ["span", "note", note],
  ]) {
    const part = document.createElement(tag);
    part.className = name;
    part.textContent = content;
    entry.append(part);
  }
  log.append(entry);
  while (log.childElementCount > LOG_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  return entry;
}

// Controls -------------------------------------------------------------------------------

$("url").textContent = url;
$("connect").onclick = $("now").onclick = connect;
$("disconnect").onclick = disconnect;
$("clear").onclick = () => $("log").replaceChildren();
$("message").onsubmit = (event) => {
  event.preventDefault();
  send($("input").value);
};
$("send-bytes").onclick = () => send(encoder.encode($("input").value));
$("input").onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("message").requestSubmit($("send"));
};
$("random").onsubmit = (event) => {
  event.preventDefault();
  send(randomBytes($("size").valueAsNumber));
};
$("file").onchange = () => {
  sendFile($("file").files[0]);
  $("file").value = ""; // so that the same file can be chosen again
};

document.ondragover = document.ondragleave = (event) => {
  event.preventDefault();
  document.body.classList.toggle("dropping", event.type === "dragover");
};
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  sendFile(event.dataTransfer.files[0]);
};
window.ononline = () => $("retry").hidden || connect();

connect();
