// Bun's own server as an echo server: bun.js PORT

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("", { status: 426 })),
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 960,
    sendPings: false,
    message: (socket, message) => void socket.send(message),
  },
});
