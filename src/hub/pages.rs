//! What a browser gets who looks: the page, and the libraries for pages of others. All of it is part of the program.

use crate::{
    engine::Answer,
    wire::{http, http_request::HttpRequest, http_response::HttpResponse},
};
use sha2::{Digest as _, Sha256};

/// A file, and the path it is served at.
struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
    /// Pages of others may load it.
    for_others: bool,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! web {
    ($path:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/", $path))
    };
}

/// The text that a program embeds is that of `web/`.
const FILES: [File; 8] = [
    File { path: "/", kind: HTML, content: web!("index.html"), for_others: false },
    File { path: "/assets/page.css", kind: CSS, content: web!("assets/page.css"), for_others: false },
    File { path: "/assets/page.js", kind: SCRIPT, content: web!("assets/page.js"), for_others: false },
    File { path: "/assets/kit.js", kind: SCRIPT, content: web!("assets/kit.js"), for_others: false },
    File { path: "/assets/demos.js", kind: SCRIPT, content: web!("assets/demos.js"), for_others: false },
    File { path: "/scripts/sockeye.js", kind: SCRIPT, content: web!("sockeye.js"), for_others: true },
    File {
        path: "/scripts/webconnection-websocket.js",
        kind: SCRIPT,
        content: web!("webconnection-websocket.js"),
        for_others: true,
    },
    File {
        path: "/scripts/web-connection-websocket.js",
        kind: SCRIPT,
        content: web!("webconnection-websocket.js"),
        for_others: true,
    },
];

/// No inline script or style, nothing from elsewhere, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files, and what names their content.
pub(super) struct Pages {
    /// As many as there are files; none where they are not served.
    tags: Vec<String>,
}

impl Pages {
    pub(super) fn new(are_served: bool) -> Pages {
        let tag_of = |file: &File| {
            let digest = Sha256::digest(file.content);
            let digits: Vec<String> = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("\"{}\"", digits.concat())
        };
        Pages { tags: FILES.iter().filter(|_| are_served).map(tag_of).collect() }
    }

    pub(super) fn respond(&self, request: &HttpRequest<'_>) -> Answer {
        if self.tags.is_empty() {
            return Answer::Refuse;
        }
        let found = FILES.iter().zip(&self.tags).find(|(file, _)| file.path == request.path());
        let Some((file, tag)) = found else {
            let body = b"There is nothing here. Start at /, or connect with a WebSocket.\n";
            return Answer::Respond(
                HttpResponse::new(404).header("Content-Type", "text/plain; charset=utf-8").body(body),
            );
        };
        if !matches!(request.method(), "GET" | "HEAD") {
            return Answer::Respond(HttpResponse::new(405).header("Allow", "GET, HEAD"));
        }
        let is_known = request.lines("If-None-Match").any(|line| {
            let line = std::str::from_utf8(line).unwrap_or_default();
            http::elements(line).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
        });
        let mut response = HttpResponse::new(if is_known { 304 } else { 200 })
            .header("ETag", tag)
            .header("Cache-Control", "no-cache") // kept, and asked for each time whether it still is the same
            .header("Content-Security-Policy", POLICY)
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer");
        if file.for_others {
            response = response
                .header("Access-Control-Allow-Origin", "*")
                .header("Cross-Origin-Resource-Policy", "cross-origin");
        }
        if is_known {
            return Answer::Respond(response);
        }
        Answer::Respond(response.header("Content-Type", file.kind).body(file.content))
    }
}
