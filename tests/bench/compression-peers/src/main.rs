//! Echo servers of other libraries with permessage-deflate: `compression-peers NAME own|context`.
//!
//! Each has one thread, answers what is there before it flushes, and has its library's default level.

use std::net::Ipv4Addr;

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{CompressedWebSocketStream, Compression, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use yawc::{DeflatePool, Options, WebSocket};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const OWN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const CONTEXT: &str = "permessage-deflate";

/// No message is larger.
const LIMIT: usize = 4 * 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("which library?")?;
    let own = match arguments.next().as_deref() {
        Some("own") => true,
        Some("context") => false,
        _ => return Err("own or context?".into()),
    };
    let serve: fn(TcpStream, bool, DeflatePool) = match &*name {
        "yawc" => |stream, own, pool| {
            tokio::task::spawn_local(yawc(stream, own, pool));
        },
        "sockudo-ws" => |stream, own, _| {
            tokio::task::spawn_local(sockudo(stream, own));
        },
        other => return Err(format!("no server is called {other}").into()),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening on ws://{}/", listener.local_addr()?);
    let pool = DeflatePool::new(1);
    let accept = async move {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            serve(stream, own, pool.clone());
        }
    };
    LocalSet::new().run_until(accept).await
}

/// Both libraries leave the opening handshake to others, or can.
async fn handshake(stream: &mut TcpStream, own: bool) -> Option<()> {
    let mut head = Vec::new();
    loop {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if let Some((request, _)) = parse_request(&head).ok()? {
            let proof = generate_accept_key(request.key);
            let extensions = if own { OWN } else { CONTEXT };
            let answer = build_response(&proof, None, Some(extensions));
            return stream.write_all(&answer).await.ok();
        }
    }
}

async fn yawc(mut stream: TcpStream, own: bool, pool: DeflatePool) {
    if handshake(&mut stream, own).await.is_none() {
        return;
    }
    let options = Options::default()
        .with_balanced_compression()
        .with_limits(LIMIT, 2 * LIMIT)
        .with_utf8();
    let (extensions, options) = if own {
        let options = options
            .server_no_context_takeover()
            .client_no_context_takeover();
        (OWN, options.with_deflate_pool(pool))
    } else {
        (CONTEXT, options)
    };
    let role = yawc::Role::Server;
    let ws = WebSocket::from_stream_with_extensions(stream, role, Some(extensions), options);
    echo(ws.expect("the options are right")).await;
}

async fn sockudo(mut stream: TcpStream, own: bool) {
    if handshake(&mut stream, own).await.is_none() {
        return;
    }
    let compression = if own {
        Compression::Shared
    } else {
        Compression::Dedicated
    };
    let config = Config::builder()
        .max_message_size(LIMIT)
        .max_frame_size(LIMIT)
        .build();
    let deflate = compression.to_deflate_config();
    let deflate = deflate.expect("it is not off");
    echo(CompressedWebSocketStream::server(stream, config, deflate)).await;
}

/// Answers every message that is there, then flushes.
async fn echo<W, M, E>(mut ws: W)
where
    W: Stream<Item = M> + Sink<<M as Message>::Message, Error = E> + Unpin,
    M: Message,
{
    while let Some(message) = ws.next().await {
        let Some(message) = message.whole() else {
            return;
        };
        if ws.feed(message).await.is_err() {
            return;
        }
        while let Some(Some(message)) = ws.next().now_or_never() {
            let Some(message) = message.whole() else {
                return;
            };
            if ws.feed(message).await.is_err() {
                return;
            }
        }
        if ws.flush().await.is_err() {
            return;
        }
    }
}

/// What the stream of a library gives.
trait Message {
    type Message;

    /// `None`: the connection is over.
    fn whole(self) -> Option<Self::Message>;
}

impl Message for yawc::Frame {
    type Message = yawc::Frame;

    fn whole(self) -> Option<yawc::Frame> {
        Some(self)
    }
}

impl Message for sockudo_ws::Result<sockudo_ws::Message> {
    type Message = sockudo_ws::Message;

    fn whole(self) -> Option<sockudo_ws::Message> {
        self.ok()
    }
}
