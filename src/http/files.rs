//! The rules for static files that need no file system: which name a path means, what type it
//! has, and what a conditional or range request gets (RFC 9110 sections 13 and 14).

mod range;

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, SystemTime},
};

use ::http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use percent_encoding::percent_decode_str;

use self::range::{Range, select};
use super::{
    coding::ContentCoding,
    headers::Headers,
    request::Request,
    response::{Body, Response, Source},
    syntax::trim,
};

/// How long after a change a file's time says that there was no other: as long as the coarsest
/// clock of a file system takes for a step, which is that of FAT. Linux takes up to 10 ms on others.
const CLOCK_STEP: Duration = Duration::from_secs(2);

/// The file served for a path that ends in a slash.
const INDEX: &str = "index.html";

/// Why a path cannot name a file. All are answered with 404, which tells an attacker least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidPath {
    /// A component is `.` or `..`.
    Dots,
    /// A component other than the last is empty.
    EmptyComponent,
    /// A component holds a control character, a backslash or an encoded slash.
    ForbiddenCharacter,
    /// A component does not decode to UTF-8.
    NotUtf8,
}

impl InvalidPath {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::NOT_FOUND
    }
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dots => "a path component is \".\" or \"..\"",
            Self::EmptyComponent => "a path component is empty",
            Self::ForbiddenCharacter => "a path component holds a forbidden character",
            Self::NotUtf8 => "a path component is not UTF-8",
        })
    }
}

impl std::error::Error for InvalidPath {}

/// The name, relative to the root, of the file a path means: decoded once, without anything a
/// file system could understand as a way out. A path that ends in a slash means `index.html`.
///
/// This is the first of two fences. The second is the kernel, which resolves the name beneath
/// the root and so keeps symbolic links inside as well.
pub fn relative_path(path: &str) -> Result<String, InvalidPath> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (directories, file) = path.rsplit_once('/').map_or((None, path), |(d, f)| (Some(d), f));
    let mut name = String::with_capacity(path.len() + INDEX.len());
    for directory in directories.into_iter().flat_map(|directories| directories.split('/')) {
        name.push_str(&decode_component(directory)?);
        name.push('/');
    }
    if file.is_empty() {
        name.push_str(INDEX);
    } else {
        name.push_str(&decode_component(file)?);
    }
    Ok(name)
}

fn decode_component(component: &str) -> Result<Cow<'_, str>, InvalidPath> {
    let decoded = percent_decode_str(component).decode_utf8().map_err(|_| InvalidPath::NotUtf8)?;
    if decoded.is_empty() {
        return Err(InvalidPath::EmptyComponent);
    }
    if decoded == "." || decoded == ".." {
        return Err(InvalidPath::Dots);
    }
    if decoded.contains(|character: char| character.is_control() || "/\\".contains(character)) {
        Err(InvalidPath::ForbiddenCharacter)
    } else {
        Ok(decoded)
    }
}

/// Whether a segment of this name, which [`relative_path`] has decoded, begins with a dot: such
/// files hold passwords, keys and histories of version control far more often than content.
/// `.well-known` does not count, since it is there to be served (RFC 8615 section 3).
#[must_use]
pub fn is_dotfile(name: &str) -> bool {
    name.split('/').any(|segment| segment.starts_with('.') && segment != ".well-known")
}

/// What the rules need to know about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its size in bytes.
    pub length: u64,
    /// When its content last changed.
    pub modified: SystemTime,
    /// When these facts were read, by the clock that `modified` was taken from.
    pub read: SystemTime,
    /// How its content is coded, if it stands for another file.
    pub coding: Option<ContentCoding>,
}

impl FileInfo {
    /// An entity tag (RFC 9110 8.8.3) of modification time and length. Neither inode nor device
    /// is in it, so that copies of a file on several servers have the same tag.
    ///
    /// It is weak while the file is younger than two seconds: a second change within one step of
    /// the file system's clock would leave time and length as they are, and 8.8.1 calls a validator
    /// strong only if it changes with the content. Later changes get another time, so a strong tag
    /// stands for one content, unless somebody sets the time back by hand. The weak tag is not the
    /// strong one with `W/` before it: a client that has the first content of a new file gets the
    /// second when the two seconds are over.
    #[must_use]
    pub fn etag(&self) -> String {
        let weakness = if self.is_settled() { "" } else { "W/" };
        format!("{weakness}{}", self.opaque_tag())
    }

    /// Whether a change from now on would be seen in the time of modification. It would not be if
    /// that is in the future.
    fn is_settled(&self) -> bool {
        self.read.duration_since(self.modified).is_ok_and(|age| age >= CLOCK_STEP)
    }

    /// The tag with its quotes and without its weakness.
    fn opaque_tag(&self) -> String {
        let nanos = match self.modified.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_nanos(),
            Err(before) => before.duration().as_nanos().wrapping_neg(),
        };
        // 8.8.3.3: the same content in another coding has another tag.
        let coding = self.coding.map_or("", ContentCoding::suffix);
        let age = if self.is_settled() { "" } else { "-new" };
        format!("\"{nanos:x}-{:x}{coding}{age}\"", self.length)
    }

    /// Last-Modified in whole seconds; `None` outside the years that an HTTP date can express.
    fn last_modified(&self) -> Option<SystemTime> {
        const YEAR_10000: u64 = 253_402_300_800;
        let seconds = self.modified.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        (seconds < YEAR_10000).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

/// What a GET or HEAD request gets from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// 200 with the whole file.
    Full,
    /// 206 with a part of it.
    Partial {
        /// The offset of the first byte.
        start: u64,
        /// How many bytes, at least 1.
        length: u64,
    },
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not, or no longer, what the client means.
    PreconditionFailed,
    /// 416: the file has none of the bytes asked for.
    Unsatisfiable,
}

/// RFC 9110 13.2.2: the conditions in their order of precedence, then the range.
#[must_use]
pub fn decide(request: &Request<'_>, file: &FileInfo) -> Decision {
    let headers = request.headers();
    match precondition(&headers, file) {
        Some(decision) => decision,
        None if *request.method() != Method::GET => Decision::Full,
        None => decide_range(&headers, file),
    }
}

/// RFC 9110 13.1.1 to 13.1.4. A condition on the date counts only without one on the tag, and
/// only if it is a valid date.
fn precondition(headers: &Headers<'_>, file: &FileInfo) -> Option<Decision> {
    let date = |name| {
        let value = headers.single(name).ok().flatten()?;
        httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
    };
    let modified_after = |date: SystemTime| file.last_modified().map(|modified| modified > date);
    let failed = match headers.first("if-match") {
        Some(_) => !matches_tag(headers, "if-match", file, Comparison::Strong),
        None => date("if-unmodified-since").and_then(modified_after).unwrap_or(false),
    };
    if failed {
        return Some(Decision::PreconditionFailed);
    }
    let unchanged = match headers.first("if-none-match") {
        Some(_) => matches_tag(headers, "if-none-match", file, Comparison::Weak),
        None => date("if-modified-since").and_then(modified_after).is_some_and(|after| !after),
    };
    unchanged.then_some(Decision::NotModified)
}

/// RFC 9110 14.2.
fn decide_range(headers: &Headers<'_>, file: &FileInfo) -> Decision {
    let Ok(Some(range)) = headers.single("range") else {
        return Decision::Full;
    };
    if !if_range_holds(headers, file) {
        return Decision::Full;
    }
    match select(range, file.length) {
        Range::Whole => Decision::Full,
        Range::Part { start, length } => Decision::Partial { start, length },
        Range::Unsatisfiable => Decision::Unsatisfiable,
    }
}

/// RFC 9110 13.1.5: a tag is compared strongly, a date exactly. Either must be a strong validator
/// (8.8.1, 8.8.2.2), or the part might belong to other content than what the client has.
fn if_range_holds(headers: &Headers<'_>, file: &FileInfo) -> bool {
    let Ok(condition) = headers.single("if-range") else {
        return false;
    };
    let Some(condition) = condition else {
        return true;
    };
    if !file.is_settled() {
        return false;
    }
    if condition.contains(&b'"') {
        return condition == file.opaque_tag().as_bytes();
    }
    let date = str::from_utf8(condition).ok().and_then(|date| httpdate::parse_http_date(date).ok());
    date.is_some() && date == file.last_modified()
}

/// RFC 9110 8.8.3.2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags, on any number of lines, has that of the file or is `*`.
fn matches_tag(headers: &Headers<'_>, name: &str, file: &FileInfo, comparison: Comparison) -> bool {
    let own = file.opaque_tag();
    // Compared strongly, a weak tag equals none, on either side.
    let can_match =
        |is_weak: bool| comparison == Comparison::Weak || (file.is_settled() && !is_weak);
    headers.all(name).any(|line| {
        trim(line) == b"*"
            || entity_tags(line).any(|(is_weak, tag)| tag == own.as_bytes() && can_match(is_weak))
    })
}

/// The entity tags of a line as weakness and quoted text, up to the first syntax error. A tag
/// may hold a comma, so the line cannot be split at commas.
fn entity_tags(line: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (is_weak, tagged) = match rest.strip_prefix(b"W/") {
            Some(tagged) => (true, tagged),
            None => (false, rest),
        };
        let quoted = tagged.strip_prefix(b"\"")?;
        let end = quoted.iter().position(|&byte| byte == b'"')? + 2;
        let (tag, after) = tagged.split_at_checked(end)?;
        rest = after;
        Some((is_weak, tag))
    })
}

/// The response for a decision about the file of this name. `source` is asked for the bytes from a
/// start on, and how many, only if there are any to send.
pub fn file_response(
    decision: Decision,
    name: &str,
    file: &FileInfo,
    source: impl FnOnce(u64, u64) -> Box<dyn Source>,
) -> Response {
    let status = match decision {
        Decision::Full => StatusCode::OK,
        Decision::Partial { .. } => StatusCode::PARTIAL_CONTENT,
        Decision::NotModified => StatusCode::NOT_MODIFIED,
        Decision::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Decision::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    let response = with_validators(Response::new(status), file);
    let (start, length) = match decision {
        Decision::Full => (0, file.length),
        Decision::Partial { start, length } => (start, length),
        Decision::Unsatisfiable => {
            return with(response, CONTENT_RANGE, format!("bytes */{}", file.length));
        }
        Decision::NotModified | Decision::PreconditionFailed => return response,
    };
    let response = match file.coding {
        Some(coding) => response.header(CONTENT_ENCODING, HeaderValue::from_static(coding.name())),
        None => response,
    };
    let response = response
        .header(CONTENT_TYPE, content_type(name))
        .header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .body(Body::Stream { length, source: source(start, length) });
    match decision {
        Decision::Partial { .. } => {
            let last = start + length - 1;
            with(response, CONTENT_RANGE, format!("bytes {start}-{last}/{}", file.length))
        }
        _ => response,
    }
}

fn with_validators(response: Response, file: &FileInfo) -> Response {
    let response =
        with(response, ETAG, file.etag()).header(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // 8.8.2.1: a date in the future would make a later change look like none.
    match file.last_modified().filter(|modified| *modified <= file.read) {
        Some(modified) => with(response, LAST_MODIFIED, httpdate::fmt_http_date(modified)),
        None => response,
    }
}

fn with(response: Response, name: HeaderName, value: String) -> Response {
    response.header(name, HeaderValue::try_from(value).expect("tags, dates and numbers are ASCII"))
}

/// The media type of a file name. Text without a declared encoding would be guessed at by
/// browsers, so it is declared to be UTF-8.
#[must_use]
pub fn content_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    let is_text = guess.starts_with("text/") || guess == "application/javascript";
    if is_text {
        let declared = format!("{guess}; charset=utf-8");
        HeaderValue::try_from(declared).expect("media types are ASCII")
    } else {
        HeaderValue::from_static(guess)
    }
}

#[cfg(test)]
mod tests;
