//! Bits in octets, the first of them the lowest (RFC 1951 section 3.1.1).

use alloc::vec::Vec;

/// Bits that do not fill an octet yet: at most seven.
#[derive(Clone, Copy, Default)]
pub(super) struct Bits {
    held: u64,
    count: u32,
}

impl Bits {
    /// Appends what is put, at most this many bits; what does not fill an octet is
    /// kept for the next.
    pub(super) fn append(
        &mut self,
        out: &mut Vec<u8>,
        most: usize,
        put: impl FnOnce(&mut Room<'_>),
    ) {
        let start = out.len();
        // Eight octets are written at a time, some of them for nothing.
        out.resize(start + most / 8 + 2 * size_of::<u64>(), 0);
        let mut room = Room {
            octets: out.get_mut(start..).unwrap_or_default(),
            written: 0,
            bits: *self,
        };
        put(&mut room);
        *self = room.bits;
        let end = start + room.written;
        out.truncate(end);
    }

    /// Appends the head of a stored block, which ends with an octet (section
    /// 3.2.4). Its lengths come next.
    pub(super) fn append_stored(&mut self, out: &mut Vec<u8>) {
        self.append(out, 3, |room| room.put(0, 3));
        if self.count > 0 {
            out.extend(self.held.to_le_bytes().first());
        }
        *self = Bits::default();
    }
}

/// Where bits are put.
pub(super) struct Room<'o> {
    octets: &'o mut [u8],
    written: usize,
    bits: Bits,
}

impl Room<'_> {
    /// Puts at most 56 bits.
    // Nothing here can panic, so that what is held stays in registers.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= 56 && bits >> count == 0);
        let held = self.bits.held | bits.wrapping_shl(self.bits.count);
        let count = self.bits.count.wrapping_add(count);
        let room = self.octets.get_mut(self.written..);
        let room = room.and_then(<[u8]>::first_chunk_mut);
        debug_assert!(room.is_some(), "more bits than were said");
        if let Some(room) = room {
            *room = held.to_le_bytes();
        }
        self.written = self.written.wrapping_add((count / 8) as usize);
        self.bits = Bits {
            held: held.wrapping_shr(count & !7),
            count: count & 7,
        };
    }
}
