//! The table of a former log, kept beside the one in use: a topic that was shrunk or created again by mistake would
//! empty the table, and the former one is then the last place that has the users.
//!
//! One is kept, for a week. Nobody is forgotten in it, so it goes as soon as the log forgets anybody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use domain::UnixMillis;

use super::folder::is_over_age;

const NAME: &str = "users.kept.db";
/// The endings of the files of a table.
const ENDINGS: [&str; 3] = ["", "-wal", "-shm"];

/// Keeps the table `former` of the folder in place of the one that was kept before. Returns its new name.
pub(super) fn keep(dir: &Path, former: &Path) -> io::Result<PathBuf> {
    remove(dir)?;
    let kept = dir.join(NAME);
    fs::rename(former, &kept)?;
    let log = with_ending(former, "-wal");
    if log.exists() {
        fs::rename(log, with_ending(&kept, "-wal"))?;
    }
    Ok(kept)
}

/// Removes the kept table once it is too old, or at once if somebody has been forgotten.
pub(crate) fn tidy(dir: &Path, now: UnixMillis, is_anybody_forgotten: bool) {
    let kept = dir.join(NAME);
    if !kept.exists() || (!is_anybody_forgotten && !is_over_age(&kept, now)) {
        return;
    }
    match remove(dir) {
        Ok(()) => tracing::warn!(path = %kept.display(), "the table of a former log is removed"),
        Err(error) => tracing::warn!(%error, path = %kept.display(), "the table of a former log cannot be removed"),
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    for ending in ENDINGS {
        match fs::remove_file(with_ending(&dir.join(NAME), ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn one_is_kept_for_a_week_and_none_once_somebody_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let former = |content: &str| {
            let path = dir.path().join("users.7.db");
            fs::write(&path, content).unwrap();
            fs::write(with_ending(&path, "-wal"), "of it").unwrap();
            path
        };
        keep(dir.path(), &former("1")).unwrap();
        let kept = keep(dir.path(), &former("2")).unwrap();
        let files = || fs::read_dir(dir.path()).unwrap().count();
        assert_eq!((fs::read_to_string(&kept).unwrap().as_str(), files()), ("2", 2));

        let written = kept.metadata().unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let after = |days: i64| UnixMillis::from_millis(i64::try_from(written).unwrap() + days * 86_400_000);
        tidy(dir.path(), after(6), false);
        assert_eq!(files(), 2);
        tidy(dir.path(), after(8), false);
        assert_eq!(files(), 0);
        keep(dir.path(), &former("3")).unwrap();
        tidy(dir.path(), after(0), true);
        assert_eq!(files(), 0);
    }
}
