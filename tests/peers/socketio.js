// Socket.IO 0.9 as a server that echoes messages and events, on the Node.js of its time; and a page that talks to it.
//   socketio.js FOLDER      where node_modules is
// Prints "listening PORT", then for each connection "open" and "closed".
'use strict';
var http = require('http');
var path = require('path');
var io = require(path.join(process.argv[2], 'node_modules', 'socket.io'));

var PAGE = '<!DOCTYPE html>\n<meta charset="utf-8"><title>Socket.IO</title>\n' +
  '<script src="/socket.io/socket.io.js"></script>\n<script>\n' +
  'var opened = false, received = [], ended = false;\n' +
  'var socket = io.connect(location.protocol + "//" + location.host, { transports: ["websocket"], reconnect: false });\n' +
  'socket.on("connect", function () { opened = true; });\n' +
  'socket.on("message", function (text) { received.push(text); });\n' +
  'socket.on("disconnect", function () { ended = true; });\n' +
  'function say(text) { socket.send(text); }\n' +
  'function end() { socket.disconnect(); }\n' +
  '</script>\n';

var server = http.createServer(function (request, response) {
  response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
  response.end(PAGE);
});
var manager = io.listen(server, { 'log level': 0, transports: ['websocket'] });
manager.sockets.on('connection', function (socket) {
  console.log('open');
  socket.on('message', function (text) { socket.send(text); });
  socket.on('say', function (text) { socket.emit('said', text); });
  socket.on('disconnect', function () { console.log('closed'); });
});
server.listen(0, '127.0.0.1', function () { console.log('listening ' + server.address().port); });
