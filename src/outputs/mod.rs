//! Where alerts go: one file per kind, one bounded queue per output.
