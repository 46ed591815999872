//! Planted bugs: one-line changes of the library, by which the simulation proves that it would find such bugs.
//!
//! They are listed in `tests/support/mutants`, one file for each area, and applied to a scratch copy of the workspace only,
//! so that none can reach a release. All are compiled in at once, each behind a switch that is read at run time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

/// The environment variable that names the mutant that is switched on.
pub const SWITCH: &str = "KCL_MUTANT";

/// What stands for the switch in [`Mutant::to`].
const ON: &str = "{{on}}";

/// A bug that a person could write by mistake.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// The part of the library: the name of its file in the catalogue.
    #[serde(skip)]
    pub area: String,
    /// Its name, unique.
    pub name: String,
    /// The bug in one sentence.
    pub what: String,
    /// The file, from the root of the workspace.
    pub file: PathBuf,
    /// The text that it changes; occurs once in the file.
    pub from: String,
    /// What stands there instead; `{{on}}` is true while the mutant is switched on.
    pub to: String,
    /// Why it cannot be seen from outside: such a one does not count.
    pub equivalent: Option<String>,
    /// Where it is known to survive: which fault or which invariant would see it.
    pub needs: Option<String>,
}

/// A catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the catalogue is not as it should be.
    #[error("cannot understand {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// Mutants that do not fit the sources, or each other: one sentence each.
    #[error("mutants to mend: {}", .0.join("; "))]
    Unfit(Vec<String>),
}

/// The mutants of a folder, in the order of its files.
///
/// # Errors
/// [`Error::Read`] and [`Error::Parse`].
pub fn load(folder: &Path) -> Result<Vec<Mutant>, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Area {
        mutant: Vec<Mutant>,
    }
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| Error::Read { path, source }
    };
    let entries = fs::read_dir(folder).map_err(unreadable(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(unreadable(folder))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut mutants = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let area: Area = toml::from_str(&text)
            .map_err(|source| Error::Parse { path: path.clone(), source: Box::new(source) })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        mutants.extend(area.mutant.into_iter().map(|m| Mutant { area: name.to_string(), ..m }));
    }
    Ok(mutants)
}

/// The changed files with all mutants in them at once, by their paths; `root` is that of the unchanged workspace.
///
/// # Errors
/// [`Error::Read`]; [`Error::Unfit`] with every mutant that does not fit.
pub fn apply(mutants: &[Mutant], root: &Path) -> Result<BTreeMap<PathBuf, String>, Error> {
    let mut wrong = names_in_doubt(mutants);
    let mut by_file: BTreeMap<&Path, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        by_file.entry(&mutant.file).or_default().push(mutant);
    }
    let mut changed = BTreeMap::new();
    for (file, mutants) in by_file {
        let path = root.join(file);
        let text = fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
        changed.insert(file.to_owned(), change(&text, &mutants, &mut wrong));
    }
    if wrong.is_empty() { Ok(changed) } else { Err(Error::Unfit(wrong)) }
}

fn names_in_doubt(mutants: &[Mutant]) -> Vec<String> {
    let mut names: Vec<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).filter(|pair| pair[0] == pair[1]);
    twice.map(|pair| format!("{} is there twice", pair[0])).collect()
}

fn change(text: &str, mutants: &[&Mutant], wrong: &mut Vec<String>) -> String {
    let mut places: Vec<(Range<usize>, &Mutant)> = Vec::new();
    for mutant in mutants {
        let Mutant { name, from, to, file, .. } = mutant;
        let found: Vec<usize> = text.match_indices(from).map(|(at, _)| at).collect();
        match found[..] {
            [at] if to.contains(ON) => places.push((at..at + from.len(), mutant)),
            [_] => wrong.push(format!("{name}: `to` is without {ON}")),
            _ => wrong.push(format!(
                "{name}: `from` occurs {} times in {}",
                found.len(),
                file.display()
            )),
        }
    }
    places.sort_by_key(|(place, _)| place.start);
    let (mut changed, mut done) = (String::with_capacity(2 * text.len()), 0);
    for (place, mutant) in places {
        if place.start < done {
            wrong.push(format!("{}: overlaps the mutant before it", mutant.name));
            continue;
        }
        let switch = format!("crate::mutant::on({:?})", mutant.name);
        changed.push_str(&text[done..place.start]);
        changed.push_str(&mutant.to.replace(ON, &switch));
        done = place.end;
    }
    changed.push_str(&text[done..]);
    changed
}

/// The module `mutant` of a crate with mutants in it.
#[must_use]
pub fn switch_module() -> String {
    format!(
        "//! Which mutant is switched on.\n\n\
         use std::sync::LazyLock;\n\n\
         static ON: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(\"{SWITCH}\").ok());\n\n\
         pub(crate) fn on(name: &str) -> bool {{\n    ON.as_deref() == Some(name)\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(name: &str, from: &str, to: &str) -> Mutant {
        Mutant {
            area: String::new(),
            name: name.to_owned(),
            what: String::new(),
            file: "src/lib.rs".into(),
            from: from.to_owned(),
            to: to.to_owned(),
            equivalent: None,
            needs: None,
        }
    }

    #[test]
    fn mutants_of_a_file_are_applied_at_once() {
        let (first, second) = (mutant("b", "y", "y || {{on}}"), mutant("a", "x", "!{{on}}"));
        let mut wrong = Vec::new();
        let changed = change("x + y", &[&first, &second], &mut wrong);
        assert_eq!(changed, "!crate::mutant::on(\"a\") + y || crate::mutant::on(\"b\")");
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn mutants_that_do_not_fit_are_named() {
        let table = [
            ("x", "y {{on}}", "a: `from` occurs 2 times in src/lib.rs"),
            ("z", "y {{on}}", "a: `from` occurs 0 times in src/lib.rs"),
            ("y", "on", "a: `to` is without {{on}}"),
        ];
        for (from, to, expected) in table {
            let mut wrong = Vec::new();
            change("x y x", &[&mutant("a", from, to)], &mut wrong);
            assert_eq!(wrong, [expected]);
        }
        let mut wrong = Vec::new();
        let (first, second) = (mutant("a", "xy", "{{on}}"), mutant("b", "yz", "{{on}}"));
        change("xyz", &[&first, &second], &mut wrong);
        assert_eq!(wrong, ["b: overlaps the mutant before it"]);
        assert_eq!(names_in_doubt(&[first.clone(), second, first]), ["a is there twice"]);
    }
}
