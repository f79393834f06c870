//! Serves files from a directory. Which file a path means and what a request gets from it is
//! `http`'s to say; this file asks the kernel, in a way that cannot leave the directory.

use std::{
    fs::{File, Metadata},
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::SystemTime,
};

use ::http::{
    HeaderValue, Method, StatusCode,
    header::{LOCATION, REFERRER_POLICY, VARY},
};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::http::{
    AcceptEncoding, ContentCoding, FileInfo, Methods, Request, Response, Source, SourceError,
    TRAILING_WILDCARD, decide, file_response, is_dotfile, relative_path,
};

/// `openat2` gives up with EAGAIN when a directory is renamed while it checks that `..` stays
/// inside. One more attempt is nearly always enough, and nobody may make the server try for ever.
const OPEN_ATTEMPTS: usize = 4;

/// The files below a directory, as the value of a route.
///
/// The directory is opened once, so that it stays the same one when its name is given to
/// another: restart or build a new `StaticFiles` to serve that.
///
/// If there is `page.html.br` or `page.html.gz` beside `page.html` and the client accepts it, it
/// is sent in its place (RFC 9110 section 12.5.3). Nobody checks that their contents agree.
///
/// `Referrer-Policy: same-origin` keeps the addresses of the site's pages, in which there may be
/// secrets, from the sites that they link to.
///
/// A path in which a segment begins with a dot, such as `/.git/config`, is answered with 404 as if
/// the file were absent, unless [`dotfiles`](Self::dotfiles) are asked for. `.well-known` is served
/// (RFC 8615). Only the path of the request counts: a symbolic link with another name that leads
/// to such a file is served.
#[derive(Debug)]
pub struct StaticFiles {
    root: PathBuf,
    serves_dotfiles: bool,
    directory: OnceLock<OwnedFd>,
}

impl StaticFiles {
    /// Names the directory, without looking at it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), serves_dotfiles: false, directory: OnceLock::new() }
    }

    /// Whether paths in which a segment begins with a dot are served like others.
    #[must_use]
    pub fn dotfiles(self, serves: bool) -> Self {
        Self { serves_dotfiles: serves, ..self }
    }

    /// The directory's name.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the directory, so that a missing one is an error at the start and not a 500 later.
    ///
    /// # Errors
    ///
    /// The kernel's, with the name of the directory; [`io::ErrorKind::Unsupported`] without
    /// `openat2` (Linux 5.6).
    pub fn open(&self) -> io::Result<()> {
        let named = |error: io::Error| {
            let name = self.root.display();
            io::Error::new(error.kind(), format!("cannot open the directory {name}: {error}"))
        };
        self.directory().map(drop).map_err(named)
    }

    /// Answers a request for the file that `**` stands for in its route, or else for its path.
    pub fn respond(&self, request: &Request<'_>) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let allow = Methods::default().with(&Method::GET).with(&Method::HEAD);
            return Response::method_not_allowed(allow.with(&Method::OPTIONS));
        }
        let path = request.variable(TRAILING_WILDCARD).unwrap_or_else(|| request.path());
        // A route `/files/**` matches `/files` as well: its relative links need the slash.
        if path.is_empty() {
            return redirect_to_directory(request);
        }
        let name = match relative_path(path) {
            Ok(name) => name,
            Err(error) => return failure(error.status()),
        };
        if is_dotfile(&name) && !self.serves_dotfiles {
            return failure(StatusCode::NOT_FOUND);
        }
        match self.open_file(&name) {
            Ok(original) if original.1.is_file() => self.serve(request, &name, original),
            Ok((_, metadata)) if metadata.is_dir() && !path.ends_with('/') => {
                redirect_to_directory(request)
            }
            Ok(_) => failure(StatusCode::NOT_FOUND),
            Err(error) => failure(status_of(error)),
        }
    }

    /// Serves the original, or the same content in a coding that the client prefers.
    fn serve(&self, request: &Request<'_>, name: &str, original: (File, Metadata)) -> Response {
        let accepted = AcceptEncoding::of(request);
        let coded = accepted.preferred().find_map(|coding| {
            let sibling = self.open_file(&format!("{name}{}", coding.suffix())).ok()?;
            sibling.1.is_file().then_some((sibling, Some(coding)))
        });
        let response = match coded {
            Some((file, coding)) => serve(request, name, file, coding),
            None if accepted.accepts_identity() => serve(request, name, original, None),
            None => failure(StatusCode::NOT_ACCEPTABLE),
        };
        response
            // Also where there is only the original: tomorrow there may be another.
            .header(VARY, HeaderValue::from_static("Accept-Encoding"))
            .header(REFERRER_POLICY, HeaderValue::from_static("same-origin"))
    }

    fn directory(&self) -> io::Result<&OwnedFd> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.root, flags, Mode::empty())?;
        // A kernel or a sandbox without openat2 should be heard of now as well.
        open_beneath(&directory, ".")?;
        Ok(self.directory.get_or_init(|| directory))
    }

    fn open_file(&self, name: &str) -> io::Result<(File, Metadata)> {
        let file = File::from(open_beneath(self.directory()?, name)?);
        let metadata = file.metadata()?;
        Ok((file, metadata))
    }
}

/// Opens a name without leaving the directory, neither by `..` nor by a symbolic link, be it
/// swapped in at this very moment. A FIFO or a device must not block the worker either.
fn open_beneath(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut attempts = 1;
    loop {
        match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < OPEN_ATTEMPTS => attempts += 1,
            opened => return Ok(opened?),
        }
    }
}

/// What went wrong with a file is the client's business only if it can come back later.
fn status_of(error: io::Error) -> StatusCode {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Some(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::ACCESS
            | Errno::PERM
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NAMETOOLONG
            | Errno::NXIO
            | Errno::NODEV
            | Errno::INVAL,
        ) => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn failure(status: StatusCode) -> Response {
    Response::text(status, format!("{}\n", status.canonical_reason().unwrap_or("error")))
}

/// Sends the client to the path with a slash at its end. The Location is a path with exactly
/// one slash at its start: `//host` and, to browsers, `/\host` would name another server.
fn redirect_to_directory(request: &Request<'_>) -> Response {
    let path = request.path();
    if path.contains('\\') {
        return failure(StatusCode::NOT_FOUND);
    }
    let mut location = format!("/{}/", path.trim_matches('/'));
    if let Some(query) = request.query() {
        location.push('?');
        location.push_str(query);
    }
    match HeaderValue::try_from(location) {
        Ok(location) => Response::new(StatusCode::PERMANENT_REDIRECT).header(LOCATION, location),
        Err(_) => failure(StatusCode::NOT_FOUND),
    }
}

fn serve(
    request: &Request<'_>,
    name: &str,
    (file, metadata): (File, Metadata),
    coding: Option<ContentCoding>,
) -> Response {
    let Ok(modified) = metadata.modified() else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let read = SystemTime::now();
    let info = FileInfo { length: metadata.len(), modified, read, coding };
    let decision = decide(request, &info);
    file_response(decision, name, &info, |offset, remaining| {
        Box::new(FileSource { file, offset, remaining })
    })
}

/// A part of an open file. It is read, not mapped: a mapping of a file that someone truncates
/// kills the process.
#[derive(Debug)]
struct FileSource {
    file: File,
    offset: u64,
    remaining: u64,
}

impl Source for FileSource {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            match self.file.read_at(&mut buffer[..wanted], self.offset) {
                Ok(0) => return Err(SourceError::Truncated),
                Ok(count) => {
                    self.offset += count as u64;
                    self.remaining -= count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(SourceError::Failed),
            }
        }
    }
}

#[cfg(test)]
mod tests;
