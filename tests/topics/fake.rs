//! A broker that the test plays, and what it sends when.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::rooms::member;
use crate::support::PATIENCE;
use crate::support::peer::RFC;
use crate::support::program::Program;

/// Answers as Redis does, and gives the connection that has subscribed.
fn broker() -> (String, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (tell, subscribed) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            thread::spawn(move || answer(stream, &tell));
        }
    });
    (url, subscribed)
}

/// Answers what comes, until the connection ends.
fn answer(mut stream: TcpStream, tell: &Sender<TcpStream>) {
    let mut commands = BufReader::new(stream.try_clone().unwrap());
    while let Some(command) = read_command(&mut commands) {
        let answer = match command[0].as_str() {
            "SUBSCRIBE" => command[1..]
                .iter()
                .map(|name| {
                    format!(
                        "*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:1\r\n",
                        name.len()
                    )
                })
                .collect(),
            "PUBLISH" => ":0\r\n".to_owned(),
            _ => "+PONG\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        if command[0] == "SUBSCRIBE" {
            // The test has gone where this fails.
            let _ = tell.send(stream.try_clone().unwrap());
        }
    }
}

fn read_command(from: &mut impl BufRead) -> Option<Vec<String>> {
    let words = number(from)?;
    let mut command = Vec::new();
    for _ in 0..words {
        let mut word = vec![0; number(from)? + 2];
        from.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        command.push(String::from_utf8(word).unwrap());
    }
    Some(command)
}

/// The number behind the first octet of a line.
fn number(from: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    line.get(1..)?.trim_end().parse().ok()
}

fn message(text: &str) -> Vec<u8> {
    let text = format!("1{} {text}", "0".repeat(32));
    let channel = "heirloom:/chat";
    format!(
        "*3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${}\r\n{text}\r\n",
        channel.len(),
        text.len()
    )
    .into_bytes()
}

#[test]
fn a_message_that_arrives_in_parts_is_whole() {
    let (url, subscribed) = broker();
    let server = Program::serve(&["-v", "--topics", &url]);
    server.await_talk("topics are shared");
    let mut member = member(server.address, RFC);
    let mut broker = subscribed.recv_timeout(PATIENCE).unwrap();
    let text = "grüße ".repeat(10_000);
    let first = message(&text);
    let all = [&first[..], &message("next")].concat();
    // In a length, in a character, and between messages; for longer than one read waits.
    for part in [
        &all[..20],
        &all[20..100],
        &all[100..first.len()],
        &all[first.len()..],
    ] {
        broker.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(1_200));
    }
    assert_eq!(member.receive_text(), text);
    assert_eq!(member.receive_text(), "next");
}

#[test]
fn what_is_no_broker_is_away_and_members_are_served() {
    for (rubbish, told) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "is away"),
        (
            b"-ERR max number of clients reached\r\n",
            "max number of clients",
        ),
        (b"*-7\r\n\x1b[31m\xff", "is away"),
        (b"", "has ended the connection"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(rubbish);
                // It reads all that is asked, so that its end is no reset.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
        let server = Program::serve(&["--topics", &url]);
        let line = server.await_talk("is away");
        assert!(line.contains(told), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        let (mut one, mut two) = (member(server.address, RFC), member(server.address, RFC));
        one.send_text("here");
        assert_eq!(two.receive_text(), "here");
    }
}

#[test]
fn a_gateway_without_topics_says_that_they_are_not_shared() {
    let (url, _subscribed) = broker();
    let mut command = std::process::Command::new(crate::support::program::HEIRLOOM);
    command.args(["gateway", "--listen", "127.0.0.1:0", "--topics", &url]);
    command.args(["--to", "ws://127.0.0.1:1/"]);
    Program::start(&mut command).await_talk("no route leads to a topic");
}
