//! TLS of a client: which servers it trusts.
