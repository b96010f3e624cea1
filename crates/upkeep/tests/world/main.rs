//! A seeded world around the real code: senders, two replicas of ingest with gates and keepers, `forget`, import and
//! replay, a projector that lives and one that rebuilds, on an in-memory log that does what Kafka does.
//!
//! | file | content |
//! | --- | --- |
//! | `log` | the topic: compaction, expiry of tombstones, truncation, epochs, transactions |
//! | `step` | what can happen next, and its choice from a seed |
//! | `world` | everything on one clock, driven step by step |
//! | `operation`, `misfortune` | what goes on by itself, and what happens to the log |
//! | `framing`, `state` | both framings of events; the state topic and its writers |
//! | `sender`, `replica`, `command`, `projector` | who takes part |
//! | `property` | what holds in every world |
//! | `fault` | wrong decisions that can be put back: each is found |
//! | `small` | every order of a few things |
//! | `shrink` | the shortest history that still fails |
//!
//! A seed is a history. A failure prints its seed and its shortest history; `ROLLCALL_SEED=<seed>` replays that one.
//! `ROLLCALL_CASES=<number>` runs more histories than the default.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod command;
mod fault;
mod framing;
mod log;
mod misfortune;
mod operation;
mod projector;
mod property;
mod replica;
mod sender;
mod shrink;
mod small;
mod state;
mod step;
mod world;

use std::collections::BTreeSet;

use fault::Fault;
use property::{Property, Violation};
use shrink::shrink;
use small::each_small_history;
use step::{Fate, Step, history};
use world::World;

/// The number of histories.
const CASES: u64 = 4_000;
/// Longer than a tombstone lives, and than anything else is kept.
const AGE: i64 = 60 * 86_400_000;

/// Runs a history to its end, and lets it age.
fn run(steps: &[Step], fault: Option<Fault>) -> Result<World, Violation> {
    let mut world = World::new(fault);
    steps.iter().try_for_each(|step| world.act(*step))?;
    world.quiet()?;
    world.check()?;
    if !world.erased.is_empty() {
        world.pass(AGE)?;
        world.quiet()?;
        world.check_gone()?;
    }
    world.log.clean(world.now + AGE);
    world.state.clean(world.now + AGE);
    world.check()?;
    Ok(world)
}

#[expect(clippy::disallowed_methods, reason = "the number of cases and the seed are the settings of this test")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Panics with the shortest history that fails as this one does.
fn report(seed: u64, steps: &[Step], violation: &Violation, fault: Option<Fault>) -> String {
    let fails = |steps: &[Step]| run(steps, fault).is_err_and(|other| other.property == violation.property);
    let shortest = shrink(steps, fails);
    let violation = run(&shortest, fault).unwrap_err();
    let steps: String = shortest.iter().map(|step| format!("\n    {step:?}")).collect();
    format!("seed {seed}: {:?}: {}\n  {} steps:{steps}", violation.property, violation.detail, shortest.len())
}

#[test]
fn every_history_keeps_every_property() {
    let seeds = asked("ROLLCALL_SEED").map_or(0..asked("ROLLCALL_CASES").unwrap_or(CASES), |seed| seed..seed + 1);
    for seed in seeds {
        let steps = history(seed);
        if let Err(violation) = run(&steps, None) {
            panic!("{}", report(seed, &steps, &violation, None));
        }
    }
}

/// Every order of three events of two users with a repair, an erasure and a crash.
#[test]
fn every_small_history_keeps_every_property() {
    let fates: &[Fate] =
        if asked("ROLLCALL_CASES").is_some() { &[Fate::Stored, Fate::OnItsWay] } else { &[Fate::Stored] };
    let count = each_small_history(fates, |steps| {
        if let Err(violation) = run(steps, None) {
            panic!("{}", report(0, steps, &violation, None));
        }
    });
    println!("{count} histories");
}

/// Each fault breaks the property that it is there for, and each property is broken by some fault.
#[test]
fn every_fault_is_found() {
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let found = (0..CASES).find_map(|seed| {
            let steps = history(seed);
            let violation = run(&steps, Some(fault)).err()?;
            (violation.property == fault.breaks()).then(|| (seed, report(seed, &steps, &violation, Some(fault))))
        });
        match found {
            Some((seed, report)) => println!("{fault:?}: found after {} histories\n  {report}\n", seed + 1),
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    let broken: BTreeSet<Property> = Fault::ALL.into_iter().map(Fault::breaks).collect();
    assert!(
        Property::ALL.iter().all(|property| broken.contains(property)),
        "a property that no fault breaks: {broken:?}"
    );
}
