//! The extensions that were ever offered, by name.

/// An extension that a head may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// The token in the header.
    pub name: &'static str,
    /// When it was first and last seen.
    pub dates: (&'static str, &'static str),
    /// One sentence of what it is.
    pub about: &'static str,
    /// What it changes.
    pub changes: Changes,
    /// Whether a server here may agree to it.
    pub is_spoken: bool,
}

/// What an extension changes behind the handshake, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Changes {
    /// All octets: without it there are no frames.
    Stream,
    /// The payload of every data frame, and nothing tells.
    DataFrames,
    /// The payload of frames that a reserved bit marks.
    MarkedFrames,
}

/// All of them, oldest first.
pub static KNOWN: &[Known] = &[
    Known {
        name: "deflate-stream",
        dates: ("2011-03", "2013-04"),
        about: "all octets after the handshake are one DEFLATE stream, headers and masks included; Firefox 6 and 7 offered it",
        changes: Changes::Stream,
        is_spoken: false,
    },
    Known {
        name: "x-deflate-frame",
        dates: ("2011-05", "2014"),
        about: "Jetty 7 and 8 alone: each frame is its inflated length and a zlib stream",
        changes: Changes::MarkedFrames,
        is_spoken: false,
    },
    Known {
        name: "deflate-application-data",
        dates: ("2011-07", "2011-08"),
        about: "every data frame is compressed, without a reserved bit; clients of hybi-07 in Ruby and JavaScript offered it",
        changes: Changes::DataFrames,
        is_spoken: false,
    },
    Known {
        name: "deflate-frame",
        dates: ("2011-08", "2015"),
        about: "each data frame with RSV1 is compressed on its own",
        changes: Changes::MarkedFrames,
        is_spoken: true,
    },
    Known {
        name: "x-webkit-deflate-frame",
        dates: ("2012-02", "2020"),
        about: "deflate-frame as Safari 6 to 14 and Chrome 19 to 31 offered it",
        changes: Changes::MarkedFrames,
        is_spoken: true,
    },
    Known {
        name: "mux",
        dates: ("2012-04", "2013-07"),
        about: "several connections in one; no browser shipped it",
        changes: Changes::DataFrames,
        is_spoken: false,
    },
    Known {
        name: "perframe-compress",
        dates: ("2012-05", "2014-11"),
        about: "a draft of deflate-frame that names its method in a parameter; no browser shipped it",
        changes: Changes::MarkedFrames,
        is_spoken: false,
    },
    Known {
        name: "permessage-compress",
        dates: ("2012-07", "2014-11"),
        about: "a draft of permessage-deflate that names its method in a parameter; websocket-sharp offered it",
        changes: Changes::MarkedFrames,
        is_spoken: false,
    },
    Known {
        name: "x-webkit-permessage-compress",
        dates: ("2012-10", "2014-11"),
        about: "permessage-compress as WebKit tried it",
        changes: Changes::MarkedFrames,
        is_spoken: false,
    },
    Known {
        name: "permessage-deflate",
        dates: ("2013-04", "today"),
        about: "the payload of a message with RSV1 is compressed as a whole (RFC 7692)",
        changes: Changes::MarkedFrames,
        is_spoken: true,
    },
];

/// What is known of the extension of this name.
#[must_use]
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}
