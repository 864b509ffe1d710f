#!/usr/bin/env node
// ws of npm as a test client, by the protocol that Autobahn|Testsuite documents for its fuzzing server.
//   conform_client.js FOLDER URL      where node_modules is, and the server without a slash at its end
'use strict';
const path = require('path');
const [folder, url] = process.argv.slice(2);
const { WebSocket } = require(path.join(folder, 'node_modules', 'ws'));
const agent = 'ws';
const options = { perMessageDeflate: {}, maxPayload: 64 << 20 };

// A connection that sends back what it gets where it is told to; the last text when it is over, and whether it was open.
function walk(target, echoes) {
  return new Promise((done) => {
    const seen = { open: false };
    const socket = new WebSocket(url + target, options);
    socket.on('open', () => { seen.open = true; });
    socket.on('message', (message, binary) => {
      if (echoes) socket.send(message, { binary });
      else seen.text = message.toString();
    });
    // What a case does wrong on purpose ends in one; the close follows.
    socket.on('error', () => {});
    socket.on('close', () => done(seen));
  });
}

(async () => {
  const { text } = await walk('/getCaseCount', false);
  const count = Number(text);
  if (!(count > 0)) throw new Error(`${url}/getCaseCount answers ${text}`);
  for (let i = 1; i <= count; i++) await walk(`/runCase?case=${i}&agent=${agent}`, true);
  const { open } = await walk(`/updateReports?agent=${agent}`, false);
  if (!open) throw new Error(`${url}/updateReports is refused`);
})().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
