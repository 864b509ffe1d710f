// The echo server of npm's ws with permessage-deflate for every message: `node ws.js own|context`.
'use strict';

const { WebSocketServer } = require('ws');

const own = process.argv[2] === 'own';
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  perMessageDeflate: {
    threshold: 0,
    serverNoContextTakeover: own,
    clientNoContextTakeover: own,
  },
});
server.on('listening', () => {
  console.log(`listening on ws://127.0.0.1:${server.address().port}/`);
});
server.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on('error', () => {});
});
