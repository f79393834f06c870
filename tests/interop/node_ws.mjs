// npm's `ws` as the client of a running echo server: node_ws.mjs [--kept] URL
// `--kept` says that the server was started with `--compression kept`.
// NODE_MODULES is the folder where `ws` is installed, outside the repository's own files.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";

const WebSocket = createRequire(`${process.env.NODE_MODULES}/`)("ws");

const SECONDS = 60;
const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20, 16 << 20];
const CONNECTIONS = 200;
const PIPELINED = 10_000;

const kept = process.argv.includes("--kept");
const echo = `${process.argv.at(-1).replace(/^http/, "ws")}/echo`;
let checks = 0;

function same(actual, expected, what) {
  assert.deepEqual(actual, expected, what);
  checks += 1;
}

async function connect(protocols = [], options = {}) {
  const socket = new WebSocket(echo, protocols, { perMessageDeflate: false, maxPayload: 0, ...options });
  await once(socket, "open");
  return socket;
}

async function echoes(socket, message, what) {
  socket.send(message);
  const [data, isBinary] = await once(socket, "message");
  const text = typeof message === "string";
  same(isBinary, !text, `${what}: text stays text and binary stays binary`);
  // `equals` rather than a deep comparison, which takes seconds for large buffers.
  same(text ? data.toString() === message : data.equals(message), true, `${what} comes back as it was sent`);
}

async function closed(socket, code, reason) {
  const ended = once(socket, "close");
  socket.close(code, reason);
  const [answer, text] = await ended;
  return [answer, text.toString()];
}

const tests = {
  async messages() {
    const socket = await connect();
    for (const text of ["", "a", "Grüße, 世界 🌍", "\0", "\u07ff\u0800\uffff\u{10ffff}"]) {
      await echoes(socket, text, JSON.stringify(text));
    }
    for (const size of SIZES) {
      await echoes(socket, randomBytes(size), `${size} bytes`);
      await echoes(socket, "x".repeat(size), `${size} characters`);
    }
    same(await closed(socket, 1000, "bye"), [1000, "bye"], "a clean close");
  },

  async fragments() {
    const socket = await connect();
    for (const binary of [false, true]) {
      for (const parts of [["a", "b", "c"], ["", "", ""], ["", "世".repeat(50_000), "🌍"], Array(1000).fill("part ")]) {
        const answer = once(socket, "message");
        parts.forEach((part, index) => {
          socket.send(part, { binary, fin: index === parts.length - 1 });
          if (index === 0) socket.ping("between");
        });
        const [data, isBinary] = await answer;
        same([data.toString(), isBinary], [parts.join(""), binary], "fragments come back as one message");
      }
    }
    // A character cut in two by a fragment boundary is whole again in the echo.
    const [first, second] = [Buffer.from([0xe4, 0xb8]), Buffer.from([0x96])];
    socket.send(first, { binary: false, fin: false });
    socket.send(second, { binary: false, fin: true });
    same((await once(socket, "message"))[0].toString(), "世", "a character cut by a boundary");
    socket.terminate();
  },

  async pings() {
    const socket = await connect();
    for (const size of [0, 1, 125]) {
      const payload = randomBytes(size);
      socket.ping(payload);
      const [answer] = await once(socket, "pong");
      same(answer.equals(payload), true, `a ping of ${size} bytes has its pong`);
    }
    socket.pong("nobody asked");
    await echoes(socket, "on", "text after an unsolicited pong");
    socket.terminate();
  },

  async closes() {
    for (const [code, reason] of [[1000, "bye"], [1000, ""], [1001, "gone"], [3000, "a"], [4999, "ü".repeat(61)]]) {
      same(await closed(await connect(), code, reason), [code, reason], `close ${code} is answered with the same`);
    }
    // `ws` reports a close frame without a code as 1005. A server may answer one with 1000.
    const [code] = await closed(await connect());
    same([1000, 1005].includes(code), true, "an empty close is answered");
  },

  async invalidText() {
    const socket = await connect();
    const ended = once(socket, "close");
    socket.send(Buffer.from([0x66, 0xff]), { binary: false });
    same((await ended)[0], 1007, "invalid UTF-8 ends the connection with 1007");
  },

  async subprotocols() {
    for (const [offered, chosen] of [[["echo"], "echo"], [["other", "echo"], "echo"], [[], ""]]) {
      const socket = await connect(offered);
      same(socket.protocol, chosen, `offered ${offered}, chosen ${chosen}`);
      socket.terminate();
    }
    const refused = new WebSocket(echo, ["other"]);
    refused.on("error", () => {});
    const [, response] = await once(refused, "unexpected-response");
    same(response.statusCode, 400, "only other subprotocols are refused with 400");
    refused.terminate();
  },

  async compression() {
    const text = "some text that repeats itself, ".repeat(2000);
    const messages = ["", "a", text, randomBytes(100_000), Buffer.alloc(1_000_000), "世界".repeat(1000), text, text.slice(0, 300)];
    for (const options of [
      true,
      { threshold: 0 },
      { threshold: 0, serverMaxWindowBits: 9 },
      { threshold: 0, clientMaxWindowBits: 10 },
      { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
    ]) {
      const what = JSON.stringify(options);
      const socket = await connect([], { perMessageDeflate: options });
      same(socket.extensions, "permessage-deflate", `${what} is accepted`);
      const { params } = socket._receiver._extensions["permessage-deflate"];
      const fresh = kept && !options.serverNoContextTakeover ? undefined : true;
      same(params.server_no_context_takeover, fresh, `${what}: the server's context`);
      same(params.server_max_window_bits, options.serverMaxWindowBits, `${what}: the server's window`);
      for (const message of messages) {
        await echoes(socket, message, `${what}: a message`);
      }
      const before = socket._socket.bytesRead;
      await echoes(socket, text, `${what}: a message that is worth compressing`);
      same(socket._socket.bytesRead - before < text.length / 5, true, `${what}: it comes back compressed`);
      same(await closed(socket, 1000, "bye"), [1000, "bye"], `${what}: a clean close`);
    }
  },

  async manyConnections() {
    const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect()));
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(sockets.map((socket, index) => echoes(socket, `${round} ${index}`, "one of many")));
    }
    const answers = await Promise.all(sockets.map((socket) => closed(socket, 1000, "")));
    same(answers.every(([code]) => code === 1000), true, "many connections close cleanly");
  },

  async pipeline() {
    const socket = await connect();
    const answers = [];
    const all = new Promise((resolve) => {
      socket.on("message", (data) => answers.push(Number(data)) === PIPELINED && resolve());
    });
    for (let number = 0; number < PIPELINED; number += 1) socket.send(String(number));
    await all;
    same(answers.every((answer, index) => answer === index), true, "pipelined messages come back in order");
    socket.terminate();
  },
};

for (const [name, test] of Object.entries(tests)) {
  const started = performance.now();
  const late = setTimeout(() => {
    console.error(`${name}: not done within ${SECONDS} s`);
    process.exit(1);
  }, SECONDS * 1000);
  await test();
  clearTimeout(late);
  console.log(`  ${name}: ${((performance.now() - started) / 1000).toFixed(2)} s`);
}
console.log(`interop node-ws: ${checks} checks passed`);
