// Bun's own server as an echo server with permessage-deflate, one compressor for all connections.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("", { status: 426 })),
  websocket: {
    perMessageDeflate: { compress: "shared", decompress: "shared" },
    message: (socket, message) => void socket.send(message, message.length >= 256),
  },
});
console.log(`ws://127.0.0.1:${server.port}/`);
