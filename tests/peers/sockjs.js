// SockJS as a server that echoes, and a page that talks to it.
//   sockjs.js FOLDER      where node_modules is
// Prints "listening PORT", then for each connection "open" and "closed".
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');
const modules = path.join(process.argv[2], 'node_modules');
const sockjs = require(path.join(modules, 'sockjs'));
const client = fs.readFileSync(path.join(modules, 'sockjs-client', 'dist', 'sockjs.js'));

const PAGE = `<!DOCTYPE html>
<meta charset="utf-8"><title>SockJS</title>
<script src="/sockjs.js"></script>
<script>
var opened = false, received = [], ended = false;
var socket = new SockJS('/echo', null, { transports: ['websocket'] });
socket.onopen = function () { opened = true; };
socket.onmessage = function (event) { received.push(event.data); };
socket.onclose = function () { ended = true; };
function say(text) { socket.send(text); }
function end() { socket.close(); }
</script>
`;

const server = http.createServer((request, response) => {
  const script = request.url === '/sockjs.js';
  response.writeHead(200, { 'Content-Type': script ? 'text/javascript' : 'text/html; charset=utf-8' });
  response.end(script ? client : PAGE);
});
const echo = sockjs.createServer({ log: () => {} });
echo.on('connection', (connection) => {
  console.log('open');
  connection.on('data', (text) => connection.write(text));
  connection.on('close', () => console.log('closed'));
});
// SockJS handles its own paths only; the server above answers the others.
const pages = server.listeners('request').slice();
server.removeAllListeners('request');
server.on('request', (request, response) => {
  if (!request.url.startsWith('/echo')) pages.forEach((answer) => answer.call(server, request, response));
});
echo.installHandlers(server, { prefix: '/echo' });
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
