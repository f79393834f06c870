//! A driver without a kernel, for tests.
