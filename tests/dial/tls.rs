//! `connect` and `probe` to `wss://`: which certificates are trusted, and what is
//! said of those that are not.

use std::process::Command;

use heirloom::VERSIONS;
use serde_json::Value;

use crate::program::{Ended, NOTHING, Stdin, heirloom};
use crate::support::certificate::{Made, Plan};
use crate::support::program::{HEIRLOOM, Program, run};
use crate::support::tls_host::Files;

/// `heirloom serve` with TLS only.
pub(crate) fn serve(files: &Files) -> Program {
    let mut command = Command::new(HEIRLOOM);
    command.args([
        "serve",
        "--listen",
        "tls://127.0.0.1:0",
        "--versions",
        "all",
    ]);
    Program::start(command.args(files.options()))
}

/// A certificate for loopback that signs itself.
pub(crate) fn own() -> Made {
    Plan::new(&["localhost", "127.0.0.1"]).self_signed()
}

/// `heirloom connect` with short deadlines.
pub(crate) fn connect(url: &str, args: &[&str], stdin: Stdin<'_>) -> Ended {
    let short = [
        "--handshake-timeout-ms",
        "1500",
        "--close-timeout-ms",
        "500",
        "--wait",
        "0",
    ];
    heirloom(&[&["connect", url], &short[..], args].concat(), stdin)
}

#[test]
fn every_version_echoes_over_wss() {
    let files = Files::of(&own());
    let server = serve(&files);
    let url = format!("wss://localhost:{}/", server.address.port());
    // hixie-75 and hixie-76 compare the location, which must say wss.
    for version in VERSIONS {
        let args = [&files.trusted()[..], &["--as", version.name]].concat();
        let ended = connect(&url, &args, Stdin::Ends("grüße\n".as_bytes()));
        ended.exits(0);
        assert_eq!((ended.out(), &*ended.stderr), ("grüße\n", ""), "{version}");
    }
}

#[test]
fn a_megabyte_goes_both_ways_over_wss() {
    let files = Files::of(&own());
    let server = serve(&files);
    let url = format!("wss://{}/", server.address);
    let message = vec![b'x'; 1024 * 1024];
    for version in ["hixie-76", "hybi-08", "rfc6455"] {
        let args = [&files.trusted()[..], &["--as", version, "--one-message"]].concat();
        let ended = connect(&url, &args, Stdin::Ends(&message));
        ended.exits(0);
        assert!(ended.out == [&message[..], b"\n"].concat(), "{version}");
    }
}

#[test]
fn trust_is_what_the_options_say() {
    let names = ["localhost", "127.0.0.1"];
    let authority = Plan::new(&[])
        .common_name("Own CA")
        .authority()
        .self_signed();
    let other = Plan::new(&[])
        .common_name("Other CA")
        .authority()
        .self_signed();
    let others = Files::of(&other);
    let other_file = others.certificate.to_str().unwrap();
    let from_authority = Plan::new(&names).signed_by(&authority);
    let mine = Files::of(&authority);
    let authority_file = mine.certificate.to_str().unwrap();
    let days = |from, to| Plan::new(&names).years(from, to);
    // The certificate, the options ("own" is the certificate itself), the exit
    // status, and a part of what is said.
    let untrusted = "`--ca FILE` names a certificate to trust, and `--insecure` accepts any";
    let cases: [(Made, &[&str], i32, &[&str]); 12] = [
        (Plan::new(&names).self_signed(), &["--ca", "own"], 0, &[]),
        (
            Plan::new(&names).no_authority().self_signed(),
            &["--ca", "own"],
            0,
            &[],
        ),
        (
            Plan::new(&names).authority().self_signed(),
            &["--ca", "own"],
            0,
            &[],
        ),
        (
            Plan::new(&names).signed_by(&authority),
            &["--ca", authority_file],
            0,
            &[],
        ),
        (
            Plan::new(&names).signed_by(&authority),
            &["--ca", other_file, "--ca", authority_file],
            0,
            &[],
        ),
        (
            Plan::new(&names).signed_by(&authority),
            &[],
            3,
            &["CN=Own CA", "does not trust", untrusted],
        ),
        (
            from_authority,
            &["--ca", other_file],
            3,
            &["CN=Own CA", "not issued by one of those", untrusted],
        ),
        (
            Plan::new(&names).self_signed(),
            &[],
            3,
            &["is self-signed (CN=localhost)", untrusted],
        ),
        (
            Plan::new(&["other.example"]).self_signed(),
            &["--ca", "own"],
            3,
            &["not for 127.0.0.1", "for other.example", "`--insecure`"],
        ),
        (
            days(2001, 2002).self_signed(),
            &["--ca", "own"],
            3,
            &["expired on 2002-01-01", "`--insecure` accepts it"],
        ),
        (
            days(2090, 2091).self_signed(),
            &["--ca", "own"],
            3,
            &["not valid before 2090-01-01"],
        ),
        (
            Plan::new(&["other.example"])
                .years(2001, 2002)
                .self_signed(),
            &["--insecure"],
            0,
            &["--insecure: the certificate of the server is not verified"],
        ),
    ];
    for (made, options, code, says) in cases {
        let files = Files::of(&made);
        let server = serve(&files);
        let url = format!("wss://{}/", server.address);
        let own = files.certificate.to_str().unwrap();
        let options: Vec<&str> = options
            .iter()
            .map(|o| if *o == "own" { own } else { *o })
            .collect();
        let mut command = Command::new(HEIRLOOM);
        command
            .args(["connect", &url, "--wait", "0"])
            .args(&options)
            // What the system of the test trusts does not matter.
            .env("SSL_CERT_FILE", other_file)
            .env_remove("SSL_CERT_DIR")
            .stdin(std::process::Stdio::null());
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{options:?}: {stderr}");
        for part in says {
            assert!(stderr.contains(part), "{options:?}: {part:?} in {stderr:?}");
        }
        let lines = usize::from(!says.is_empty());
        assert_eq!(stderr.lines().count(), lines, "{options:?}: {stderr}");
    }
}

#[test]
fn a_file_that_cannot_be_trusted_is_wrong_usage() {
    let ended = connect("wss://127.0.0.1:9/", &["--ca", "/dev/null"], NOTHING);
    ended.exits(2).complains("/dev/null");
}

#[test]
fn probe_says_what_tls_has_agreed_on() {
    let files = Files::of(
        &Plan::new(&["localhost", "127.0.0.1"])
            .years(2020, 2090)
            .self_signed(),
    );
    let server = serve(&files);
    let url = format!("wss://{}/", server.address);
    let args = [&["probe", &url, "--versions", "all"], &files.trusted()[..]].concat();
    let ended = run(&args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let of_tls: Vec<&str> = ended
        .out
        .lines()
        .filter(|l| l.starts_with("TLS "))
        .collect();
    let [line] = of_tls[..] else {
        panic!("not one line of TLS: {}", ended.out);
    };
    for part in [
        "TLSv1.3, AES_",
        "ALPN http/1.1; certificate for localhost, 127.0.0.1, self-signed, expires 2090-01-01",
    ] {
        assert!(line.contains(part), "{line}");
    }
    let json = run(&[&args[..], &["--json"]].concat());
    for line in json.out.lines() {
        let finding: Value = serde_json::from_str(line).unwrap();
        assert_eq!(finding["verdict"], "speaks", "{line}");
        let tls = &finding["tls"];
        assert_eq!(tls["version"], "TLSv1.3");
        assert_eq!(tls["alpn"], "http/1.1");
        assert_eq!(tls["certificate"]["expires"], "2090-01-01");
        assert_eq!(tls["certificate"]["self_signed"], true);
        assert_eq!(tls["certificate"]["names"][1], "127.0.0.1");
    }
    // A certificate that is not trusted is no fault of any version.
    let others = Files::of(&Plan::new(&["other.example"]).self_signed());
    let ended = run(&[&["probe", &url, "--json"], &others.trusted()[..]].concat());
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let finding: Value = serde_json::from_str(ended.out.trim_end()).unwrap();
    assert_eq!(finding["verdict"], "unreachable");
    let reason = finding["reason"].as_str().unwrap();
    assert!(reason.contains("`--ca FILE`"), "{reason}");
}
