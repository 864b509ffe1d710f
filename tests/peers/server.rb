#!/usr/bin/ruby
# The gem `websocket` as a server that echoes; one connection after another, or with the word `threads` a thread for each.
# Prints "listening PORT", then for each connection "open VERSION" and "closed HOW"; "stripped" where the gem takes white
# space off the eight octets of hixie-76 and so answers wrongly.
require 'socket'
require 'websocket'

$stdout.sync = true
listener = TCPServer.new('127.0.0.1', 0)
puts "listening #{listener.addr[1]}"

# The handshake, and what came after it; nil where the client went away or the gem refuses.
def shake(socket)
  data = ''.b
  until (rest = data.split("\r\n\r\n".b, 2)[1]) && (rest.bytesize >= 8 || !data.match?(/^Sec-WebSocket-Key1:/in))
    data << socket.readpartial(1 << 16)
  end
  body = data.match?(/^Sec-WebSocket-Key1:/in) ? 8 : 0
  puts 'stripped' if body == 8 && rest.byteslice(0, 8).strip.bytesize < 8
  handshake = WebSocket::Handshake::Server.new
  handshake << data.byteslice(0, data.bytesize - rest.bytesize + body)
  return unless handshake.valid?
  socket.write(handshake.to_s.b)
  puts "open #{handshake.version}"
  [handshake.version, rest.byteslice(body..-1)]
end

def echo(socket, version, data)
  frames = WebSocket::Frame::Incoming::Server.new(version: version)
  loop do
    frames << data
    while (frame = frames.next)
      reply = WebSocket::Frame::Outgoing::Server.new(version: version, type: frame.type, data: frame.to_s, code: frame.code)
      socket.write(reply.to_s.b)
      next unless frame.type == :close
      return version >= 75 || version < 3 ? 'ff00' : frame.code ? "code #{frame.code}" : 'code none'
    end
    return "error #{frames.error}" if frames.error?
    data = socket.readpartial(1 << 16)
  end
end

def serve(socket)
  how = begin
    version, rest = shake(socket)
    version ? echo(socket, version, rest) : 'refused'
  rescue EOFError, SystemCallError
    'eof'
  end
  puts "closed #{how}"
ensure
  socket.close
end

loop do
  socket = listener.accept
  ARGV[0] == 'threads' ? Thread.new { serve(socket) } : serve(socket)
end
