//! The program, as scripts and people use it: exit codes, lines, signals.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use heirloom::net::Settings;
use heirloom::{Limits, VERSIONS};

use crate::support::peer::{Peer, RFC, Speaks, frame};
use crate::support::program::{HEIRLOOM, Program, run};

#[test]
fn help_lists_the_commands_and_exit_statuses() {
    let ended = run(&["--help"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.contains("serve"), "{}", ended.out);
    assert!(ended.out.contains("Exit status: 0 good"), "{}", ended.out);
    assert_eq!(ended.talk, "");
}

#[test]
fn the_version_is_the_package_s() {
    let ended = run(&["--version"]);
    let want = format!("heirloom {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ended.code, ended.out), (Some(0), want));
}

#[test]
fn help_names_each_limit_with_its_unit_and_default() {
    let help = run(&["serve", "--help"]).out;
    // The text of one option may take several lines.
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");
    let (limits, settings) = (Limits::default(), Settings::default());
    for (name, unit, word, default) in [
        (
            "--max-head-bytes",
            "<BYTES>",
            "Octets",
            u64::from(limits.head_bytes),
        ),
        (
            "--max-message-bytes",
            "<BYTES>",
            "Octets",
            limits.message_bytes,
        ),
        (
            "--max-output-bytes",
            "<BYTES>",
            "Octets",
            settings.output_bytes as u64,
        ),
        (
            "--max-connections",
            "<COUNT>",
            "Connections",
            settings.connections as u64,
        ),
        (
            "--handshake-timeout-ms",
            "<MS>",
            "Milliseconds",
            settings.handshake_ms,
        ),
        (
            "--close-timeout-ms",
            "<MS>",
            "Milliseconds",
            settings.close_ms,
        ),
        (
            "--idle-timeout-ms",
            "<MS>",
            "Milliseconds",
            settings.idle_ms,
        ),
        (
            "--ping-interval-ms",
            "<MS>",
            "Milliseconds",
            settings.ping_ms,
        ),
        (
            "--message-timeout-ms",
            "<MS>",
            "Milliseconds",
            settings.message_ms,
        ),
        (
            "--write-timeout-ms",
            "<MS>",
            "Milliseconds",
            settings.write_ms,
        ),
        (
            "--drain-timeout-ms",
            "<MS>",
            "Milliseconds",
            settings.drain_ms,
        ),
    ] {
        let start = format!("{name} {unit} {word}");
        let (_, after) = help
            .split_once(&start)
            .unwrap_or_else(|| panic!("{start}: {help}"));
        let (own, _) = after.split_once(']').unwrap();
        assert!(
            own.ends_with(&format!("[default: {default}")),
            "{name}: {own}"
        );
    }
}

#[test]
fn an_unknown_version_is_wrong_usage_and_the_names_are_listed() {
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--versions", "hixie-77"]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.out, "");
    assert!(ended.talk.contains("hixie-77"), "{}", ended.talk);
    for version in VERSIONS {
        assert!(ended.talk.contains(version.name), "{}", ended.talk);
    }
}

#[test]
fn wrong_usage_exits_2_and_names_what_is_wrong() {
    let cases: [&[&str]; 22] = [
        &[],
        &["server"],
        &["serve", "--nonsense"],
        &["serve", "--listen", "8076"],
        &["serve", "--versions", "default,-76,-7,-8,-13"],
        &["serve", "--listen", ":8076"],
        &["serve", "--port"],
        &["serve", "--origin", "https://page.example/"],
        &["serve", "--origin", "page.example"],
        &["serve", "--max-head-bytes", "2MiB"],
        &["serve", "--max-message-bytes", "16M"],
        &["serve", "--close-timeout-ms", "2d"],
        &["serve", "--max-head-bytes", "0"],
        &["serve", "--max-message-bytes", "0"],
        &["serve", "--max-output-bytes", "1.5"],
        &["serve", "--max-connections", "0"],
        &["serve", "--handshake-timeout-ms", "0"],
        &["serve", "--close-timeout-ms", "10 weeks"],
        &["serve", "--write-timeout-ms", "99999999999999999999"],
        &["serve", "--workers", "0"],
        &["serve", "--public-url", "http://example.com"],
        &["serve", "--subprotocol", "a\r\nb"],
    ];
    for args in cases {
        let ended = run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.talk);
        assert_eq!(ended.out, "", "{args:?}");
        let last = args.iter().rev().find(|a| a.starts_with("--"));
        let name = last.copied().unwrap_or("Usage");
        assert!(ended.talk.contains(name), "{args:?}: {}", ended.talk);
        assert!(!ended.talk.contains('\u{1b}'), "no terminal, no colour");
    }
}

#[test]
fn a_wrong_value_is_told_with_what_is_allowed() {
    let connections = "give a whole number from 1 to 10000000, without a unit";
    let octets = "give octets, such as 65536, or a number with KiB";
    for (option, value, allowed) in [
        ("--max-connections", "1k", connections),
        ("--max-connections", "", connections),
        ("--max-connections", "-1", connections),
        ("--max-connections", "99999999999999999999", connections),
        ("--max-connections-per-address", "2.5", connections),
        ("--workers", "all", "give a whole number from 1 to 1024"),
        (
            "--flash-policy-port",
            "1M",
            "give a whole number from 1 to 65535",
        ),
        ("--compression", "zlib", "off, shared, per-connection"),
        ("--compression", "", "off, shared, per-connection"),
        ("--compression-level", "9", "fast, default, best"),
        ("--compression-threshold", "64k", octets),
        ("--compression-threshold", "", octets),
        ("--compression-threshold", "-1", octets),
        (
            "--compression-threshold",
            "2GiB",
            "not between 0 and 1073741824",
        ),
        ("--compression-memory", "64k", octets),
        (
            "--compression-memory",
            "99999999999999999999",
            "so many octets are not between 0 and 1125899906842624",
        ),
    ] {
        let ended = run(&["serve", option, value]);
        assert_eq!(ended.code, Some(2), "{option} {value}: {}", ended.talk);
        for told in [&format!("'{option} "), value, allowed] {
            assert!(ended.talk.contains(told), "{told} in {}", ended.talk);
        }
    }
}

#[test]
fn a_port_that_is_taken_exits_3_with_a_sentence() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let ended = run(&["serve", "--listen", &address]);
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.out, "");
    let sentence = format!("heirloom: cannot listen on {address}: ");
    assert!(ended.talk.starts_with(&sentence), "{}", ended.talk);
    assert_eq!(ended.talk.lines().count(), 1, "{}", ended.talk);
}

#[test]
fn a_port_that_another_heirloom_has_exits_3_too() {
    // Its listeners share ports among its own workers, not with others.
    let first = Program::serve(&["--workers", "2"]);
    let ended = run(&["serve", "--listen", &first.address.to_string()]);
    assert_eq!(ended.code, Some(3), "{}", ended.talk);
    Peer::open(first.address, RFC, "/").echo("undisturbed");
}

#[test]
fn each_listener_has_its_line_with_its_real_port() {
    let program = Program::serve(&["--listen", "127.0.0.1:0"]);
    assert_ne!(program.address.port(), 0);
    Peer::open(program.address, RFC, "/").echo("first");
    program.signal("TERM");
    let first = program.address;
    let (_, ended) = program.wait();
    let second = ended
        .out
        .strip_prefix("listening on ws://127.0.0.1:")
        .and_then(|rest| rest.strip_suffix("/\n"));
    let port: u16 = second
        .unwrap_or_else(|| panic!("{}", ended.out))
        .parse()
        .unwrap();
    assert_ne!(port, first.port());
}

#[test]
fn term_and_int_drain_and_exit_0() {
    for signal in ["TERM", "INT"] {
        let program = Program::serve(&["--versions", "all", "--workers", "2"]);
        let address = program.address;
        let versions = [Speaks::Hixie75, Speaks::Hixie76, RFC];
        let mut peers: Vec<Peer> = (0..9)
            .map(|n| Peer::open(program.address, versions[n % 3], "/"))
            .collect();
        for peer in &mut peers {
            peer.echo("before");
        }
        program.signal(signal);
        for peer in &mut peers {
            peer.is_sent_away();
        }
        drop(peers);
        let (status, ended) = program.wait();
        assert_eq!(status.code(), Some(0), "{}", ended.talk);
        assert_eq!(ended.out, "");
        let page = format!("heirloom: open http://{address}/ in a browser\n");
        assert_eq!(ended.talk, page);
    }
}

#[test]
fn a_second_signal_ends_it_though_a_client_does_not_answer() {
    // The draining would take longer than any test waits.
    let program = Program::serve(&["--close-timeout-ms", "600000"]);
    let mut mute = Peer::open(program.address, RFC, "/");
    program.signal("TERM");
    mute.close_frame(1001);
    program.signal("TERM");
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(128 + 15));
    mute.is_cut_off();
}

#[test]
fn a_closed_pipe_does_not_stop_the_server() {
    let mut program = Program::serve(&["--close-timeout-ms", "300"]);
    program.hang_up();
    let mut peer = Peer::open(program.address, RFC, "/");
    peer.echo("still here");
    program.signal("TERM");
    peer.is_sent_away();
    assert_eq!(program.wait().0.code(), Some(0));
}

#[test]
fn a_standard_error_that_is_not_read_stops_no_connection_and_not_the_end() {
    let mut command = Command::new(HEIRLOOM);
    command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "1", "-vvv"]);
    let (program, _unread) = Program::start_unheard(&mut command);
    let mut first = Peer::open(program.address, RFC, "/");
    // More log lines than a pipe holds.
    for _ in 0..400 {
        Peer::open(program.address, RFC, "/").echo("hello");
    }
    first.echo("still here");
    drop(first);
    program.signal("TERM");
    let status = program.ends_within(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn verbose_logs_more_and_quiet_logs_nothing() {
    let talk = |args: &[&str]| {
        let program = Program::serve(args);
        let mut peer = Peer::open(program.address, RFC, "/");
        peer.close();
        drop(peer);
        program.signal("TERM");
        program.wait().1.talk
    };
    let least = talk(&[]);
    assert!(least.starts_with("heirloom: open http://"), "{least}");
    assert_eq!(least.lines().count(), 1, "{least}");
    assert_eq!(talk(&["-q"]), "");
    assert_eq!(talk(&["-q", "-vv"]), "");
    let more = talk(&["-v"]);
    assert!(more.contains("draining"), "{more}");
    assert!(!more.contains("connected"), "{more}");
    let most = talk(&["-vv"]);
    assert!(most.contains("connected"), "{most}");
    assert!(most.contains("open: rfc6455"), "{most}");
}

#[test]
fn nothing_a_client_sends_reaches_the_terminal_as_it_is() {
    let program = Program::serve(&["-vvv", "--versions", "all"]);
    let evil = "\u{1b}[31m\u{7}\u{9b}31m\u{202e}\u{2028}";
    for request in [
        format!("GET /{evil} HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {evil}\r\n\r\n"),
        format!("{evil} / HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: {evil}\r\n\r\n"
        ),
    ] {
        let mut peer = Peer::connect(program.address);
        peer.send(request.as_bytes());
        peer.response();
    }
    let mut peer = Peer::open(program.address, RFC, "/");
    peer.echo(evil);
    peer.send(&frame(0x88, &[&[0x0f, 0xa0], evil.as_bytes()].concat()));
    assert_eq!(peer.frame(), (0x88, vec![0x0f, 0xa0]));
    drop(peer);
    program.signal("TERM");
    let talk = program.wait().1.talk;
    assert!(talk.contains("refused: "), "{talk}");
    let shown = |c: char| c == '\n' || (' '..='~').contains(&c);
    assert!(talk.chars().all(shown), "{talk:?}");
}

#[test]
fn limits_given_are_limits_kept() {
    let program = Program::serve(&["--max-message-bytes", "10", "--max-head-bytes", "300"]);
    let mut peer = Peer::open(program.address, RFC, "/");
    peer.echo("0123456789");
    peer.send_text("0123456789a");
    let why = peer.close_frame(1009);
    assert_eq!(why, "message-too-big");
    let mut long = Peer::connect(program.address);
    long.send(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(300)).as_bytes());
    let (head, body) = long.response();
    assert_eq!(head.status(), 431);
    assert!(body.contains("longer than 300 octets"), "{body}");
    assert!(body.contains("--max-head-bytes"), "{body}");
}

#[test]
fn limits_take_units() {
    let units = ["--max-message-bytes", "1KiB", "--close-timeout-ms", "1.5s"];
    let program = Program::serve(&units);
    let mut peer = Peer::open(program.address, RFC, "/");
    peer.echo(&"x".repeat(1024));
    peer.send_text(&"x".repeat(1025));
    assert_eq!(peer.close_frame(1009), "message-too-big");
}

#[test]
fn every_option_with_octets_or_milliseconds_takes_a_unit() {
    let commands = ["serve", "gateway", "record", "connect", "probe", "replay"];
    for command in commands {
        let help = run(&[command, "--help"]).out;
        let words: Vec<&str> = help.split_whitespace().collect();
        let options = words.windows(2).filter_map(|pair| match pair {
            [option, "<MS>"] => Some((*option, "1s")),
            [option, "<BYTES>"] => Some((*option, "64KiB")),
            _ => None,
        });
        let options: Vec<(&str, &str)> = options.collect();
        assert!(!options.is_empty(), "{command}");
        for (option, value) in options {
            let ended = run(&[command, option, value, "--help"]);
            assert_eq!(ended.code, Some(0), "{command} {option}: {}", ended.talk);
        }
    }
}

#[test]
fn a_port_alone_gets_an_answer() {
    for listen in ["9000", ":9000"] {
        let ended = run(&["serve", "--listen", listen]);
        assert_eq!(ended.code, Some(2));
        let meant =
            "did you mean 127.0.0.1:9000, which this machine alone can reach, or 0.0.0.0:9000";
        assert!(ended.talk.contains(meant), "{}", ended.talk);
    }
    for (arguments, meant) in [
        (["serve", "--listen", "::1"], "did you mean [::1]:8076?"),
        (["serve", "--origin", "Same"], "did you mean same?"),
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(2));
        assert!(ended.talk.contains(meant), "{}", ended.talk);
    }
    let to = ["record", "--listen", "127.0.0.1:0", "--none", "--to"];
    for (server, meant) in [
        (":9000", "did you mean 127.0.0.1:9000?"),
        ("ws://h:9000/a", "did you mean h:9000?"),
    ] {
        let ended = run(&[&to[..], &[server]].concat());
        assert_eq!(ended.code, Some(2));
        assert!(ended.talk.contains(meant), "{}", ended.talk);
    }
    for arguments in [&["serve", "--port", "9000"][..], &["serve", ":9000"]] {
        let ended = run(arguments);
        let tip = "--listen 127.0.0.1:8076";
        assert!(ended.talk.contains(tip), "{}", ended.talk);
    }
    for (option, pattern, cure) in [
        ("--host", "*", "leave the option out for all hosts"),
        ("--host", "a*.example", "such as *.example.com"),
        ("--origin", "*", "no pattern is read"),
    ] {
        let ended = run(&["serve", option, pattern]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.talk.contains(cure), "{}", ended.talk);
    }
}

#[test]
fn a_subprotocol_that_the_server_speaks_is_chosen() {
    let program = Program::serve(&["--subprotocol", "chat", "--subprotocol", "superchat"]);
    let mut peer = Peer::connect(program.address);
    let request = String::from_utf8(crate::support::peer::request(RFC, "/")).unwrap();
    let asks = "\r\nSec-WebSocket-Protocol: none, superchat, chat\r\nConnection:";
    peer.send(request.replace("\r\nConnection:", asks).as_bytes());
    let head = peer.head();
    assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("superchat"));
}
