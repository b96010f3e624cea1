//! Bars on standard error, which are seen on a terminal and nowhere else.

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a bar of a length that is known now, or is to be set, drawn by one of indicatif's templates.
pub(crate) fn bar(template: &str, length: Option<u64>) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template names what indicatif knows");
    length.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}
