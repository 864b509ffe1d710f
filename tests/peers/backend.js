#!/usr/bin/env node
// ws of npm as a server that echoes, and does what some texts ask for:
//   "head"                 sends the request's line and headers as JSON
//   "close CODE REASON"    sends a close with them
//   "ping TEXT"            pings with the text, and sends "pong TEXT" when the answer has come
//   "vanish"               ends TCP without a close
//   backend.js FOLDER [CERT KEY]   where node_modules is; with a certificate and its key it speaks TLS
// Of subprotocols it speaks "chat". A target with "refuse=STATUS" is refused with that status.
// Prints "listening PORT", then for each connection "open VERSION" and "closed CODE REASON".
'use strict';
const { readFileSync: read } = require('fs');
const https = require('https');
const path = require('path');
const [folder, cert, key] = process.argv.slice(2);
const { WebSocketServer } = require(path.join(folder, 'node_modules', 'ws'));

const at = { host: '127.0.0.1', port: 0 };
const server = new WebSocketServer({
  ...(cert ? { server: https.createServer({ cert: read(cert), key: read(key) }).listen(at) } : at),
  maxPayload: 16 << 20,
  handleProtocols: (offered) => (offered.has('chat') ? 'chat' : false),
  verifyClient: (info, answer) => {
    const refusal = /refuse=(\d+)/.exec(info.req.url);
    if (refusal) answer(false, Number(refusal[1]), 'No', { 'X-Refused-By': 'ws' });
    else answer(true);
  },
});

server.on('listening', () => console.log(`listening ${server.address().port}`));

server.on('connection', (socket, request) => {
  console.log(`open ${request.headers['sec-websocket-version']}`);
  socket.on('error', (error) => console.error(error.message));
  socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`.trim()));
  socket.on('pong', (payload) => socket.send(`pong ${payload}`));
  socket.on('message', (message, isBinary) => {
    const [verb, first, ...rest] = isBinary || message.length > 200 ? [] : message.toString().split(' ');
    if (verb === 'head' && first === undefined) {
      socket.send(JSON.stringify({ url: request.url, headers: request.headers }));
    } else if (verb === 'close') {
      socket.close(Number(first), rest.join(' '));
    } else if (verb === 'ping') {
      socket.ping([first, ...rest].join(' '));
    } else if (verb === 'vanish') {
      socket.terminate();
    } else {
      socket.send(message, { binary: isBinary });
    }
  });
});
