//! What a client offers in its first message of TLS, the ClientHello.
