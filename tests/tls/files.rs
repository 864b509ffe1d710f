//! Certificates and keys in files: what is wrong with one is said in a sentence
//! that names it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heirloom::net::{CertificateFiles, ClientTls, ClientTlsOptions, ServerTls, TlsFileError};

use crate::support::certificate::{Made, Plan};
use crate::support::folder::Folder;

const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgS8PRxWTvbDQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKKyAQyWbTnJyB8YE/vDEjgEgZDp
1gLY3G05k+0uU+e4jI/7M88xvHdSQpSfj2bbgPXUYzLvAB5zWkUdoMjSh3ZNyn2w
I4plOPXCKg60SXrevGK9d/aLcujh3fd20qxHqancMolU8xjom4ZO2tvF33sMdbuD
ikzMNRz+mAnmaw1jz0344bLHcgBwz32kmabDSxnw7A5OISQx4d/8kMIMglVP1mc=
-----END ENCRYPTED PRIVATE KEY-----
";
const ENCRYPTED_OLD: &str = "-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,F0E40BBFB0595338FFDCCDB9AB321721

p96HkCm1h4R1OCd8acwdQw0Qse6iCjnX1a0l1vvGr/bTObU9I8ONyxstUDSLgzGI
zcsmdkUACL6f15LD5HdB7xSbS1gZ9wfn4dMK46OK7xutjrU4DFlumgenrxWknGKN
iBgr++inkdIFhbEpPohK5HPeMuAvMfxq2HabtBKvTKE=
-----END EC PRIVATE KEY-----
";
/// ECDSA with P-521.
const P521: &str = "-----BEGIN EC PRIVATE KEY-----
MIHcAgEBBEIA7+UmxxWiJsXa1qv0NycU7tENnhyYoaG3Z7guvbESezZUQY9tBiH0
ipuzGzLE1F18V/G1MsN99jZMaEW1jYcqpYmgBwYFK4EEACOhgYkDgYYABAH+66Ha
HzHu0nPNwVeKn1MNlKTv+NlQl/GYigPHxGBSz9fhyQFXPlxA23z8hqUlXXnpYCYD
4Ax1YDPD4xvAvpEQ2QHPNb2Ypw2WxtYIosoE335tlGdeI04ietsPCKgniqHKEmJ9
OAewkC1oIN9nlZHtEw77QMjh06p7w2VbHRbFdenBbA==
-----END EC PRIVATE KEY-----
";
/// X.509 version 1, and the request it was made of.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBJzCBzwIUceJXDdnj9IAqQ1fSJKdW5+F2RJgwCgYIKoZIzj0EAwIwFjEUMBIG
A1UEAwwLb2xkLmV4YW1wbGUwIBcNMjYxMTI5MDIyNDQyWhgPMjEyNjExMDUwMjI0
NDJaMBYxFDASBgNVBAMMC29sZC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEBfzxHA+5UXzB1ZhXJN6ZIqrooUJo3CVCqCM1mWEJchLc/xypwELwNW5L
iBoe+hY7nmqq3j0fFhWzQvn783cu8DAKBggqhkjOPQQDAgNHADBEAiAYHPPdYQ+j
vZ6o4Hf3CKe0fE+bvMyD/awrcFO7aRnwqwIgMa3i7e8528BOfoYHHcg7DK1d8R6S
bc8OHKUh63Y5XTM=
-----END CERTIFICATE-----
";
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHRMHgCAQAwFjEUMBIGA1UEAwwLb2xkLmV4YW1wbGUwWTATBgcqhkjOPQIBBggq
hkjOPQMBBwNCAAQF/PEcD7lRfMHVmFck3pkiquihQmjcJUKoIzWZYQlyEtz/HKnA
QvA1bkuIGh76FjueaqrePR8WFbNC+fvzdy7woAAwCgYIKoZIzj0EAwIDSQAwRgIh
ANd2HwuvSuqm8JOTg1yLWC71tJcYTtENshfrI7fO9Va+AiEAnYZCAp/ZPA2zHhND
eBfhckrEtkQcYL7C3msSHTq3OEU=
-----END CERTIFICATE REQUEST-----
";

/// A certificate with its key in two files of a folder of their own.
struct Pair {
    folder: Folder,
    made: Made,
    files: CertificateFiles,
}

fn pair() -> Pair {
    let folder = Folder::new();
    let made = Plan::new(&["a.example"]).self_signed();
    let files = CertificateFiles {
        certificate: folder.write("cert.pem", made.pem()),
        key: folder.write("key.pem", made.key_pem()),
    };
    Pair {
        folder,
        made,
        files,
    }
}

/// The sentence with which these are refused, without the folder's name.
fn refused(folder: &Folder, certificate: &Path, key: &Path) -> String {
    let files = CertificateFiles {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    let error = ServerTls::load(&[files]).unwrap_err().to_string();
    without_folder(folder, &error)
}

fn without_folder(folder: &Folder, text: &str) -> String {
    let prefix = format!("{}/", folder.as_ref().display());
    assert!(text.contains(&prefix), "{text}");
    text.replace(&prefix, "")
}

/// The sentence for a certificate's file with this in it.
fn refused_certificate(octets: impl AsRef<[u8]>) -> String {
    let pair = pair();
    let file = pair.folder.write("cert.pem", octets);
    refused(&pair.folder, &file, &pair.files.key)
}

/// The sentence for a key's file with this in it.
fn refused_key(octets: impl AsRef<[u8]>) -> String {
    let pair = pair();
    let file = pair.folder.write("key.pem", octets);
    refused(&pair.folder, &pair.files.certificate, &file)
}

#[test]
fn a_certificate_tells_its_names_days_and_files() {
    let folder = Folder::new();
    let made = Plan::new(&["A.example", "*.b.example", "127.0.0.1", "::1"])
        .years(2020, 2021)
        .self_signed();
    let both = folder.write("both.pem", made.pem() + &made.key_pem());
    let files = CertificateFiles {
        certificate: both.clone(),
        key: both,
    };
    let tls = ServerTls::load(std::slice::from_ref(&files)).unwrap();
    let certificate = &tls.certificates()[0];
    assert_eq!(
        certificate.names(),
        ["a.example", "*.b.example", "127.0.0.1", "::1"]
    );
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(seconds(certificate.not_before()), 1_577_836_800);
    assert_eq!(seconds(certificate.not_after()), 1_609_459_200);
    assert_eq!(certificate.files(), &files);
    assert_eq!(tls.warnings(), [""; 0]);
    let shown = format!("{tls:?}");
    let body = made.key_pem();
    let body = body.lines().nth(1).unwrap();
    assert!(shown.contains("a.example") && !shown.contains(body));
}

#[test]
fn a_certificate_warns_before_it_expires_and_after() {
    let folder = Folder::new();
    let made = Plan::new(&["a.example"]).years(2020, 2021).self_signed();
    let files = CertificateFiles {
        certificate: folder.write("cert.pem", made.pem()),
        key: folder.write("key.pem", made.key_pem()),
    };
    let tls = ServerTls::load(&[files]).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let end = UNIX_EPOCH + Duration::from_secs(1_609_459_200);
    for (now, what) in [
        (
            UNIX_EPOCH,
            "is not valid before 2020-01-01; is the clock right?",
        ),
        (
            end - 10 * day,
            "expires on 2021-01-01, in 10 days; renew it",
        ),
        (
            end - day * 3 / 2,
            "expires on 2021-01-01, in 1 day; renew it",
        ),
        (end, "expires on 2021-01-01, in less than a day; renew it"),
        (
            end + day,
            "expired on 2021-01-01, and clients refuse it; renew it",
        ),
    ] {
        let warnings = tls.day_warnings(now);
        assert_eq!(warnings.len(), 1);
        assert_eq!(
            without_folder(&folder, &warnings[0]),
            format!("the certificate in cert.pem for a.example {what}")
        );
    }
    assert_eq!(tls.day_warnings(end - 30 * day), [""; 0]);
    assert_eq!(
        tls.day_warnings(end - 30 * day + Duration::from_secs(1))
            .len(),
        1
    );
}

#[test]
fn no_files_are_no_server() {
    let error = ServerTls::load(&[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "TLS needs a certificate and its key; give the files of at least one"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let pair = pair();
    let missing = pair.folder.path("missing.pem");
    assert_eq!(
        refused(&pair.folder, &pair.files.certificate, &missing),
        "missing.pem cannot be read: No such file or directory (os error 2); is the path right?"
    );
    assert_eq!(
        refused(&pair.folder, &pair.files.certificate.join("x"), &missing),
        "cert.pem/x cannot be read: Not a directory (os error 20); check the file and its disk"
    );
    // A test that runs as superuser may read everything.
    let denied = TlsFileError::Unreadable {
        file: "key.pem".into(),
        error: ErrorKind::PermissionDenied.into(),
    };
    assert_eq!(
        denied.to_string(),
        "key.pem cannot be read: permission denied; let the user of this process read it"
    );
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let pair = pair();
    let key = &pair.files.key;
    let folder = pair.folder.path("folder");
    fs::create_dir(&folder).unwrap();
    let is_a = |what: &str| format!("{what}; give a file with PEM in it");
    assert_eq!(
        refused(&pair.folder, &folder, key),
        is_a("folder is a directory")
    );
    let pipe = pair.folder.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert_eq!(refused(&pair.folder, &pipe, key), is_a("pipe is a pipe"));
    let files = CertificateFiles {
        certificate: PathBuf::from("/dev/zero"),
        key: key.clone(),
    };
    let error = ServerTls::load(&[files]).unwrap_err().to_string();
    assert_eq!(error, is_a("/dev/zero is a device"));
}

#[test]
fn a_large_file_is_not_read_to_its_end() {
    const MIB: usize = 1024 * 1024;
    let pair = pair();
    let padded = |octets: usize| {
        let mut text = pair.made.pem().into_bytes();
        text.resize(octets, b'\n');
        let certificate = pair.folder.write("large.pem", text);
        let key = pair.files.key.clone();
        ServerTls::load(&[CertificateFiles { certificate, key }])
    };
    assert!(padded(MIB).is_ok());
    assert_eq!(
        without_folder(&pair.folder, &padded(MIB + 1).unwrap_err().to_string()),
        "large.pem has more than 1048576 octets, so it is no certificate or key; give another file"
    );
}

#[test]
fn what_is_not_pem_is_told_apart() {
    let made = pair().made;
    let none =
        "cert.pem has no PEM in it; a PEM file has lines such as -----BEGIN CERTIFICATE-----";
    assert_eq!(refused_certificate(""), none);
    assert_eq!(refused_certificate("hello"), none);
    assert_eq!(refused_certificate([0x30]), none);
    assert_eq!(refused_certificate([0x30, 0x82, 0xff, 0xff, 2]), none);
    let binary = |octets: &[u8], starts: &str| {
        let sentence = refused_certificate(octets);
        assert!(sentence.starts_with(starts), "{sentence}");
        assert!(sentence.ends_with("-out FILE"), "{sentence}");
    };
    binary(
        made.der(),
        "cert.pem is a certificate in DER, not PEM; convert it: openssl x509 -in ",
    );
    binary(
        &made.key_der(),
        "cert.pem is a key in DER, not PEM; convert it: openssl pkey -in ",
    );
    // The first octets of a file of openssl pkcs12 -export.
    binary(
        b"\x30\x82\x03\xbc\x02\x01\x03\x30\x82\x03\x72\x06",
        "cert.pem is PKCS #12, not PEM; convert it: openssl pkcs12 -in ",
    );
}

#[test]
fn broken_pem_says_where() {
    let made = pair().made;
    let pem = made.pem();
    let broken = |text: &str, reason: &str| {
        assert_eq!(
            refused_certificate(text),
            format!("the PEM in cert.pem is broken: {reason}; copy the file again")
        );
    };
    let cut = pem.split("-----END").next().unwrap();
    broken(cut, "there is no END line for CERTIFICATE");
    broken(
        &pem.replacen("CERTIFICATE-----", "CERTIFICATE----", 1),
        "the line -----BEGIN CERTIFICATE---- does not end in five hyphens",
    );
    broken(&pem.replacen("MII", "M?I", 1), "its lines are not base64");
    let indented = "a BEGIN line does not start with its hyphens";
    broken(&pem.replace("-----BEGIN", "  -----BEGIN"), indented);
    broken(&format!("\u{feff}{pem}"), indented);
    let in_one_line = refused_certificate(pem.replace('\n', "\\n"));
    assert!(in_one_line.starts_with("the PEM in cert.pem is broken"));
    // Other ends of lines are fine.
    let pair = pair();
    pair.folder
        .write("cert.pem", pair.made.pem().replace('\n', "\r\n"));
    assert!(ServerTls::load(std::slice::from_ref(&pair.files)).is_ok());
}

#[test]
fn pem_that_is_no_certificate_is_named() {
    let reason =
        "cert.pem cannot be read: it is not X.509; copy the file again, or let it be issued again";
    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    assert_eq!(
        refused_certificate(garbage),
        format!("certificate 1 in {reason}")
    );
    let pair = pair();
    pair.folder.write("cert.pem", pair.made.pem() + garbage);
    assert_eq!(
        refused(&pair.folder, &pair.files.certificate, &pair.files.key),
        format!("certificate 2 in {reason}")
    );
    assert_eq!(
        refused_certificate(REQUEST),
        "cert.pem has no certificate in it, but a certificate request, which an authority makes a certificate of; give the file that has -----BEGIN CERTIFICATE-----"
    );
    assert_eq!(
        refused_certificate(VERSION_1),
        "the certificate in cert.pem is X.509 version 1, which clients refuse; let it be issued with extensions, such as subjectAltName"
    );
}

#[test]
fn certificate_and_key_that_are_swapped_are_told_so() {
    let pair = pair();
    assert_eq!(
        refused(&pair.folder, &pair.files.key, &pair.files.certificate),
        "key.pem is the key and cert.pem the certificate; swap the two"
    );
    assert_eq!(
        refused(
            &pair.folder,
            &pair.files.certificate,
            &pair.files.certificate
        ),
        "cert.pem has no private key in it, but a certificate; give the file that has -----BEGIN PRIVATE KEY-----"
    );
    assert_eq!(
        refused(&pair.folder, &pair.files.key, &pair.files.key),
        "key.pem has no certificate in it, but a private key; give the file that has -----BEGIN CERTIFICATE-----"
    );
}

#[test]
fn an_encrypted_key_is_told_with_the_command_that_decrypts_it() {
    for text in [ENCRYPTED, ENCRYPTED_OLD] {
        let sentence = refused_key(text);
        let starts = "the key in key.pem is encrypted, and a server has no terminal to ask for the passphrase; write it without one: openssl pkey -in ";
        assert!(sentence.starts_with(starts), "{sentence}");
        // Also where both are in one file.
        let pair = pair();
        let both = pair.folder.write("both.pem", pair.made.pem() + text);
        let sentence = refused(&pair.folder, &both, &both);
        assert!(sentence.starts_with("the key in both.pem is encrypted"));
    }
}

#[test]
fn a_key_that_is_not_the_certificate_s_is_refused() {
    let other = Plan::new(&["a.example"]).self_signed();
    assert_eq!(
        refused_key(other.key_pem()),
        "the key in key.pem is not the key of the certificate in cert.pem; give the two that were made together"
    );
    assert_eq!(
        refused_key(P521),
        "the key in key.pem cannot be used; make one of ECDSA with P-256 or P-384, RSA with 2048 to 8192 bits, or Ed25519"
    );
}

/// A server's certificate behind an intermediate one and a root.
struct Chain {
    root: Made,
    middle: Made,
    own: Made,
}

fn chain() -> Chain {
    let root = Plan::new(&[]).common_name("Root").authority().self_signed();
    let middle = Plan::new(&[]).common_name("Middle").authority();
    let middle = middle.signed_by(&root);
    let own = Plan::new(&["a.example"]).signed_by(&middle);
    Chain { root, middle, own }
}

/// What loading these in this order gives: the warnings, or the error.
fn load(certificates: &[&Made], own: &Made) -> Result<Vec<String>, String> {
    let folder = Folder::new();
    let text: String = certificates.iter().map(|made| made.pem()).collect();
    let files = CertificateFiles {
        certificate: folder.write("cert.pem", text),
        key: folder.write("key.pem", own.key_pem()),
    };
    match ServerTls::load(&[files]) {
        Ok(tls) => {
            let warnings = tls.warnings().iter();
            Ok(warnings.map(|w| without_folder(&folder, w)).collect())
        }
        Err(error) => Err(without_folder(&folder, &error.to_string())),
    }
}

#[test]
fn a_chain_in_order_is_accepted_with_its_root_and_without() {
    let Chain { root, middle, own } = chain();
    assert_eq!(load(&[&own, &middle], &own), Ok(vec![]));
    assert_eq!(load(&[&own, &middle, &root], &own), Ok(vec![]));
}

#[test]
fn a_chain_in_the_wrong_order_is_refused() {
    let Chain { root, middle, own } = chain();
    let wrong = |number: usize, before: usize| {
        Err(format!(
            "the certificates in cert.pem are in the wrong order: number {number} must stand before number {before}; the server's own is first, and each is followed by that of its issuer"
        ))
    };
    assert_eq!(load(&[&middle, &own], &own), wrong(2, 1));
    assert_eq!(load(&[&root, &middle, &own], &own), wrong(3, 1));
    assert_eq!(load(&[&own, &root, &middle], &own), wrong(3, 2));
}

#[test]
fn a_missing_intermediate_certificate_is_warned_of() {
    let Chain { root, own, .. } = chain();
    let missing = "the certificate of the issuer, CN=Middle, is not in cert.pem, so clients that do not know it refuse the server; append the intermediate certificates to the file".to_owned();
    assert_eq!(load(&[&own], &own), Ok(vec![missing.clone()]));
    let unneeded = "1 of the certificates in cert.pem, the first of them number 2, issued none before them; remove what clients do not need".to_owned();
    assert_eq!(load(&[&own, &root], &own), Ok(vec![unneeded, missing]));
}

#[test]
fn a_certificate_without_subject_alternative_names_is_warned_of() {
    let own = Plan::new(&[]).common_name("a.example").self_signed();
    assert_eq!(
        load(&[&own], &own),
        Ok(vec!["the certificate in cert.pem has no subjectAltName, so clients of today accept it for no name; let it be issued with one".to_owned()])
    );
}

#[test]
fn trusted_files_of_a_client_are_refused_in_the_same_sentences() {
    let pair = pair();
    let refused = |file: &Path| {
        let options = ClientTlsOptions::default().with_trusted(file);
        let error = ClientTls::new(&options).unwrap_err().to_string();
        without_folder(&pair.folder, &error)
    };
    assert_eq!(
        refused(&pair.files.key),
        "key.pem has no certificate in it, but a private key; give the file that has -----BEGIN CERTIFICATE-----"
    );
    assert!(refused(&pair.folder.path("missing.pem")).starts_with("missing.pem cannot be read"));
    let options = ClientTlsOptions::default().with_insecure(true);
    assert!(ClientTls::new(&options).unwrap().is_insecure());
}
