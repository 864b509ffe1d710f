#!/usr/bin/env node
// ws of npm as a server that keeps what it gets: it prints each text, then sends it back.
//   store.js FOLDER HOST PORT   where node_modules is, and where it listens
// A text "more" is answered with "news" five times a second, until the connection ends.
// Prints "listening PORT", then "open TARGET" for each connection and "got TEXT" for each text. TERM closes all with 1001.
'use strict';
const path = require('path');
const [folder, host, port] = process.argv.slice(2);
const { WebSocketServer } = require(path.join(folder, 'node_modules', 'ws'));

// What is written to a pipe is there before the next step, so it is kept before it is acknowledged.
const say = (line) => require('fs').writeSync(1, `${line}\n`);
const server = new WebSocketServer({ host, port: Number(port) });
server.on('listening', () => say(`listening ${server.address().port}`));
server.on('connection', (socket, request) => {
  say(`open ${request.url}`);
  socket.on('error', () => {});
  socket.on('message', (message) => {
    if (message.toString() === 'more') {
      const timer = setInterval(() => socket.send('news'), 200);
      socket.on('close', () => clearInterval(timer));
      return;
    }
    say(`got ${message}`);
    socket.send(message.toString());
  });
});
process.on('SIGTERM', () => {
  for (const socket of server.clients) socket.close(1001, 'moved');
  server.close(() => process.exit(0));
});
