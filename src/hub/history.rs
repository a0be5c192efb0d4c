//! What was said, as far as there is room: a ring for each gathering, and an order of all that is kept, so that the
//! oldest of all goes first where there is too much.

use crate::config::ActionLimits;
use std::collections::VecDeque;

/// What is kept of one gathering: the end of it, without a gap.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// Of all entries there ever were.
    serial: u64,
    seq: u64,
    json: String,
    /// Users who were not to hear it.
    excluded: Box<[Box<str>]>,
}

impl History {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether all that came after message `since`, up to `seq`, the last, is here.
    pub(super) fn reaches(&self, since: u64, seq: u64) -> bool {
        since == seq
            || (since < seq && self.entries.front().is_some_and(|first| first.seq <= since.saturating_add(1)))
    }

    /// What came after message `since`.
    pub(super) fn after(&self, since: u64) -> impl ExactSizeIterator<Item = &str> {
        // The ring has no gap, so the place of a message follows from its number.
        let first = self.entries.front().map_or(0, |entry| entry.seq);
        let skip = since.saturating_add(1).saturating_sub(first).min(self.entries.len() as u64);
        self.entries.range(skip as usize..).map(|entry| entry.json.as_str())
    }

    /// What `user` was to hear.
    pub(super) fn heard_by(&self, user: &str) -> impl Iterator<Item = &str> {
        let is_for = move |entry: &&Entry| !entry.excluded.iter().any(|name| **name == *user);
        self.entries.iter().filter(is_for).map(|entry| entry.json.as_str())
    }

    /// Whether the entry of this serial number is here.
    pub(super) fn has(&self, serial: u64) -> bool {
        self.entries.binary_search_by_key(&serial, |entry| entry.serial).is_ok()
    }
}

/// The bounds of all histories, and the order of what is in them.
#[derive(Debug)]
pub(super) struct Archive {
    messages_max: usize,
    bytes_max: usize,
    age_ms_max: u64,
    total_messages_max: usize,
    total_bytes_max: u64,
    /// Of each entry the gathering and the serial number, oldest first; entries that are gone may still stand here.
    order: VecDeque<Kept>,
    serials: u64,
    messages: usize,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    set: u32,
    serial: u64,
    unix_ms: u64,
}

impl Archive {
    pub(super) fn new(limits: &ActionLimits) -> Archive {
        Archive {
            messages_max: limits.history_messages_max as usize,
            bytes_max: limits.history_bytes_max as usize,
            age_ms_max: u64::from(limits.history_age_ms_max),
            total_messages_max: limits.history_total_messages_max as usize,
            total_bytes_max: limits.history_total_bytes_max,
            order: VecDeque::new(),
            serials: 0,
            messages: 0,
            bytes: 0,
        }
    }

    /// Other limits from now on, for what is recorded next.
    pub(super) fn set_limits(&mut self, limits: &ActionLimits) {
        self.messages_max = limits.history_messages_max as usize;
        self.bytes_max = limits.history_bytes_max as usize;
        self.age_ms_max = u64::from(limits.history_age_ms_max);
        self.total_messages_max = limits.history_total_messages_max as usize;
        self.total_bytes_max = limits.history_total_bytes_max;
    }

    /// Keeps what was said in the gathering `set`, whose history this is. `json` is one object.
    pub(super) fn record(
        &mut self,
        history: &mut History,
        set: u32,
        seq: u64,
        unix_ms: u64,
        json: &str,
        excluded: Box<[Box<str>]>,
    ) {
        let mut spare = String::new();
        while !history.entries.is_empty()
            && (history.entries.len() >= self.messages_max || history.bytes + json.len() > self.bytes_max)
        {
            spare = self.pop(history);
        }
        if self.messages_max == 0 || json.len() > self.bytes_max {
            return;
        }
        // In a ring that is full, what goes leaves its room to what comes.
        spare.clear();
        spare.push_str(json);
        self.serials += 1;
        history.bytes += json.len();
        (self.messages, self.bytes) = (self.messages + 1, self.bytes + json.len() as u64);
        history.entries.push_back(Entry { serial: self.serials, seq, json: spare, excluded });
        self.order.push_back(Kept { set, serial: self.serials, unix_ms });
    }

    /// Lets go all that is kept of a gathering.
    pub(super) fn forget(&mut self, history: &mut History) {
        self.messages -= history.entries.len();
        self.bytes -= history.bytes as u64;
        *history = History::default();
    }

    /// The oldest of all, if it has been kept too long or there is too much.
    pub(super) fn next_due(&mut self, unix_ms: u64) -> Option<(u32, u64)> {
        let oldest = self.order.front()?;
        let is_old = self.age_ms_max > 0 && unix_ms.saturating_sub(oldest.unix_ms) > self.age_ms_max;
        let too_much = self.messages > self.total_messages_max || self.bytes > self.total_bytes_max;
        if !is_old && !too_much {
            return None;
        }
        self.order.pop_front().map(|kept| (kept.set, kept.serial))
    }

    /// Lets the oldest entry of a history go if it is the one of this serial number; whether it was.
    pub(super) fn drop_oldest(&mut self, history: &mut History, serial: u64) -> bool {
        let is_it = history.entries.front().is_some_and(|entry| entry.serial == serial);
        if is_it {
            self.pop(history);
        }
        is_it
    }

    /// Messages that are kept, and their bytes.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.messages, self.bytes)
    }

    /// Whether most of the order is of entries that are gone.
    pub(super) fn is_littered(&self) -> bool {
        self.order.len() > 2 * self.messages + 1_024
    }

    /// Keeps in the order only what is there.
    pub(super) fn tidy(&mut self, is_there: impl Fn(u32, u64) -> bool) {
        self.order.retain(|kept| is_there(kept.set, kept.serial));
        self.order.shrink_to(2 * self.order.len() + 1_024);
    }

    fn pop(&mut self, history: &mut History) -> String {
        let Some(entry) = history.entries.pop_front() else { return String::new() };
        history.bytes -= entry.json.len();
        (self.messages, self.bytes) = (self.messages - 1, self.bytes - entry.json.len() as u64);
        entry.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(limits: ActionLimits) -> (Archive, History) {
        (Archive::new(&limits), History::default())
    }

    fn texts(history: &History, since: u64) -> Vec<String> {
        history.after(since).map(str::to_owned).collect()
    }

    #[test]
    fn a_ring_is_bounded_in_messages_and_in_bytes_and_has_no_gap() {
        let (mut archive, mut history) =
            archive(ActionLimits { history_messages_max: 3, history_bytes_max: 10, ..Default::default() });
        for (seq, json) in (1..).zip(["1", "22", "333", "4444", "5"]) {
            archive.record(&mut history, 0, seq, 0, json, Box::default());
        }
        assert_eq!(texts(&history, 0), ["333", "4444", "5"]);
        assert_eq!(texts(&history, 4), ["5"]);
        assert_eq!(
            (history.reaches(2, 5), history.reaches(1, 5), history.reaches(5, 5)),
            (true, false, true)
        );
        assert!(!history.reaches(6, 5), "nobody has read what was not said");
        archive.record(&mut history, 0, 6, 0, "more than ten bytes", Box::default());
        assert_eq!((texts(&history, 0).len(), history.reaches(5, 6)), (0, false));
        assert_eq!((archive.messages, archive.bytes), (0, 0));
    }

    #[test]
    fn the_oldest_of_all_goes_first_by_number_bytes_and_age() {
        let limits = ActionLimits {
            history_total_messages_max: 2,
            history_total_bytes_max: 100,
            history_age_ms_max: 50,
            ..Default::default()
        };
        let (mut archive, mut one) = archive(limits);
        let mut two = History::default();
        archive.record(&mut one, 1, 1, 100, "a", Box::default());
        archive.record(&mut two, 2, 1, 110, "b", Box::default());
        assert_eq!(archive.next_due(120), None);
        archive.record(&mut one, 1, 2, 120, "c", Box::default());
        let (set, serial) = archive.next_due(120).expect("there are three");
        assert!(set == 1 && archive.drop_oldest(&mut one, serial));
        assert_eq!((texts(&one, 0), archive.next_due(120)), (vec!["c".to_owned()], None));
        let (set, serial) = archive.next_due(161).expect("b is too old");
        assert!(set == 2 && archive.drop_oldest(&mut two, serial) && two.is_empty());
    }

    #[test]
    fn what_is_gone_leaves_no_litter() {
        let (mut archive, mut history) =
            archive(ActionLimits { history_messages_max: 1, ..Default::default() });
        for seq in 1..5_000 {
            archive.record(&mut history, 0, seq, 0, "x", Box::default());
            if archive.is_littered() {
                archive.tidy(|_, serial| history.has(serial));
            }
        }
        assert!(archive.order.len() < 1_100, "{}", archive.order.len());
    }
}
