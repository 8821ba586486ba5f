//! The bar of commands that take a while.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Less than this is read before anybody has looked at a bar.
const WORTH_A_BAR: u64 = 64 << 20;

/// A bar on a terminal for inputs that take a while; nothing elsewhere. No total: it is not known.
pub fn bar(total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() || total.is_some_and(|t| t < WORTH_A_BAR) {
        return ProgressBar::hidden();
    }
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
