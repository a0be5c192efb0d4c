//! Mode idle: connections are held, and do nothing; with `--touch`, after one message each way.

use super::load::Base;
use sockeye::{ConnId, Context};

/// All connections of one loop.
#[derive(Default)]
pub(super) struct Hold {
    open: Vec<ConnId>,
    /// Replies to the one message of each that are still to come.
    awaited: usize,
}

impl Hold {
    pub(super) fn opened(&mut self, id: ConnId) {
        self.open.push(id);
    }

    pub(super) fn closed(&mut self, id: ConnId) {
        self.open.retain(|&open| open != id);
    }

    pub(super) fn start(&mut self, base: &mut Base, cx: &mut Context<'_>) {
        if base.plan.arguments.load.touch {
            for &id in &self.open {
                cx.send(id, base.plan.payloads.message(0));
            }
            self.awaited = self.open.len();
        }
    }

    pub(super) fn answered(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    pub(super) fn is_touched(&self) -> bool {
        self.awaited == 0
    }
}
