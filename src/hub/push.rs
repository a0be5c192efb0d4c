//! Plain HTTP: pages for those who look, and messages that are pushed by POST.

use super::{
    Hub,
    application::Application,
    auth::{Secret, TOKEN_BYTES_MAX},
};
use crate::{
    dialect::{action::Problem, envelope, is_push, json},
    engine::{Answer, ConnId, Context},
    wire::{http_request::HttpRequest, http_response::HttpResponse},
};
use std::net::IpAddr;

impl<A: Application> Hub<A> {
    pub(super) fn respond(&mut self, cx: &mut Context<'_>, id: ConnId, request: &HttpRequest<'_>) -> Answer {
        if !is_push(request.path()) {
            return self.pages.respond(request);
        }
        if request.method() != "POST" {
            return Answer::Respond(failure(405, "only POST is understood here").header("Allow", "POST"));
        }
        let address = cx.peer(id).and_then(|peer| peer.address);
        // An address that a proxy named is no proof: it may mean its own machine.
        let is_local = address.is_some_and(|at| is_loopback(at.ip())) && !cx.is_proxied(id);
        if let Err(refusal) = may_push(request, is_local, self.core.settings.admin_password.as_ref()) {
            let address = address.map_or_else(|| "unix".to_owned(), |at| at.to_string());
            log::warn!(connection:% = id, address:% = address, status = refusal.status(); "push refused");
            return Answer::Respond(refusal);
        }
        if let Err(refusal) = has_length(request, self.core.limits.json_message_bytes_max) {
            return Answer::Respond(refusal);
        }
        let Some(body) = request.body() else {
            return Answer::AwaitBody { bytes_max: self.core.limits.json_message_bytes_max };
        };
        let text = std::str::from_utf8(body).unwrap_or_default();
        let Some(post) = envelope::parse(text, &self.core.bounds) else {
            log::info!(connection:% = id, status = 400; "push refused");
            return Answer::Respond(failure(
                400,
                "the body is no message: it is to be a JSON object with the strings action, message, groupId, userId \
                 and the array recipients",
            ));
        };
        let heard = self.core.post(cx, &post, &post.user);
        let delivered = u64::from(heard.queued + heard.backlogged);
        log::info!(connection:% = id, delivered; "message pushed");
        let mut answer = String::from("{\"status\":\"ok\",\"delivered\":");
        json::put_number(delivered, &mut answer);
        answer.push('}');
        Answer::Respond(with_json(200, answer))
    }
}

/// A message has exactly one length, which is not too much. The engine would say the same, but not in JSON. RFC 9112 §6.3
fn has_length(request: &HttpRequest<'_>, limit: u32) -> Result<(), HttpResponse> {
    let mut lengths = request.lines("Content-Length");
    let is_chunked = request.lines("Transfer-Encoding").next().is_some();
    match (lengths.next(), lengths.next(), is_chunked) {
        (None, ..) => Err(failure(411, "send the message with its Content-Length")),
        (Some(length), None, false) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let bytes: Option<u32> = std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok());
            let is_too_much = || failure(413, &Problem::TooLarge { limit }.to_string());
            bytes.filter(|&bytes| bytes <= limit).map(|_| ()).ok_or_else(is_too_much)
        }
        _ => Err(failure(
            400,
            "there is to be one Content-Length, of digits, and no Transfer-Encoding beside it",
        )),
    }
}

/// Who knows the admin's password may push. Without it only programs on this machine may, and not a page of another
/// site that a browser on this machine shows.
fn may_push(
    request: &HttpRequest<'_>,
    is_local: bool,
    password: Option<&Secret>,
) -> Result<(), HttpResponse> {
    if let Some(credentials) = request.header("Authorization") {
        let token = credentials.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        let token = token.map(|(_, token)| token.trim()).filter(|token| token.len() <= TOKEN_BYTES_MAX);
        let is_known =
            token.zip(password).is_some_and(|(token, password)| password.matches(token.as_bytes()));
        return if is_known { Ok(()) } else { Err(unauthorized()) };
    }
    // What a proxy on this machine passes on came from elsewhere.
    let is_forwarded = request.headers().any(|(name, _)| {
        let said_by_proxies = ["Forwarded", "X-Real-IP", "Via"];
        said_by_proxies.iter().any(|known| name.eq_ignore_ascii_case(known))
            || name.to_ascii_lowercase().starts_with("x-forwarded-")
    });
    if !is_local || is_forwarded {
        return Err(unauthorized());
    }
    let is_foreign = request.lines("Origin").any(|origin| !is_own(origin, request.host()))
        || request.lines("Sec-Fetch-Site").any(|site| site != b"same-origin" && site != b"none");
    if is_foreign {
        return Err(failure(403, "a page of another site may not push through its visitor's browser"));
    }
    Ok(())
}

/// Whether a page of this origin came from this server. Its host must be one that cannot be made to lead here, as any
/// name could by whoever owns it.
fn is_own(origin: &[u8], host: &str) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let name = host
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name), |(name, _)| name);
    let is_fixed = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    is_fixed && authority.eq_ignore_ascii_case(host)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn unauthorized() -> HttpResponse {
    failure(401, "pushing from elsewhere needs the admin's password: Authorization: Bearer PASSWORD")
        .header("WWW-Authenticate", "Bearer")
}

fn failure(status: u16, message: &str) -> HttpResponse {
    let mut body = String::from("{\"status\":\"error\",\"message\":");
    json::put_text(message, &mut body);
    body.push('}');
    with_json(status, body)
}

fn with_json(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status)
        .header("Content-Type", "application/json")
        .header("Cache-Control", "no-store")
        .header("X-Content-Type-Options", "nosniff")
        .body(body.into_bytes())
}
