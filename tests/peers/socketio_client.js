// Socket.IO 0.9 as a client, on the Node.js of its time. It does what stdin says and prints what happens, in hex.
//   socketio_client.js FOLDER PORT PATH VERSION      only FOLDER and PORT are of use
'use strict';
var path = require('path');
var readline = require('readline');
var io = require(path.join(process.argv[2], 'node_modules', 'socket.io-client'));

var socket = io.connect('http://127.0.0.1:' + process.argv[3], { transports: ['websocket'], reconnect: false });
function tell(event, more) { console.log(event + ' ' + (more || '')); }

socket.on('connect', function () { tell('open'); });
socket.on('message', function (text) { tell('text', new Buffer(text, 'utf8').toString('hex')); });
socket.on('disconnect', function () { tell('closed'); process.exit(0); });
socket.on('connect_failed', function (why) { tell('closed', 'failed ' + why); });
socket.on('error', function (why) { tell('closed', 'error ' + why); });

readline.createInterface({ input: process.stdin, output: new (require('stream').Writable)() }).on('line', function (line) {
  var words = line.split(' ');
  if (words[0] === 'text') { socket.send(new Buffer(words[1] || '', 'hex').toString('utf8')); }
  if (words[0] === 'close') { socket.disconnect(); }
});
