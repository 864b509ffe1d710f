//! What comes before HTTP: a PROXY header, TLS, or the request of a Flash player for
//! a policy.

use super::dispatch::Dispatch;
use super::link::Preface;
use crate::bytes::Input;
use crate::error::Violation;
use crate::net::agreement::{INTERNAL_ERROR, PROTOCOL_VERSION, Unserved};
use crate::net::app::{App, ClosedBy};
use crate::net::first::{First, first, may_begin_tls};
use crate::net::flash::FlashPolicy;
use crate::net::listen::{ListenPolicy, Takes};
use crate::net::proxy::{self, ClientAddress};
use crate::net::refusal::NetRefusal;
use crate::net::tls::{ServerTls, Tls};

impl<A: App> Dispatch<'_, A> {
    /// Reads what comes before HTTP; whether HTTP may follow in these octets.
    /// `listener` is there where that of its listener may matter.
    pub(super) fn read_preface(
        &mut self,
        app: &mut A,
        input: &mut Input<'_>,
        listener: Option<&ListenPolicy>,
    ) -> bool {
        let tls = listener.and_then(|listener| listener.tls.as_ref());
        let flash = listener.and_then(|listener| listener.flash.as_ref());
        if *self.preface == Preface::ProxyHeader && !self.read_proxy_header(app, input) {
            return false;
        }
        if let (Some(octet), Some(refusal)) = (
            input.rest().first().copied(),
            self.record.take_due_refusal(),
        ) {
            return self.refuse_unread(refusal, octet, input);
        }
        let refusal = match (*self.preface, first(input.rest())) {
            (Preface::Done, _) => return true,
            (Preface::ClientHello, _) => return self.read_client_hello(app, input, tls),
            (_, First::Undecided) => return false,
            (_, First::ProxyHeader) => Some(NetRefusal::ProxyHeaderUnexpected),
            (_, First::FlashPolicy { .. }) if flash.is_some() => {
                if let Some(policy) = flash {
                    self.send_policy(policy, input);
                }
                return true;
            }
            _ if self.takes == Takes::FlashPolicy => {
                *self.preface = Preface::Done;
                input.take_all();
                self.ended(ClosedBy::Client, "not-a-policy-request", None);
                self.handle.conn.answer_otherwise(&[], &mut self.handle.out);
                return true;
            }
            (_, First::Tls | First::TlsInSslV2Framing) => {
                return self.read_client_hello(app, input, tls);
            }
            (_, First::FlashPolicy { .. } | First::Http) => {
                (self.takes == Takes::Tls).then_some(NetRefusal::PlainOnTlsPort)
            }
        };
        *self.preface = Preface::Done;
        if let Some(refusal) = refusal {
            self.refuse_first(app, refusal, input);
        }
        true
    }

    /// Answers a Flash player, which connects again after it.
    fn send_policy(&mut self, policy: &FlashPolicy, input: &mut Input<'_>) {
        *self.preface = Preface::Done;
        input.take_all();
        let handle = &mut self.handle;
        handle
            .conn
            .answer_otherwise(policy.octets(), &mut handle.out);
        self.ended(ClosedBy::Server, "policy", None);
    }

    /// Refuses a connection of which nothing is to be read, in the way that its
    /// first octet asks for.
    fn refuse_unread(&mut self, refusal: NetRefusal, first: u8, input: &mut Input<'_>) -> bool {
        *self.preface = Preface::Done;
        input.take_all();
        self.refused(refusal.into());
        if may_begin_tls(first) {
            let handle = &mut self.handle;
            handle
                .conn
                .answer_otherwise(&INTERNAL_ERROR, &mut handle.out);
        } else {
            self.respond(refusal.into());
        }
        true
    }

    /// Refuses what comes before HTTP.
    fn refuse_first(&mut self, app: &mut A, refusal: NetRefusal, input: &mut Input<'_>) {
        let octets = input.take_all();
        self.respond(refusal.into());
        self.first_refused(app, refusal.into(), octets, &[]);
    }

    /// Reads the first message of TLS, and starts it; whether HTTP may follow in
    /// these octets.
    fn read_client_hello(
        &mut self,
        app: &mut A,
        input: &mut Input<'_>,
        tls: Option<&ServerTls>,
    ) -> bool {
        let tls = tls.filter(|_| self.takes != Takes::Plain);
        let Some(tls) = tls else {
            // The parser of heads refuses it.
            *self.preface = Preface::Done;
            return true;
        };
        let begun = match Tls::begin(tls, input.rest()) {
            // The next octets are its own too.
            Ok(None) => {
                *self.preface = Preface::ClientHello;
                return false;
            }
            Ok(Some(begun)) => begun,
            Err(fault) => {
                *self.preface = Preface::Done;
                log::error!("TLS cannot be served: {fault}");
                input.take_all();
                self.failed(Violation::Internal);
                return true;
            }
        };
        *self.preface = Preface::Done;
        let octets = input.take_all();
        match begun.tls {
            Some(tls) => {
                self.transport.start_tls(tls, octets);
                self.handle.conn.set_secure();
                // What is inside is recorded, not its ciphertext.
                self.start_recording(app, &[]);
            }
            None => {
                let handle = &mut self.handle;
                handle
                    .conn
                    .answer_otherwise(&PROTOCOL_VERSION, &mut handle.out);
            }
        }
        if let Some((why, offer)) = begun.unserved {
            self.note_unserved(why, &offer);
        }
        false
    }

    /// Says what a client offers that is not served.
    fn note_unserved(&mut self, why: Unserved, offer: &str) {
        let refusal = match why {
            Unserved::TooOld => NetRefusal::TlsTooOld,
            Unserved::NothingInCommon => NetRefusal::TlsNothingInCommon,
        };
        self.ended(ClosedBy::Server, refusal.code(), None);
        if self.warnings.tls.again(self.context.now_ms) {
            let hint = self.context.hint().and_then(|hint| hint(refusal));
            let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
            let from = self.transport.peer_address();
            let from = from.map_or_else(|_| String::new(), |address| format!("{address}: "));
            log::warn!(target: "heirloom::net", "{from}{refusal}: it offers {offer}{hint}");
        }
    }

    /// Reads the PROXY header in front of everything; whether it is there.
    fn read_proxy_header(&mut self, app: &mut A, input: &mut Input<'_>) -> bool {
        let Ok(peer) = self.transport.peer_address() else {
            // Gone already.
            input.take_all();
            return false;
        };
        match proxy::read(input.rest(), peer) {
            Ok(None) => false,
            Ok(Some((client, octets))) => {
                input.take(octets);
                *self.preface = Preface::Unknown;
                if self.is_crowded(&client) {
                    let refusal = NetRefusal::TooManyFromAddress;
                    app.connected(&client, self.handle.data);
                    self.refused(refusal.into());
                    if matches!(self.takes, Takes::Both | Takes::Tls) {
                        self.record.set_due_refusal(refusal);
                    } else {
                        *self.preface = Preface::Done;
                        input.take_all();
                        self.respond(refusal.into());
                    }
                    return true;
                }
                if client.secure {
                    self.handle.conn.set_secure();
                }
                app.connected(&client, self.handle.data);
                self.start_recording(app, &[input.rest()]);
                true
            }
            Err(refusal) => {
                *self.preface = Preface::Done;
                input.take_all();
                self.refused(refusal.into());
                self.respond(refusal.into());
                true
            }
        }
    }

    /// Takes a place among the connections of a client's address, where they are
    /// limited; whether there is none.
    fn is_crowded(&mut self, client: &ClientAddress) -> bool {
        let Some(limit) = self.context.settings.connections_per_address else {
            return false;
        };
        // A Unix socket that names no client stands for many.
        let Some(ip) = client.address.ip() else {
            return false;
        };
        let addresses = &self.context.places.addresses;
        match addresses.take(ip, limit) {
            Some(place) => {
                self.record.set_place(place);
                false
            }
            None => true,
        }
    }
}
