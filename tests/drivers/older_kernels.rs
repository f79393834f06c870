//! The io_uring driver without what newer kernels have to offer.

use wireloop::{
    DriverKind,
    io::{Uring, UringFeatures},
};

use crate::{batches, catching_up, many_failures, support::drivers, two_batches, urgent_data};

/// Runs the tests of all drivers on one without these features.
macro_rules! without {
    ($test:ident, $($feature:ident),+) => {
        #[test]
        fn $test() {
            if drivers().any(|kind| kind == DriverKind::IoUring) {
                let driver = || {
                    let mut features = UringFeatures::ALL;
                    $(features.$feature = false;)+
                    Uring::with_features(features)
                };
                batches::check(driver);
                catching_up::check(driver);
                many_failures::check(driver);
                two_batches::sent_in_parts(driver);
                urgent_data::check(driver);
            }
        }
    };
}

without!(buffers_are_filled_by_one_receive_each, incremental_buffers);
without!(the_queue_of_submissions_has_an_array, no_sqarray);
without!(completions_are_run_at_any_system_call, defer_taskrun);
without!(any_thread_may_submit, single_issuer, defer_taskrun);
without!(a_ring_is_entered_by_its_descriptor, registered_ring);
without!(
    nothing_is_newer_than_linux_6_0,
    single_issuer,
    defer_taskrun,
    no_sqarray,
    incremental_buffers,
    registered_ring
);
