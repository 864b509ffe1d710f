//! Warnings that any peer can cause: of each kind, one line a second.

/// When a warning of one kind was logged last.
#[derive(Debug, Default)]
pub(super) struct WarningLimiter(Option<u64>);

impl WarningLimiter {
    /// Whether it is time for another: one a second.
    pub(super) fn again(&mut self, now_ms: u64) -> bool {
        let again = self.0.is_none_or(|at| now_ms >= at + 1000);
        if again {
            self.0 = Some(now_ms);
        }
        again
    }
}
