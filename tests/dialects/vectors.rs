//! The transcripts of `tests/vectors/`, a test a file. `SOCKEYE_TRANSCRIPT=WORDS` plays only those whose name has
//! these words in it.

use crate::{play::play, transcript::load};

/// Plays all transcripts of a file; those that fail are told together.
#[track_caller]
fn play_all(file: &str) {
    let only = std::env::var("SOCKEYE_TRANSCRIPT").unwrap_or_default();
    let transcripts = load(file);
    let played = transcripts.iter().filter(|transcript| transcript.name.contains(&only));
    let faults: Vec<_> = played
        .filter_map(|transcript| play(transcript).err().map(|fault| format!("{file}.jsonl, {fault}")))
        .collect();
    let (failed, all) = (faults.len(), transcripts.len());
    assert!(faults.is_empty(), "{failed} of {all} transcripts fail:\n\n{}\n", faults.join("\n\n"));
}

#[test]
fn every_file_of_transcripts_is_played_and_every_transcript_has_a_name_of_its_own() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut names = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let file = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        assert!(FILES.contains(&file.as_str()), "{file}.jsonl is not played");
        for transcript in load(&file) {
            assert!(!transcript.says.is_empty() && !transcript.steps.is_empty(), "{}", transcript.name);
            assert!(names.insert(transcript.name.clone()), "{} is there twice", transcript.name);
        }
    }
}

/// A test for each of these files, and a list of them.
macro_rules! vectors {
    ($($file:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($file)),*];
        $(#[test]
        fn $file() {
            play_all(stringify!($file));
        })*
    };
}

vectors!(choosing auto actions channels members history envelope push chat room isolation closing texts);
