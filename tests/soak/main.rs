//! The soak: `sockeye serve` under mixed real load of all dialects for minutes or hours, and what must be true behind it.
//!
//! Two rounds of the same kind: a warm-up, and the one that is asked for. In each there are honest visitors, vandals and
//! changed settings at once; then the vandals stop, and the visitors begin anew among themselves while all is counted; then
//! all leave. What the server holds behind the second round is held against what it held behind the first: whatever is
//! made once, at first use, and whatever grows up to a bound is there by then.
//!
//! Started by `tests/soak/run`. `cargo test` has a short one, with its own, unoptimised build: a round of eight
//! seconds behind a warm-up of four, and what comes behind each.

#[cfg(target_os = "linux")]
mod arguments;
#[cfg(target_os = "linux")]
mod books;
#[cfg(target_os = "linux")]
mod conductor;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod dice;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod following;
#[cfg(target_os = "linux")]
mod metrics;
#[cfg(target_os = "linux")]
mod parts;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod tested;
#[cfg(target_os = "linux")]
mod vandals;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    soak::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the soak measures its server through /proc, which this system does not have: it is left out");
}
