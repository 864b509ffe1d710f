#!/usr/bin/perl
# Protocol::WebSocket as a client of one connection.
#   client.pl PORT PATH VERSION      VERSION as the module names it
# Orders on stdin: "text HEX", "binary HEX", "close HEX" (code and reason). Events on stdout: "open", "text HEX",
# "binary HEX", "refused HEX" (what came instead of a 101), and "closed HOW" once TCP has ended.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Client;

$| = 1;
my ($port, $path, $version) = @ARGV;
my $hixie = $version =~ /^draft-hixie|hybi-00$/;

my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp')
  or die "cannot connect: $!";
binmode $socket;

my $handshake = Protocol::WebSocket::Handshake::Client->new(
    url => "ws://127.0.0.1:$port$path", version => $version);
my $frames = Protocol::WebSocket::Frame->new(version => $version, max_payload_size => 0);
my ($orders, $head, $how, $close_sent) = ('', '', 'eof', 0);

put($handshake->to_string);

my $select = IO::Select->new($socket);
while (1) {
    for my $ready ($select->can_read) {
        if ($ready == \*STDIN) { read_orders() }
        else                   { read_socket() or exit 0 }
    }
}

sub put {
    my ($octets) = @_;
    my $at = 0;
    while ($at < length $octets) {
        my $n = syswrite $socket, $octets, length($octets) - $at, $at;
        return unless defined $n;
        $at += $n;
    }
}

sub send_frame {
    my (%frame) = @_;
    put($handshake->build_frame(max_payload_size => 0, %frame)->to_bytes);
}

sub send_close {
    my ($code_and_reason) = @_;
    return if $close_sent++;
    # hixie-75 has no closing handshake: the end of TCP is all.
    if   ($version eq 'draft-hixie-75') { shutdown $socket, 1 }
    else                                { send_frame(type => 'close', buffer => $hixie ? '' : $code_and_reason) }
}

sub read_orders {
    my $n = sysread STDIN, my $data, 1 << 16;
    unless ($n) { $select->remove(\*STDIN); shutdown $socket, 1; return }
    $orders .= $data;
    while ($orders =~ s/^(\w+)(?: ([0-9a-f]*))?\n//) {
        my ($verb, $hex) = ($1, $2);
        if ($verb eq 'close') { send_close(pack 'H*', $hex) }
        else                  { send_frame(type => $verb, buffer => pack 'H*', $hex) }
    }
}

sub read_socket {
    my $n = sysread $socket, my $data, 1 << 16;
    unless ($n) {
        print $handshake->is_done ? "closed $how\n" : 'refused ' . unpack('H*', $head) . "\n";
        return 0;
    }
    unless ($handshake->is_done) {
        $head .= $data;
        # After an error the rest of the refusal is only collected.
        return 1 if $handshake->error || !$handshake->parse($data);
        return 1 unless $handshake->is_done;
        print "open\n";
        $select->add(\*STDIN);
    }
    $frames->append($data);
    read_frames();
    return 1;
}

sub read_frames {
    while (1) {
        # The module takes an eight-octet length that has not come whole for a length of nothing.
        my $buffered = $frames->{buffer};
        return if !$hixie && length $buffered >= 2 && length $buffered < 10 && (ord(substr $buffered, 1, 1) & 127) == 127;

        my $octets = $frames->next_bytes;
        return unless defined $octets;
        if ($frames->is_close) {
            $how = $hixie ? 'ff00' : length $octets >= 2 ? join ' ', 'code', unpack 'na*', $octets : 'code none';
            $how =~ s/ $//;
            send_close(substr $octets, 0, 2);
        }
        else {
            print +($frames->is_binary ? 'binary ' : 'text '), unpack('H*', $octets), "\n";
        }
    }
}
