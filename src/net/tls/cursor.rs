//! A cursor over a structure of TLS of which the last octets may not have
//! arrived: lengths are checked as soon as they are there.

/// Why a read stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The octets are right so far, and more are needed.
    More,
    /// A length does not fit the structure around it.
    Malformed,
}

/// What is left of one structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'o> {
    /// What has arrived of it; octets behind its end are not among them.
    octets: &'o [u8],
    /// How many octets it has.
    length: usize,
}

impl<'o> Cursor<'o> {
    /// A structure of this length, of which at most these octets have arrived.
    pub(super) fn new(octets: &'o [u8], length: usize) -> Cursor<'o> {
        Cursor {
            octets: octets.get(..length).unwrap_or(octets),
            length,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many octets the structure still has.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Takes the next `n` octets as a structure within this one.
    pub(super) fn inner(&mut self, n: usize) -> Result<Cursor<'o>, Stop> {
        let length = self.length.checked_sub(n).ok_or(Stop::Malformed)?;
        let inner = Cursor::new(self.octets, n);
        self.octets = self.octets.get(n..).unwrap_or_default();
        self.length = length;
        Ok(inner)
    }

    /// Takes the next `n` octets.
    pub(super) fn take(&mut self, n: usize) -> Result<&'o [u8], Stop> {
        self.inner(n)?.rest()
    }

    /// Takes all that is left.
    pub(super) fn rest(self) -> Result<&'o [u8], Stop> {
        if self.octets.len() < self.length {
            return Err(Stop::More);
        }
        Ok(self.octets)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Stop> {
        let [octet] = *self.take(1)? else {
            return Err(Stop::Malformed);
        };
        Ok(octet)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Stop> {
        let [high, low] = *self.take(2)? else {
            return Err(Stop::Malformed);
        };
        Ok(u16::from_be_bytes([high, low]))
    }

    /// Takes what stands behind a length of one octet.
    pub(super) fn inner_u8(&mut self) -> Result<Cursor<'o>, Stop> {
        let n = self.u8()?;
        self.inner(usize::from(n))
    }

    /// Takes what stands behind a length of two octets.
    pub(super) fn inner_u16(&mut self) -> Result<Cursor<'o>, Stop> {
        let n = self.u16()?;
        self.inner(usize::from(n))
    }

    /// Takes all that is left as numbers of two octets, at least one.
    pub(super) fn numbers(self) -> Result<Vec<u16>, Stop> {
        if self.length == 0 || self.length % 2 != 0 {
            return Err(Stop::Malformed);
        }
        let pairs = self.rest()?.chunks_exact(2);
        let number = |pair: &[u8]| match *pair {
            [high, low] => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        Ok(pairs.map(number).collect())
    }
}
