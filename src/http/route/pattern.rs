//! The syntax of route patterns.

use std::fmt;

use super::TRAILING_WILDCARD;

/// A pattern taken apart.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What the pattern says about each component, without a `**` at the end.
    pub(super) components: Vec<Component>,
    /// The names of the variables, in order.
    pub(super) names: Vec<Box<str>>,
    /// Whether it ends in `**`.
    pub(super) rest: bool,
}

/// What a pattern says about one component.
#[derive(Debug)]
pub(super) enum Component {
    /// It is this text, given in lower case.
    Literal(Box<str>),
    /// It is any but an empty one, and has a name.
    Variable,
    /// It is any, also an empty one: Perfect's `*` serves `/`.
    Wildcard,
}

impl Pattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
        let mut parsed = Self { components: Vec::new(), names: Vec::new(), rest: false };
        for component in pattern.split('/') {
            if parsed.rest {
                return Err(PatternError::RestNotLast);
            }
            match component {
                "**" => parsed.rest = true,
                _ => parsed.push(component)?,
            }
        }
        Ok(parsed)
    }

    fn push(&mut self, component: &str) -> Result<(), PatternError> {
        let variable = component.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let component = match variable {
            Some(name) => self.push_name(name)?,
            None if component == "*" => Component::Wildcard,
            None if component.contains(['*', '{', '}']) => return Err(PatternError::Mixed),
            None if component.contains(['?', '#']) => return Err(PatternError::NotPath),
            None => Component::Literal(component.to_ascii_lowercase().into()),
        };
        self.components.push(component);
        Ok(())
    }

    fn push_name(&mut self, name: &str) -> Result<Component, PatternError> {
        if name.is_empty() || name.contains(['*', '{', '}']) || name == TRAILING_WILDCARD {
            return Err(PatternError::VariableName);
        }
        if self.names.iter().any(|other| **other == *name) {
            return Err(PatternError::RepeatedVariable);
        }
        self.names.push(name.into());
        Ok(Component::Variable)
    }
}

/// Why a route was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatternError {
    /// The pattern is empty; the root is `/`.
    Empty,
    /// `**` is not the last component.
    RestNotLast,
    /// A component mixes text with `*` or `{name}`.
    Mixed,
    /// A component holds `?` or `#`, which no path does.
    NotPath,
    /// The name of a variable is empty, reserved or holds `*`, `{` or `}`.
    VariableName,
    /// Two variables have the same name.
    RepeatedVariable,
    /// There is a route for this method and the same pattern, apart from variable names.
    Duplicate,
    /// The method is CONNECT or not a standard one, so no request can have it.
    UnknownMethod,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the pattern is empty; the root is \"/\"",
            Self::RestNotLast => "\"**\" must be the last component",
            Self::Mixed => "a component is text, \"*\", \"**\" or \"{name}\", not a mixture",
            Self::NotPath => "a pattern is a path, without \"?\" and \"#\"",
            Self::VariableName => "the name of a variable is empty, reserved or malformed",
            Self::RepeatedVariable => "two variables have the same name",
            Self::Duplicate => "there is already such a route for this method",
            Self::UnknownMethod => "no request can have this method",
        })
    }
}

impl std::error::Error for PatternError {}
