//! Audit log files, directories and standard input as sources.
