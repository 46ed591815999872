//! Rules of the house that no compiler checks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// No file may be longer; most are far shorter.
const LONGEST_FILE: usize = 600;
/// The library must stay readable: lines of code of kcl-core and kcl-lease together, without tests and comments. 8,000 were set
/// for the main job; handovers, clean-up, streams that come and go, and what fan-out shares with polling came since.
const LONGEST_LIBRARY: usize = 9_500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the workspace with its text, by path from the root.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["kcl-core", "kcl-lease", "kcl-fanout", "kcl-emulator", "examples", "tests", "bench"]
            .iter()
            .map(|folder| root().join(folder))
            .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "found only {} files", files.len());
    files
}

/// The lines of code above an inline test module.
fn code_lines(text: &str) -> usize {
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//");
    text.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]").filter(is_code).count()
}

#[test]
fn every_select_is_biased() {
    for (name, text) in sources() {
        for (at, _) in text.match_indices("select! {") {
            let body = text[at + "select! {".len()..].trim_start();
            assert!(
                body.starts_with("biased;") || name.starts_with("tests/tidy"),
                "{name}: a `select!` without `biased;` chooses at random, and a replay differs"
            );
        }
    }
}

#[test]
fn files_stay_small() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{name} has {lines} lines: split it along its seams");
    }
}

#[test]
fn the_library_stays_readable() {
    let is_library = |name: &str| {
        (name.starts_with("kcl-core/src") || name.starts_with("kcl-lease/src"))
            && !name.contains("test")
            && !name.contains("contract")
            && !name.ends_with("/fake.rs")
            && !name.ends_with("/history.rs")
    };
    let lines: usize = sources()
        .iter()
        .filter(|(name, _)| is_library(name))
        .map(|(_, text)| code_lines(text))
        .sum();
    assert!(lines <= LONGEST_LIBRARY, "kcl-core and kcl-lease have {lines} lines of code");
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"];
    for (name, text) in sources() {
        if name.starts_with("tests/tidy") {
            continue;
        }
        for mark in marks {
            assert!(!text.contains(mark), "{name} has a {mark}");
        }
    }
}

#[test]
fn every_metric_is_documented() {
    let page = fs::read_to_string(root().join("docs/METRICS.md")).unwrap();
    for metric in kcl_core::metrics::ALL {
        assert!(
            page.contains(&format!("`{}`", metric.name)),
            "{} is not in METRICS.md",
            metric.name
        );
    }
}

/// Each invariant of the simulation holds up a sentence.
#[test]
fn every_invariant_is_promised() {
    let page = fs::read_to_string(root().join("docs/SEMANTICS.md")).unwrap();
    let words: Vec<&str> = page.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let mut invariants = 0;
    for (name, _) in sources() {
        let Some(file) = name.strip_prefix("tests/support/src/invariants/") else {
            continue;
        };
        let (number, _) = file.split_once('_').unwrap_or_default();
        let is_number = number.len() > 1 && number[1..].bytes().all(|b| b.is_ascii_digit());
        if is_number {
            invariants += 1;
            let promise = number.to_uppercase();
            assert!(words.contains(&&*promise), "{promise} is not in SEMANTICS.md");
        }
    }
    assert!(invariants >= 25, "found only {invariants} invariants");
}

/// Each promise names the tests that hold it; each named test exists.
#[test]
fn every_promise_has_its_test() {
    let page = fs::read_to_string(root().join("docs/SEMANTICS.md")).unwrap();
    let tests = page.lines().filter_map(|line| Some(line.split_once("Held by:")?.1));
    all_exist("SEMANTICS.md", tests, 20);
}

/// Each row of the bug catalogue is there, and each test that it names exists.
#[test]
fn every_row_of_the_bug_catalogue_has_its_test() {
    let page = fs::read_to_string(root().join("docs/bug-catalogue.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .map(|line| line.split(" | ").collect())
        .filter(|row: &Vec<_>| row.len() == 4)
        .collect();
    for (part, last) in [('A', 17), ('B', 18), ('C', 12), ('D', 12)] {
        for number in 1..=last {
            let row = format!("| {part}{number}");
            assert!(rows.iter().any(|columns| columns[0] == row), "no row {part}{number}");
        }
    }
    all_exist("bug-catalogue.md", rows.iter().map(|columns| columns[2]), 80);
}

/// Each bug of families A to C that polling can have is held by a test that bears its number.
#[test]
fn every_bug_of_polling_has_a_test_with_its_number() {
    let page = fs::read_to_string(root().join("docs/SEMANTICS.md")).unwrap();
    for (part, last) in [('A', 17), ('B', 18), ('C', 12)] {
        for number in 1..=last {
            let row = format!("| {part}{number} | ");
            let test = page.lines().find_map(|line| line.strip_prefix(&row));
            let test = test.unwrap_or_else(|| panic!("no row {part}{number} in SEMANTICS.md"));
            let named = format!("`{}{number}_", part.to_ascii_lowercase());
            assert!(test == "fan-out |" || test.starts_with(&named), "{row}{test}");
        }
    }
    let rows = page.lines().filter(|line| line.starts_with("| "));
    all_exist("SEMANTICS.md", rows, 40);
}

/// Each scenario of the Java KCL's tests has its place, and each test that it names exists.
#[test]
fn every_scenario_of_java_has_its_place() {
    let page = fs::read_to_string(root().join("docs/java-scenarios.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").collect())
        .filter(|row: &Vec<_>| row.len() == 4 && row[0].parse::<u32>().is_ok())
        .collect();
    assert_eq!(rows.len(), 77, "rows");
    for row in &rows {
        let [number, _, tests, result] = row[..] else { panic!("{row:?}") };
        let is_reasoned = ["ADR ", "not applicable: "].iter().any(|word| result.contains(word));
        assert!(
            is_reasoned
                || (tests != "none"
                    && (result.starts_with("same") || result.starts_with("as row"))),
            "row {number} neither passes nor says why"
        );
    }
    all_exist("java-scenarios.md", rows.iter().map(|row| row[2]), 80);
}

/// Every test in backticks is a function somewhere, and there are at least so many.
fn all_exist<'a>(page: &str, texts: impl Iterator<Item = &'a str>, least: usize) {
    let sources = sources();
    let mut named = 0;
    for test in texts.flat_map(|text| text.split('`').skip(1).step_by(2)) {
        named += 1;
        let function = format!("fn {test}(");
        assert!(
            sources.iter().any(|(_, text)| text.contains(&function)),
            "{page} names a test that does not exist: {test}"
        );
    }
    assert!(named >= least, "{page} names only {named} tests");
}
