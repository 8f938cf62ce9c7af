//! A node's data directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// A node's data directory: small files that are read and replaced whole, and the database.
///
/// Names are plain file names without a directory.
pub trait Disk: Send + Sync {
    /// The whole file, or none if there is no such file.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Replaces the file: after a crash it holds either the old bytes or the new ones. It is on the disk when
    /// this returns, and only the node's user may read it.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Opens a file for the database, which is created empty if there is none. Fails if another process
    /// has it open.
    fn open_storage(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;
}

/// A real directory.
pub struct DataDirectory {
    path: PathBuf,
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
impl DataDirectory {
    /// Opens the directory and makes it where there is none, readable by its owner only.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Makes a file that was not there: one that another user has put there, or a link, would give our secrets
    /// away. What an earlier attempt has left is removed.
    fn new_file(&self, name: &str) -> io::Result<File> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
impl Disk for DataDirectory {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new_name = format!("{name}.new");
        let mut file = self.new_file(&new_name)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(self.path.join(new_name), self.path.join(name))?;
        // The rename itself lasts only once the directory is on the disk. Windows cannot open a directory.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    fn open_storage(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path.join(name))?;
        // The file stays locked as long as it is open; redb does not lock what it reaches through a `dyn`.
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => {
                let detail = format!("another fipple runs on {}: stop that one first", self.path.display());
                io::Error::new(io::ErrorKind::WouldBlock, detail)
            }
        })?;
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_kept_private() {
        let path = std::env::temp_dir().join(format!("fipple-disk-{}", std::process::id()));
        let disk = DataDirectory::open(&path).unwrap();
        assert_eq!(disk.read("admin.key").unwrap(), None);
        disk.replace("admin.key", b"first").unwrap();
        disk.replace("admin.key", b"second").unwrap();
        assert_eq!(disk.read("admin.key").unwrap().as_deref(), Some(&b"second"[..]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(&path.join("admin.key"))), (0o700, 0o600));
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "what another user does")]
    fn what_lies_in_a_new_files_place_gets_no_secret() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let path = std::env::temp_dir().join(format!("fipple-disk-links-{}", std::process::id()));
        let disk = DataDirectory::open(&path).unwrap();
        let elsewhere = path.join("elsewhere");
        fs::write(&elsewhere, "theirs").unwrap();
        symlink(&elsewhere, path.join("token.new")).unwrap();
        disk.replace("token", b"secret").unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"theirs");
        // Readable by all, and perhaps held open by another user.
        fs::write(path.join("token.new"), "theirs").unwrap();
        fs::set_permissions(path.join("token.new"), fs::Permissions::from_mode(0o666)).unwrap();
        disk.replace("token", b"secret").unwrap();
        assert_eq!(fs::metadata(path.join("token")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_database_is_open_once_only() {
        let path = std::env::temp_dir().join(format!("fipple-disk-lock-{}", std::process::id()));
        let disk = DataDirectory::open(&path).unwrap();
        let open = disk.open_storage("documents.redb").unwrap();
        let refused = disk.open_storage("documents.redb").err().unwrap();
        assert!(refused.to_string().contains("another fipple runs"), "{refused}");
        drop(open);
        assert!(disk.open_storage("documents.redb").is_ok());
        fs::remove_dir_all(path).unwrap();
    }
}
