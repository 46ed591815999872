//! The catalogue of mutants fits the sources: who moves a line learns at once which mutant to mend.

use std::path::Path;

use kcl_testkit::mutants;

#[test]
fn every_mutant_fits_the_sources() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mutants = mutants::load(&here.join("mutants")).unwrap();
    assert!(mutants.len() >= 55, "there are only {}", mutants.len());
    for mutant in &mutants {
        assert!(!mutant.what.is_empty(), "{} does not say what it is", mutant.name);
    }
    if let Err(error) = mutants::apply(&mutants, &here.join("../..")) {
        panic!("{error}");
    }
}
