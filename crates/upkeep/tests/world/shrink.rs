//! Shrinks a failing history: removes steps as long as it still fails (delta debugging).

use crate::step::Step;

/// Returns a history that still fails and of which no step can be removed.
pub(crate) fn shrink(steps: &[Step], fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut steps = steps.to_vec();
    let mut width = steps.len().div_ceil(2);
    loop {
        let mut start = 0;
        let mut has_shrunk = false;
        while start < steps.len() {
            let end = steps.len().min(start + width);
            let shorter = [&steps[..start], &steps[end..]].concat();
            if fails(&shorter) {
                steps = shorter;
                has_shrunk = true;
            } else {
                start = end;
            }
        }
        if width == 1 && !has_shrunk {
            return steps;
        }
        width = if has_shrunk { width } else { width.div_ceil(2) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_removed() {
        let steps: Vec<Step> = (0..20).map(|records| Step::Project { records }).collect();
        let needed = [Step::Project { records: 3 }, Step::Project { records: 17 }];
        let shrunk = shrink(&steps, |steps| needed.iter().all(|step| steps.contains(step)));
        assert_eq!(shrunk, needed);
    }
}
