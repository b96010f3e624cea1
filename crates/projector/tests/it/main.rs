//! The projection and its service against the embedded broker: one binary, a broker and a folder for each test.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod events;

mod http;

mod gzip;

mod page;

mod system;

mod auth;

mod changes;

mod bookmarks;

mod browsers;

mod away;

mod damage;

mod facts;

mod rebuild;

mod steps;

mod library;

mod lists;

mod names;

mod gaps;

mod history;

mod forgotten;

mod unread;

mod registry;

mod slow;
