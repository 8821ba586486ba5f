//! The HTTPS webhook that the API server posts to.
