#!/usr/bin/env node
// websocket-driver of npm as a server that echoes, with the drafts on.
//   conform_driver.js FOLDER      where node_modules is
// Prints "listening PORT".
'use strict';
const http = require('http');
const path = require('path');
const driver = require(path.join(process.argv[2], 'node_modules', 'websocket-driver'));

const server = http.createServer((request, response) => {
  response.writeHead(404);
  response.end();
});
server.on('upgrade', (request, socket, body) => {
  socket.setNoDelay();
  socket.on('error', () => {});
  const one = driver.http(request, { allowDrafts: true, maxLength: 64 << 20 });
  one.on('message', (event) => one.frame(event.data));
  one.on('close', () => socket.end());
  one.on('error', () => {});
  one.io.write(body);
  socket.pipe(one.io).pipe(socket);
  one.start();
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
