//! Octets as choices, one after the other. Behind the last octet all choices are
//! zero, so that any octets will do.

use heirloom::Side;

pub(crate) struct Choices<'o>(pub(crate) &'o [u8]);

impl<'o> Choices<'o> {
    pub(crate) fn are_left(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn octet(&mut self) -> u8 {
        let (octet, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *octet
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.octet() & 1 != 0
    }

    pub(crate) fn side(&mut self) -> Side {
        if self.bool() {
            Side::Client
        } else {
            Side::Server
        }
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.octet()) % all.len()]
    }

    /// As many octets as the first one says, or as there are.
    pub(crate) fn octets(&mut self) -> &'o [u8] {
        let n = usize::from(self.octet()).min(self.0.len());
        let (octets, rest) = self.0.split_at(n);
        self.0 = rest;
        octets
    }

    /// The same as text: what is no UTF-8 is replaced.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.octets()).into_owned()
    }

    /// Four sizes, none of which is zero.
    pub(crate) fn sizes(&mut self) -> Vec<usize> {
        let mut size = || match usize::from(self.octet()) {
            n @ ..=200 => n + 1,
            n => (n - 200) * 1000,
        };
        vec![size(), size(), size(), size()]
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'o [u8] {
        std::mem::take(&mut self.0)
    }
}
