#!/usr/bin/perl
# Protocol::WebSocket as a server that echoes; one connection after another, or with the word `fork` a process for each.
# Prints "listening PORT", then for each connection "open VERSION" and "closed HOW".
use strict;
use warnings;
use IO::Socket::INET;
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Server;

$| = 1;
# A client may end TCP while it is written to.
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = 'IGNORE';
my $forks = ($ARGV[0] // '') eq 'fork';
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 64, Proto => 'tcp')
  or die "cannot listen: $!";
print 'listening ', $listener->sockport, "\n";

while (my $socket = $listener->accept) {
    if ($forks && fork) { close $socket; next }
    binmode $socket;
    my $handshake = Protocol::WebSocket::Handshake::Server->new;
    my ($frames, $how, $answered) = (undef, 'eof', '');
    while (sysread $socket, my $data, 1 << 16) {
        unless ($handshake->is_done) {
            unless ($handshake->parse($data)) { print 'closed error ', $handshake->error, "\n"; last }
            next unless $handshake->is_done;
            # It dies of keys of hixie-76 that have no number.
            my $answer = eval { $handshake->to_string };
            unless (defined $answer) { print "closed error $@"; last }
            put($socket, $answer);
            print 'open ', $handshake->version, "\n";
            $frames = Protocol::WebSocket::Frame->new(version => $handshake->version, max_payload_size => 0);
        }
        $frames->append($data);
        if (echo($socket, $handshake, $frames, \$how)) { last }
    }
    close $socket;
    print "closed $how\n" if $frames;
    exit if $forks;
}

sub put {
    my ($socket, $octets) = @_;
    my $at = 0;
    while ($at < length $octets) {
        my $n = syswrite $socket, $octets, length($octets) - $at, $at;
        return unless defined $n;
        $at += $n;
    }
}

# True once the client has sent a close.
sub echo {
    my ($socket, $handshake, $frames, $how) = @_;
    my $hixie = $handshake->version =~ /^draft-hixie|hybi-00$/;
    while (1) {
        my $buffered = $frames->{buffer};
        # The module takes an eight-octet length that has not come whole for a length of nothing.
        return 0 if !$hixie && length $buffered >= 2 && length $buffered < 10 && (ord(substr $buffered, 1, 1) & 127) == 127;
        # It dies where its limits end, which are those of fragments and of their sum.
        my $octets = eval { $frames->next_bytes };
        if ($@) { $$how = 'error'; return 1 }
        return 0 unless defined $octets;
        my $type = $frames->is_close ? 'close' : $frames->is_binary ? 'binary' : 'text';
        put($socket, $handshake->build_frame(type => $type, buffer => $octets, max_payload_size => 0)->to_bytes);
        next unless $type eq 'close';
        $$how = $hixie ? 'ff00' : length $octets >= 2 ? 'code ' . unpack('n', $octets) : 'code none';
        return 1;
    }
}
