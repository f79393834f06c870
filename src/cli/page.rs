//! The page at `/`: assets of our own, in the binary.

use wireloop::{
    Request, Routes,
    http::{Body, Response},
};

use ::http::{HeaderValue, StatusCode, header};

/// Everything the page may do: run its own script, talk to its own server.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/// Adds the routes of the page.
pub(crate) fn add(routes: Routes) -> Routes {
    routes
        .get("/", asset("text/html; charset=utf-8", include_str!("../page/index.html")))
        .get("/page.css", asset("text/css; charset=utf-8", include_str!("../page/page.css")))
        .get("/page.js", asset("text/javascript; charset=utf-8", include_str!("../page/page.js")))
}

fn asset(
    content_type: &'static str,
    text: &'static str,
) -> impl Fn(&Request<'_>) -> Response + Send + Sync + 'static {
    move |_| {
        Response::new(StatusCode::OK)
            .header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
            .header(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
            .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            .header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            .body(Body::Bytes(text.as_bytes().into()))
    }
}
