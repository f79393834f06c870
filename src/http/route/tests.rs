//! Patterns: what they match, in which order, and which ones are refused.

use super::*;

/// A router whose values are the patterns themselves, all for GET.
fn router(patterns: &[&'static str]) -> Router<&'static str> {
    let mut router = Router::new();
    for pattern in patterns {
        router.add(Some(Method::GET), pattern, *pattern).expect("a valid pattern");
    }
    router
}

/// The pattern found, and the values of the variables named.
fn found<'r>(
    router: &'r Router<&'static str>,
    path: &'r str,
    names: &[&str],
) -> Option<(&'static str, Vec<Option<String>>)> {
    match router.find(&Method::GET, path) {
        Lookup::Found { value, variables } => {
            let value_of = |name: &&str| variables.value(name).map(str::to_owned);
            Some((*value, names.iter().map(value_of).collect()))
        }
        _ => None,
    }
}

fn pattern(router: &Router<&'static str>, path: &str) -> Option<&'static str> {
    found(router, path, &[]).map(|(pattern, _)| pattern)
}

fn value(router: &Router<&'static str>, path: &str, name: &str) -> Option<String> {
    found(router, path, &[name]).and_then(|(_, values)| values.into_iter().next().flatten())
}

#[test]
fn literals_have_no_case() {
    let router = router(&["/Echo/b"]);
    assert_eq!(pattern(&router, "/echo/B"), Some("/Echo/b"));
    assert_eq!(pattern(&router, "/ech/b"), None);
    assert_eq!(pattern(&router, "/echo"), None);
    assert_eq!(pattern(&router, "/echo/b/c"), None);
}

#[test]
fn components_are_decoded_before_they_are_compared() {
    let router = router(&["/caf\u{e9}", "/a b"]);
    assert_eq!(pattern(&router, "/caf%C3%A9"), Some("/caf\u{e9}"));
    assert_eq!(pattern(&router, "/%61%20b"), Some("/a b"));
}

#[test]
fn a_wildcard_is_exactly_one_component_even_an_empty_one() {
    let router = router(&["*", "/a/*/c"]);
    assert_eq!(pattern(&router, "/"), Some("*"));
    assert_eq!(pattern(&router, "/x"), Some("*"));
    assert_eq!(pattern(&router, "/css/x.css"), None);
    assert_eq!(pattern(&router, "/a/b/c"), Some("/a/*/c"));
    assert_eq!(pattern(&router, "/a//c"), Some("/a/*/c"));
    assert_eq!(pattern(&router, "/a/c"), None);
}

#[test]
fn a_trailing_wildcard_is_any_rest_even_none() {
    let router = router(&["/foo/**"]);
    for (path, rest) in
        [("/foo", ""), ("/foo/", "/"), ("/foo/bar/baz", "/bar/baz"), ("/foo//", "//")]
    {
        assert_eq!(value(&router, path, TRAILING_WILDCARD).as_deref(), Some(rest), "{path}");
    }
    assert_eq!(pattern(&router, "/fo"), None);
    assert_eq!(pattern(&router, "/"), None);
}

#[test]
fn a_trailing_wildcard_at_the_root_matches_everything() {
    let router = router(&["/**"]);
    for path in ["/", "/a", "/a/b/", "//", "/%ff"] {
        assert_eq!(value(&router, path, TRAILING_WILDCARD).as_deref(), Some(path));
    }
}

#[test]
fn a_trailing_wildcard_is_not_decoded() {
    let router = router(&["/**"]);
    assert_eq!(value(&router, "/a%2Fb%252e", TRAILING_WILDCARD).as_deref(), Some("/a%2Fb%252e"));
}

#[test]
fn a_variable_is_one_component_decoded_and_not_empty() {
    let router = router(&["/ws/{id}/{name}"]);
    let expected = Some(("/ws/{id}/{name}", vec![Some("7 8".into()), Some("a/b".into()), None]));
    assert_eq!(found(&router, "/ws/7%208/a%2fb", &["id", "name", "other"]), expected);
    assert_eq!(pattern(&router, "/ws//b"), None);
    assert_eq!(pattern(&router, "/ws/a/"), None);
}

#[test]
fn an_encoded_slash_never_separates() {
    let router = router(&["/a/b", "/{one}"]);
    assert_eq!(value(&router, "/a%2Fb", "one").as_deref(), Some("a/b"));
}

#[test]
fn a_variable_must_decode_to_utf8() {
    let router = router(&["/{name}", "/*"]);
    assert_eq!(pattern(&router, "/%c3%a9"), Some("/{name}"));
    assert_eq!(pattern(&router, "/%ff"), Some("/*"));
    assert_eq!(value(&router, "/%zz%4", "name").as_deref(), Some("%zz%4"));
}

#[test]
fn a_trailing_slash_is_significant() {
    let router = router(&["/foo", "/bar/", "/both", "/both/"]);
    assert_eq!(pattern(&router, "/foo/"), None);
    assert_eq!(pattern(&router, "/bar"), None);
    assert_eq!(pattern(&router, "/both"), Some("/both"));
    assert_eq!(pattern(&router, "/both/"), Some("/both/"));
}

#[test]
fn precedence_is_variables_literals_wildcards_rest_in_any_order_of_adding() {
    let mut patterns = ["/a/{v}", "/a/b", "/a/*", "/a/**"];
    for _ in 0..patterns.len() {
        patterns.rotate_left(1);
        let router = router(&patterns);
        assert_eq!(pattern(&router, "/a/b"), Some("/a/{v}"));
        assert_eq!(pattern(&router, "/a/"), Some("/a/*"));
        assert_eq!(pattern(&router, "/a/b/c"), Some("/a/**"));
        assert_eq!(pattern(&router, "/a"), Some("/a/**"));
    }
    let router = router(&["/**", "*", "/echo"]);
    assert_eq!(pattern(&router, "/echo"), Some("/echo"));
}

#[test]
fn a_dead_end_falls_back() {
    let router = router(&["/{v}/x/1", "/a/x/2", "/*/x/3", "/**"]);
    assert_eq!(pattern(&router, "/a/x/1"), Some("/{v}/x/1"));
    assert_eq!(pattern(&router, "/a/x/2"), Some("/a/x/2"));
    assert_eq!(pattern(&router, "/a/x/3"), Some("/*/x/3"));
    assert_eq!(pattern(&router, "/a/x/4"), Some("/**"));
}

#[test]
fn a_dead_end_leaves_no_variable_behind() {
    let router = router(&["/{a}/{b}/x", "/*/{c}/y"]);
    assert_eq!(value(&router, "/1/2/y", "c").as_deref(), Some("2"));
    assert_eq!(value(&router, "/1/2/y", "a"), None);
}

#[test]
fn routes_name_the_same_variable_differently() {
    let router = router(&["/{a}/x", "/{b}/y"]);
    assert_eq!(value(&router, "/1/y", "b").as_deref(), Some("1"));
    assert_eq!(value(&router, "/1/y", "a"), None);
}

#[test]
fn a_hostile_path_does_not_make_falling_back_exponential() {
    let mut router = Router::new();
    // At each of 12 levels there are two ways down: 4096 paths, none of which ends.
    for choice in 0..4096 {
        let component = |level: usize| match choice >> level & 1 {
            0 => format!("/{{v{level}}}"),
            _ => "/*".to_owned(),
        };
        let pattern: String = (0..12).map(component).collect();
        router.add(None, &format!("{pattern}/end"), ()).expect("different");
    }
    let path = "/a".repeat(4000);
    let mut search =
        Search { method: &Method::GET, captures: Vec::new(), allow: Methods::default() };
    assert!(search.visit(&router.root, &path).is_none());
    assert!(search.captures.is_empty());
    assert!(matches!(router.find(&Method::GET, &path), Lookup::NotFound));
}

#[test]
fn another_method_is_405_with_all_that_are_allowed() {
    let mut router = Router::new();
    router.add(Some(Method::GET), "/a", 1).expect("valid");
    router.add(Some(Method::PUT), "/*", 2).expect("valid");
    let allow_of = |method, path| match router.find(&method, path) {
        Lookup::MethodNotAllowed { allow } => Some(allow.to_string()),
        _ => None,
    };
    assert_eq!(allow_of(Method::POST, "/a").as_deref(), Some("GET, HEAD, PUT, OPTIONS"));
    assert_eq!(allow_of(Method::POST, "/b").as_deref(), Some("PUT, OPTIONS"));
    assert!(matches!(router.find(&Method::POST, "/a/b"), Lookup::NotFound));
    assert!(matches!(router.find(&Method::PUT, "/a"), Lookup::Found { value: 2, .. }));
}

#[test]
fn head_is_answered_by_get_unless_it_has_a_route() {
    let mut router = Router::new();
    router.add(Some(Method::GET), "/a", "get").expect("valid");
    assert!(matches!(router.find(&Method::HEAD, "/a"), Lookup::Found { value: &"get", .. }));
    router.add(Some(Method::HEAD), "/a", "head").expect("valid");
    assert!(matches!(router.find(&Method::HEAD, "/a"), Lookup::Found { value: &"head", .. }));
}

#[test]
fn options_is_answered_unless_it_has_a_route() {
    let mut router = Router::new();
    router.add(Some(Method::GET), "/a", "get").expect("valid");
    let Lookup::Options { allow } = router.find(&Method::OPTIONS, "/a") else { panic!("204") };
    assert_eq!(allow.to_string(), "GET, HEAD, OPTIONS");
    assert!(matches!(router.find(&Method::OPTIONS, "/b"), Lookup::NotFound));
    router.add(Some(Method::OPTIONS), "/a", "options").expect("valid");
    assert!(matches!(router.find(&Method::OPTIONS, "/a"), Lookup::Found { .. }));
}

#[test]
fn options_of_the_server_lists_all_methods() {
    let mut router = Router::new();
    router.add(Some(Method::GET), "/a", ()).expect("valid");
    router.add(Some(Method::POST), "/b", ()).expect("valid");
    let Lookup::Options { allow } = router.find(&Method::OPTIONS, "*") else { panic!("204") };
    assert_eq!(allow.to_string(), "GET, HEAD, POST, OPTIONS");
}

#[test]
fn a_route_for_all_methods_yields_to_one_for_the_method() {
    let mut router = Router::new();
    router.add(None, "/a", "all").expect("valid");
    router.add(Some(Method::PUT), "/a", "put").expect("valid");
    assert!(matches!(router.find(&Method::PUT, "/a"), Lookup::Found { value: &"put", .. }));
    assert!(matches!(router.find(&Method::TRACE, "/a"), Lookup::Found { value: &"all", .. }));
    assert!(matches!(router.find(&Method::OPTIONS, "/a"), Lookup::Found { value: &"all", .. }));
}

#[test]
fn malformed_patterns_are_refused() {
    let bad = [
        ("", PatternError::Empty),
        ("/**/a", PatternError::RestNotLast),
        ("/**/", PatternError::RestNotLast),
        ("/a*", PatternError::Mixed),
        ("/***", PatternError::Mixed),
        ("/a{b}", PatternError::Mixed),
        ("/{b", PatternError::Mixed),
        ("/{}", PatternError::VariableName),
        ("/{a{b}", PatternError::VariableName),
        ("/{_trailing_wildcard_}", PatternError::VariableName),
        ("/{a}/{a}", PatternError::RepeatedVariable),
        ("/a?b", PatternError::NotPath),
    ];
    for (pattern, error) in bad {
        assert_eq!(Router::new().add(None, pattern, ()), Err(error), "{pattern:?}");
    }
    assert_eq!(Router::new().add(Some(Method::CONNECT), "/", ()), Err(PatternError::UnknownMethod));
}

#[test]
fn the_same_route_twice_is_refused() {
    let mut router = router(&["/a/{b}"]);
    let get = Some(Method::GET);
    assert_eq!(router.add(get.clone(), "A/{c}", ""), Err(PatternError::Duplicate));
    assert_eq!(router.add(get, "/a/{b}/", ""), Ok(()));
    assert_eq!(router.add(None, "/a/{b}", ""), Ok(()));
}

#[test]
fn what_is_no_path_is_not_found() {
    let router = router(&["/**", "*"]);
    for path in ["", "a", "**"] {
        assert!(matches!(router.find(&Method::GET, path), Lookup::NotFound), "{path:?}");
    }
}
