//! What finding the route of a request costs: by a literal, a variable and a trailing wildcard,
//! among few routes and among a hundred, and where there is none.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use wireloop::http::{Lookup, Router};

/// Routes as a service has them: each resource with its list, its items, and what belongs to one.
fn router(resources: usize) -> Router<usize> {
    let mut router = Router::new();
    let mut add = |pattern: &str| router.add(Some(Method::GET), pattern, 0).unwrap();
    add("/");
    add("/static/**");
    for resource in 0..resources {
        add(&format!("/api/resource{resource}"));
        add(&format!("/api/resource{resource}/{{id}}"));
        add(&format!("/api/resource{resource}/{{id}}/events"));
    }
    router
}

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    // Five routes, and a hundred and one.
    for resources in [1, 33] {
        let router = router(resources);
        let routes = 2 + 3 * resources;
        let last = format!("/api/resource{}", resources - 1);
        let paths = [
            ("root", "/".to_owned()),
            ("literal", last.clone()),
            ("variable", format!("{last}/4711")),
            ("variable within", format!("{last}/4711/events")),
            ("encoded", format!("{last}/a%20name")),
            ("rest", "/static/images/icons/home.png".to_owned()),
        ];
        for (name, path) in paths {
            group.bench_function(format!("{name}, {routes} routes"), |bencher| {
                bencher.iter(|| {
                    let found = router.find(&Method::GET, black_box(&path));
                    assert!(matches!(black_box(found), Lookup::Found { .. }));
                });
            });
        }
        group.bench_function(format!("none, {routes} routes"), |bencher| {
            bencher.iter(|| {
                let found = router.find(&Method::GET, black_box("/api/nothing/here"));
                assert!(matches!(black_box(found), Lookup::NotFound));
            });
        });
    }
}

criterion_group!(benches, routing);
criterion_main!(benches);
