//! What a broker may say, and what it must not learn or show.

use std::process::Command;

use crate::rooms::{member, sharing};
use crate::support::certificate::Plan;
use crate::support::folder::Folder;
use crate::support::peer::RFC;
use crate::support::program::{HEIRLOOM, Program, run};
use crate::support::redis::Redis;

#[test]
fn rubbish_on_a_channel_is_ignored_and_told_once() {
    let redis = Redis::start();
    let server = Program::serve(&[
        "-v",
        "--max-message-bytes",
        "1000",
        "--topics",
        &redis.url(),
    ]);
    server.await_talk("topics are shared");
    let mut member = member(server.address, RFC);
    let origin = "0123456789abcdef0123456789ABCDEF";
    let message = |text: &str| format!("1{origin} {text}").into_bytes();
    let mut broken = message("text");
    broken.push(0xff);
    for rubbish in [
        b"rubbish".to_vec(),
        Vec::new(),
        vec![0; 100_000],
        broken,
        format!("2{origin} another version").into_bytes(),
        b"1 no origin".to_vec(),
        message(&"x".repeat(1_001)),
    ] {
        assert_eq!(redis.publish("heirloom:/chat", &rubbish), 1);
    }
    for foreign in ["/chat", "heirloom:/other", "heirloom:", "other"] {
        assert_eq!(redis.publish(foreign, &message("foreign")), 0, "{foreign}");
    }
    // What another program publishes by the rules is a text.
    redis.publish("heirloom:/chat", &message(&"x".repeat(1_000)));
    redis.publish("heirloom:/chat", &message("grüße"));
    assert_eq!(member.receive_text(), "x".repeat(1_000));
    assert_eq!(member.receive_text(), "grüße");
    member.close();
    server.signal("TERM");
    let (_, ended) = server.wait();
    let told = ended.talk.matches("is ignored").count();
    assert_eq!(told, 1, "{}", ended.talk);
    assert!(ended.talk.contains("7 messages of the broker were ignored"));
}

#[test]
fn the_password_is_used_and_never_shown() {
    let redis = Redis::start_with(&["--requirepass", "s3cret/@"]);
    let with = |password: &str| format!("redis://:{password}@127.0.0.1:{}/2", redis.port);
    let good = with("s3cret%2F%40");
    let server = Program::serve(&["-vvv", "--topics", &good]);
    let line = server.await_talk("topics are shared");
    assert!(line.contains(&format!("redis://127.0.0.1:{}/2", redis.port)));
    server.signal("TERM");
    let (_, ended) = server.wait();
    assert!(!ended.talk.contains("s3cret"), "{}", ended.talk);
    for (url, secret) in [(with("wr0ng"), "wr0ng"), (redis.url(), "s3cret")] {
        let server = Program::serve(&["-vvv", "--topics", &url]);
        let line = server.await_talk("is away");
        assert!(line.contains("user and password"), "{line}");
        assert!(!line.contains(secret), "{line}");
        server.signal("TERM");
        let (_, ended) = server.wait();
        assert!(!ended.talk.contains(secret), "{}", ended.talk);
    }
    for wrong in [
        "redis://u:s3cret@h/x",
        "http://u:s3cret@h",
        "redis://u:s3cret/@h",
    ] {
        let ended = run(&["serve", "--topics", wrong]);
        assert_eq!(ended.code, Some(2), "{wrong}");
        assert!(ended.talk.contains("--topics <URL>"), "{}", ended.talk);
        assert!(!ended.talk.contains("s3cret"), "{}", ended.talk);
    }
}

#[test]
fn a_user_without_permission_is_told_what_it_lacks() {
    let user = "--user default on nopass resetchannels &other:* +@all ~*";
    let words: Vec<&str> = user.split(' ').collect();
    let redis = Redis::start_with(&words);
    let server = Program::serve(&["--topics", &redis.url()]);
    let line = server.await_talk("is away");
    assert!(line.contains("&heirloom:*"), "{line}");
}

#[test]
fn a_broker_with_tls_is_verified() {
    let authority = Plan::new(&[])
        .common_name("Authority")
        .authority()
        .self_signed();
    let own = Plan::new(&["127.0.0.1"]).signed_by(&authority);
    let folder = Folder::new();
    let certificate = folder.write("broker.pem", own.pem());
    let key = folder.write("broker.key", own.key_pem());
    let trusted = folder.write("authority.pem", authority.pem());
    let redis = Redis::start_with(&[
        "--tls-port",
        "PORT",
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let serve = |trusts: bool| {
        let mut command = Command::new(HEIRLOOM);
        command.args(["serve", "-v", "--listen", "127.0.0.1:0", "--topics", &url]);
        if trusts {
            command.env("SSL_CERT_FILE", &trusted);
        }
        Program::start(&mut command)
    };
    let servers = [serve(true), serve(true)];
    for server in &servers {
        server.await_talk("topics are shared over rediss://");
    }
    let [mut one, mut two] = [&servers[0], &servers[1]].map(|s| member(s.address, RFC));
    one.send_text("over TLS");
    assert_eq!(two.receive_text(), "over TLS");
    let line = serve(false).await_talk("is away");
    assert!(line.contains("certificate"), "{line}");
    // Plain octets are no TLS.
    let plain = Redis::start();
    let url = format!("rediss://127.0.0.1:{}", plain.port);
    Program::serve(&["--topics", &url]).await_talk("is away");
    drop(sharing(&plain));
}
