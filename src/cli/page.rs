//! The page at `/`: assets of our own, in the binary, served as files are.

use std::time::SystemTime;

use ::http::{HeaderValue, header};
use wireloop::{
    Request, Routes,
    http::{FileInfo, Response, Source, SourceError, decide, file_response},
};

/// Everything the page may do: run its own script, talk to its own server.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/// Adds the routes of the page.
pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/", asset("index.html", include_bytes!("../page/index.html")))
        .get("/page.css", asset("page.css", include_bytes!("../page/page.css")))
        .get("/page.js", asset("page.js", include_bytes!("../page/page.js")))
}

fn asset(
    name: &'static str,
    bytes: &'static [u8],
) -> impl Fn(&Request<'_>) -> Response + Send + Sync + 'static {
    // A file whose content is as old as the process: the next one may have another.
    let (modified, length) = (SystemTime::now(), bytes.len() as u64);
    move |request| {
        let source = |start: u64, length: u64| -> Box<dyn Source> {
            Box::new(Slice(&bytes[start as usize..(start + length) as usize]))
        };
        let info = FileInfo { length, modified, read: SystemTime::now(), coding: None };
        file_response(decide(request, &info), name, &info, source)
            .header(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
            .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
            .header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }
}

/// The rest of an asset.
struct Slice(&'static [u8]);

impl Source for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let (now, later) = self.0.split_at(buffer.len().min(self.0.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(now.len())
    }
}
