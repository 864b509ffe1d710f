//! Certificates and keys, read from PEM files.
