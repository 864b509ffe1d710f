//! Unix sockets: how one is bound, with its file and that file's mode, and how one
//! is connected to.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The most octets of a path: the system's 108, with the zero at the end.
const MAX_PATH_OCTETS: usize = 107;

/// The file of a socket that is bound. It is removed with this, unless another
/// program has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The file that was bound a moment ago.
    fn of(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile {
            path: path.to_owned(),
            identity: identity(&fs::symlink_metadata(path)?),
        })
    }
}

impl Drop for SocketFile {
    /// The socket is still bound, so that no other file has its number.
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| identity(&found) == self.identity) {
            if let Err(error) = fs::remove_file(&self.path) {
                log::warn!("cannot remove unix:{}: {error}", self.path.display());
            }
        }
    }
}

/// The device, and the number of the file on it.
fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Binds a socket to this path, and listens. Its file has this mode from the
/// moment it exists. A file that a server has left behind is replaced; no other
/// file ever is. An abstract socket has no file.
///
/// # Errors
///
/// Why it cannot be bound.
pub(super) fn listen(
    path: &Path,
    mode: u32,
    backlog: i32,
) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let address = address(path)?;
    let mut socket = new_socket(Some(mode))?;
    let bound = socket.bind(&address);
    if bound
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
    {
        if is_abstract(path) {
            return Err(in_use("a server has this abstract name already"));
        }
        remove_stale(path, &address)?;
        // A socket whose bind has failed may be half bound on some systems.
        socket = new_socket(Some(mode))?;
        socket.bind(&address)?;
    } else {
        bound?;
    }
    let file = if is_abstract(path) {
        None
    } else {
        let file = SocketFile::of(path)?;
        // The umask has taken bits away, or the system does not take the mode of the
        // descriptor. Nothing can connect before it listens.
        if fs::symlink_metadata(path)?.mode() & 0o7777 != mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Some(file)
    };
    socket.listen(backlog)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), file))
}

/// Changes the permissions of the file of a socket. An abstract socket has none.
///
/// # Errors
///
/// Where the file is gone, or is no socket any more.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    if is_abstract(path) {
        return Ok(());
    }
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(in_use("there is a file that is no socket"));
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Starts to connect; a Unix socket is connected at once or not at all.
///
/// # Errors
///
/// Why it is not. [`ErrorKind::WouldBlock`] where the server's queue is full.
pub(super) fn connect(path: &Path) -> io::Result<std::net::TcpStream> {
    let address = address(path)?;
    let socket = new_socket(None)?;
    socket
        .connect(&address)
        .map_err(|error| explained(path, error))?;
    // The standard library has no stream of either kind. What is called on it is
    // the same for both.
    Ok(std::net::TcpStream::from(OwnedFd::from(socket)))
}

/// Errors that say what is wrong with a path get a sentence; the others stay what
/// they are.
fn explained(path: &Path, error: io::Error) -> io::Error {
    let what = match (error.kind(), error.raw_os_error()) {
        (ErrorKind::NotFound, _) => "there is no such file",
        (ErrorKind::PermissionDenied, _) => {
            "permission denied: this user may not write to the socket, or not enter its folder"
        }
        (ErrorKind::ConnectionRefused, _) if is_abstract(path) => {
            "no server has this abstract name"
        }
        (ErrorKind::ConnectionRefused, _) => {
            let found = fs::symlink_metadata(path);
            if found.is_ok_and(|file| file.is_file() || file.is_dir()) {
                "connection refused: the file is no socket"
            } else {
                "connection refused: no server listens at the socket any more"
            }
        }
        (_, Some(libc::EPROTOTYPE)) => "the socket takes datagrams, not connections",
        _ => return error,
    };
    io::Error::new(error.kind(), what)
}

/// A socket that does not block. On Linux the file of its address gets the mode
/// that the descriptor has.
fn new_socket(mode: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let (Some(mode), true) = (mode, cfg!(target_os = "linux")) {
        let descriptor = File::from(OwnedFd::from(socket.try_clone()?));
        descriptor.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(socket)
}

/// Whether a path stands for an abstract name, of Linux.
fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&b'@')
}

/// The address of a path.
///
/// # Errors
///
/// Why it is none.
fn address(path: &Path) -> io::Result<SockAddr> {
    let invalid = |what: String| io::Error::new(ErrorKind::InvalidInput, what);
    let octets = path.as_os_str().as_bytes();
    if octets.len() > MAX_PATH_OCTETS {
        return Err(invalid(format!(
            "the path has {} octets, and the path of a Unix socket at most {MAX_PATH_OCTETS}; choose \
             a shorter one",
            octets.len()
        )));
    }
    if octets.is_empty() || octets == b"@" || octets.contains(&0) {
        return Err(invalid("that is no path".to_owned()));
    }
    if !is_abstract(path) {
        return SockAddr::unix(path);
    }
    if !cfg!(target_os = "linux") {
        return Err(invalid(
            "this system has no abstract sockets (@NAME)".to_owned(),
        ));
    }
    let mut name = octets.to_vec();
    if let Some(first) = name.first_mut() {
        *first = 0;
    }
    SockAddr::unix(Path::new(std::ffi::OsStr::from_bytes(&name)))
}

/// Removes the file of a socket at which no server listens any more.
///
/// # Errors
///
/// Where a server listens, that is not known, or it is another kind of file.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        // The other server has ended in this moment.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(in_use(
            "there is a file that is no socket, which is not removed; choose another path",
        ));
    }
    match new_socket(None)?.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(in_use(
                "there is a socket that this user may not connect to, so that it is not known \
                 whether a server listens; it is not removed",
            ));
        }
        _ => return Err(in_use("a server listens there already")),
    }
    // Not one that another server has bound since.
    let now = fs::symlink_metadata(path)?;
    if identity(&now) != identity(&found) {
        return Err(in_use("a server listens there already"));
    }
    log::info!(
        "unix:{} was left behind by a server that has ended; it is replaced",
        path.display()
    );
    fs::remove_file(path)
}

fn in_use(what: &str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, what)
}
