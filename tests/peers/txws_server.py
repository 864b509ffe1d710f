"""txWS, for Twisted, as a server that echoes. Prints "listening PORT", then a line for each message that it receives."""

from twisted.internet import protocol, reactor
from txws import WebSocketFactory


class Echo(protocol.Protocol):
    def dataReceived(self, data):
        print(f"received {len(data)}", flush=True)
        self.transport.write(data)


port = reactor.listenTCP(0, WebSocketFactory(protocol.Factory.forProtocol(Echo)), interface="127.0.0.1")
print(f"listening {port.getHost().port}", flush=True)
reactor.run()
