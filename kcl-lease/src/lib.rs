//! kcl-lease
