//! `heirloom import`: makes vectors of pcap, HAR and k3po files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use heirloom::bytes::Escaped;
use heirloom::vector::File;
use heirloom::vector::import::{self, MAX_FILE_OCTETS, Options};

use super::{Exit, complain, create_private, output, remark};

/// Make vectors of a capture (pcap, pcapng), a HAR or a k3po script.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: heirloom import session.pcap --out session.json")]
pub(super) struct Args {
    /// The file to import; its content shows its format.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write to this file, or one file per vector into this folder. No file that exists is
    /// overwritten; only their owner can read the new ones, which may hold cookies.
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
    /// Import only the connections of a capture to this port.
    #[arg(long, value_name = "N", value_parser = super::units::whole(1..=u16::MAX))]
    port: Option<u16>,
}

pub(super) fn run(args: &Args) -> Exit {
    let shown = args.file.display().to_string();
    let shown = Escaped::<400>(&shown);
    let octets = match read(&args.file) {
        Ok(octets) => octets,
        Err(error) => {
            complain(&format!("cannot read {shown}: {error}"));
            return Exit::Usage;
        }
    };
    let name = args.file.file_name().unwrap_or_default();
    let name = Escaped::<200>(&name.to_string_lossy()).to_string();
    let mut options = Options::of(&name);
    options.port = args.port;
    let imported = match import::import(&octets, &options) {
        Ok(imported) => imported,
        Err(import::Unimportable::Nothing(remarks)) => {
            print_remarks(&shown, &remarks);
            let nothing = import::Unimportable::Nothing(Vec::new());
            complain(&format!("{shown}: {nothing}"));
            return Exit::Failed;
        }
        Err(error) => {
            complain(&format!("{shown}: {error}"));
            return Exit::Failed;
        }
    };
    drop(octets);
    print_remarks(&shown, &imported.remarks);
    match write(args, imported.file) {
        Ok(()) => Exit::Good,
        Err((path, error)) => {
            let path = path.display().to_string();
            complain(&format!("cannot write {}: {error}", Escaped::<400>(&path)));
            // Another name would do.
            if error.kind() == ErrorKind::AlreadyExists {
                Exit::Usage
            } else {
                Exit::Unreachable
            }
        }
    }
}

fn print_remarks(shown: &Escaped<'_, 400>, remarks: &[String]) {
    for text in remarks {
        remark(&format!("{shown}: {text}"));
    }
}

/// Reads the file, but at most one octet more than an import takes.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_FILE_OCTETS).unwrap_or(u64::MAX);
    let mut octets = Vec::new();
    let file = fs::File::open(path)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut octets)?;
    Ok(octets)
}

type Unwritten = (PathBuf, io::Error);

fn write(args: &Args, file: File) -> Result<(), Unwritten> {
    let Some(out) = &args.out else {
        output::write(file.to_canonical().as_bytes());
        return Ok(());
    };
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let names_folder = out.as_os_str().to_string_lossy().ends_with('/');
    if !out.is_dir() && !names_folder {
        return create(out, &file).map_err(fail(out));
    }
    fs::create_dir_all(out).map_err(fail(out))?;
    let mut taken = BTreeSet::new();
    let mut files = Vec::new();
    for vector in file.vectors {
        let mut name = vector.id.replace('/', "-");
        while !taken.insert(name.clone()) {
            name.push('x');
        }
        let path = out.join(format!("{name}.json"));
        // Before the first is written: all of them are, or none.
        if fs::symlink_metadata(&path).is_ok() {
            return Err((path, ErrorKind::AlreadyExists.into()));
        }
        let mut one = File::of(vec![vector]);
        one.schema = None;
        files.push((path, one));
    }
    for (path, one) in files {
        create(&path, &one).map_err(fail(&path))?;
    }
    Ok(())
}

fn create(path: &Path, file: &File) -> io::Result<()> {
    // A pipe or a device is written to: there is nothing in it to lose.
    let is_stream = fs::symlink_metadata(path).is_ok_and(|found| {
        let kind = found.file_type();
        !kind.is_file() && !kind.is_dir() && !kind.is_symlink()
    });
    let mut out = if is_stream {
        fs::OpenOptions::new().write(true).open(path)?
    } else {
        create_private(path)?
    };
    out.write_all(file.to_canonical().as_bytes())
}
