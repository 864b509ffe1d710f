#!/usr/bin/env node
// ws of npm with permessage-deflate as a server that echoes and does nothing else: conform_server.js FOLDER, where
// node_modules is. Prints "listening PORT".
'use strict';
const path = require('path');
const { WebSocketServer } = require(path.join(process.argv[2], 'node_modules', 'ws'));

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: true, maxPayload: 64 << 20 });
server.on('listening', () => console.log(`listening ${server.address().port}`));
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
