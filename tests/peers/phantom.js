// Keeps one page open in PhantomJS; the harness ends the process.
var page = require('webpage').create();
page.onConsoleMessage = page.onError = function (message) { require('system').stderr.writeLine(message); };
page.open(require('system').args[1], function (status) {
  if (status !== 'success') { phantom.exit(1); }
});
