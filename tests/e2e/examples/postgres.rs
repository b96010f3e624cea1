//! A PostgreSQL server of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::eventually;

use super::tools::{Background, run};
use crate::support::engine::free_port;

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(60);
/// Where Debian has the server's programs, in a folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

pub(super) struct Postgres {
    port: u16,
    /// Stops before its folder is removed.
    _server: Background,
    _folder: Folder,
}

/// A folder of the user who runs the server.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What remains is in the system's folder for temporary files.
        fs::remove_dir_all(&self.0).ok();
    }
}

impl Postgres {
    /// Starts a server with a database and a user of the name "rollcall", or returns why there is none.
    pub(super) async fn start() -> Result<Self, String> {
        let programs = fs::read_dir(DEBIAN).map_err(|error| format!("no PostgreSQL in {DEBIAN}: {error}"))?;
        let programs = programs.flatten().map(|version| version.path().join("bin")).max();
        let programs = programs.ok_or_else(|| format!("no version of PostgreSQL in {DEBIAN}"))?;
        let program = |name: &str| programs.join(name).to_string_lossy().into_owned();
        // The server refuses to run as root.
        let is_root = rustix::process::geteuid().is_root();
        let user: &[&str] = &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];
        let user = if is_root { user } else { &[] };
        let as_user = |command: &[&str]| run(Path::new("/"), &[user, command].concat());

        let folder = Folder(as_user(&["mktemp", "--directory"])?.trim().into());
        let data = folder.0.join("data").to_string_lossy().into_owned();
        as_user(&[&program("initdb"), "-D", &data, "-U", "rollcall", "--auth=trust", "--no-sync"])?;
        let (port, server) = (free_port(), program("postgres"));
        let listen = port.to_string();
        let command = [&server, "-D", &data, "-p", &listen, "-h", "127.0.0.1", "-c", "fsync=off", "-k", &data];
        let server = Background::start(&folder.0, "postgres.log", &[user, &command].concat());
        let postgres = Self { port, _server: server, _folder: folder };
        eventually("PostgreSQL answers", START_MAX, async || {
            postgres.psql("postgres", "CREATE DATABASE rollcall").ok()
        })
        .await;
        Ok(postgres)
    }

    /// Returns the address for a client in Java.
    pub(super) fn jdbc(&self) -> String {
        format!("jdbc:postgresql://127.0.0.1:{}/rollcall", self.port)
    }

    /// Returns the rows of a query as an array of objects; nothing while it fails, as when there is no table.
    pub(super) fn rows(&self, query: &str) -> Option<Vec<Value>> {
        let rows = self.psql("rollcall", &format!("SELECT coalesce(json_agg(t), '[]') FROM ({query}) t")).ok()?;
        serde_json::from_str(rows.trim()).ok()
    }

    fn psql(&self, database: &str, query: &str) -> Result<String, String> {
        let port = self.port.to_string();
        let command = ["psql", "-h", "127.0.0.1", "-p", &port, "-U", "rollcall", "-d", database, "-At", "-c", query];
        run(Path::new("/"), &command)
    }
}
