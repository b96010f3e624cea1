//! Every order of a few things: two users, three events, a repair, an erasure and a crash.

use crate::step::{Fate, Lead, Pass, Step};

/// What happens at the vendor, before the deliveries: three events of two users.
const BEGINNINGS: [[Step; 4]; 3] = [
    // One second.
    [happen(0, 0), happen(0, 1), happen(1, 0), Step::Read { replica: 1, records: 9 }],
    // Two seconds, and a state that returns.
    [happen(0, 0), happen(0, 1), Step::Pass(Pass::Second), happen(0, 0)],
    // A clock that is ahead.
    [happen(1, 0), Step::Happen { user: 0, to: 0, lead: Lead::Minutes }, happen(0, 1), Step::Clean],
];

const CRASHES: [Step; 4] =
    [Step::Crash { replica: 0 }, Step::Crash { replica: 1 }, Step::CrashProjector, Step::CrashCommand];

const fn happen(user: u8, to: u8) -> Step {
    Step::Happen { user, to, lead: Lead::None }
}

const fn deliver(event: u8, replica: u8) -> Step {
    Step::Deliver { event, replica, garbled: false, fate: Fate::Stored }
}

/// Calls `each` with every small history; returns their number. With `fates`, the tombstone can also arrive later.
pub(crate) fn each_small_history(fates: &[Fate], mut each: impl FnMut(&[Step])) -> usize {
    let read = Step::Read { replica: 0, records: 9 };
    let mut count = 0;
    for beginning in BEGINNINGS {
        for crash in CRASHES {
            for &fate in fates {
                let forget = Step::Forget { user: 0, fate };
                let mut steps =
                    [deliver(0, 0), deliver(1, 1), deliver(2, 0), read, Step::Project { records: 2 }, forget, crash];
                each_order(&mut steps, 0, &mut |steps| {
                    count += 1;
                    each(&[&beginning, steps].concat());
                });
            }
        }
    }
    count
}

/// Calls `each` with every order of the steps from the n-th on.
fn each_order(steps: &mut [Step; 7], from: usize, each: &mut impl FnMut(&[Step])) {
    if from == steps.len() {
        return each(steps);
    }
    for other in from..steps.len() {
        steps.swap(from, other);
        each_order(steps, from + 1, each);
        steps.swap(from, other);
    }
}
