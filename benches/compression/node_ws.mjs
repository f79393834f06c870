// npm's `ws` as an echo server with permessage-deflate: node_ws.mjs LEVEL
// NODE_MODULES is the folder where `ws` is installed.

import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(`${process.env.NODE_MODULES}/`)("ws");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: {
    threshold: 256,
    zlibDeflateOptions: { level: Number(process.argv[2]) },
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
  },
});
server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.on("listening", () => console.log(`ws://127.0.0.1:${server.address().port}/`));
