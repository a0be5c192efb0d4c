//! `Sec-WebSocket-Extensions`, RFC 6455 §9.1: its grammar. No extension is known yet, so none is answered.

use super::http::is_token;

/// Whether `value` is a list of extensions: names, each with parameters that are tokens, or have a token as value,
/// quoted or not. Empty elements are passed over, as in every list of RFC 9110 §5.6.1.
pub fn is_extension_list(value: &str) -> bool {
    split_unquoted(value, ',').all(|extension| match extension.map(trim) {
        Some("") => true,
        Some(extension) => {
            let mut parts = split_unquoted(extension, ';').map(|part| part.map(trim));
            parts.next().flatten().is_some_and(is_token) && parts.all(|part| part.is_some_and(is_parameter))
        }
        None => false,
    })
}

fn is_parameter(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return is_token(parameter) };
    is_token(trim(name)) && is_token_or_quoted_token(trim(value))
}

/// §9.1: what is in quotes, once unescaped, must be a token too.
fn is_token_or_quoted_token(value: &str) -> bool {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(quoted) if quoted.contains('\\') => {
            let mut escaped = false;
            let is_kept = |&character: &char| {
                escaped = character == '\\' && !escaped;
                !escaped
            };
            is_token(&quoted.chars().filter(is_kept).collect::<String>())
        }
        Some(quoted) => is_token(quoted),
        None => is_token(value),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The parts of `text` between `separator`s that are not in quotes; at last `None` if a quote is not closed.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = Option<&str>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, character) in text.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if character == separator && !quoted => {
                    rest = Some(&text[at + separator.len_utf8()..]);
                    return Some(Some(&text[..at]));
                }
                _ => {}
            }
        }
        Some((!quoted).then_some(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s9_1_the_grammar() {
        for good in [
            "foo",
            "permessage-deflate; client_max_window_bits",
            "a; b=10; c=\"d\", e ,, f;g=\"\\h\"",
            "deflate-stream, mux; max-channels=4; flow-control",
        ] {
            assert!(is_extension_list(good), "{good}");
        }
        for bad in [
            "permessage-deflate; =1",
            "foo bar",
            "a; b=\"",
            "permessage-deflate;;x",
            "a/b",
            "a; b=c d",
            "a; b=\"c,d\"",
            "a; b=\"\"",
            "; a",
            "a; b=",
        ] {
            assert!(!is_extension_list(bad), "{bad}");
        }
    }
}
