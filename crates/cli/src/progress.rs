//! Progress bars on standard error, visible on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a bar with an indicatif template. Its length is given now or set later.
pub(crate) fn bar(template: &str, length: Option<u64>) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template names what indicatif knows");
    length.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}
