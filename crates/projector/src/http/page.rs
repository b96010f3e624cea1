//! `/` and `/page/…`: the live page. Its files are in the binary and hold nobody's data, so everybody may load them;
//! the page asks the other routes with its user's token.
//!
//! Every address in the files is relative, so that the page works below a path of a proxy too.

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use service::Problem;

use super::accept::{self, IfNoneMatch};

/// The page itself, which is at `/`.
const INDEX: PageFile = PageFile { name: "index.html", bytes: include_bytes!("page/index.html") };

/// The other files, each below `/page/`.
const FILES: [PageFile; 24] = [
    PageFile { name: "access.js", bytes: include_bytes!("page/access.js") },
    PageFile { name: "advice.js", bytes: include_bytes!("page/advice.js") },
    PageFile { name: "api.js", bytes: include_bytes!("page/api.js") },
    PageFile { name: "chart.js", bytes: include_bytes!("page/chart.js") },
    PageFile { name: "connection.js", bytes: include_bytes!("page/connection.js") },
    PageFile { name: "dom.js", bytes: include_bytes!("page/dom.js") },
    PageFile { name: "filters.js", bytes: include_bytes!("page/filters.js") },
    PageFile { name: "fold.js", bytes: include_bytes!("page/fold.js") },
    PageFile { name: "history.js", bytes: include_bytes!("page/history.js") },
    PageFile { name: "hour.js", bytes: include_bytes!("page/hour.js") },
    PageFile { name: "icon.svg", bytes: include_bytes!("page/icon.svg") },
    PageFile { name: "labels.js", bytes: include_bytes!("page/labels.js") },
    PageFile { name: "main.js", bytes: include_bytes!("page/main.js") },
    PageFile { name: "model.js", bytes: include_bytes!("page/model.js") },
    PageFile { name: "page.css", bytes: include_bytes!("page/page.css") },
    PageFile { name: "person.js", bytes: include_bytes!("page/person.js") },
    PageFile { name: "position.js", bytes: include_bytes!("page/position.js") },
    PageFile { name: "pulse.js", bytes: include_bytes!("page/pulse.js") },
    PageFile { name: "roll.js", bytes: include_bytes!("page/roll.js") },
    PageFile { name: "share.js", bytes: include_bytes!("page/share.js") },
    PageFile { name: "sse.js", bytes: include_bytes!("page/sse.js") },
    PageFile { name: "status.js", bytes: include_bytes!("page/status.js") },
    PageFile { name: "stream.js", bytes: include_bytes!("page/stream.js") },
    PageFile { name: "system.js", bytes: include_bytes!("page/system.js") },
];

/// What is at `/` for scripts and hands.
const LISTING: &str = "\
Rollcall, the projector: the users of a VCC Live call centre.

GET /                                   the live page, in a browser
GET /users                              all, by pages, with filters
GET /users/{userId}                     one
GET /users/{userId}/history             what changed when, as far as this table has seen it
GET /users/by-username/{username}
GET /users/by-email/{email}
GET /users/by-extension/{extension}
GET /changes                            Server-Sent Events
GET /status                             how far the table is
GET /openapi.json, /docs                all of this in detail
";

/// What is said of each file: a browser asks each time whether its copy is still that of the running version.
pub(super) const REVALIDATED: [(HeaderName, HeaderValue); 2] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-cache")), (VARY, HeaderValue::from_static("accept-encoding"))];
const VARY_BY_ACCEPT: HeaderValue = HeaderValue::from_static("accept-encoding, accept");

/// One file of the page.
struct PageFile {
    name: &'static str,
    bytes: &'static [u8],
}

impl PageFile {
    /// Returns the media type, by the end of the name.
    fn media(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }

    fn answer(&self, known: &IfNoneMatch) -> Response {
        let whole = known.answer(accept::etag_of(self.bytes), self.media(), || Body::from(self.bytes));
        (REVALIDATED, whole).into_response()
    }
}

/// Answers with the page to browsers, and to others with a list of the routes.
pub(super) async fn index(headers: HeaderMap, known: IfNoneMatch) -> Response {
    let mut answer =
        if accept::wants_html(&headers) { INDEX.answer(&known) } else { (REVALIDATED, LISTING).into_response() };
    answer.headers_mut().insert(VARY, VARY_BY_ACCEPT);
    answer
}

/// Answers with a file that the page loads.
pub(super) async fn file(Path(name): Path<String>, known: IfNoneMatch) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => file.answer(&known),
        None => Problem::not_found().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
        let found: BTreeSet<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let served = FILES.iter().chain([&INDEX]).map(|file| file.name.to_owned());
        assert_eq!(served.collect::<BTreeSet<_>>(), found);
        for file in FILES.iter().chain([&INDEX]) {
            assert_ne!(file.media(), "application/octet-stream", "{}", file.name);
        }
    }

    #[test]
    fn no_file_names_another_server_or_the_root_of_this_one() {
        for file in FILES.iter().chain([&INDEX]) {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for address in ["src=\"", "href=\"", "from \"", "import(\"", "fetch(\"", "url("] {
                for rest in text.split(address).skip(1) {
                    assert!(!rest.starts_with('/') && !rest.starts_with("http"), "{}: {address}{rest:.40}", file.name);
                }
            }
            let has_inline = text.contains("<script>") || text.contains("<style") || text.contains(" style=\"");
            assert!(!has_inline, "{}: the policy of the page forbids it", file.name);
        }
    }
}
