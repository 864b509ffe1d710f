// PhantomJS as a test client: conform_phantom.js URL AGENT, with conform_page.html beside it.
var system = require('system'), page = require('webpage').create();
var folder = system.args[0].replace(/[^\/]*$/, '');
page.onConsoleMessage = page.onError = function (message) { system.stderr.writeLine(message); };
page.open('file://' + folder + 'conform_page.html?' + system.args[1] + '?' + system.args[2], function (status) {
  if (status !== 'success') { phantom.exit(1); }
});
setInterval(function () {
  var title = page.evaluate(function () { return document.title; });
  if (title === 'done') { phantom.exit(0); }
  if (title && title !== 'walking') { system.stderr.writeLine(title); phantom.exit(1); }
}, 50);
