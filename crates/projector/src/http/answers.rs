//! What the document says of every route's answers, so that no handler has to repeat it.

use utoipa::Modify;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{OpenApi, RefOr, Response};

use service::problem::MEDIA_TYPE;

/// Adds the media type of problems, and the header fields that the layers set.
pub(super) struct EveryAnswer;

impl Modify for EveryAnswer {
    fn modify(&self, document: &mut OpenApi) {
        let operations = document.paths.paths.values_mut().filter_map(|path| path.get.as_mut());
        for (status, response) in operations.flat_map(|operation| &mut operation.responses.responses) {
            if let RefOr::T(response) = response {
                complete(status, response);
            }
        }
    }
}

fn complete(status: &str, response: &mut Response) {
    let mut add = |name: &str, header: Header| response.headers.insert(name.to_owned(), header.into());
    match status {
        "200" | "304" | "404" | "410" => {
            let positions = "where the table stood, as `at_least` takes it; absent before the first record";
            add("Rollcall-Positions", text(positions));
            let as_of = "when the table was last known to have all of the log (RFC 3339); absent while that is unknown";
            add("Rollcall-As-Of", text(as_of));
            if status == "200" {
                add("Content-Encoding", text("`gzip` where `Accept-Encoding` takes it and the answer is not short"));
            }
        }
        "401" => {
            add("WWW-Authenticate", text("the ways to authenticate"));
        }
        "403" => {
            add("WWW-Authenticate", text("the scope that is missing"));
        }
        "429" | "503" => {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
            let header = HeaderBuilder::new().schema(Some(seconds));
            add("Retry-After", header.description(Some("in how many seconds to ask again")).build());
        }
        _ => {}
    }
    if status.starts_with(['4', '5'])
        && let Some(problem) = response.content.shift_remove("application/json")
    {
        response.content.insert(MEDIA_TYPE.to_owned(), problem);
    }
}

fn text(description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}
