// npm's `ws`, with `bufferutil` as its authors advise, as an echo server: node_ws.mjs PORT MODULES

import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(`${process.argv[3]}/`)("ws");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
});
server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
