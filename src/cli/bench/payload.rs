//! What is sent, made before the first message: JSON-like text or random bytes, and the stamp in what is published.

/// The messages that a connection sends in turn.
#[derive(Clone, Debug)]
pub(super) struct Payloads {
    bodies: Vec<String>,
    /// Instead of text, where it is to be binary.
    binary: Vec<Vec<u8>>,
}

impl Payloads {
    /// `distinct` different messages of `size` bytes each.
    ///
    /// Text is JSON-like, for compression is to meet what it meets elsewhere; binary is random, unless it is to be
    /// `compressible`.
    pub(super) fn new(distinct: usize, size: usize, text: bool, compressible: bool) -> Payloads {
        let mut random = Random::seeded(distinct as u64);
        let mut payloads = Payloads { bodies: Vec::new(), binary: Vec::new() };
        for _ in 0..distinct {
            if text {
                payloads.bodies.push(json_like(&mut random, size));
            } else if compressible {
                payloads.binary.push(json_like(&mut random, size).into_bytes());
            } else {
                payloads.binary.push((0..size).map(|_| random.next() as u8).collect());
            }
        }
        payloads
    }

    pub(super) fn len(&self) -> usize {
        self.bodies.len() + self.binary.len()
    }

    #[inline]
    pub(super) fn message(&self, i: usize) -> sockeye::Message<'_> {
        match self.bodies.get(i) {
            Some(text) => sockeye::Message::Text(text),
            None => sockeye::Message::Binary(&self.binary[i]),
        }
    }
}

/// Numbers that look random and are the same each time, so that two runs send the same.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Text of exactly `size` bytes, as an application might send it: an array of records, cut off where it is full.
fn json_like(random: &mut Random, size: usize) -> String {
    const KINDS: [&str; 5] = ["created", "moved", "edited", "deleted", "mentioned"];
    const PEOPLE: [&str; 8] = ["Ana", "Bjørn", "Chidi", "Dana", "Émile", "Farah", "Grete", "Hiro"];
    const WORDS: [&str; 20] = [
        "ticket", "today", "review", "of", "build", "failed", "on", "branch", "please", "look", "at", "line",
        "before", "release", "thanks", "meeting", "moved", "to", "Thursday", "naïve",
    ];
    let mut text = String::with_capacity(size + 256);
    text.push('[');
    while text.len() < size {
        let (kind, person) = (random.one_of(&KINDS), random.one_of(&PEOPLE));
        let (id, ms, read) = (random.below(1 << 32), random.below(1 << 36), random.below(2) == 0);
        text.push_str(&format!(
            r#"{{"kind":"{kind}","id":"{id:08x}","at":{},"by":{{"name":"{person}","level":{}}},"read":{read},"text":""#,
            1_700_000_000_000 + ms,
            id % 17,
        ));
        for word in 0..3 + random.below(8) {
            if word > 0 {
                text.push(' ');
            }
            text.push_str(random.one_of(&WORDS));
        }
        text.push_str("\"},");
    }
    text.truncate(text.floor_char_boundary(size));
    text.extend(std::iter::repeat_n(' ', size - text.len())); // where a character was cut
    text
}

// ---------------------------------------------------------------------- what is published

/// A text to be published, in which a stamp is written anew each time.
#[derive(Clone, Debug)]
pub(super) struct Published {
    text: String,
    /// Where the stamp begins, if it has one.
    stamp: Option<usize>,
    /// What follows the stamp, to be found behind it in what is delivered.
    tail: usize,
}

/// What a stamp says: who sent it, as which of its messages, and when it was to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    /// Of this run: others may publish at the same place.
    pub(super) run: u32,
    pub(super) publisher: u16,
    pub(super) number: u32,
    /// Nanoseconds since the run began.
    pub(super) at_ns: u64,
}

/// And digits: safe within a JSON string.
const STAMP_BEGIN: &[u8] = b"sk~";
/// Hexadecimal digits of run, publisher, number and time.
const STAMP_DIGITS: [usize; 4] = [8, 4, 8, 14];
pub(super) const STAMP_BYTES: usize = STAMP_BEGIN.len() + 8 + 4 + 8 + 14;

impl Published {
    /// `template` with `{id}` replaced by the publisher's number, `{stamp}` by room for a stamp, and `{pad}` by what
    /// brings it to `size` bytes.
    pub(super) fn new(template: &str, id: usize, size: usize) -> Published {
        let text = with_id(template, id);
        let room = "0".repeat(STAMP_BYTES);
        let (stamp, text) = match text.find("{stamp}") {
            Some(at) => (Some(at), text.replacen("{stamp}", &room, 1)),
            None => (None, text),
        };
        // Filler before the stamp moves it.
        let (pad_at, bare) = match text.find("{pad}") {
            Some(at) => (Some(at), text.replacen("{pad}", "", 1)),
            None => (None, text),
        };
        let fill = pad_at.map_or(0, |_| size.saturating_sub(bare.len()));
        let filler = "abcdefghijklmnopqrstuvwxyz".chars().cycle().take(fill).collect::<String>();
        let mut text = bare;
        let mut stamp = stamp;
        if let Some(at) = pad_at {
            text.insert_str(at, &filler);
            stamp = stamp.map(|stamp| if at <= stamp { stamp - "{pad}".len() + fill } else { stamp });
        }
        let tail = match (stamp, pad_at) {
            // Only filler right behind the stamp is ours for sure; the rest a server may take apart.
            (Some(stamp), Some(at)) if at == stamp + STAMP_BYTES => fill,
            _ => 0,
        };
        Published { text, stamp, tail }
    }

    pub(super) fn is_stamped(&self) -> bool {
        self.stamp.is_some()
    }

    /// The text with this stamp.
    pub(super) fn stamped(&mut self, stamp: Stamp) -> &str {
        if let Some(at) = self.stamp {
            let digits = stamp.digits();
            let digits = std::str::from_utf8(&digits).expect("digits are ASCII");
            self.text.replace_range(at..at + STAMP_BYTES, digits);
        }
        &self.text
    }

    /// Whether what is delivered has behind its stamp, which ends at `end`, what was published there.
    pub(super) fn has_tail(&self, delivered: &[u8], end: usize) -> bool {
        let Some(at) = self.stamp else { return true };
        let tail = &self.text.as_bytes()[at + STAMP_BYTES..at + STAMP_BYTES + self.tail];
        delivered.get(end..).is_some_and(|rest| rest.starts_with(tail))
    }
}

/// `template` with `{id}` replaced by a connection's number.
pub(super) fn with_id(template: &str, id: usize) -> String {
    template.replace("{id}", &id.to_string())
}

impl Stamp {
    fn digits(&self) -> [u8; STAMP_BYTES] {
        let mut out = [b'0'; STAMP_BYTES];
        let (begin, mut rest) = out.split_at_mut(STAMP_BEGIN.len());
        begin.copy_from_slice(STAMP_BEGIN);
        let values = [u64::from(self.run), u64::from(self.publisher), u64::from(self.number), self.at_ns];
        for (mut value, digits) in values.into_iter().zip(STAMP_DIGITS) {
            let (field, after) = rest.split_at_mut(digits);
            for digit in field.iter_mut().rev() {
                *digit = b"0123456789abcdef"[(value & 0xf) as usize];
                value >>= 4;
            }
            rest = after;
        }
        out
    }

    /// The stamp at `at`, if there is one.
    pub(super) fn parse(bytes: &[u8], at: usize) -> Option<Stamp> {
        let mut rest = bytes.get(at..at + STAMP_BYTES)?.strip_prefix(STAMP_BEGIN)?;
        let mut values = [0; 4];
        for (value, digits) in values.iter_mut().zip(STAMP_DIGITS) {
            let (field, after) = rest.split_at(digits);
            for &digit in field {
                let digit = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                *value = *value << 4 | u64::from(digit);
            }
            rest = after;
        }
        let [run, publisher, number, at_ns] = values;
        Some(Stamp { run: run as u32, publisher: publisher as u16, number: number as u32, at_ns })
    }

    /// Where in a delivery its stamp is: at `hint`, where the last one was, or wherever it is found.
    pub(super) fn find(delivered: &[u8], hint: usize) -> Option<(usize, Stamp)> {
        if let Some(stamp) = Stamp::parse(delivered, hint) {
            return Some((hint, stamp));
        }
        (0..delivered.len().saturating_sub(STAMP_BYTES - 1))
            .find_map(|at| Stamp::parse(delivered, at).map(|stamp| (at, stamp)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 0xdead_beef, publisher: 7, number: 42, at_ns: 1_234_567_890_123 };

    #[test]
    fn text_has_the_size_asked_for_whatever_it_is() {
        for size in 0..700 {
            let payloads = Payloads::new(2, size, true, false);
            assert_eq!(payloads.message(1).as_bytes().len(), size);
            assert!(matches!(payloads.message(0), sockeye::Message::Text(_)));
        }
        let binary = Payloads::new(3, 1_000, false, false);
        assert_eq!((binary.len(), binary.message(2).as_bytes().len()), (3, 1_000));
        assert_ne!(binary.message(0), binary.message(1));
    }

    #[test]
    fn text_compresses_as_json_does_and_two_runs_send_the_same() {
        let one = Payloads::new(1, 4_096, true, true);
        let text = String::from_utf8(one.message(0).as_bytes().to_vec()).unwrap();
        assert!(text.starts_with("[{\"kind\":") && text.matches("\"id\":").count() > 10, "{text}");
        assert_eq!(one.message(0), Payloads::new(1, 4_096, true, true).message(0));
    }

    #[test]
    fn a_stamp_is_what_was_stamped_wherever_a_server_puts_it() {
        let mut published = Published::new(r#"{"op":"publish","by":{id},"data":"{stamp}{pad}"}"#, 3, 200);
        assert!(published.is_stamped());
        let text = published.stamped(STAMP).to_owned();
        assert_eq!(text.len(), 200);
        assert!(text.starts_with(r#"{"op":"publish","by":3,"data":"sk~deadbeef0007"#), "{text}");
        for around in ["", "x", r#"{"type":"message","of":1,"data":"#] {
            let delivered = format!("{around}{text}");
            let (at, stamp) = Stamp::find(delivered.as_bytes(), 9).unwrap();
            assert_eq!(stamp, STAMP);
            assert_eq!(Stamp::find(delivered.as_bytes(), at), Some((at, stamp)));
            assert!(published.has_tail(delivered.as_bytes(), at + STAMP_BYTES));
        }
        let spoilt = text.replace("xyz", "xyy");
        assert!(
            !published
                .has_tail(spoilt.as_bytes(), Stamp::find(spoilt.as_bytes(), 0).unwrap().0 + STAMP_BYTES)
        );
    }

    #[test]
    fn filler_in_front_of_the_stamp_does_not_hide_it() {
        let mut published = Published::new("{pad}<{stamp}>", 0, 100);
        let text = published.stamped(STAMP).to_owned();
        assert_eq!(
            (text.len(), Stamp::find(text.as_bytes(), 0)),
            (100, Some((100 - 1 - STAMP_BYTES, STAMP)))
        );
    }

    #[test]
    fn what_has_no_stamp_is_published_as_it_is() {
        let mut published = Published::new("hello {id}", 5, 1_000);
        assert_eq!((published.is_stamped(), published.stamped(STAMP)), (false, "hello 5"));
        assert_eq!(Stamp::find(b"hello 5", 0), None);
        assert_eq!(Stamp::find(&[b'0'; 200], 0), None);
    }
}
