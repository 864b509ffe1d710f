// conform.html in PhantomJS, from the first case to the last:
//   phantomjs conform_phantom.js URL [AGENT]
var system = require('system');
var fs = require('fs');
var page = require('webpage').create();
var folder = fs.absolute(system.args[0]).replace(/[^\/]*$/, '');
var hash = encodeURIComponent(system.args[1] + ',' + (system.args[2] || 'PhantomJS'));

page.onError = function (message) {
  system.stderr.writeLine(message);
  phantom.exit(1);
};
page.onConsoleMessage = function (message) {
  system.stderr.writeLine(message);
  phantom.exit(message === 'done' ? 0 : 1);
};
page.open('file://' + folder + 'conform.html#' + hash, function (status) {
  if (status !== 'success') {
    system.stderr.writeLine('conform.html cannot be read');
    phantom.exit(1);
  }
});
