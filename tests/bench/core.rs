//! What the core costs, in this process: handshakes and messages, for each
//! version. `cargo bench --bench core`

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use heirloom::bytes::{Input, Output};
use heirloom::conn::{Config, Conn, Event};
use heirloom::handshake::ClientRequest;
use heirloom::message::{Message, WholeMessage};
use heirloom::vector::{File, Script, Split};
use heirloom::{Side, VERSIONS, Version, Versions};

fn main() {
    divan::main();
}

fn config() -> Arc<Config> {
    Arc::new(Config::default().with_versions(Versions::ALL))
}

fn names() -> impl Iterator<Item = &'static str> {
    VERSIONS.iter().map(|v| v.name)
}

/// A client and its request.
fn client(version: &'static Version) -> (Conn, Vec<u8>) {
    let request = ClientRequest::new("example.com", "/chat").with_origin("http://example.com");
    let mut octets = Vec::new();
    let mut random = |octets: &mut [u8]| octets.fill(7);
    let mut out = Output::new(&mut octets, &mut random);
    let conn = Conn::client(version, &request, config(), &mut out).unwrap();
    (conn, octets)
}

/// A server that has sent its 101, and what it sent.
fn response(config: &Arc<Config>, request: &mut [u8], sent: &mut Vec<u8>) -> Conn {
    let mut random = |octets: &mut [u8]| octets.fill(7);
    let mut out = Output::new(sent, &mut random);
    let mut conn = Conn::server(Arc::clone(config));
    let mut input = Input::new(request);
    while let Some(event) = conn.next(&mut input, &mut out).unwrap() {
        if let Event::Request(_) = event {
            conn.accept(None, &mut out).unwrap();
        }
    }
    conn
}

/// A request read, checked and answered.
#[divan::bench(args = names())]
fn handshake(bencher: Bencher<'_, '_>, name: &str) {
    let (_, request) = client(Version::named(name).unwrap());
    let config = config();
    let mut sent = Vec::with_capacity(512);
    let mut octets = request.clone();
    bencher.counter(ItemsCount::new(1u8)).bench_local(|| {
        octets.copy_from_slice(&request);
        sent.clear();
        black_box(response(&config, &mut octets, &mut sent));
    });
}

/// A buffer full of text messages read, checked and sent back.
fn echo(bencher: Bencher<'_, '_>, name: &str, size: usize) {
    let version = Version::named(name).unwrap();
    let (mut client, mut request) = client(version);
    let mut sent = Vec::new();
    let mut server = response(&config(), &mut request, &mut sent);
    let mut random = |octets: &mut [u8]| octets.fill(7);
    let mut sink = Vec::new();
    let mut input = Input::new(&mut sent);
    while client
        .next(&mut input, &mut Output::new(&mut sink, &mut random))
        .unwrap()
        .is_some()
    {}
    let text = "x".repeat(size);
    let count = (65_536 / size).max(1);
    let mut frames = Vec::new();
    for _ in 0..count {
        let mut out = Output::new(&mut frames, &mut random);
        client.send(Message::text(&text), &mut out).unwrap();
    }
    let mut octets = frames.clone();
    let mut out = Vec::with_capacity(frames.len());
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(count * size))
        .bench_local(|| {
            octets.copy_from_slice(&frames);
            out.clear();
            let mut output = Output::new(&mut out, &mut random);
            let mut input = Input::new(&mut octets);
            while let Some(event) = server.next(&mut input, &mut output).unwrap() {
                if let Event::Piece(piece) = event {
                    let whole = WholeMessage::of(piece).unwrap();
                    server.send(whole.message(), &mut output).unwrap();
                }
            }
            black_box(&out);
        });
}

#[divan::bench(args = names())]
fn echo_125(bencher: Bencher<'_, '_>, name: &str) {
    echo(bencher, name, 125);
}

#[divan::bench(args = names())]
fn echo_16_kib(bencher: Bencher<'_, '_>, name: &str) {
    echo(bencher, name, 16_384);
}

/// The floor: the same octets copied, once in and once out.
#[divan::bench(args = [125, 16_384])]
fn copied(bencher: Bencher<'_, '_>, size: usize) {
    let count = (65_536 / size).max(1);
    let from = vec![7u8; count * size];
    let (mut input, mut out) = (from.clone(), Vec::with_capacity(from.len()));
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(count * size))
        .bench_local(|| {
            input.copy_from_slice(&from);
            out.clear();
            out.extend_from_slice(black_box(&input));
            black_box(&out);
        });
}

/// A folder of vectors, played at every split from both sides, as `check` does.
#[divan::bench(args = ["hixie-76", "hybi-05", "rfc6455"])]
fn played(bencher: Bencher<'_, '_>, folder: &str) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let files: Vec<File> = std::fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| File::read(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap())
        .collect();
    let vectors = files.iter().flat_map(|file| &file.vectors);
    let scripts: Vec<Script<'_>> = vectors.map(|v| Script::new(v).unwrap()).collect();
    let mut plays = Vec::new();
    let mut octets = 0;
    for script in &scripts {
        for side in [Side::Server, Side::Client] {
            let splits = script.splits(side);
            octets += script.play(side, Split::Whole).unwrap().received_octets * splits.len();
            plays.extend(splits.into_iter().map(|split| (script, side, split)));
        }
    }
    bencher.counter(BytesCount::new(octets)).bench_local(|| {
        for (script, side, split) in &plays {
            black_box(script.play(*side, *split).unwrap());
        }
    });
}
