//! The scratch copy of the workspace, with all mutants in it, and the simulation built from it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use kcl_testkit::mutants::{self, Mutant};

use super::Error;

/// The crates that may have mutants.
const CRATES: [&str; 3] = ["kcl-core", "kcl-lease", "kcl-fanout"];

/// What the simulation is called in the copy: it shares the workspace's target folder, so that nothing else is compiled twice.
const BINARY: &str = "sim-with-mutants";

/// Follows the version of the crates in the copy: without it, what was compiled there would pass for the workspace's own.
const VERSION: &str = "+mutants";

/// Makes the copy, builds it, and returns the program.
pub(super) fn build(root: &Path, all: &[Mutant]) -> Result<PathBuf, Error> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let target = root.join(target);
    let tree = root.join("target/mutants/tree");
    let mut changed = mutants::apply(all, root)?;
    for name in CRATES {
        let lib = Path::new(name).join("src/lib.rs");
        let text = match changed.remove(&lib) {
            Some(text) => text,
            None => read(&root.join(&lib))?,
        };
        changed.insert(lib, text + "\nmod mutant;\n");
        changed.insert(Path::new(name).join("src/mutant.rs"), mutants::switch_module());
    }
    let manifest = PathBuf::from("tests/support/Cargo.toml");
    let named =
        read(&root.join(&manifest))?.replace("name = \"sim\"\n", &format!("name = \"{BINARY}\"\n"));
    changed.insert(manifest, named);
    for (file, before) in [("Cargo.toml", "[workspace.package]"), ("Cargo.lock", "name = \"kcl-")] {
        changed.insert(file.into(), other_version(&read(&root.join(file))?, before));
    }

    copy(root, &tree, &|path| {
        let unchanged = !changed.contains_key(path);
        unchanged && path != Path::new("target")
    })
    .map_err(|source| Error::Copy { tree: tree.clone(), source })?;
    for (path, text) in &changed {
        write(&tree.join(path), text.as_bytes())
            .map_err(|source| Error::Copy { tree: tree.clone(), source })?;
    }
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--quiet", "-p", "kcl-testkit", "--bin", BINARY])
        .current_dir(&tree)
        .env("CARGO_TARGET_DIR", &target)
        .status();
    match status {
        Ok(status) if status.success() => Ok(target.join("release").join(BINARY)),
        _ => Err(Error::Build { tree }),
    }
}

/// The text with another version in every line that follows one which begins with `before`.
fn other_version(text: &str, before: &str) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut follows = false;
    for line in text.lines() {
        let version = line.strip_prefix("version = ").filter(|_| follows);
        match version.and_then(|version| version.strip_suffix('"')) {
            Some(version) => changed.push_str(&format!("version = {version}{VERSION}\"")),
            None => changed.push_str(line),
        }
        changed.push('\n');
        follows = line.starts_with(before);
    }
    changed
}

/// Copies what is `wanted` by its path from the root. A file that is the same already stays untouched, so that an unchanged
/// tree is not built again.
fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(from.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden || !wanted(&path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                write(&to.join(&path), &fs::read(entry.path())?)?;
            }
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Copy { tree: path.to_owned(), source })
}
