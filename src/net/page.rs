//! An answer of plain HTTP.

/// An answer of plain HTTP.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub content_type: &'static str,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Page {
    /// A page with status 200 and no more headers.
    #[must_use]
    pub fn new(content_type: &'static str, body: impl Into<Vec<u8>>) -> Page {
        Page {
            status: 200,
            content_type,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// With this status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Page {
        self.status = status;
        self
    }

    /// With this header besides.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Page {
        self.headers.push((name, value.into()));
        self
    }
}
