//! The lean build: what an embedder who turns the default features off gets, counted in crates.

use std::{collections::BTreeSet, process::Command};

/// Crates in the tree, ours included.
const CRATES_MAX: usize = 20;

#[test]
fn without_the_cli_there_are_few_crates_and_no_proc_macro() {
    let tree = tree(&["--no-default-features"]);
    let crates = crates(&tree);
    assert!(crates.iter().any(|name| name.starts_with("sockeye ")), "{tree}");
    assert!(crates.iter().any(|name| name.starts_with("mio ")), "{tree}");
    assert!(crates.len() <= CRATES_MAX, "{} crates, at most {CRATES_MAX}:\n{tree}", crates.len());
    assert_eq!(proc_macros(&tree), [""; 0]);
    for name in ["clap ", "url "] {
        assert!(!crates.iter().any(|found| found.starts_with(name)), "{tree}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn the_marker_of_a_proc_macro_is_known() {
    // clap's derive is one, so the check above does not look for a word that cargo does not write.
    assert!(proc_macros(&tree(&[])).iter().any(|line| line.starts_with("clap_derive ")));
}

#[test]
fn a_crate_that_is_there_twice_counts_once_and_in_two_versions_twice() {
    let tree = "sockeye v0.1.0 (/somewhere)\na v1.0.0\nb v1.0.0\na v1.0.0 (*)\na v2.0.0\nd v1.0.0 (proc-macro) (*)\n\n";
    assert_eq!(
        crates(tree).into_iter().collect::<Vec<_>>(),
        ["a v1.0.0", "a v2.0.0", "b v1.0.0", "d v1.0.0", "sockeye v0.1.0"]
    );
    assert_eq!(proc_macros(tree), ["d v1.0.0 (proc-macro) (*)"]);
}

/// What cargo says the normal dependencies are, one crate a line.
fn tree(features: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["tree", "--offline", "-e", "normal", "--prefix", "none"]).args(features);
    let output = cargo.output().expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names of crates are ASCII")
}

/// Name and version of each crate.
fn crates(tree: &str) -> BTreeSet<String> {
    let lines = tree.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

fn proc_macros(tree: &str) -> Vec<&str> {
    tree.lines().filter(|line| line.contains("(proc-macro)")).collect()
}
