//! The whole pipeline against brokers: the embedded one, and Apache Kafka in a container.
//!
//! One file per topic, and in it each test once; `on_both_brokers!` at its top makes `embedded::…` and `kafka::…` of
//! it. What needs real Kafka is left out, with a line that says why, where there is no container engine or no image
//! (see `deploy/kafka-image`); with `ROLLCALL_REQUIRE_KAFKA=1` it fails instead.
//! So does, with `ROLLCALL_REQUIRE_ECOSYSTEM=1`, what needs a tool of another language.
//!
//! | file | what it shows |
//! | --- | --- |
//! | [`another_log`] | a topic that was created again, or whose log was cut, is noticed; nothing is concluded before |
//! | [`asking`] | the snippets of README for those who ask can be pasted, and each port says what is there |
//! | [`broker_down`] | an outage of Kafka is told to whoever waits, loses nothing, and is over when it is over |
//! | [`broker_paused`] | a single broker that pauses for long leaves no reader blind |
//! | [`browser`] | the live page in a headless Chromium |
//! | [`chaos`] | replicas and projector killed at random under a simulated vendor: `verify` then finds all right |
//! | [`compaction`] | the cleaner of a real broker leaves the newest of every user, and tables made from that agree |
//! | [`connection_faults`] | each login, permission and clock that Kafka refuses has its reason and its remedy |
//! | [`copy`] | the state of every user is copied to a topic with another number of partitions, while ingest writes |
//! | [`credentials`] | a password and a certificate that are renewed while everything runs are used without a restart |
//! | [`erased_for_good`] | an erased user stays so past many lives of a tombstone, on every partition |
//! | [`examples`] | the committed examples of other tools read the topic as the projector does |
//! | [`foreign_clients`] | kcat and another language's Avro library read what was sent |
//! | [`forget`] | a forgotten user is gone, also from the late deliveries, and only what is newer brings it back |
//! | [`held_back`] | an open transaction of any producer: everybody says so, and nobody concludes from half a log |
//! | [`import`] | a list of users is imported again and again: it adds whom nobody has told of, and nothing else |
//! | [`log_roundtrip`] | what is published is read back as it was, by every reader |
//! | [`leader_gone`] | the lag of a partition without a leader is unknown, never 0 |
//! | [`leaders_killed`] | three brokers, leaders killed in turn under load: nothing that was acknowledged is lost |
//! | [`oauth`] | Kafka's OAUTHBEARER listener: everything runs by tokens, which are renewed while it runs |
//! | [`omit`] | fields that are left out are on no topic, and a switch of the setting makes no gap |
//! | [`password`] | a password is in no topic, file, log line or answer |
//! | [`permissions`] | a permission that goes and comes: readiness and a metric say so, and heal |
//! | [`processes`] | `rollcall` as processes: the lines of `dev` can be pasted, SIGTERM and SIGKILL lose nothing |
//! | [`registry`] | with a schema registry: framings and versions of the schema mixed on one topic are all read |
//! | [`restart`] | whatever is stopped, whenever: no acknowledged event is lost, and the state is the fold of the log |
//! | [`state_topic`] | the state topic ends in what the projector answers, and a restart appends nothing to it |
//! | [`ties`] | several changes of one second end in the sender's last state, live and rebuilt |
//! | [`verify`] | the answers of a projector under load are the fold of the log, and planted differences are found |
//! | [`watching`] | alerts and dashboard name metrics that exist, and each alert has its section of the runbook |
//! | [`webhook_to_query`] | the main job: a webhook in, the current user out |
//! | [`widened`] | a topic that was given more partitions: it is noticed, and a user is forgotten on each of them |

#![forbid(unsafe_code)]

mod support;

mod another_log;
mod asking;
mod broker_down;
mod broker_paused;
mod browser;
mod chaos;
mod compaction;
mod connection_faults;
mod copy;
mod credentials;
mod erased_for_good;
mod examples;
mod foreign_clients;
mod forget;
mod held_back;
mod import;
mod leader_gone;
mod leaders_killed;
mod log_roundtrip;
mod oauth;
mod omit;
mod password;
mod permissions;
mod processes;
mod registry;
mod restart;
mod state_topic;
mod ties;
mod verify;
mod watching;
mod webhook_to_query;
mod widened;
