//! The gate: keeps the log clean for naive consumers, by not appending what is stale or stored already.
//!
//! Every replica reads the whole topic. Once it has read to the end it knows the newest record of each key, and judges deliveries
//! by it: a stale one goes to the late topic, a repeated one is answered with the position it has. Until then, and whenever the
//! topic cannot be followed, everything is appended, which is always right: only the keeper is needed for correctness. Two
//! replicas that take two deliveries of one user at the same moment can both append; the keeper mends what comes of it.
//!
//! [`Heads`] is the pure core; the shell around it follows the topic and shares the core between the requests.

mod heads;

mod shell;

pub use heads::{Heads, Verdict};
pub use shell::{Gate, run};
