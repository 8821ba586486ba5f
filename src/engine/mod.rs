//! The Falco rules language: text to tokens to tree to compiled rules to evaluation.
