//! Reads the TCP segments of captures: pcap and pcapng files.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::{Segment, Unimportable};

/// A file that has a longer packet is damaged.
const MAX_PACKET_OCTETS: usize = 16 * 1024 * 1024;

/// The most interfaces of one section of a pcapng.
const MAX_INTERFACES: usize = 4096;

/// The link types that are read, by their numbers in the registry.
mod link {
    pub(super) const NULL: u16 = 0;
    pub(super) const ETHERNET: u16 = 1;
    /// Raw IP of BSD and OpenBSD, from before the registry.
    pub(super) const RAW_OLD: [u16; 2] = [12, 14];
    pub(super) const RAW: u16 = 101;
    pub(super) const LOOP: u16 = 108;
    pub(super) const LINUX_SLL: u16 = 113;
    pub(super) const IPV4: u16 = 228;
    pub(super) const IPV6: u16 = 229;
    pub(super) const LINUX_SLL2: u16 = 276;
}

const SECTION: u32 = 0x0a0d_0d0a;

/// Whether the file is a pcap or a pcapng.
pub(super) fn is(file: &[u8]) -> bool {
    Pcap::of(file).is_some() || Order(Endian::Big).u32(file, 0) == Some(SECTION)
}

/// Reads all TCP segments in order. Gives what was left out, and why.
pub(super) fn read<'a>(
    file: &'a [u8],
    each: &mut dyn FnMut(Segment<'a>),
) -> Result<Vec<String>, Unimportable> {
    let mut sieve = Sieve {
        each,
        packets: 0,
        left_out: BTreeMap::new(),
    };
    let cut = match Pcap::of(file) {
        Some(pcap) => pcap.read(file, &mut sieve)?,
        None => Pcapng::default().read(file, &mut sieve)?,
    };
    let mut remarks = sieve.remarks();
    remarks.extend(cut.map(|why| format!("{why}; the packets before it are read")));
    Ok(remarks)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Endian {
    Big,
    #[default]
    Little,
}

/// Reads the numbers of a file in its order of octets.
#[derive(Clone, Copy, Debug, Default)]
struct Order(Endian);

impl Order {
    fn octets<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
        file.get(at..)?.first_chunk().copied()
    }

    fn u16(self, file: &[u8], at: usize) -> Option<u16> {
        Order::octets(file, at).map(|octets| match self.0 {
            Endian::Big => u16::from_be_bytes(octets),
            Endian::Little => u16::from_le_bytes(octets),
        })
    }

    fn u32(self, file: &[u8], at: usize) -> Option<u32> {
        Order::octets(file, at).map(|octets| match self.0 {
            Endian::Big => u32::from_be_bytes(octets),
            Endian::Little => u32::from_le_bytes(octets),
        })
    }

    fn i64(self, file: &[u8], at: usize) -> Option<i64> {
        Order::octets(file, at).map(|octets| match self.0 {
            Endian::Big => i64::from_be_bytes(octets),
            Endian::Little => i64::from_le_bytes(octets),
        })
    }

    /// A length.
    fn len(self, file: &[u8], at: usize) -> Option<usize> {
        usize::try_from(self.u32(file, at)?).ok()
    }
}

/// The head of a pcap file.
struct Pcap {
    order: Order,
    /// How many nanoseconds the smaller unit of its times has.
    unit_ns: u64,
}

impl Pcap {
    fn of(file: &[u8]) -> Option<Pcap> {
        let magic = Order(Endian::Big).u32(file, 0)?;
        let (order, unit_ns) = match magic {
            0xa1b2_c3d4 => (Endian::Big, 1000),
            0xd4c3_b2a1 => (Endian::Little, 1000),
            0xa1b2_3c4d => (Endian::Big, 1),
            0x4d3c_b2a1 => (Endian::Little, 1),
            _ => return None,
        };
        Some(Pcap {
            order: Order(order),
            unit_ns,
        })
    }

    /// Reads the packets. Gives why it stops before the end of the file, if so.
    fn read<'a>(
        &self,
        file: &'a [u8],
        sieve: &mut Sieve<'a, '_>,
    ) -> Result<Option<String>, Unimportable> {
        let Some(link) = self.order.u32(file, 20) else {
            return Err(Unimportable::At {
                offset: file.len(),
                what: "the file ends inside the head of a pcap; copy it again".to_owned(),
            });
        };
        // The upper half tells whether frames keep their checksum.
        let [low, high, ..] = link.to_le_bytes();
        let link = u16::from_le_bytes([low, high]);
        let mut at = 24_usize;
        while at < file.len() {
            let number = sieve.packets + 1;
            let ends = || Some(format!("offset {at}: the file ends inside packet {number}"));
            let order = self.order;
            let (Some(seconds), Some(fraction)) = (order.u32(file, at), order.u32(file, at + 4))
            else {
                return Ok(ends());
            };
            let (Some(len), Some(_)) = (order.len(file, at + 8), order.u32(file, at + 12)) else {
                return Ok(ends());
            };
            if len > MAX_PACKET_OCTETS {
                return Ok(Some(format!(
                    "offset {at}: packet {number} claims {len} octets; the file is damaged there"
                )));
            }
            let Some(octets) = file.get(at + 16..at + 16 + len) else {
                return Ok(ends());
            };
            let time_ns = u64::from(seconds) * 1_000_000_000
                + u64::from(fraction).saturating_mul(self.unit_ns);
            sieve.packet(link, time_ns, octets);
            at += 16 + len;
        }
        Ok(None)
    }
}

/// An interface of a pcapng.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    /// How many octets of a packet are kept; 0 for all.
    snap: usize,
    /// Units of time in a second.
    units: u64,
    /// Seconds to add to its times.
    offset: i64,
}

/// The current section of a pcapng.
#[derive(Default)]
struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
}

impl Pcapng {
    /// Reads the blocks. Gives why it stops before the end of the file, if so.
    fn read<'a>(
        &mut self,
        file: &'a [u8],
        sieve: &mut Sieve<'a, '_>,
    ) -> Result<Option<String>, Unimportable> {
        let mut at = 0_usize;
        while at < file.len() {
            let stop = |what: &str| Ok(Some(format!("offset {at}: {what}")));
            if Order(Endian::Big).u32(file, at) == Some(SECTION) {
                let endian = match Order::octets(file, at + 8) {
                    Some([0x1a, 0x2b, 0x3c, 0x4d]) => Endian::Big,
                    Some([0x4d, 0x3c, 0x2b, 0x1a]) => Endian::Little,
                    None => return stop("the file ends inside the head of a section"),
                    Some(_) if at > 0 => {
                        return stop("a section does not tell its order of octets");
                    }
                    Some(_) => {
                        return Err(Unimportable::At {
                            offset: 8,
                            what: "the file is not a pcapng after its first octets; copy it again"
                                .to_owned(),
                        });
                    }
                };
                *self = Pcapng {
                    order: Order(endian),
                    interfaces: Vec::new(),
                };
            }
            let (kind, len) = (self.order.u32(file, at), self.order.len(file, at + 4));
            let (Some(kind), Some(len)) = (kind, len) else {
                return stop("the file ends inside the head of a block");
            };
            if len < 12 || len % 4 != 0 {
                return stop("a block has an impossible length; the file is damaged there");
            }
            let Some(block) = at.checked_add(len).and_then(|end| file.get(at..end)) else {
                return stop("the file ends inside a block");
            };
            if self.order.len(block, len - 4) != Some(len) {
                return stop("a block's two lengths differ; the file is damaged there");
            }
            let (_, body) = block.split_at(len - 4).0.split_at(8);
            if self.block(kind, body, sieve).is_none() {
                return stop("a block is too short for its content; the file is damaged there");
            }
            at += len;
        }
        Ok(None)
    }

    /// Reads a block's body; `None` where it is too short.
    fn block<'a>(&mut self, kind: u32, body: &'a [u8], sieve: &mut Sieve<'a, '_>) -> Option<()> {
        let order = self.order;
        let (interface, high, low, octets) = match kind {
            1 => {
                let snap = order.len(body, 4)?;
                let mut interface = Interface {
                    link: order.u16(body, 0)?,
                    snap,
                    units: 1_000_000,
                    offset: 0,
                };
                self.options(body.get(8..)?, &mut interface);
                if self.interfaces.len() < MAX_INTERFACES {
                    self.interfaces.push(interface);
                }
                return Some(());
            }
            // The packet block of files from before 2012.
            2 => {
                let len = order.len(body, 12)?;
                let octets = body.get(20..)?.get(..len)?;
                let interface = u32::from(order.u16(body, 0)?);
                (interface, order.u32(body, 4)?, order.u32(body, 8)?, octets)
            }
            // The simple packet block, which has no time.
            3 => {
                let mut len = order.len(body, 0)?;
                if let Some(first) = self.interfaces.first().filter(|i| i.snap > 0) {
                    len = len.min(first.snap);
                }
                (0, 0, 0, body.get(4..)?.get(..len)?)
            }
            6 => {
                let len = order.len(body, 12)?;
                let octets = body.get(20..)?.get(..len)?;
                let interface = order.u32(body, 0)?;
                (interface, order.u32(body, 4)?, order.u32(body, 8)?, octets)
            }
            _ => return Some(()),
        };
        let interface = usize::try_from(interface).ok();
        let Some(interface) = interface.and_then(|i| self.interfaces.get(i)) else {
            sieve.packets += 1;
            sieve.leave_out("of an interface that the file does not describe");
            return Some(());
        };
        let time = u64::from(high) << 32 | u64::from(low);
        sieve.packet(interface.link, interface.time_ns(time), octets);
        Some(())
    }

    /// Reads the options of an interface that are about its times.
    fn options(&self, mut options: &[u8], interface: &mut Interface) {
        let order = self.order;
        while let (Some(code), Some(len)) = (order.u16(options, 0), order.u16(options, 2)) {
            let len = usize::from(len);
            let Some(value) = options.get(4..4 + len) else {
                return;
            };
            match (code, value) {
                (0, _) => return,
                (9, [resolution, ..]) => {
                    let exponent = u32::from(resolution & 0x7f);
                    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
                    // A resolution that no clock has becomes the default.
                    interface.units = base.checked_pow(exponent).unwrap_or(1_000_000);
                }
                (14, value) => interface.offset = order.i64(value, 0).unwrap_or(0),
                _ => {}
            }
            options = options
                .get(4 + len.next_multiple_of(4)..)
                .unwrap_or_default();
        }
    }
}

impl Interface {
    fn time_ns(&self, units: u64) -> u64 {
        let ns = i128::from(units) * 1_000_000_000 / i128::from(self.units.max(1));
        let ns = ns + i128::from(self.offset) * 1_000_000_000;
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}

/// Passes TCP segments on, and counts what it leaves out.
struct Sieve<'a, 'e> {
    each: &'e mut dyn FnMut(Segment<'a>),
    packets: usize,
    left_out: BTreeMap<String, usize>,
}

impl<'a> Sieve<'a, '_> {
    fn leave_out(&mut self, why: &str) {
        *self.left_out.entry(why.to_owned()).or_default() += 1;
    }

    fn packet(&mut self, link: u16, time_ns: u64, octets: &'a [u8]) {
        self.packets += 1;
        let packet = match slice(link, octets) {
            Ok(packet) => packet,
            Err(why) => return self.leave_out(&why),
        };
        let (from, to, payload) = match &packet.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let (from, to) = (ip.header().source_addr(), ip.header().destination_addr());
                (from.into(), to.into(), ip.payload())
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let (from, to) = (ip.header().source_addr(), ip.header().destination_addr());
                (from.into(), to.into(), ip.payload())
            }
            _ => return,
        };
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
            if payload.fragmented {
                self.leave_out("that are fragments of IP, which are not reassembled");
            } else if packet.stop_err.is_some() {
                self.leave_out("that are damaged or cut short");
            }
            return;
        };
        (self.each)(Segment {
            number: self.packets,
            time_ns,
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            seq: tcp.sequence_number(),
            ack: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            psh: tcp.psh(),
            cut: payload.incomplete,
            payload: tcp.payload(),
        });
    }

    fn remarks(&self) -> Vec<String> {
        let each = self.left_out.iter();
        each.map(|(why, n)| format!("left out: {n} packets {why}"))
            .collect()
    }
}

/// The layers of a packet, as far as they can be read.
fn slice(link: u16, octets: &[u8]) -> Result<LaxSlicedPacket<'_>, String> {
    let short = || "that are damaged or cut short".to_owned();
    let after = |n: usize| octets.get(n..).ok_or_else(short);
    let ip = |octets| LaxSlicedPacket::from_ip(octets).map_err(|_| short());
    let typed = |at: usize, header: usize| {
        let kind = Order(Endian::Big).u16(octets, at).ok_or_else(short)?;
        Ok(LaxSlicedPacket::from_ether_type(
            EtherType(kind),
            after(header)?,
        ))
    };
    match link {
        link::ETHERNET => LaxSlicedPacket::from_ethernet(octets).map_err(|_| short()),
        // Four octets name the family, in another way on each system; the IP header
        // names it too.
        link::NULL | link::LOOP => ip(after(4)?),
        link::RAW | link::IPV4 | link::IPV6 => ip(octets),
        link if link::RAW_OLD.contains(&link) => ip(octets),
        link::LINUX_SLL => typed(14, 16),
        link::LINUX_SLL2 => typed(0, 20),
        other => Err(format!(
            "of link type {other}; capture on Ethernet, loopback or any"
        )),
    }
}
