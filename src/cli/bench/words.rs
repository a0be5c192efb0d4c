//! Numbers as people and programs read them.

/// Microseconds, in the unit that suits.
pub(super) fn duration(us: f64) -> String {
    match us {
        us if us < 0.9995 => format!("{:.0} ns", us * 1e3),
        us if us < 99.95 => format!("{us:.1} µs"),
        us if us < 999.5 => format!("{us:.0} µs"),
        us if us < 99_950.0 => format!("{:.2} ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Bytes, in the unit that suits.
pub(super) fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1_024.0 => format!("{bytes:.0} B"),
        bytes if bytes < 1_048_576.0 => format!("{} KiB", trimmed(bytes / 1_024.0)),
        bytes if bytes < 1_073_741_824.0 => format!("{} MiB", trimmed(bytes / 1_048_576.0)),
        bytes => format!("{} GiB", trimmed(bytes / 1_073_741_824.0)),
    }
}

/// One decimal, if it says something.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// `1,234,567`.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut out = String::from(if number <= -0.5 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A JSON object, field by field.
#[derive(Default)]
pub(super) struct Json(String);

impl Json {
    pub(super) fn raw(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&format!("{}:{value}", quoted(name)));
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    /// Three digits behind the point, where it has any. What is no number is null.
    pub(super) fn number(&mut self, name: &str, value: f64) {
        let text = format!("{value:.3}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        self.raw(name, if value.is_finite() { text } else { "null" });
    }

    pub(super) fn maybe(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    pub(super) fn end(self) -> String {
        if self.0.is_empty() { "{}".to_owned() } else { self.0 + "}" }
    }
}

/// A JSON string. RFC 8259 §7
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_the_unit_that_suits() {
        let told: Vec<_> = [0.0, 0.25, 1.0, 99.9, 100.2, 1_234.5, 123_456.0, 2.5e6].map(duration).into();
        assert_eq!(told, ["0 ns", "250 ns", "1.0 µs", "99.9 µs", "100 µs", "1.23 ms", "123 ms", "2.50 s"]);
        assert_eq!(
            [16.0, 1_024.0, 1_536.0, 3e6, 5e9].map(size),
            ["16 B", "1 KiB", "1.5 KiB", "2.9 MiB", "4.7 GiB"]
        );
        assert_eq!(
            [0.0, 999.0, 1e3, 1_234_567.4, -1e3].map(thousands),
            ["0", "999", "1,000", "1,234,567", "-1,000"]
        );
    }
}
