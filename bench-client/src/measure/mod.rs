//! What is measured: times, failures, what it costs both ends, and whether to believe it.

pub(crate) mod cost;
pub(crate) mod course;
pub(crate) mod environment;
pub(crate) mod failure;
pub(crate) mod health;
pub(crate) mod ksoftirqd;
pub(crate) mod metrics;
pub(crate) mod owner;
pub(crate) mod probe;
pub(crate) mod reading;
pub(crate) mod results;
pub(crate) mod stats;
pub(crate) mod threshold;
pub(crate) mod times;
pub(crate) mod tls_fault;
pub(crate) mod verdict;
