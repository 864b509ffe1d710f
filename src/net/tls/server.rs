//! TLS of a server: its certificates, chosen by the name that the client asks for.
