#!/usr/bin/env node
// ws of npm with permessage-deflate, as a server that echoes or as a client of one connection.
//   deflate.js FOLDER SETTINGS serve
//   deflate.js FOLDER SETTINGS PORT PATH VERSION
// FOLDER is where node_modules is. SETTINGS are the parameters of the extension as JSON, or null for no compression. With
// "tls" among them it speaks TLS: {"version": "TLSv1.2"}, of a server with "cert" and "key", of a client with "ca".
// The server prints "listening PORT", then for each connection "open" and "closed CODE"; each third message goes back in
// three frames. Orders of the client on stdin: "text HEX", "binary HEX", "pieces KIND HEX,HEX" (one message in several
// frames), "close HEX" (code and reason). Its events on stdout: "open", "text HEX", "binary HEX", "closed HOW".
'use strict';
const { readFileSync: read } = require('fs');
const https = require('https');
const path = require('path');
const [folder, json, port, target] = process.argv.slice(2);
const { WebSocket, WebSocketServer } = require(path.join(folder, 'node_modules', 'ws'));

const { tls, ...settings } = JSON.parse(json) || {};
const perMessageDeflate = json !== 'null' && { threshold: 0 };
for (const [name, value] of Object.entries(settings)) {
  perMessageDeflate[name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())] = value;
}
const versions = tls && { minVersion: tls.version, maxVersion: tls.version };
const options = { perMessageDeflate, maxPayload: 16 << 20 };

function sendPieces(socket, parts, binary) {
  parts.forEach((part, i) => socket.send(part, { binary, fin: i === parts.length - 1 }));
}

if (port === 'serve') {
  const at = { host: '127.0.0.1', port: 0 };
  const secure = tls && https.createServer({ cert: read(tls.cert), key: read(tls.key), ...versions }).listen(at);
  const server = new WebSocketServer({ ...(tls ? { server: secure } : at), ...options });
  server.on('listening', () => console.log(`listening ${server.address().port}`));
  server.on('connection', (socket) => {
    console.log('open');
    socket.on('error', (error) => console.error(error.message));
    socket.on('close', (code) => console.log(`closed ${code}`));
    let count = 0;
    socket.on('message', (message, binary) => {
      const third = Math.ceil(message.length / 3);
      const parts = [message.subarray(0, third), message.subarray(third, 2 * third), message.subarray(2 * third)];
      sendPieces(socket, ++count % 3 ? [message] : parts, binary);
    });
  });
} else {
  if (tls) Object.assign(options, { ca: read(tls.ca), ...versions });
  const socket = new WebSocket(`${tls ? 'wss' : 'ws'}://127.0.0.1:${port}${target}`, options);
  const print = (line) => process.stdout.write(line + '\n');
  socket.on('open', () => {
    print('open');
    let orders = '';
    process.stdin.on('data', (data) => {
      const lines = (orders + data).split('\n');
      orders = lines.pop();
      for (const line of lines) {
        const [verb, ...more] = line.split(' ');
        const octets = Buffer.from(more[0] || '', 'hex');
        if (verb === 'close') socket.close(octets.readUInt16BE(), octets.subarray(2));
        else if (verb === 'pieces') {
          sendPieces(socket, more[1].split(',').map((part) => Buffer.from(part, 'hex')), more[0] === 'binary');
        } else socket.send(octets, { binary: verb === 'binary' });
      }
    });
  });
  socket.on('message', (message, binary) => print(`${binary ? 'binary' : 'text'} ${message.toString('hex')}`));
  socket.on('error', (error) => console.error(error.message));
  socket.on('close', (code) => {
    print(`closed code ${code}`);
    process.stdin.destroy();
  });
}
