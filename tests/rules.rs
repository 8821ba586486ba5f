//! Our own audit rules: their tests beside them, silence on a cluster that nobody attacks, and what they say of one
//! that many do.
