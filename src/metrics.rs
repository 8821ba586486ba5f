//! Every counter and gauge, with its documentation.
