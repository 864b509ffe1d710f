#!/usr/bin/ruby
# The gem `websocket` as a client of one connection.
#   client.rb PORT PATH VERSION      VERSION is the gem's number
# Orders and events as in client.pl, but its close always has 1000; before each frame that it sends it prints "frame HEX".
require 'socket'
require 'websocket'

$stdout.sync = true
port, path, version = ARGV[0].to_i, ARGV[1], ARGV[2].to_i
HIXIE = version >= 75 || version < 3 # the gem frames drafts 1 and 2 like hixie-76
HAS_CODES = !HIXIE && version >= 6

@socket = TCPSocket.new('127.0.0.1', port)
@socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
@handshake = WebSocket::Handshake::Client.new(
  url: "ws://127.0.0.1:#{port}#{path}", version: version, origin: 'http://127.0.0.1'
)
@frames = WebSocket::Frame::Incoming::Client.new(version: version)
@head = ''.b
@orders = ''.b
@open = false
@how = 'eof'
@close_sent = false
@version = version

def put_frame(type, data, code = nil)
  octets = WebSocket::Frame::Outgoing::Client.new(version: @version, type: type, data: data, code: code).to_s.b
  puts "frame #{octets.unpack1('H*')}" if octets.bytesize < 100
  @socket.write(octets)
rescue SystemCallError, IOError
  nil # the server has gone, or our side is ended; what it still says is read below
end

def send_close
  return if @close_sent
  @close_sent = true
  if @version == 75 then @socket.close_write
  elsif HAS_CODES then put_frame(:close, '', 1000)
  else put_frame(:close, '')
  end
end

def read_orders
  data = $stdin.read_nonblock(1 << 16, exception: false)
  return if data == :wait_readable
  if data.nil?
    @input_ended = true
    @socket.close_write
    return
  end
  @orders << data
  while (line = @orders.slice!(/\A.*?\n/n))
    verb, hex = line.split
    verb == 'close' ? send_close : put_frame(verb.to_sym, [hex.to_s].pack('H*'))
  end
end

# True while a whole head, and the sixteen octets after it where they belong to it, have not come.
def head_incomplete?
  head, rest = @head.split("\r\n\r\n".b, 2)
  rest.nil? || (head.include?(' 101 ') && (@version == 76 || @version <= 3) && rest.bytesize < 16)
end

def read_head(data)
  @head << data
  return if head_incomplete?
  digest = @version == 76 || @version <= 3 ? 16 : 0
  head, rest = @head.split("\r\n\r\n".b, 2)
  @handshake << (head + "\r\n\r\n".b + rest.byteslice(0, digest))
  return unless @handshake.finished? && @handshake.valid?
  @open = true
  puts 'open'
  @frames << (rest.byteslice(digest..-1) || '')
end

def read_frames
  while (frame = @frames.next)
    if frame.type == :close
      @how = HIXIE ? 'ff00' : frame.code ? "code #{frame.code}" : 'code none'
      send_close
    else
      puts "#{frame.type} #{frame.to_s.b.unpack1('H*')}"
    end
  end
end

@socket.write(@handshake.to_s.b)
loop do
  sources = [@socket]
  sources << $stdin if @open && !@input_ended
  ready, = IO.select(sources)
  read_orders if ready.include?($stdin)
  next unless ready.include?(@socket)
  data = begin
    @socket.readpartial(1 << 16)
  rescue EOFError, SystemCallError
    puts(@open ? "closed #{@how}" : "refused #{@head.unpack1('H*')}")
    exit
  end
  @open ? @frames << data : read_head(data)
  read_frames if @open
end
