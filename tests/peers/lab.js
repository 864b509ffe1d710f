// Holds one page open in PhantomJS and does with it what the harness says: one order in each HTTP request.
var page = require('webpage').create(), system = require('system'), errors = [];
page.viewportSize = { width: 1280, height: 900 };
page.onError = function (message) { errors.push(String(message)); };
page.onConsoleMessage = function (message) { errors.push('console: ' + message); };

function answer(response, value) {
  response.statusCode = 200;
  response.setHeader('Content-Type', 'application/json');
  // It counts characters where octets are due: so no characters but octets.
  response.write(JSON.stringify(value === undefined ? null : value).replace(/[\u0080-\uffff]/g, function (character) {
    return '\\u' + ('000' + character.charCodeAt(0).toString(16)).slice(-4);
  }));
  response.close();
}

var orders = {
  open: function (url, done) { page.open(url, done); },
  value: function (script, done) { done(page.evaluateJavaScript('function () { return (' + script + '); }')); },
  size: function (size, done) { page.viewportSize = size; done(); },
  write: function (words, done) { page.sendEvent('keypress', words); done(); },
  shot: function (how, done) {
    // The whole page is rendered unless it is clipped.
    var size = how.whole ? { width: 0, height: 0 } : page.viewportSize;
    page.clipRect = { left: 0, top: 0, width: size.width, height: size.height };
    done(page.render(how.path));
  },
  key: function (name, done) { page.sendEvent('keypress', page.event.key[name]); done(); },
  errors: function (_, done) { done(errors); }
};

// The harness cannot be told a port that the system chooses.
if (!require('webserver').create().listen('127.0.0.1:' + system.args[1], function (request, response) {
  var order = JSON.parse(request.post);
  orders[order[0]](order[1], function (value) { answer(response, value); });
})) {
  system.stderr.writeLine('port ' + system.args[1] + ' is taken');
  phantom.exit(1);
}
console.log('ready');
