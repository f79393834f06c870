//! System calls that fail, as in a container or on an old kernel.

use std::{collections::BTreeMap, thread};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, apply_filter};

/// Runs a test in a thread in which a system call fails with `error`, in its children as well; with
/// rules only if its arguments match one of them.
pub(crate) fn without<T: Send>(
    call: i64,
    rules: Vec<SeccompRule>,
    error: i32,
    test: impl FnOnce() -> T + Send,
) -> T {
    let program = filter(call, rules, error);
    let filtered = || {
        apply_filter(&program).expect("a thread may restrict itself");
        test()
    };
    thread::scope(|scope| scope.spawn(filtered).join().expect("the test passes"))
}

fn filter(call: i64, rules: Vec<SeccompRule>, error: i32) -> BpfProgram {
    let fails = SeccompAction::Errno(error as u32);
    let architecture = std::env::consts::ARCH.try_into().expect("seccompiler knows it");
    let calls = BTreeMap::from([(call, rules)]);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, fails, architecture);
    let program = filter.and_then(TryInto::try_into);
    program.expect("a filter of one call is no large one")
}
