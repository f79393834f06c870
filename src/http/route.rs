//! Which route a path belongs to. Patterns and precedence are those of Perfect: components are
//! literals, `{name}`, `*` or, at the end, `**`; at each level variables are tried first, then
//! literals, `*` and `**`, and a dead end falls back to the next, whatever the order of adding.

mod pattern;

use std::borrow::Cow;

use ::http::Method;
use percent_encoding::percent_decode_str;

use super::methods::Methods;
pub use pattern::PatternError;
use pattern::{Component, Pattern};

/// The variable under which a route ending in `**` finds what it stands for: nothing, or the
/// rest of the path from its `/` on. Unlike the other variables it is as it was sent, because
/// decoding would make an encoded slash a separator.
pub const TRAILING_WILDCARD: &str = "_trailing_wildcard_";

/// Routes with a value each.
#[derive(Debug)]
pub struct Router<T> {
    root: Node<T>,
    /// What `OPTIONS *` answers.
    methods: Methods,
}

/// The components that may follow a prefix of the patterns. A node at depth `n` is only ever
/// compared with the `n`-th component of a path.
#[derive(Debug)]
struct Node<T> {
    variable: Option<Box<Self>>,
    /// Sorted; in lower case, as literals have no case.
    literals: Vec<(Box<str>, Self)>,
    wildcard: Option<Box<Self>>,
    /// The routes that end here.
    ends: Vec<Endpoint<T>>,
    /// The routes that end in `**` here.
    rests: Vec<Endpoint<T>>,
}

#[derive(Debug)]
struct Endpoint<T> {
    /// `None` for all methods.
    method: Option<Method>,
    /// The names of the variables on the way, in order.
    names: Vec<Box<str>>,
    value: T,
}

/// What became of a request.
#[derive(Debug)]
pub enum Lookup<'r, T> {
    /// A route answers it.
    Found {
        /// The value added with the route.
        value: &'r T,
        /// What the variables of its pattern stand for.
        variables: Variables<'r>,
    },
    /// It is an OPTIONS request that no route answers (RFC 9110 9.3.7): 204 with this `Allow`.
    Options {
        /// The methods of the routes for the path.
        allow: Methods,
    },
    /// There are routes for the path, but not for the method (RFC 9110 15.5.6): 405.
    MethodNotAllowed {
        /// The methods of the routes for the path.
        allow: Methods,
    },
    /// There is no route for the path: 404.
    NotFound,
}

/// What the variables of a route stand for in a path.
#[derive(Clone, Debug, Default)]
pub struct Variables<'r> {
    names: &'r [Box<str>],
    values: Vec<Cow<'r, str>>,
    rest: Option<&'r str>,
}

impl<'r> Variables<'r> {
    /// The value of a variable.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        if name == TRAILING_WILDCARD {
            return self.rest;
        }
        let mut pairs = self.names.iter().zip(&self.values);
        pairs.find(|(other, _)| &***other == name).map(|(_, value)| &**value)
    }

    fn new<T>(matched: &Match<'r, T>, captures: &[&'r str]) -> Self {
        // The search only captures what decodes to UTF-8, so nothing is lost here.
        let decode = |raw: &&'r str| percent_decode_str(raw).decode_utf8_lossy();
        let values = captures.iter().map(decode).collect();
        Self { names: &matched.endpoint.names, values, rest: matched.rest }
    }
}

impl<T> Router<T> {
    /// A router without routes.
    #[must_use]
    pub fn new() -> Self {
        Self { root: Node::new(), methods: Methods::default() }
    }

    /// Adds a route for one method, or with `None` for all. A pattern may leave out its first
    /// slash. The slash at the end counts: `/a` and `/a/` are different paths.
    pub fn add(
        &mut self,
        method: Option<Method>,
        pattern: &str,
        value: T,
    ) -> Result<(), PatternError> {
        let methods = allowed(method.as_ref());
        if methods.is_empty() {
            return Err(PatternError::UnknownMethod);
        }
        let Pattern { components, names, rest } = Pattern::parse(pattern)?;
        let node = components.iter().fold(&mut self.root, Node::child);
        let endpoints = if rest { &mut node.rests } else { &mut node.ends };
        if endpoints.iter().any(|endpoint| endpoint.method == method) {
            return Err(PatternError::Duplicate);
        }
        endpoints.push(Endpoint { method, names, value });
        self.methods = self.methods.union(methods);
        Ok(())
    }

    /// Finds the route for a path as it was sent, without its query.
    ///
    /// HEAD is answered by a GET route where there is none for HEAD (RFC 9110 9.3.2).
    #[must_use]
    pub fn find<'r>(&'r self, method: &Method, path: &'r str) -> Lookup<'r, T> {
        if path == "*" {
            return Lookup::Options { allow: self.methods.with(&Method::OPTIONS) };
        }
        if !path.starts_with('/') {
            return Lookup::NotFound;
        }
        let mut search = Search { method, captures: Vec::new(), allow: Methods::default() };
        if let Some(matched) = search.visit(&self.root, path) {
            let variables = Variables::new(&matched, &search.captures);
            return Lookup::Found { value: &matched.endpoint.value, variables };
        }
        if search.allow.is_empty() {
            return Lookup::NotFound;
        }
        let allow = search.allow.with(&Method::OPTIONS);
        if *method == Method::OPTIONS {
            Lookup::Options { allow }
        } else {
            Lookup::MethodNotAllowed { allow }
        }
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The methods a route answers.
fn allowed(method: Option<&Method>) -> Methods {
    match method {
        None => Methods::ALL,
        Some(&Method::GET) => Methods::default().with(&Method::GET).with(&Method::HEAD),
        Some(method) => Methods::default().with(method),
    }
}

impl<T> Node<T> {
    fn new() -> Self {
        Self {
            variable: None,
            literals: Vec::new(),
            wildcard: None,
            ends: Vec::new(),
            rests: Vec::new(),
        }
    }

    /// The node for one component more, made if need be.
    fn child(&mut self, component: &Component) -> &mut Self {
        match component {
            Component::Variable => self.variable.get_or_insert_with(|| Box::new(Self::new())),
            Component::Wildcard => self.wildcard.get_or_insert_with(|| Box::new(Self::new())),
            Component::Literal(literal) => {
                let place = self.literals.binary_search_by(|(other, _)| other.cmp(literal));
                let index = place.unwrap_or_else(|index| {
                    self.literals.insert(index, (literal.clone(), Self::new()));
                    index
                });
                &mut self.literals[index].1
            }
        }
    }

    /// The node for a literal that is this component, decoded, in any case.
    fn literal(&self, component: &[u8]) -> Option<&Self> {
        let lower = || component.iter().map(u8::to_ascii_lowercase);
        let index = self.literals.binary_search_by(|(other, _)| other.bytes().cmp(lower()));
        index.ok().and_then(|index| self.literals.get(index)).map(|(_, node)| node)
    }
}

/// One search through the trie.
struct Search<'m, 'r> {
    method: &'m Method,
    /// The components that variables stand for on the way to the present node.
    captures: Vec<&'r str>,
    /// The methods of the routes whose pattern matches but whose method does not.
    allow: Methods,
}

struct Match<'r, T> {
    endpoint: &'r Endpoint<T>,
    rest: Option<&'r str>,
}

impl<'r> Search<'_, 'r> {
    /// Looks for the route of `path`, which is empty or starts with a slash, below `node`.
    ///
    /// Falling back is not exponential: since each step down takes exactly one component, a
    /// node is reached in one way only and visited at most once. The search costs at most the
    /// size of the trie and recurses at most to the depth of the deepest pattern, whatever
    /// the path is.
    fn visit<T>(&mut self, node: &'r Node<T>, path: &'r str) -> Option<Match<'r, T>> {
        let found = match split_component(path) {
            Some((component, below)) => self.descend(node, component, below),
            None => self.choose(&node.ends, None),
        };
        found.or_else(|| self.choose(&node.rests, Some(path)))
    }

    fn descend<T>(
        &mut self,
        node: &'r Node<T>,
        component: &'r str,
        below: &'r str,
    ) -> Option<Match<'r, T>> {
        let decoded: Cow<'_, [u8]> = percent_decode_str(component).into();
        if let Some(variable) = &node.variable
            && !component.is_empty()
            && str::from_utf8(&decoded).is_ok()
        {
            self.captures.push(component);
            let found = self.visit(variable, below);
            if found.is_some() {
                return found;
            }
            self.captures.pop();
        }
        let literal = node.literal(&decoded).and_then(|literal| self.visit(literal, below));
        literal.or_else(|| node.wildcard.as_ref().and_then(|wildcard| self.visit(wildcard, below)))
    }

    /// The endpoint for the method: its own, else for HEAD that of GET, else that of all.
    fn choose<T>(
        &mut self,
        endpoints: &'r [Endpoint<T>],
        rest: Option<&'r str>,
    ) -> Option<Match<'r, T>> {
        let of = |method: Option<&Method>| {
            endpoints.iter().find(|endpoint| endpoint.method.as_ref() == method)
        };
        let is_head = *self.method == Method::HEAD;
        let endpoint = of(Some(self.method))
            .or_else(|| is_head.then(|| of(Some(&Method::GET))).flatten())
            .or_else(|| of(None));
        if endpoint.is_none() {
            let methods = endpoints.iter().map(|endpoint| allowed(endpoint.method.as_ref()));
            self.allow = methods.fold(self.allow, Methods::union);
        }
        endpoint.map(|endpoint| Match { endpoint, rest })
    }
}

/// Splits `/component/below` before the second slash. Only slashes as sent separate, so an
/// encoded one (`%2F`) stays within its component.
fn split_component(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

#[cfg(test)]
mod tests;
