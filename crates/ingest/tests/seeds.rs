//! Runs the seeds of the fuzz targets, including faults that fuzzing found, on any toolchain.

#[expect(unreachable_pub, reason = "the fuzz targets are another crate, which calls them")]
#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::fs;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).expect("the seeds are in the repository") {
        let path = entry.expect("the folder can be listed").path();
        let seed = fs::read(&path).expect("a seed can be read");
        let held = std::panic::catch_unwind(|| check(&seed));
        assert!(held.is_ok(), "{} does not hold", path.display());
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds in {}", folder.display());
}

/// The oracle of time finds quadratic work, which no short input shows.
#[test]
#[cfg(target_os = "linux")]
fn quadratic_work_is_found() {
    fn quadratic(input: &[u8]) {
        let equal = input.iter().map(|one| input.iter().filter(|other| *other == one).count());
        assert!(std::hint::black_box(equal.sum::<usize>()) >= input.len());
    }
    // One of these inputs is grown.
    let is_found = |check: fn(&[u8])| {
        let runs = |last| std::panic::catch_unwind(|| properties::effort::bounded(&[b'0', b'0', b'0', last], check));
        (0..=u8::MAX).any(|last| runs(last).is_err())
    };
    assert!(is_found(quadratic));
    assert!(!is_found(|input| drop(std::hint::black_box(input.to_vec()))));
}

#[test]
fn every_request_is_accepted_or_refused_as_it_must_be() {
    replay("accept", properties::accept::check);
}

#[test]
fn every_value_is_read_or_refused() {
    replay("wire", properties::wire::check);
}
