//! Whether files have changed, by what the file system says of them from time to time.
//!
//! No notifications: those are of a directory entry, and what is to be seen here may be any link of a chain (Kubernetes
//! swaps `..data`, two directories away from the name that was given), on file systems that send none.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// What some files looked like at one moment, through all links. What is not there looks like nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Look(Vec<Option<Seen>>);

/// What changes with a file: another one in its place has another number, another content another time. The time of its
/// status is among them, so that a file which could not be read is tried again when its mode is mended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Seen {
    device: u64,
    number: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    content: (i64, i64),
    status: (i64, i64),
}

impl Look {
    pub(super) fn at(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Look {
        Look(paths.into_iter().map(|path| Seen::at(path.as_ref())).collect())
    }
}

impl Seen {
    fn at(path: &Path) -> Option<Seen> {
        let found = fs::metadata(path).ok()?;
        Some(Seen {
            device: found.dev(),
            number: found.ino(),
            bytes: found.size(),
            content: (found.mtime(), found.mtime_nsec()),
            status: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Waits for a change to be over: a certificate and its key are two files, and each is written in a moment of its own.
#[derive(Debug, Default)]
pub(super) struct Watch {
    before: Option<Look>,
}

impl Watch {
    /// Whether the files are others than `last` was, and have been so since the look before.
    pub(super) fn has_settled(&mut self, look: &Look, last: &Look) -> bool {
        let is_as_before = self.before.replace(look.clone()).is_some_and(|before| before == *look);
        is_as_before && look != last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(numbers: &[u64]) -> Look {
        let seen = |&number| Seen { device: 1, number, bytes: 1, content: (1, 0), status: (1, 0) };
        Look(numbers.iter().map(|number| Some(seen(number))).collect())
    }

    #[test]
    fn a_change_is_over_when_two_looks_see_the_same() {
        let (old, half, new) = (look(&[1, 2]), look(&[3, 2]), look(&[3, 4]));
        let mut watch = Watch::default();
        for (seen, is_over) in [(&old, false), (&old, false), (&half, false), (&new, false), (&new, true)] {
            assert_eq!(watch.has_settled(seen, &old), is_over, "{seen:?}");
        }
        // It was read, well or not: nothing is to be done until the next change.
        assert!(!watch.has_settled(&new, &new));
        // Back to what it was is a change too.
        assert!(!watch.has_settled(&old, &new));
        assert!(watch.has_settled(&old, &new));
    }

    #[test]
    fn a_link_that_is_swapped_is_seen_through() {
        let folder = std::env::temp_dir().join(format!("sockeye-watch-{}", std::process::id()));
        for version in ["..1", "..2"] {
            fs::create_dir_all(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("tls.crt"), "the same").unwrap();
        }
        let link = |to: &str| {
            std::os::unix::fs::symlink(to, folder.join("..new")).unwrap();
            fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
        };
        link("..1");
        let name = folder.join("tls.crt");
        std::os::unix::fs::symlink("..data/tls.crt", &name).unwrap();
        let before = Look::at([&name]);
        assert_eq!(before, Look::at([&name]));
        link("..2");
        assert_ne!(before, Look::at([&name]));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(Look::at([&name]), Look(vec![None]));
    }
}
