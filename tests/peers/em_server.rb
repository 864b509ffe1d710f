#!/usr/bin/ruby
# em-websocket as a server that echoes. Prints "listening PORT", then for each connection "open VERSION" and "closed HOW".
require 'em-websocket'

$stdout.sync = true
EM.run do
  signature = EM::WebSocket.run(host: '127.0.0.1', port: 0) do |ws|
    ws.onopen { |handshake| puts "open #{handshake.protocol_version}" }
    ws.onmessage { |message| ws.send(message) }
    ws.onbinary { |message| ws.send_binary(message) }
    # It does not report closes before draft 3.
    ws.onclose { |event| puts "closed #{event && event[:was_clean] ? "code #{event[:code]}" : 'eof'}" }
    ws.onerror { |error| puts "error #{error.message}" }
  end
  puts "listening #{Socket.unpack_sockaddr_in(EM.get_sockname(signature))[0]}"
end
