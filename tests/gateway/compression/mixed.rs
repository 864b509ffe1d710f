//! Messages of which some frames are compressed and some are not, as deflate-frame
//! allows: each octet goes on in its place.

use heirloom::extension::{Codecs, Level, Mode};

use super::*;

/// Each frame on its own.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut deflater = Codecs::default().deflater(Level::Default, 15);
    deflater.message(payload, &mut octets);
    octets
}

#[test]
fn frames_that_are_compressed_and_frames_that_are_not_stay_in_order() {
    const OFFER: &str = "x-webkit-deflate-frame; no_context_takeover";
    for in_mode in [Mode::Shared, Mode::PerConnection] {
        let backend = Backend::listen();
        let gate = gate(&backend, in_mode, MOST);
        for agreed in Agreed::ALL {
            if in_mode == Mode::Shared && agreed == Contexts {
                // The gateway has asked for the opposite.
                continue;
            }
            let answer = agreed.value();
            let (mut client, served) = bridge_by(&gate, &backend, Some(OFFER), answer);
            let mut served = End::new(served, agreed);
            // Which of the three frames are compressed.
            for compressed in 0..8_u8 {
                for octets in [0, 1, 6, 100, 70_000] {
                    let parts = [b'A', b'B', b'C'].map(|letter| vec![letter; octets]);
                    for (n, part) in parts.iter().enumerate() {
                        let is_compressed = compressed >> n & 1 != 0;
                        let mut first = if n == 0 { TEXT & 0x0f } else { 0 };
                        first |= if n == 2 { 0x80 } else { 0 };
                        if is_compressed {
                            client.write(first | COMPRESSED, &deflated(part));
                        } else {
                            client.write(first, part);
                        }
                    }
                    let received = served.receive();
                    let is_right = received.payload == parts.concat();
                    assert!(is_right, "{in_mode:?} {agreed:?} {compressed:03b} {octets}");
                }
            }
        }
    }
}
