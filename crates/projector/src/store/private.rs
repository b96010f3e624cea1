//! Modes of the store's folder and files: names, phones and wages are for the projector's own user alone. SQLite gives
//! the write-ahead log the mode of the table, and temporary files 0600.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;
/// The bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Makes a folder if need be. Folders above it are made with the modes that the process gives by default.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(FOLDER).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            restrict(path, FOLDER);
            Ok(())
        }
        made => made,
    }
}

/// Opens a file to write, and makes it if need be.
pub(crate) fn make_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(FILE).open(path)?;
    restrict(path, FILE);
    Ok(file)
}

/// Takes the rights of others on a file.
pub(super) fn restrict_file(path: &Path) {
    restrict(path, FILE);
}

/// Takes the rights of others. Where that is not allowed, as on a volume that belongs to root, a line says so.
fn restrict(path: &Path, mode: u32) {
    let Ok(found) = fs::metadata(path) else { return };
    if found.permissions().mode() & OTHERS == 0 {
        return;
    }
    if let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode)) {
        let mode = format!("{:o}", found.permissions().mode() & 0o7777);
        tracing::warn!(path = %path.display(), mode, %error, "others may read the store, and it cannot be changed");
    }
}
