//! Which configuration file a command takes: the end of its help.

/// The help of a command with ingest's keys or limits.
pub(crate) const INGEST: &str = "--config takes the file of ingest, as deploy/ingest.toml shows it";
/// The help of the projector.
pub(crate) const PROJECTOR: &str = "--config takes the file of the projector, as deploy/projector.toml shows it";
/// The help of a command that only uses Kafka.
pub(crate) const EITHER: &str = "--config takes the file of either service. What only ingest's file has ([webhook], \
                                 [state_topic]) has its default otherwise";
/// The help of a command about one service.
pub(crate) const NAMED: &str = "--config takes the file of the service that is named";
/// The help of `dev`.
pub(crate) const DEV: &str = "--config takes a file with the sections of both services, as deploy/ingest.toml and \
                              deploy/projector.toml show them, ROLLCALL_… the variables of both. What both have, as \
                              [http] with TLS, is of both; the addresses are the loopback, with the ports of the \
                              flags. With kafka.bootstrap the missing topics are created there";
