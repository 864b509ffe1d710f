//! Likely causes: what a conversation looks like, what that means and what helps.

mod look;

mod frame;
mod compression;
mod extensions;
mod proof;
mod request;
mod response;

use self::compression::{
    bit_misplaced, extension_agreed, handshake_missing, inflates_too_far, not_deflate,
    too_big_to_explain, window_exceeded,
};
use self::extensions::{answer_invalid, answer_repeated, answer_unreadable, extension_unasked};
use self::frame::{
    compressed, gone, hixie_frames, inner_code, masked_server, not_utf8, rfc_frames, unmasked,
};
use self::proof::{accept_wrong, digest_wrong, spaces_lost};
use self::request::{
    bare_lf, frames_alone, headers_stripped, http_1_0, http_2, key_added, key_alone, key_malformed,
    no_spaces, origin_missing, repeated, spaces_squeezed, third_key_held, tls, version_forgotten,
    version_listed, version_unknown,
};
use self::response::{
    lines_of_75, location_else, location_missing, location_port, location_scheme, no_http,
    origin_echo, refused_by_hop, refused_by_server, subprotocol_left_out, subprotocol_listed,
    subprotocol_of_list, upgrade_gone,
};
use super::Case;

/// The first cause that fits, and its cure.
pub(super) fn likely(case: &Case<'_>) -> Option<(String, String)> {
    let fits = |(cause, cure): &(fn(&Case<'_>) -> Option<String>, &str)| {
        cause(case).map(|cause| (cause, (*cure).to_owned()))
    };
    CAUSES.iter().find_map(fits)
}

/// Whether a message is larger than what is explained, and nothing else is wrong with
/// it.
pub(super) fn is_too_big_to_explain(case: &Case<'_>) -> bool {
    too_big_to_explain(case).is_some()
}

/// A condition with the sentence it leads to, and the cure.
type Row = (fn(&Case<'_>) -> Option<String>, &'static str);

/// All causes we know, the particular before the general.
const CAUSES: &[Row] = &[
    // What is not a handshake at all.
    (
        tls,
        "Use ws:// for this port, or put a TLS terminator in front of it.",
    ),
    (
        frames_alone,
        "Name the version, and whose frames they are: --version rfc6455 --from client.",
    ),
    (
        http_2,
        "Speak HTTP/1.1 to this port; WebSocket over HTTP/2 is another protocol (RFC 8441).",
    ),
    (
        bare_lf,
        "End every line of the head with CR LF: use printf 'GET / HTTP/1.1\\r\\n…', not an editor.",
    ),
    // What a hop did to the request.
    (
        spaces_squeezed,
        "Find the proxy between client and server and let it pass this port as TCP: HAProxy \
         `mode tcp`, nginx `stream`.",
    ),
    (
        no_spaces,
        "Let the proxy pass header values as they are; without a proxy, the sender was not a \
         WebSocket client.",
    ),
    (
        key_added,
        "Pass this port as TCP (HAProxy `mode tcp`), so that the request arrives as it was sent.",
    ),
    (
        version_forgotten,
        "Send Sec-WebSocket-Version: 13 with the key.",
    ),
    (
        http_1_0,
        "In nginx set `proxy_http_version 1.1`, and pass on Upgrade and Connection.",
    ),
    (
        headers_stripped,
        "Let the proxy pass on both: nginx `proxy_set_header Upgrade $http_upgrade` and \
         `proxy_set_header Connection \"upgrade\"`, Apache `mod_proxy_wstunnel`, lighttpd \
         `proxy.header = (\"upgrade\" => \"enable\")`.",
    ),
    (
        third_key_held,
        "Answer the head before the eight octets arrive, as this server does; or pass the port as \
         TCP.",
    ),
    (
        version_listed,
        "Ask for one version: Sec-WebSocket-Version: 13. Lists belong in responses only.",
    ),
    (
        version_unknown,
        "Ask for a version that exists: 13, or 8 and 7 of the drafts.",
    ),
    (
        key_malformed,
        "Send sixteen random octets in base64, which are 24 characters.",
    ),
    (
        key_alone,
        "Send both numbered keys or none; look for a proxy that drops headers.",
    ),
    (
        origin_missing,
        "A hixie client sends Origin; a newer one sends Sec-WebSocket-Key and -Version: 13.",
    ),
    (
        repeated,
        "Send the header once; look for a proxy that adds its own to the client's.",
    ),
    // What is wrong with the response.
    (
        lines_of_75,
        "Pass the port as TCP, or let hixie-75 clients reach the server without that proxy.",
    ),
    (
        location_scheme,
        "Tell the server its public URL: heirloom serve --public-url wss://…, or let the proxy send \
         it and the server trust that proxy.",
    ),
    (
        location_port,
        "Build the location from the Host header as it was sent, port included; let the proxy pass \
         Host on (nginx `proxy_set_header Host $http_host`).",
    ),
    (
        location_missing,
        "Answer a client of this version with the headers of this version.",
    ),
    (
        location_else,
        "Build the location from the request's Host and path as they were sent.",
    ),
    (
        origin_echo,
        "Send the Origin back octet for octet, in the header of this version.",
    ),
    (
        subprotocol_left_out,
        "Send back the one string that the client asked for, or refuse; a hixie client accepts nothing \
         else.",
    ),
    (
        subprotocol_of_list,
        "Send the whole string back; up to hixie-76 it is not a list.",
    ),
    (
        subprotocol_listed,
        "Choose one of the subprotocols that the client offers and send it alone, or leave the header \
         out.",
    ),
    (
        spaces_lost,
        "Find the proxy between client and server and let it pass this port as TCP; if the server \
         received the keys whole, record at the client.",
    ),
    (
        digest_wrong,
        "Compute MD5 over both numbers, most significant octet first, and the eight octets exactly as \
         they were sent.",
    ),
    (
        accept_wrong,
        "Compute base64(SHA-1(key + 258EAFA5-E914-47DA-95CA-C5AB0DC85B11)) over the key as it stands.",
    ),
    (
        upgrade_gone,
        "Let the proxy pass Upgrade and Connection in responses too, or pass the port as TCP.",
    ),
    (
        answer_unreadable,
        "Write the list as in `permessage-deflate; client_max_window_bits=12`, with commas between \
         extensions and nothing behind the last, or leave the header out.",
    ),
    (
        answer_repeated,
        "Name one extension that compresses: where several offers can be accepted, the first.",
    ),
    (
        answer_invalid,
        "Answer an offer with the parameters that it demands, and with no others that it does not \
         allow: `permessage-deflate` alone is right for most.",
    ),
    (
        extension_unasked,
        "Agree only to extensions that the request offers.",
    ),
    (
        refused_by_hop,
        "Look at the logs of the proxies between client and server.",
    ),
    (
        refused_by_server,
        "Look at the body of the response: a server often gives its reason there.",
    ),
    (
        no_http,
        "Check host and port: another program listens there.",
    ),
    // What is wrong with a frame.
    (
        unmasked,
        "Mask every frame of a client with four random octets, new for each frame.",
    ),
    (
        masked_server,
        "Send the server's frames without a mask, the MASK bit 0.",
    ),
    (
        extension_agreed,
        "To have such a conversation explained, turn the extension off on one side.",
    ),
    (
        handshake_missing,
        "Give the handshake too, or name what was agreed on: --extensions permessage-deflate.",
    ),
    (
        bit_misplaced,
        "Set RSV1 on the first frame of a compressed message alone (with deflate-frame, on each \
         compressed data frame), and never on a close, ping or pong.",
    ),
    (
        not_deflate,
        "Make raw DEFLATE (RFC 1951) without a header, flush it to an octet, leave out the last four \
         octets, and keep to the parameters that were agreed on.",
    ),
    (
        window_exceeded,
        "Give the compressor the window that was agreed on (zlib: windowBits of deflateInit2), or \
         agree to none.",
    ),
    (
        too_big_to_explain,
        "To have the rest explained, send smaller messages.",
    ),
    (
        inflates_too_far,
        "Send smaller messages, or raise the limit of the receiver: heirloom serve \
         --max-message-bytes.",
    ),
    (
        compressed,
        "Turn compression off on that side, or agree to it in the handshake: the response must \
         name the extension.",
    ),
    (
        hixie_frames,
        "Use the frames of the handshake's version: since hybi-01 a text does not lie between 00 \
         and FF.",
    ),
    (
        rfc_frames,
        "Use the frames of the handshake's version: a hixie text lies between 00 and FF.",
    ),
    (
        not_utf8,
        "Send text as UTF-8, and other octets as a binary message.",
    ),
    (
        inner_code,
        "Send 1000, or no code at all; 1005, 1006 and 1015 are only for use inside a program.",
    ),
    (
        gone,
        "Send a close frame and wait for the peer's before TCP ends.",
    ),
];
