//! What an operator asks a running server for.

mod metrics;
