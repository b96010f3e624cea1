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
