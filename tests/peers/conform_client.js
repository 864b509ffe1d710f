#!/usr/bin/env node
// A test client on ws of npm, as the documentation of Autobahn|Testsuite describes one: it counts the cases, is tested with
// each, and has the reports written.
//   conform_client.js FOLDER URL [AGENT]
// FOLDER is where node_modules is, URL that of the tester, such as ws://127.0.0.1:9001.
'use strict';
const path = require('path');
const [folder, url, agent = 'ws'] = process.argv.slice(2);
const WebSocket = require(path.join(folder, 'node_modules', 'ws'));
const name = `agent=${encodeURIComponent(agent)}`;

// The text that the tester answers, once the connection is closed.
function ask(what) {
  return new Promise((done, fail) => {
    let answer;
    const socket = new WebSocket(url + what);
    socket.on('message', (message) => { answer = message.toString(); });
    socket.on('error', fail);
    socket.on('close', () => done(answer));
  });
}

function run(number) {
  return new Promise((done) => {
    const socket = new WebSocket(`${url}/runCase?case=${number}&${name}`, { maxPayload: 64 << 20 });
    socket.on('message', (message, binary) => socket.send(message, { binary }));
    // Most cases break a rule: whether the end is right, the tester knows.
    socket.on('error', () => {});
    socket.on('close', () => done());
  });
}

(async () => {
  const count = Number(await ask('/getCaseCount'));
  for (let number = 1; number <= count; number += 1) {
    await run(number);
  }
  await ask(`/updateReports?${name}`);
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
