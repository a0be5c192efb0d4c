//! The server's numbers, as OpenMetrics text.

use sockeye::{Context, hub::Hub};
use std::fmt::Write as _;

/// All of them.
pub(super) fn exposition<A>(cx: &Context<'_>, _hub: &Hub<A>) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "# HELP sockeye_connections Connections at the moment.\n# TYPE sockeye_connections gauge\n\
         sockeye_connections {}\n# EOF\n",
        cx.connections()
    );
    out
}
